import { bytes, clearFrom, lastVector } from "./simd";

/**
 * Several values made one: element by element, or side by side.
 *
 * Rows are padded; element by element the padding is computed as well and
 * stays finite where it was.
 */

/** How two values become one. The numbers are part of recorded programs. */
export const enum Merge { add, subtract, multiply, maximum, minimum }

// @ts-ignore: decorator
@inline function value(how: i32, a: v128, b: v128): v128 {
  if (how == Merge.add) return f32x4.add(a, b);
  if (how == Merge.subtract) return f32x4.sub(a, b);
  if (how == Merge.multiply) return f32x4.mul(a, b);
  if (how == Merge.maximum) return f32x4.max(a, b);
  return f32x4.min(a, b);
}

// @ts-ignore: decorator
@inline function forward(how: i32, y: usize, a: usize, b: usize, n: i32): void {
  for (let end = y + bytes(n); y < end; y += 16, a += 16, b += 16) v128.store(y, value(how, v128.load(a), v128.load(b)));
}

/** Gradient of a, or of b, from that of y. */
// @ts-ignore: decorator
@inline function slope(how: i32, second: bool, dy: v128, a: usize, b: usize): v128 {
  if (how == Merge.add) return dy;
  if (how == Merge.subtract) return second ? f32x4.neg(dy) : dy;
  if (how == Merge.multiply) return f32x4.mul(dy, v128.load(second ? a : b));
  // Where they are equal, a has it.
  const first = how == Merge.maximum ? f32x4.ge(v128.load(a), v128.load(b)) : f32x4.le(v128.load(a), v128.load(b));
  return second ? v128.andnot(dy, first) : v128.and(dy, first);
}

// @ts-ignore: decorator
@inline function put(to: usize, v: v128, accumulate: i32): void {
  v128.store(to, accumulate ? f32x4.add(v128.load(to), v) : v);
}

// @ts-ignore: decorator
@inline function backward(
  how: i32, da: usize, db: usize, dy: usize, a: usize, b: usize, n: i32, accumulateA: i32, accumulateB: i32,
): void {
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    const g = v128.load(dy + i);
    const gA = slope(how, false, g, a + i, b + i), gB = slope(how, true, g, a + i, b + i);
    if (db) put(db + i, gB, accumulateB);
    if (da) put(da + i, gA, accumulateA);
  }
}

/**
 * y = a ∘ b, element by element.
 *
 * @param how a `Merge`
 * @param y   f32[n], whole vectors; may be a or b
 * @param a, b f32[n]
 */
export function merge(how: i32, y: usize, a: usize, b: usize, n: i32): void {
  switch (how) {
    case Merge.add: forward(Merge.add, y, a, b, n); break;
    case Merge.subtract: forward(Merge.subtract, y, a, b, n); break;
    case Merge.multiply: forward(Merge.multiply, y, a, b, n); break;
    case Merge.maximum: forward(Merge.maximum, y, a, b, n); break;
    case Merge.minimum: forward(Merge.minimum, y, a, b, n); break;
  }
}

/**
 * Backward of `merge`.
 *
 * @param da, db f32[n] or 0: not wanted. da may be dy; where both are the same
 *   address, as for a ∘ a, b's part is written first and a's must accumulate
 * @param dy   f32[n]
 * @param a, b f32[n], read by multiply, maximum and minimum
 * @param accumulateA, accumulateB 1: += instead; 0: not read
 */
export function mergeBackward(
  how: i32, da: usize, db: usize, dy: usize, a: usize, b: usize, n: i32, accumulateA: i32, accumulateB: i32,
): void {
  switch (how) {
    case Merge.add: backward(Merge.add, da, db, dy, a, b, n, accumulateA, accumulateB); break;
    case Merge.subtract: backward(Merge.subtract, da, db, dy, a, b, n, accumulateA, accumulateB); break;
    case Merge.multiply: backward(Merge.multiply, da, db, dy, a, b, n, accumulateA, accumulateB); break;
    case Merge.maximum: backward(Merge.maximum, da, db, dy, a, b, n, accumulateA, accumulateB); break;
    case Merge.minimum: backward(Merge.minimum, da, db, dy, a, b, n, accumulateA, accumulateB); break;
  }
}

/**
 * Columns of wider rows: y[i, 0..n) = x[i, 0..n), and zeros in the `clear`
 * columns after them.
 *
 * @param y the first of the columns; rows are `yStride` elements apart
 * @param x f32[rows, n], rows `xStride` apart
 */
export function putColumns(y: usize, x: usize, rows: i32, n: i32, clear: i32, yStride: i32, xStride: i32): void {
  for (let i = 0; i < rows; i++) {
    memory.copy(y, x, bytes(n));
    memory.fill(y + bytes(n), 0, bytes(clear));
    y += bytes(yStride);
    x += bytes(xStride);
  }
}

/**
 * The inverse, for gradients: dx[i, 0..n) = dy[i, 0..n).
 *
 * @param dx f32[rows, n], the padding becomes 0
 * @param dy the first of the columns, on any element; rows are `dyStride` apart
 * @param accumulate 1: dx += instead, the padding stays; 0: dx is not read
 */
export function takeColumns(dx: usize, dy: usize, rows: i32, n: i32, dxStride: i32, dyStride: i32, accumulate: i32): void {
  const last = lastVector(n), end = bytes(n);
  for (let i = 0; i < rows; i++) {
    for (let j: usize = 0; j < last; j += 16) put(dx + j, v128.load(dy + j), accumulate);
    // Not a vector of dy: behind its last element the memory may end.
    if (!accumulate) clearFrom(dx, last, dxStride);
    for (let j = last; j < end; j += 4) {
      const v = load<f32>(dy + j);
      store<f32>(dx + j, accumulate ? load<f32>(dx + j) + v : v);
    }
    dx += bytes(dxStride);
    dy += bytes(dyStride);
  }
}
