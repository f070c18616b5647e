/**
 * Utterances as batches: what the model hears, and how it is spelled.
 */
import { logMel } from "gruvy/audio";
import { SAMPLE_RATE, SYMBOLS } from "./data.js";

const BANDS = 40;
/** Frames that make one step: with a hop of 10 ms a step is 20 ms. */
const STACK = 2;
/** Numbers of a step. */
export const WIDTH = STACK * BANDS;

/** Steps of an utterance: frames of log-mel energies, two by two. */
function stepsOf({ samples }) {
  const { shape, data } = logMel(samples, { sampleRate: SAMPLE_RATE, bands: BANDS });
  // Two frames after each other in memory are one step: nothing moves, a last odd frame is left out.
  return data.subarray(0, Math.floor(shape[0] / STACK) * WIDTH);
}

/** Mean and deviation of each number of a step, over all steps. */
export function statistics(utterances) {
  const sums = new Float64Array(WIDTH);
  const squares = new Float64Array(WIDTH);
  let count = 0;
  for (const utterance of utterances) {
    const steps = stepsOf(utterance);
    steps.forEach((v, i) => {
      sums[i % WIDTH] += v;
      squares[i % WIDTH] += v * v;
    });
    count += steps.length / WIDTH;
  }
  const means = sums.map((sum) => sum / count);
  return { means, deviations: squares.map((square, j) => Math.sqrt(square / count - means[j] * means[j])) };
}

/**
 * A batch: steps brought to mean 0 and deviation 1, shorter utterances padded with zeros; y has the letters of each
 * utterance as numbers, as many as there are.
 *
 * @param {import("./data.js").Utterance[]} utterances
 */
export function batchOf(utterances, { means, deviations }) {
  const heard = utterances.map(stepsOf);
  const lengths = Int32Array.from(heard, (steps) => steps.length / WIDTH);
  const shape = [utterances.length, Math.max(...lengths), WIDTH];
  const x = { shape, data: new Float32Array(shape[0] * shape[1] * WIDTH) };
  heard.forEach((steps, i) => {
    steps.forEach((v, j) => {
      x.data[i * shape[1] * WIDTH + j] = (v - means[j % WIDTH]) / deviations[j % WIDTH];
    });
  });
  return { x, y: utterances.map(({ text }) => [...text].map((letter) => SYMBOLS.indexOf(letter))), lengths };
}

/** Letters as numbers, as a text. */
export const spelled = (labels) => labels.map((label) => SYMBOLS[label]).join("");
