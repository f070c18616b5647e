import type { Constant } from "../proto.ts";

/**
 * What flows along the edges of an ONNX graph while it is read: numbers that
 * are known, sizes that are not, and data, which is rows of a gruvy node seen
 * through axes in some order. Transposing, squeezing and reshaping move axes
 * and compute nothing, as gruvy has one order of its own.
 */

/** What an axis of data means. "one": of size 1, put in by an operator. */
export type Role = "batch" | "time" | "features" | "directions" | "one";

/** An axis of data. Identity counts: the same axis in two places is the same object. */
export class Axis {
  constructor(
    /** Known where the file says it, or a layer has; null for batches and lengths. */
    public size: number | null,
    /** Found out when an operator needs it. */
    public role?: Role,
  ) {}
}

/** Axes that a Reshape has merged, the first the slowest. */
export type MergedAxis = readonly Axis[];

/** Rows of a node. */
export interface Data {
  readonly kind: "data";
  /** A node; -1 - i for the model's i-th input. */
  readonly node: number;
  /** In the order of the ONNX tensor; several where merged. */
  readonly axes: readonly MergedAxis[];
  /** Those axes that are the node's features, the slowest first: [directions, units] of a bidirectional GRU. */
  readonly features: readonly Axis[];
  /** The last state of a recurrent layer rather than its outputs. */
  readonly state?: boolean;
  /** Which state, of a layer that gives them one by one; otherwise it is all of them, as one. */
  readonly part?: number;
  /** Nothing else reads the node, so that what follows may become a part of it. */
  readonly exclusive?: boolean;
}

/**
 * A step of layer normalisation written out as operators, before Opset 17:
 * μ, x - μ, (x - μ)², its mean, that plus ε, σ, γ / σ, x · γ / σ, and the
 * rest, ±μ · γ / σ + β.
 */
export interface Moment {
  readonly kind: "moment";
  readonly of: Data;
  readonly step:
    | "mean"
    | "centered"
    | "squared"
    | "variance"
    | "stabilised"
    | "deviation"
    | "inverse"
    | "scaled"
    | "rest";
  readonly epsilon?: number;
  /** Of the mean: -1 after a Neg. */
  readonly sign?: 1 | -1;
  readonly gamma?: Float32Array;
  readonly beta?: Float32Array;
}

