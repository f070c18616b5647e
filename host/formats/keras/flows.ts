import { FormatError } from "../../core/errors.ts";
import { attention } from "../../layers/attention.ts";
import { concatenate } from "../../layers/concatenate.ts";
import { dense } from "../../layers/dense.ts";
import type { Layer } from "../../layers/layer.ts";
import { multiply } from "../../layers/merge.ts";
import { padding1d } from "../../layers/padding1d.ts";
import { remask } from "../../layers/remask.ts";
import { repeat } from "../../layers/repeat.ts";
import { flatten, reshape } from "../../layers/reshape.ts";
import type { Dialect, Place } from "./config.ts";
import { none, type Piece, type Shape } from "./piece.ts";
import type { Cut } from "./slices.ts";

/** What flows between the calls of a model: masks that Keras passes on in its own way, shapes that it broadcasts. */

/** Layers, and calls of layers, that a model may have. */
export const MOST_CALLS = 10_000;

/** A layer in gruvy's terms, and where its weights are. */
export interface Step {
  readonly name: string;
  readonly where: string;
  readonly piece: Piece;
  readonly place: Place;
}

/** What flows from a call, -1 - i: from the i-th input. */
export interface Flow {
  readonly node: number;
  /** Which final state of a recurrent layer. */
  readonly state?: number;
  /** Which mask comes with it: flows of the same number have the same one. Absent: none. */
  readonly mask?: number;
  readonly shape: Shape;
  /** It is scores on their way to attention, which has them inside: no node gives them. */
  readonly scores?: Scores;
}

/** How well keys score for queries: a Dot layer's product of both, before and after a softmax. */
interface Scores {
  readonly query: Flow;
  readonly key: Flow;
  readonly softmax: boolean;
  /** Who made them, for messages. */
  readonly where: string;
}

export interface Call {
  readonly step: Step;
  readonly inputs: readonly Flow[];
  readonly states: readonly Flow[];
}

/** A mask of several masks, of which it is not certain what Keras made. */
const UNCLEAR = -1;

export class Flows {
  readonly calls: Call[] = [];
  private readonly names = new Set<string>();

  constructor(private readonly dialect: Dialect) {}

  /** Calls a layer: what it gives, and then its states. */
  call(step: Step, inputs: readonly Flow[], states: readonly Flow[]): readonly Flow[] {
    const { piece } = step;
    if (!piece.layer) return inputs;
    const [{ scores } = {} as Partial<Flow>] = inputs;
    const { activation } = piece.layer.config;
    if (scores && !scores.softmax && piece.layer.type === "activation" && activation === "softmax")
      return [{ ...inputs[0], scores: { ...scores, softmax: true } }];
    for (const flow of [...inputs, ...states]) real(flow);
    // The first input of a recurrent layer is what it reads; the others are where it begins.
    const [read, begins] = piece.states ? [inputs.slice(0, 1), [...inputs.slice(1), ...states]] : [inputs, states];
    const { least = 1 } = piece;
    if (read.length < least)
      throw new FormatError(
        `${step.where}: it is called on ${read.length} inputs, and Keras's takes ${least} or more; a layer of one's own by this name is code that no file has`,
      );
    const seen = this.seen(step, piece.mask === "merges" ? this.broadcast(piece.layer, read) : read);
    const shapes = seen.map(({ shape }) => shape);
    const shape = piece.shape ? piece.shape(...shapes) : shapes[0];
    const node = this.push(step, seen, begins);
    const flow: Flow = { node, mask: this.maskAfter(piece, seen, node), shape };
    // Keras's masks stay as they were where the steps have turned round, ours turn with them.
    const output = piece.mask === "turns" ? this.remasked(flow, "reversed") : flow;
    // Of two directions the output may have the units of both.
    const units = piece.states === 1 && shape ? [shape.at(-1)!] : undefined;
    return [output, ...Array.from({ length: piece.states ?? 0 }, (_, state) => ({ node, state, shape: units }))];
  }

