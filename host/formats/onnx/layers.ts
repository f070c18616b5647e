import type { Tensor } from "../../core/tensor.ts";
import type { Json } from "../../layers/layer.ts";
import { toAffine } from "../batch-norm.ts";
import { transpose } from "../gates.ts";
import { describe, type Graph } from "./graph.ts";
import { gru } from "./gru.ts";
import { intArithmetic, MOVES } from "./moves.ts";
import { type Data, type Floats, isFeatures, type Moment, type Value } from "./values.ts";
import { conv, globalPool, pool, poolAll } from "./windows.ts";

/**
 * Operators that compute. Each becomes a layer, or a part of the layer before
 * it: a bias, a scale, an activation.
 */

type Operator = (graph: Graph) => void;

const same = (a: Data, b: Data) => a.node === b.node && a.state === b.state && a.part === b.part;

/** The layer that made data, where nothing else reads it and it may still change. */
function open(graph: Graph, data: Data, ...types: string[]) {
  const node = data.node >= 0 && data.exclusive ? graph.nodes[data.node] : undefined;
  return node && types.includes(node.type) ? node : undefined;
}

const isLinear = (config: Record<string, Json>) => (config.activation ?? "linear") === "linear";

// ------------------------------------------------------------ activations

/** An activation: of the dense layer before it, or a layer of its own. */
export function activate(graph: Graph, data: Data, activation: Json): Data {
  const dense = open(graph, data, "dense", "conv1d");
  if (dense && isLinear(dense.config)) {
    dense.config.activation = activation;
    return data;
  }
  return graph.push("activation", { activation }, data);
}

function elementwise(activation: (graph: Graph) => Json): Operator {
  return (graph) => {
    const value = graph.input(0);
    if (value.kind === "moment" || value.kind === "floats")
      throw graph.unsupported(`works on ${describe(value)}`, "expected data");
    const data = graph.data(0);
    // Padding columns and unused axes do not matter to an element, but rows must be rows.
    graph.featuresAxis(data);
    graph.set(0, activate(graph, graph.withFeatures(data), activation(graph)));
  };
}

function rowwise(activation: "softmax" | "logSoftmax"): Operator {
  return (graph) => {
    const data = graph.data(0);
    const { opset } = graph.model;
    const rank = data.axes.length;
    const axis = graph.axis(graph.int("axis", opset < 13 ? 1 : -1), rank);
    // Before opset 13 the axes from `axis` on were taken as one.
    if (opset < 13 && data.axes.slice(axis).filter((a) => !a.every(({ role }) => role === "one")).length > 1)
      throw graph.unsupported(`a ${activation} over several axes at once`, "expected the last axis");
    const at = opset < 13 ? data.axes.length - 1 : axis;
    graph.set(0, activate(graph, graph.rows(data, at).data, activation));
  };
}

const withAlpha = (name: string, alpha: number) =>
  elementwise((graph) => ({ name, alpha: graph.float("alpha", alpha) }));

/** A bound of Clip: an attribute up to opset 10, an input from 11 on. */
function bound(graph: Graph, attribute: string, i: number, fallback: number): number {
  const given = graph.node.attributes.get(attribute)?.f;
  if (given !== undefined) return given;
  return graph.optional(i) ? graph.floats(i).data[0] : fallback;
}

// --------------------------------------------------------------- products

function dense(graph: Graph, given: Data, kernel: Tensor, bias?: Float32Array): Data {
  const [I, N] = kernel.shape;
  const { data } = graph.rows(given, given.axes.length - 1, I);
  return graph.emit(
    "dense",
    { units: N, useBias: bias !== undefined },
    [data],
    { kernel, ...(bias && { bias: { shape: [N], data: bias } }) },
    N,
  );
}

function matrix(graph: Graph, i: number): Tensor {
  const { shape, data } = graph.floats(i);
  const axes = shape.slice(-2);
  if (shape.length < 2 || shape.slice(0, -2).some((n) => n !== 1))
    throw graph.unsupported(`a product with numbers [${shape}]`, "expected one matrix");
  return { shape: [...axes], data };
}

