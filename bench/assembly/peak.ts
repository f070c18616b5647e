/**
 * The limits of one core, for the benchmark to hold kernels against: what
 * multiply-add reaches when everything stays in registers, and what reading
 * memory reaches when nothing is done with it.
 */

// @ts-expect-error: decorator
@inline function madd(x: v128, y: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, acc);
  else return f32x4.add(acc, f32x4.mul(x, y));
}

/** Vectors that one round of `multiplyAdd` multiplies and adds. */
export const CHAINS: i32 = 10;

/**
 * Ten independent chains of multiply-add, enough to hide their latency, few
 * enough to stay in registers.
 */
export function multiplyAdd(rounds: i32, start: f32): f32 {
  const x = f32x4.splat(start), y = f32x4.splat(1 - start);
  let a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
  for (; rounds > 0; rounds--) {
    a = madd(a, y, x); b = madd(b, y, x); c = madd(c, y, x); d = madd(d, y, x); e = madd(e, y, x);
    f = madd(f, y, x); g = madd(g, y, x); h = madd(h, y, x); i = madd(i, y, x); j = madd(j, y, x);
  }
  const sum = f32x4.add(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)), f32x4.add(f32x4.add(e, f), f32x4.add(f32x4.add(g, h), f32x4.add(i, j))));
  return f32x4.extract_lane(sum, 0);
}

/** Reads `bytes` from `p`, 64 at a time. */
export function read(p: usize, bytes: usize): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  for (const end = p + bytes; p < end; p += 64) {
    a = v128.xor(a, v128.load(p)); b = v128.xor(b, v128.load(p, 16));
    c = v128.xor(c, v128.load(p, 32)); d = v128.xor(d, v128.load(p, 48));
  }
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0);
}
