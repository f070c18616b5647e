import type { Rows, Vector } from "./gru.ts";
import { softmax } from "./softmax.ts";

/** How a query scores a key. */
export type Score = (query: Vector, key: Vector) => number;

export const dotProduct =
  (c: number): Score =>
  (q, k) =>
    c * q.reduce((sum, x, u) => sum + x * k[u], 0);

export const additive =
  (w: ArrayLike<number>): Score =>
  (q, k) =>
    q.reduce((sum, x, u) => sum + w[u] * Math.tanh(x + k[u]), 0);

/**
 * One head of one sample: for every query the mean of the values, weighted by
 * the softmax of the scores of the keys that count for it; zeros where none does.
 *
 * @param counts whether key j counts for query i
 * @param keep   what dropout multiplies a weight by
 * @param blind  whether query i sees all keys alike where none counts for it
 */
export function attend(
  queries: Rows,
  keys: Rows,
  values: Rows,
  score: Score,
  counts: (i: number, j: number) => boolean = () => true,
  keep: (i: number, j: number) => number = () => 1,
  blind: (i: number) => boolean = () => false,
): { outputs: number[][]; weights: number[][] } {
  const width = values[0]?.length ?? 0;
  const weights = queries.map((query, i) => {
    const seen = keys.flatMap((_key, j) => (counts(i, j) ? [j] : []));
    const row = new Array<number>(keys.length).fill(0);
    if (seen.length) {
      const p = softmax(seen.map((j) => score(query, keys[j])));
      seen.forEach((j, at) => {
        row[j] = p[at];
      });
    } else if (blind(i)) row.fill(1 / keys.length);
    return row;
  });
  const outputs = weights.map((row, i) =>
    Array.from({ length: width }, (_, c) => row.reduce((sum, p, j) => sum + p * keep(i, j) * values[j][c], 0)),
  );
  return { outputs, weights };
}
