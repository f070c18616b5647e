import { additiveBackward, additiveScores, unpackPanels } from "./additive";
import { dropout } from "./dropout";
import { gemm, gemmTransposed, gemmTransposedScratch } from "./gemm";
import { expNonPositive } from "./math";
import { counts } from "./mask";
import { workOf } from "./memory";
import { packPanels } from "./pack";
import { bytes, clearFrom, madd, pad8, sumLanes } from "./simd";

/**
 * Attention: every query gets the mean of the values, weighted by how well
 * their keys score.
 *
 *   dot product   s_ij = c · q_i·k_j                    Luong et al. 2015, arXiv:1508.04025
 *   additive      s_ij = Σ_u w_u tanh(q_iu + k_ju)      Bahdanau et al. 2015, arXiv:1409.0473
 *   p_i = softmax(s_i) over the keys that count, y_i = Σ_j p_ij v_j
 *
 * Legend: B batch, Tq queries, Tk keys, each with a value; D columns of a query
 * and of a key, Dv of a value, both rounded up to 8 as Dp, Vp; heads side by
 * side in a row, each rounded up by itself. Time is the outer axis:
 *
 *   q f32[Tq, B, heads, Dp]   k f32[Tk, B, heads, Dp]   v f32[Tk, B, heads, Vp]   y f32[Tq, B, heads, Vp]
 *
 * One item is one head of one sample: item = b · heads + head. It takes its
 * queries in blocks; scores of all keys exist for one block only. Backward
 * computes them again, to the same bits, from two numbers a query:
 *
 *   stats f32[B, heads, Tq, 2]   the largest score; 1 / Σ e^(s − largest), 0 where no key counts
 *
 * A query that is masked, or whose keys all are, gives zeros and gets no
 * gradient, unless flags say that it sees all alike: then it gives the mean of
 * all values, those of masked keys too. Otherwise a masked key has weight 0
 * exactly: its value adds nothing.
 */

/** Scores are additive rather than dot products. */
const ADDITIVE: i32 = 1;
/** Query i sees the keys 0..i. */
const CAUSAL: i32 = 2;
/** A query that counts and sees no key sees all alike. */
const BLIND: i32 = 4;
/** So does a query that is masked. */
const MASKED: i32 = 8;

/** Queries at a time, and keys a block of packed values: scores of 256 keys are 64 KiB. */
const BLOCK: i32 = 64;

/** Keys at a time in the gradients of keys and values. */
const KEYS: i32 = 256;

/** Elements of scratch of attentionForward, for one thread. */
export function attentionScratch(Tk: i32, D: i32, Dv: i32): i32 {
  return (1 + D + BLOCK) * pad8(Tk) + Tk * pad8(Dv);
}

/**
 * @param y        f32, overwritten
 * @param stats    f32, for a backward, or 0
 * @param weights  dot product: c, f32[1]; additive: w, f32[D]
 * @param queryMask, keyMask i32[Tq, B], i32[Tk, B]: 1 where a query, a key counts; 0: all do
 * @param scratch  f32[threads, attentionScratch(Tk, D, Dv)]
 * @param step, key, rate of the dropout of the weights p (dropout.ts); rate 0: none
 * @param from, to items to compute, by one thread
 */
