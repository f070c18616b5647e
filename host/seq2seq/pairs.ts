import type { BatchLike } from "../batches/examples.ts";
import { OptionError, ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import { random } from "../core/random.ts";

/** A sequence of tokens, from 1 on: 0 begins and ends every target. */
export type Tokens = ArrayLike<number>;

/** Sequences, any length each. @throws ShapeError, OptionError naming the first that does not fit */
export function checkTokens(where: string, sequences: unknown, tokens: number, least: number): readonly Tokens[] {
  if (!Array.isArray(sequences))
    throw new ShapeError(`${where}: expected a list of sequences of tokens, got ${shown(sequences)}`);
  sequences.forEach((sequence: unknown, i) => {
    if (!Array.isArray(sequence) && !ArrayBuffer.isView(sequence))
      throw new ShapeError(`${where}: sequence ${i}: expected tokens, got ${shown(sequence)}`);
    const list = sequence as Tokens;
    if (list.length < least) throw new ShapeError(`${where}: sequence ${i} has no tokens`);
    for (let t = 0; t < list.length; t++)
      if (!(Number.isInteger(list[t]) && list[t] >= 1 && list[t] < tokens))
        throw new OptionError(`${where}: sequence ${i} has ${shown(list[t])} at position ${t}; expected 1 to ${tokens - 1}`);
  });
  return sequences;
} // biome-ignore format: long lines

/** Sequences of tokens side by side, [batch, time], zeros after the end. */
export interface Side {
  readonly shape: [number, number];
  readonly data: Int32Array;
  readonly lengths: number[];
}

/** @param shift zeros before every sequence, which count as its own */
export function padded(sequences: readonly Tokens[], shift = 0): Side {
  const lengths = sequences.map(({ length }) => length + shift);
  const steps = Math.max(1, ...lengths);
  const data = new Int32Array(sequences.length * steps);
  sequences.forEach((sequence, i) => {
    data.set(sequence, i * steps + shift);
  });
  return { shape: [sequences.length, steps], data, lengths };
}

/** Sources, the decoder's inputs (0, then the target) and its labels (the target, then 0). */
export interface Pairs {
  readonly source: Side;
  readonly input: Side;
  readonly labels: Side;
}

export function pairsOf(sources: readonly Tokens[], targets: readonly Tokens[]): Pairs {
  const input = padded(targets, 1);
  const [count, steps] = input.shape;
  const data = new Int32Array(count * steps);
  targets.forEach((target, i) => {
    data.set(target, i * steps);
  });
  return { source: padded(sources), input, labels: { ...input, data } };
}

/** As `fit` of a graph takes them. */
export function batchOf({ source, input, labels }: Pairs): BatchLike {
  return { x: { source, target: input }, y: labels, lengths: { source: source.lengths, target: input.lengths } };
}

/** Batches whose sources are about as long as each other are drawn from so many at a time. */
const POOL = 16;

/**
 * The order of one epoch, as lists of samples: shuffled, then sorted by the
 * length of the source within pools of batches, so that little is padding.
 */
export function* batchOrder(sources: readonly Tokens[], batchSize: number, seed: number, epoch: number): Generator<number[]> {
  const next = random(seed, `batches of epoch ${epoch}`);
  const order = Array.from(next.permutation(sources.length));
  for (let from = 0; from < order.length; from += POOL * batchSize) {
    const pool = order.slice(from, from + POOL * batchSize).sort((a, b) => sources[a].length - sources[b].length);
    for (const i of next.permutation(Math.ceil(pool.length / batchSize)))
      yield pool.slice(i * batchSize, (i + 1) * batchSize);
  }
} // biome-ignore format: long lines
