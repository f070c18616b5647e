import { addRows, packRow } from "./pack";
import { bytes, lastLanes, lastVector, madd, pad8, sumLanes } from "./simd";

/**
 * Layer normalisation inside the GRU, reset after: each of its two products
 * is normalised over all its 3H numbers, then scaled and shifted.
 *
 *   [xz xr xn] = LN(x·K) ⊙ γ0 + b        z = σ(xz + hz), r = σ(xr + hr)
 *   [hz hr q]  = LN(h·R) ⊙ γ1 + c        n = tanh(xn + r ⊙ q)
 *   LN(v) = (v − mean v) / √(var v + ε), ε = 1e-5
 *
 * Source: Ba et al. 2016, arXiv:1607.06450, supplement, with the statistics
 * of a whole product, as its LSTM, TensorFlow Addons and Haste have it; the
 * GRU's bias is the shift. The products normalise themselves, so their biases
 * come after; reset before, r would scale what is about to be normalised.
 *
 * A row of gates goes on, from column `at` on, with what backward needs:
 *
 *   ŝ [n z r] f32[3 Hp]   LN(h·R)      after backward: the gradient of h·R
 *   x̂ [z r n] f32[3 Hp]   LN(x·K)      after backward: the gradient of x·K
 *   1/σ of h·R, of x·K, 6 unused
 *
 * Padding of ŝ and x̂ is zero, as that of the products is.
 */

const EPSILON: f32 = 1e-5;

/** Elements that the row of gates is longer. */
// @ts-ignore: decorator
@inline export function normStride(H: i32): i32 { return 6 * pad8(H) + 8; }

/** Elements of the packed γ: [γ1 n z r | γ0 z r n], zeros in the padding. */
// @ts-ignore: decorator
@inline export function packedGammaSize(H: i32): i32 { return 6 * pad8(H); }

/** @param gamma f32[2, 3H], columns [z | r | n] of γ0, then of γ1 */
export function packGamma(packed: usize, gamma: usize, H: i32): void {
  const gate = bytes(H), column = bytes(pad8(H));
  for (let g = 0; g < 3; g++) {
    packRow(packed + <usize>(g == 2 ? 0 : g + 1) * column, gamma + <usize>(3 + g) * gate, H);
    packRow(packed + <usize>(3 + g) * column, gamma + <usize>g * gate, H);
  }
}

/** LN of three gates in place, f32[3 Hp]; returns 1/σ. */
function normalise(x: usize, H: i32): f32 {
  const column = bytes(pad8(H)), end = x + 3 * column, count = <f32>3 * <f32>H, last = lastVector(H), lanes = lastLanes(H);
  let sum = f32x4.splat(0), squares = sum;
  for (let p = x; p < end; p += 16) sum = f32x4.add(sum, v128.load(p));
  const mean = f32x4.splat(sumLanes(sum) / count);
  for (let gate = x; gate < end; gate += column)
    for (let j: usize = 0; j <= last; j += 16) {
      let d = f32x4.sub(v128.load(gate + j), mean);
      if (j == last) d = v128.and(d, lanes);
      v128.store(gate + j, d);
      squares = madd(d, d, squares);
    }
  const rstd = <f32>1 / sqrt<f32>(sumLanes(squares) / count + EPSILON), r = f32x4.splat(rstd);
  for (let p = x; p < end; p += 16) v128.store(p, f32x4.mul(v128.load(p), r));
  return rstd;
}

/**
 * One row: x·K, which stands in its place, becomes x̂, and [z r n] = x̂ ⊙ γ0 + b.
 *
 * @param g  f32[G], a row of gates   @param at  byte at which what is kept begins
 * @param bias f32[4 Hp], [q | z | r | n] as gruPack has it
 */
export function normaliseInput(g: usize, at: usize, bias: usize, gamma: usize, H: i32): void {
  const column = bytes(pad8(H)), x = g + at + 3 * column;
  store<f32>(x + 3 * column, normalise(x, H), 4);
  bias += column; gamma += 3 * column;
  for (let i: usize = 0; i < 3 * column; i += 16)
    v128.store(g + column + i, madd(v128.load(x + i), v128.load(gamma + i), v128.load(bias + i)));
}

