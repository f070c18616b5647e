import { shown } from "../../../core/options.ts";
import { type OnnxGraph, type OnnxNode, TYPE } from "../proto.ts";
import { MOST_WORK, readCell } from "./cell.ts";
import { describe, type Emitted, Graph } from "./graph.ts";
import { initialStates } from "./gru.ts";
import { unmasked } from "./steps.ts";
import { Axis, constant, type Data, type Ints, type Value } from "./values.ts";

/**
 * Loop, where it is a GRU step by step: what tf2onnx makes of Keras's layers.
 * Its body is read as a graph of its own, of x_t and h.
 */

const NEEDED =
  "a loop is read where it is a GRU over all steps; a Keras model can be loaded from its .keras or .h5 file, which names its layers";

/** What a loop carries from step to step, by the name that its body has for it. */
interface Carried {
  readonly index: number;
  /** In the body: before a step, and after. */
  readonly name: string;
  readonly next: string;
  readonly initial: Value;
}

/** @param read reads the nodes of a graph, in their order */
export function loop(graph: Graph, read: (graph: Graph) => void): void {
  const body = graph.node.attributes.get("body")?.g?.();
  if (!body) throw graph.damaged("a loop without a body");
  const K = graph.node.inputs.length - 2;
  if (K < 0 || body.inputs.length !== K + 2 || body.outputs.length < K + 1)
    throw graph.damaged(`${body.inputs.length} inputs and ${body.outputs.length} outputs of a body that carries ${K}`);
  const reader = new Body(graph, body);
  const carried = Array.from({ length: K }, (_, index): Carried => {
    const [{ name }, { name: next }] = [body.inputs[index + 2], body.outputs[index + 1]];
    return { index, name, next: reader.source(next), initial: graph.input(index + 2) };
  });
  const fixed = carried.filter(({ name, next }) => name === next);
  const counters = carried.filter((c) => c.name !== c.next && c.initial.kind === "ints");
  const states = carried.filter((c) => c.name !== c.next && c.initial.kind !== "ints");
  for (const { name, initial } of fixed) reader.known.set(name, initial);
  for (const counter of counters) reader.count(counter.name, counter.next, counter.initial as Ints);
  if (states.length !== 1) throw graph.unsupported(`carries ${states.length} states`, NEEDED);
  const [state] = states;

  const { x, nodes } = reader.step(state.next);
  const [time, batch] = x.axes;
  if (x.axes.length !== 3 || time.length !== 1 || batch.length !== 1)
    throw graph.unsupported(`goes through ${describe(x)}`, NEEDED);
  const { data, size: inputs } = graph.rows(x, 2);
  reader.checkSteps(time[0]);
  graph.assign(time[0], "time");
  graph.assign(batch[0], "batch");

  // The step as a graph of its own.
  const shapeOf = (name: string) => body.inputs.find((input) => input.name === name)?.shape;
  const units = shapeOf(state.name)?.[1];
  if (typeof units !== "number") throw graph.unsupported("the size of its state is not known", NEEDED);
  graph.checkCount(3 * units * Math.max(units, inputs));
  const float = TYPE.float;
  const model = {
    ...graph.model,
    nodes,
    initializers: body.initializers,
    inputs: [
      { name: X, type: float, shape: [null, inputs] },
      { name: state.name, type: float, shape: [null, units] },
    ],
    outputs: [{ name: state.next, type: float }],
  };
  const around = new Map(fixed.map(({ name, initial }) => [name, initial]));
  const step = new Graph(model, graph.where, { find: (name) => around.get(name) ?? graph.find(name) });
  read(step);
  const next = step.find(state.next);
  if (next?.kind !== "data" || next.axes.length !== 2) throw graph.unsupported("its state is no data", NEEDED);
  const { data: result } = step.rows(next, 1, units);
  const cell = readCell(step.nodes, inputs, units, result.node, { left: MOST_WORK });
  if (typeof cell === "string") throw graph.unsupported(cell, NEEDED);

  const { kernel, recurrentKernel, bias, ...config } = cell;
  const emitted: Emitted = {
    type: "gru",
    config: { units, returnSequences: true, useBias: bias !== undefined, ...config },
    inputs: [graph.read(unmasked(graph, data))],
    weights: { kernel, recurrentKernel, ...(bias && { bias }) },
    name: graph.node.name || graph.node.outputs.find((output) => output) || "gru",
    initialStates: initialStates(graph, data, state.initial, 1, units),
    reads: { outputs: false, state: false },
  };
  const node = graph.nodes.push(emitted) - 1;
  const unit = new Axis(units, "features");
  const made: Data = { kind: "data", node, axes: [], features: [unit] };
  for (const { index, initial } of fixed) graph.set(index, initial);
  for (const { index } of counters) graph.set(index, { kind: "ints", shape: [], entries: [null] });
  graph.set(state.index, { ...made, axes: [batch, [unit]], state: true });
  for (let i = K; i < body.outputs.length - 1; i++) {
    if (!graph.used(i)) continue;
    if (reader.source(body.outputs[i + 1].name) !== state.next)
      throw graph.unsupported("gives something else than its state, step by step", NEEDED);
    graph.set(i, { ...made, axes: [time, batch, [unit]] });
  }
}

