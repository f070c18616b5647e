import { toAffine } from "../../batch-norm.ts";
import { affine } from "./arithmetic.ts";
import { describe, type Graph } from "./graph.ts";
import { meanOfStack } from "./stacks.ts";
import { type Data, type Floats, isFeatures, type Moment, sameData, type Value } from "./values.ts";
import { poolAll } from "./windows.ts";

/** Normalisations: of layers, as one operator or written out, and of batches. */

/**
 * The next step of a layer normalisation that is written out, as
 *
 *   (x - μ) / σ,  (x - μ) · (γ / σ)  or  x · (γ / σ) + (β - μ · (γ / σ)),  σ = √(mean((x - μ)²) + ε)
 */
export function normalisation(graph: Graph, a: Value, b: Value): Value | undefined {
  const { type } = graph.node;
  if (a.kind !== "moment" && b.kind !== "moment") return undefined;
  if (
    type === "Sub" &&
    a.kind === "data" &&
    b.kind === "moment" &&
    b.step === "mean" &&
    b.sign !== -1 &&
    sameData(a, b.of)
  )
    return { ...b, step: "centered" };
  if (a.kind === "moment" && type === "Pow") {
    if (a.step === "centered" && isNumber(b, 2)) return { ...a, step: "squared" };
    if (a.step === "stabilised" && isNumber(b, 0.5)) return { ...a, step: "deviation" };
    if (a.step === "stabilised" && isNumber(b, -0.5)) return { ...a, step: "inverse" };
  }
  if (a.kind === "moment" && b.kind === "moment" && type === "Div")
    return a.step === "centered" && b.step === "deviation" && sameData(a.of, b.of)
      ? layerNorm(graph, b.of, b.epsilon ?? 0)
      : undefined;
  if (type === "Sub") {
    if (a.kind === "floats" && isVector(a) && b.kind === "moment" && b.step === "rest" && b.sign !== -1 && !b.beta)
      return { ...b, sign: -1, beta: a.data };
    if (b.kind === "moment" && a.kind === "moment" && a.step === "scaled" && b.step === "rest" && b.sign !== -1)
      return affineNorm(graph, a, { ...b, sign: -1 });
    return undefined;
  }
  // Sums and products, their operands in either order.
  if (type !== "Add" && type !== "Mul") return undefined;
  const made = commutative(graph, type, a, b) ?? commutative(graph, type, b, a);
  return made;
}

function commutative(graph: Graph, type: "Add" | "Mul", a: Value, b: Value): Value | undefined {
  if (a.kind !== "moment") return undefined;
  if (type === "Add") {
    if (a.step === "variance" && b.kind === "floats" && b.data.length === 1)
      return { ...a, step: "stabilised", epsilon: b.data[0] };
    if (a.step === "rest" && b.kind === "floats" && isVector(b) && !a.beta) return { ...a, beta: b.data };
    if (a.step === "scaled" && b.kind === "moment" && b.step === "rest") return affineNorm(graph, a, b);
    return undefined;
  }
  if (a.step === "inverse" && b.kind === "floats" && isVector(b) && !a.gamma) return { ...a, gamma: b.data };
  if (a.step === "centered" && b.kind === "moment" && sameData(a.of, b.of)) {
    if (b.step === "centered") return { ...a, step: "squared" };
    if (b.step === "inverse") return layerNorm(graph, a.of, b.epsilon ?? 0, wide(graph, a.of, b.gamma));
  }
  if (a.step === "inverse" && b.kind === "data" && sameData(a.of, b)) return { ...a, step: "scaled" };
  if (a.step === "inverse" && b.kind === "moment" && b.step === "mean" && sameData(a.of, b.of))
    return { ...a, step: "rest", sign: b.sign };
  return undefined;
}

/** x · γ / σ with the rest, which must be of the same numbers. */
function affineNorm(graph: Graph, scaled: Moment, rest: Moment): Value | undefined {
  const [p, q] = [scaled.gamma, rest.gamma];
  const equal = p === q || (p && q && p.length === q.length && p.every((g, i) => g === q[i]));
  if (!sameData(scaled.of, rest.of) || rest.sign !== -1 || !equal || scaled.epsilon !== rest.epsilon) return undefined;
  return layerNorm(graph, scaled.of, rest.epsilon ?? 0, wide(graph, rest.of, p), wide(graph, rest.of, rest.beta));
}

/** A number a feature, where a file may have one for all. */
function wide(graph: Graph, of: Data, numbers: Float32Array | undefined): Float32Array | undefined {
  const { size } = graph.rows(of, graph.featuresAxis(of));
  if (!numbers || numbers.length === size) return numbers;
  if (numbers.length !== 1) throw graph.damaged(`${numbers.length} numbers for ${size} features`);
  return new Float32Array(size).fill(numbers[0]);
}

/** Numbers along the last axis alone, the features here. */
const isVector = ({ shape }: Floats) => shape.slice(0, -1).every((n) => n === 1);

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

export function layerNormalization(graph: Graph) {
  const given = graph.data(0);
  const at = graph.axis(graph.int("axis", -1), given.axes.length);
  const gamma = graph.floats(1).data;
  const beta = graph.optional(2) ? graph.floats(2).data : undefined;
  const { data } = graph.rows(given, at, gamma.length);
  if (beta && beta.length !== gamma.length) throw graph.damaged(`${gamma.length} scales and ${beta.length} biases`);
  if (graph.used(1) || graph.used(2)) throw graph.unsupported("gives mean and deviation", "no layer does");
  graph.set(0, layerNorm(graph, data, graph.float("epsilon", 1e-5), gamma, beta));
}

export function reduceMean(graph: Graph) {
  const value = graph.input(0);
  const axes = graph.ints("axes", 1) ?? [];
  if (value.kind === "moment" && value.step === "squared") {
    checkLast(graph, value.of, axes);
    return graph.set(0, { ...value, step: "variance" });
  }
  if (value.kind === "stack" && axes.length === 1) return graph.set(0, meanOfStack(graph, value, axes[0]));
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

export function batchNormalization(graph: Graph): void {
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

/** Sqrt, Reciprocal and Neg of steps of a layer normalisation. */
export function momentOf(type: string, value: Moment): Moment | undefined {
  if (type === "Sqrt" && value.step === "stabilised") return { ...value, step: "deviation" };
  if (type === "Reciprocal" && value.step === "deviation") return { ...value, step: "inverse" };
  if (type === "Neg" && (value.step === "mean" || (value.step === "rest" && !value.beta)))
    return { ...value, sign: value.sign === -1 ? 1 : -1 };
  return undefined;
}
