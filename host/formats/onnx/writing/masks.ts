import { maskCall } from "./call.ts";
import type { Mask, Value } from "./context.ts";
import type { Scope } from "./scope.ts";

/** Masks, bool [batch, time] or [batch]: from lengths, from one another, and what they do to data. */

/** Before the first step: further than any length from the end. */
const BEFORE = -(2 ** 31);

/** An input whose rows have lengths: with its mask, and zeros in the padding, as gruvy reads it (host/batches/copy.ts). */
export function padded(scope: Scope, x: Value, lengths: string): Value {
  const tokens = x.features === 0;
  const reads = { lengths, input: x.name };
  const [name, data] = maskCall(scope, "mask", reads, ["mask", "input"], (f, [given, values]) => {
    const steps = f.op("Squeeze", [f.op("Shape", [values], { start: 1, end: 2 }), f.ints([0])]);
    const order = f.op("Range", [f.int(0), steps, f.int(1)]);
    const counts = f.op("Less", [order, f.op("Unsqueeze", [f.op("Cast", [given], { to: 7 }), f.ints([1])])]);
    return tokens ? [counts] : [counts, cleared(f, values, { ...LENGTHS, name: counts })];
  });
  return { ...x, name: tokens ? x.name : data, mask: { ...LENGTHS, name } };
}

const LENGTHS = { right: true, dialect: "lengths" } as const;

/** The lengths of rows whose mask is at their right, as operators want them, int32. */
export function lengthsOfMask(scope: Scope, mask: Mask): string {
  const [lengths] = maskCall(scope, "lengths", { mask: mask.name }, ["mask"], (f, [given]) => [
    f.op("ReduceSum", [f.op("Cast", [given], { to: 6 }), f.ints([1])], { keepdims: 0 }),
  ]);
  return lengths;
}

/** Steps from the last to the first, on an axis. */
export function backwards(scope: Scope, x: string, axis: number): string {
  return scope.op("Slice", [x, scope.ints([-1]), scope.ints([BEFORE]), scope.ints([axis]), scope.ints([-1])]);
}

export function reversed(scope: Scope, mask: Mask | undefined): Mask | undefined {
  return mask && { ...mask, name: backwards(scope, mask.name, 1), right: false };
}

/** The masks of several values, each once. */
export function masksOf(values: readonly Value[]): Mask[] {
  return [...new Map(values.flatMap(({ mask }) => (mask ? [[mask.name, mask]] : []))).values()];
}

/** The steps that count in all values; undefined: all. */
export function bothMasks(scope: Scope, values: readonly Value[]): Mask | undefined {
  const masks = masksOf(values);
  if (masks.length < 2) return masks[0];
  return {
    name: masks.map(({ name }) => name).reduce((a, b) => scope.op("And", [a, b])),
    right: masks.every(({ right }) => right),
    dialect: masks.every(({ dialect }) => dialect === "lengths") ? "lengths" : "holes",
  };
}

/** A mask with an axis for features. */
export function ofFeatures(scope: Scope, mask: Mask): string {
  return scope.op("Unsqueeze", [mask.name, scope.ints([-1])]);
}

/** x with zeros, or another number, where steps do not count. */
export function cleared(scope: Scope, x: string, mask: Mask | undefined, value = 0): string {
  return mask ? scope.op("Where", [ofFeatures(scope, mask), x, scope.float(value)]) : x;
}