/** Known floats. */
export interface Floats {
  readonly kind: "floats";
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A number times sizes of axes: of axes that are one in a shape. */
export class Product {
  constructor(
    readonly factor: number,
    readonly axes: readonly Axis[],
  ) {}
}

/** A size in a shape: a number, that of an axis, a product of such, or another one computed, which nothing here can use. */
export type Size = number | Axis | Product | null;

/** A product of sizes. */
export function times(a: Size, b: Size): Size {
  if (a === null || b === null) return null;
  const [factors, axes] = [a, b].reduce<[number, readonly Axis[]]>(
    ([factor, all], s) =>
      typeof s === "number"
        ? [factor * s, all]
        : s instanceof Axis
          ? s.size === null
            ? [factor, [...all, s]]
            : [factor * s.size, all]
          : [factor * s.factor, [...all, ...s.axes]],
    [1, []],
  );
  if (axes.length === 0) return factors;
  return factors === 1 && axes.length === 1 ? axes[0] : new Product(factors, axes);
}

/** Whole numbers: shapes, indices. */
export interface Ints {
  readonly kind: "ints";
  readonly shape: readonly number[];
  /** ONNX's number of their type, where it matters. */
  readonly type?: number;
  readonly entries: readonly Size[];
}

/** A tensor of one number throughout, whose shape may depend on the input's: ConstantOfShape, Expand. */
export interface Fill {
  readonly kind: "fill";
  readonly value: number;
  readonly rank: number;
}

/** Tensors one after the other on an axis of size 1 each, such as the last states of all layers. */
export interface Stack {
  readonly kind: "stack";
  readonly axis: number;
  readonly parts: readonly (Data | Part)[];
}

/** Entries [from, to) of a model input on an axis: the initial states of some layers. */
export interface Part {
  readonly kind: "part";
  readonly input: number;
  readonly axes: readonly MergedAxis[];
  readonly from: number;
  readonly to: number;
}

/** Which steps count. gruvy's layers know from one another, so nothing but them may read it. */
export interface Counts {
  readonly kind: "mask";
}

/** A function of every number of data that no layer does, until more operators make it one: an erf, a part of a GELU. */
export interface Curve {
  readonly kind: "curve";
  readonly of: Data;
  readonly f: (x: number) => number;
  /** Operators that it takes, each as often as it is evaluated. */
  readonly size: number;
}

/**
 * Data with data, for every step of the one every step of the other; the left
 * may have no steps, the right has. "beside":
 * their features side by side; "sum": their sum; "tanh": the tanh of that; "scored": that, weighted.
 */
export interface Pairs {
  readonly kind: "pairs";
  readonly step: "beside" | "sum" | "tanh" | "scored";
  readonly left: Data;
  readonly right: Data;
  /** The steps of the right, among the axes. */
  readonly rightAxis: Axis;
  readonly axes: readonly MergedAxis[];
  /** "scored": what columns are multiplied by, before their sum. */
  readonly scale?: Float32Array;
  /** Beside one another, the features of the right come first. */
  readonly flipped?: boolean;
}

/** Data whose axis of size 1 has been repeated for every step of a sequence. */
export interface Repeated {
  readonly kind: "repeated";
  readonly of: Data;
  readonly axes: readonly MergedAxis[];
}

/** How well queries and keys fit, on their way to an attention; axes of the one and of the other, and those of both. */
export interface Scores {
  readonly kind: "scores";
  readonly axes: readonly MergedAxis[];
  /** Which one is the query, the axis of a Softmax tells. Absent: of all keys the same one is asked. */
  readonly left?: Data;
  readonly right: Data;
  /** Their steps. */
  readonly leftAxis: Axis;
  readonly rightAxis: Axis;
  /** Of a product: what it is multiplied by. Of tanh(left + right): what its columns are. */
  readonly scale: number | Float32Array;
  readonly causal: boolean;
  /** After Softmax: the steps that it went over. */
  readonly over?: Axis;
}

/** Data multiplied by its scores, before the sum over its steps. */
export interface Weighted {
  readonly kind: "weighted";
  readonly scores: Scores;
  readonly of: Data;
}

export type Value =
  | Data
  | Floats
  | Ints
  | Fill
  | Stack
  | Part
  | Moment
  | Curve
  | Pairs
  | Repeated
  | Scores
  | Weighted
  | Counts;

/** What has axes that move. */
export type Arranged = Data | Part | Scores;

export const isArranged = (value: Value): value is Arranged =>
  value.kind === "data" || value.kind === "part" || value.kind === "scores";

export const isKnown = (value: Value): value is Floats | Ints => value.kind === "floats" || value.kind === "ints";

/** How many numbers there are. */
export const lengthOf = (value: Floats | Ints): number =>
  value.kind === "floats" ? value.data.length : value.entries.length;

/** Axes of a value, in so far as it has some. */
export function rankOf(value: Value): number {
  switch (value.kind) {
    case "floats":
    case "ints":
      return value.shape.length;
    case "fill":
      return value.rank;
    case "moment":
    case "curve":
    case "weighted":
      return value.of.axes.length;
    case "stack":
      return value.parts[0].axes.length;
    case "mask":
      return 0;
    default:
      return value.axes.length;
  }
}

/** Numbers that are known. */
export function constant({ shape, type, data }: Constant): Floats | Ints {
  if (data instanceof Float32Array) return { kind: "floats", shape, data };
  return { kind: "ints", shape, type, entries: [...data] };
}

export const single = (axis: Axis): MergedAxis => [axis];

/** An axis of size 1 that an operator has put in. */
export const isOne = (axis: MergedAxis): boolean => axis.every(({ role }) => role === "one");

/** Rows of data: batch and time, in either order. */
export const rowsOf = ({ axes, features }: Data): Axis[] =>
  axes.flat().filter((axis) => axis.role !== "one" && !features.includes(axis));

/** An index from the end counts from the length. */
export function wrap(index: number, length: number): number {
  return index < 0 ? index + length : index;
}

/** The same numbers in the same order. */
export function sameData(a: Data, b: Data): boolean {
  return (
    a.node === b.node &&
    a.state === b.state &&
    a.part === b.part &&
    a.axes.length === b.axes.length &&
    a.axes.every((axis, i) => axis.length === b.axes[i].length && axis.every((own, j) => own === b.axes[i][j]))
  );
}

/** Whether an axis of some data stands elsewhere in others: one of them is turned round. */
export function isTurned(a: Data, b: Data): boolean {
  return a.axes.some((axis, i) => axis.some((own) => b.axes.some((other, k) => k !== i && other.includes(own))));
}

/** Whether an axis is all the features of data, in their order. */
export function isFeatures({ features }: Data, axis: MergedAxis | undefined): boolean {
  return axis !== undefined && axis.length === features.length && axis.every((a, i) => a === features[i]);
}

/** The product of sizes, or null where one is not known. */
export function sizeOf(axis: MergedAxis): number | null {
  return axis.reduce<number | null>(
    (product, { size }) => (product === null || size === null ? null : product * size),
    1,
  );
}
