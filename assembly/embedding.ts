import { bytes } from "./simd";

/**
 * Rows of a table by number: y[i] = table[tokens[i]].
 *
 * @param y      f32[rows, n], the padding becomes 0
 * @param table  f32[V, n], its rows without padding
 * @param tokens i32[rows] in [0, V)
 */
export function embedding(y: usize, table: usize, tokens: usize, rows: i32, n: i32, stride: i32): void {
  const row = bytes(n), end = bytes(stride);
  for (let i = 0; i < rows; i++) {
    memory.copy(y, table + <usize>load<i32>(tokens) * row, row);
    memory.fill(y + row, 0, end - row);
    tokens += 4;
    y += end;
  }
}

/**
 * Backward of `embedding`: dTable[tokens[i]] += dy[i], over ascending i.
 * Columns are independent: a range of them is computed alone by offsetting
 * dTable and dy, with `n` its width.
 *
 * @param dTable f32[V, tableStride], accumulated into
 * @param dy     f32[rows, n]
 * @param tokens i32[rows] in [0, V)
 * @param tableStride elements from row to row of the table: its whole width
 * @param paddingIndex token whose row gets no gradient; −1: none
 */
export function embeddingBackward(
  dTable: usize, dy: usize, tokens: usize, rows: i32, n: i32, stride: i32, tableStride: i32, paddingIndex: i32,
): void {
  const whole = bytes(n & ~3), end = bytes(n);
  for (let i = 0; i < rows; i++, tokens += 4, dy += bytes(stride)) {
    const token = load<i32>(tokens);
    if (token == paddingIndex) continue;
    const row = dTable + <usize>token * bytes(tableStride);
    let j: usize = 0;
    for (; j < whole; j += 16) v128.store(row + j, f32x4.add(v128.load(row + j), v128.load(dy + j)));
    // The next row of the table begins right after this one.
    for (; j < end; j += 4) store<f32>(row + j, load<f32>(row + j) + load<f32>(dy + j));
  }
}
