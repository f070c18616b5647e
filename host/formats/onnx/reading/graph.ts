import { FormatError } from "../../../core/errors.ts";
import { shown } from "../../../core/options.ts";
import { shapeText, type Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";
import { append } from "../../append.ts";
import type { OnnxGraph, OnnxModel, OnnxNode } from "../proto.ts";
import { settled } from "./spread.ts";
import {
  Axis,
  constant,
  type Data,
  type Floats,
  isFeatures,
  isKnown,
  lengthOf,
  type MergedAxis,
  type Part,
  type Role,
  rowsOf,
  single,
  type Value,
} from "./values.ts";

/** Features that data may have. */
const MOST_COLUMNS = 2 ** 22;

/** Numbers of all matrices that the file does not have itself, such as those that choose features. */
const MOST_NUMBERS = 2 ** 26;

/** What operators may make of numbers that the file has, as a multiple of them. */
const MOST_COPIES = 16;

/** How deep graphs may lie in graphs. */
const DEEPEST = 8;

/** A layer that the graph has come to mean, still open to what follows: a bias, an activation. */
export interface Emitted {
  type: string;
  config: Record<string, Json>;
  /** Nodes read; -1 - i is the i-th input. */
  inputs: Read[];
  /** By the parameter's name within the layer. */
  weights: Record<string, Tensor>;
  /** From the ONNX node's. */
  readonly name: string;
  /** Initial states that come from other nodes rather than from the caller. */
  initialStates?: Read[];
  /** Recurrent: what of it the model reads, found out at its end. */
  reads?: { outputs: boolean; state: boolean };
  /** Made to take some features of what it reads: which ones, of what. */
  pick?: { readonly of: Data; readonly columns: readonly number[] };
  /** Made to take a step of what it reads. */
  step?: { readonly of: Data; readonly axis: number; readonly at: number };
  /** Made to be a state of zeros. */
  zeros?: boolean;
  /** Made to add steps to what it reads: how many, of what number. */
  padding?: { readonly of: Data; readonly before: number; readonly after: number; readonly value: number };
  /** Sequences in it may be shorter than its rows, as callers say by lengths. */
  padded?: boolean;
}

/** The output of a node, or its final states: one of them, or all as one. */
export interface Read {
  readonly node: number;
  readonly state?: number | "all";
}

/** An input of the graph. */
export interface GraphInput {
  readonly name: string;
  readonly axes: readonly Axis[];
  /** Found out by what reads it. */
  use?: "values" | "tokens" | "lengths" | "state";
}

/** Layers after which all steps count. */
const MASKLESS = ["remask", "reshape", "transpose", "padding1d"];

/** Operators that states go through on their way from an input of the model. */
const MOVES = ["Identity", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Split", "Gather", "Transpose"];

/** A graph while it is read: what its tensors are, and the layers so far. */
export class Graph {
  readonly values = new Map<string, Value>();
  readonly nodes: Emitted[] = [];
  readonly inputs: GraphInput[] = [];
  /** What reads a tensor, in this graph: nodes, and at which of their inputs. */
  private readonly readers = new Map<string, [OnnxNode, number][]>();
  private readonly uses = new Map<string, number>();
  private readonly converted = new Map<string, unknown>();
  private readonly states = new Map<string, boolean>();
  /** The node whose turn it is. */
  node!: OnnxNode;
  /** The graph is one step of a sequence, its states inputs and outputs. */
  stepwise = false;
  /** Layers depend on how many steps the file says that its inputs have. */
  fixed = false;
  /** Callers say how long sequences are. */
  private readonly lengths: boolean;
  private made = 0;
  /** Numbers of the file so far, and those made of them. */
  private known = 0;
  private copies = 0;
  /** Data that have an axis as their steps: the first ones. */
  private readonly sequences = new Map<Axis, Data>();

  constructor(
    readonly model: OnnxModel,
    readonly where: string,
    /** What is around this graph: its numbers may be read. */
    private readonly outer?: { find(name: string): Value | undefined },
  ) {
    this.countReads(model);
    this.lengths = model.nodes.some(({ type, inputs }) => type === "GRU" && !!inputs[4]);
    for (const node of model.nodes)
      node.inputs.forEach((name, i) => {
        append(this.readers, name, [node, i]);
      });
    for (const { name, shape } of model.inputs) {
      if (model.initializers.has(name)) continue;
      if (!shape) throw new FormatError(`${where}: input ${shown(name)}: the number of its axes is not known`);
      const axes = shape.map((size) => new Axis(typeof size === "number" ? size : null));
      const data: Data = { kind: "data", node: -1 - this.inputs.length, axes: axes.map(single), features: [] };
      this.values.set(name, data);
      this.remember(data);
      this.inputs.push({ name, axes });
    }
  }

  /** Counts who reads what; a graph in a node may read what is around it. */
  private countReads({ nodes, outputs }: OnnxGraph, depth = 0): void {
    if (depth > DEEPEST) throw new FormatError(`${this.where}: graphs in graphs, ${depth} deep`);
    const count = (name: string) => this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
    for (const { inputs, attributes } of nodes) {
      inputs.forEach(count);
      for (const { g } of attributes.values()) if (g) this.countReads(g(), depth + 1);
    }
    for (const { name } of outputs) count(name);
  }

  // -------------------------------------------------------------- errors

  private get title(): string {
    const { domain, type, name, outputs } = this.node;
    return `${domain ? `${domain}.` : ""}${type} node ${shown(name || outputs[0] || "")}`;
  }

  /** What gruvy cannot do, and what would be needed. */
  unsupported(what: string, needed: string): FormatError {
    return new FormatError(`${this.where}: ${this.title}: ${what}; ${needed}`);
  }

  damaged(what: string): FormatError {
    return new FormatError(`${this.where}: ${this.title}: ${what}`);
  }

  // --------------------------------------------------- inputs, attributes

  /** Input i, or undefined where it is left out. */
  optional(i: number): Value | undefined {
    const name = this.node.inputs[i];
    if (!name) return undefined;
    const value = this.find(name);
    if (!value) throw this.damaged(`reads ${shown(name)}, which nothing before it makes`);
    return value;
  }

  /** A tensor by its name, as far as the graph has been read. */
  find(name: string): Value | undefined {
    let value = this.values.get(name);
    if (value) return value;
    const read = this.model.initializers.get(name);
    if (read) {
      const numbers = read();
      this.known += numbers.data.length;
      value = constant(numbers);
      this.values.set(name, value);
      return value;
    }
    value = this.outer?.find(name);
    if (value && !isKnown(value) && value.kind !== "fill")
      throw this.unsupported(`reads ${shown(name)} of the graph around it`, "a step may read x_t and its state");
    return value;
  }

  input(i: number): Value {
    const value = this.optional(i);
    if (!value) throw this.damaged(`input ${i} is missing`);
    return value;
  }

  /** Input i as data that layers can read. */
  data(i: number): Data {
    const value = this.settle(this.input(i));
    if (value.kind !== "data")
      throw this.unsupported(`input ${i} is ${describe(value)}`, "expected data from an input of the model");
    return value;
  }

  /** What was kept apart for an attention, as data; all else as it is. */
  settle(value: Value): Value {
    if (value.kind === "mask") throw this.unsupported(`reads ${describe(value)}`, "layers of gruvy alone do");
    return value.kind === "pairs" || value.kind === "repeated" ? settled(this, value) : value;
  }

  floats(i: number): Floats {
    const value = this.input(i);
    if (value.kind !== "floats")
      throw this.unsupported(`input ${i} is ${describe(value)}`, "expected numbers that the file has");
    return value;
  }

  /** Whole numbers that are known: an attribute up to some opset, an input from then on. */
  ints(attribute: string, i: number): number[] | undefined {
    const given = this.node.attributes.get(attribute);
    if (given) return given.ints.length || given.i === undefined ? [...given.ints] : [given.i];
    const value = this.optional(i);
    if (!value) return undefined;
    if (value.kind !== "ints") throw this.damaged(`"${attribute}": expected whole numbers, got ${describe(value)}`);
    return value.entries.map((entry) => {
      if (typeof entry !== "number")
        throw this.unsupported(`"${attribute}" depends on the input's shape`, "expected numbers");
      return entry;
    });
  }

  int(attribute: string, fallback: number): number {
    return this.node.attributes.get(attribute)?.i ?? fallback;
  }

  float(attribute: string, fallback: number): number {
    return this.node.attributes.get(attribute)?.f ?? fallback;
  }

  /** An axis counted from either end. */
  axis(index: number, rank: number): number {
    const axis = index < 0 ? index + rank : index;
    if (!(Number.isInteger(axis) && axis >= 0 && axis < rank)) throw this.damaged(`axis ${index} of ${rank}`);
    return axis;
  }

  /** What is made of some inputs that are numbers; the same again where another node has the same, as a layer used twice. */
  once<T>(what: string, inputs: readonly number[], make: () => T): T {
    const key = JSON.stringify([what, inputs.map((i) => this.node.inputs[i])]);
    if (!this.converted.has(key)) this.converted.set(key, make());
    return this.converted.get(key) as T;
  }

  // ------------------------------------------------------------- outputs

  /** What output i is. */
  set(i: number, value: Value): void {
    const name = this.node.outputs[i];
    if (!name) return;
    if (this.values.has(name)) throw this.damaged(`makes ${shown(name)}, which is there already`);
    if (value.kind === "data") this.remember(value);
    if (isKnown(value)) this.checkCopies(lengthOf(value));
    if ((this.uses.get(name) ?? 0) > 1) this.values.set(name, shared(value));
    else this.values.set(name, value.kind === "data" ? { ...value, exclusive: value.exclusive ?? true } : value);
  }

  private remember(data: Data): void {
    for (const [axis, ...others] of data.axes)
      if (axis && !others.length && !data.state && !this.sequences.has(axis)) this.sequences.set(axis, data);
  }

  /** Some data with an axis. */
  sequence(axis: Axis): Data | undefined {
    return this.sequences.get(axis);
  }

  used(i: number): boolean {
    const name = this.node.outputs[i];
    return !!name && this.uses.has(name);
  }

  /** How often a tensor is read. */
  count(name: string): number {
    return this.uses.get(name) ?? 0;
  }

  /** Whether a tensor becomes states of GRUs, and nothing else. */
  isState(name: string, depth = 0): boolean {
    if (depth > 32) return false;
    const known = this.states.get(name);
    if (known !== undefined) return known;
    // No tensor becomes a state by way of itself.
    this.states.set(name, false);
    const readers = this.readers.get(name) ?? [];
    const state =
      readers.length > 0 &&
      readers.every(
        ([{ type, outputs }, i]) =>
          (type === "GRU" && i === 5) ||
          (i === 0 && MOVES.includes(type) && outputs.every((output) => this.isState(output, depth + 1))),
      );
    this.states.set(name, state);
    return state;
  }

  /** Whether rows of data may be past the end of their sequence. */
  padded({ node, state }: Read | Data): boolean {
    return !state && (node < 0 ? this.lengths : (this.nodes[node].padded ?? false));
  }

  /** A layer, named after the node whose turn it is. */
  layer(type: string, config: Record<string, Json>, inputs: Read[], weights: Record<string, Tensor>): number {
    const { outputs, name } = this.node;
    const whole = MASKLESS.includes(type) || config.global === true || config.returnSequences === false;
    return (
      this.nodes.push({
        type,
        config,
        inputs,
        weights,
        name: name || outputs.find((output) => output) || type,
        padded: !whole && inputs.some((read) => read.state === undefined && this.padded(read)),
      }) - 1
    );
  }

  /** A layer that keeps the axes of what it reads. */
  push(type: string, config: Record<string, Json>, data: Data): Data {
    const node = this.layer(type, config, [this.read(data)], {});
    return { ...data, node, state: undefined, exclusive: undefined };
  }

  /** A layer on some data; the result has the first's axes, with features of its own. */
  emit(
    type: string,
    config: Record<string, Json>,
    of: readonly Data[],
    weights: Record<string, Tensor>,
    size: number,
  ): Data {
    const [first] = of;
    const at = this.featuresAxis(first);
    const features = new Axis(size, "features");
    const inputs = of.map((data) => this.read(data));
    const node = this.layer(type, config, inputs, weights);
    return {
      kind: "data",
      node,
      axes: first.axes.map((axis, i) => (i === at ? single(features) : axis)),
      features: [features],
    };
  }

  /** Data as a layer reads it: with one axis of steps. */
  read(data: Data): Read {
    const { node, state, part } = data;
    if (rowsOf(data).filter(({ role }) => role === "time").length > 1)
      throw this.unsupported(
        `works along both axes of rows of ${describe(data)}`,
        "one is the batch, whose samples do not matter to one another",
      );
    if (node < 0) {
      this.use(-1 - node, "values");
      return { node };
    }
    return state ? { node, state: part ?? "all" } : { node };
  }

  /** How an input of the model is used. */
  use(input: number, use: NonNullable<GraphInput["use"]>): void {
    const own = this.inputs[input];
    if (own.use && own.use !== use)
      throw this.unsupported(
        `input ${shown(own.name)} is read as ${use}, and elsewhere as ${own.use}`,
        "split it in two",
      );
    own.use = use;
  }

  /** How many features data have, in whatever axes they are. */
  columns(data: Data): number {
    const n = data.features.reduce<number | null>(
      (all, { size }) => (all === null || size === null ? null : all * size),
      1,
    );
    if (n === null) throw this.unsupported("the number of features is not known", "give the input a shape with it");
    if (n > MOST_COLUMNS) throw this.unsupported(`${n} features`, `expected at most ${MOST_COLUMNS}`);
    return n;
  }

  /** Before numbers are made that the file does not have. */
  checkCount(n: number): void {
    this.made += n;
    if (!(this.made <= MOST_NUMBERS))
      throw this.unsupported(`would take a matrix of ${n} numbers`, "expected fewer features or steps");
  }

  /** Before numbers of the file are joined, or taken several times: a small file may have a long way to go. */
  checkCopies(n: number): void {
    this.copies += n;
    if (!(this.copies <= MOST_NUMBERS + MOST_COPIES * this.known))
      throw this.unsupported(`would make ${n} numbers more of those that the file has`, "expected fewer copies");
  }

  // ---------------------------------------------------------------- axes

  /** Says what an axis means. */
  assign(axis: Axis, role: Role): void {
    // A batch of one may be put in, and a single step where the graph is one.
    const free = axis.role === undefined || (axis.role === "one" && (role !== "time" || this.stepwise));
    if (!free && axis.role !== role)
      throw this.unsupported(
        `an axis is read as ${role}, and elsewhere as ${axis.role}`,
        "rows are [batch, time, features] here",
      );
    axis.role = role;
  }

  /** Where the features of an input are as far as is known: its last axis, unless something else was said. */
  featuresAt(data: Data): number {
    const known = data.axes.findIndex(([axis]) => axis.role === "features");
    return known >= 0 ? known : data.axes.length - 1;
  }

  /** Where the features of data are; those of an input are its last axis, unless something else was said. */
  featuresAxis(data: Data): number {
    let at = data.axes.findIndex((axis) => isFeatures(data, axis));
    if (at < 0 && data.node < 0 && data.features.length === 0) {
      at = this.featuresAt(data);
      if (at < 0) throw this.unsupported("a single number", "expected features");
      this.assign(data.axes[at][0], "features");
    }
    if (at < 0)
      throw this.unsupported(
        `its input [${data.axes.map(named).join(", ")}] has features apart, or merged with other axes`,
        "features must be one axis, such as of [batch, time, features]",
      );
    return at;
  }

  /** The same data; that of an input of the model has features from here on. */
  withFeatures(data: Data): Data {
    return data.node < 0 && data.features.length === 0 ? this.rows(data, this.featuresAxis(data)).data : data;
  }

  /** Data whose features are the axis `at`, and how many those are. */
  rows(data: Data, at: number, expected?: number): { data: Data; size: number } {
    let rows = data;
    if (data.node < 0 && data.features.length === 0) {
      const axis = data.axes[at];
      if (axis?.length !== 1)
        throw this.unsupported("merged axes of an input", "expected features as an axis of their own");
      if (this.inputs[-1 - data.node].axes.some((own) => own.role === "features" && own !== axis[0]))
        throw this.unsupported(
          `works along axis ${at} of ${describe(data)}`,
          "other nodes have another one for the features",
        );
      this.assign(axis[0], "features");
      rows = { ...data, features: axis };
    }
    if (rows.features.length === 1 && rows.features[0].size === null && expected !== undefined)
      rows.features[0].size = expected;
    const size = this.columns(rows);
    if (expected !== undefined && size !== expected) throw this.damaged(`expected ${expected} features, got ${size}`);
    if (this.featuresAxis(rows) !== at)
      throw this.unsupported(
        `works along axis ${at} of [${rows.axes.map(named).join(", ")}]`,
        "only the axis of all features can be worked along",
      );
    return { data: rows, size };
  }
}

/** A value that several nodes read: none of them may change the layers that made it. */
function shared(value: Value): Value {
  const kept = <D extends Data | Part>(data: D): D => (data.kind === "data" ? { ...data, exclusive: false } : data);
  switch (value.kind) {
    case "data":
      return kept(value);
    case "stack":
      return { ...value, parts: value.parts.map(kept) };
    case "pairs":
      return { ...value, left: kept(value.left), right: kept(value.right) };
    default:
      return value;
  }
}

/** An axis in a message. */
export function named(axis: MergedAxis): string {
  return axis.map(({ role, size }) => role ?? size ?? "?").join("·") || "one";
}

export function describe(value: Value): string {
  switch (value.kind) {
    case "data":
      return `data [${value.axes.map(named).join(", ")}]`;
    case "floats":
      return `numbers ${shapeText(value.shape)}`;
    case "ints":
      return `whole numbers ${shapeText(value.shape)}`;
    case "fill":
      return `${value.value} everywhere`;
    case "stack":
      return `${value.parts.length} tensors one after the other`;
    case "part":
      return `a part [${value.from}, ${value.to}) of an input`;
    case "curve":
      return "a function that gruvy has no activation for";
    case "pairs":
      return `queries with keys [${value.axes.map(named).join(", ")}]`;
    case "repeated":
      return `a vector for every step [${value.axes.map(named).join(", ")}]`;
    case "scores":
      return `scores of an attention [${value.axes.map(named).join(", ")}]`;
    case "weighted":
      return "data with the weights of an attention";
    case "moment":
      return `the ${value.step} of a layer normalisation`;
    case "mask":
      return "a mask of steps";
  }
}