/** The name of x_t in the graph of a step; no file can have it. */
const X = "\0x";

/** Steps that a bound allows: a number, or as many as an axis has and some more. */
interface Bound {
  readonly of: number | Axis;
  readonly more: number;
}

/** The nodes of a loop's body, by what they make. */
class Body {
  /** What is the same in every step. */
  readonly known = new Map<string, Value>();
  /** Names that are the number of the step, counted from 0, and how much is added to it. */
  private readonly counters = new Map<string, number>();
  private readonly makers = new Map<string, OnnxNode>();

  constructor(
    private readonly graph: Graph,
    private readonly body: OnnxGraph,
  ) {
    this.counters.set(body.inputs[0].name, 0);
    for (const node of body.nodes) for (const output of node.outputs) this.makers.set(output, node);
  }

  /** Back through nodes that change nothing. */
  source(name: string): string {
    let from = name;
    for (let i = 0; i <= this.body.nodes.length; i++) {
      const maker = this.makers.get(from);
      if (maker?.type !== "Identity" || maker.domain !== "") break;
      from = maker.inputs[0];
    }
    return from;
  }

  /** Takes a carried whole number, which must count the steps. */
  count(name: string, next: string, { entries }: Ints): void {
    this.counters.set(name, 0);
    if (entries.length !== 1 || entries[0] !== 0 || this.offset(next) !== 1)
      throw this.graph.unsupported("carries a whole number that does not count steps", NEEDED);
  }

  /** What is added to the number of the step, if a tensor is that. */
  private offset(name: string, depth = 0): number | undefined {
    const known = this.counters.get(name);
    if (known !== undefined || depth > 16) return known;
    const maker = this.makers.get(name);
    if (!maker) return undefined;
    const [a, b] = maker.inputs;
    if (PASSING.includes(maker.type)) return this.offset(a, depth + 1);
    if (maker.type !== "Add") return undefined;
    for (const [counter, added] of [
      [a, b],
      [b, a],
    ]) {
      const offset = this.offset(counter, depth + 1);
      const by = this.size(added);
      if (offset !== undefined && typeof by === "number") return offset + by;
    }
    return undefined;
  }

  /** A number that is the same in every step, or the size of an axis. */
  private size(name: string, depth = 0): number | Axis | undefined {
    const maker = this.makers.get(name);
    if (maker && depth < 16 && PASSING.includes(maker.type)) return this.size(maker.inputs[0], depth + 1);
    const own = this.body.initializers.get(name)?.();
    if (own) return own.data.length === 1 ? own.data[0] : undefined;
    return maker ? undefined : single(this.known.get(name) ?? this.graph.find(name));
  }

  /** Which nodes make the next state, and what is gone through step by step. */
  step(state: string): { x: Data; nodes: OnnxNode[] } {
    const { graph } = this;
    const needed = new Set<OnnxNode>();
    const open = [state];
    let x: string | undefined;
    const names = new Map<string, string>();
    while (open.length) {
      const name = open.pop()!;
      const maker = this.makers.get(name);
      if (!maker || needed.has(maker) || names.has(name)) continue;
      if (maker.type === "Gather" && this.offset(maker.inputs[1]) !== undefined) {
        const [table, index] = maker.inputs;
        if (
          this.offset(index) !== 0 ||
          (maker.attributes.get("axis")?.i ?? 0) !== 0 ||
          (x !== undefined && x !== table)
        )
          throw graph.unsupported("takes other steps than x_t", NEEDED);
        x = table;
        names.set(name, X);
        continue;
      }
      needed.add(maker);
      open.push(...maker.inputs);
    }
    const value = x === undefined ? undefined : (this.known.get(x) ?? graph.find(x));
    if (value?.kind !== "data") throw graph.unsupported("goes through no sequence", NEEDED);
    const nodes = this.body.nodes
      .filter((node) => needed.has(node))
      .map((node) => ({ ...node, inputs: node.inputs.map((input) => names.get(input) ?? input) }));
    return { x: value, nodes };
  }

