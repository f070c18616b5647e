import { combined } from "./curves.ts";
import { describe, type Graph } from "./graph.ts";
import { intArithmetic } from "./moves.ts";
import { momentOf, normalisation } from "./norm.ts";
import { isLinear, type Operator, open } from "./open.ts";
import { masked, rescored, scoredPairs, sumOfPairs, weighted } from "./scores.ts";
import { constantSequence, spreadLike } from "./spread.ts";
import {
  Axis,
  type Data,
  type Floats,
  type Ints,
  isFeatures,
  isTurned,
  type Size,
  sizeOf,
  times,
  type Value,
} from "./values.ts";

/** Operators of two tensors: numbers that are known with one another, and with data, and data with data. */

const negative = (v: Float32Array) => v.map((x) => -x);

interface Arithmetic {
  readonly f: (a: number, b: number) => number;
  /** With sizes that are not known. Default: a size that nothing can use. */
  readonly sizes?: (a: Size, b: Size) => Size;
  /** Data with numbers: what they are, as scale or shift of the data. */
  readonly scale?: (v: Float32Array, dataFirst: boolean) => Float32Array | undefined;
  readonly shift?: (v: Float32Array, dataFirst: boolean) => Float32Array | undefined;
  /** The layer for two tensors of data. */
  readonly layer?: string;
}

/** One number throughout, beside data of the same shape, is that number. */
function numberOf(value: Value): Value {
  return value.kind === "fill" ? { kind: "floats", shape: [], data: Float32Array.of(value.value) } : value;
}

function arithmetic(spec: Arithmetic): Operator {
  const whole = intArithmetic((x, y) => Math.trunc(spec.f(x, y)), spec.sizes);
  return (graph) => {
    const [a, b] = [numberOf(graph.input(0)), numberOf(graph.input(1))];
    if (a.kind === "ints" && b.kind === "ints") return whole(graph, a, b);
    graph.set(0, binary(graph, spec, a, b));
  };
}

function binary(graph: Graph, { f, scale, shift, layer }: Arithmetic, first: Value, second: Value): Value {
  if (first.kind === "floats" && second.kind === "floats") return broadcast(graph, first, second, f);
  const part =
    normalisation(graph, first, second) ??
    weighted(graph, first, second) ??
    rescored(graph, first, second) ??
    scoredPairs(graph, first, second) ??
    sumOfPairs(graph, first, second);
  if (part) return part;
  const mapped = shift && graph.node.type === "Add" ? biased(graph, first, second) : undefined;
  if (mapped) return mapped;
  const [a, b] = [graph.settle(first), graph.settle(second)];
  if (a.kind === "data" && b.kind === "data") {
    const known = combined(graph, a, b, f);
    if (known?.kind === "data") return known;
    if (!layer) throw graph.unsupported(`${describe(a)} with ${describe(b)}`, "no layer does this with data");
    return merged(graph, layer, [a, b]);
  }
  const dataFirst = b.kind === "floats";
  const [data, numbers] = dataFirst ? [a, b] : [b, a];
  if (numbers.kind === "floats") {
    const sequence = data.kind === "data" && layer ? perStep(graph, layer, data, numbers, dataFirst) : undefined;
    if (sequence) return sequence;
    if (data.kind === "data") {
      const { rows, size, values } = perFeature(graph, data, numbers);
      const [factor, summand] = [scale?.(values, dataFirst), shift?.(values, dataFirst)];
      if (factor || summand) return affine(graph, rows, size, factor, summand);
    }
    const power = graph.node.type === "Pow" && dataFirst && data.kind === "data" ? numbers.data[0] : 0;
    if (data.kind === "data" && numbers.data.length === 1 && [2, 3, 4].includes(power))
      return merged(graph, "multiply", new Array<Data>(power).fill(data));
  }
  return combined(graph, a, b, f) ?? refused(graph, a, b, "expected data, and numbers that the file has");
}

/** The bias of queries and keys together. */
function biased(graph: Graph, a: Value, b: Value): Value | undefined {
  const [pairs, numbers] = a.kind === "pairs" ? [a, b] : [b, a];
  if (pairs.kind !== "pairs" || pairs.step !== "sum" || numbers.kind !== "floats") return undefined;
  const { rows, size, values } = perFeature(graph, pairs.right, numbers);
  return { ...pairs, right: affine(graph, rows, size, undefined, values) };
}

