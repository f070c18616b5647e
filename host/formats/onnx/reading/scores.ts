import type { Tensor } from "../../../core/tensor.ts";
import { attend } from "./attention.ts";
import { describe, type Graph } from "./graph.ts";
import {
  Axis,
  type Data,
  type Floats,
  type Ints,
  isFeatures,
  isOne,
  type MergedAxis,
  type Pairs,
  rowsOf,
  type Scores,
  single,
  sizeOf,
  type Value,
  type Weighted,
} from "./values.ts";

/**
 * Scores of queries and keys, on their way to an attention: products, or sums
 * of tanh, then masks, a Softmax and what they weight. Heads are an axis of
 * their own, or merged with that of the batch.
 */

export const NEEDED = "expected an attention: scores, a Softmax over the keys, and its product with the values";

/** Features that are merged into one axis, as that axis. */
export function joined(data: Data): Data {
  const at = data.features.length > 1 ? data.axes.findIndex((axis) => isFeatures(data, axis)) : -1;
  if (at < 0) return data;
  const whole = new Axis(sizeOf(data.axes[at]), "features");
  return { ...data, axes: data.axes.map((axis, i) => (i === at ? single(whole) : axis)), features: [whole] };
}

/** Which axis of data is its heads: the slower one of two of features. */
export const headsOf = ({ features }: Data) => (features.length === 2 ? features[0] : undefined);

/** Its columns, of a head. */
export const columnsOf = ({ features }: Data) => features[features.length - 1];

/** Axes before the last two are the batch, and heads at the same place. */
function sameRows(a: Data, b: Data): boolean {
  const leading = (data: Data) =>
    data.axes
      .slice(0, -2)
      .map((axis) => axis.map((own) => (own === headsOf(data) ? "h" : own.role === "one" ? "1" : "b")).join("") || "1");
  return (
    leading(a).join() === leading(b).join() &&
    headsOf(a)?.size === headsOf(b)?.size &&
    (headsOf(a) === undefined || leading(a).join("").includes("h"))
  );
}

/** The one axis that is there, as time; or an axis of size 1. */
export function steps(graph: Graph, data: Data, axis: MergedAxis): Axis {
  if (axis.length !== 1 || data.features.includes(axis[0]))
    throw graph.unsupported(`multiplies ${describe(data)}`, NEEDED);
  if (axis[0].role !== "one") graph.assign(axis[0], "time");
  return axis[0];
}

/** The steps of keys, apart from those of queries even where both are the same. */
const ownAxis = (axis: Axis) => new Axis(axis.size, axis.role);

/** A MatMul of two tensors of data. */
export function matMul(graph: Graph, first: Value, second: Value): Value {
  const [a, b] = [first, second].map((value) => (value.kind === "data" ? joined(value) : value));
  if (a.kind === "scores" && b.kind === "data") return attend(graph, a, b, a.axes.length - 1, b.axes.length - 2);
  if (a.kind === "data" && b.kind === "scores") {
    // (weights · values) turned round.
    const made = attend(graph, b, a, b.axes.length - 2, a.axes.length - 1);
    const n = made.axes.length;
    return { ...made, axes: [...made.axes.slice(0, n - 2), made.axes[n - 1], made.axes[n - 2]] };
  }
  if (a.kind !== "data" || b.kind !== "data") throw graph.unsupported(`${describe(a)} with ${describe(b)}`, NEEDED);
  const rank = a.axes.length;
  if (rank !== b.axes.length || rank < 3)
    throw graph.unsupported(`multiplies ${describe(a)} by ${describe(b)}`, NEEDED);
  // Rows of features with rows of features.
  const left = a.features.length === 0 ? graph.rows(a, rank - 1).data : a;
  const right = b.features.length === 0 ? graph.rows(b, rank - 2).data : b;
  const [x, y] = [left.axes[rank - 1], right.axes[rank - 2]];
  const columns = (axis: MergedAxis, data: Data) =>
    data.features.length <= 2 && axis.length === 1 && axis[0] === columnsOf(data);
  if (!columns(x, left) || !columns(y, right) || !sameRows(left, right))
    throw graph.unsupported(`multiplies ${describe(a)} by ${describe(b)}`, NEEDED);
  if (sizeOf(x) !== sizeOf(y)) throw graph.damaged(`multiplies ${describe(a)} by ${describe(b)}`);
  const [leftAxis, rightAxis] = [steps(graph, left, left.axes[rank - 2]), steps(graph, right, right.axes[rank - 1])];
  const keys = ownAxis(rightAxis);
  return {
    kind: "scores",
    axes: [...left.axes.slice(0, -1), single(keys)],
    left,
    right,
    leftAxis,
    rightAxis: keys,
    scale: 1,
    causal: false,
  };
}

