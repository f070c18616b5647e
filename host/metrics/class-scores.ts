import type { ConfusionMatrix } from "./confusion-matrix.ts";

/**
 * Precision, recall and F1 from a confusion matrix. A score whose
 * denominator is 0 is 0.
 */

export interface Scores {
  /** True positives among all that were predicted positive. */
  precision: number;
  /** True positives among all that are positive. */
  recall: number;
  /** Harmonic mean of precision and recall. */
  f1: number;
  /** Rows, by weight, that are positive. */
  support: number;
}

function ratio(a: number, b: number): number {
  return b === 0 ? 0 : a / b;
}

function scores(truePositive: number, predicted: number, actual: number): Scores {
  return {
    precision: ratio(truePositive, predicted),
    recall: ratio(truePositive, actual),
    f1: ratio(2 * truePositive, predicted + actual),
    support: actual,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** The scores of every class, in the order of the labels. */
export function classScores({ matrix }: ConfusionMatrix): Scores[] {
  return matrix.map((line, i) => scores(line[i], sum(matrix.map((other) => other[i])), sum(line)));
}

/** All classes pooled; as each row has one class, all three are the accuracy. */
export function microScores({ matrix }: ConfusionMatrix): Scores {
  const all = sum(matrix.map(sum));
  return scores(sum(matrix.map((line, i) => line[i])), all, all);
}

/** Means over classes; classes that neither occur nor are predicted do not count. */
export function meanScores(confusion: ConfusionMatrix, weighting: "macro" | "weighted"): Scores {
  const present = classScores(confusion).filter((_, i) =>
    confusion.matrix.some((line, j) => line[i] > 0 || confusion.matrix[i][j] > 0),
  );
  const support = sum(present.map((s) => s.support));
  const mean = (score: "precision" | "recall" | "f1") =>
    weighting === "macro"
      ? ratio(sum(present.map((s) => s[score])), present.length)
      : ratio(sum(present.map((s) => s[score] * s.support)), support);
  return { precision: mean("precision"), recall: mean("recall"), f1: mean("f1"), support };
}
