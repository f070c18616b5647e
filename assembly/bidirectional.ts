import { bytes, pad8 } from "./simd";

/**
 * The two directions of a bidirectional layer, brought together and taken
 * apart again.
 *
 * Legend: T time, B batch; F, R units of the forward and of the reversed
 * direction, the same unless they are concatenated. The reversed direction
 * comes as it was computed, in reading order: its step t lies at T − 1 − t.
 */

/** y = [forward | reversed] */
const CONCAT: i32 = 0;
/** y = forward + reversed */
const SUM: i32 = 1;
/** y = forward ⊙ reversed */
const MUL: i32 = 2;
/** y = (forward + reversed) / 2 (the fourth, which is what remains) */

/** Columns of y. */
// @ts-ignore: decorator
@inline function columns(F: i32, R: i32, merge: i32): i32 { return merge == CONCAT ? F + R : F; }

/**
 * @param y f32[T, B, F + R] (CONCAT), f32[T, B, F]; the padding becomes finite
 * @param forward f32[T, B, F]   @param reversed f32[T, B, R], in reading order
 */
export function mergeDirections(y: usize, forward: usize, reversed: usize, T: i32, B: i32, F: i32, R: i32, merge: i32): void {
  const n = columns(F, R, merge), yRow = bytes(pad8(n)), fRow = bytes(pad8(F)), rRow = bytes(pad8(R)), half = f32x4.splat(0.5);
  for (let t = T - 1; t >= 0; t--) {
    let r = reversed + <usize>(t * B) * rRow;
    for (let b = 0; b < B; b++) {
      if (merge == CONCAT) {
        memory.copy(y, forward, bytes(F));
        memory.copy(y + bytes(F), r, bytes(R));
        memory.fill(y + bytes(n), 0, yRow - bytes(n));
      } else
        for (let j: usize = 0; j < fRow; j += 16) {
          const a = v128.load(forward + j), c = v128.load(r + j);
          if (merge == MUL) v128.store(y + j, f32x4.mul(a, c));
          else if (merge == SUM) v128.store(y + j, f32x4.add(a, c));
          else v128.store(y + j, f32x4.mul(half, f32x4.add(a, c)));
        }
      y += yRow; forward += fRow; r += rRow;
    }
  }
}

/**
 * Backward of `mergeDirections`: the gradient of each direction, in its own order.
 *
 * @param dForward  f32[T, B, F], overwritten   @param dReversed f32[T, B, R], overwritten, in reading order
 * @param forward, reversed as they went into mergeDirections
 */
export function mergeDirectionsBackward(
  dForward: usize, dReversed: usize, dy: usize, forward: usize, reversed: usize, T: i32, B: i32, F: i32, R: i32, merge: i32,
): void {
  const yRow = bytes(pad8(columns(F, R, merge))), fRow = bytes(pad8(F)), rRow = bytes(pad8(R)), half = f32x4.splat(0.5);
  for (let t = T - 1; t >= 0; t--) {
    const step = <usize>(t * B) * rRow;
    let r = reversed + step, dr = dReversed + step;
    for (let b = 0; b < B; b++) {
      if (merge == CONCAT) {
        memory.copy(dForward, dy, bytes(F));
        memory.fill(dForward + bytes(F), 0, fRow - bytes(F));
        memory.copy(dr, dy + bytes(F), bytes(R));
        memory.fill(dr + bytes(R), 0, rRow - bytes(R));
      } else
        for (let j: usize = 0; j < fRow; j += 16) {
          const d = v128.load(dy + j), both = merge == SUM ? d : f32x4.mul(half, d);
          v128.store(dForward + j, merge == MUL ? f32x4.mul(d, v128.load(r + j)) : both);
          v128.store(dr + j, merge == MUL ? f32x4.mul(d, v128.load(forward + j)) : both);
        }
      dy += yRow; dForward += fRow; forward += fRow; r += rRow; dr += rRow;
    }
  }
}
