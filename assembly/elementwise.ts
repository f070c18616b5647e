import { bytes } from "./simd";

/**
 * Position of the first NaN or infinity, or -1.
 *
 * @param x f32[n]; the padding after n must be finite
 */
export function allFinite(x: usize, n: i32): i32 {
  const end = x + bytes(n), start = x;
  for (; x < end; x += 16) {
    // v - v is 0 for finite numbers and NaN for the others.
    const v = v128.load(x), d = f32x4.sub(v, v);
    if (v128.any_true(f32x4.ne(d, d))) break;
  }
  for (; x < end; x += 4) {
    const v = load<f32>(x);
    if (v - v != 0) return <i32>((x - start) >> 2);
  }
  return -1;
}

/** y += x, f32[n] both. */
export function addTo(y: usize, x: usize, n: i32): void {
  for (let end = x + bytes(n); x < end; x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), v128.load(x)));
}

/**
 * Rows copied between strides: y[i, 0..n) = x[i, 0..n).
 *
 * @param yStride elements from row to row of y; 0 repeats into one row
 * @param xStride elements from row to row of x; 0 broadcasts one row, a negative one reads from the last row back
 */
export function copyRows(y: usize, x: usize, rows: i32, n: i32, yStride: i32, xStride: i32): void {
  for (let i = 0; i < rows; i++) {
    memory.copy(y, x, bytes(n));
    y += bytes(yStride);
    x += bytes(xStride);
  }
}

/** Rows collected by index: y[i, 0..n) = x[index[i], 0..n), both dense, of any 4-byte type. @param index i32[rows] */
export function gatherRows(y: usize, x: usize, index: usize, rows: i32, n: i32): void {
  for (const end = index + bytes(rows); index < end; index += 4) {
    memory.copy(y, x + <usize>load<i32>(index) * bytes(n), bytes(n));
    y += bytes(n);
  }
}

/** The inverse of gatherRows: y[index[i], 0..n) = x[i, 0..n). */
export function scatterRows(y: usize, x: usize, index: usize, rows: i32, n: i32): void {
  for (const end = index + bytes(rows); index < end; index += 4) {
    memory.copy(y + <usize>load<i32>(index) * bytes(n), x, bytes(n));
    x += bytes(n);
  }
}

/** y = 0, f32[n]. */
export function zero(y: usize, n: i32): void {
  memory.fill(y, 0, bytes(n));
}

/** x *= factor, f32[n]. */
export function scale(x: usize, n: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (let end = x + bytes(n); x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
}

/** x = clip(x, −limit, limit), f32[n]; NaN stays. */
export function clipValue(x: usize, n: i32, limit: f32): void {
  const high = f32x4.splat(limit), low = f32x4.splat(-limit);
  for (let end = x + bytes(n); x < end; x += 16) v128.store(x, f32x4.pmin(f32x4.pmax(v128.load(x), low), high));
}
