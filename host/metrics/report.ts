import { OptionError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import type { TensorLike } from "../core/tensor.ts";
import { classScores, meanScores, microScores, type Scores } from "./class-scores.ts";
import { confusionMatrix } from "./confusion-matrix.ts";

export interface ClassificationReport {
  /** One a class, ascending by label; `label` is the class's name if names were given. */
  classes: (Scores & { label: string })[];
  accuracy: number;
  /** Means over classes. */
  macro: Scores;
  /** Means over classes, by support. */
  weighted: Scores;
}

/**
 * Precision, recall, F1 and support of every class, and their averages.
 *
 * @example classificationReport([0, 1, 1], [0, 1, 0], ["no", "yes"]).classes[1].recall // 0.5
 * @param yTrue  labels [rows] or one-hot [rows, n]
 * @param yPred  labels [rows], or scores [rows, n]
 * @param labels names of classes 0, 1, ...; their numbers unless given
 * @throws OptionError for a class without a name; ShapeError when rows or classes do not fit
 */
export function classificationReport(
  yTrue: TensorLike,
  yPred: TensorLike,
  labels?: readonly string[],
): ClassificationReport {
  const confusion = confusionMatrix(yTrue, yPred);
  const nameless = labels && confusion.labels.find((label) => !(label >= 0 && label < labels.length));
  if (nameless !== undefined)
    throw new OptionError(`classificationReport(): "labels" names no class ${nameless}, got ${shown(labels)}`);
  return {
    classes: classScores(confusion).map((s, i) => ({
      label: labels ? labels[confusion.labels[i]] : String(confusion.labels[i]),
      ...s,
    })),
    accuracy: microScores(confusion).recall,
    macro: meanScores(confusion, "macro"),
    weighted: meanScores(confusion, "weighted"),
  };
}
