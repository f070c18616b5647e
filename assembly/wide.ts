/**
 * Numbers with an exponent of their own: a mantissa f32 in [1, 2) and an
 * exponent i32, in two vectors. Such a number has the range of a logarithm, a
 * sum costs a shift instead of an exponential and a logarithm, and the error
 * of a product does not grow with the size of the logarithm. Zero is any
 * mantissa with an exponent near NEVER.
 */

/** Exponent of zero: twice it, and what sums add, stays in i32. */
// @ts-ignore: decorator
@inline export const NEVER: i32 = -(1 << 29);

/** m 2^(e − base − 127), base being 127 below the largest exponent of a sum: one term of it. */
// @ts-ignore: decorator
@inline export function term(m: v128, e: v128, base: v128): v128 {
  return f32x4.mul(m, i32x4.shl(i32x4.max_s(i32x4.sub(e, base), i32x4.splat(0)), 23));
}

// @ts-ignore: decorator
@inline export function baseOf(largest: v128): v128 {
  return i32x4.sub(largest, i32x4.splat(127));
}

/** The 23 bits behind the point, with the exponent of 1. */
// @ts-ignore: decorator
@inline export function mantissaOf(v: v128): v128 {
  return v128.or(v128.and(v, i32x4.splat(0x7fffff)), f32x4.splat(1));
}

/** Stores sum · 2^(base + 127) · y, its mantissa at m and its exponent at e. */
// @ts-ignore: decorator
@inline export function put(m: usize, e: usize, sum: v128, base: v128, yM: v128, yE: v128): void {
  const v = f32x4.mul(sum, yM);
  v128.store(m, mantissaOf(v));
  v128.store(e, i32x4.max_s(i32x4.splat(NEVER), i32x4.add(i32x4.add(base, yE), i32x4.shr_u(v, 23))));
}