/** Numbers that are others at every step, such as those that say where a step is. */
function perStep(
  graph: Graph,
  layer: string,
  given: Data,
  { shape, data }: Floats,
  dataFirst: boolean,
): Data | undefined {
  const rank = given.axes.length;
  const sizes = Array.from({ length: rank }, (_, i) => shape[i - rank + shape.length] ?? 1);
  const rows = given.node < 0 && given.features.length === 0 && rank > 1 ? graph.withFeatures(given) : given;
  const at = rows.axes.findIndex((axis) => isFeatures(rows, axis));
  const steps = sizes.findIndex((n, i) => n !== 1 && i !== at);
  if (
    rank < 3 ||
    shape.length > rank ||
    at < 0 ||
    steps < 0 ||
    sizes.some((n, i) => n !== 1 && i !== at && i !== steps)
  )
    return undefined;
  const [own] = rows.axes[steps];
  const T = sizes[steps];
  const { size: F } = graph.rows(rows, at);
  if (rows.axes[steps].length !== 1 || (own.size !== null && own.size !== T) || (sizes[at] !== 1 && sizes[at] !== F))
    return undefined;
  graph.assign(own, "time");
  own.size = T;
  graph.fixed = true;
  graph.checkCount(T * F);
  // [steps, features], in that order.
  const values = new Float32Array(T * F);
  const first = steps < at;
  for (let t = 0; t < T; t++)
    for (let j = 0; j < F; j++) values[t * F + j] = sizes[at] === 1 ? data[t] : data[first ? t * F + j : j * T + t];
  const { node } = constantSequence(graph, rows, T, values);
  const constant: Data = { ...rows, node, exclusive: undefined };
  return merged(graph, layer, dataFirst ? [rows, constant] : [constant, rows]);
}

function refused(graph: Graph, a: Value, b: Value, needed: string): never {
  throw graph.unsupported(`${describe(a)} with ${describe(b)}`, needed);
}

/** Tensors of data with the same axes, vectors among them at every step of the others; and the axis of features. */
function aligned(graph: Graph, given: readonly Data[]): { all: Data[]; at: number } {
  const rows = given.map((data) => graph.withFeatures(data));
  const longest = rows.find((data) => data.axes.every((axis) => axis.every(({ role }) => role !== "one"))) ?? rows[0];
  const all = rows.map((data) => spreadLike(graph, data, longest));
  const [first] = all;
  const at = graph.featuresAxis(first);
  for (const other of all.slice(1)) {
    const agrees = other.axes.every((axis, i) => {
      const own = first.axes[i] ?? [];
      const ones = [axis, own].map((a) => a.every(({ role }) => role === "one"));
      const [x, y] = [axis[0]?.role, own[0]?.role];
      return i === at || (ones[0] === ones[1] && (ones[0] || !x || !y || x === y));
    });
    const turned = isTurned(other, first);
    if (other.axes.length !== first.axes.length || graph.featuresAxis(other) !== at || !agrees || turned)
      refused(graph, first, other, "expected the same axes");
  }
  return { all, at };
}

/** A layer of several tensors of data with the same axes. */
export function merged(graph: Graph, layer: string, given: readonly Data[]): Data {
  const { all, at } = aligned(graph, given);
  const { size } = graph.rows(all[0], at);
  const rows = all.map((data) => graph.rows(data, at, size).data);
  return graph.emit(layer, {}, rows, {}, size);
}

/** Features of several tensors of data side by side. */
export function besideOneAnother(graph: Graph, given: readonly Data[]): Data {
  const { all, at } = aligned(graph, given);
  const rows = all.map((data) => graph.rows(data, at));
  const size = rows.reduce((sum, { size: n }) => sum + n, 0);
  return graph.emit(
    "concatenate",
    { axis: -1 },
    rows.map(({ data }) => data),
    {},
    size,
  );
}

/** Sum, Mean, Max and Min of any number of tensors. */
function variadic(layer: string, two: Operator | undefined): Operator {
  return (graph) => {
    const values = graph.node.inputs.map((_, i) => graph.input(i));
    if (values.length === 0) throw graph.damaged("reads nothing");
    if (values.length === 1) return graph.set(0, values[0]);
    if (values.length === 2 && two) return two(graph);
    const data = values.map((_, i) => graph.data(i));
    graph.set(0, merged(graph, layer, data));
  };
}