export function attentionForward(
  y: usize, stats: usize, q: usize, k: usize, v: usize, weights: usize, queryMask: usize, keyMask: usize, scratch: usize, step: usize,
  key: i32, rate: f32, B: i32, heads: i32, Tq: i32, Tk: i32, D: i32, Dv: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const Dp = pad8(D), Vp = pad8(Dv), Tp = pad8(Tk), work = workOf(thread);
  // From a step to the next, in elements.
  const qStep = B * heads * Dp, vStep = B * heads * Vp;
  const valid = scratch + bytes(thread * attentionScratch(Tk, D, Dv));
  const keys = valid + bytes(Tp), values = keys + bytes(D * Tp), p = values + bytes(Tk * Vp);
  for (let item = from; item < to; item++) {
    const b = item / heads;
    keysThatCount(valid, keyMask, b, B, Tk);
    packPanels(keys, k + bytes(item * Dp), D, Tk, 1, qStep, D, D << 3);
    packBlocks(values, v + bytes(item * Vp), Tk, Dv, vStep);
    for (let i0 = 0; i0 < Tq; i0 += BLOCK) {
      const rows = min(BLOCK, Tq - i0), n = keysOfBlock(i0, Tk, flags), row = item * Tq + i0;
      scores(p, q + bytes(i0 * qStep + item * Dp), keys, weights, rows, n, D, Tp, qStep, flags, work);
      for (let i = 0; i < rows; i++) {
        const own = ownKeys(queryMask, b, B, i0 + i, n, flags), s = p + bytes(i * Tp);
        const any = softmaxRow(s, s, valid, stats ? stats + bytes((row + i) << 1) : 0, own, n, flags & ADDITIVE ? 1 : load<f32>(weights));
        if (!any) alike(s, n, own, flags);
      }
      if (rate > 0) dropout(p, p, rows, n, Tp, row, rate, key, step, 0);
      multiply(y + bytes(i0 * vStep + item * Vp), p, values, 0, rows, n, Tk, Vp, Tp, vStep, work);
    }
  }
}

/** Elements of scratch of attentionBackward, for one thread. */
export function attentionBackwardScratch(Tk: i32, D: i32, Dv: i32): i32 {
  return (1 + 2 * D + Dv + 3 * BLOCK) * pad8(Tk) + Tk * pad8(D) + (D << 2) + gemmTransposedScratch(min(KEYS, Tk), max(D, Dv));
}

/**
 * Gradients of queries, keys and values, all added to; they may be one and the
 * same (self-attention). Each may be 0: nobody wants it.
 *
 *   dv_j += Σ_i p_ij dy_i        dp_ij = dy_i·v_j        ds_ij = p_ij (dp_ij − Σ_j p_ij dp_ij)
 *   dot product   dq_i += c Σ_j ds_ij k_j    dk_j += c Σ_i ds_ij q_i    dc = Σ_ij ds_ij q_i·k_j
 *   additive      additive.ts
 *
 * @param dWeights f32[B · heads, 8] (dot product) or [B · heads, Dp]: each item's gradient of `weights`, or 0
 * @param dy       f32[Tq, B, heads, Vp]
 * @param stats    from attentionForward, on the same operands
 * @param scratch  f32[threads, attentionBackwardScratch(Tk, D, Dv)]
 * @param from, to items to compute, by one thread
 */
