import { ShapeError } from "../core/errors.ts";
import { integer } from "../core/options.ts";
import { trueClass } from "./classes.ts";
import { defineMetric } from "./metric.ts";

/**
 * The part of rows whose class is among the k with the highest scores. Of
 * classes with equal scores as many count as would be reached in the best
 * order, as in Keras.
 *
 * @example topKAccuracy([2, 0], [[0.2, 0.5, 0.3], [0.1, 0.6, 0.3]], { k: 2 }) // 0.5
 * @param options `k` 5
 * @throws OptionError for an unknown option or k < 1; ShapeError when rows or classes do not fit
 */
export const topKAccuracy = defineMetric<{ k?: number }>(
  "topKAccuracy",
  { k: 5 },
  (where, { k }) => integer(where, "k", k, 1),
  (where, { k }) => {
    let right = 0;
    let total = 0;
    return {
      add(batch) {
        const { n, yPred } = batch;
        if (n < 2) throw new ShapeError(`${where}: expected the scores of two or more classes in a row, got ${n}`);
        for (let row = 0; row < batch.rows; row++) {
          const weight = batch.weight(row);
          if (weight === 0) continue;
          total += weight;
          const own = yPred.data[row * n + trueClass(where, batch, row)];
          let higher = 0;
          for (let c = 0; c < n; c++) if (yPred.data[row * n + c] > own) higher++;
          if (higher < k && !Number.isNaN(own)) right += weight;
        }
      },
      result: () => right / total,
    };
  },
);
