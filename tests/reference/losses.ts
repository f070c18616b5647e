import { softplus } from "./math.ts";
import { logSoftmax } from "./softmax.ts";

/** Losses of rows of a dense [rows, n]: the sum with all weights, and the denominator. */
export type Loss = { losses: number[]; denominator: number };

type Numbers = ArrayLike<number>;

export type Weighting = { rows: number; n: number; valid?: Numbers; weights?: Numbers; mean: boolean };

function weigh(
  { rows, valid, weights, mean }: Weighting,
  counted: (i: number) => number,
  loss: (i: number) => number,
): Loss {
  const losses: number[] = [];
  let denominator = 0;
  for (let i = 0; i < rows; i++) {
    const counts = valid?.[i] !== 0 && counted(i) >= 0;
    losses.push(counts ? loss(i) * (weights ? weights[i] : 1) : 0);
    if (counts) denominator += counted(i);
  }
  return { losses, denominator: mean ? denominator : 1 };
}

export type Classes = {
  labels?: Numbers;
  targets?: Numbers;
  classWeights?: Numbers;
  smoothing?: number;
  ignoreIndex?: number;
};

/** Cross-entropy of log-probabilities `logP` [rows, n], PyTorch's weights and smoothing. */
function crossEntropy(logP: (i: number) => Numbers, w: Weighting, c: Classes): Loss {
  const { labels, targets, classWeights, smoothing = 0, ignoreIndex = -100 } = c;
  const weightOf = (label: number) => (classWeights ? classWeights[label] : 1);
  const ignored = (i: number) => labels?.[i] === ignoreIndex;
  return weigh(
    w,
    (i) => (ignored(i) ? -1 : labels ? weightOf(labels[i]) : 1),
    (i) => {
      const l = logP(i);
      let loss = 0;
      for (let j = 0; j < w.n; j++) {
        const t = labels ? Number(labels[i] === j) : targets![i * w.n + j];
        loss -= weightOf(j) * (t * (1 - smoothing) + smoothing / w.n) * l[j];
      }
      return loss;
    },
  );
}

export function crossEntropyLogits(x: Float64Array, w: Weighting, c: Classes): Loss {
  return crossEntropy((i) => logSoftmax(x.subarray(i * w.n, (i + 1) * w.n)), w, c);
}

/** Keras's clip, its limits as float32. */
export function clip(p: number): number {
  return Math.min(Math.max(p, Math.fround(1e-7)), Math.fround(1 - 1e-7));
}

export function crossEntropyProbabilities(p: Float64Array, w: Weighting, c: Classes): Loss {
  return crossEntropy((i) => p.subarray(i * w.n, (i + 1) * w.n).map((v) => Math.log(clip(v))), w, c);
}

export type Elements = { targets: Numbers; elementWeights?: Numbers; positiveWeight?: Numbers; option?: number };

function elementwise(w: Weighting, e: Elements, loss: (at: number, column: number) => number): Loss {
  return weigh(
    w,
    () => w.n,
    (i) => {
      let sum = 0;
      for (let j = 0; j < w.n; j++) {
        const at = i * w.n + j;
        sum += loss(at, j) * (e.elementWeights ? e.elementWeights[at] : 1);
      }
      return sum;
    },
  );
}

export function binaryCrossEntropyLogits(x: Float64Array, w: Weighting, e: Elements): Loss {
  return elementwise(w, e, (at, j) => {
    const t = e.targets[at] * (1 - (e.option ?? 0)) + (e.option ?? 0) / 2;
    return (e.positiveWeight ? e.positiveWeight[j] : 1) * t * softplus(-x[at]) + (1 - t) * softplus(x[at]);
  });
}

export function binaryCrossEntropyProbabilities(p: Float64Array, w: Weighting, e: Elements): Loss {
  return elementwise(w, e, (at, j) => {
    const t = e.targets[at] * (1 - (e.option ?? 0)) + (e.option ?? 0) / 2;
    const q = clip(p[at]);
    return -(e.positiveWeight ? e.positiveWeight[j] : 1) * t * Math.log(q) - (1 - t) * Math.log(1 - q);
  });
}

/** In the order of `Regression`; d = |x − t|. */
export const regressions: [name: string, loss: (d: number, option: number) => number][] = [
  ["meanSquaredError", (d) => d * d],
  ["meanAbsoluteError", (d) => d],
  ["huber", (d, delta) => (d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta))],
  ["smoothL1", (d, beta) => (d < beta ? (0.5 * d * d) / beta : d - 0.5 * beta)],
];

export function regressionLoss(kind: number, x: Float64Array, w: Weighting, e: Elements): Loss {
  return elementwise(w, e, (at) => regressions[kind][1](Math.abs(x[at] - e.targets[at]), e.option ?? 1));
}

export function total({ losses, denominator }: Loss): number {
  return denominator === 0 ? 0 : losses.reduce((a, b) => a + b, 0) / denominator;
}