function gemm(graph: Graph): void {
  if (graph.int("transA", 0)) throw graph.unsupported("transposes its data", "transA must be 0");
  let kernel = matrix(graph, 1);
  if (graph.int("transB", 0)) kernel = graph.once("transposed", [1], () => transpose(matrix(graph, 1)));
  const [alpha, beta] = [graph.float("alpha", 1), graph.float("beta", 1)];
  if (alpha !== 1) kernel = { ...kernel, data: kernel.data.map((w) => w * alpha) };
  const N = kernel.shape[1];
  let bias: Float32Array | undefined;
  if (graph.optional(2)) {
    const { data } = graph.floats(2);
    if (data.length !== N && data.length !== 1)
      throw graph.unsupported(`adds numbers [${data.length}]`, `expected ${N}`);
    const all = data.length === N && beta === 1;
    bias = all ? data : Float32Array.from({ length: N }, (_, j) => data[data.length === 1 ? 0 : j] * beta);
  }
  graph.set(0, dense(graph, graph.data(0), kernel, bias));
}

// ------------------------------------------------- arithmetic with numbers

/** Known numbers as one a feature, in the order of the node's features. */
function perFeature(
  graph: Graph,
  given: Data,
  { shape, data }: Floats,
): { data: Data; at: number; values: (n: number) => Float32Array } {
  const rank = given.axes.length;
  const wide = shape.findIndex((n) => n !== 1);
  if (shape.length > rank || shape.filter((n) => n !== 1).length > 1)
    throw graph.unsupported(`numbers [${shape}] beside ${describe(given)}`, "expected one number, or one a feature");
  // Aligned at the last axis.
  const at = wide < 0 ? graph.featuresAxis(given) : rank - shape.length + wide;
  const { data: rows } = graph.rows(given, at, wide < 0 ? undefined : shape[wide]);
  return { data: rows, at, values: (n) => (wide < 0 ? new Float32Array(n).fill(data[0]) : data) };
}

/** What a layer multiplies by and adds, of those that can take up an affine map after them. */
const FACTORS: Readonly<Record<string, readonly [factor: string, summand: string]>> = {
  dense: ["kernel", "bias"],
  conv1d: ["kernel", "bias"],
  layerNorm: ["gamma", "beta"],
  affine: ["scale", "shift"],
};

/** y = scale · x + shift, a number a feature: into the layer before, or a layer of its own. */
export function affine(graph: Graph, data: Data, size: number, scale?: Float32Array, shift?: Float32Array): Data {
  const ones = { shape: [size], data: new Float32Array(size).fill(1) };
  const before = open(graph, data, ...Object.keys(FACTORS));
  if (before && isLinear(before.config) && data.features.length === 1) {
    const { type, weights, config } = before;
    const [factor, summand] = FACTORS[type];
    if (scale)
      for (const name of [factor, summand]) {
        const old = weights[name] ?? (name === "gamma" ? ones : undefined);
        // The last axis of a kernel is the features.
        if (old) weights[name] = { shape: old.shape, data: old.data.map((w, i) => w * scale[i % size]) };
      }
    if (shift) {
      const old = weights[summand]?.data;
      weights[summand] = { shape: [size], data: old ? old.map((b, j) => b + shift[j]) : shift };
    }
    if (type === "layerNorm") {
      config.scale = weights[factor] !== undefined;
      config.center = weights[summand] !== undefined;
    } else if (type !== "affine") config.useBias = weights[summand] !== undefined;
    return data;
  }
  const weights = {
    scale: scale ? { shape: [size], data: scale } : ones,
    shift: { shape: [size], data: shift ?? new Float32Array(size) },
  };
  return graph.emit("affine", {}, [data], weights, size);
}