  /**
   * Keras's Dot: of vectors, the sum of their products; of sequences, the
   * parts of attention, Dot([queries, keys]), a softmax, Dot([that, values]).
   *
   * @param axes over which the two are multiplied and summed, the batch counted
   */
  dot(name: string, where: string, [a, b]: readonly Flow[], axes: readonly [number, number]): Flow {
    const refuse = () =>
      new FormatError(
        `${where}: a product over axes ${axes.join(" and ")}; gruvy has that of two vectors, and those of attention: Dot(2) of queries and keys, a softmax, Dot((2, 1)) of that and the values`,
      );
    if (!a?.shape || !b?.shape || a.shape.length !== b.shape.length) throw refuse();
    const rank = a.shape.length + 1;
    const [i, j] = axes.map((axis) => (axis < 0 ? axis + rank : axis));
    if (rank === 2 && i === 1 && j === 1) {
      const product = this.join(name, where, [real(a), real(b)], multiply({ name }));
      return this.insert(product, "sum", (own) => summing(dense(1, { name: own, useBias: false })), [1]);
    }
    if (a.scores?.softmax && i === 2 && j === 1) {
      const { query, key } = a.scores;
      const value = real(b);
      const same = key.node === value.node && key.state === value.state;
      const read = same ? [query, value] : [query, value, key];
      const shape = [query.shape![0], value.shape!.at(-1)!];
      return { ...this.join(name, where, read, attention({ name, scale: "none" })), shape };
    }
    if (rank !== 3 || i !== 2 || j !== 2) throw refuse();
    const scores: Scores = { query: real(a), key: real(b), softmax: false, where };
    return { node: Number.NaN, shape: [a.shape[0], b.shape[0]], scores };
  }

  /** A sequence of which steps are cut off, or one step of it. */
  cut(flow: Flow, name: string, { before, after, single }: Cut): Flow {
    const [steps, features] = flow.shape!;
    let left = this.remasked(real(flow), "none");
    const kept = steps === null ? null : steps - before - after;
    if (before || after) {
      const options = { before: -before || 0, after: -after || 0 };
      left = this.insert(left, name, (own) => ({ layer: padding1d({ ...options, name: own }) }), [kept, features]);
    }
    if (!single) return left;
    return this.insert(left, name, (own) => ({ layer: flatten({ name: own }) }), [features]);
  }

  /** Every step of a sequence several times over: beside each other, and then one after the other. */
  upsampled(flow: Flow, name: string, where: string, times: number): Flow {
    const [steps, features] = flow.shape ?? [];
    if (flow.shape?.length !== 2 || !features)
      throw new FormatError(
        `${where}: how many features it reads is not in the file; save the model with an input shape`,
      );
    const read = Array.from({ length: times }, () => real(flow));
    const wide = times === 1 ? read[0] : this.join(name, where, read, concatenate({ name }));
    const shape = [steps == null ? null : steps * times, features];
    return this.insert(wide, name, (own) => ({ layer: reshape([-1, features], { name: own }) }), shape);
  }

  /** Several flows, without their masks, into a layer without weights. */
  private join(name: string, where: string, read: readonly Flow[], layer: Layer): Flow {
    const place: Place = { names: [name], depth: 1, group: "", within: [] };
    const inputs = read.map((flow) => this.remasked(flow, "none"));
    return {
      node: this.push({ name, where, piece: { layer, within: [], params: none }, place }, inputs),
      shape: read[0].shape,
    };
  }

  private push(step: Step, inputs: readonly Flow[], states: readonly Flow[] = []): number {
    if (this.calls.length >= MOST_CALLS)
      throw new FormatError(`${step.where}: more than ${MOST_CALLS} calls of layers`);
    return this.calls.push({ step, inputs, states }) - 1;
  }

