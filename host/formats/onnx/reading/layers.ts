import type { Tensor } from "../../../core/tensor.ts";
import { transpose } from "../../gates.ts";
import { ACTIVATIONS } from "./activations.ts";
import { ARITHMETIC, affine } from "./arithmetic.ts";
import { attentionOperator, sumOf } from "./attention.ts";
import { DOMAIN, layerCall } from "./calls.ts";
import { einsum } from "./einsum.ts";
import { describe, type Graph } from "./graph.ts";
import { gru } from "./gru.ts";
import { branch, loop } from "./loop.ts";
import { MOVES, squeezed } from "./moves.ts";
import { batchNormalization, layerNormalization, reduceMean } from "./norm.ts";
import type { Operator } from "./open.ts";
import { dequantize, insteadOf, quantize } from "./quantized.ts";
import { mapPairs, matMul } from "./scores.ts";
import { constantVector } from "./spread.ts";
import { onStacks } from "./stacks.ts";
import { flattened } from "./unrolled.ts";
import { Axis, type Data, isFeatures, rankOf, single } from "./values.ts";
import { conv, globalPool, pad, pool, poolAll } from "./windows.ts";

/**
 * Operators that compute. Each becomes a layer, or a part of the layer before
 * it: a bias, a scale, an activation.
 */

/** The data of a product; a state of zeros, where a network calls a cell step by step. */
function factor(graph: Graph, I: number): Data {
  const value = graph.input(0);
  if (value.kind !== "floats" && value.kind !== "fill") return graph.data(0);
  const steps = graph.nodes.findLast(({ step }) => step)?.step;
  const zero = value.kind === "fill" ? value.value === 0 : value.data.every((v) => v === 0);
  if (!zero || !steps || rankOf(value) !== 2)
    throw graph.unsupported(`multiplies ${describe(value)}`, "expected data, or a state of zeros beside a sequence");
  const { node } = constantVector(graph, steps.of, new Float32Array(I));
  graph.nodes[node].zeros = true;
  const units = new Axis(I, "features");
  const batch = steps.of.axes.find(
    (axis, i) => i !== steps.axis && !axis.some((own) => steps.of.features.includes(own)),
  );
  const data: Data = {
    kind: "data",
    node,
    axes: [batch ?? single(new Axis(null)), single(units)],
    features: [units],
    exclusive: false,
  };
  // All that reads the zeros reads these.
  graph.values.set(graph.node.inputs[0], data);
  return data;
}

