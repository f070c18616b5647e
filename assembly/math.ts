import { broadcast, madd } from "./simd";

/**
 * Elementary functions of four lanes. NaN in gives NaN out; clamps are written
 * pmax(x, limit) because this order passes a NaN in x on, and costs one
 * instruction on x64, where max, which must treat signed zeros, takes several.
 *
 * Constants live in tables and are broadcast from memory: V8 rebuilds a
 * v128.const at every use. Two vectors an iteration share the loads, sigmoid and
 * tanh then run 1.25× faster.
 */

/**
 * Constants of the exponentials.
 *
 * 0 −104, below which e^x rounds to 0    4 40, above which σ(x) is 1
 * 8 log2 e    12, 16 ln 2 in two parts: n · 0.693359375 is exact for |n| < 2^15
 * 20 rounder of scaledExp: 1.5 · 2^23 + 127 + 64    24 2^64    28 2^-64
 * 32.. coefficients of (e^r − 1)/r, highest first, 52 the last, 1
 * 56 rounder of expm1NonPositive: 1.5 · 2^23 + 127    60 −18
 */
const EXP = memory.data<f32>([
  -104, 40, 1.44269504, -0.693359375, 2.12194440e-4, 12583103, 1.8446744073709552e19, 5.421010862427522e-20,
  0.00138825167, 0.00836654752, 0.0416672006, 0.166665435, 0.49999997, 1, 12583039, -18,
], 16);

/**
 * (e^r − 1)/r for |r| <= ln(2)/2: polynomial of degree 5, least maximum
 * relative error of e^r − 1 (Lawson's iteration): 1.3e-8.
 */
// @ts-ignore: decorator
@inline function expQuotient(r: v128): v128 {
  let q = madd(r, broadcast(EXP + 32), broadcast(EXP + 36));
  q = madd(r, q, broadcast(EXP + 40));
  q = madd(r, q, broadcast(EXP + 44));
  q = madd(r, q, broadcast(EXP + 48));
  return madd(r, q, broadcast(EXP + 52));
}

/** x − n ln 2. */
// @ts-ignore: decorator
@inline function expRemainder(x: v128, n: v128): v128 {
  return madd(n, broadcast(EXP + 16), madd(n, broadcast(EXP + 12), x));
}

/**
 * 2^64 e^x for −104 <= x <= 40.
 *
 *   n = round(x / ln 2)     by adding 1.5 · 2^23, which leaves n in the low bits
 *   r = x − n ln 2
 *   2^64 e^x = 2^(n + 64) (1 + r (e^r − 1)/r)
 *
 * The rounder holds the exponent bias and the 64 as well, so one shift makes
 * 2^(n + 64) of its bits. The factor 2^64 keeps everything normal where e^x is
 * denormal; whoever takes it out rounds once. The scale multiplies, instead of
 * being added to the exponent, so that NaN stays NaN.
 */
// @ts-ignore: decorator
@inline function scaledExp(x: v128): v128 {
  const rounder = broadcast(EXP + 20);
  const m = madd(x, broadcast(EXP + 8), rounder);
  const r = expRemainder(x, f32x4.sub(m, rounder));
  return f32x4.mul(i32x4.shl(m, 23), madd(r, expQuotient(r), broadcast(EXP + 52)));
}

/** e^x for x <= 0, gradually down to 0; at most 1.2 ulp (tests/assembly/math.test.ts). */
// @ts-ignore: decorator
@inline export function expNonPositive(x: v128): v128 {
  return f32x4.mul(scaledExp(f32x4.pmax(x, broadcast(EXP))), broadcast(EXP + 28));
}

/**
 * e^x of any x from −2^21 to 88 as mantissa · 2^exponent, in two lanes each of
 * its own: products of thousands of such numbers neither over- nor underflow,
 * where their logarithms would lose digits. The mantissa is in [0.7, 1.42); its
 * relative error is at most 1.1e-7 for |x| < 1,000 and 3.7e-7 to 22,700
 * (tests/assembly/math.test.ts); the rounding of x itself is more.
 *
 *   w = expWhole(x), then both parts come from it
 */
// @ts-ignore: decorator
@inline export function expWhole(x: v128): v128 {
  return madd(x, broadcast(EXP + 8), broadcast(EXP + 56));
}

