import { WORK } from "./gemm";
import { bytes, madd } from "./simd";

/** 1 + 2⁻²³, in memory so that no compiler folds what it is for. */
const PROBE = memory.data<f32>([1.00000011920928955078125]);

/**
 * A thread's own room to work in, after the constants: one packed block of a
 * product (gemm.ts), and the reach of its last vectors.
 */
// @ts-ignore: decorator
@inline export function workOf(thread: i32): usize {
  return ((__heap_base + 63) & ~63) + <usize>thread * (bytes(WORK) + 256);
}

/** First byte after the constants and the threads' rooms: from here on all belongs to the host's arena. */
export function arenaStart(threads: i32): usize {
  return workOf(threads);
}

/**
 * Whether the multiply-add of this binary rounds once: 1 + 2⁻²³ squared keeps
 * its last bit only then. The relaxed binary is worth choosing where it does.
 */
export function fuses(): bool {
  const x = load<f32>(PROBE), v = f32x4.splat(x);
  return f32x4.extract_lane(madd(v, v, f32x4.neg(f32x4.mul(v, v))), 0) != 0;
}