export function attentionBackward(
  dq: usize, dk: usize, dv: usize, dWeights: usize, dy: usize, stats: usize, q: usize, k: usize, v: usize, weights: usize,
  queryMask: usize, keyMask: usize, scratch: usize, step: usize, key: i32, rate: f32,
  B: i32, heads: i32, Tq: i32, Tk: i32, D: i32, Dv: i32, flags: i32, from: i32, to: i32, thread: i32,
): void {
  const Dp = pad8(D), Vp = pad8(Dv), Tp = pad8(Tk), work = workOf(thread), additive = (flags & ADDITIVE) != 0;
  const qStep = B * heads * Dp, vStep = B * heads * Vp, c: f32 = additive ? 1 : load<f32>(weights);
  const valid = scratch + bytes(thread * attentionBackwardScratch(Tk, D, Dv));
  const keys = valid + bytes(Tp), dKeys = keys + bytes(D * Tp), values = dKeys + bytes(D * Tp), keyRows = values + bytes(Dv * Tp);
  const s = keyRows + bytes(Tk * Dp), p = s + bytes(BLOCK * Tp), g = p + bytes(BLOCK * Tp), dw = g + bytes(BLOCK * Tp);
  const products = dw + bytes(D << 2);
  for (let item = from; item < to; item++) {
    const b = item / heads;
    keysThatCount(valid, keyMask, b, B, Tk);
    packPanels(keys, k + bytes(item * Dp), D, Tk, 1, qStep, D, D << 3);
    packPanels(values, v + bytes(item * Vp), Dv, Tk, 1, vStep, Dv, Dv << 3);
    if (additive) memory.fill(dKeys, 0, bytes(D * Tp));
    else if (dq) packBlocks(keyRows, k + bytes(item * Dp), Tk, D, qStep);
    memory.fill(dw, 0, bytes(D << 2));
    for (let i0 = 0; i0 < Tq; i0 += BLOCK) {
      const rows = min(BLOCK, Tq - i0), n = keysOfBlock(i0, Tk, flags), row = item * Tq + i0;
      const q_i = q + bytes(i0 * qStep + item * Dp), dq_i = dq ? dq + bytes(i0 * qStep + item * Dp) : 0;
      const dy_i = dy + bytes(i0 * vStep + item * Vp);
      scores(s, q_i, keys, weights, rows, n, D, Tp, qStep, flags, work);
      for (let i = 0; i < rows; i++) {
        const own = ownKeys(queryMask, b, B, i0 + i, n, flags);
        weightsAgain(p + bytes(i * Tp), s + bytes(i * Tp), valid, stats + bytes((row + i) << 1), own, n, c);
        if (!saw(stats, row + i)) alike(p + bytes(i * Tp), n, own, flags);
      }
      if (dv) {
        if (rate > 0) dropout(g, p, rows, n, Tp, row, rate, key, step, 0);
        addTransposed(dv + bytes(item * Vp), rate > 0 ? g : p, dy_i, products, rows, n, Dv, Tp, vStep);
      }
      gemm(g, dy_i, values, 0, rows, pad8(n), Dv, Tp, vStep, 0, work);
      if (rate > 0) dropout(g, g, rows, n, Tp, row, rate, key, step, 0);
      let dc = f32x4.splat(0);
      for (let i = 0; i < rows; i++) {
        if (saw(stats, row + i)) dc = softmaxRowBackward(g + bytes(i * Tp), p + bytes(i * Tp), s + bytes(i * Tp), n, c, dc);
        else clearFrom(g + bytes(i * Tp), 0, pad8(n));
      }
      if (additive) {
        additiveBackward(dq_i, dKeys, dw, g, q_i, keys, weights, rows, n, D, Tp, qStep);
        continue;
      }
      v128.store(dw, f32x4.add(v128.load(dw), dc));
      if (dq) multiply(dq_i, g, keyRows, dq_i, rows, n, Tk, Dp, Tp, qStep, work);
      if (dk) addTransposed(dk + bytes(item * Dp), g, q_i, products, rows, n, D, Tp, qStep);
    }
    if (additive && dk) unpackPanels(dk + bytes(item * Dp), dKeys, Tk, D, qStep);
    if (dWeights) {
      const n = additive ? D : 1, d = dWeights + bytes(item * pad8(n));
      for (let u = 0; u < n; u++) store<f32>(d + bytes(u), sumLanes(v128.load(dw + bytes(u << 2))));
    }
  }
}

// ---------------------------------------------------------------- parts

/** One sample's key mask as lanes, all ones where a key counts; zeros from Tk on. */
function keysThatCount(valid: usize, mask: usize, b: i32, B: i32, Tk: i32): void {
  for (let j = 0, end = pad8(Tk); j < end; j++)
    store<i32>(valid + bytes(j), j < Tk && counts(mask, j * B + b) ? -1 : 0);
}

/** How many keys a block of queries from i0 on reads. */
// @ts-ignore: decorator
@inline function keysOfBlock(i0: i32, Tk: i32, flags: i32): i32 {
  return (flags & (CAUSAL | BLIND)) == CAUSAL ? min(Tk, i0 + BLOCK) : Tk;
}

