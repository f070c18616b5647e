import { ShapeError } from "../core/errors.ts";
import { flag, real } from "../core/options.ts";
import type { Batch } from "./metric.ts";

/**
 * From predictions to classes: the largest of n columns, or, for one column,
 * which side of the threshold it is on.
 */

/** Options of every metric that compares classes. */
export interface ClassOptions {
  /** Predictions are logits: a single column is class 1 above 0, not above 0.5. */
  fromLogits?: boolean;
  /** A single column is class 1 above this, 0.5 (or 0 for logits) unless given. */
  threshold?: number | null;
}

export const classDefaults: Required<ClassOptions> = { fromLogits: false, threshold: null };

export function checkClassOptions(where: string, { fromLogits, threshold }: Required<ClassOptions>): void {
  flag(where, "fromLogits", fromLogits);
  if (threshold !== null) real(where, "threshold", threshold, "(-inf, inf)");
}

/** Column of the largest value in a row; the first of equals. */
export function argmax(data: ArrayLike<number>, row: number, n: number): number {
  let best = 0;
  for (let c = 1; c < n; c++) if (data[row * n + c] > data[row * n + best]) best = c;
  return best;
}

/**
 * The true class of a row: its label, or the column of its largest target.
 *
 * @throws ShapeError for a label that is not a whole number, or not one of the n columns
 */
export function trueClass(where: string, { rows, n, yTrue }: Batch, row: number): number {
  if (n > 1 && yTrue.data.length !== rows) return argmax(yTrue.data, row, n);
  const label = yTrue.data[row];
  if (!Number.isInteger(label) || (n > 1 && (label < 0 || label >= n)))
    throw new ShapeError(
      `${where}: expected ${n > 1 ? `labels from 0 to ${n - 1}` : "labels, whole numbers"}, got ${label} in row ${row}`,
    );
  return label;
}

/** Whether predictions are labels; options that speak of scores say that they are not. */
export function predictsLabels({ yPred }: Batch, { fromLogits, threshold }: Required<ClassOptions>): boolean {
  return yPred.data instanceof Int32Array && !fromLogits && threshold === null;
}

/** The predicted class of a row. */
export function predictedClass(batch: Batch, row: number, options: Required<ClassOptions>): number {
  const { n, yPred } = batch;
  if (n > 1) return argmax(yPred.data, row, n);
  if (predictsLabels(batch, options)) return yPred.data[row];
  return yPred.data[row] > (options.threshold ?? (options.fromLogits ? 0 : 0.5)) ? 1 : 0;
}
