import { keepMask } from "./dropout";
import { bytes, madd, pad8 } from "./simd";

/**
 * What falls at random inside a recurrent layer while it trains, one draw a
 * call for all steps, except for zoneout:
 *
 *   dropout            x ⊙ m_x in place of x            m_x [B, I], 0 or 1 / (1 − rate)
 *   recurrentDropout   h ⊙ m_h in the products of h     m_h [B, H], 0 or 1 / (1 − rate)
 *   zoneout            h ← h̃ + k ⊙ (h − h̃)              k [T, B, H], 1 with the probability of the rate, else 0
 *
 * h̃ is what the cell gives; predictions take k's expectation, the rate.
 * Sources: Gal and Ghahramani 2016, arXiv:1512.05287, with one mask for all
 * gates and the kept h untouched, as in Keras; Krueger et al. 2017,
 * arXiv:1606.01305, eq. 1.
 *
 * All draws are of one key: rows of the counter (random.ts) are 0 to B for
 * m_x, B to 2B for m_h, then one a step and row of the batch for k.
 */

/**
 * Draws all masks, and drops inputs.
 *
 * @param inputs  f32[T+1, B, Ip], m_x, then x ⊙ m_x, or 0
 * @param dropped f32[T+2, B, Hp], its first step becomes m_h, or 0
 * @param zone    f32[T, B, Hp], k, or 0
 * @param step    i32[1], with `key` the generator's key
 */
export function recurrentDropout(
  inputs: usize, dropped: usize, zone: usize, x: usize, T: i32, B: i32, I: i32, H: i32,
  inputRate: f32, recurrentRate: f32, zoneoutRate: f32, key: i32, step: usize,
): void {
  const Ip = pad8(I), Hp = pad8(H);
  if (inputs) {
    keepMask(inputs, B, I, Ip, 0, inputRate, 1 / (1 - inputRate), key, step);
    inputDropout(inputs + bytes(B * Ip), x, inputs, T, B * Ip, 0);
  }
  if (dropped) keepMask(dropped, B, H, Hp, B, recurrentRate, 1 / (1 - recurrentRate), key, step);
  if (zone) keepMask(zone, T * B, H, Hp, 2 * B, 1 - zoneoutRate, 1, key, step);
}

/** y = x ⊙ m, the same m at every step, or += with `accumulate`; f32[T, n], m f32[n]. The same call on dy is the backward pass. */
export function inputDropout(y: usize, x: usize, mask: usize, T: i32, n: i32, accumulate: i32): void {
  for (let t = 0; t < T; t++) {
    if (accumulate) addProduct(y, x, mask, n);
    else multiply(y, x, mask, n);
    y += bytes(n); x += bytes(n);
  }
}

/** y = a ⊙ b, f32[n]. */
export function multiply(y: usize, a: usize, b: usize, n: i32): void {
  for (const end = y + bytes(n); y < end; y += 16, a += 16, b += 16) v128.store(y, f32x4.mul(v128.load(a), v128.load(b)));
}

/** y += a ⊙ b, f32[n]. */
export function addProduct(y: usize, a: usize, b: usize, n: i32): void {
  for (const end = y + bytes(n); y < end; y += 16, a += 16, b += 16)
    v128.store(y, madd(v128.load(a), v128.load(b), v128.load(y)));
}

/** h ← h̃ + k ⊙ (h − h̃), f32[n]. */
export function zoneout(hOut: usize, h: usize, cell: usize, k: usize, n: i32): void {
  for (const end = hOut + bytes(n); hOut < end; hOut += 16, h += 16, cell += 16, k += 16) {
    const v = v128.load(cell);
    v128.store(hOut, madd(v128.load(k), f32x4.sub(v128.load(h), v), v));
  }
}

/** Backward: the share k ⊙ dh of the state before goes to `past`, the rest stays for the cell. */
export function zoneoutBackward(past: usize, dh: usize, k: usize, n: i32): void {
  for (const end = dh + bytes(n); dh < end; dh += 16, past += 16, k += 16) {
    const d = v128.load(dh), own = f32x4.mul(d, v128.load(k));
    v128.store(past, own);
    v128.store(dh, f32x4.sub(d, own));
  }
}
