import { OptionError, ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import type { TensorLike } from "../core/tensor.ts";
import { isTensor } from "../core/tensor.ts";
import {
  type BatchLike,
  checkBatch,
  checkExamples,
  type Door,
  type Each,
  type Examples,
  type Extras,
} from "./examples.ts";
import type { Targets } from "./sequences.ts";

/**
 * Batches one after the other, from anywhere. A function gives a fresh source
 * each epoch; it is told the epoch's number, from 1, so that what it draws at
 * random can be the same again in a resumed run.
 */
export type BatchSource =
  | Iterable<BatchLike>
  | AsyncIterable<BatchLike>
  | ((epoch: number) => Iterable<BatchLike> | AsyncIterable<BatchLike>);

/** The samples of one batch. */
export interface Batch {
  readonly examples: Examples;
  readonly rows: Int32Array;
}

/** An iterable of batches rather than samples. */
export function isBatchSource(x: unknown): x is BatchSource {
  if (typeof x === "function") return true;
  if (typeof x !== "object" || x === null || ArrayBuffer.isView(x) || isTensor(x)) return false;
  if (Array.isArray(x)) return x.length > 0 && typeof x[0] === "object" && x[0] !== null && "x" in x[0];
  return Symbol.iterator in x || Symbol.asyncIterator in x;
}

/** Checked samples cut into batches, the last one partial; `order` shuffles. */
export function* slices(examples: Examples, batchSize: number, order?: Int32Array): Generator<Batch> {
  const all = order ?? Int32Array.from({ length: examples.count }, (_, i) => i);
  for (let from = 0; from < all.length; from += batchSize)
    yield { examples, rows: all.subarray(from, from + batchSize) };
}

/** Batches of a source, each checked as it comes. */
export async function* sourced(where: string, door: Door, source: BatchSource, epoch = 1): AsyncGenerator<Batch> {
  const from: unknown = typeof source === "function" ? await source(epoch) : source;
  if (typeof from !== "object" || from === null || !(Symbol.iterator in from || Symbol.asyncIterator in from))
    throw new ShapeError(`${where}: expected a function that returns an iterable of batches, got ${shown(from)}`);
  let i = 0;
  for await (const batch of from as AsyncIterable<unknown>) {
    const examples = checkBatch(`${where}: batch ${++i}`, door, batch);
    yield { examples, rows: Int32Array.from({ length: examples.count }, (_, r) => r) };
  }
}

/** @throws OptionError for targets, lengths, a mask or weights beside a source, which brings its own */
export function checkBeside(where: string, beside: Extras & { y?: unknown }): void {
  for (const [name, value] of Object.entries(beside))
    if (value !== undefined)
      throw new OptionError(
        `${where}: ${name} comes with the batches when x gives batches, got ${name} ${shown(value)} as well`,
      );
}

/** Batches in order, from arrays or from a source. */
export function batches(
  where: string,
  door: Door,
  x: Each<TensorLike> | BatchSource,
  y: Each<Targets> | undefined,
  extras: Extras,
  batchSize: number,
): Iterable<Batch> | AsyncIterable<Batch> {
  if (isBatchSource(x)) {
    checkBeside(where, { y, ...extras });
    return sourced(where, door, x);
  }
  return slices(checkExamples(where, door, { ...extras, x, y }), batchSize);
}
