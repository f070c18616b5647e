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
export const CHAINS: i32 = 8;

/**
 * What the tile of the matrix product does, four by two vectors, but with all
 * operands in registers: eight chains of additions, each fed by a product.
 */
export function multiplyAdd(rounds: i32, start: f32): f32 {
  const x0 = f32x4.splat(start), x1 = f32x4.splat(start * 2), x2 = f32x4.splat(start * 3), x3 = f32x4.splat(start * 4);
  let y0 = f32x4.splat(1 - start), y1 = f32x4.splat(start - 1);
  let a = x0, b = x1, c = x2, d = x3, e = x0, f = x1, g = x2, h = x3;
  for (; rounds > 0; rounds--) {
    a = madd(x0, y0, a); b = madd(x0, y1, b); c = madd(x1, y0, c); d = madd(x1, y1, d);
    e = madd(x2, y0, e); f = madd(x2, y1, f); g = madd(x3, y0, g); h = madd(x3, y1, h);
    // In turn, so that no product stays the same from round to round.
    const y = y0;
    y0 = y1;
    y1 = y;
  }
  return f32x4.extract_lane(f32x4.add(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)), f32x4.add(f32x4.add(e, f), f32x4.add(g, h))), 0);
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
