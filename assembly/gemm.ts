import { addRows, transpose4 } from "./pack";
import { at, broadcast, bytes, madd, pad8 } from "./simd";

/**
 * The one matrix product, on packed panels.
 *
 * Legend: C [m, n] = start + A [m, k] · B [k, n]; strides in elements.
 * B is packed in panels of 8 columns, panel after panel, each k rows of 8
 * (pack.ts); n is a multiple of 8. Every entry of C is one accumulator that
 * begins at `start` and takes its k products in ascending order, in the tile,
 * in the row kernel and across blocks of k alike: so a batch and its rows, or
 * a sequence and its steps, agree to the bit.
 */

/** Where an accumulator begins when nothing is to be added to. */
const ZEROS = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0], 16);

/**
 * 4 rows x 8 columns of C over all k.
 *
 * A is packed, four rows interleaved: lane 0..3 of k = rows 0..3. One pointer
 * then walks all four rows: 42 GFLOP/s against 37 with a pointer a row.
 * A function of its own, called often, with its accumulators in locals: V8
 * compiles functions one by one and never replaces a running one.
 * Not unrolled over k: unrolling spills registers, 1.3x slower on Node 20.
 *
 * @param s    the 4 x 8 start, rows `sRow` bytes apart (0: one row for all four)
 */
function tile(c: usize, a: usize, b: usize, bEnd: usize, s: usize, cRow: usize, sRow: usize): void {
  let c00 = at(s, 0), c01 = at(s, 1); s += sRow;
  let c10 = at(s, 0), c11 = at(s, 1); s += sRow;
  let c20 = at(s, 0), c21 = at(s, 1); s += sRow;
  let c30 = at(s, 0), c31 = at(s, 1);
  do {
    const b0 = at(b, 0), b1 = at(b, 1);
    let x = v128.load32_splat(a);  c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4);   c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8);   c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12);  c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    a += 16; b += 32;
  } while (b < bEnd);
  v128.store(c, c00); v128.store(c, c01, 16); c += cRow;
  v128.store(c, c10); v128.store(c, c11, 16); c += cRow;
  v128.store(c, c20); v128.store(c, c21, 16); c += cRow;
  v128.store(c, c30); v128.store(c, c31, 16);
}

/**
 * One row of C over `panels` adjacent panels: a matrix-vector product.
 * Three panels at once are six independent chains of additions, which hide
 * their latency; eight would spill.
 */
function row(c: usize, a: usize, b: usize, s: usize, panels: i32, panelBytes: usize, sStep: usize): void {
  for (; panels >= 3; panels -= 3) {
    let b1 = b + panelBytes, b2 = b1 + panelBytes, p = a;
    const bEnd = b1, next = b2 + panelBytes;
    let c0 = at(s, 0), c1 = at(s, 1); s += sStep;
    let c2 = at(s, 0), c3 = at(s, 1); s += sStep;
    let c4 = at(s, 0), c5 = at(s, 1); s += sStep;
    do {
      const x = broadcast(p);
      c0 = madd(x, at(b, 0), c0);  c1 = madd(x, at(b, 1), c1);
      c2 = madd(x, at(b1, 0), c2); c3 = madd(x, at(b1, 1), c3);
      c4 = madd(x, at(b2, 0), c4); c5 = madd(x, at(b2, 1), c5);
      p += 4; b += 32; b1 += 32; b2 += 32;
    } while (b < bEnd);
    v128.store(c, c0); v128.store(c, c1, 16); v128.store(c, c2, 32);
    v128.store(c, c3, 48); v128.store(c, c4, 64); v128.store(c, c5, 80);
    c += 96;
    b = next;
  }
  if (panels == 2) {
    let b1 = b + panelBytes;
    const bEnd = b1;
    let c0 = at(s, 0), c1 = at(s, 1); s += sStep;
    let c2 = at(s, 0), c3 = at(s, 1);
    do {
      const x = broadcast(a);
      c0 = madd(x, at(b, 0), c0);  c1 = madd(x, at(b, 1), c1);
      c2 = madd(x, at(b1, 0), c2); c3 = madd(x, at(b1, 1), c3);
      a += 4; b += 32; b1 += 32;
    } while (b < bEnd);
    v128.store(c, c0); v128.store(c, c1, 16); v128.store(c, c2, 32); v128.store(c, c3, 48);
  } else if (panels == 1) {
    const bEnd = b + panelBytes;
    let c0 = at(s, 0), c1 = at(s, 1);
    do {
      const x = broadcast(a);
      c0 = madd(x, at(b, 0), c0); c1 = madd(x, at(b, 1), c1);
      a += 4; b += 32;
    } while (b < bEnd);
    v128.store(c, c0); v128.store(c, c1, 16);
  }
}

