/**
 * The digits: 3,823 pictures of 8 × 8 pixels in optdigits.csv, and how they become sequences.
 *
 * A picture is read as eight time steps, its rows from top to bottom; a step has eight features, the pixels of the row.
 */
import { readFileSync } from "node:fs";

export const ROWS = 8;
export const COLUMNS = 8;
const PIXELS = ROWS * COLUMNS;
/** The darkest pixel: each counts the inked dots in a 4 × 4 field of the scan. */
const INK = 16;

/**
 * @typedef {object} Digits
 * @property {{ shape: number[], data: Float32Array }} x pictures [count, 8 rows, 8 pixels], 0 for paper to 1 for ink
 * @property {Int32Array} y which digit each one is, 0 to 9
 */

/**
 * All digits, in the order of the file.
 *
 * @returns {Digits}
 */
export function readDigits(file = new URL("optdigits.csv", import.meta.url)) {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  const data = new Float32Array(lines.length * PIXELS);
  const y = new Int32Array(lines.length);
  lines.forEach((line, i) => {
    const numbers = line.split(",").map(Number);
    if (numbers.length !== PIXELS + 1 || numbers.some((n) => !Number.isInteger(n)))
      throw new Error(`optdigits.csv, line ${i + 1}: expected ${PIXELS} pixels and a class, got "${line}"`);
    for (let p = 0; p < PIXELS; p++) data[i * PIXELS + p] = numbers[p] / INK;
    y[i] = numbers[PIXELS];
  });
  return { x: { shape: [lines.length, ROWS, COLUMNS], data }, y };
}

/**
 * The digits whose position in the file passes `keep`.
 *
 * @param {Digits} digits
 * @param {(index: number) => boolean} keep
 * @returns {Digits}
 */
export function pick({ x, y }, keep) {
  const kept = [...y.keys()].filter(keep);
  const data = new Float32Array(kept.length * PIXELS);
  kept.forEach((index, i) => {
    data.set(picture(x, index), i * PIXELS);
  });
  return { x: { shape: [kept.length, ROWS, COLUMNS], data }, y: Int32Array.from(kept, (index) => y[index]) };
}

/** The 64 pixels of one digit, a view. */
export function picture({ data }, index) {
  return data.subarray(index * PIXELS, (index + 1) * PIXELS);
}

/** Every fifth line (5, 10, 15...) is for testing, and for nothing else; the other four are for training. */
export function split(digits) {
  const forTesting = (index) => index % 5 === 4;
  return { train: pick(digits, (index) => !forTesting(index)), test: pick(digits, forTesting) };
}
