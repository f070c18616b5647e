import { tanh } from "./math";
import { at, broadcast, bytes, madd, pad8, sumLanes } from "./simd";

/**
 * Additive scores of attention.ts on packed keys: panels of 8 keys, each D
 * rows of 8, so that a lane is a key and no sum runs across lanes.
 */

/** s_ij = Σ_u w_u tanh(q_iu + k_ju). @param s f32[rows, Tp], the first pad8(n) columns */
export function additiveScores(
  s: usize, q: usize, keys: usize, w: usize, rows: i32, n: i32, D: i32, Tp: i32, qStep: i32,
): void {
  for (let i = 0; i < rows; i++) {
    let k = keys;
    for (let j = 0; j < n; j += 8) {
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0);
      for (let u: usize = 0, end = bytes(D); u < end; u += 4) {
        const x = broadcast(q + u), wu = broadcast(w + u);
        s0 = madd(wu, tanh(f32x4.add(x, at(k, 0))), s0);
        s1 = madd(wu, tanh(f32x4.add(x, at(k, 1))), s1);
        k += 32;
      }
      v128.store(s + bytes(j), s0);
      v128.store(s + bytes(j), s1, 16);
    }
    q += bytes(qStep); s += bytes(Tp);
  }
}

/**
 * With t = tanh(q_iu + k_ju):
 *
 *   dq_iu += Σ_j ds_ij w_u (1 − t²)    dk_ju += Σ_i of the same    dw_u += Σ_ij ds_ij t
 *
 * @param dq f32[rows, D] `qStep` apart, or 0   @param dKeys f32, as keys are packed
 * @param dw f32[D, 4], the sum of four lanes   @param ds f32[rows, Tp], 0 where a key does not count
 */
export function additiveBackward(
  dq: usize, dKeys: usize, dw: usize, ds: usize, q: usize, keys: usize, w: usize, rows: i32, n: i32, D: i32, Tp: i32, qStep: i32,
): void {
  const one = f32x4.splat(1), panel = bytes(D << 3), end = bytes(pad8(n));
  for (let i = 0; i < rows; i++) {
    for (let u = 0; u < D; u++) {
      const x = broadcast(q + bytes(u)), wu = broadcast(w + bytes(u)), d = dw + bytes(u << 2);
      let sums = f32x4.splat(0), weights = v128.load(d), k = keys + bytes(u << 3), dk = dKeys + bytes(u << 3);
      for (let j: usize = 0; j < end; j += 32) {
        const t0 = tanh(f32x4.add(x, at(k, 0))), t1 = tanh(f32x4.add(x, at(k, 1))), g0 = at(ds + j, 0), g1 = at(ds + j, 1);
        weights = madd(g1, t1, madd(g0, t0, weights));
        const e0 = f32x4.mul(f32x4.mul(g0, wu), f32x4.sub(one, f32x4.mul(t0, t0)));
        const e1 = f32x4.mul(f32x4.mul(g1, wu), f32x4.sub(one, f32x4.mul(t1, t1)));
        v128.store(dk, f32x4.add(at(dk, 0), e0));
        v128.store(dk, f32x4.add(at(dk, 1), e1), 16);
        sums = f32x4.add(sums, f32x4.add(e0, e1));
        k += panel; dk += panel;
      }
      v128.store(d, weights);
      if (dq) store<f32>(dq + bytes(u), load<f32>(dq + bytes(u)) + sumLanes(sums));
    }
    q += bytes(qStep); ds += bytes(Tp);
    if (dq) dq += bytes(qStep);
  }
}

/** dk_ju += the gradient of key j as it stands in its panel. */
export function unpackPanels(dk: usize, dKeys: usize, Tk: i32, D: i32, step: i32): void {
  for (let j = 0; j < Tk; j++) {
    const row = dk + bytes(j * step), panel = dKeys + bytes((j & ~7) * D + (j & 7));
    for (let u = 0; u < D; u++) store<f32>(row + bytes(u), load<f32>(row + bytes(u)) + load<f32>(panel + bytes(u << 3)));
  }
}
