import { ShapeError } from "../core/errors.ts";
import { shapeText } from "../core/tensor.ts";
import { defineMetric, type MetricFunction } from "./metric.ts";

/** The mean over rows and columns of `error`, and what `finish` makes of it. */
function define(
  name: string,
  error: (difference: number) => number,
  finish = (mean: number) => mean,
): MetricFunction<Record<string, never>> {
  return defineMetric(
    name,
    {},
    () => {},
    (where) => {
      let sum = 0;
      let total = 0;
      return {
        add({ rows, n, yTrue, yPred, weight }) {
          if (yTrue.data.length !== yPred.data.length)
            throw new ShapeError(`${where}: expected targets ${shapeText(yPred.shape)}, got ${shapeText(yTrue.shape)}`);
          for (let row = 0; row < rows; row++) {
            const w = weight(row);
            if (w === 0) continue;
            total += w * n;
            for (let i = row * n; i < (row + 1) * n; i++) sum += w * error(yPred.data[i] - yTrue.data[i]);
          }
        },
        result: () => finish(sum / total),
      };
    },
  );
}

/**
 * Mean of |prediction - target|.
 *
 * @example meanAbsoluteError([1, 2], [1.5, 4]) // 1.25
 * @throws ShapeError when targets and predictions differ in number
 */
export const meanAbsoluteError = define("meanAbsoluteError", Math.abs);

/**
 * Mean of (prediction - target)².
 *
 * @example meanSquaredError([1, 2], [1.5, 4]) // 2.125
 * @throws ShapeError when targets and predictions differ in number
 */
export const meanSquaredError = define("meanSquaredError", (d) => d * d);

/**
 * Square root of the mean of (prediction - target)², over all batches.
 *
 * @example rootMeanSquaredError([1, 2], [1.5, 4]) // 1.458
 * @throws ShapeError when targets and predictions differ in number
 */
export const rootMeanSquaredError = define("rootMeanSquaredError", (d) => d * d, Math.sqrt);
