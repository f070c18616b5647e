import { madd } from "./simd";

/** 1 + 2⁻²³, in memory so that no compiler folds what it is for. */
const PROBE = memory.data<f32>([1.00000011920928955078125]);

/** First byte after the constants: everything from here on belongs to the host's arena. */
export function arenaStart(): usize {
  return __heap_base;
}

/**
 * Whether the multiply-add of this binary rounds once: 1 + 2⁻²³ squared keeps
 * its last bit only then. The relaxed binary is worth choosing where it does.
 */
export function fuses(): bool {
  const x = load<f32>(PROBE), v = f32x4.splat(x);
  return f32x4.extract_lane(madd(v, v, f32x4.neg(f32x4.mul(v, v))), 0) != 0;
}
