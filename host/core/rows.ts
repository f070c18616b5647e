import type { Arena } from "./arena.ts";

/**
 * Rows between JavaScript and the arena: batch-major and dense [B, T, n]
 * outside, time-major and padded [T, B, stride] inside.
 */

/** to[t, b, 0..n) = from[rows[b], t, 0..n). */
export function scatter(
  to: Float32Array | Int32Array,
  at: number,
  from: Float32Array | Int32Array,
  rows: Int32Array,
  steps: number,
  n: number,
  stride: number,
): void {
  const B = rows.length;
  for (let b = 0; b < B; b++) {
    let source = rows[b] * steps * n;
    for (let t = 0; t < steps; t++) {
      const target = at + (t * B + b) * stride;
      // A plain loop: for rows this short, faster than subarray and set.
      for (let i = 0; i < n; i++) to[target + i] = from[source + i];
      source += n;
    }
  }
}

/** to[b, t, 0..n) = from[t, b, 0..n): the inverse. */
export function gather(
  to: Float32Array,
  offset: number,
  from: Float32Array,
  at: number,
  B: number,
  steps: number,
  n: number,
  stride: number,
): void {
  for (let b = 0; b < B; b++)
    for (let t = 0; t < steps; t++) {
      const source = at + (t * B + b) * stride;
      const target = offset + (b * steps + t) * n;
      for (let i = 0; i < n; i++) to[target + i] = from[source + i];
    }
}

/** Dense rows from padded ones. */
export function readRows(arena: Arena, address: number, rows: number, n: number, stride: number): Float32Array {
  const out = new Float32Array(rows * n);
  gather(out, 0, arena.f32, address >>> 2, rows, 1, n, stride);
  return out;
}

/** Padded rows from dense ones. */
export function writeRows(
  arena: Arena,
  address: number,
  values: Float32Array,
  rows: number,
  n: number,
  stride: number,
): void {
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < stride; i++) arena.f32[(address >>> 2) + r * stride + i] = i < n ? values[r * n + i] : 0;
}