  /** The loop must go through all steps and no more. */
  checkSteps(time: Axis): void {
    const { graph } = this;
    const refused = () => graph.unsupported("may end before the last step, or never", NEEDED);
    const begins = graph.optional(1);
    if (begins && !(typeof single(begins) === "number" && single(begins) !== 0)) throw refused();
    const bounds = this.bounds(this.body.outputs[0].name);
    const trips = graph.optional(0);
    if (trips) bounds.push({ of: single(trips) ?? Number.NaN, more: 0 });
    const sizes = bounds.map(({ of, more }) =>
      of === time || (of instanceof Axis && of.size !== null && of.size === time.size)
        ? (time.size ?? 0) + more
        : time.size === null && typeof of === "number" && of >= 2 ** 31 - 1
          ? Number.POSITIVE_INFINITY
          : time.size !== null && typeof of === "number"
            ? of + more
            : Number.NaN,
    );
    // Math.min gives NaN where one is not known.
    if (Math.min(...sizes) !== (time.size ?? 0)) throw refused();
  }

  /** How many steps a condition allows. */
  private bounds(name: string, depth = 0): Bound[] {
    const maker = this.makers.get(name);
    const refused = this.graph.unsupported("a condition that is no number of steps", NEEDED);
    if (depth > 16) throw refused;
    if (!maker) {
      const size = name === this.body.inputs[1].name ? 1 : this.size(name);
      if (typeof size === "number" && size !== 0) return [];
      throw refused;
    }
    const [a, b] = maker.inputs;
    if (PASSING.includes(maker.type)) return this.bounds(a, depth + 1);
    if (maker.type === "And") return [...this.bounds(a, depth + 1), ...this.bounds(b, depth + 1)];
    if (maker.type !== "Less" && maker.type !== "Greater") throw refused;
    const [low, high] = maker.type === "Less" ? [a, b] : [b, a];
    const offset = this.offset(low);
    const size = this.size(high);
    if (offset === undefined || size === undefined) throw refused;
    // After step k, counted from 0, goes on where k + offset < size.
    return [{ of: size, more: 1 - offset }];
  }
}

/** Operators through which a single whole number passes as it is. */
const PASSING = ["Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"];

function single(value: Value | undefined): number | Axis | undefined {
  if (value?.kind === "ints" && value.entries.length === 1) {
    const [entry] = value.entries;
    return typeof entry === "number" || entry instanceof Axis ? entry : undefined;
  }
  if (value?.kind === "floats" && value.data.length === 1) return value.data[0];
  if (value?.kind === "fill") return value.value;
  return undefined;
}

/**
 * If, whose condition is known once the sizes of the file are: the nodes of
 * its branch, as if they stood in the graph.
 */
export function branch(graph: Graph, read: (graph: Graph, nodes: readonly OnnxNode[]) => void): void {
  const condition = single(graph.input(0));
  const { node } = graph;
  if (typeof condition !== "number")
    throw graph.unsupported(
      "a condition that depends on the input",
      "export the network for inputs of a fixed shape, or without the condition",
    );
  const body = node.attributes.get(condition ? "then_branch" : "else_branch")?.g?.();
  if (!body || body.outputs.length !== node.outputs.length)
    throw graph.damaged("a branch that does not fit its outputs");
  for (const [name, numbers] of body.initializers) {
    if (graph.values.has(name) || graph.model.initializers.has(name))
      throw graph.unsupported(`a branch with numbers ${shown(name)}, a name that is there already`, "rename them");
    graph.values.set(name, constant(numbers()));
  }
  read(graph, body.nodes);
  graph.node = node;
  body.outputs.forEach(({ name }, i) => {
    const value = graph.find(name);
    if (!value) throw graph.damaged(`a branch without ${shown(name)}`);
    // The branch's own name is read here alone, the node's as often as it is.
    graph.set(i, value);
  });
}
