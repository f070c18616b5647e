import { OptionError, ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import { firstHole, isTensor, shapeText, type TensorLike, toTensor } from "../core/tensor.ts";
import { padded } from "../layers/layer.ts";

/** Padded sequences of labels with their numbers of labels, as `padSequences` gives them. */
export interface PaddedLabels {
  /** [batch, most labels] */
  readonly x: TensorLike;
  readonly lengths: readonly number[] | Int32Array;
}

/** Targets: numbers or labels; for losses of sequences, arrays of labels of any lengths, or padded ones. */
export type Targets = TensorLike | PaddedLabels;

/** Which labels there are. */
interface Labels {
  readonly classes: number;
  readonly blank?: number;
}

/**
 * Sequences of labels as kernels want them.
 *
 * @returns y [batch, width]: the number of labels, the labels, and zeros
 * @throws ShapeError  for anything but one sequence of whole numbers a sample
 * @throws OptionError for labels that are no class, or blank, and for lengths out of range
 */
export function checkSequences(
  where: string,
  loss: string,
  value: Targets | undefined,
  n: number,
  labels: Labels,
): { y: Int32Array; width: number } {
  if (value === undefined) throw new ShapeError(`${where}: y is missing; "${loss}" expects labels for ${n} samples`);
  const sequences = split(where, loss, value, n);
  // Whole panels: batches whose longest targets differ a little share a recording.
  const width = padded(1 + sequences.reduce((most, { length }) => Math.max(most, length), 0));
  const y = new Int32Array(n * width);
  sequences.forEach((sequence, i) => {
    for (const label of sequence)
      if (label < 0 || label >= labels.classes || label === labels.blank)
        throw new OptionError(
          `${where}: label ${label} in sequence ${i} of y; expected 0 to ${labels.classes - 1}` +
            (labels.blank === undefined ? "" : `, but not the blank ${labels.blank}`),
        );
    y[i * width] = sequence.length;
    y.set(sequence, i * width + 1);
  });
  return { y, width };
}

/** The labels of every sample. */
function split(where: string, loss: string, value: Targets, n: number): Int32Array[] {
  const expected = `"${loss}" expects y to be ${n} sequences of labels`;
  if (Array.isArray(value)) {
    if (value.length !== n) throw new ShapeError(`${where}: ${expected}, got ${value.length}`);
    const hole = firstHole(value);
    if (hole >= 0) throw new ShapeError(`${where}: ${expected}; sequence ${hole} is missing`);
    return value.map((sequence: TensorLike, i) => {
      if (typeof sequence === "number")
        throw new ShapeError(`${where}: ${expected}, got the number ${shown(sequence)} at position ${i}`);
      const { shape, data } = toTensor(sequence, `${where}: sequence ${i} of y`, "int32");
      if (shape.length !== 1)
        throw new ShapeError(`${where}: ${expected}, got one of shape ${shapeText(shape)} at position ${i}`);
      return data;
    });
  }
  const given =
    isTensor(value) || ArrayBuffer.isView(value) ? { x: value, lengths: undefined } : (value as PaddedLabels);
  if (typeof given !== "object" || given === null || given.x === undefined)
    throw new ShapeError(`${where}: ${expected}, got ${shown(value)}`);
  const { shape, data } = toTensor(given.x, `${where}: y`, "int32");
  if (shape.length !== 2 || shape[0] !== n)
    throw new ShapeError(`${where}: ${expected}, [${n}, most labels] with lengths, got ${shapeText(shape)}`);
  const most = shape[1];
  const lengths: ArrayLike<number> = given.lengths ?? new Int32Array(n).fill(most);
  if (!(Array.isArray(lengths) || ArrayBuffer.isView(lengths)) || lengths.length !== n)
    throw new ShapeError(`${where}: expected lengths of y for ${n} samples, got ${shown(lengths)}`);
  return Array.from({ length: n }, (_, i) => {
    const length = lengths[i];
    if (!Number.isInteger(length) || length < 0 || length > most)
      throw new OptionError(
        `${where}: length ${shown(length)} of sequence ${i} of y; expected a whole number from 0 to ${most}`,
      );
    return data.subarray(i * most, i * most + length);
  });
}
