import { column, type Rows, type Scalar, type SequenceRun, sequence, sigmoid, type Vector } from "./gru.ts";

/** The cells with one gate in double precision, as the formulas stand in host/layers/light-gru.ts. */

export type LightGruCell = "minGru" | "lightGru" | "mgu";

export interface LightGruWeights {
  /** [I, 2H], columns [z | n] */
  kernel: Rows;
  /** [H, 2H]; minGru has none */
  recurrent?: Rows;
  /** [2H] */
  bias?: Vector;
}

export interface LightGruRun extends SequenceRun {
  activation?: Scalar;
}

/** The next state. */
export function lightGruStep(
  cell: LightGruCell,
  h: Vector,
  x: Vector,
  { kernel, recurrent, bias }: LightGruWeights,
  activation: Scalar,
): number[] {
  const H = h.length;
  const input = (j: number) => column(x, kernel, j) + (bias?.[j] ?? 0);
  const z = h.map((_, j) => sigmoid(input(j) + (recurrent ? column(h, recurrent, j) : 0)));
  const seen = cell === "mgu" ? h.map((v, j) => (1 - z[j]) * v) : h;
  return h.map((previous, j) => {
    const n = activation(input(H + j) + (recurrent ? column(seen, recurrent, H + j) : 0));
    return z[j] * previous + (1 - z[j]) * n;
  });
}

const ACTIVATIONS: Record<LightGruCell, Scalar> = { minGru: (x) => x, lightGru: (x) => Math.max(0, x), mgu: Math.tanh };

/** A cell over xs [T, I]. */
export function lightGruSequence(cell: LightGruCell, xs: Rows, weights: LightGruWeights, run: LightGruRun = {}) {
  const activation = run.activation ?? ACTIVATIONS[cell];
  const H = weights.kernel[0].length / 2;
  return sequence(xs.length, H, run, (h, t) => lightGruStep(cell, h, xs[t], weights, activation));
}
