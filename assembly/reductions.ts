import { bytes, lastLanes, lastVector } from "./simd";

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