interface Arithmetic {
  readonly whole: (a: number, b: number) => number;
  /** Data with numbers: what they are, as scale or shift of the data. */
  readonly scale?: (v: Float32Array, dataFirst: boolean) => Float32Array | undefined;
  readonly shift?: (v: Float32Array, dataFirst: boolean) => Float32Array | undefined;
  /** The layer for two tensors of data. */
  readonly layer?: string;
}

const negative = (v: Float32Array) => v.map((x) => -x);

function arithmetic({ whole, scale, shift, layer }: Arithmetic): Operator {
  return (graph) => {
    const [a, b] = [graph.input(0), graph.input(1)];
    if (a.kind === "ints" && b.kind === "ints") return intArithmetic(whole)(graph, a, b);
    if (a.kind === "floats" && b.kind === "floats") return graph.set(0, broadcast(graph, a, b, whole));
    const moment = normalisation(graph, a, b);
    if (moment) return graph.set(0, moment);
    if (a.kind === "data" && b.kind === "data") {
      const gated = silu(graph, a, b);
      if (gated) return graph.set(0, gated);
      if (!layer) throw graph.unsupported("divides data by data", "no layer does");
      const [x, y] = [graph.withFeatures(a), graph.withFeatures(b)];
      const [at, other] = [graph.featuresAxis(x), graph.featuresAxis(y)];
      if (x.axes.length !== y.axes.length || at !== other)
        throw graph.unsupported(`${describe(a)} with ${describe(b)}`, "expected the same axes");
      const { size } = graph.rows(x, at);
      return graph.set(0, graph.emit(layer, {}, [x, graph.rows(y, other, size).data], {}, size));
    }
    const dataFirst = a.kind === "data";
    const [data, numbers] = dataFirst ? [a, b] : [b, a];
    if (data.kind !== "data" || numbers.kind !== "floats")
      throw graph.unsupported(`${describe(a)} with ${describe(b)}`, "expected data, and numbers that the file has");
    const { data: rows, at, values } = perFeature(graph, data, numbers);
    const { size } = graph.rows(rows, at);
    const v = values(size);
    graph.set(0, affine(graph, rows, size, scale?.(v, dataFirst), shift?.(v, dataFirst)));
  };
}

/** Operators of any number of inputs, all of them data; `two` takes two of any kind. */
function variadic(layer: string, two?: Operator): Operator {
  return (graph) => {
    const count = graph.node.inputs.length;
    if (count === 1) return graph.set(0, graph.input(0));
    if (count === 2 && two) return two(graph);
    const [first, ...others] = graph.node.inputs.map((_, i) => graph.withFeatures(graph.data(i)));
    const at = graph.featuresAxis(first);
    const { size } = graph.rows(first, at);
    for (const other of others) {
      if (other.axes.length !== first.axes.length || graph.featuresAxis(other) !== at)
        throw graph.unsupported(`${describe(first)} with ${describe(other)}`, "expected the same axes");
      graph.rows(other, at, size);
    }
    graph.set(0, graph.emit(layer, {}, [first, ...others], {}, size));
  };
}

function broadcast(graph: Graph, a: Floats, b: Floats, f: (a: number, b: number) => number): Floats {
  const rank = Math.max(a.shape.length, b.shape.length);
  const size = ({ shape }: Floats, axis: number) => shape[axis - rank + shape.length] ?? 1;
  const shape = Array.from({ length: rank }, (_, axis) => {
    const [x, y] = [size(a, axis), size(b, axis)];
    if (x !== y && x !== 1 && y !== 1) throw graph.damaged(`numbers [${a.shape}] and [${b.shape}]`);
    return x === 1 ? y : x;
  });
  const n = shape.reduce((product, s) => product * s, 1);
  if (n > 2 ** 26) throw graph.unsupported(`${n} numbers`, "expected fewer");
  const data = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    let [p, q, step, other] = [0, 0, 1, 1];
    for (let axis = rank - 1, rest = i; axis >= 0; axis--) {
      const k = rest % shape[axis];
      rest = Math.floor(rest / shape[axis]);
      const [x, y] = [size(a, axis), size(b, axis)];
      if (x !== 1) p += k * step;
      if (y !== 1) q += k * other;
      step *= x;
      other *= y;
    }
    data[i] = f(a.data[p], b.data[q]);
  }
  return { kind: "floats", shape, data };
}

