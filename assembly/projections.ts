import { gemm, gemmTransposed, gemmTransposedScratch } from "./gemm";
import { workOf } from "./memory";
import { bytes, pad8 } from "./simd";

/**
 * The linear maps around attention: into queries, keys and values, whose heads
 * stand side by side, each rounded up to 8 columns, and from the heads' means
 * back into one row.
 *
 * Legend: a part is one of the three maps, [inputs, heads · width]; n columns
 * of its output with all heads rounded up, 0 where there is no such map.
 * Packed weights of a part: bias f32[n], then its panels [inputs, n].
 */

/**
 * q = xq · Wq + bq, k = xk · Wk + bk, v = xv · Wv + bv in one call.
 *
 * @param packed   the parts that there are, one after the other
 * @param Iq, Ik, Iv inputs   @param nq, nk, nv columns
 * @param from, to rows to compute, by one thread: those of q, then of k, then of v
 */
export function attentionProject(
  q: usize, k: usize, v: usize, xq: usize, xk: usize, xv: usize, packed: usize, rowsQ: i32, rowsK: i32,
  Iq: i32, Ik: i32, Iv: i32, nq: i32, nk: i32, nv: i32, from: i32, to: i32, thread: i32,
): void {
  const work = workOf(thread);
  let first = 0;
  for (let part = 0; part < 3; part++) {
    const y = part == 0 ? q : part == 1 ? k : v, x = part == 0 ? xq : part == 1 ? xk : xv;
    const I = part == 0 ? Iq : part == 1 ? Ik : Iv, n = part == 0 ? nq : part == 1 ? nk : nv;
    const rows = part == 0 ? rowsQ : rowsK, own = max(from - first, 0), end = min(to - first, rows);
    if (n && own < end)
      gemm(y + bytes(own * n), x + bytes(own * pad8(I)), packed + bytes(n), packed, end - own, n, I, n, pad8(I), 0, work);
    first += rows; packed += bytes((I + 1) * n);
  }
}

/** Elements of scratch of attentionGradients, for one thread: m and n are the most rows and columns of a map. */
export function attentionGradientsScratch(m: i32, n: i32): i32 {
  return gemmTransposedScratch(m, n);
}

/**
 * Weight gradients of all maps, products over all rows; biases get the sums
 * of the same columns. Address 0: there is no such map, or no bias.
 *
 *   dWq += xqᵀ · dq    dWk += xkᵀ · dk    dWv += xvᵀ · dv    dWo += meansᵀ · dy
 *
 * @param dWq, dWk f32[Iq, heads · D], f32[Ik, heads · D]   @param dWv f32[Iv, heads · Dv]   @param dWo f32[heads · Dv, N]
 * @param means   f32[rowsQ, heads, Vp], what attention gave   @param dy f32[rowsQ, Np]
 * @param scratch f32[threads, attentionGradientsScratch(...)], `scratchSize` a thread
 * @param from, to items to compute, of 4 · heads: one head of one map
 */
export function attentionGradients(
  dWq: usize, dWk: usize, dWv: usize, dWo: usize, dbq: usize, dbk: usize, dbv: usize, dbo: usize,
  xq: usize, xk: usize, xv: usize, means: usize, dq: usize, dk: usize, dv: usize, dy: usize, scratch: usize, scratchSize: i32,
  rowsQ: i32, rowsK: i32, Iq: i32, Ik: i32, Iv: i32, N: i32, heads: i32, D: i32, Dv: i32, from: i32, to: i32, thread: i32,
): void {
  scratch += bytes(thread * scratchSize);
  const Vp = pad8(Dv);
  for (; from < to; from++) {
    const part = from / heads, h = from % heads;
    if (part == 3) {
      // Rows of one head; the bias once.
      if (dWo)
        gemmTransposed(dWo + bytes(h * Dv * N), h ? 0 : dbo, means + bytes(h * Vp), dy, scratch, Dv, N, rowsQ, N, heads * Vp, pad8(N));
      continue;
    }
    const dW = part == 0 ? dWq : part == 1 ? dWk : dWv, db = part == 0 ? dbq : part == 1 ? dbk : dbv;
    const x = part == 0 ? xq : part == 1 ? xk : xv, d = part == 0 ? dq : part == 1 ? dk : dv;
    const I = part == 0 ? Iq : part == 1 ? Ik : Iv, width = part == 2 ? Dv : D;
    if (dW)
      gemmTransposed(
        dW + bytes(h * width), db ? db + bytes(h * width) : 0, x, d + bytes(h * pad8(width)), scratch,
        I, width, part == 0 ? rowsQ : rowsK, heads * width, pad8(I), heads * pad8(width),
      );
  }
}
