/**
 * More handwriting than was collected: each epoch sees every training digit once, a little moved, stretched and
 * slanted, as another hand might have written it.
 */
import { randomNumbers, shuffle } from "../common/random.js";
import { COLUMNS, picture, ROWS } from "./data.js";

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

/**
 * Writes `pixels` into `out`, seen through a random small affine map about the middle of the picture.
 *
 * @param {() => number} random numbers in [-1, 1)
 */
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
  const eitherWay = () => 2 * random() - 1;
  const order = Int32Array.from(y.keys());
  return function* epoch() {
    shuffle(order, random);
    for (let from = 0; from < order.length; from += batchSize) {
      const rows = order.subarray(from, from + batchSize);
      const data = new Float32Array(rows.length * ROWS * COLUMNS);
      rows.forEach((row, i) => {
        distort(picture({ data }, i), picture(x, row), eitherWay, amounts);
      });
      yield { x: { shape: [rows.length, ROWS, COLUMNS], data }, y: Int32Array.from(rows, (row) => y[row]) };
    }
  };
}