/** x · σ(x). */
function silu(graph: Graph, a: Data, b: Data): Data | undefined {
  if (graph.node.type !== "Mul") return undefined;
  for (const [x, gate] of [
    [a, b],
    [b, a],
  ]) {
    const node = open(graph, gate, "activation");
    if (node?.config.activation !== "sigmoid" || node.inputs[0].node !== x.node) continue;
    const dense = graph.nodes[x.node];
    // The sums of a dense layer, read by this and its gate alone.
    const name = graph.node.inputs[x === a ? 0 : 1];
    if (dense?.type === "dense" && isLinear(dense.config) && graph.count(name) === 2) {
      dense.config.activation = "silu";
      return { ...x, exclusive: undefined };
    }
    node.config.activation = "silu";
    return { ...gate, exclusive: undefined };
  }
  return undefined;
}

// ---------------------------------------------------------- normalisation

/** The next step of a layer normalisation that is written out: (x - mean) / √(mean((x - mean)²) + ε). */
function normalisation(graph: Graph, a: Value, b: Value): Value | undefined {
  const { type } = graph.node;
  if (type === "Sub" && a.kind === "data" && b.kind === "moment" && b.step === "mean" && same(a, b.of))
    return { kind: "moment", of: b.of, step: "centered" };
  if (a.kind !== "moment") return undefined;
  if (type === "Mul" && b.kind === "moment" && a.step === "centered" && b.step === "centered" && same(a.of, b.of))
    return { ...a, step: "squared" };
  if (type === "Pow" && a.step === "centered" && isNumber(b, 2)) return { ...a, step: "squared" };
  if (type === "Add" && a.step === "variance" && b.kind === "floats" && b.data.length === 1)
    return { ...a, step: "stabilised", epsilon: b.data[0] };
  if (type === "Div" && a.step === "centered" && b.kind === "moment" && b.step === "deviation" && same(a.of, b.of))
    return layerNorm(graph, b.of, b.epsilon ?? 0);
  return undefined;
}

function isNumber(value: Value, n: number): boolean {
  if (value.kind === "ints") return value.entries.length === 1 && value.entries[0] === n;
  return value.kind === "floats" && value.data.length === 1 && value.data[0] === n;
}

function layerNorm(graph: Graph, data: Data, epsilon: number, gamma?: Float32Array, beta?: Float32Array): Data {
  const { size } = graph.rows(data, graph.featuresAxis(data));
  if (!(epsilon > 0)) throw graph.unsupported(`an epsilon of ${epsilon}`, "expected more than 0");
  return graph.emit(
    "layerNorm",
    { epsilon, scale: gamma !== undefined, center: beta !== undefined },
    [data],
    {
      ...(gamma && { gamma: { shape: [size], data: gamma } }),
      ...(beta && { beta: { shape: [size], data: beta } }),
    },
    size,
  );
}

function layerNormalization(graph: Graph): void {
  const given = graph.data(0);
  const at = graph.axis(graph.int("axis", -1), given.axes.length);
  const gamma = graph.floats(1).data;
  const beta = graph.optional(2) ? graph.floats(2).data : undefined;
  const { data } = graph.rows(given, at, gamma.length);
  if (beta && beta.length !== gamma.length) throw graph.damaged(`${gamma.length} scales and ${beta.length} biases`);
  if (graph.used(1) || graph.used(2)) throw graph.unsupported("gives mean and deviation", "no layer does");
  graph.set(0, layerNorm(graph, data, graph.float("epsilon", 1e-5), gamma, beta));
}

