import { OptionError } from "../core/errors.ts";
import { integer, oneOf } from "../core/options.ts";
import { classScores, meanScores, microScores } from "./class-scores.ts";
import { type ClassOptions, checkClassOptions, classDefaults } from "./classes.ts";
import { type ConfusionMatrix, pairCounts } from "./confusion-matrix.ts";
import { defineMetric, type MetricFunction } from "./metric.ts";

/** "binary": the scores of `positive`; the others: over all classes. */
export type Average = "binary" | "macro" | "micro" | "weighted";

export interface PrecisionRecallOptions extends ClassOptions {
  average?: Average;
  /** The class that counts with average "binary". */
  positive?: number;
}

const defaults: Required<PrecisionRecallOptions> = { ...classDefaults, average: "binary", positive: 1 };

function check(where: string, options: Required<PrecisionRecallOptions>): void {
  checkClassOptions(where, options);
  oneOf(where, "average", options.average, ["binary", "macro", "micro", "weighted"] as const);
  integer(where, "positive", options.positive, -(2 ** 31));
}

function averaged(where: string, confusion: ConfusionMatrix, { average, positive }: Required<PrecisionRecallOptions>) {
  if (average === "micro") return microScores(confusion);
  if (average !== "binary") return meanScores(confusion, average);
  const { labels } = confusion;
  const at = labels.indexOf(positive);
  if (labels.length > 2 || (labels.length === 2 && at < 0))
    throw new OptionError(
      `${where}: "average" "binary" needs two classes, one of them ${positive}, got classes ${labels.join(", ")}; ` +
        `choose "macro", "micro" or "weighted"`,
    );
  return at < 0 ? { precision: 0, recall: 0, f1: 0 } : classScores(confusion)[at];
}

function define(score: "precision" | "recall" | "f1"): MetricFunction<PrecisionRecallOptions> {
  return defineMetric(score, defaults, check, (where, options) => {
    const counts = pairCounts(where, options);
    return { add: counts.add, result: () => averaged(where, counts.result(), options)[score] };
  });
}

/**
 * True positives among all that were predicted positive; 0 if there are none.
 *
 * @example precision([0, 1, 1, 0], [0, 1, 1, 1]) // 0.667
 * @param options `average` "binary" (of class `positive` 1), "macro" (mean over classes), "weighted" (by support) or
 *   "micro" (pooled); `fromLogits` false; `threshold` 0.5, or 0 with `fromLogits`, for single columns
 * @throws OptionError for an unknown or bad option, and from `result` for "binary" of more than two classes;
 *   ShapeError when rows or classes do not fit
 */
export const precision = define("precision");

/**
 * True positives among all that are positive; 0 if there are none. Options and errors as `precision`.
 *
 * @example recall([0, 1, 1, 0], [0, 1, 0, 1]) // 0.5
 */
export const recall = define("recall");

/**
 * Harmonic mean of precision and recall; 0 if both are 0. Options and errors as `precision`; averages are
 * averages of the classes' F1.
 *
 * @example f1([0, 1, 1, 0], [0, 1, 1, 1]) // 0.8
 */
export const f1 = define("f1");
