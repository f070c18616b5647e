import { OptionError, ShapeError } from "../core/errors.ts";
import { shown, withDefaults } from "../core/options.ts";
import { count, isTensor, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";

/**
 * What all metrics have in common. A metric sees a batch at a time and keeps
 * sums, never averages of averages. Sums are in double and in the order of the
 * rows.
 */

/** Values f32, or class labels i32. */
export type Values = Tensor<Float32Array | Int32Array>;

/** Sums over batches; of texts where Input is that. */
export interface MetricState<Result = number, Input = Values> {
  /**
   * Adds a batch.
   *
   * @param yTrue   labels [rows], or one-hot, probabilities or real values [rows, n]; where the metric reads
   *                sequences, their labels [batch, most], -1 behind the last
   * @param yPred   what the model put out, [rows, n]; any leading axes count as rows.
   *                One axis is n = 1. i32 are predicted labels, [rows]; with sequences [batch, time, n]
   * @param weights one a row, 1 unless given; rows of weight 0 (padding) are not looked at
   * @throws ShapeError when rows or classes do not fit
   */
  update(yTrue: Input, yPred: Input, weights?: ArrayLike<number>): void;
  /** The metric over all batches since the last reset; NaN for the mean of no rows. */
  result(): Result;
  reset(): void;
}

/** A metric with its options: JSON, but for `create`. */
export interface Metric<Result = number, Input = Values> {
  readonly name: string;
  readonly options: object;
  /** What it compares: rows of the output, unless it says something else. */
  readonly reads?: "sequences" | "texts";
  create(): MetricState<Result, Input>;
}

/**
 * One export for both uses: with options, or nothing, it makes a metric for
 * `compile`; with targets and predictions it evaluates them at once.
 */
export interface MetricFunction<Options extends object, Result = number> {
  (options?: Options): Metric<Result>;
  (yTrue: TensorLike, yPred: TensorLike, options?: Options): Result;
}

/** Sums and their result, before anyone has named them. */
interface Sums<Result> {
  add(batch: Batch): void;
  result(): Result;
}

/** A batch whose rows have been counted. */
export interface Batch {
  rows: number;
  /** Predictions a row. */
  n: number;
  yTrue: Values;
  yPred: Values;
  /** The weight of a row. */
  weight(row: number): number;
}

/**
 * A metric from what is particular about it.
 *
 * @param defaults every option with its default; others are refused
 * @param check    throws OptionError for an option out of its range
 * @param create   fresh sums
 */
export function defineMetric<Options extends object, Result = number>(
  name: string,
  defaults: Required<Options>,
  check: (where: string, options: Required<Options>) => void,
  create: (where: string, options: Required<Options>) => Sums<Result>,
): MetricFunction<Options, Result> {
  const where = `${name}()`;

  function metric(options?: Options): Metric<Result> {
    const all = withDefaults<Required<Options>>(where, options, defaults);
    check(where, all);
    return { name, options: all, create: () => state(where, () => create(where, all)) };
  }

  function whole(yTrue: TensorLike, yPred: TensorLike, options?: Options): Result {
    const sums = metric(options).create();
    sums.update(values(yTrue, `${where}: yTrue`), values(yPred, `${where}: yPred`));
    return sums.result();
  }

  return ((...args: [Options?] | [TensorLike, TensorLike, Options?]) => {
    if (args.length > 1) return whole(...(args as [TensorLike, TensorLike, Options?]));
    if (isArrayLike(args[0])) throw new OptionError(`${where}: expected (yTrue, yPred), got targets only`);
    return metric(...(args as [Options?]));
  }) as MetricFunction<Options, Result>;
}

function state<Result>(where: string, fresh: () => Sums<Result>): MetricState<Result> {
  let sums = fresh();
  return {
    update: (yTrue, yPred, weights) => sums.add(batch(where, yTrue, yPred, weights)),
    result: () => sums.result(),
    reset() {
      sums = fresh();
    },
  };
}

function batch(where: string, yTrue: Values, yPred: Values, weights?: ArrayLike<number>): Batch {
  const labels = yPred.data instanceof Int32Array;
  const n = labels || yPred.shape.length < 2 ? 1 : yPred.shape[yPred.shape.length - 1];
  const rows = labels || n === 1 ? yPred.data.length : count(yPred.shape.slice(0, -1));
  if (yTrue.data.length !== rows && yTrue.data.length !== rows * n)
    throw new ShapeError(
      `${where}: expected ${n > 1 ? `labels [${rows}] or values [${rows}, ${n}]` : `${rows} targets`} ` +
        `for predictions ${shapeText(yPred.shape)}, got ${shapeText(yTrue.shape)}`,
    );
  if (weights && weights.length !== rows)
    throw new ShapeError(`${where}: expected ${rows} weights, one a row, got ${weights.length}`);
  return { rows, n, yTrue, yPred, weight: weights ? (row) => weights[row] : () => 1 };
}

function isArrayLike(value: unknown): boolean {
  return Array.isArray(value) || ArrayBuffer.isView(value) || isTensor(value);
}

/**
 * A whole array as metrics take it: one axis of whole numbers is labels i32,
 * anything else values f32.
 */
function values(value: TensorLike, where: string): Values {
  if (!isArrayLike(value)) throw new ShapeError(`${where}: expected a tensor or an array, got ${shown(value)}`);
  if (value instanceof Int32Array || (isTensor(value) && value.data instanceof Int32Array))
    return toTensor(value, where, "int32");
  const made = toTensor(value, where);
  return made.shape.length === 1 && made.data.every((x) => x === (x | 0)) ? toTensor(made, where, "int32") : made;
}
