import type { Constant } from "./proto.ts";

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

/** A step of layer normalisation written out as operators, before Opset 17. */
export interface Moment {
  readonly kind: "moment";
  readonly of: Data;
  readonly step: "mean" | "centered" | "squared" | "variance" | "stabilised" | "deviation";
  readonly epsilon?: number;
}

/** Known floats. */
export interface Floats {
  readonly kind: "floats";
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A size in a shape: a number, that of an axis, or one computed from those, which nothing here can use. */
export type Size = number | Axis | null;

/** Whole numbers: shapes, indices. */
export interface Ints {
  readonly kind: "ints";
  readonly shape: readonly number[];
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
  readonly axis: number;
  readonly from: number;
  readonly to: number;
}

/** Which steps count. gruvy's layers know from one another, so nothing but them may read it. */
export interface Counts {
  readonly kind: "mask";
}

export type Value = Data | Floats | Ints | Fill | Stack | Part | Moment | Counts;

/** Numbers that are known. */
export function constant({ shape, data }: Constant): Floats | Ints {
  return data instanceof Float32Array ? { kind: "floats", shape, data } : { kind: "ints", shape, entries: [...data] };
}

export const single = (axis: Axis): MergedAxis => [axis];

/** An index from the end counts from the length. */
export function wrap(index: number, length: number): number {
  return index < 0 ? index + length : index;
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

/**
 * The axes of a Reshape's result, or undefined where it would tear axes apart
 * that gruvy keeps together.
 *
 * Sizes that are not known are large primes of their own, so that products
 * tell which axes went into which.
 *
 * @param target sizes; 0 keeps the axis at that place, -1 is what remains
 * @param split  makes the parts of an axis that is taken apart
 */
export function reshaped(
  data: Data,
  target: readonly Size[],
  allowZero: boolean,
): { axes: MergedAxis[]; features: readonly Axis[] } | undefined {
  const primes = new Map<Axis, bigint>();
  const size = (axis: Axis): bigint => {
    if (axis.size !== null) return BigInt(axis.size);
    let prime = primes.get(axis);
    if (prime === undefined) {
      prime = PRIMES[primes.size % PRIMES.length];
      primes.set(axis, prime);
    }
    return prime;
  };
  // Axes of size 1 that operators put in carry nothing.
  const from = data.axes.flat().filter(({ role }) => role !== "one");
  const total = from.reduce((product, axis) => product * size(axis), 1n);
  let sizes: (bigint | undefined)[] = [];
  for (const [i, entry] of target.entries()) {
    if (entry === null) return undefined;
    if (entry instanceof Axis) sizes.push(size(entry));
    else if (entry === 0 && !allowZero) {
      const kept = data.axes[i];
      if (!kept) return undefined;
      sizes.push(kept.reduce((product, axis) => product * size(axis), 1n));
    } else sizes.push(entry === -1 ? undefined : BigInt(entry));
  }
  if (sizes.filter((n) => n === undefined).length > 1 || sizes.some((n) => n !== undefined && n < 1n)) return undefined;
  const rest = sizes.reduce<bigint>((product, n) => product * (n ?? 1n), 1n);
  if (total % rest) return undefined;
  sizes = sizes.map((n) => n ?? total / rest);
  if (sizes.reduce<bigint>((product, n) => product * n!, 1n) !== total) return undefined;

  const isUnit = (axis: Axis | undefined) => axis?.size === 1 && data.features.includes(axis);
  const axes: MergedAxis[] = [];
  let features = data.features;
  let at = 0;
  for (let i = 0; i < sizes.length; ) {
    const n = sizes[i]!;
    if (n === 1n && !(at < from.length && size(from[at]) === 1n)) {
      axes.push([new Axis(1, "one")]);
      i++;
      continue;
    }
    if (at >= from.length) return undefined;
    // One axis into one, several into one, or one into several.
    let product = size(from[at]);
    if (product > n) {
      // Features alone are split, as [directions * units] into its two.
      const whole = from[at++];
      if (whole.size === null || !features.includes(whole)) return undefined;
      const parts: Axis[] = [];
      let left = product;
      while (left > 1n || parts.length === 0) {
        const next = sizes[i++];
        if (next === undefined || left % next) return undefined;
        parts.push(new Axis(Number(next), "features"));
        left /= next;
      }
      features = features.flatMap((axis) => (axis === whole ? parts : [axis]));
      axes.push(...parts.map(single));
      continue;
    }
    const merged = [from[at++]];
    while (product < n) {
      if (at >= from.length) return undefined;
      product *= size(from[at]);
      merged.push(from[at++]);
    }
    if (product !== n) return undefined;
    // Features of size 1 are features too: [directions, 1] of GRUs of one unit.
    while (isUnit(from[at]) && merged.every((axis) => features.includes(axis)) && sizes[i + 1] !== 1n)
      merged.push(from[at++]);
    axes.push(merged);
    i++;
  }
  // What is left must be of size 1.
  if (from.slice(at).some((axis) => size(axis) !== 1n)) return undefined;
  return { axes, features };
}

/** Larger than any size that a graph states. */
const PRIMES = [2147483647n, 2147483629n, 2147483587n, 2147483579n, 2147483563n, 2147483549n, 2147483543n, 2147483497n];
