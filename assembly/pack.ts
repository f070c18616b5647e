import { bytes, pad8 } from "./simd";

/**
 * A dense matrix as the panels that gemm.ts multiplies by: 8 columns wide,
 * zeros where the matrix ends.
 *
 *   packed[panel j][row i][lane] = x[i · rowStride + (8 j + lane) · columnStride]
 *
 * Transposed use: swap the strides. Stacked use (gates one above the other):
 * call per part, each with its own rows of the same panels.
 *
 * @param packed      f32, `panelStride` elements from panel to panel
 * @param rows        rows of the matrix; up to `paddedRows` follow as zeros
 */
export function packPanels(
  packed: usize, x: usize, rows: i32, columns: i32, rowStride: i32, columnStride: i32, paddedRows: i32, panelStride: i32,
): void {
  const rowBytes = bytes(rowStride), columnBytes = bytes(columnStride);
  for (let j = 0; j < columns; j += 8) {
    const width = min(columns - j, 8), panel = packed + bytes((j >> 3) * panelStride), source = x + <usize>j * columnBytes;
    let i = 0;
    if (width == 8) {
      if (columnStride == 1) {
        for (let p = source, q = panel; i < rows; i++) {
          v128.store(q, v128.load(p));
          v128.store(q, v128.load(p, 16), 16);
          p += rowBytes; q += 32;
        }
      } else if (rowStride == 1) {
        for (; i + 4 <= rows; i += 4) {
          transpose4(panel + bytes(i << 3), source + bytes(i), 32, columnBytes);
          transpose4(panel + bytes(i << 3) + 16, source + bytes(i) + (columnBytes << 2), 32, columnBytes);
        }
      }
    }
    for (; i < rows; i++) {
      const q = panel + bytes(i << 3);
      let p = source + <usize>i * rowBytes;
      for (let lane = 0; lane < 8; lane++) {
        store<f32>(q + bytes(lane), lane < width ? load<f32>(p) : 0);
        p += columnBytes;
      }
    }
    memory.fill(panel + bytes(rows << 3), 0, bytes((paddedRows - rows) << 3));
  }
}

/** Four vectors of four, `from` bytes apart, transposed into four vectors `to` bytes apart. */
// @ts-ignore: decorator
@inline export function transpose4(y: usize, x: usize, to: usize, from: usize): void {
  const a = v128.load(x), b = v128.load(x + from), c = v128.load(x + 2 * from), d = v128.load(x + 3 * from);
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const ab2 = v128.shuffle<f32>(a, b, 2, 6, 3, 7), cd2 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(y, v128.shuffle<f32>(ab, cd, 0, 1, 4, 5));
  v128.store(y + to, v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
  v128.store(y + 2 * to, v128.shuffle<f32>(ab2, cd2, 0, 1, 4, 5));
  v128.store(y + 3 * to, v128.shuffle<f32>(ab2, cd2, 2, 3, 6, 7));
}

/** One dense row, zeros after n up to a multiple of 8. `x` 0: all zeros. */
export function packRow(packed: usize, x: usize, n: i32): void {
  memory.fill(packed, 0, bytes(pad8(n)));
  if (x) memory.copy(packed, x, bytes(n));
}

/**
 * y[i, 0..n) += x[i, 0..n): padded gradients back into dense parameters.
 *
 * @param yStride, xStride elements from row to row
 */
export function addRows(y: usize, x: usize, rows: i32, n: i32, yStride: i32, xStride: i32): void {
  for (let i = 0; i < rows; i++) {
    let j = 0;
    for (; j + 4 <= n; j += 4) v128.store(y + bytes(j), f32x4.add(v128.load(y + bytes(j)), v128.load(x + bytes(j))));
    for (; j < n; j++) store<f32>(y + bytes(j), load<f32>(y + bytes(j)) + load<f32>(x + bytes(j)));
    y += bytes(yStride); x += bytes(xStride);
  }
}

/** y[0..n) += the sums of the columns of x, row after row. @param x f32[rows, stride] @param y f32[n], dense */
export function addColumnSums(y: usize, x: usize, rows: i32, n: i32, stride: i32): void {
  for (let i = 0; i < rows; i++) addRows(y, x + bytes(i * stride), 1, n, 0, 0);
}
