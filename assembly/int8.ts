import { gemm, packRows4 } from "./gemm";
import { lastLanes, lastVector, at, broadcast, bytes, madd, pad8 } from "./simd";

/**
 * The matrix product of quantised models: int8 weights, 13-bit activations,
 * exact integer sums.
 *
 * Legend: C [m, n] = start + A [m, k] · B [k, n]; strides in elements.
 *
 *   B[i, j] = s_j q[i, j],  q in [−127, 127], a scale a column
 *   A[i, k] = a_i p[i, k],  p in [−4095, 4095], a scale a row, found on the way
 *   C[i, j] = start + (a_i s_j) Σ_k p[i, k] q[k, j]
 *
 * The sum is that of integers: the same in both binaries, in the tile and in
 * the row kernel, whatever runs beside a row. Only the last line rounds.
 *
 * Two steps of k at a time go through i32x4.dot_i16x8_s. Activations have the
 * most bits with which 4096 products cannot overflow an i32, so that the error
 * of a layer is that of its weights. The 7 bits of the relaxed dot
 * product would be 1.4x faster in a row, where there is relaxed SIMD (92
 * against 65 GFLOP/s, Node 24), and the error of two layers 2.6x larger.
 */

/** Largest quantised activation: 12 bits and a sign. */
// @ts-ignore: decorator
@inline const LEVELS: f32 = 4095;

/** Bits of a quantised activation; files say it, as it is part of what a model computes. */
export function int8ActivationBits(): i32 {
  return 13;
}

/** Steps of k that an i32 sums for certain: 4096 · 4095 · 127 < 2^31. More go on in float32, block after block. */
// @ts-ignore: decorator
@inline const DEEPEST: i32 = 4096;

/**
 * Bytes of the room to work in that hold packed rows of A. Behind them is
 * place for four rows on their way there, then for one panel, widened to i16.
 */
// @ts-ignore: decorator
@inline const PACKED: usize = 61440;

// ---------------------------------------------------------------- weights

/**
 * A scale a column, and whole numbers: q = x / scale to the nearest, ties to even.
 *
 * @param q      i8[rows, n]   @param scales f32[n], largest |x| of the column / 127
 * @param x      f32[rows, n], dense
 */
export function int8Quantize(q: usize, scales: usize, x: usize, rows: i32, n: i32): void {
  memory.fill(scales, 0, bytes(n));
  for (let i = 0, p = x; i < rows; i++)
    for (let s = scales, end = scales + bytes(n); s < end; s += 4, p += 4) store<f32>(s, max(load<f32>(s), abs(load<f32>(p))));
  for (let s = scales, end = scales + bytes(n); s < end; s += 4) store<f32>(s, load<f32>(s) / 127);
  for (let i = 0; i < rows; i++)
    for (let s = scales, end = scales + bytes(n); s < end; s += 4, x += 4, q++) {
      const scale = load<f32>(s);
      // Denormal scales are coarse: the quotient may be past 127.
      store<i8>(q, scale > 0 ? <i8>max<f32>(-127, min<f32>(127, nearest(load<f32>(x) / scale))) : 0);
    }
}

/** Bytes that `steps` of k, and the scales, take in a panel of 8 columns. */
// @ts-ignore: decorator
@inline function blockBytes(steps: i32): usize { return (<usize>((steps + 1) >> 1) << 4) + 32; }

/** Bytes of a whole panel of 8 columns. */
export function int8PanelBytes(k: i32): usize {
  return <usize>((k - 1) / DEEPEST) * blockBytes(DEEPEST) + blockBytes((k - 1) % DEEPEST + 1);
}

/** Panels side by side in the group that panel j of `panels` is in: three, or what is left. */
// @ts-ignore: decorator
@inline function widthAt(j: i32, panels: i32): i32 { return min(3, panels - j + j % 3); }

/**
 * Columns as the panels that gemmInt8 multiplies by, 8 wide, zeros where the
 * matrix ends. Three panels lie side by side, so that a row reads one stream
 * (1.1x faster than three in Node 20).
 *
 *   group of w panels:  blocks of up to 4096 steps of k, one after the other
 *   block:              for two steps 16 bytes of each panel, byte 0, 1 = column 0 of both, 2, 3 = column 1...
 *                       then scales: f32[4] of each panel's columns 0 to 3, f32[4] of each's 4 to 7,
 *                       so that a tile's pointer ends at the first
 *
 * @param packed int8PanelBytes(k) a panel, `panels` in all
 * @param q      i8[k, n], `stride` from row to row   @param scales f32[n]
 * @param first  panel in which these columns begin
 */
