/**
 * The vocabulary of the kernels: 128-bit vectors of four f32 lanes over raw
 * pointers. Everything here inlines to single instructions.
 */

/** Bytes of one v128. */
// @ts-ignore: decorator
@inline export const VECTOR: usize = 16;

/** The i-th vector from `p`; a literal `i` folds into the load's offset. */
// @ts-ignore: decorator
@inline export function at(p: usize, i: usize): v128 { return v128.load(p + (i << 4)); }

/** All four lanes from one f32 in memory. */
// @ts-ignore: decorator
@inline export function broadcast(p: usize): v128 { return v128.load32_splat(p); }

/**
 * acc + x * y. Fused in the relaxed binary, rounded twice in the plain one:
 * the only place where the two may differ.
 */
// @ts-ignore: decorator
@inline export function madd(x: v128, y: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, acc);
  else return f32x4.add(acc, f32x4.mul(x, y));
}

/** `n` rounded up to a multiple of 8, the columns of one packed panel. */
// @ts-ignore: decorator
@inline export function pad8(n: i32): i32 { return (n + 7) & ~7; }

/** Bytes of `n` f32 elements. */
// @ts-ignore: decorator
@inline export function bytes(n: i32): usize { return <usize>n << 2; }

/**
 * Lanes of a row's last vector that hold elements: all ones in them, zeros in
 * the padding. A row has n >= 1 elements.
 *
 *   n = 6: lane 0..3 of the last vector = columns 4, 5, padding, padding
 */
// @ts-ignore: decorator
@inline export function lastLanes(n: i32): v128 { return i32x4.gt_s(i32x4.splat(((n - 1) & 3) + 1), i32x4(0, 1, 2, 3)); }

/** Bytes from a row's start to its last vector, the one that `lastLanes` masks. */
// @ts-ignore: decorator
@inline export function lastVector(n: i32): usize {
  assert(n > 0);
  return bytes((n - 1) & ~3);
}

/** Sum of the four lanes. */
// @ts-ignore: decorator
@inline export function sumLanes(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 2)) + (f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 3));
}

/** Zeros from byte `from` to the end of a row of `stride` elements. */
// @ts-ignore: decorator
@inline export function clearFrom(row: usize, from: usize, stride: i32): void {
  for (const zero = f32x4.splat(0), end = bytes(stride); from < end; from += 16) v128.store(row + from, zero);
}