function dense(graph: Graph, given: Data, kernel: Tensor, bias?: Float32Array): Data {
  const [I, N] = kernel.shape;
  const flat = flattened(graph, given, kernel, bias);
  if (flat) return flat;
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

function gemm(graph: Graph) {
  if (graph.int("transA", 0)) throw graph.unsupported("transposes its data", "transA must be 0");
  let kernel = matrix(graph, 1);
  if (graph.int("transB", 0)) kernel = graph.once("transposed", [1], () => transpose(matrix(graph, 1)));
  const [alpha, beta] = [graph.float("alpha", 1), graph.float("beta", 1)];
  if (alpha !== 1) kernel = { ...kernel, data: kernel.data.map((w) => w * alpha) };
  const N = kernel.shape[1];
  let bias: Float32Array | undefined;
  if (graph.optional(2)) {
    const { shape, data } = graph.floats(2);
    if ((data.length !== N || shape[shape.length - 1] !== N) && data.length !== 1)
      throw graph.unsupported(`adds numbers [${shape}]`, `expected [${N}]`);
    const all = data.length === N && beta === 1;
    bias = all ? data : Float32Array.from({ length: N }, (_, j) => data[data.length === 1 ? 0 : j] * beta);
  }
  graph.set(0, dense(graph, factor(graph, kernel.shape[0]), kernel, bias));
}

function product(graph: Graph) {
  const [a, b] = [graph.input(0), graph.input(1)];
  if (b.kind !== "floats") return graph.set(0, matMul(graph, a, b));
  // With a vector the last axis goes.
  const vector = b.shape.length === 1;
  const kernel = vector ? { shape: [b.shape[0], 1], data: b.data } : matrix(graph, 1);
  const map = (data: Data, own: Tensor, bias?: Float32Array) => dense(graph, data, own, bias);
  const isMap = a.kind === "pairs" && (a.step === "beside" || (a.step === "tanh" && kernel.shape[1] === 1));
  const made = isMap ? mapPairs(graph, a, kernel, undefined, map) : map(factor(graph, kernel.shape[0]), kernel);
  graph.set(0, vector ? squeezed(graph, made, [-1]) : made);
}

/** As many times the mean as there are steps. */
function sumOfSteps(graph: Graph, given: Data, at: number): Data {
  const data = graph.withFeatures(given);
  const [own] = data.axes[at];
  if (data.axes.length !== 3 || isFeatures(data, data.axes[at]) || data.axes[at].length !== 1 || own.size === null)
    throw graph.unsupported(`a sum over ${describe(data)}`, "expected that over a fixed number of steps");
  graph.fixed = true;
  const made = poolAll(graph, data, at, "mean", graph.int("keepdims", 1) === 1);
  const { size } = graph.rows(made, graph.featuresAxis(made));
  return affine(graph, made, size, new Float32Array(size).fill(own.size));
}

/** The largest of all steps. */
function largest(graph: Graph, data: Data): Data {
  const axes = graph.ints("axes", 1) ?? [];
  const at = axes.length === 1 ? graph.axis(axes[0], data.axes.length) : -1;
  if (data.axes.length !== 3 || at < 0 || isFeatures(data, data.axes[at]))
    throw graph.unsupported(`the largest over axes [${axes}] of ${describe(data)}`, "expected that over time");
  return poolAll(graph, data, at, "max", graph.int("keepdims", 1) === 1);
}

/** Every operator; a new one is a row here. */
export const OPERATORS: Readonly<Record<string, Operator>> = {
  ...MOVES,
  ...ARITHMETIC,
  ...ACTIVATIONS,
  GRU: gru,
  Loop: (graph) => loop(graph, readNodes),
  If: (graph) => branch(graph, readNodes),
  MatMul: product,
  Gemm: gemm,
  Einsum: (graph) => einsum(graph, (data, kernel) => dense(graph, data, kernel)),
  Attention: attentionOperator,
  Dropout(graph) {
    const data = graph.data(0);
    if (graph.used(1)) throw graph.unsupported("gives its mask", "no layer does");
    const given = graph.node.attributes.get("ratio")?.f ?? (graph.optional(1) ? graph.floats(1).data[0] : 0.5);
    const rate = Math.min(Math.max(given, 0), 0.999);
    const rows = graph.withFeatures(data);
    graph.set(0, graph.push("dropout", { rate }, rows));
  },
  DequantizeLinear: dequantize,
  QuantizeLinear: quantize,
  LayerNormalization: layerNormalization,
  ReduceMean: reduceMean,
  ReduceSum(graph) {
    const value = graph.input(0);
    const axes = graph.ints("axes", 1) ?? [];
    if ((value.kind !== "weighted" && value.kind !== "pairs" && value.kind !== "data") || axes.length !== 1)
      throw graph.unsupported(`a sum over axes [${axes}] of ${describe(value)}`, "expected that over time");
    const axis = graph.axis(axes[0], rankOf(value));
    if (value.kind === "data") return graph.set(0, sumOfSteps(graph, value, axis));
    graph.set(0, sumOf(graph, value, axis, graph.int("keepdims", 1) === 1));
  },
  ReduceMax: (graph) => graph.set(0, largest(graph, graph.withFeatures(graph.data(0)))),
  ReduceMin(graph) {
    // The smallest is the negative of the largest negative.
    const data = graph.withFeatures(graph.data(0));
    const minus = (made: Data): Data => {
      const size = graph.columns(made);
      return affine(graph, { ...made, exclusive: false }, size, new Float32Array(size).fill(-1));
    };
    graph.set(0, minus(largest(graph, minus(data))));
  },
  BatchNormalization: batchNormalization,
  Conv: conv,
  "com.microsoft.FusedConv": conv,
  Pad: pad,
  MaxPool: pool("max"),
  AveragePool: pool("mean"),
  GlobalMaxPool: globalPool("max"),
  GlobalAveragePool: globalPool("mean"),
};

/** Goes through a graph, node by node. @throws FormatError for the first that no layer does */
export function readNodes(graph: Graph, nodes = graph.model.nodes): void {
  for (const node of nodes) {
    graph.node = node;
    if (node.domain === DOMAIN) {
      layerCall(graph);
      continue;
    }
    const type = node.domain ? `${node.domain}.${node.type}` : node.type;
    if (!Object.hasOwn(OPERATORS, type))
      throw graph.unsupported(
        "no layer of gruvy does this",
        insteadOf(type) ?? `known are ${Object.keys(OPERATORS).join(", ")}`,
      );
    onStacks(graph, node, OPERATORS[type]);
  }
}
