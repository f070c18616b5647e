import { logSoftmax } from "./softmax.ts";

/** Log-probabilities of the classes at the steps that count, [steps][classes]. */
export type Steps = readonly ArrayLike<number>[];

export function logSumExp(...terms: number[]): number {
  const largest = Math.max(...terms);
  if (largest === -Infinity) return largest;
  return largest + Math.log(terms.reduce((sum, v) => sum + Math.exp(v - largest), 0));
}

/** Labels with a blank before, between and behind. */
function states(labels: ArrayLike<number>, blank: number): number[] {
  return [blank, ...Array.from(labels).flatMap((label) => [label, blank])];
}

/** Where from one may come to state s, and to where one may go from it with `by` 1 and -1. */
function neighbours(l: readonly number[], s: number, by: 1 | -1): number[] {
  const skips = l[s] !== l[s - 2 * by] && l[s] !== l[s - by];
  return [s, s - by, ...(skips ? [s - 2 * by] : [])].filter((i) => i >= 0 && i < l.length);
}

/** ln α, [steps + 1][states]: before the first step, only blank 0 is possible. */
function forward(logp: Steps, l: readonly number[]): number[][] {
  const rows = [l.map((_, s) => (s === 0 ? 0 : -Infinity))];
  for (const y of logp) {
    const before = rows[rows.length - 1];
    rows.push(l.map((c, s) => y[c] + logSumExp(...neighbours(l, s, 1).map((i) => before[i]))));
  }
  return rows;
}

/** -ln of the probability that the steps spell the labels. */
export function ctcLoss(logp: Steps, labels: ArrayLike<number>, blank: number): number {
  const l = states(labels, blank);
  const end = forward(logp, l)[logp.length];
  return -logSumExp(...end.slice(-2));
}

/** What of the probability goes through each class at each step, [steps][classes]; zeros where there is none. */
export function ctcOccupancy(logp: Steps, labels: ArrayLike<number>, blank: number): Float64Array[] {
  const l = states(labels, blank);
  const alpha = forward(logp, l);
  const logP = logSumExp(...alpha[logp.length].slice(-2));
  let beta = l.map((_, s) => (s >= l.length - 2 ? 0 : -Infinity));
  const out = logp.map(({ length }) => new Float64Array(length));
  if (logP === -Infinity) return out;
  for (let t = logp.length - 1; t >= 0; t--) {
    l.forEach((c, s) => {
      out[t][c] += Math.exp(alpha[t + 1][s] + beta[s] - logP);
    });
    const ways = beta.map((v, s) => v + logp[t][l[s]]);
    beta = l.map((_, s) => logSumExp(...neighbours(l, s, -1).map((i) => ways[i])));
  }
  return out;
}

/** The same loss by writing out every path and reading what it spells. */
export function ctcByEnumeration(logp: Steps, labels: ArrayLike<number>, blank: number): number {
  const wanted = Array.from(labels).join(" ");
  let total = 0;
  const walk = (t: number, path: readonly number[], logProbability: number): void => {
    if (t === logp.length) {
      if (spelled(path, blank).join(" ") === wanted) total += Math.exp(logProbability);
      return;
    }
    for (let c = 0; c < logp[t].length; c++) walk(t + 1, [...path, c], logProbability + logp[t][c]);
  };
  walk(0, [], 0);
  return -Math.log(total);
}

/** Repeats merged, then blanks dropped. */
export function spelled(path: readonly number[], blank: number): number[] {
  return path.filter((c, t) => c !== path[t - 1] && c !== blank);
}

/** A batch as the kernel has it: x [steps, batch, n]. */
export interface CtcProblem {
  T: number;
  B: number;
  n: number;
  labels: readonly (readonly number[])[];
  blank: number;
  logits: boolean;
  valid?: ArrayLike<number>;
  weights?: ArrayLike<number>;
  zeroInfinity?: boolean;
  mean?: boolean;
}

const clip = (p: number) => Math.min(Math.max(p, Math.fround(1e-7)), 1);

/** The rows of sequence b that count. */
function rowsOf({ T, B, valid }: CtcProblem, b: number): number[] {
  return Array.from({ length: T }, (_, t) => t * B + b).filter((row) => valid?.[row] !== 0);
}

function stepsOf(x: ArrayLike<number>, problem: CtcProblem, b: number): Steps {
  const { n, logits } = problem;
  return rowsOf(problem, b).map((row) => {
    const values = Float64Array.from({ length: n }, (_, c) => x[row * n + c]);
    return logits ? logSoftmax(values) : values.map((p) => Math.log(clip(p)));
  });
}

/** Weighted losses of the sequences, and the gradient of their sum or mean. */
export function ctc(x: ArrayLike<number>, problem: CtcProblem): { losses: number[]; loss: number; dx: Float64Array } {
  const { T, B, n, labels, blank, logits, weights, zeroInfinity, mean } = problem;
  const dx = new Float64Array(T * B * n);
  let loss = 0;
  const losses = labels.map((own, b) => {
    const weight = weights?.[b] ?? 1;
    const steps = stepsOf(x, problem, b);
    const plain = ctcLoss(steps, own, blank);
    const share = mean ? weight / Math.max(1, own.length) / B : weight;
    if (plain < Infinity) {
      const occupancy = ctcOccupancy(steps, own, blank);
      rowsOf(problem, b).forEach((row, k) => {
        for (let c = 0; c < n; c++) {
          const p = x[row * n + c];
          const inside = p === clip(p) ? 1 / p : 0;
          const slope = logits ? Math.exp(steps[k][c]) - occupancy[k][c] : -occupancy[k][c] * inside;
          dx[row * n + c] = share * slope;
        }
      });
    }
    const own_ = weight === 0 || (zeroInfinity && plain === Infinity) ? 0 : plain;
    if (own_) loss += share * own_;
    return weight * own_;
  });
  return { losses, loss, dx };
}