/** The size of an axis, counted from the end. */
const sizeAt = ({ axes }: Data, at: number) => (axes[axes.length + at] ? sizeOf(axes[axes.length + at]) : null);

/** Known numbers [heads, columns] beside features that are apart in the same way. */
function perHead(graph: Graph, given: Data, { shape, data }: Floats) {
  const wide = shape.flatMap((n, i) => (n !== 1 ? [given.axes[given.axes.length - shape.length + i]] : []));
  const { features } = given;
  const same =
    wide.length === features.length && wide.every((axis, i) => axis?.length === 1 && axis[0] === features[i]);
  if (features.length < 2 || !same) return undefined;
  const size = graph.columns(given);
  if (data.length !== size) throw graph.damaged(`numbers [${shape}] beside ${describe(given)}`);
  return { rows: given, size, values: data };
}

/** Known numbers as one a feature, in the order of the node's features. */
function perFeature(
  graph: Graph,
  given: Data,
  { shape, data }: Floats,
): { rows: Data; size: number; values: Float32Array } {
  const rank = given.axes.length;
  // One number for all, in as many places as there are.
  const all =
    data.every((v) => v === data[0]) && shape.every((n, i) => n === 1 || n === sizeAt(given, i - shape.length));
  const wide = all ? -1 : shape.findIndex((n) => n !== 1);
  const heads = perHead(graph, given, { kind: "floats", shape, data });
  if (heads) return heads;
  if (shape.length > rank || (!all && shape.filter((n) => n !== 1).length > 1))
    throw graph.unsupported(`numbers [${shape}] beside ${describe(given)}`, "expected one number, or one a feature");
  if (wide < 0) {
    // One number for all, in whatever axes they are.
    const rows = graph.withFeatures(given);
    const size = graph.columns(rows);
    return { rows, size, values: new Float32Array(size).fill(data[0]) };
  }
  // Aligned at the last axis.
  const at = rank - shape.length + wide;
  const { data: rows, size } = graph.rows(given, at, shape[wide]);
  return { rows, size, values: data };
}

/** What a layer multiplies by and adds, of those that can take up an affine map after them. */
const FACTORS: Readonly<Record<string, readonly [factor: string, summand: string]>> = {
  dense: ["kernel", "bias"],
  conv1d: ["kernel", "bias"],
  layerNorm: ["gamma", "beta"],
  affine: ["scale", "shift"],
};

/**
 * y = scale · x + shift, a number a feature in the order of the layer that made
 * them: into that layer, or one of its own.
 *
 * @param size all features
 */
