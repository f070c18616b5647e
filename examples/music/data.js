/**
 * Polyphonic music as numbers: a piece is a sequence of frames, a frame says which of 88 piano keys sound.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { below } from "../common/random.js";

export const KEYS = 88;
/** The MIDI number of the lowest key, A0. */
const LOWEST = 21;

/**
 * @typedef {number[][]} Piece which keys sound in each frame, as MIDI numbers
 * @typedef {{ train: Piece[], valid: Piece[], test: Piece[] }} Pieces
 */

/**
 * The chorales of J. S. Bach: jsb-chorales.json in `folder`.
 *
 * @returns {Pieces}
 */
export function readChorales(folder) {
  const file = join(folder, "jsb-chorales.json");
  const pieces = JSON.parse(readFileSync(file, "utf8"));
  const isNote = (note) => Number.isInteger(note) && note >= LOWEST && note < LOWEST + KEYS;
  for (const part of ["train", "valid", "test"])
    pieces[part].forEach((piece, i) => {
      const bad = piece.findIndex((frame) => !frame.every(isNote));
      if (bad >= 0) throw new Error(`${file}: ${part}[${i}][${bad}]: expected MIDI notes, got [${piece[bad]}]`);
    });
  return pieces;
}

/** Chords of a key, as steps above its keynote: tonic, subdominant, dominant; which may follow which. */
const CHORDS = [
  [0, 4, 7, 12],
  [0, 5, 9, 12],
  [-1, 2, 7, 11],
];
const NEXT = [[1, 2], [0, 2], [0]];

/**
 * Pieces made up by rule, for a try without data: four voices in one key, a chord for two frames each.
 *
 * @returns {Pieces}
 */
export function madeUp(count, random) {
  const piece = () => {
    const keynote = 48 + below(random, 12);
    const frames = [];
    for (let chord = 0, left = 8 + below(random, 8); left > 0; left--) {
      const frame = CHORDS[chord].map((step) => keynote + step);
      frames.push(frame, frame);
      chord = NEXT[chord][below(random, NEXT[chord].length)];
    }
    return frames;
  };
  const part = (n) => Array.from({ length: n }, piece);
  return { train: part(count), valid: part(count / 4), test: part(count / 4) };
}

/**
 * Pieces as a batch: from frames 0 to T - 2 the model is to say frames 1 to T - 1. Shorter pieces are padded with
 * silence, and `lengths` tells how many frames count.
 *
 * @param {Piece[]} pieces
 */
export function batchOf(pieces) {
  const lengths = Int32Array.from(pieces, (piece) => piece.length - 1);
  const steps = Math.max(...lengths);
  const shape = [pieces.length, steps, KEYS];
  const x = { shape, data: new Float32Array(pieces.length * steps * KEYS) };
  const y = { shape, data: new Float32Array(pieces.length * steps * KEYS) };
  pieces.forEach((piece, i) => {
    piece.forEach((frame, t) => {
      for (const note of frame) {
        const at = (i * steps + t) * KEYS + note - LOWEST;
        if (t < lengths[i]) x.data[at] = 1;
        if (t > 0) y.data[at - KEYS] = 1;
      }
    });
  });
  return { x, y, lengths };
}