/**
 * Rows of a block that take turns on a panel. They make the tile the third loop
 * from outside, which V8 unrolls three times: by its count of a loop's size and
 * depth, on shared memory it otherwise unrolls only twice (Node 20: 34.9
 * GFLOP/s instead of 40.0); a fourth loop would be unrolled four times, 37.7.
 */
// @ts-ignore: decorator
@inline const ROWS: i32 = 32;

/**
 * Panels over a block of packed rows; strides in bytes.
 *
 * @param a     packed, `k` steps of four rows after each other
 * @param b     the first panel's first of these k; `panelBytes` from panel to panel
 * @param m     a multiple of 4
 * @param sRow  from row to row of the start; 0 repeats one row
 * @param sStep from panel to panel of the start; 0 repeats one panel
 */
function block(
  c: usize, a: usize, b: usize, s: usize, m: i32, panels: i32, k: i32, panelBytes: usize, cRow: usize, sRow: usize, sStep: usize,
): void {
  const groupBytes = <usize>k << 4, depth = <usize>k << 5;
  for (let first = 0; first < m; first += ROWS) {
    const end = min(m, first + ROWS);
    for (let j = 0, bj = b, cj = c, sj = s; j < panels; j++) {
      for (let i = first, ai = a, ci = cj, si = sj; i < end; i += 4) {
        tile(ci, ai, bj, bj + depth, si, cRow, sRow);
        ai += groupBytes; ci += cRow << 2; si += sRow << 2;
      }
      bj += panelBytes; cj += 32; sj += sStep;
    }
    a += groupBytes * (ROWS >> 2); c += cRow * ROWS; s += sRow * ROWS;
  }
}

/** Elements of the room to work in that a thread has: one packed block of A, which stays in the L2 cache. */
// @ts-ignore: decorator
@inline export const WORK: i32 = 32768;

/** Steps of k that a block takes at most; 8 rows of them fill the room. */
// @ts-ignore: decorator
@inline const DEEPEST: i32 = 4096;

/**
 * C = start + A · B.
 *
 * @param c     f32[m, cStride]; may be the start itself (accumulate)
 * @param a     f32[m, aStride], its first k columns; up to a multiple of 4 must be readable
 * @param b     packed [k, n]
 * @param start f32[m, startStride], or one row for all (startStride 0: a bias); 0 begins at zero
 * @param n     columns of C, a multiple of 8
 * @param work  f32[WORK], the calling thread's own
 */
export function gemm(
  c: usize, a: usize, b: usize, start: usize, m: i32, n: i32, k: i32, cStride: i32, aStride: i32, startStride: i32, work: usize,
): void {
  assert(k > 0 && (n & 7) == 0);
  const cRow = bytes(cStride), aRow = bytes(aStride), panels = n >> 3, panelBytes = <usize>k << 5;
  const sRow: usize = start ? bytes(startStride) : 0, sStep: usize = start ? 32 : 0;
  if (!start) start = ZEROS;
  const depth = min(k, DEEPEST), rows = (WORK / depth) & ~3;
  for (; m >= 4; ) {
    const own = min(m & ~3, rows);
    for (let done = 0; done < k; done += depth) {
      const steps = min(depth, k - done);
      packRows4(work, a + bytes(done), own, steps, aRow);
      const first = done == 0;
      block(c, work, b + (<usize>done << 5), first ? start : c, own, panels, steps, panelBytes, cRow, first ? sRow : cRow, first ? sStep : 32);
    }
    a += <usize>own * aRow; c += <usize>own * cRow; start += <usize>own * sRow; m -= own;
  }
  for (; m > 0; m--) {
    row(c, a, b, start, panels, panelBytes, sStep);
    a += aRow; c += cRow; start += sRow;
  }
}

