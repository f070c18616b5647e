import { ShapeError } from "../core/errors.ts";
import { checkOptions, oneOf, real, shown } from "../core/options.ts";
import { firstHole, isTensor, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";

export interface PadOptions {
  /** What fills the steps a shorter sequence lacks. */
  value?: number;
  /** Which end they go to; models that are given `lengths` need "post". */
  padding?: "post" | "pre";
}

export interface Padded<Data extends Float32Array | Int32Array = Float32Array> {
  /** [batch, longest, ...] */
  x: Tensor<Data>;
  /** Steps of each sequence before padding. */
  lengths: number[];
}

/**
 * Sequences of different lengths as one batch, as long as the longest.
 *
 * @example padSequences([[[1, 2]], [[3, 4], [5, 6]]]) // x [2, 2, 2], lengths [1, 2]
 * @param sequences [time, features] or [time] each; Int32Arrays (tokens) give an i32 batch
 * @param options   `value` 0; `padding` "post"
 * @throws ShapeError when sequences differ in anything but time; OptionError for an unknown or bad option
 */
export function padSequences(sequences: readonly Int32Array[], options?: PadOptions): Padded<Int32Array>;
export function padSequences(sequences: readonly TensorLike[], options?: PadOptions): Padded;
export function padSequences(
  sequences: readonly TensorLike[],
  options: PadOptions = {},
): Padded<Float32Array | Int32Array> {
  const where = "padSequences()";
  checkOptions(where, options, ["value", "padding"]);
  const value = real(where, "value", options.value ?? 0, "(-inf, inf)");
  const padding = oneOf(where, "padding", options.padding ?? "post", ["post", "pre"] as const);
  if (!Array.isArray(sequences))
    throw new ShapeError(`${where}: expected an array of sequences, got ${shown(sequences)}`);
  const missing = firstHole(sequences);
  if (missing >= 0) throw new ShapeError(`${where}: sequence ${missing} is missing`);
  const tokens = sequences.length > 0 && sequences.every(isTokens);
  const rows = sequences.map((s, i) =>
    tokens ? toTensor(s, `${where}: sequence ${i}`, "int32") : toTensor(s, `${where}: sequence ${i}`),
  );
  const step = stepShape(where, rows);
  const stride = step.reduce((product, n) => product * n, 1);
  const lengths = rows.map(({ shape }) => shape[0]);
  const longest = lengths.reduce((a, b) => Math.max(a, b), 0);
  const data = new (tokens ? Int32Array : Float32Array)(rows.length * longest * stride).fill(value);
  rows.forEach((row, b) => {
    const skipped = padding === "pre" ? longest - lengths[b] : 0;
    data.set(row.data, (b * longest + skipped) * stride);
  });
  return { x: { shape: [rows.length, longest, ...step], data }, lengths };
}

function isTokens(sequence: TensorLike): boolean {
  return sequence instanceof Int32Array || (isTensor(sequence) && sequence.data instanceof Int32Array);
}

/** The shape of one time step, which all sequences share; `[]` does not show one, so it fits any. */
function stepShape(where: string, rows: readonly Tensor<Float32Array | Int32Array>[]): number[] {
  const [first, ...others] = rows
    .map(({ shape }, i) => ({ shape, i }))
    .filter(({ shape }) => shape[0] !== 0 || shape.length > 1);
  for (const { shape, i } of first ? [first, ...others] : [])
    if (shape.length === 0 || shapeText(shape.slice(1)) !== shapeText(first.shape.slice(1)))
      throw new ShapeError(
        `${where}: sequence ${i}: expected [${["time", ...first.shape.slice(1)].join(", ")}] as in sequence ${first.i}, got ${shapeText(shape)}`,
      );
  return first ? first.shape.slice(1) : [];
}