export function affine(graph: Graph, data: Data, size: number, scale?: Float32Array, shift?: Float32Array): Data {
  const ones = { shape: [size], data: new Float32Array(size).fill(1) };
  const before = open(graph, data, ...Object.keys(FACTORS));
  // A layer that chooses features is known by that, and stays as it is.
  if (before && !before.pick && isLinear(before.config)) {
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
  if (!scale?.some((f) => f !== 1) && !shift?.some((b) => b !== 0)) return data;
  const weights = {
    scale: scale ? { shape: [size], data: scale } : ones,
    shift: { shape: [size], data: shift ?? new Float32Array(size) },
  };
  const node = graph.layer("affine", {}, [graph.read(data)], weights);
  return { ...data, node, state: undefined, exclusive: undefined };
}

/** Of numbers that are known, and of sizes with numbers: sizes are 1 or more. */
function comparison(holds: (a: number, b: number) => boolean): Operator {
  const ints = (value: Value): Value =>
    value.kind === "floats" ? { kind: "ints", shape: value.shape, entries: [...value.data] } : value;
  return (graph) => {
    const [a, b] = [ints(graph.input(0)), ints(graph.input(1))];
    if (a.kind !== "ints" || b.kind !== "ints")
      throw graph.unsupported(`compares ${describe(a)} with ${describe(b)}`, "expected numbers that the file has");
    intArithmetic((x, y) => Number(holds(x, y)), decided)(graph, a, b);
  };

  /** The same for the smallest size, for one without end, and for the number it is compared with: then it is for all. */
  function decided(x: Size, y: Size): Size {
    if (x === y && x !== null) return Number(holds(1, 1));
    const some = (s: Size, other: Size): number[] => {
      if (typeof s === "number") return [s];
      if (!(s instanceof Axis)) return [];
      return s.size !== null
        ? [s.size]
        : [1, Math.max(1, typeof other === "number" ? other : 1), Number.POSITIVE_INFINITY];
    };
    const outcomes = new Set(some(x, y).flatMap((p) => some(y, x).map((q) => holds(p, q))));
    return outcomes.size === 1 ? Number([...outcomes][0]) : null;
  }
}

export function broadcast(graph: Graph, a: Floats, b: Floats, f: (a: number, b: number) => number): Floats {
  const rank = Math.max(a.shape.length, b.shape.length);
  const size = ({ shape }: Floats, axis: number) => shape[axis - rank + shape.length] ?? 1;
  const shape = Array.from({ length: rank }, (_, axis) => {
    const [x, y] = [size(a, axis), size(b, axis)];
    if (x !== y && x !== 1 && y !== 1) throw graph.damaged(`numbers [${a.shape}] and [${b.shape}]`);
    return x === 1 ? y : x;
  });
  const n = shape.reduce((product, s) => product * s, 1);
  graph.checkCount(n);
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

/** Chooses, element by element: between sizes, and scores by a causal mask. */
function where(graph: Graph) {
  const [condition, a, b] = [graph.input(0), graph.input(1), graph.input(2)];
  if (condition.kind === "ints" || condition.kind === "floats") {
    const scores = masked(graph, condition, a, b);
    if (scores) return graph.set(0, scores);
  }
  if (condition.kind !== "ints" || a.kind !== "ints" || b.kind !== "ints")
    throw graph.unsupported(`chooses between ${describe(a)} and ${describe(b)}`, "expected sizes, or a causal mask");
  const n = Math.max(condition.entries.length, a.entries.length, b.entries.length);
  const at = ({ entries }: Ints, i: number) => entries[entries.length === 1 ? 0 : i];
  const entries = Array.from({ length: n }, (_, i) => {
    const chosen = at(condition, i);
    return typeof chosen !== "number" ? null : ((chosen ? at(a, i) : at(b, i)) ?? null);
  });
  const longest = [condition, a, b].find((value) => value.entries.length === n)!;
  graph.set(0, { kind: "ints", shape: longest.shape, entries });
}

const add = arithmetic({ f: (a, b) => a + b, shift: (v) => v, layer: "add" });
const max = arithmetic({ f: Math.max, layer: "maximum" });
const min = arithmetic({ f: Math.min, layer: "minimum" });

/** By operator. */
export const ARITHMETIC: Readonly<Record<string, Operator>> = {
  Add: add,
  Sub: arithmetic({
    f: (a, b) => a - b,
    scale: (v, dataFirst) => (dataFirst ? undefined : v.map(() => -1)),
    shift: (v, dataFirst) => (dataFirst ? negative(v) : v),
    layer: "subtract",
  }),
  Mul: arithmetic({ f: (a, b) => a * b, sizes: times, scale: (v) => v, layer: "multiply" }),
  Div: arithmetic({
    f: (a, b) => a / b,
    scale: (v, dataFirst) => (dataFirst ? v.map((x) => 1 / x) : undefined),
  }),
  Pow: arithmetic({ f: (a, b) => a ** b }),
  Sum: variadic("add", add),
  Mean: variadic("average", undefined),
  Max: variadic("maximum", max),
  Min: variadic("minimum", min),
  Equal: comparison((a, b) => a === b),
  Less: comparison((a, b) => a < b),
  Greater: comparison((a, b) => a > b),
  And: comparison((a, b) => a !== 0 && b !== 0),
  Or: comparison((a, b) => a !== 0 || b !== 0),
  Where: where,
  Neg(graph) {
    const value = graph.input(0);
    if (value.kind === "floats") return graph.set(0, { ...value, data: negative(value.data) });
    const moment = value.kind === "moment" ? momentOf("Neg", value) : undefined;
    if (moment) return graph.set(0, moment);
    const minus: Floats = { kind: "floats", shape: [], data: Float32Array.of(-1) };
    graph.set(0, binary(graph, { f: (a, b) => a * b, scale: (v) => v }, value, minus));
  },
};
