import { randomWord } from "./random.ts";

/** Dropout of a dense [rows, n]. */
export function dropout(
  x: ArrayLike<number>,
  n: number,
  rate: number,
  key: [number, number],
  firstRow = 0,
): Float64Array {
  return Float64Array.from(x, (v, at) => {
    const uniform = (randomWord(firstRow + Math.floor(at / n), at % n, key) >>> 8) / 2 ** 24;
    return uniform >= rate ? v / (1 - rate) : 0;
  });
}
