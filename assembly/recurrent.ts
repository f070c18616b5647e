import { addTo } from "./elementwise";
import { gemmTransposed } from "./gemm";
import { product } from "./int8";
import { counts } from "./mask";
import { sigmoid } from "./math";
import { at, bytes, madd, pad8 } from "./simd";

/**
 * What the recurrent cells share: products over steps, outputs and masks, and
 * what is drawn at random. A cell has its own file (gru.ts, light-gru.ts).
 *
 * Legend: T time, B batch, I input, H units, G elements of a row of gates;
 * Hp, Ip rounded up to 8 columns. Time is the outer axis of every buffer.
 */

// ---------------------------------------------------------------- flags

/** Bit 0 is the cell's own: its form. */
// @ts-ignore: decorator
@inline export const FORM: i32 = 1;
/** Time runs from the last step to the first. */
// @ts-ignore: decorator
@inline export const REVERSE: i32 = 2;
/** y holds the last step only. */
// @ts-ignore: decorator
@inline export const LAST: i32 = 4;
/** A masked step's y repeats the one before it (zeros before the first valid step); otherwise it is zero. */
// @ts-ignore: decorator
@inline export const REPEAT: i32 = 8;
/** y is in reading order: the reverse of time with REVERSE. */
// @ts-ignore: decorator
@inline export const READING_ORDER: i32 = 16;
/** h is one step, overwritten in place. */
// @ts-ignore: decorator
@inline export const IN_PLACE: i32 = 32;
/** dx is added to. */
// @ts-ignore: decorator
@inline export const ACCUMULATE: i32 = 64;
// 128 is INT8 (int8.ts), which the forward pass of quantised models sets.
/** Rows of the input product at a time: what it writes is still in the L2 cache when the recurrence reads it. */
const CHUNK_ROWS: i32 = 64;

/** Steps whose input product is made at a time, for `rows` rows of the batch. */
// @ts-ignore: decorator
@inline export function chunkSteps(rows: i32): i32 { return max(1, CHUNK_ROWS / max(1, rows)); }

// ---------------------------------------------------------------- products

/**
 * `product` (int8.ts) for `rows` neighbouring rows of the batch at each of `steps` steps:
 * one product where they are the whole batch, else one a step or one a row,
 * whichever is fewer. No sum depends on which.
 *
 * @param c, a, start where the first of these rows lies at the first step; start 0 for none, startStride 0 for a bias
 */
export function productOverSteps(
  c: usize, a: usize, b: usize, start: usize, steps: i32, rows: i32, B: i32, n: i32, k: i32,
  cStride: i32, aStride: i32, startStride: i32, flags: i32, range: f32, work: usize,
): void {
  if (rows == B) {
    product(c, a, b, start, steps * B, n, k, cStride, aStride, startStride, flags, range, work);
    return;
  }
  const byStep = steps <= rows, own = byStep ? 1 : B, other = byStep ? B : 1, s: usize = start ? bytes(other * startStride) : 0;
  for (let i = 0, count = byStep ? steps : rows; i < count; i++) {
    product(c, a, b, start, byStep ? rows : steps, n, k, own * cStride, own * aStride, own * startStride, flags, range, work);
    c += bytes(other * cStride); a += bytes(other * aStride); start += s;
  }
}

/**
 * The weight gradients of a matrix whose gates stand side by side:
 * dW += aᵀ · g, db += column sums of g.
 *
 * @param dW     f32[k, dWStride], the matrix's first column   @param db the same of the bias, or 0
 * @param a      f32[rows, aStride], k columns
 * @param g      f32[rows, G], the first gate's column; Hp columns a gate
 * @param from, to panels of 8 columns to compute, `gates` · Hp / 8 in all; what lies outside is nobody's
 */
export function gateGradients(
  dW: usize, db: usize, a: usize, g: usize, scratch: usize, gates: i32, k: i32, H: i32, rows: i32,
  dWStride: i32, aStride: i32, G: i32, from: i32, to: i32,
): void {
  const Hp = pad8(H), panels = Hp >> 3;
  from = max(0, from);
  to = min(to, gates * panels);
  while (from < to) {
    // The part of [from, to) within one gate.
    const gate = from / panels, first = (from % panels) << 3, end = min(to, (gate + 1) * panels);
    const n = min(H, (end - gate * panels) << 3) - first, column = bytes(gate * H + first);
    gemmTransposed(dW + column, db ? db + column : 0, a, g + bytes(gate * Hp + first), scratch, k, n, rows, dWStride, aStride, G);
    from = end;
  }
}

// ---------------------------------------------------------------- rows

/**
 * σ in place, f32[n], n a multiple of 8. A pass of its own, two vectors at a
 * time, and tanh after it: a row of gates then takes 0.26 us instead of 0.38
 * (Node 20, H = 64), because independent vectors hide each other's latency.
 */
export function sigmoids(x: usize, n: i32): void {
  for (const end = x + bytes(n); x < end; x += 32) {
    const y0 = sigmoid(at(x, 0)), y1 = sigmoid(at(x, 1));
    v128.store(x, y0);
    v128.store(x, y1, 16);
  }
}

/** h ← n + z ⊙ (h − n) = z ⊙ h + (1 − z) ⊙ n. */
export function blend(hOut: usize, z: usize, n: usize, h: usize, Hp: i32): void {
  for (const end = z + bytes(Hp); z < end; z += 16, n += 16, h += 16, hOut += 16) {
    const v = v128.load(n);
    v128.store(hOut, madd(v128.load(z), f32x4.sub(v128.load(h), v), v));
  }
}

/** Slot of y that a step writes. */
// @ts-ignore: decorator
@inline export function slot(order: i32, t: i32, flags: i32): i32 {
  return flags & LAST ? 0 : flags & READING_ORDER ? order : t;
}

/** The output of one step: the state where the step is valid, else the last output or zero. */
export function emit(y: usize, h: usize, valid: usize, order: i32, t: i32, B: i32, Hp: i32, flags: i32, from: i32, rows: i32): void {
  const own = y + bytes((slot(order, t, flags) * B + from) * Hp);
  const last = y + bytes((slot(order - 1, flags & REVERSE ? t + 1 : t - 1, flags) * B + from) * Hp);
  for (let i = 0; i < rows; i++) {
    const to = own + bytes(i * Hp), repeated = last + bytes(i * Hp);
    if (counts(valid, i)) memory.copy(to, h + bytes(i * Hp), bytes(Hp));
    else if (flags & REPEAT && order > 0) {
      if (to != repeated) memory.copy(to, repeated, bytes(Hp));
    } else memory.fill(to, 0, bytes(Hp));
  }
}

/**
 * A step's share of dy enters dh. A masked step's output is a copy of the last
 * valid one (REPEAT): its gradient waits in `carry` until that step; or zero:
 * its gradient is dropped.
 */
export function receive(dh: usize, carry: usize, dy: usize, valid: usize, rows: i32, Hp: i32, flags: i32): void {
  for (let i = 0; i < rows; i++) {
    if (counts(valid, i)) {
      if (dy) addTo(dh, dy, Hp);
      if (valid && flags & REPEAT) {
        addTo(dh, carry, Hp);
        memory.fill(carry, 0, bytes(Hp));
      }
    } else if (dy && flags & REPEAT) addTo(carry, dy, Hp);
    dh += bytes(Hp); carry += bytes(Hp);
    if (dy) dy += bytes(Hp);
  }
}
