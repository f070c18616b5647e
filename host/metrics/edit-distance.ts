import { editDistance as distance } from "../core/edit-distance.ts";
import { ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";

/** Something to compare entry by entry; strings by characters (code points). */
export type Sequence = string | readonly unknown[] | Int32Array;

/**
 * Levenshtein's distance: the least number of insertions, deletions and
 * substitutions that turn one sequence into the other. Time is the product of
 * the lengths, after what is alike at both ends.
 *
 * @example editDistance("kitten", "sitting") // 3
 * @param a, b strings, compared by characters, or arrays, entry by entry (===)
 * @throws ShapeError for anything else
 */
export function editDistance(a: Sequence, b: Sequence): number {
  return distance<unknown>(entries(a), entries(b));
}

function entries(value: Sequence): ArrayLike<unknown> {
  if (typeof value === "string") return Array.from(value);
  if (Array.isArray(value) || value instanceof Int32Array) return value;
  throw new ShapeError(`editDistance(): expected a string or an array, got ${shown(value)}`);
}