/** One row: h·R, which stands in its place, becomes ŝ; q = ŝ ⊙ γ1 + c, and z and r get theirs added. */
export function normaliseState(g: usize, at: usize, bias: usize, gamma: usize, H: i32): void {
  const column = bytes(pad8(H)), s = g + at;
  store<f32>(s + 6 * column, normalise(s, H));
  memory.copy(g, bias, column);
  for (let i: usize = 0; i < 3 * column; i += 16) v128.store(g + i, madd(v128.load(s + i), v128.load(gamma + i), v128.load(g + i)));
}

/**
 * One row, backward: from the gradients [q z r n] of what came of the
 * normalised products to those of the products, and the row's share of the
 * gradients of γ and the biases, which are sums over time here.
 *
 *   d = d_out ⊙ γ      dv = 1/σ (d − Σ d / 3H − v̂ Σ (d ⊙ v̂) / 3H)
 *
 * @param sums f32[10 Hp], added to: [q z r n], then d_out ⊙ ŝ [n z r], d_out ⊙ x̂ [z r n]
 */
export function normBackward(g: usize, at: usize, gamma: usize, sums: usize, H: i32): void {
  const column = bytes(pad8(H)), s = g + at;
  for (let i: usize = 0; i < 4 * column; i += 16) v128.store(sums + i, f32x4.add(v128.load(sums + i), v128.load(g + i)));
  productBackward(s, g, gamma, sums + 4 * column, load<f32>(s + 6 * column), H);
  productBackward(s + 3 * column, g + column, gamma + 3 * column, sums + 7 * column, load<f32>(s + 6 * column, 4), H);
}

/** @param v f32[3 Hp], normalised, becomes dv   @param d f32[3 Hp], gradient of v ⊙ γ + shift */
function productBackward(v: usize, d: usize, gamma: usize, dGamma: usize, rstd: f32, H: i32): void {
  const size: usize = 3 * bytes(pad8(H)), count = f32x4.splat(<f32>3 * <f32>H), r = f32x4.splat(rstd);
  let sum = f32x4.splat(0), dot = sum;
  // γ is zero in the padding.
  for (let i: usize = 0; i < size; i += 16) {
    const di = v128.load(d + i), vi = v128.load(v + i), own = f32x4.mul(di, v128.load(gamma + i));
    v128.store(dGamma + i, madd(di, vi, v128.load(dGamma + i)));
    sum = f32x4.add(sum, own);
    dot = madd(own, vi, dot);
  }
  const mean = f32x4.div(f32x4.splat(sumLanes(sum)), count), meanDot = f32x4.div(f32x4.splat(sumLanes(dot)), count);
  for (let i: usize = 0; i < size; i += 16) {
    const own = f32x4.mul(v128.load(d + i), v128.load(gamma + i));
    v128.store(v + i, f32x4.mul(r, f32x4.sub(f32x4.sub(own, mean), f32x4.mul(v128.load(v + i), meanDot))));
  }
}

/**
 * Gradients of γ and the biases from the rows' sums over time.
 *
 * @param dGamma f32[2, 3H], added to   @param dBias f32[2, 3H], added to, or 0
 * @param sums   f32[B, 10 Hp] as gruBackward left them
 */
export function gruLayerNormGradients(dGamma: usize, dBias: usize, sums: usize, B: i32, H: i32): void {
  const gate = bytes(H), column = bytes(pad8(H)), stride = 10 * pad8(H);
  for (let g: usize = 0; g < 3; g++) {
    const recurrent: usize = g == 2 ? 0 : g + 1;
    addRows(dGamma + g * gate, sums + (7 + g) * column, B, H, 0, stride);
    addRows(dGamma + (3 + g) * gate, sums + (4 + recurrent) * column, B, H, 0, stride);
    if (!dBias) continue;
    addRows(dBias + g * gate, sums + (1 + g) * column, B, H, 0, stride);
    addRows(dBias + (3 + g) * gate, sums + recurrent * column, B, H, 0, stride);
  }
}
