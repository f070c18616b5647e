import { OptionError, ShapeError } from "../core/errors.ts";
import { exp, log } from "../core/math.ts";
import { checkOptions, flag, integer, shown } from "../core/options.ts";
import { shapeText, type TensorLike, toTensor } from "../core/tensor.ts";

export interface CtcDecodeOptions {
  /** The class that stands for no label. Default 0. */
  blank?: number;
  /** Steps of each sequence. Default all. */
  lengths?: readonly number[] | Int32Array;
  /** Posteriors are logits or log-probabilities. Default false. */
  fromLogits?: boolean;
}

/** What a sequence of steps says. */
export interface Decoded {
  readonly labels: number[];
  /** Logarithm of its probability; with a language model, of what the search maximises. */
  readonly score: number;
}

/** Checked posteriors: ln p of every class, a row a step. */
export interface Posteriors {
  readonly batch: number;
  readonly classes: number;
  readonly blank: number;
  /** Steps of sequence b. */
  steps(b: number): number;
  /** Writes ln p of step t of sequence b. */
  read(b: number, t: number, into: Float64Array): void;
}

/**
 * What decoders start from.
 *
 * @param own names of the decoder's own options
 * @throws ShapeError, OptionError for posteriors and options that do not fit
 */
export function checkPosteriors(
  where: string,
  value: TensorLike,
  options: CtcDecodeOptions,
  own: readonly string[] = [],
): Posteriors {
  checkOptions(where, options, ["blank", "lengths", "fromLogits", ...own]);
  const { shape, data } = toTensor(value, `${where}: posteriors`);
  if (shape.length !== 3)
    throw new ShapeError(`${where}: expected posteriors [batch, time, classes], got ${shapeText(shape)}`);
  const [batch, time, classes] = shape;
  const blank = integer(where, "blank", options.blank ?? 0, 0, Math.max(0, classes - 1));
  const fromLogits = flag(where, "fromLogits", options.fromLogits ?? false);
  const { lengths } = options;
  if (lengths !== undefined && !((Array.isArray(lengths) || lengths instanceof Int32Array) && lengths.length === batch))
    throw new ShapeError(`${where}: expected one length for each of ${batch} sequences, got ${shown(lengths)}`);
  for (let b = 0; lengths && b < batch; b++) integer(where, `lengths[${b}]`, lengths[b], 0, time);
  return {
    batch,
    classes,
    blank,
    steps: (b) => lengths?.[b] ?? time,
    read(b, t, into) {
      const from = (b * time + t) * classes;
      for (let c = 0; c < classes; c++) {
        const v = data[from + c];
        if (Number.isNaN(v) || v === Infinity || (v < 0 && !fromLogits))
          throw new OptionError(
            `${where}: ${v} at sequence ${b}, step ${t}, class ${c}; expected ${fromLogits ? "numbers" : "probabilities (fromLogits: true takes logits)"}`,
          );
        into[c] = fromLogits ? v : log(v);
      }
      if (fromLogits) normalise(into);
    },
  };
}

/** Logits to logarithms of probabilities. */
function normalise(row: Float64Array): void {
  const largest = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const v of row) sum += exp(v - largest);
  const by = largest + log(sum);
  for (let c = 0; c < row.length; c++) row[c] -= by;
}
