import { FormatError } from "../../core/errors.ts";
import { dense } from "../../layers/dense.ts";
import type { Layer } from "../../layers/layer.ts";
import { remask } from "../../layers/remask.ts";
import { repeat } from "../../layers/repeat.ts";
import { flatten } from "../../layers/reshape.ts";
import type { Dialect, Place } from "./config.ts";
import { none, type Piece, type Shape } from "./piece.ts";

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
    const units = shape?.at(-1) ?? null;
    return [output, ...Array.from({ length: piece.states ?? 0 }, (_, state) => ({ node, state, shape: [units] }))];
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
      // A product with ones.
      const ones = { shape: [], data: Float32Array.of(1) };
      wide = this.insert(wide, "widen", (name) => ({
        layer: dense(features, { name, useBias: false }),
        params: () => ({ kernel: ones }),
      }));
      return { ...wide, shape: [...wide.shape!.slice(0, -1), features] };
    });
  }

  /** What comes of a layer that the file does not have. */
  private insert(flow: Flow, kind: string, make: (name: string) => Partial<Piece>): Flow {
    const name = this.nameFor(`${kind}_${this.calls.length}`);
    const place: Place = { names: [name], depth: 1, group: "", within: [] };
    const piece: Piece = { within: [], params: none, ...make(name) };
    const where = `loadModel(): ${name}`;
    return { ...flow, node: this.push({ name, where, piece, place }, [flow]), state: undefined };
  }

  /** A name that gruvy takes, and that nothing else has. */
  nameFor(name: string): string {
    let base = name.replace(/[\s./\\]+/g, "_").slice(0, 190) || "layer";
    if (base.startsWith("__")) base = `layer${base}`;
    let found = base;
    for (let i = 1; this.names.has(found); i++) found = `${base}_${i}`;
    this.names.add(found);
    return found;
  }
}
