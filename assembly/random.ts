import { bytes } from "./simd";

/**
 * Random numbers by counter: Threefry-2x32, 20 rounds (Salmon et al. 2011,
 * "Parallel random numbers: as easy as 1, 2, 3"). A block is a function of its
 * key and counter alone, so any part of a tensor is computed without the rest.
 *
 * Element (i, c) of a tensor takes word ⌊c/4⌋ mod 2 of the block with counter
 * (4 ⌊c/8⌋ + c mod 4, i):
 *
 *   columns 8q .. 8q + 3       word 0 of counters 4q .. 4q + 3, lane 0..3
 *   columns 8q + 4 .. 8q + 7   word 1 of the same counters
 */

// @ts-ignore: decorator
@inline function rotate(v: v128, by: i32): v128 {
  return v128.or(i32x4.shl(v, by), i32x4.shr_u(v, 32 - by));
}

/**
 * The words of all elements of a tensor [rows, stride], handed in pairs of
 * vectors, columns 8q.. and 8q + 4.., to `op.take(i, j, w0, w1)`, where j is
 * the first column and i the row. `Op` stays a set of inlined functions: what
 * it needs comes through its parameters.
 *
 * @param firstRow number of the first row, for computing a range of rows alone
 */
// @ts-ignore: decorator
@inline export function randomRows<Op>(
  y: usize, x: usize, rows: i32, n: i32, stride: i32, firstRow: i32, key0: i32, key1: i32, a: f32, b: f32, flag: i32,
): void {
  const op = changetype<Op>(0);
  const k0 = i32x4.splat(key0), k1 = i32x4.splat(key1);
  // The constant is Threefish's, which keeps the third key word from being 0.
  const k2 = v128.xor(v128.xor(k0, k1), i32x4.splat(0x1bd11bda));
  for (let i = 0; i < rows; i++) {
    for (let c = 0; c < stride; c += 8) {
      let u = i32x4.add(i32x4.add(i32x4.splat(c >> 1), i32x4(0, 1, 2, 3)), k0);
      let v = i32x4.add(i32x4.splat(firstRow + i), k1);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 13), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 15), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 26), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 6), u);
      u = i32x4.add(u, k1); v = i32x4.add(v, i32x4.add(k2, i32x4.splat(1)));
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 17), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 29), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 16), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 24), u);
      u = i32x4.add(u, k2); v = i32x4.add(v, i32x4.add(k0, i32x4.splat(2)));
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 13), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 15), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 26), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 6), u);
      u = i32x4.add(u, k0); v = i32x4.add(v, i32x4.add(k1, i32x4.splat(3)));
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 17), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 29), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 16), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 24), u);
      u = i32x4.add(u, k1); v = i32x4.add(v, i32x4.add(k2, i32x4.splat(4)));
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 13), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 15), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 26), u);
      u = i32x4.add(u, v); v = v128.xor(rotate(v, 6), u);
      u = i32x4.add(u, k2); v = i32x4.add(v, i32x4.add(k0, i32x4.splat(5)));
      op.take(y + bytes(c), x + bytes(c), u, n - c, a, b, flag);
      op.take(y + bytes(c) + 16, x + bytes(c) + 16, v, n - c - 4, a, b, flag);
    }
    y += bytes(stride);
    x += bytes(stride);
  }
}

@final class Store {
  // @ts-ignore: decorator
  @inline take(y: usize, _: usize, word: v128, __: i32, ___: f32, ____: f32, _____: i32): void { v128.store(y, word); }
}

/**
 * The raw words of a tensor, padding included.
 *
 * @param y u32[rows, stride], elements as described at the top of this file
 * @param firstRow number of the first row
 */
export function randomWords(y: usize, rows: i32, stride: i32, firstRow: i32, key0: i32, key1: i32): void {
  randomRows<Store>(y, y, rows, stride, stride, firstRow, key0, key1, 0, 0, 0);
}
