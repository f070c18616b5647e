import { bytes, clearFrom, lastLanes, lastVector } from "./simd";
import { randomRows } from "./random";

/** y += instead of y =. */
const ACCUMULATE: i32 = 1;
/** 1 stands in place of x, which is not read. */
const ONES: i32 = 2;

@final class Keep {
  /**
   * Four elements: kept, times scale, where their word is large enough.
   *
   * @param left elements of the row from this vector on; <= 0 in the padding
   * @param threshold rate · 2^24
   */
  // @ts-ignore: decorator
  @inline take(y: usize, x: usize, word: v128, left: i32, threshold: f32, scale: f32, flags: i32): void {
    const u = f32x4.convert_i32x4_s(i32x4.shr_u(word, 8));
    const kept = v128.and(f32x4.ge(u, f32x4.splat(threshold)), i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(left)));
    const s = f32x4.splat(scale);
    let v = v128.and(flags & ONES ? s : f32x4.mul(v128.load(x), s), kept);
    if (flags & ACCUMULATE) v = f32x4.add(v, v128.load(y));
    v128.store(y, v);
  }
}

/**
 * Dropout: y = u >= rate ? x / (1 − rate) : 0 with u uniform in [0, 1), the
 * upper 24 bits of the element's random word (random.ts). The same call on dy
 * is the backward pass: it draws the same mask again.
 *
 * @param y f32[rows, n], the padding becomes 0; may be x
 * @param x f32[rows, n]
 * @param firstRow number of the first row: a range of rows is computed alone
 *   by offsetting y and x and saying where it begins
 * @param rate in [0, 1]
 * @param step i32[1], with `key` the generator's key: in memory, so that a
 *   recorded call draws another mask at each step
 * @param accumulate 1: y += instead, the padding stays; 0: y is not read
 */
export function dropout(
  y: usize, x: usize, rows: i32, n: i32, stride: i32, firstRow: i32, rate: f32, key: i32, step: usize, accumulate: i32,
): void {
  keep(y, x, rows, n, stride, firstRow, rate, 1 / (1 - rate), key, step, accumulate ? ACCUMULATE : 0);
}

/**
 * The mask by itself: y = u >= rate ? value : 0, the padding 0.
 *
 * @param y f32[rows, stride]
 */
export function keepMask(
  y: usize, rows: i32, n: i32, stride: i32, firstRow: i32, rate: f32, value: f32, key: i32, step: usize,
): void {
  keep(y, y, rows, n, stride, firstRow, rate, value, key, step, ONES);
}

/** The one body: it is large, as the generator stands in line. */
function keep(
  y: usize, x: usize, rows: i32, n: i32, stride: i32, firstRow: i32, rate: f32, scale: f32, key: i32, step: usize, flags: i32,
): void {
  randomRows<Keep>(y, x, rows, n, stride, firstRow, key, load<i32>(step), rate * 16777216, scale, flags);
}

/**
 * Dropout with a given mask: y = x ⊙ keep · scale; the same call on dy is the
 * backward pass.
 *
 * @param y    f32[rows, n], the padding becomes 0; may be x
 * @param x    f32[rows, n]
 * @param keep f32[rows, n], 1 or 0
 * @param accumulate 1: y += instead, the padding stays; 0: y is not read
 */
export function dropoutMask(
  y: usize, x: usize, keep: usize, rows: i32, n: i32, stride: i32, scale: f32, accumulate: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n), s = f32x4.splat(scale);
  for (let i = 0; i < rows; i++) {
    for (let j: usize = 0; j <= last; j += 16) {
      let v = f32x4.mul(f32x4.mul(v128.load(x + j), v128.load(keep + j)), s);
      if (j == last) v = v128.and(v, lanes);
      if (accumulate) v = f32x4.add(v, v128.load(y + j));
      v128.store(y + j, v);
    }
    if (!accumulate) clearFrom(y, last + 16, stride);
    y += bytes(stride);
    x += bytes(stride);
    keep += bytes(stride);
  }
}
