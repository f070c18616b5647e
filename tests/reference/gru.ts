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
}

export interface GruForm {
  resetAfter?: boolean;
  activation?: Scalar;
  recurrentActivation?: Scalar;
}

/** Σ_i x_i W[i, j] */
function column(x: Vector, weights: Rows, j: number): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * weights[i][j];
  return sum;
}

/** The next state. */
export function gruStep(h: Vector, x: Vector, { kernel, recurrent, bias }: GruWeights, form: GruForm = {}): number[] {
  const { resetAfter = true, activation = Math.tanh, recurrentActivation = sigmoid } = form;
  const H = h.length;
  const b = (j: number) => bias?.[0][j] ?? 0;
  const c = (j: number) => (resetAfter ? (bias?.[1][j] ?? 0) : 0);
  const gate = (j: number) => recurrentActivation(column(x, kernel, j) + b(j) + column(h, recurrent, j) + c(j));
  const z = h.map((_, j) => gate(j));
  const r = h.map((_, j) => gate(H + j));
  const reset = h.map((v, j) => r[j] * v);
  return h.map((previous, j) => {
    const n = 2 * H + j;
    const input = column(x, kernel, n) + b(n);
    const candidate = resetAfter
      ? activation(input + r[j] * (column(h, recurrent, n) + c(n)))
      : activation(input + column(reset, recurrent, n));
    return z[j] * previous + (1 - z[j]) * candidate;
  });
}

export interface GruRun extends GruForm {
  initialState?: Vector;
  /** 1 where a step counts. */
  mask?: Vector;
  /** What a masked step puts out: 0 ("lengths"), or the last output again ("holes", unless zeroOutputForMask). */
  dialect?: "lengths" | "holes";
  zeroOutputForMask?: boolean;
  goBackwards?: boolean;
}

/**
 * @param xs [T, I]
 * @returns outputs [T, H] in the order in which they were computed, the output of the last step, the final state
 */
export function gruSequence(xs: Rows, weights: GruWeights, run: GruRun = {}) {
  const H = weights.recurrent.length;
  const { mask, dialect = "lengths", zeroOutputForMask = false } = run;
  const zeros: Vector = new Array(H).fill(0);
  let state = run.initialState ?? zeros;
  let output = zeros;
  const outputs: Vector[] = [];
  const steps = xs.map((_, t) => t);
  if (run.goBackwards) steps.reverse();
  for (const t of steps) {
    const valid = mask?.[t] !== 0;
    if (valid) state = gruStep(state, xs[t], weights, run);
    if (valid) output = state;
    else if (dialect === "lengths" || zeroOutputForMask) output = zeros;
    outputs.push(output);
  }
  // Of a padded sequence, the last output is the final state; of one with holes, whatever the last step put out.
  return { outputs, last: mask && dialect === "holes" ? output : state, state };
}