/** What other operators do to scores, with numbers. @returns undefined for those that do nothing of the kind */
export function rescored(graph: Graph, a: Value, b: Value): Scores | undefined {
  const [scores, numbers] = a.kind === "scores" ? [a, b] : [b, a];
  if (scores.kind !== "scores") return undefined;
  const { type } = graph.node;
  if (numbers.kind !== "floats" || scores.over) throw graph.unsupported(`${describe(a)} with ${describe(b)}`, NEEDED);
  if (numbers.data.length === 1 && typeof scores.scale === "number") {
    const factor = type === "Mul" ? numbers.data[0] : type === "Div" && scores === a ? 1 / numbers.data[0] : Number.NaN;
    // What is masked is -10000 or less, and must stay far below the others.
    if (scores.causal ? factor >= 0.01 : Number.isFinite(factor)) return { ...scores, scale: scores.scale * factor };
  }
  // The same for all keys changes nothing.
  if (type === "Add" && numbers.data.every((v) => v === numbers.data[0])) return scores;
  if (
    type === "Add" &&
    isCausal(
      numbers.shape,
      (i) => numbers.data[i] === 0,
      (i) => numbers.data[i] < -1e4,
    )
  )
    return causal(graph, scores);
  throw graph.unsupported(
    `${type} of ${describe(scores)} with ${describe(numbers)}`,
    "expected a factor, or a mask that is causal",
  );
}

/** Where(mask, scores, a large negative number), or the other way round. */
export function masked(graph: Graph, condition: Ints | Floats, a: Value, b: Value): Scores | undefined {
  const [scores, low] = a.kind === "scores" ? [a, b] : [b, a];
  if (scores.kind !== "scores") return undefined;
  const value = low.kind === "fill" ? low.value : low.kind === "floats" && low.data.length === 1 ? low.data[0] : 0;
  const entries: ArrayLike<unknown> = condition.kind === "ints" ? condition.entries : condition.data;
  const seen = (i: number) => (a === scores ? entries[i] === 1 : entries[i] === 0);
  const hidden = (i: number) => (a === scores ? entries[i] === 0 : entries[i] === 1);
  if (value >= -1e4 || !isCausal(condition.shape, seen, hidden))
    throw graph.unsupported(`chooses between ${describe(a)} and ${describe(b)}`, "expected a mask that is causal");
  return causal(graph, scores);
}

/** A mask [.., n, n] of which query i sees the keys 0..i. */
function isCausal(shape: readonly number[], seen: (i: number) => boolean, hidden: (i: number) => boolean): boolean {
  const n = shape[shape.length - 1];
  if (shape.length < 2 || shape[shape.length - 2] !== n || shape.slice(0, -2).some((m) => m !== 1)) return false;
  for (let i = 0; i < n * n; i++) if (!(i % n <= Math.floor(i / n) ? seen(i) : hidden(i))) return false;
  return true;
}

function causal(graph: Graph, scores: Scores): Scores {
  const n = scores.axes.length;
  const last = (axis: Axis) => scores.axes[n - 1].length === 1 && scores.axes[n - 1][0] === axis;
  // Queries are rows of the mask.
  if (!last(scores.rightAxis) || scores.leftAxis.role === "one")
    throw graph.unsupported("a mask over scores in another order", NEEDED);
  return { ...scores, causal: true };
}

// ------------------------------------------------- sums of queries and keys

/** Two tensors of data of which one has an axis of size 1 where the other has steps. */
function pairs(graph: Graph, step: Pairs["step"], a: Data, b: Data): Pairs | undefined {
  if (a.axes.length !== b.axes.length || a.axes.length < 3) return undefined;
  const broad = (data: Data, other: Data) =>
    data.axes.some(
      (axis, i) => isOne(axis) && !isOne(other.axes[i]) && !other.axes[i].some((x) => other.features.includes(x)),
    );
  if (!broad(a, b) && !broad(b, a)) return undefined;
  const [left, right] = broad(b, a) && !broad(a, b) ? [b, a] : [a, b];
  const time = stepsOf(graph, right);
  const rightAxis = ownAxis(time);
  const axes = left.axes.map((axis, i) =>
    !isOne(axis) ? axis : right.axes[i][0] === time ? single(rightAxis) : right.axes[i],
  );
  return { kind: "pairs", step, left: graph.withFeatures(left), right: graph.withFeatures(right), rightAxis, axes };
}

/** The sum of queries and keys of an additive attention. */
export function sumOfPairs(graph: Graph, a: Value, b: Value): Pairs | undefined {
  if (graph.node.type !== "Add") return undefined;
  const [x, y] = [unrepeated(a), unrepeated(b)];
  return x.kind === "data" && y.kind === "data" ? pairs(graph, "sum", joined(x), joined(y)) : undefined;
}

const unrepeated = (value: Value): Value => (value.kind === "repeated" ? value.of : value);

/** Queries, repeated for every key, and keys, their features side by side. */
export function beside(graph: Graph, values: readonly Value[], axis: number): Pairs | undefined {
  if (values.length !== 2 || !values.some(({ kind }) => kind === "repeated")) return undefined;
  const [a, b] = values.map(unrepeated);
  if (a.kind !== "data" || b.kind !== "data" || axis !== a.axes.length - 1) return undefined;
  const made = pairs(graph, "beside", joined(a), joined(b));
  return made && { ...made, flipped: made.left.node !== a.node };
}

