import { shown } from "../../../core/options.ts";
import type { Json } from "../../../layers/layer.ts";
import { affine, merged } from "./arithmetic.ts";
import { curved, erf, FAR } from "./curves.ts";
import { describe, type Graph } from "./graph.ts";
import { momentOf } from "./norm.ts";
import { isLinear, type Operator, open } from "./open.ts";
import { softmax } from "./scores.ts";
import { type Data, isFeatures } from "./values.ts";

/** Activations: operators that are one, and those that are written out. */

/** An activation: of the dense layer before it, or a layer of its own. */
export function activate(graph: Graph, data: Data, activation: Json): Data {
  const dense = open(graph, data, "dense", "conv1d");
  // A layer that chooses features is known by that, and stays as it is.
  if (dense && !dense.pick && isLinear(dense.config)) {
    dense.config.activation = activation;
    return data;
  }
  return graph.push("activation", { activation }, data);
}

/** Elements do not matter to one another: the axes may be any. */
function elementwise(activation: (graph: Graph) => Json, f?: (x: number) => number): Operator {
  return (graph) => {
    const value = graph.input(0);
    if (value.kind === "curve" && f) return graph.set(0, curved(graph, value, f));
    if (value.kind === "pairs" && value.step === "sum" && graph.node.type === "Tanh")
      return graph.set(0, { ...value, step: "tanh" });
    graph.set(0, activate(graph, graph.withFeatures(graph.data(0)), activation(graph)));
  };
}

/** A function that is an activation only together with others: part of one. */
function unary(f: (x: number) => number): Operator {
  return (graph) => {
    const value = graph.input(0);
    if (value.kind === "floats") return graph.set(0, { ...value, data: value.data.map(f) });
    if (value.kind === "ints" && value.entries.every((e) => typeof e === "number"))
      return graph.set(0, {
        kind: "floats",
        shape: value.shape,
        data: Float32Array.from(value.entries as number[], f),
      });
    const { type } = graph.node;
    const moment = value.kind === "moment" ? momentOf(type, value) : undefined;
    if (moment) return graph.set(0, moment);
    if (value.kind !== "data" && value.kind !== "curve")
      throw graph.unsupported(`of ${describe(value)}`, "expected data, or a part of a layer normalisation");
    graph.set(0, curved(graph, value, f));
  };
}

function rowwise(activation: "softmax" | "logSoftmax"): Operator {
  return (graph) => {
    const value = graph.input(0);
    const { opset } = graph.model;
    const axes = "axes" in value ? value.axes : graph.data(0).axes;
    const axis = graph.axis(graph.int("axis", opset < 13 ? 1 : -1), axes.length);
    // Before opset 13 the axes from `axis` on were taken as one.
    const isOne = (at: number) => axes[at].every(({ role, size }) => role === "one" || size === 1);
    const after = opset < 13 ? axes.flatMap((_, i) => (i >= axis && !isOne(i) ? [i] : [])) : [axis];
    if (after.length > 1)
      throw graph.unsupported(`a ${activation} over several axes at once`, "expected the last axis");
    const at = after[0] ?? axis;
    const scores = activation === "softmax" ? softmax(graph, value, at) : undefined;
    graph.set(0, scores ?? activate(graph, graph.rows(graph.data(0), at).data, activation));
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

/** Clip, of a function too. */
function clip(graph: Graph) {
  const [low, high] = [bound(graph, "min", 1, -FAR), bound(graph, "max", 2, FAR)];
  const activation: Json = low === 0 && high >= FAR ? "relu" : { name: "hardtanh", alpha: low, beta: high };
  elementwise(
    () => activation,
    (x) => Math.min(Math.max(x, low), high),
  )(graph);
}

/** Data times an activation of theirs. */
function gated(activation: Json, inner?: Json): Operator {
  return (graph) => {
    const data = graph.withFeatures(graph.data(0));
    const gate = inner ? graph.push("activation", { activation: inner }, data) : data;
    graph.set(0, merged(graph, "multiply", [data, graph.push("activation", { activation }, gate)]));
  };
}

/** x above 0, and below it a multiple of its own for every feature. */
function prelu(graph: Graph) {
  const data = graph.withFeatures(graph.data(0));
  const slope = graph.floats(1);
  if (slope.data.length === 1) return graph.set(0, activate(graph, data, { name: "leakyRelu", alpha: slope.data[0] }));
  const { shape } = slope;
  const wide = shape.findIndex((n) => n !== 1);
  const at = data.axes.length - shape.length + wide;
  if (shape.filter((n) => n !== 1).length !== 1 || at < 0 || !isFeatures(data, data.axes[at]))
    throw graph.unsupported(`slopes [${shape}] of ${describe(data)}`, "expected one, or one a feature");
  const { size } = graph.rows(data, at, shape[wide]);
  const above = graph.push("activation", { activation: "relu" }, data);
  const below = affine(graph, { ...merged(graph, "subtract", [data, above]), exclusive: false }, size, slope.data);
  graph.set(0, merged(graph, "add", [above, { ...below, axes: above.axes, features: above.features }]));
}

/** The tanh approximation of GELU: x · (tanh(√(2/π) · (x + 0.044715 x³)) + 1) / 2. */
function approximateGelu(graph: Graph) {
  const data = graph.withFeatures(graph.data(0));
  const size = graph.columns(data);
  const all = (x: number) => new Float32Array(size).fill(x);
  const like = (made: Data): Data => ({ ...made, axes: data.axes, features: data.features, exclusive: false });
  const cube = like(affine(graph, like(merged(graph, "multiply", [data, data, data])), size, all(0.044715)));
  const sum = like(affine(graph, like(merged(graph, "add", [data, cube])), size, all(Math.sqrt(2 / Math.PI))));
  const gate = affine(graph, graph.push("activation", { activation: "tanh" }, sum), size, all(0.5), all(0.5));
  graph.set(0, merged(graph, "multiply", [data, like(gate)]));
}

/** By operator. */
export const ACTIVATIONS: Readonly<Record<string, Operator>> = {
  Relu: elementwise(
    () => "relu",
    (x) => Math.max(x, 0),
  ),
  Sigmoid: elementwise(
    () => "sigmoid",
    (x) => 1 / (1 + Math.exp(-x)),
  ),
  Tanh: elementwise(() => "tanh", Math.tanh),
  Erf: unary(erf),
  Exp: unary(Math.exp),
  Abs: unary(Math.abs),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
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
    if (approximate === "tanh") return approximateGelu(graph);
    if (approximate !== "none") throw graph.damaged(`approximated by ${shown(approximate)}`);
    elementwise(() => "gelu")(graph);
  },
  Clip: clip,
  PRelu: prelu,
  HardSwish: gated({ name: "hardSigmoid", alpha: Math.fround(1 / 6), beta: 0.5 }),
  Mish: gated("tanh", "softplus"),
  Swish(graph) {
    if (graph.float("alpha", 1) !== 1) throw graph.unsupported("an alpha of its own", "expected 1");
    elementwise(() => "silu")(graph);
  },
  Softmax: rowwise("softmax"),
  LogSoftmax: rowwise("logSoftmax"),
  Log(graph) {
    const value = graph.input(0);
    const made = value.kind === "data" ? open(graph, value, "dense", "activation", "conv1d") : undefined;
    if (made?.config.activation === "softmax") made.config.activation = "logSoftmax";
    else if (made?.config.activation === "sigmoid") made.config.activation = "logSigmoid";
    else return unary(Math.log)(graph);
    graph.set(0, value);
  },
};
