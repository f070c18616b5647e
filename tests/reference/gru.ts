import { layerNorm } from "./layer-norm.ts";

/**
 * The GRU in double precision, one sequence at a time, as the formulas stand
 * in DESIGN: vectors are arrays, every sum is a loop.
 */

export type Vector = readonly number[];
export type Rows = readonly Vector[];
export type Scalar = (x: number) => number;

export const sigmoid: Scalar = (x) => 1 / (1 + Math.exp(-x));

export interface GruWeights {
  /** [I, 3H], columns [z | r | n] */
  kernel: Rows;
  /** [H, 3H] */
  recurrent: Rows;
  /** [2, 3H] (reset after: input, recurrent), [1, 3H] (reset before), or none */
  bias?: Rows;
  /** [2, 3H] (input, recurrent): layer normalisation of both products */
  gamma?: Rows;
}

export interface GruForm {
  resetAfter?: boolean;
  activation?: Scalar;
  recurrentActivation?: Scalar;
}

/** What falls at random, as it fell. */
export interface Fallen {
  /** [H], what the products see of the state: 0 or 1 / (1 - rate). */
  keep?: Vector;
  /** [H], share of the old state in the new one. */
  zone?: Vector;
}

/** Σ_i x_i W[i, j] */
export function column(x: Vector, weights: Rows, j: number): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * weights[i][j];
  return sum;
}

/** The next state. */
export function gruStep(h: Vector, x: Vector, weights: GruWeights, form: GruForm & Fallen = {}): number[] {
  const { kernel, recurrent, bias, gamma } = weights;
  const { resetAfter = true, activation = Math.tanh, recurrentActivation = sigmoid, keep, zone } = form;
  const H = h.length;
  const seen = h.map((v, j) => v * (keep?.[j] ?? 1));
  const product = (v: Vector, matrix: Rows, row: number) => {
    const sums = matrix[0].map((_, j) => column(v, matrix, j));
    const normal = gamma ? layerNorm(sums, gamma[row], undefined, 1e-5).y : sums;
    return Array.from(normal, (s, j) => s + (bias?.[row]?.[j] ?? 0));
  };
  const [fromX, fromH] = [product(x, kernel, 0), product(seen, recurrent, 1)];
  const gate = (j: number) => recurrentActivation(fromX[j] + fromH[j]);
  const z = h.map((_, j) => gate(j));
  const r = h.map((_, j) => gate(H + j));
  const reset = seen.map((v, j) => r[j] * v);
  return h.map((previous, j) => {
    const n = 2 * H + j;
    const candidate = activation(fromX[n] + (resetAfter ? r[j] * fromH[n] : column(reset, recurrent, n)));
    const next = z[j] * previous + (1 - z[j]) * candidate;
    return next + (zone?.[j] ?? 0) * (previous - next);
  });
}

export interface SequenceRun {
  initialState?: Vector;
  /** 1 where a step counts. */
  mask?: Vector;
  /** What a masked step puts out: 0 ("lengths"), or the last output again ("holes", unless zeroOutputForMask). */
  dialect?: "lengths" | "holes";
  zeroOutputForMask?: boolean;
  goBackwards?: boolean;
}

export interface GruRun extends GruForm, SequenceRun {
  /** As in Fallen, for all steps. */
  keep?: Vector;
  /** [T, H] */
  zones?: Rows;
}

/** A GRU over xs [T, I]. */
export function gruSequence(xs: Rows, weights: GruWeights, run: GruRun = {}) {
  const H = weights.recurrent.length;
  return sequence(xs.length, H, run, (h, t) => gruStep(h, xs[t], weights, { ...run, zone: run.zones?.[t] }));
}

/**
 * Any cell over T steps.
 *
 * @param step the state after step t, from the one before
 * @returns outputs [T, H] in the order in which they were computed, the output of the last step, the final state
 */
export function sequence(T: number, H: number, run: SequenceRun, step: (h: Vector, t: number) => Vector) {
  const { mask, dialect = "lengths", zeroOutputForMask = false } = run;
  const zeros: Vector = new Array(H).fill(0);
  let state = run.initialState ?? zeros;
  let output = zeros;
  const outputs: Vector[] = [];
  const steps = Array.from({ length: T }, (_, t) => t);
  if (run.goBackwards) steps.reverse();
  for (const t of steps) {
    const valid = mask?.[t] !== 0;
    if (valid) state = step(state, t);
    if (valid) output = state;
    else if (dialect === "lengths" || zeroOutputForMask) output = zeros;
    outputs.push(output);
  }
  // Of a padded sequence, the last output is the final state; of one with holes, whatever the last step put out.
  return { outputs, last: mask && dialect === "holes" ? output : state, state };
}