/** i32, the exponent of e^x. */
// @ts-ignore: decorator
@inline export function expExponent(whole: v128): v128 {
  return i32x4.sub(whole, broadcast(EXP + 56));
}

/** f32, the mantissa of e^x. */
// @ts-ignore: decorator
@inline export function expMantissa(x: v128, whole: v128): v128 {
  const r = expRemainder(x, f32x4.sub(whole, broadcast(EXP + 56)));
  return madd(r, expQuotient(r), broadcast(EXP + 52));
}

/**
 * e^x − 1 for x <= 0, accurate near 0; at most 1.6 ulp (tests/assembly/math.test.ts).
 *
 *   e^x − 1 = 2^n r (e^r − 1)/r + (2^n − 1)
 */
// @ts-ignore: decorator
@inline export function expm1NonPositive(x: v128): v128 {
  x = f32x4.pmax(x, broadcast(EXP + 60));
  const rounder = broadcast(EXP + 56);
  const m = madd(x, broadcast(EXP + 8), rounder);
  const r = expRemainder(x, f32x4.sub(m, rounder));
  const scale = i32x4.shl(m, 23);
  return madd(scale, f32x4.mul(r, expQuotient(r)), f32x4.sub(scale, broadcast(EXP + 52)));
}

/**
 * σ(x) = e^x / (1 + e^x), numerator and denominator both times 2^64; at most
 * 2.41 ulp over all floats, denormal results too (tests/assembly/math.test.ts).
 * With a polynomial of one degree less: 3.1 ulp, 1.17× faster.
 */
// @ts-ignore: decorator
@inline export function sigmoid(x: v128): v128 {
  const e = scaledExp(f32x4.pmin(f32x4.pmax(x, broadcast(EXP)), broadcast(EXP + 4)));
  return f32x4.div(e, f32x4.add(e, broadcast(EXP + 24)));
}

/**
 * Constants of tanh: 0 the clamp of x²    4 −1    8 1
 * 12.. numerator, highest first    28.. denominator, highest first
 */
const TANH = memory.data<f32>([
  62.2009621, -1, 1,
  1.54298494e-8, 2.20244656e-5, 0.00357906544, 0.134506792,
  8.59944635e-7, 3.4237752e-4, 0.0261925049, 0.467840046,
], 16);

/**
 * tanh(x) = x P(z) / Q(z), z = min(x², 7.887²), then clamped to ±1: both of
 * degree 4, least maximum relative error (6e-9), then adjusted for float32 by
 * hill climbing over the last bits. Odd, never above 1, exactly ±1 from 7.89 on.
 *
 * At most 3.7e-7 from tanh, 3.6 ulp for |x| < 1 (tests/assembly/math.test.ts).
 * As −em1/(em1 + 2), em1 = expm1(−2|x|): 1.5e-7, 2.5 ulp, 1.77× slower.
 */
// @ts-ignore: decorator
@inline export function tanh(x: v128): v128 {
  const one = broadcast(TANH + 8);
  const z = f32x4.pmin(f32x4.mul(x, x), broadcast(TANH));
  let p = madd(z, broadcast(TANH + 12), broadcast(TANH + 16));
  p = madd(z, p, broadcast(TANH + 20));
  p = madd(z, p, broadcast(TANH + 24));
  p = madd(z, p, one);
  let q = madd(z, broadcast(TANH + 28), broadcast(TANH + 32));
  q = madd(z, q, broadcast(TANH + 36));
  q = madd(z, q, broadcast(TANH + 40));
  q = madd(z, q, one);
  return f32x4.pmax(f32x4.pmin(f32x4.div(f32x4.mul(x, p), q), one), broadcast(TANH + 4));
}

/**
 * Constants of the logarithms: 0 1    4 2    8, 12 ln 2 in two parts
 * 16.. coefficients of (atanh(s)/s − 1)/s², highest first
 */
const LOG = memory.data<f32>([
  1, 2, 0.693359375, -2.12194440e-4,
  0.140059933, 0.140009031, 0.200107634, 0.333332092,
], 16);

/** 2 atanh(s) for |s| <= 1/3: odd polynomial of degree 9, relative error 4.5e-9 (Lawson's iteration). */
// @ts-ignore: decorator
@inline function twiceAtanh(s: v128): v128 {
  const z = f32x4.mul(s, s), s2 = f32x4.add(s, s);
  let q = madd(z, broadcast(LOG + 16), broadcast(LOG + 20));
  q = madd(z, q, broadcast(LOG + 24));
  q = madd(z, q, broadcast(LOG + 28));
  return madd(f32x4.mul(s2, z), q, s2);
}

