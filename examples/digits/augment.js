/**
 * More handwriting than was collected: each epoch sees every training digit once, a little moved, stretched and
 * slanted, as another hand might have written it.
 */
import { COLUMNS, picture, ROWS } from "./data.js";

/**
 * A seed's stream of numbers in [-1, 1), the same in every runtime. (mulberry32, Tommy Ettinger 2017)
 *
 * @returns {() => number}
 */
function randomNumbers(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** A pixel of the picture between its pixels: the four around the place, by closeness. Outside is paper. */
function sample(pixels, row, column) {
  const r = Math.floor(row);
  const c = Math.floor(column);
  const at = (i, j) => (i < 0 || j < 0 || i >= ROWS || j >= COLUMNS ? 0 : pixels[i * COLUMNS + j]);
  const right = column - c;
  const above = at(r, c) * (1 - right) + at(r, c + 1) * right;
  const below = at(r + 1, c) * (1 - right) + at(r + 1, c + 1) * right;
  return above + (below - above) * (row - r);
}

/** Writes `pixels` into `out`, seen through a random small affine map about the middle of the picture. */
function distort(out, pixels, random, { move, stretch, slant }) {
  const middle = (ROWS - 1) / 2;
  const [top, left] = [random() * move, random() * move];
  const [tall, wide] = [1 + random() * stretch, 1 + random() * stretch];
  const [across, down] = [random() * slant, random() * slant];
  for (let i = 0; i < ROWS; i++)
    for (let j = 0; j < COLUMNS; j++) {
      const [u, v] = [i - middle, j - middle];
      out[i * COLUMNS + j] = sample(pixels, middle + top + tall * u + down * v, middle + left + across * u + wide * v);
    }
}

/**
 * A source of batches for `fit`: each call gives one epoch, in a new order and with new distortions.
 *
 * @param {import("./data.js").Digits} digits
 * @param {{ batchSize: number, seed: number, move: number, stretch: number, slant: number }} options
 */
export function augmented({ x, y }, { batchSize, seed, ...amounts }) {
  const random = randomNumbers(seed);
  const order = Int32Array.from(y.keys());
  return function* epoch() {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(((random() + 1) / 2) * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    for (let from = 0; from < order.length; from += batchSize) {
      const rows = order.subarray(from, from + batchSize);
      const data = new Float32Array(rows.length * ROWS * COLUMNS);
      rows.forEach((row, i) => {
        distort(picture({ data }, i), picture(x, row), random, amounts);
      });
      yield { x: { shape: [rows.length, ROWS, COLUMNS], data }, y: Int32Array.from(rows, (row) => y[row]) };
    }
  };
}
