/**
 * Spoken digits: recordings of single ones, and how they are joined to utterances of several.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { below, shuffle } from "../common/random.js";
import { readWav } from "./wav.js";

export const SAMPLE_RATE = 8000;
export const WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/** What an utterance is spelled with; class 0 is CTC's blank. */
export const SYMBOLS = ["", " ", ...new Set(WORDS.join(""))];

/**
 * @typedef {object} Recording one digit
 * @property {number} digit
 * @property {Float32Array} samples
 *
 * @typedef {object} Utterance several recordings, one after the other
 * @property {string} text their words with spaces between
 * @property {Float32Array} samples
 *
 * @typedef {{ train: Recording[], valid: Recording[], test: Recording[] }} Recordings
 */

/**
 * The recordings: files {digit}_{speaker}_{index}.wav in `folder`/recordings. Of each digit and speaker, those with an
 * index of 30 or more are for testing, 28 and 29 for validation.
 *
 * @returns {Recordings}
 */
export function readRecordings(folder) {
  const parts = { train: [], valid: [], test: [] };
  for (const name of readdirSync(join(folder, "recordings")).sort()) {
    const [, digit, index] = /^(\d)_\w+_(\d+)\.wav$/.exec(name) ?? [];
    if (digit === undefined) continue;
    const { sampleRate, samples } = readWav(join(folder, "recordings", name));
    if (sampleRate !== SAMPLE_RATE)
      throw new Error(`${name}: expected ${SAMPLE_RATE} samples a second, got ${sampleRate}`);
    parts[index >= 30 ? "test" : index >= 28 ? "valid" : "train"].push({ digit: Number(digit), samples });
  }
  return parts;
}

/**
 * Recordings made up by rule, for a try without data: every letter is a tone of its own, a little higher or longer at
 * times, in some noise; a word ends with a moment of silence.
 *
 * @returns {Recordings}
 */
export function madeUp({ digits, each }, random) {
  const tone = (letter) => {
    const step = (SYMBOLS.indexOf(letter) - 1) / (SYMBOLS.length - 2);
    const pitch = 250 * 12 ** step * (1 + 0.02 * (random() - 0.5));
    const length = Math.round(SAMPLE_RATE * (0.05 + 0.02 * random()));
    const sample = (n) => 0.3 * Math.sin((2 * Math.PI * pitch * n) / SAMPLE_RATE) + 0.02 * (random() - 0.5);
    return Array.from({ length }, (_, n) => sample(n));
  };
  const silence = new Array(SAMPLE_RATE * 0.05).fill(0);
  const recording = (digit) => ({
    digit,
    samples: Float32Array.from([...WORDS[digit]].map(tone).concat([silence]).flat()),
  });
  const part = (count) => Array.from({ length: count * digits }, (_, i) => recording(i % digits));
  return { train: part(each), valid: part(each / 4), test: part(each / 4) };
}

/**
 * Utterances of three to seven recordings. Every recording is in one of them; the last may be shorter.
 *
 * @param {Recording[]} recordings
 * @returns {Utterance[]}
 */
export function joined(recordings, random) {
  const order = shuffle([...recordings], random);
  const utterances = [];
  for (let from = 0; from < order.length; ) {
    const parts = order.slice(from, from + 3 + below(random, 5));
    from += parts.length;
    const samples = new Float32Array(parts.reduce((sum, part) => sum + part.samples.length, 0));
    let at = 0;
    for (const part of parts) {
      samples.set(part.samples, at);
      at += part.samples.length;
    }
    utterances.push({ text: parts.map(({ digit }) => WORDS[digit]).join(" "), samples });
  }
  return utterances;
}