/** Whether a query saw a key, by its stats. */
// @ts-ignore: decorator
@inline function saw(stats: usize, row: i32): bool { return load<f32>(stats + bytes(row << 1), 4) != 0; }

/**
 * Weights of a query that sees nothing: of n keys all the same, or zeros as they are.
 *
 * @param own from ownKeys: 0 where the query is masked
 */
function alike(p: usize, n: i32, own: i32, flags: i32): void {
  if (!(flags & (own ? BLIND : MASKED))) return;
  for (let j = 0; j < n; j++) store<f32>(p + bytes(j), <f32>1 / <f32>n);
}

/** How many of the first n keys query i may see; masks may take some of them away. */
// @ts-ignore: decorator
@inline function ownKeys(mask: usize, b: i32, B: i32, i: i32, n: i32, flags: i32): i32 {
  if (!counts(mask, i * B + b)) return 0;
  return flags & CAUSAL ? min(n, i + 1) : n;
}

/** x [n, columns], `step` elements from row to row, packed BLOCK rows at a time, each block for a product of its own. */
function packBlocks(packed: usize, x: usize, n: i32, columns: i32, step: i32): void {
  for (let j = 0; j < n; j += BLOCK) {
    const rows = min(BLOCK, n - j);
    packPanels(packed + bytes(j * pad8(columns)), x + bytes(j * step), rows, columns, step, 1, rows, rows << 3);
  }
}

/** Unscaled scores of the first n keys. @param s f32[rows, Tp] */
function scores(
  s: usize, q: usize, keys: usize, weights: usize, rows: i32, n: i32, D: i32, Tp: i32, qStep: i32, flags: i32, work: usize,
): void {
  if (flags & ADDITIVE) additiveScores(s, q, keys, weights, rows, n, D, Tp, qStep);
  else gemm(s, q, keys, 0, rows, pad8(n), D, Tp, qStep, 0, work);
}

/**
 * c = start + p · x over the first n rows of x, and with them the rest of
 * their block, whose weights are zero.
 *
 * @param x     from packBlocks   @param N columns of c, a multiple of 8
 * @param start c or 0
 */
function multiply(
  c: usize, p: usize, x: usize, start: usize, rows: i32, n: i32, Tk: i32, N: i32, Tp: i32, step: i32, work: usize,
): void {
  if (n == 0 && !start) for (let i = 0; i < rows; i++) memory.fill(c + bytes(i * step), 0, bytes(N));
  for (let j = 0; j < n; j += BLOCK) {
    gemm(c, p + bytes(j), x + bytes(j * N), start, rows, N, min(BLOCK, Tk - j), step, Tp, step, work);
    start = c;
  }
}

/** dx_j += Σ_i p_ij dy_i for the first n keys, D columns. */
function addTransposed(dx: usize, p: usize, dy: usize, scratch: usize, rows: i32, n: i32, D: i32, Tp: i32, step: i32): void {
  for (let j = 0; j < n; j += KEYS)
    gemmTransposed(dx + bytes(j * step), 0, p + bytes(j), dy, scratch, min(KEYS, n - j), D, rows, step, Tp, step);
}

/** Four scores from column `first` on, scaled; −Infinity where a key does not count or is not one of the `own`. */
// @ts-ignore: decorator
@inline function masked(s: usize, valid: usize, first: i32, own: i32, c: v128): v128 {
  const seen = v128.and(v128.load(valid), i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(own - first)));
  return v128.bitselect(f32x4.mul(v128.load(s), c), f32x4.splat(<f32>-Infinity), seen);
}

/**
 * Softmax of a row over those of its first `own` keys that count; zeros from
 * there to n, and all zeros where none counts. Eight columns at a time, two
 * sums, whatever n is.
 *
 * @param p f32[pad8(n)]; may be s   @param s f32[pad8(n)], unscaled   @param stats f32[2], written, or 0
 * @returns whether any counts
 */
