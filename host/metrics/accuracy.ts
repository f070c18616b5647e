import { type ClassOptions, checkClassOptions, classDefaults, predictedClass, trueClass } from "./classes.ts";
import { defineMetric } from "./metric.ts";

/**
 * The part of rows whose class is right. What a class is comes from the
 * shapes: the largest of n columns, one column against a threshold, or a label.
 *
 * @example accuracy([0, 1, 1], [0.2, 0.9, 0.4]) // 0.667
 * @param options `fromLogits` false; `threshold` 0.5, or 0 with `fromLogits`, for single columns
 * @throws OptionError for an unknown or bad option; ShapeError when rows or classes do not fit
 */
export const accuracy = defineMetric<ClassOptions>("accuracy", classDefaults, checkClassOptions, (where, options) => {
  let right = 0;
  let total = 0;
  return {
    add(batch) {
      for (let row = 0; row < batch.rows; row++) {
        const weight = batch.weight(row);
        if (weight === 0) continue;
        total += weight;
        if (trueClass(where, batch, row) === predictedClass(batch, row, options)) right += weight;
      }
    },
    result: () => right / total,
  };
});