  /** What a layer reads, without the masks that Keras's does not see. */
  private seen({ piece, where }: Step, read: readonly Flow[]): readonly Flow[] {
    const mixed = this.dialect.merged === "any" && read.some(({ mask }) => mask === undefined);
    const added = piece.mask === "merges" && piece.layer!.type !== "concatenate";
    if (piece.mask === "ignores" || (added && mixed)) return read.map((flow) => this.remasked(flow, "none"));
    if (piece.layer!.type === "multiHeadAttention" && read[2]?.mask !== undefined && read[2].mask !== read[1].mask)
      throw new FormatError(`${where}: its keys have another mask than its values; gruvy goes by that of the values`);
    const reads = piece.states || piece.mask === "first" || piece.mask === "ends";
    if (reads && read.some(({ mask }) => mask === UNCLEAR))
      throw new FormatError(
        `${where}: it reads a mask that was merged of different ones, which versions of Keras do in different ways; give the merged sequences one mask`,
      );
    return read;
  }

  private maskAfter({ mask }: Piece, read: readonly Flow[], node: number): number | undefined {
    if (mask === "starts") return node;
    if (mask === "ends" || mask === "ignores") return undefined;
    const masks = new Set(read.map((flow) => flow.mask));
    if (mask === "first" || masks.size === 1) return read[0].mask;
    return this.dialect.merged === "all" ? node : UNCLEAR;
  }

  /** A flow with another mask. */
  private remasked(flow: Flow, to: "none" | "reversed"): Flow {
    if (flow.mask === undefined) return flow;
    const after = this.insert(flow, "remask", (name) => ({ layer: remask(to, { name }) }));
    return { ...after, mask: to === "none" ? undefined : flow.mask };
  }

  /** Flows of one shape, where Keras repeats what an axis has once. */
  private broadcast({ type }: Layer, read: readonly Flow[]): readonly Flow[] {
    const shapes = read.flatMap(({ shape }) => (shape ? [shape] : []));
    if (type === "concatenate" || shapes.length < read.length) return read;
    const sequences = shapes.filter(({ length }) => length === 2);
    const steps = sequences.find(([n]) => n !== 1)?.[0];
    const features = Math.max(...shapes.map((shape) => shape.at(-1) ?? 1));
    return read.map((flow) => {
      const [n] = flow.shape!;
      let wide = flow;
      if (typeof steps === "number" && (flow.shape!.length === 1 || n === 1)) {
        if (flow.shape!.length === 2)
          wide = this.insert(wide, "flatten", (name) => ({ layer: flatten({ name }), mask: "ignores" }));
        wide = this.insert(wide, "repeat", (name) => ({ layer: repeat(steps, { name }) }));
        wide = { ...wide, shape: [steps, flow.shape!.at(-1)!], mask: undefined };
      }
      if (wide.shape!.at(-1) !== 1 || features === 1) return wide;
      const shape = [...wide.shape!.slice(0, -1), features];
      return this.insert(wide, "widen", (name) => summing(dense(features, { name, useBias: false })), shape);
    });
  }

  /** What comes of a layer that the file does not have. */
  private insert(flow: Flow, kind: string, make: (name: string) => Partial<Piece>, shape = flow.shape): Flow {
    const name = this.nameFor(`${kind}_${this.calls.length}`);
    const place: Place = { names: [name], depth: 1, group: "", within: [] };
    const piece: Piece = { within: [], params: none, ...make(name) };
    const where = `loadModel(): ${name}`;
    return { ...flow, node: this.push({ name, where, piece, place }, [flow]), state: undefined, shape };
  }

  /** A name that gruvy takes, and that nothing else has. */
  nameFor(name: string): string {
    let base = name.replace(/[\s\p{Cc}./\\]+/gu, "_").slice(0, 190) || "layer";
    if (base.startsWith("__")) base = `layer${base}`;
    let found = base;
    for (let i = 1; this.names.has(found); i++) found = `${base}_${i}`;
    this.names.add(found);
    return found;
  }
}

/** A product with ones. */
function summing(layer: Layer): Partial<Piece> {
  return { layer, params: () => ({ kernel: { shape: [], data: Float32Array.of(1) } }) };
}

/** A flow that a node gives. @throws FormatError for scores on their way to attention */
export function real(flow: Flow): Flow {
  if (!flow.scores) return flow;
  throw new FormatError(
    `${flow.scores.where}: its product goes elsewhere than through a softmax to a product with values; gruvy has it inside attention alone`,
  );
}
