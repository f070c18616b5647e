import { ShapeError } from "../core/errors.ts";
import { exp, log } from "../core/math.ts";
import { flag } from "../core/options.ts";
import { argmax, trueClass } from "./classes.ts";
import { type Batch, defineMetric, type MetricFunction } from "./metric.ts";

/** log p of every column is score - offset, scores being logits. */
function logSumExp(logits: ArrayLike<number>, row: number, n: number): number {
  const largest = logits[row * n + argmax(logits, row, n)];
  let sum = 0;
  for (let c = 0; c < n; c++) sum += exp(logits[row * n + c] - largest);
  return largest + log(sum);
}

/** -Σ t log p over the columns of a row; columns with t = 0 do not count, whatever their p. */
function crossEntropy(where: string, batch: Batch, row: number, fromLogits: boolean): number {
  const { rows, n, yTrue, yPred } = batch;
  const offset = fromLogits ? logSumExp(yPred.data, row, n) : 0;
  const surprise = (c: number) => {
    const score = yPred.data[row * n + c];
    return fromLogits ? offset - score : -log(score);
  };
  if (yTrue.data.length === rows) return surprise(trueClass(where, batch, row));
  let sum = 0;
  for (let c = 0; c < n; c++) {
    const t = yTrue.data[row * n + c];
    if (t !== 0) sum += t * surprise(c);
  }
  return sum;
}

interface PerplexityOptions {
  /** Predictions are logits. Default false. */
  fromLogits?: boolean;
}

/** What `finish` makes of the mean cross-entropy of all rows. */
function define(name: string, finish: (mean: number) => number): MetricFunction<PerplexityOptions> {
  return defineMetric<PerplexityOptions>(
    name,
    { fromLogits: false },
    (where, { fromLogits }) => flag(where, "fromLogits", fromLogits),
    (where, { fromLogits }) => {
      let sum = 0;
      let total = 0;
      return {
        add(batch) {
          if (batch.n < 2) throw new ShapeError(`${where}: expected two or more classes in a row, got ${batch.n}`);
          for (let row = 0; row < batch.rows; row++) {
            const weight = batch.weight(row);
            if (weight === 0) continue;
            total += weight;
            sum += weight * crossEntropy(where, batch, row, fromLogits);
          }
        },
        result: () => finish(sum / total),
      };
    },
  );
}

/**
 * e to the mean cross-entropy: how many equally likely classes would surprise
 * as much. Infinity where a true class had probability 0.
 *
 * @example perplexity([0, 1], [[0.5, 0.5], [0.5, 0.5]]) // 2
 * @param options `fromLogits` false
 * @throws OptionError for an unknown option; ShapeError when rows or classes do not fit
 */
export const perplexity = define("perplexity", exp);

/**
 * The mean cross-entropy in bits, of models whose classes are characters: the
 * logarithm of the perplexity to base 2. Infinity where a true class had
 * probability 0.
 *
 * @example bitsPerCharacter([0, 1], [[0.5, 0.5], [0.25, 0.75]]) // 0.708
 * @param options `fromLogits` false
 * @throws OptionError for an unknown option; ShapeError when rows or classes do not fit
 */
export const bitsPerCharacter = define("bitsPerCharacter", (mean) => mean / Math.LN2);
