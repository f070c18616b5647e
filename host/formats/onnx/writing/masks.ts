import { TYPE } from "../proto.ts";
import { maskCall } from "./call.ts";
import type { Mask, Value } from "./context.ts";
import type { Scope } from "./scope.ts";

/** Masks, bool [batch, time] or [batch]: from lengths, from one another, and what they do to data. */

/** Before the first step: further than any length from the end. */
const BEFORE = -(2 ** 31);

const LENGTHS = { right: true, dialect: "lengths" } as const;

/**
 * An input whose rows have lengths, with its mask, which is made where something reads it.
 *
 * @param clear zeros are to stand in the padding, as when gruvy reads it (host/batches/copy.ts)
 */
export function padded(scope: Scope, x: Value, lengths: string, clear: boolean): Value {
  const make = () =>
    maskCall(scope, "mask", { lengths, input: x.name }, clear ? ["mask", "input"] : ["mask"], (f, [given, values]) => {
      const counts = f.op("Less", [
        order(f, values),
        f.op("Unsqueeze", [f.op("Cast", [given], { to: TYPE.int64 }), f.ints([1])]),
      ]);
      return clear ? [counts, cleared(f, values, { ...LENGTHS, name: counts })] : [counts];
    });
  if (clear) {
    const [name, data] = make();
    return { ...x, name: data, mask: { ...LENGTHS, lengths, name } };
  }
  return {
    ...x,
    mask: {
      ...LENGTHS,
      lengths,
      get name() {
        return scope.once(`mask of ${lengths}`, () => make()[0]);
      },
    },
  };
}

/** The lengths of rows whose mask is at their right, as operators want them, int32. */
export function lengthsOf(scope: Scope, mask: Mask): string {
  const make = () =>
    maskCall(scope, "lengths", { mask: mask.name }, ["mask"], (f, [given]) => [
      f.op("ReduceSum", [f.op("Cast", [given], { to: TYPE.int32 }), f.ints([1])], { keepdims: 0 }),
    ])[0];
  return mask.lengths ?? scope.once(`lengths of ${mask.name}`, make);
}

/** The positions of the steps of x [batch, time, ...]. */
export function order(scope: Scope, x: string): string {
  const steps = scope.op("Squeeze", [scope.op("Shape", [x], { start: 1, end: 2 }), scope.ints([0])]);
  return scope.op("Range", [scope.int(0), steps, scope.int(1)]);
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
  return [...new Set(values.flatMap(({ mask }) => mask ?? []))];
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