export function int8Pack(packed: usize, q: usize, scales: usize, k: i32, n: i32, stride: i32, first: i32, panels: i32): void {
  const bytesOfPanel = int8PanelBytes(k);
  for (let j = 0; j < n; j += 8) {
    const panel = first + (j >> 3), place = panel % 3, w = <usize>widthAt(panel, panels), lanes = min(8, n - j);
    let to = packed + <usize>(panel - place) * bytesOfPanel + <usize>(place << 4);
    for (let i = 0; i < k; i += 2) {
      memory.fill(to, 0, 16);
      for (let r = i, end = min(i + 2, k); r < end; r++)
        for (let lane = 0; lane < lanes; lane++) store<i8>(to + (lane << 1) + (r & 1), load<i8>(q + r * stride + j + lane));
      to += w << 4;
      if (i + 2 >= k || (i + 2) % DEEPEST == 0) {
        for (let lane = 0; lane < 8; lane++, to += lane == 4 ? (w << 4) - 12 : 4)
          store<f32>(to, lane < lanes ? load<f32>(scales + bytes(j + lane)) : 0);
        to += (w << 4) - 16;
      }
    }
  }
}

// ---------------------------------------------------------------- activations

/**
 * Constants: 0 LEVELS    4 −LEVELS    8 1.5 · 2^23, which leaves a rounded number in the low bits
 */
const ROUND = memory.data<f32>([4095, -4095, 12582912], 16);

/** Four numbers times `inverse`, rounded, within the levels, as the low halves of i32 lanes above a constant. */
// @ts-ignore: decorator
@inline function rounded(x: v128, inverse: v128): v128 {
  const within = f32x4.pmin(f32x4.pmax(f32x4.mul(x, inverse), broadcast(ROUND + 4)), broadcast(ROUND));
  return i32x4.sub(f32x4.add(within, broadcast(ROUND + 8)), broadcast(ROUND + 8));
}

/**
 * One row as i16, what lies beyond k up to a multiple of 8 as whatever it
 * rounds to; returns its scale.
 *
 * @param range |x| that becomes the largest level; what is beyond it is cut. 0: the row's own largest
 */
