/**
 * Utterances of a vowel as sequences of different length, and how they are divided for cross-validation.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { below, shuffle } from "../common/random.js";

/**
 * @typedef {object} Utterance
 * @property {number} speaker from 0
 * @property {number[][]} frames some numbers about each moment
 */

/**
 * The 270 utterances: train.json in `folder`.
 *
 * @returns {Utterance[]}
 */
export function readUtterances(folder) {
  const file = join(folder, "train.json");
  const utterances = JSON.parse(readFileSync(file, "utf8"));
  const width = utterances[0].frames[0].length;
  utterances.forEach(({ speaker, frames }, i) => {
    const whole = frames.length > 0 && frames.every((frame) => frame.length === width && frame.every(Number.isFinite));
    if (!Number.isInteger(speaker) || !whole)
      throw new Error(`${file}, utterance ${i}: expected a speaker and frames of ${width} numbers`);
  });
  return utterances;
}

/**
 * Utterances made up by rule, for a try without data: each speaker's voice moves its own way from one place to another.
 *
 * @returns {Utterance[]}
 */
export function madeUp({ speakers, each, width }, random) {
  const place = () => Array.from({ length: width }, () => 2 * random() - 1);
  return Array.from({ length: speakers }, (_, speaker) => {
    const [from, to] = [place(), place()];
    return Array.from({ length: each }, () => {
      const steps = 7 + below(random, 23);
      const frame = (t) => from.map((start, j) => start + (t / (steps - 1)) * (to[j] - start) + 2 * random() - 1);
      return { speaker, frames: Array.from({ length: steps }, (_, t) => frame(t)) };
    });
  }).flat();
}

/**
 * Divides utterances into `count` folds that have equally many of each speaker.
 *
 * @param {Utterance[]} utterances
 * @returns {Utterance[][]}
 */
export function stratified(utterances, count, random) {
  const folds = Array.from({ length: count }, () => []);
  for (const speaker of new Set(utterances.map((utterance) => utterance.speaker))) {
    const own = utterances.filter((utterance) => utterance.speaker === speaker);
    shuffle(own, random).forEach((utterance, i) => {
      folds[i % count].push(utterance);
    });
  }
  return folds;
}

/** Mean and deviation of each number, over all frames. */
export function statistics(frames) {
  const average = (numbers) => numbers.reduce((sum, v) => sum + v, 0) / frames.length;
  const means = frames[0].map((_, j) => average(frames.map((frame) => frame[j])));
  const deviations = means.map((mean, j) => Math.sqrt(average(frames.map((frame) => (frame[j] - mean) ** 2))));
  return { means, deviations };
}

/**
 * Utterances as a batch: frames brought to mean 0 and deviation 1, shorter utterances padded with zeros; `lengths` tells
 * how many frames count.
 *
 * @param {Utterance[]} utterances
 */
export function batchOf(utterances, { means, deviations }) {
  const lengths = Int32Array.from(utterances, ({ frames }) => frames.length);
  const [steps, width] = [Math.max(...lengths), means.length];
  const x = { shape: [utterances.length, steps, width], data: new Float32Array(utterances.length * steps * width) };
  utterances.forEach(({ frames }, i) => {
    frames.forEach((frame, t) => {
      x.data.set(
        frame.map((v, j) => (v - means[j]) / deviations[j]),
        (i * steps + t) * width,
      );
    });
  });
  return { x, y: Int32Array.from(utterances, ({ speaker }) => speaker), lengths };
}