function softmaxRow(p: usize, s: usize, valid: usize, stats: usize, own: i32, n: i32, scale: f32): bool {
  const c = f32x4.splat(scale), end = bytes(pad8(own));
  let m = f32x4.splat(<f32>-Infinity), sum0 = f32x4.splat(0), sum1 = sum0;
  for (let j = 0; j < own; j += 8) {
    const at = bytes(j), x0 = masked(s + at, valid + at, j, own, c), x1 = masked(s + at + 16, valid + at + 16, j + 4, own, c);
    v128.store(p + at, x0);
    v128.store(p + at, x1, 16);
    m = f32x4.pmax(m, f32x4.pmax(x0, x1));
  }
  m = f32x4.pmax(m, v128.shuffle<f32>(m, m, 2, 3, 0, 1));
  m = f32x4.pmax(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
  const any = f32x4.extract_lane(m, 0) != <f32>-Infinity;
  let inverse: f32 = 0;
  if (any) {
    for (let j = p, last = p + end; j < last; j += 32) {
      const e0 = expNonPositive(f32x4.sub(v128.load(j), m)), e1 = expNonPositive(f32x4.sub(v128.load(j, 16), m));
      v128.store(j, e0);
      v128.store(j, e1, 16);
      sum0 = f32x4.add(sum0, e0); sum1 = f32x4.add(sum1, e1);
    }
    inverse = 1 / sumLanes(f32x4.add(sum0, sum1));
    for (let j = p, last = p + end; j < last; j += 16) v128.store(j, f32x4.mul(v128.load(j), f32x4.splat(inverse)));
  }
  clearFrom(p, any ? end : 0, pad8(n));
  if (stats) {
    store<f32>(stats, f32x4.extract_lane(m, 0));
    store<f32>(stats, inverse, 4);
  }
  return any;
}

/** softmaxRow again, from its stats. */
function weightsAgain(p: usize, s: usize, valid: usize, stats: usize, own: i32, n: i32, scale: f32): void {
  const c = f32x4.splat(scale), m = v128.load32_splat(stats), inverse = v128.load32_splat(stats, 4);
  const any = load<f32>(stats, 4) != 0;
  for (let j = 0; any && j < own; j += 8) {
    const at = bytes(j), x0 = masked(s + at, valid + at, j, own, c), x1 = masked(s + at + 16, valid + at + 16, j + 4, own, c);
    v128.store(p + at, f32x4.mul(expNonPositive(f32x4.sub(x0, m)), inverse));
    v128.store(p + at, f32x4.mul(expNonPositive(f32x4.sub(x1, m)), inverse), 16);
  }
  clearFrom(p, any ? bytes(pad8(own)) : 0, pad8(n));
}

/**
 * Gradient of the unscaled scores of a row, from that of its weights, in
 * place. Where a weight is 0 it is 0, whatever the gradient is.
 *
 * @returns dc with this row's products of gradient and score
 */
function softmaxRowBackward(g: usize, p: usize, s: usize, n: i32, scale: f32, dc: v128): v128 {
  const end = bytes(pad8(n)), zero = f32x4.splat(0);
  let sum = zero;
  for (let j: usize = 0; j < end; j += 16) {
    const w = v128.load(p + j);
    sum = f32x4.add(sum, v128.and(f32x4.mul(w, v128.load(g + j)), f32x4.ne(w, zero)));
  }
  const mean = f32x4.splat(sumLanes(sum)), c = f32x4.splat(scale);
  for (let j: usize = 0; j < end; j += 16) {
    const w = v128.load(p + j), d = v128.and(f32x4.mul(w, f32x4.sub(v128.load(g + j), mean)), f32x4.ne(w, zero));
    dc = madd(d, v128.load(s + j), dc);
    v128.store(g + j, f32x4.mul(d, c));
  }
  return dc;
}