function quantizeRow(q: usize, x: usize, k: i32, range: f32): f32 {
  const last = x + lastVector(k), lanes = lastLanes(k);
  // Without the sign, floats order as their bits do, NaN above infinity.
  let m = f32x4.abs(v128.and(v128.load(last), lanes));
  for (let p = x; p < last; p += 16) m = i32x4.max_s(m, f32x4.abs(v128.load(p)));
  m = i32x4.max_s(m, v128.shuffle<f32>(m, m, 2, 3, 0, 1));
  m = i32x4.max_s(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
  const largest = f32x4.extract_lane(m, 0);
  // Not finite: the scale is NaN, and so is what comes of it.
  const reach: f32 = largest - largest != 0 ? NaN : range > 0 ? range : largest;
  // Below this, which no sum would notice, the quotient might be infinite.
  const inverse = f32x4.splat(reach > 1e-30 ? LEVELS / reach : 0);
  for (const end = x + bytes(k); x < end; x += 32, q += 16)
    v128.store(q, i16x8.narrow_i32x4_s(rounded(v128.load(x), inverse), rounded(v128.load(x, 16), inverse)));
  return reach / LEVELS;
}

// ---------------------------------------------------------------- product

/** acc + two steps of k of four columns. */
// @ts-ignore: decorator
@inline function dot(acc: v128, x: v128, columns: v128): v128 { return i32x4.add(acc, i32x4.dot_i16x8_s(x, columns)); }

/** start + acc · (a_i s_j), four columns of one row. */
// @ts-ignore: decorator
@inline function scaled(acc: v128, row: v128, columns: v128, start: v128): v128 {
  return madd(f32x4.convert_i32x4_s(acc), f32x4.mul(row, columns), start);
}

/**
 * 4 rows x 8 columns: the twin of gemm.ts's tile, and as there not unrolled
 * (Node 20: 75 GFLOP/s against 65 by two).
 *
 * @param a i16, four rows interleaved: lane 0, 1 = two steps of row 0, lane 2, 3 = row 1..., then f32[4], their scales
 * @param b one panel, widened
 */
function tile(c: usize, a: usize, b: usize, bEnd: usize, s: usize, cRow: usize, sRow: usize): void {
  let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  do {
    const b0 = at(b, 0), b1 = at(b, 1);
    let x = v128.load32_splat(a);
    c00 = dot(c00, x, b0); c01 = dot(c01, x, b1);
    x = v128.load32_splat(a, 4);
    c10 = dot(c10, x, b0); c11 = dot(c11, x, b1);
    x = v128.load32_splat(a, 8);
    c20 = dot(c20, x, b0); c21 = dot(c21, x, b1);
    x = v128.load32_splat(a, 12);
    c30 = dot(c30, x, b0); c31 = dot(c31, x, b1);
    a += 16; b += 32;
  } while (b < bEnd);
  const s0 = at(b, 0), s1 = at(b, 1);
  let r = broadcast(a);
  v128.store(c, scaled(c00, r, s0, at(s, 0))); v128.store(c, scaled(c01, r, s1, at(s, 1)), 16);
  c += cRow; s += sRow; r = broadcast(a + 4);
  v128.store(c, scaled(c10, r, s0, at(s, 0))); v128.store(c, scaled(c11, r, s1, at(s, 1)), 16);
  c += cRow; s += sRow; r = broadcast(a + 8);
  v128.store(c, scaled(c20, r, s0, at(s, 0))); v128.store(c, scaled(c21, r, s1, at(s, 1)), 16);
  c += cRow; s += sRow; r = broadcast(a + 12);
  v128.store(c, scaled(c30, r, s0, at(s, 0))); v128.store(c, scaled(c31, r, s1, at(s, 1)), 16);
}

/**
 * One row over all panels, a group at a time: three panels share the
 * broadcasts.
 *
 * @param a    i16, the row, then f32, its scale
 * @param skip bytes of a panel before the block
 */
function row(c: usize, a: usize, b: usize, s: usize, panels: i32, panelBytes: usize, skip: usize, depth: usize, sStep: usize): void {
  for (; panels >= 3; panels -= 3) {
    let p = a, q = b + 3 * skip;
    const end = q + 3 * depth;
    let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0;
    do {
      const x = broadcast(p);
      c0 = dot(c0, x, v128.load8x8_s(q));     c1 = dot(c1, x, v128.load8x8_s(q, 8));
      c2 = dot(c2, x, v128.load8x8_s(q, 16)); c3 = dot(c3, x, v128.load8x8_s(q, 24));
      c4 = dot(c4, x, v128.load8x8_s(q, 32)); c5 = dot(c5, x, v128.load8x8_s(q, 40));
      p += 4; q += 48;
    } while (q < end);
    const r = broadcast(p);
    v128.store(c, scaled(c0, r, at(q, 0), at(s, 0)));     v128.store(c, scaled(c1, r, at(q, 3), at(s, 1)), 16); s += sStep;
    v128.store(c, scaled(c2, r, at(q, 1), at(s, 0)), 32); v128.store(c, scaled(c3, r, at(q, 4), at(s, 1)), 48); s += sStep;
    v128.store(c, scaled(c4, r, at(q, 2), at(s, 0)), 64); v128.store(c, scaled(c5, r, at(q, 5), at(s, 1)), 80); s += sStep;
    c += 96; b += 3 * panelBytes;
  }
  const w = <usize>panels, step = w << 4;
  for (b += w * skip; panels > 0; panels--) {
    let p = a, q = b, c0 = i32x4.splat(0), c1 = c0;
    do {
      const x = broadcast(p);
      c0 = dot(c0, x, v128.load8x8_s(q)); c1 = dot(c1, x, v128.load8x8_s(q, 8));
      p += 4; q += step;
    } while (q < b + w * depth);
    const r = broadcast(p);
    v128.store(c, scaled(c0, r, v128.load(q), at(s, 0))); v128.store(c, scaled(c1, r, v128.load(q + step), at(s, 1)), 16);
    c += 32; s += sStep; b += 16;
  }
}

/** Where an accumulator begins when nothing is to be added to. */
const ZEROS = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

/**
 * C = start + A · B, A quantised row by row.
 *
 * @param c     f32[m, cStride]; may be the start itself (accumulate)
 * @param a     f32[m, aStride], its first k columns; up to a multiple of 8 must be readable
 * @param b     all panels of a matrix [k, n] from int8Pack
 * @param start f32[m, startStride], or one row for all (startStride 0: a bias); 0 begins at zero
 * @param n     columns of C, a multiple of 8
 * @param range |a| of the largest level, from calibration; 0: the largest of each row
 * @param work  f32[WORK], the calling thread's own
 */
export function gemmInt8(
  c: usize, a: usize, b: usize, start: usize, m: i32, n: i32, k: i32, cStride: i32, aStride: i32, startStride: i32, range: f32, work: usize,
): void {
  assert(k > 0 && (n & 7) == 0);
  const cRow = bytes(cStride), aRow = bytes(aStride), panels = n >> 3, panelBytes = int8PanelBytes(k);
  const sRow: usize = start ? bytes(startStride) : 0, sStep: usize = start ? 32 : 0;
  if (!start) start = ZEROS;
  // packRows4 reaches up to 48 bytes past its last group.
  const rows = work + PACKED + 64, most = <i32>(PACKED / ((blockBytes(min(k, DEEPEST)) - 16))) << 2;
  for (; m >= 4; ) {
    const own = min(m & ~3, most);
    for (let done = 0, skip: usize = 0; done < k; done += DEEPEST) {
      const steps = min(DEEPEST, k - done), depth = blockBytes(steps) - 32;
      quantizeRows4(work, rows, a + bytes(done), own, steps, aRow, range);
      const first = done == 0;
      tiles(c, work, b, rows, first ? start : c, own, panels, panelBytes, skip, depth, cRow, first ? sRow : cRow, first ? sStep : 32);
      skip += depth + 32;
    }
    a += <usize>own * aRow; c += <usize>own * cRow; start += <usize>own * sRow; m -= own;
  }
  for (; m > 0; m--) {
    for (let done = 0, skip: usize = 0; done < k; done += DEEPEST) {
      const steps = min(DEEPEST, k - done), depth = blockBytes(steps) - 32;
      store<f32>(rows + (depth >> 2), quantizeRow(rows, a + bytes(done), steps, range));
      row(c, rows, b, done ? c : start, panels, panelBytes, skip, depth, done ? 32 : sStep);
      skip += depth + 32;
    }
    a += aRow; c += cRow; start += sRow;
  }
}

/** Groups of four rows, as the tile reads them. @param rows i16[4, k], room for a group on its way */
function quantizeRows4(packed: usize, rows: usize, x: usize, m: i32, k: i32, xRow: usize, range: f32): void {
  const rowBytes = <usize>((k + 7) & ~7) << 1, pairs = (k + 1) >> 1;
  for (let i = 0; i < m; i += 4) {
    const s0 = quantizeRow(rows, x, k, range); x += xRow;
    const s1 = quantizeRow(rows + rowBytes, x, k, range); x += xRow;
    const s2 = quantizeRow(rows + 2 * rowBytes, x, k, range); x += xRow;
    const s3 = quantizeRow(rows + 3 * rowBytes, x, k, range); x += xRow;
    packRows4(packed, rows, 4, pairs, rowBytes);
    packed += <usize>pairs << 4;
    store<f32>(packed, s0); store<f32>(packed, s1, 4); store<f32>(packed, s2, 8); store<f32>(packed, s3, 12);
    packed += 16;
  }
}

/**
 * All panels over a block of packed rows; strides as in gemm.ts.
 *
 * @param wide  room for a panel: i16, its steps one after the other, then its scales; from between its
 *              neighbours the tile would be 1.06x slower, and 1.08x not widened (Node 24; in Node 20 1.04x faster)
 * @param depth bytes of a panel's steps in this block
 */
function tiles(
  c: usize, a: usize, b: usize, wide: usize, s: usize, m: i32, panels: i32, panelBytes: usize, skip: usize, depth: usize,
  cRow: usize, sRow: usize, sStep: usize,
): void {
  const wideEnd = wide + 2 * depth;
  for (let j = 0; j < panels; j++) {
    const place = j % 3, w = <usize>widthAt(j, panels), step = w << 4;
    let p = b + <usize>(j - place) * panelBytes + w * skip + <usize>(place << 4);
    for (let to = wide; to < wideEnd; to += 32, p += step) {
      v128.store(to, v128.load8x8_s(p));
      v128.store(to, v128.load8x8_s(p, 8), 16);
    }
    v128.store(wideEnd, v128.load(p));
    v128.store(wideEnd, v128.load(p + step), 16);
    for (let i = 0, ai = a, ci = c, si = s; i < m; ) {
      // In two loops as in gemm.ts, for the same reason: 1.03x faster on Node 20.
      for (const end = min(m, i + 32); i < end; i += 4) {
        tile(ci, ai, wide, wideEnd, si, cRow, sRow);
        ai += depth + 16; ci += cRow << 2; si += sRow << 2;
      }
    }
    c += 32; s += sStep;
  }
}

// ---------------------------------------------------------------- either product

/** Of flags: weights are int8. */
// @ts-ignore: decorator
@inline export const INT8: i32 = 128;

/** c = start + a · b in float32, or with INT8 in int8. */
export function product(
  c: usize, a: usize, b: usize, start: usize, m: i32, n: i32, k: i32, cStride: i32, aStride: i32, startStride: i32,
  flags: i32, range: f32, work: usize,
): void {
  if (flags & INT8) gemmInt8(c, a, b, start, m, n, k, cStride, aStride, startStride, range, work);
  else gemm(c, a, b, start, m, n, k, cStride, aStride, startStride, work);
}
