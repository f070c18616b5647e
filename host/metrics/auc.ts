import { ShapeError } from "../core/errors.ts";
import { exp } from "../core/math.ts";
import { flag } from "../core/options.ts";
import { argmax, trueClass } from "./classes.ts";
import { defineMetric } from "./metric.ts";

/**
 * Area under the ROC curve of one class: the chance that a positive scores
 * above a negative, a tie counting half. Exact (Mann and Whitney's statistic).
 *
 * @param scores   f64[rows]
 * @param weights  one a row, none 0
 * @param positive whether a row is of the class
 * @returns NaN unless both sides occur
 */
function rankArea(scores: Float64Array, weights: readonly number[], positive: (row: number) => boolean): number {
  const order = Uint32Array.from(scores, (_, row) => row).sort((a, b) => scores[a] - scores[b]);
  let positives = 0;
  let negatives = 0; // those below the current score
  let area = 0;
  for (let i = 0; i < order.length; ) {
    const score = scores[order[i]];
    let [tiedPositives, tiedNegatives] = [0, 0];
    for (; i < order.length && scores[order[i]] === score; i++)
      if (positive(order[i])) tiedPositives += weights[order[i]];
      else tiedNegatives += weights[order[i]];
    area += tiedPositives * (negatives + tiedNegatives / 2);
    positives += tiedPositives;
    negatives += tiedNegatives;
  }
  return area / (positives * negatives);
}

/** Row of logits [n] as probabilities. */
function softmax(logits: ArrayLike<number>, row: number, n: number): number[] {
  const largest = logits[row * n + argmax(logits, row, n)];
  const powers = Array.from({ length: n }, (_, c) => exp(logits[row * n + c] - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / total);
}

/**
 * Area under the ROC curve; for n columns the mean over classes of each
 * against the rest, leaving out those that all rows or no rows belong to. NaN
 * if none is left, and for scores that are not numbers. Keeps all scores until
 * `reset`: 8 bytes each.
 *
 * @example auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) // 0.75
 * @param options `fromLogits` false: scores of several classes are compared across rows, so logits take a softmax first
 * @throws OptionError for an unknown option; ShapeError when rows or classes do not fit
 */
export const auc = defineMetric<{ fromLogits?: boolean }>(
  "auc",
  { fromLogits: false },
  (where, { fromLogits }) => flag(where, "fromLogits", fromLogits),
  (where, { fromLogits }) => {
    let columns = 0;
    const scores: number[] = []; // [rows, columns]
    const classes: number[] = [];
    const weights: number[] = [];
    return {
      add(batch) {
        const { n, yPred } = batch;
        columns ||= n;
        if (n !== columns) throw new ShapeError(`${where}: expected ${columns} scores a row as before, got ${n}`);
        for (let row = 0; row < batch.rows; row++) {
          const weight = batch.weight(row);
          if (weight === 0) continue;
          const label = trueClass(where, batch, row);
          if (n === 1 && label !== 0 && label !== 1)
            throw new ShapeError(`${where}: expected labels 0 and 1 for a single score, got ${label} in row ${row}`);
          classes.push(label);
          weights.push(weight);
          if (fromLogits && n > 1) scores.push(...softmax(yPred.data, row, n));
          else for (let c = 0; c < n; c++) scores.push(yPred.data[row * n + c]);
        }
      },
      result() {
        if (scores.some(Number.isNaN)) return Number.NaN;
        const area = (column: number, label: number) =>
          rankArea(
            Float64Array.from(classes, (_, row) => scores[row * columns + column]),
            weights,
            (row) => classes[row] === label,
          );
        if (columns <= 1) return area(0, 1);
        const areas = Array.from({ length: columns }, (_, c) => area(c, c)).filter((a) => !Number.isNaN(a));
        return areas.reduce((a, b) => a + b, 0) / areas.length;
      },
    };
  },
);