/** A MatMul or Gemm of pairs with numbers: the maps of queries and keys, or the columns of scores. */
export function mapPairs(
  graph: Graph,
  given: Pairs,
  kernel: Tensor,
  bias: Float32Array | undefined,
  dense: (data: Data, kernel: Tensor, bias?: Float32Array) => Data,
): Value {
  const [I, N] = kernel.shape;
  if (given.step === "tanh" && N === 1)
    return scoresOf(graph, given, kernel.data, [...given.axes.slice(0, -1), single(new Axis(1, "one"))]);
  if (given.step !== "beside") throw graph.unsupported(`multiplies ${describe(given)}`, NEEDED);
  const [first, second] = given.flipped ? [given.right, given.left] : [given.left, given.right];
  const A = graph.columns(first);
  if (A >= I) throw graph.damaged(`expected ${I} features of ${describe(given)}`);
  const rows = (from: number, to: number): Tensor => ({
    shape: [to - from, N],
    data: kernel.data.slice(from * N, to * N),
  });
  const a = dense(first, rows(0, A));
  const b = dense(second, rows(A, I), bias);
  const [left, right] = given.flipped ? [b, a] : [a, b];
  return { ...given, step: "sum", left, right, axes: [...given.axes.slice(0, -1), single(new Axis(N, "features"))] };
}

/** The scores that tanh(queries + keys), weighted by columns, are. */
export function scoresOf(graph: Graph, pairs: Pairs, scale: Float32Array, axes: readonly MergedAxis[]): Scores {
  const { left, right } = pairs;
  if (scale.length !== sizeOf(pairs.axes[pairs.axes.length - 1]))
    throw graph.damaged(`${scale.length} columns of ${describe(pairs)}`);
  const leftAxis = stepsOf(graph, left);
  return { kind: "scores", axes, left, right, leftAxis, rightAxis: pairs.rightAxis, scale, causal: false };
}

/** tanh(queries + keys) times a number a column, before their sum. */
export function scoredPairs(graph: Graph, a: Value, b: Value): Pairs | undefined {
  const [pairs, numbers] = a.kind === "pairs" ? [a, b] : [b, a];
  if (pairs.kind !== "pairs" || pairs.step !== "tanh" || numbers.kind !== "floats") return undefined;
  const columns = sizeOf(pairs.axes[pairs.axes.length - 1]);
  const { shape, data } = numbers;
  if (graph.node.type !== "Mul" || data.length !== columns || shape[shape.length - 1] !== columns) return undefined;
  return { ...pairs, step: "scored", scale: data };
}

/** The steps of data; of a vector, an axis of size 1. */
function stepsOf(graph: Graph, data: Data): Axis {
  const rows = rowsOf(data);
  if (rows.length === 1) return new Axis(1, "one");
  const time = rows.find(({ role }) => role === "time") ?? rows[rows[0].role === "batch" ? 1 : rows.length - 1];
  return steps(graph, data, single(time));
}

// ----------------------------------------------------------------- weights

/** A Softmax of scores; or of data with one feature, over its steps: scores that ask all keys the same. */
export function softmax(graph: Graph, given: Value, axis: number): Scores | undefined {
  const value = given.kind === "data" ? joined(given) : given;
  if (value.kind === "scores") {
    const [own] = value.axes[axis];
    if (value.over || (own !== value.leftAxis && own !== value.rightAxis) || value.axes[axis].length !== 1)
      throw graph.unsupported(`over axis ${axis} of ${describe(value)}`, NEEDED);
    if (value.causal && own !== value.rightAxis) throw graph.unsupported("a Softmax over queries", NEEDED);
    return { ...value, over: own };
  }
  if (value.kind !== "data" || value.node < 0) return undefined;
  const own = value.axes[axis];
  const [feature] = value.features;
  if (value.features.length !== 1 || feature.size !== 1 || own.length !== 1 || own[0].role !== "time") return undefined;
  const one = new Axis(1, "one");
  return {
    kind: "scores",
    axes: value.axes.map((all) => (all.includes(feature) ? single(one) : all)),
    right: value,
    leftAxis: one,
    rightAxis: own[0],
    scale: 1,
    causal: false,
    over: own[0],
  };
}

/** Weights [.., steps, 1] times data [.., steps, features], for a sum over the steps. */
export function weighted(graph: Graph, a: Value, b: Value): Weighted | undefined {
  const [scores, of] = a.kind === "scores" ? [a, b] : [b, a];
  if (scores.kind !== "scores" || of.kind !== "data" || graph.node.type !== "Mul" || !scores.over) return undefined;
  if (scores.axes.length !== of.axes.length) return undefined;
  return { kind: "weighted", scores, of: joined(of) };
}
