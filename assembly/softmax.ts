import { bytes, clearFrom, lastLanes, lastVector, sumLanes } from "./simd";
import { expNonPositive, log } from "./math";

/**
 * Largest of x[0, n) in all lanes. A NaN among other numbers may be passed
 * over: the sum of exponentials that follows becomes NaN with it.
 */
// @ts-ignore: decorator
@inline export function rowMax(x: usize, last: usize, lanes: v128): v128 {
  let m = v128.bitselect(v128.load(x + last), f32x4.splat(<f32>-Infinity), lanes);
  for (let j: usize = 0; j < last; j += 16) m = f32x4.pmax(m, v128.load(x + j));
  m = f32x4.pmax(m, v128.shuffle<f32>(m, m, 2, 3, 0, 1));
  return f32x4.pmax(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
}

/**
 * Softmax of rows: y = e^(x − max) / Σ e^(x − max).
 *
 * @param y f32[rows, n], the padding becomes 0; may be x
 * @param x f32[rows, n]; −Infinity gives 0, a row of them NaN
 */
export function softmax(y: usize, x: usize, rows: i32, n: i32, stride: i32): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    const m = rowMax(x, last, lanes);
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < last; j += 16) {
      const e = expNonPositive(f32x4.sub(v128.load(x + j), m));
      v128.store(y + j, e);
      sum = f32x4.add(sum, e);
    }
    const e = v128.and(expNonPositive(f32x4.sub(v128.load(x + last), m)), lanes);
    v128.store(y + last, e);
    clearFrom(y, last + 16, stride);

    const scale = f32x4.splat(1 / sumLanes(f32x4.add(sum, e)));
    for (let j: usize = 0; j <= last; j += 16) v128.store(y + j, f32x4.mul(v128.load(y + j), scale));
    x += bytes(stride);
    y += bytes(stride);
  }
}

/**
 * Logarithm of softmax: y = (x − max) − ln Σ e^(x − max).
 *
 * @param y f32[rows, n], the padding becomes 0; may be x
 * @param x f32[rows, n]
 */
export function logSoftmax(y: usize, x: usize, rows: i32, n: i32, stride: i32): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    const m = rowMax(x, last, lanes);
    let sum = v128.and(expNonPositive(f32x4.sub(v128.load(x + last), m)), lanes);
    for (let j: usize = 0; j < last; j += 16) sum = f32x4.add(sum, expNonPositive(f32x4.sub(v128.load(x + j), m)));

    const l = log(f32x4.splat(sumLanes(sum)));
    for (let j: usize = 0; j < last; j += 16) v128.store(y + j, f32x4.sub(f32x4.sub(v128.load(x + j), m), l));
    v128.store(y + last, v128.and(f32x4.sub(f32x4.sub(v128.load(x + last), m), l), lanes));
    clearFrom(y, last + 16, stride);
    x += bytes(stride);
    y += bytes(stride);
  }
}

/**
 * Softmax, backward from its output: dx = y ⊙ (dy − Σ dy ⊙ y).
 *
 * @param dx f32[rows, n], the padding becomes 0; may be dy
 * @param dy f32[rows, n]
 * @param y  f32[rows, n], the forward output
 * @param accumulate 1: dx += instead, the padding stays; 0: dx is not read
 */
export function softmaxBackward(
  dx: usize, dy: usize, y: usize, rows: i32, n: i32, stride: i32, accumulate: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    let dot = v128.and(f32x4.mul(v128.load(dy + last), v128.load(y + last)), lanes);
    for (let j: usize = 0; j < last; j += 16) dot = f32x4.add(dot, f32x4.mul(v128.load(dy + j), v128.load(y + j)));
    const sum = f32x4.splat(sumLanes(dot));
    for (let j: usize = 0; j <= last; j += 16) {
      let g = f32x4.mul(v128.load(y + j), f32x4.sub(v128.load(dy + j), sum));
      if (j == last) g = v128.and(g, lanes);
      if (accumulate) g = f32x4.add(g, v128.load(dx + j));
      v128.store(dx + j, g);
    }
    if (!accumulate) clearFrom(dx, last + 16, stride);
    dx += bytes(stride);
    dy += bytes(stride);
    y += bytes(stride);
  }
}

/**
 * logSoftmax, backward from its output: dx = dy − e^y Σ dy.
 *
 * @param dx f32[rows, n], the padding becomes 0; may be dy
 * @param dy f32[rows, n]
 * @param y  f32[rows, n], the forward output
 * @param accumulate 1: dx += instead, the padding stays; 0: dx is not read
 */
export function logSoftmaxBackward(
  dx: usize, dy: usize, y: usize, rows: i32, n: i32, stride: i32, accumulate: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    let total = v128.and(v128.load(dy + last), lanes);
    for (let j: usize = 0; j < last; j += 16) total = f32x4.add(total, v128.load(dy + j));
    const sum = f32x4.splat(sumLanes(total));
    for (let j: usize = 0; j <= last; j += 16) {
      let g = f32x4.sub(v128.load(dy + j), f32x4.mul(expNonPositive(v128.load(y + j)), sum));
      if (j == last) g = v128.and(g, lanes);
      if (accumulate) g = f32x4.add(g, v128.load(dx + j));
      v128.store(dx + j, g);
    }
    if (!accumulate) clearFrom(dx, last + 16, stride);
    dx += bytes(stride);
    dy += bytes(stride);
    y += bytes(stride);
  }
}
