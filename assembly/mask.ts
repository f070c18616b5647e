import { bytes } from "./simd";

/**
 * Masks: i32[rows], 1 where a step counts. `given` is a mask that must hold
 * too, or 0.
 */

/** Whether row i counts; all do without a mask. */
// @ts-ignore: decorator
@inline export function counts(mask: usize, i: i32): bool { return mask == 0 || load<i32>(mask + bytes(i)) != 0; }

/**
 * A step counts when any of its features differs from `value`; the others
 * become zeros (Keras Masking).
 *
 * @param y f32[rows, stride], x with its masked rows zeroed
 */
export function maskRows(y: usize, mask: usize, x: usize, given: usize, rows: i32, n: i32, stride: i32, value: f32): void {
  for (let i = 0; i < rows; i++) {
    const row = bytes(i * stride);
    let valid = false;
    for (let j = 0; j < n; j++) valid = valid || load<f32>(x + row + bytes(j)) != value;
    if (given && load<i32>(given + bytes(i)) == 0) valid = false;
    store<i32>(mask + bytes(i), valid ? 1 : 0);
    if (valid) memory.copy(y + row, x + row, bytes(stride));
    else memory.fill(y + row, 0, bytes(stride));
  }
}

/** Gradient of maskRows: dx = dy where the step counts, else 0; added to with `accumulate`. */
export function maskRowsBackward(dx: usize, dy: usize, mask: usize, rows: i32, stride: i32, accumulate: i32): void {
  for (let i = 0; i < rows; i++) {
    const row = bytes(i * stride), valid = load<i32>(mask + bytes(i)) != 0;
    for (let j = row, end = row + bytes(stride); j < end; j += 16) {
      const d = valid ? v128.load(dy + j) : f32x4.splat(0);
      v128.store(dx + j, accumulate ? f32x4.add(v128.load(dx + j), d) : d);
    }
  }
}

/** A step counts when its token is not 0 (Keras Embedding with mask_zero). */
export function maskTokens(mask: usize, tokens: usize, given: usize, rows: i32): void {
  for (let i: usize = 0, end = bytes(rows); i < end; i += 4)
    store<i32>(mask + i, load<i32>(tokens + i) != 0 && (!given || load<i32>(given + i) != 0) ? 1 : 0);
}

/** A step counts when it does in both. */
export function maskAnd(mask: usize, a: usize, b: usize, rows: i32): void {
  for (let i: usize = 0, end = bytes(rows); i < end; i += 4) store<i32>(mask + i, load<i32>(a + i) & load<i32>(b + i));
}
