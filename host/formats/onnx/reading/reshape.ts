import { Axis, type MergedAxis, Product, type Size } from "./values.ts";

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
  data: { readonly axes: readonly MergedAxis[]; readonly features: readonly Axis[] },
  target: readonly Size[],
  allowZero: boolean,
): { axes: MergedAxis[]; features: readonly Axis[] } | undefined {
  const primes = new Map<Axis | "batch", bigint>();
  const size = (axis: Axis): bigint => {
    if (axis.size !== null) return BigInt(axis.size);
    // All inputs have the same batch.
    const key = axis.role === "batch" ? "batch" : axis;
    const prime = primes.get(key) ?? PRIMES[primes.size % PRIMES.length];
    primes.set(key, prime);
    return prime;
  };
  // Axes of size 1 that operators put in carry nothing.
  const from = data.axes.flat().filter(({ role }) => role !== "one");
  const total = from.reduce((product, axis) => product * size(axis), 1n);
  let sizes: (bigint | undefined)[] = [];
  for (const [i, entry] of target.entries()) {
    if (entry === null) return undefined;
    if (entry instanceof Axis) sizes.push(size(entry));
    else if (entry instanceof Product) {
      if (!(Number.isSafeInteger(entry.factor) && entry.factor > 0)) return undefined;
      sizes.push(entry.axes.reduce((product, axis) => product * size(axis), BigInt(entry.factor)));
    } else if (entry === 0 && !allowZero) {
      const kept = data.axes[i];
      if (!kept) return undefined;
      sizes.push(kept.reduce((product, axis) => product * size(axis), 1n));
    } else if (!Number.isSafeInteger(entry)) return undefined;
    else sizes.push(entry === -1 ? undefined : BigInt(entry));
  }
  if (sizes.filter((n) => n === undefined).length > 1 || sizes.some((n) => n !== undefined && n < 1n)) return undefined;
  const rest = sizes.reduce<bigint>((product, n) => product * (n ?? 1n), 1n);
  if (total % rest) return undefined;
  sizes = sizes.map((n) => n ?? total / rest);
  if (sizes.reduce<bigint>((product, n) => product * n!, 1n) !== total) return undefined;

  const isUnit = (axis: Axis | undefined) => axis?.size === 1 && data.features.includes(axis);
  const axes: MergedAxis[] = [];
  let features = data.features;
  const left = [...from];
  for (const [i, given] of sizes.entries()) {
    const n = given!;
    if (n === 1n && !(left.length && size(left[0]) === 1n)) {
      axes.push([new Axis(1, "one")]);
      continue;
    }
    const merged: Axis[] = [];
    for (let product = 1n; product < n || merged.length === 0; ) {
      const next = left.shift();
      if (!next) return undefined;
      const whole = size(next);
      if (product * whole <= n) {
        product *= whole;
        merged.push(next);
        continue;
      }
      // Features alone are taken apart, as [directions * units] into its two.
      const taken = n / product;
      if (next.size === null || !features.includes(next) || n % product || whole % taken) return undefined;
      const parts = [taken, whole / taken].map((own) => new Axis(Number(own), "features"));
      features = features.flatMap((axis) => (axis === next ? parts : [axis]));
      merged.push(parts[0]);
      left.unshift(parts[1]);
      product = n;
    }
    // Features of size 1 are features too: [directions, 1] of GRUs of one unit.
    while (isUnit(left[0]) && merged.every((axis) => features.includes(axis)) && sizes[i + 1] !== 1n)
      merged.push(left.shift()!);
    axes.push(merged);
  }
  // What is left must be of size 1.
  if (left.some((axis) => size(axis) !== 1n)) return undefined;
  return { axes, features };
}

/** Larger than any size that a graph states. */
const PRIMES = [2147483647n, 2147483629n, 2147483587n, 2147483579n, 2147483563n, 2147483549n, 2147483543n, 2147483497n];