function reduceMean(graph: Graph) {
  const value = graph.input(0);
  const axes = graph.ints("axes", 1) ?? [];
  if (value.kind === "moment" && value.step === "squared") {
    checkLast(graph, value.of, axes);
    return graph.set(0, { ...value, step: "variance" });
  }
  const data = graph.withFeatures(graph.data(0));
  if (data.axes.length === 3 && axes.length === 1 && !isFeatures(data, data.axes[graph.axis(axes[0], 3)]))
    return graph.set(0, poolAll(graph, data, graph.axis(axes[0], 3), "mean", graph.int("keepdims", 1) === 1));
  checkLast(graph, data, axes);
  graph.set(0, { kind: "moment", of: data, step: "mean" });
}

function checkLast(graph: Graph, data: Data, axes: readonly number[]): void {
  const at = graph.featuresAxis(data);
  if (axes.length !== 1 || graph.axis(axes[0], data.axes.length) !== at || graph.int("keepdims", 1) !== 1)
    throw graph.unsupported(
      `a mean over axes [${axes}] of ${describe(data)}`,
      "expected one over time, or a layer normalisation",
    );
}

function batchNormalization(graph: Graph): void {
  const given = graph.data(0);
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => graph.floats(i).data);
  const epsilon = graph.float("epsilon", 1e-5);
  const n = scale.length;
  if (![shift, mean, variance].every(({ length }) => length === n))
    throw graph.damaged("operands of different lengths");
  const { data } = graph.rows(given, Math.min(1, given.axes.length - 1), n);
  const folded = toAffine({ mean, variance, gamma: scale, beta: shift, epsilon });
  graph.set(0, affine(graph, data, n, folded.scale.data, folded.shift.data));
}

function moment(step: Moment["step"], next: Moment["step"]): Operator {
  return (graph) => {
    const value = graph.input(0);
    if (value.kind !== "moment" || value.step !== step)
      throw graph.unsupported(`of ${describe(value)}`, "only as a part of layer normalisation");
    graph.set(0, { ...value, step: next });
  };
}

// ------------------------------------------------------------------ table