/**
 * ln x for positive normal numbers; at most 2 ulp (tests/assembly/math.test.ts).
 *
 *   x = 2^e m, m in [√½, √2)
 *   ln x = e ln 2 + 2 atanh((m − 1)/(m + 1))
 */
// @ts-ignore: decorator
@inline export function log(x: v128): v128 {
  const one = broadcast(LOG);
  const e = i32x4.shr_s(i32x4.sub(x, i32x4.splat(0x3f3504f3)), 23);
  const m = i32x4.sub(x, i32x4.shl(e, 23));
  const l = twiceAtanh(f32x4.div(f32x4.sub(m, one), f32x4.add(m, one)));
  // x − x is NaN where x is NaN or infinite, whose bits read as a plain exponent.
  const n = f32x4.add(f32x4.convert_i32x4_s(e), f32x4.sub(x, x));
  return madd(n, broadcast(LOG + 8), madd(n, broadcast(LOG + 12), l));
}

/** ln(1 + t) = 2 atanh(t/(2 + t)) for t in [0, 1]; at most 2 ulp (tests/assembly/math.test.ts). */
// @ts-ignore: decorator
@inline export function log1p(t: v128): v128 {
  return twiceAtanh(f32x4.div(t, f32x4.add(t, broadcast(LOG + 4))));
}

/**
 * ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|) for any x, without overflow; at most
 * 3 ulp (tests/assembly/math.test.ts).
 */
// @ts-ignore: decorator
@inline export function softplus(x: v128): v128 {
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), log1p(expNonPositive(f32x4.neg(f32x4.abs(x)))));
}

/**
 * Constants of the normal distribution: 0 −1/2    4 1/√(2π)    8 0.31    12 1
 * 16.. coefficients of normalTail, highest first
 */
const NORMAL = memory.data<f32>([
  -0.5, 0.398942280, 0.31, 1,
  0.0358904116, -0.14181821, 0.155457333, -0.0152845113, 0.110325485, 0.107701123, 0.124072395, 0.123656064,
], 16);

/** e^(−x²/2), the normal density times √(2π). */
// @ts-ignore: decorator
@inline function bell(x: v128): v128 {
  return expNonPositive(f32x4.mul(f32x4.mul(x, x), broadcast(NORMAL)));
}

/**
 * Φ(x), the normal distribution function, given e = bell(x).
 *
 *   Φ(−|x|) = e t P(t),  t = 1/(1 + 0.31 |x|),  P of degree 7
 *
 * Relative error of t P(t) 1.7e-7 for |x| <= 15 (Lawson's iteration; the form
 * is that of Abramowitz and Stegun 7.1.26). The far negative tail keeps its
 * relative accuracy, which ½ (1 + erf(x/√2)) would lose.
 */
// @ts-ignore: decorator
@inline function normal(x: v128, e: v128): v128 {
  const one = broadcast(NORMAL + 12);
  const t = f32x4.div(one, madd(f32x4.abs(x), broadcast(NORMAL + 8), one));
  let p = madd(t, broadcast(NORMAL + 16), broadcast(NORMAL + 20));
  p = madd(t, p, broadcast(NORMAL + 24));
  p = madd(t, p, broadcast(NORMAL + 28));
  p = madd(t, p, broadcast(NORMAL + 32));
  p = madd(t, p, broadcast(NORMAL + 36));
  p = madd(t, p, broadcast(NORMAL + 40));
  p = madd(t, p, broadcast(NORMAL + 44));
  const tail = f32x4.mul(e, f32x4.mul(t, p));
  return v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(x, f32x4.splat(0)));
}

/** x Φ(x); at most 2.5e-7 · max(1, |x|) (tests/assembly/math.test.ts). */
// @ts-ignore: decorator
@inline export function gelu(x: v128): v128 {
  return f32x4.mul(x, normal(x, bell(x)));
}

/** Φ(x) + x e^(−x²/2)/√(2π), the derivative of gelu. */
// @ts-ignore: decorator
@inline export function geluSlope(x: v128): v128 {
  const e = bell(x);
  return madd(f32x4.mul(x, e), broadcast(NORMAL + 4), normal(x, e));
}
