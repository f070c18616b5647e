import { packRows4 } from "./gemm";
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
 * of a layer is that of its weights. The 7 bits of the relaxed dot product
 * would be 1.4x faster where there is relaxed SIMD (92 against 65 GFLOP/s,
 * a row of k = 512, Node 24) and slower where there is none.
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

/** Bytes of the room to work in that hold packed rows of A; then come four rows on their way there. */
// @ts-ignore: decorator
@inline const PACKED: usize = 65536;

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

/** Bytes of a block of a panel: `steps` of 8 columns, an even number of them, and the columns' scales. */
// @ts-ignore: decorator
@inline function blockBytes(steps: i32): usize { return (<usize>((steps + 1) >> 1) << 4) + 32; }

/** Bytes of a whole panel of 8 columns. */
export function int8PanelBytes(k: i32): usize {
  return <usize>((k - 1) / DEEPEST) * blockBytes(DEEPEST) + blockBytes((k - 1) % DEEPEST + 1);
}

/**
 * Columns as the panels that gemmInt8 multiplies by: 8 wide, zeros where the
 * matrix ends.
 *
 *   blocks of up to 4096 steps of k, one after the other:
 *     16 bytes for two steps: byte 0, 1 = column 0 of both, byte 2, 3 = column 1...
 *     f32[8], the columns' scales, where the tile's pointer is after the last step
 *
 * @param panels int8PanelBytes(k) each
 * @param q      i8[k, n], `stride` from row to row   @param scales f32[n]
 */
export function int8Pack(panels: usize, q: usize, scales: usize, k: i32, n: i32, stride: i32): void {
  for (let j = 0; j < n; j += 8) {
    const width = min(8, n - j), bytesOfPanel = int8PanelBytes(k);
    memory.fill(panels, 0, bytesOfPanel);
    for (let done = 0, block = panels; done < k; done += DEEPEST) {
      const steps = min(DEEPEST, k - done), end = block + blockBytes(steps);
      for (let i = 0, from = q + done * stride + j; i < steps; i++, from += stride)
        for (let lane = 0, to = block + (<usize>(i >> 1) << 4) + (i & 1); lane < width; lane++, to += 2)
          store<i8>(to, load<i8>(from + lane));
      memory.copy(end - 32, scales + bytes(j), bytes(width));
      block = end;
    }
    panels += bytesOfPanel;
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
 * (Node 20: 75 against 65 GFLOP/s).
 *
 * @param a i16, four rows interleaved: lane 0, 1 = two steps of row 0, lane 2, 3 = row 1..., then f32[4], their scales
 */
function tile(c: usize, a: usize, b: usize, bEnd: usize, s: usize, cRow: usize, sRow: usize): void {
  let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  do {
    const b0 = v128.load8x8_s(b), b1 = v128.load8x8_s(b, 8);
    let x = v128.load32_splat(a);
    c00 = dot(c00, x, b0); c01 = dot(c01, x, b1);
    x = v128.load32_splat(a, 4);
    c10 = dot(c10, x, b0); c11 = dot(c11, x, b1);
    x = v128.load32_splat(a, 8);
    c20 = dot(c20, x, b0); c21 = dot(c21, x, b1);
    x = v128.load32_splat(a, 12);
    c30 = dot(c30, x, b0); c31 = dot(c31, x, b1);
    a += 16; b += 16;
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
 * One row over `panels` adjacent panels, three at a time: they share the
 * broadcasts and hide each other's loads.
 *
 * @param a i16, the row, then f32, its scale
 */
function row(c: usize, a: usize, b: usize, s: usize, panels: i32, panelBytes: usize, depth: usize, sStep: usize): void {
  for (; panels >= 3; panels -= 3) {
    let b1 = b + panelBytes, b2 = b1 + panelBytes, p = a;
    const bEnd = b + depth;
    let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0;
    do {
      const x = broadcast(p);
      c0 = dot(c0, x, v128.load8x8_s(b));  c1 = dot(c1, x, v128.load8x8_s(b, 8));
      c2 = dot(c2, x, v128.load8x8_s(b1)); c3 = dot(c3, x, v128.load8x8_s(b1, 8));
      c4 = dot(c4, x, v128.load8x8_s(b2)); c5 = dot(c5, x, v128.load8x8_s(b2, 8));
      p += 4; b += 16; b1 += 16; b2 += 16;
    } while (b < bEnd);
    const r = broadcast(p);
    v128.store(c, scaled(c0, r, at(b, 0), at(s, 0)));      v128.store(c, scaled(c1, r, at(b, 1), at(s, 1)), 16);  s += sStep;
    v128.store(c, scaled(c2, r, at(b1, 0), at(s, 0)), 32); v128.store(c, scaled(c3, r, at(b1, 1), at(s, 1)), 48); s += sStep;
    v128.store(c, scaled(c4, r, at(b2, 0), at(s, 0)), 64); v128.store(c, scaled(c5, r, at(b2, 1), at(s, 1)), 80); s += sStep;
    c += 96;
    b = b2 + panelBytes - depth;
  }
  for (; panels > 0; panels--) {
    let p = a, q = b, c0 = i32x4.splat(0), c1 = c0;
    do {
      const x = broadcast(p);
      c0 = dot(c0, x, v128.load8x8_s(q)); c1 = dot(c1, x, v128.load8x8_s(q, 8));
      p += 4; q += 16;
    } while (q < b + depth);
    const r = broadcast(p);
    v128.store(c, scaled(c0, r, at(q, 0), at(s, 0))); v128.store(c, scaled(c1, r, at(q, 1), at(s, 1)), 16);
    c += 32; s += sStep; b += panelBytes;
  }
}

/** Where an accumulator begins when nothing is to be added to. */
const ZEROS = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

/**
 * C = start + A · B, A quantised row by row.
 *
 * @param c     f32[m, cStride]; may be the start itself (accumulate)
 * @param a     f32[m, aStride], its first k columns; up to a multiple of 8 must be readable
 * @param b     panels [k, n] from int8Pack
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
    for (let done = 0, block = b; done < k; done += DEEPEST) {
      const steps = min(DEEPEST, k - done), depth = blockBytes(steps) - 32;
      quantizeRows4(work, rows, a + bytes(done), own, steps, aRow, range);
      const first = done == 0;
      tiles(c, work, block, first ? start : c, own, panels, depth, panelBytes, cRow, first ? sRow : cRow, first ? sStep : 32);
      block += depth + 32;
    }
    a += <usize>own * aRow; c += <usize>own * cRow; start += <usize>own * sRow; m -= own;
  }
  for (; m > 0; m--) {
    for (let done = 0, block = b; done < k; done += DEEPEST) {
      const steps = min(DEEPEST, k - done), depth = blockBytes(steps) - 32;
      store<f32>(rows + (depth >> 2), quantizeRow(rows, a + bytes(done), steps, range));
      row(c, rows, block, done ? c : start, panels, panelBytes, depth, done ? 32 : sStep);
      block += depth + 32;
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

/** All panels over a block of packed rows; strides as in gemm.ts. @param depth bytes of a panel's steps */
function tiles(
  c: usize, a: usize, b: usize, s: usize, m: i32, panels: i32, depth: usize, panelBytes: usize, cRow: usize, sRow: usize, sStep: usize,
): void {
  for (let j = 0; j < panels; j++) {
    for (let i = 0, ai = a, ci = c, si = s; i < m; i += 4) {
      tile(ci, ai, b, b + depth, si, cRow, sRow);
      ai += depth + 16; ci += cRow << 2; si += sRow << 2;
    }
    b += panelBytes; c += 32; s += sStep;
  }
}
