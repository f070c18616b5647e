import { counts } from "./mask";
import { bytes, pad8 } from "./simd";

/**
 * The largest or the mean of every feature in windows over time. Steps
 * outside of the sequence and masked ones do not count; a window without any
 * gives 0, and no gradient.
 *
 *   window of output step t: steps t s − p to t s − p + size, the last not included
 *
 * Legend: T input steps, S output steps, B batch, n features; s stride, p
 * steps of padding before the first.
 */

/** The largest; otherwise the mean. */
const MAX: i32 = 0;

/**
 * @param y     f32[S, B, n]
 * @param index i32[S, B, n], the step that the largest comes from, the first of equals, −1 for none; or 0
 * @param x     f32[T, B, n]   @param mask i32[T, B] or 0
 */
export function pooling1d(
  y: usize, index: usize, x: usize, mask: usize, T: i32, S: i32, B: i32, n: i32, size: i32, stride: i32, pad: i32, kind: i32,
): void {
  const row = bytes(pad8(n));
  for (let t = 0; t < S; t++) {
    const first = t * stride - pad, end = min(T, first + size);
    for (let b = 0; b < B; b++) {
      let found = 0;
      for (let u = max(0, first); u < end; u++) {
        if (!counts(mask, u * B + b)) continue;
        const from = x + <usize>(u * B + b) * row;
        if (found++ == 0) {
          memory.copy(y, from, row);
          if (index) fill(index, u, row);
        } else if (kind == MAX) largest(y, index, from, u, row);
        else for (let j: usize = 0; j < row; j += 16) v128.store(y + j, f32x4.add(v128.load(y + j), v128.load(from + j)));
      }
      if (found == 0) {
        memory.fill(y, 0, row);
        if (index) fill(index, -1, row);
      } else if (kind != MAX && found > 1)
        for (let j: usize = 0; j < row; j += 16) v128.store(y + j, f32x4.div(v128.load(y + j), f32x4.splat(<f32>found)));
      y += row;
      if (index) index += row;
    }
  }
}

function fill(index: usize, u: i32, row: usize): void {
  for (let j: usize = 0, value = i32x4.splat(u); j < row; j += 16) v128.store(index + j, value);
}

/** y = max(y, x), and where that is x the step. A NaN stays. */
function largest(y: usize, index: usize, x: usize, u: i32, row: usize): void {
  for (let j: usize = 0, step = i32x4.splat(u); j < row; j += 16) {
    const v = v128.load(x + j), m = v128.load(y + j), takes = v128.or(f32x4.gt(v, m), f32x4.ne(v, v));
    v128.store(y + j, v128.bitselect(v, m, takes));
    if (index) v128.store(index + j, v128.bitselect(step, v128.load(index + j), takes));
  }
}

/**
 * dx += its share of dy: all of it to the largest, or the same part to every step.
 *
 * @param dx    f32[T, B, n], added to   @param dy f32[S, B, n]
 * @param index from pooling1d, where it was the largest
 */
export function pooling1dBackward(
  dx: usize, dy: usize, index: usize, mask: usize, T: i32, S: i32, B: i32, n: i32, size: i32, stride: i32, pad: i32, kind: i32,
): void {
  const row = bytes(pad8(n));
  for (let t = 0; t < S; t++) {
    const first = t * stride - pad, begin = max(0, first), end = min(T, first + size);
    for (let b = 0; b < B; b++) {
      if (kind == MAX) {
        for (let j = 0; j < n; j++) {
          const u = load<i32>(index + bytes(j));
          if (u < 0) break;
          const to = dx + <usize>(u * B + b) * row + bytes(j);
          store<f32>(to, load<f32>(to) + load<f32>(dy + bytes(j)));
        }
        index += row;
      } else {
        let found = 0;
        for (let u = begin; u < end; u++) if (counts(mask, u * B + b)) found++;
        for (let u = begin; u < end; u++) {
          if (!counts(mask, u * B + b)) continue;
          for (let j: usize = 0, to = dx + <usize>(u * B + b) * row; j < row; j += 16)
            v128.store(to + j, f32x4.add(v128.load(to + j), f32x4.div(v128.load(dy + j), f32x4.splat(<f32>found))));
        }
      }
      dy += row;
    }
  }
}
