import type { Rows, Vector } from "./gru.ts";

export type Merge = "concat" | "sum" | "mul" | "average";

/** The outputs of two directions at one step. */
export function merged(merge: Merge, forward: Vector, backward: Vector): Vector {
  if (merge === "concat") return [...forward, ...backward];
  if (merge === "mul") return forward.map((v, j) => v * backward[j]);
  return forward.map((v, j) => (v + backward[j]) / (merge === "average" ? 2 : 1));
}

/** Sequences of both directions, the reversed one in reading order, at every step of time. */
export function mergedSequence(merge: Merge, forward: Rows, reversed: Rows): Rows {
  return forward.map((row, t) => merged(merge, row, reversed[reversed.length - 1 - t]));
}