/** Every operator; a new one is a row here. */
export const OPERATORS: Readonly<Record<string, Operator>> = {
  ...MOVES,
  GRU: gru,
  MatMul: (graph) => graph.set(0, dense(graph, graph.data(0), matrix(graph, 1))),
  Gemm: gemm,
  Add: arithmetic({ whole: (a, b) => a + b, shift: (v) => v, layer: "add" }),
  Sub: arithmetic({
    whole: (a, b) => a - b,
    scale: (v, dataFirst) => (dataFirst ? undefined : v.map(() => -1)),
    shift: (v, dataFirst) => (dataFirst ? negative(v) : v),
    layer: "subtract",
  }),
  Mul: arithmetic({ whole: (a, b) => a * b, scale: (v) => v, layer: "multiply" }),
  Div: arithmetic({
    whole: (a, b) => Math.trunc(a / b),
    scale: (v, dataFirst) => (dataFirst ? v.map((x) => 1 / x) : undefined),
  }),
  Neg(graph) {
    const value = graph.input(0);
    if (value.kind === "floats") return graph.set(0, { ...value, data: negative(value.data) });
    const data = graph.withFeatures(graph.data(0));
    const { size } = graph.rows(data, graph.featuresAxis(data));
    graph.set(0, affine(graph, data, size, new Float32Array(size).fill(-1)));
  },
  Pow: arithmetic({ whole: (a, b) => a ** b }),
  Max: variadic("maximum", arithmetic({ whole: Math.max, layer: "maximum" })),
  Min: variadic("minimum", arithmetic({ whole: Math.min, layer: "minimum" })),
  Sum: variadic("add", arithmetic({ whole: (a, b) => a + b, shift: (v) => v, layer: "add" })),
  Mean: variadic("average"),
  Equal: arithmetic({ whole: (a, b) => Number(a === b) }),
  Where(graph) {
    const [condition, a, b] = [graph.input(0), graph.input(1), graph.input(2)];
    if (condition.kind !== "ints" || a.kind !== "ints" || b.kind !== "ints")
      throw graph.unsupported(`chooses between ${describe(a)} and ${describe(b)}`, "expected sizes");
    const entries = a.entries.map((entry, i) =>
      condition.entries[i] === null ? null : condition.entries[i] ? entry : b.entries[i],
    );
    graph.set(0, { kind: "ints", shape: a.shape, entries });
  },
  Relu: elementwise(() => "relu"),
  Sigmoid: elementwise(() => "sigmoid"),
  Tanh: elementwise(() => "tanh"),
  Softplus: elementwise(() => "softplus"),
  Softsign: elementwise(() => "softsign"),
  LeakyRelu: withAlpha("leakyRelu", 0.01),
  Elu: withAlpha("elu", 1),
  ThresholdedRelu: withAlpha("thresholdedRelu", 1),
  HardSigmoid: elementwise((graph) => ({
    name: "hardSigmoid",
    alpha: graph.float("alpha", 0.2),
    beta: graph.float("beta", 0.5),
  })),
  Selu(graph) {
    const usual =
      Math.abs(graph.float("alpha", 1.67326319) - 1.6732632) < 1e-5 &&
      Math.abs(graph.float("gamma", 1.05070102) - 1.050701) < 1e-5;
    if (!usual) throw graph.unsupported("an alpha or gamma of its own", "expected those of the definition");
    elementwise(() => "selu")(graph);
  },
  Gelu(graph) {
    const approximate = graph.node.attributes.get("approximate")?.s ?? "none";
    if (approximate !== "none") throw graph.unsupported(`approximated by ${approximate}`, "expected the exact one");
    elementwise(() => "gelu")(graph);
  },
  Clip: elementwise((graph) => {
    const [low, high] = [bound(graph, "min", 1, -3.4e38), bound(graph, "max", 2, 3.4e38)];
    return low === 0 && high >= 3.4e38 ? "relu" : { name: "hardtanh", alpha: low, beta: high };
  }),
  Softmax: rowwise("softmax"),
  LogSoftmax: rowwise("logSoftmax"),
  Log(graph) {
    const data = graph.data(0);
    const softmax = open(graph, data, "dense", "activation");
    if (softmax?.config.activation === "softmax") softmax.config.activation = "logSoftmax";
    else if (softmax?.config.activation === "sigmoid") softmax.config.activation = "logSigmoid";
    else throw graph.unsupported("a logarithm", "only that of a Softmax or Sigmoid");
    graph.set(0, data);
  },
  Dropout(graph) {
    const data = graph.data(0);
    if (graph.used(1)) throw graph.unsupported("gives its mask", "no layer does");
    const given = graph.node.attributes.get("ratio")?.f ?? (graph.optional(1) ? graph.floats(1).data[0] : 0.5);
    const rate = Math.min(Math.max(given, 0), 0.999);
    const rows = graph.withFeatures(data);
    graph.set(0, graph.push("dropout", { rate }, rows));
  },
  LayerNormalization: layerNormalization,
  ReduceMean: reduceMean,
  ReduceMax(graph) {
    const data = graph.withFeatures(graph.data(0));
    const axes = graph.ints("axes", 1) ?? [];
    const at = axes.length === 1 ? graph.axis(axes[0], data.axes.length) : -1;
    if (data.axes.length !== 3 || at < 0 || isFeatures(data, data.axes[at]))
      throw graph.unsupported(`a maximum over axes [${axes}] of ${describe(data)}`, "expected one over time");
    graph.set(0, poolAll(graph, data, at, "max", graph.int("keepdims", 1) === 1));
  },
  Sqrt: moment("stabilised", "deviation"),
  BatchNormalization: batchNormalization,
  Conv: conv,
  MaxPool: pool("max"),
  AveragePool: pool("mean"),
  GlobalMaxPool: globalPool("max"),
  GlobalAveragePool: globalPool("mean"),
};