/** Four rows interleaved, group after group: lane 0..3 = rows i..i+3 of column k. */
export function packRows4(packed: usize, x: usize, rows: i32, k: i32, xRow: usize): void {
  for (let i = 0; i < rows; i += 4) {
    let p = packed;
    for (let q = x, end = x + bytes(k); q < end; q += 16) {
      transpose4(p, q, 16, xRow);
      p += 64;
    }
    // What lies beyond k is overwritten by the next group.
    packed += <usize>k << 4; x += xRow << 2;
  }
}

/** Rows of k that gemmTransposed packs at a time. */
// @ts-ignore: decorator
@inline const BLOCK_K: i32 = 256;

/** Elements of scratch that gemmTransposed needs for an [m, n] result. */
export function gemmTransposedScratch(m: i32, n: i32): i32 {
  return (BLOCK_K + pad8(n)) * ((m + 3) & ~3) + 8 * BLOCK_K + pad8(n);
}

/**
 * dW += Aᵀ · B, and db += the column sums of B: weight gradients, products
 * over tall A and B.
 *
 * Blocks of k are packed and sent through the one tile: A as it lies, four
 * columns wide, B panel by panel, its sums taken on the way. Columns are
 * independent of each other: any range of them gives the same bits.
 *
 * @param dW      f32[m, dWStride], n columns, added to; nothing is padded
 * @param db      f32[n], added to, or 0
 * @param a       f32[k, aStride], m columns; the padding up to 4 must be finite
 * @param b       f32[k, bStride], n columns; the padding up to 8 must be finite
 * @param scratch f32[gemmTransposedScratch(m, n)]
 */
export function gemmTransposed(
  dW: usize, db: usize, a: usize, b: usize, scratch: usize, m: i32, n: i32, k: i32, dWStride: i32, aStride: i32, bStride: i32,
): void {
  const m4 = (m + 3) & ~3, aRow = bytes(aStride), bRow = bytes(bStride), panelBytes = bytes(m4 << 3);
  const packedB = scratch + bytes(BLOCK_K * m4), sums = packedB + bytes(8 * BLOCK_K), panels = sums + bytes(pad8(n));
  memory.fill(sums, 0, bytes(pad8(n)));
  for (let done = 0; done < k; done += BLOCK_K) {
    const rows = min(k - done, BLOCK_K);
    packColumns4(scratch, a, rows, m4, aRow);
    for (let j = 0, c = panels; j < n; j += 8) {
      packPanelAndSum(packedB, sums + bytes(j), b + bytes(j), rows, bRow);
      block(c, scratch, packedB, done ? c : ZEROS, m4, 1, rows, 0, 32, done ? 32 : 0, 0);
      c += panelBytes;
    }
    a += <usize>rows * aRow; b += <usize>rows * bRow;
  }
  if (k == 0) return;
  for (let j = 0, c = panels; j < n; j += 8) {
    addRows(dW + bytes(j), c, m, min(8, n - j), dWStride, 8);
    c += panelBytes;
  }
  if (db) addRows(db, sums, 1, n, 0, 0);
}

/** Four columns side by side, group after group: lane 0..3 = columns i..i+3 of row r. */
function packColumns4(packed: usize, x: usize, rows: i32, n: i32, xRow: usize): void {
  for (let i = 0; i < n; i += 4) {
    for (let r = 0, p = x; r < rows; r++) {
      v128.store(packed, v128.load(p));
      packed += 16; p += xRow;
    }
    x += 16;
  }
}

/** Eight columns as one panel; their sums over the rows go on in `sums`. */
function packPanelAndSum(packed: usize, sums: usize, x: usize, rows: i32, xRow: usize): void {
  let s0 = v128.load(sums), s1 = v128.load(sums, 16);
  for (let r = 0; r < rows; r++) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    v128.store(packed, x0);
    v128.store(packed, x1, 16);
    s0 = f32x4.add(s0, x0); s1 = f32x4.add(s1, x1);
    packed += 32; x += xRow;
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
}
