import { at, bytes, lastLanes, lastVector } from "./simd";

/**
 * Column sums: sums += Σ x[i] over ascending rows, one accumulator a column,
 * beginning at what it adds to. A range of columns is computed alone by
 * offsetting sums and x by a multiple of 4 columns.
 *
 * @param sums f32[n], accumulated into, the padding stays 0
 * @param x    f32[rows, n]
 */
export function columnSums(sums: usize, x: usize, rows: i32, n: i32, stride: i32): void {
  const row = bytes(stride), height = row * rows, last = sums + lastVector(n);
  // 16 columns down all rows: one cache line a row, sums in registers.
  for (; sums + 48 < last; sums += 64, x += 64) {
    let a = at(sums, 0), b = at(sums, 1), c = at(sums, 2), d = at(sums, 3);
    for (let p = x, end = x + height; p < end; p += row) {
      a = f32x4.add(a, at(p, 0));
      b = f32x4.add(b, at(p, 1));
      c = f32x4.add(c, at(p, 2));
      d = f32x4.add(d, at(p, 3));
    }
    v128.store(sums, a);
    v128.store(sums, b, 16);
    v128.store(sums, c, 32);
    v128.store(sums, d, 48);
  }
  for (; sums <= last; sums += 16, x += 16) {
    let a = v128.load(sums);
    for (let p = x, end = x + height; p < end; p += row) a = f32x4.add(a, v128.load(p));
    v128.store(sums, sums == last ? v128.and(a, lastLanes(n)) : a);
  }
}

// @ts-ignore: decorator
@inline function upperHalf(v: v128): v128 { return v128.shuffle<f64>(v, v, 1, 0); }

// @ts-ignore: decorator
@inline function sumF64(v: v128): f64 { return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1); }

/** Σ x² in double precision. @param x f32[n] */
export function sumOfSquares(x: usize, n: i32): f64 {
  if (n == 0) return 0;
  const last = x + lastVector(n), lanes = lastLanes(n);
  let low = f64x2.splat(0), high = f64x2.splat(0);
  for (; x <= last; x += 16) {
    const v = x == last ? v128.and(v128.load(x), lanes) : v128.load(x);
    const a = f64x2.promote_low_f32x4(v), b = f64x2.promote_low_f32x4(upperHalf(v));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  return sumF64(f64x2.add(low, high));
}

/** Σ |x| in double precision. @param x f32[n] */
export function sumOfAbsolutes(x: usize, n: i32): f64 {
  if (n == 0) return 0;
  const last = x + lastVector(n), lanes = lastLanes(n);
  let low = f64x2.splat(0), high = f64x2.splat(0);
  for (; x <= last; x += 16) {
    const v = f32x4.abs(x == last ? v128.and(v128.load(x), lanes) : v128.load(x));
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, f64x2.promote_low_f32x4(upperHalf(v)));
  }
  return sumF64(f64x2.add(low, high));
}

/** max |x|; 0 for n = 0. @param x f32[n] */
export function maxAbsolute(x: usize, n: i32): f64 {
  if (n == 0) return 0;
  const last = x + lastVector(n), lanes = lastLanes(n);
  // Without the sign, floats order as their bits do, NaN above infinity.
  let m = i32x4.splat(0);
  for (; x <= last; x += 16) {
    m = i32x4.max_s(m, f32x4.abs(x == last ? v128.and(v128.load(x), lanes) : v128.load(x)));
  }
  m = i32x4.max_s(m, v128.shuffle<f32>(m, m, 2, 3, 0, 1));
  m = i32x4.max_s(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
  return f32x4.extract_lane(m, 0);
}
