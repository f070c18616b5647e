import { OptionError } from "../core/errors.ts";
import { oneOf, shown } from "../core/options.ts";

/** How the losses of a batch become one number. */
export type Reduction = "mean" | "sum" | "none";

export interface CommonLossOptions {
  /**
   * "mean" divides by what counts (rows, elements, or class weights), "sum" does not divide; "none" trains like
   * "sum", for weights that do the reducing. Default "mean".
   */
  reduction?: Reduction;
}

export function reductionOf(where: string, options: CommonLossOptions): Reduction {
  return oneOf(where, "reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
}

/** Non-negative numbers, one a class or output. */
export function weightList(where: string, name: string, value: unknown): readonly number[] | undefined {
  if (value === undefined) return undefined;
  const list =
    Array.isArray(value) || value instanceof Float32Array ? Array.from(value as ArrayLike<number>) : undefined;
  if (!list?.length || !list.every((w) => typeof w === "number" && w >= 0 && Number.isFinite(w)))
    throw new OptionError(`${where}: "${name}" must be a list of non-negative numbers, got ${shown(value)}`);
  return list;
}

/** A list as long as the output is wide. */
export function checkWidth(where: string, name: string, list: readonly number[] | undefined, n: number): void {
  if (list && list.length !== n)
    throw new OptionError(`${where}: "${name}" has ${list.length} numbers, the output has ${n}`);
}
