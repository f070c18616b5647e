import {
  type ClassOptions,
  checkClassOptions,
  classDefaults,
  predictedClass,
  predictsLabels,
  trueClass,
} from "./classes.ts";
import { type Batch, defineMetric } from "./metric.ts";

export interface ConfusionMatrix {
  /** matrix[i][j]: rows, by weight, of class labels[i] that were taken for labels[j]. */
  matrix: number[][];
  /** Classes of the matrix's rows and columns, ascending. */
  labels: number[];
}

/** Counts of (true, predicted) pairs. */
export interface Counts {
  add(batch: Batch): void;
  result(): ConfusionMatrix;
}

/** Counts for any labels: small or large, known before or not. */
export function pairCounts(where: string, options: Required<ClassOptions>): Counts {
  const counts = new Map<number, Map<number, number>>();
  const seen = new Set<number>();
  return {
    add(batch) {
      // Columns say how many classes there are, whether they occur or not; labels do not.
      const known = predictsLabels(batch, options) ? 0 : Math.max(2, batch.n);
      for (let label = 0; label < known; label++) seen.add(label);
      for (let row = 0; row < batch.rows; row++) {
        const weight = batch.weight(row);
        if (weight === 0) continue;
        const actual = trueClass(where, batch, row);
        const predicted = predictedClass(batch, row, options);
        seen.add(actual).add(predicted);
        const line = counts.get(actual) ?? new Map<number, number>();
        counts.set(actual, line.set(predicted, (line.get(predicted) ?? 0) + weight));
      }
    },
    result() {
      const labels = [...seen].sort((a, b) => a - b);
      return { labels, matrix: labels.map((i) => labels.map((j) => counts.get(i)?.get(j) ?? 0)) };
    },
  };
}

/**
 * How often each class was taken for each. The classes are all columns of the
 * predictions, or, where predictions are labels, those that occur.
 *
 * @example confusionMatrix([0, 1, 1], [0, 1, 0]) // { matrix: [[1, 0], [1, 1]], labels: [0, 1] }
 * @param options `fromLogits` false; `threshold` 0.5, or 0 with `fromLogits`, for single columns
 * @throws OptionError for an unknown or bad option; ShapeError when rows or classes do not fit
 */
export const confusionMatrix = defineMetric<ClassOptions, ConfusionMatrix>(
  "confusionMatrix",
  classDefaults,
  checkClassOptions,
  pairCounts,
);
