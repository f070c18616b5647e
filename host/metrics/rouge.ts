import { ngrams, overlap } from "./ngrams.ts";
import { defineTextMetric, type References } from "./text-metric.ts";

/** How much of a prediction is in the reference, how much of the reference in the prediction, and both. */
export interface RougeScore {
  readonly precision: number;
  readonly recall: number;
  /** 2 precision recall / (precision + recall) */
  readonly f1: number;
}

export interface RougeScores {
  /** Single words. */
  readonly rouge1: RougeScore;
  /** Pairs of words. */
  readonly rouge2: RougeScore;
  /** The longest common subsequence of words. */
  readonly rougeL: RougeScore;
}

type Kind = keyof RougeScores;
type Counter = (reference: readonly string[], prediction: readonly string[]) => RougeScore;

const KINDS: Record<Kind, Counter> = {
  rouge1: (reference, prediction) => ofNgrams(reference, prediction, 1),
  rouge2: (reference, prediction) => ofNgrams(reference, prediction, 2),
  rougeL: (reference, prediction) => scored(commonLength(reference, prediction), reference.length, prediction.length),
};

/**
 * ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, each the mean over all texts. Of
 * several references that with the largest F counts, for each measure its own.
 *
 * The definition is that of the package rouge-score, without stemming: texts
 * are in lower case, words are runs of a to z and digits. The measures are those
 * of Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
 *
 * @example rouge("police killed the gunman", "police kill the gunman").rougeL.f1 // 0.75
 * @param yTrue one reference a text, or a list of several
 * @throws ShapeError unless there is a text in yPred for each entry of yTrue
 */
export const rouge = defineTextMetric<Record<string, never>, RougeScores, References>(
  "rouge",
  true,
  {},
  () => {},
  () => {
    const sums: Record<Kind, number[]> = { rouge1: [0, 0, 0], rouge2: [0, 0, 0], rougeL: [0, 0, 0] };
    let texts = 0;
    const mean = ([precision, recall, f1]: number[]): RougeScore => ({
      precision: precision / texts,
      recall: recall / texts,
      f1: f1 / texts,
    });
    return {
      add(references, hypothesis) {
        texts++;
        const prediction = wordsOf(hypothesis);
        const split = references.map(wordsOf);
        for (const [kind, count] of Object.entries(KINDS) as [Kind, Counter][]) {
          const best = split.map((reference) => count(reference, prediction)).reduce((a, b) => (b.f1 > a.f1 ? b : a));
          sums[kind] = [best.precision, best.recall, best.f1].map((v, i) => sums[kind][i] + v);
        }
      },
      result: () => ({ rouge1: mean(sums.rouge1), rouge2: mean(sums.rouge2), rougeL: mean(sums.rougeL) }),
    };
  },
);

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

function ofNgrams(reference: readonly string[], prediction: readonly string[], n: number): RougeScore {
  const common = overlap(ngrams(reference, n), ngrams(prediction, n));
  return scored(common, reference.length - n + 1, prediction.length - n + 1);
}

function scored(common: number, inReference: number, inPrediction: number): RougeScore {
  const precision = common / Math.max(1, inPrediction);
  const recall = common / Math.max(1, inReference);
  return { precision, recall, f1: common > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

/** Length of the longest common subsequence. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  const row = new Uint32Array(b.length + 1);
  for (const word of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j];
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row[b.length];
}
