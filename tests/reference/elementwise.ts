import { type Scalar, sigmoid } from "./gru.ts";

/** The activations in double precision, by name; PyTorch's definitions. */

/** Φ, the normal distribution: a series of positive terms near 0, a continued fraction beyond. */
function normalCdf(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (Math.abs(x) > 6) {
    let fraction = Math.abs(x);
    for (let k = 60; k >= 1; k--) fraction = Math.abs(x) + k / fraction;
    return x > 0 ? 1 - density / fraction : density / fraction;
  }
  let [term, sum] = [x, x];
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return 0.5 + density * sum;
}

const clip = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

export const activations = {
  linear: (x) => x,
  tanh: Math.tanh,
  sigmoid,
  hardSigmoid: (x) => clip(x / 6 + 0.5, 0, 1),
  hardSigmoid02: (x) => clip(0.2 * x + 0.5, 0, 1),
  relu: (x) => Math.max(0, x),
  leakyRelu: (x) => (x > 0 ? x : 0.01 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  gelu: (x) => x * normalCdf(x),
  silu: (x) => x * sigmoid(x),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  softsign: (x) => x / (1 + Math.abs(x)),
  hardtanh: (x) => clip(x, -1, 1),
  linearSigmoid: (x) => (x >= 0 ? x + 0.5 : sigmoid(x)),
  logSigmoid: (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))),
  affine: (x) => x,
  scaledTanh: Math.tanh,
  thresholdedRelu: (x) => (x > 1 ? x : 0),
  clippedSigmoid: (x) => sigmoid(clip(x, -1, 1)),
  clippedTanh: (x) => Math.tanh(clip(x, -1, 1)),
} satisfies Record<string, Scalar>;

export type ActivationName = keyof typeof activations;

/** e^x / Σ e^x */
export function softmax(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const e = row.map((x) => Math.exp(x - largest));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

/** (x - mean) / √(variance + ε) ⊙ γ + β */
export function layerNorm(
  row: readonly number[],
  epsilon: number,
  gamma?: ArrayLike<number>,
  beta?: ArrayLike<number>,
) {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return row.map((x, j) => ((x - mean) / Math.sqrt(variance + epsilon)) * (gamma?.[j] ?? 1) + (beta?.[j] ?? 0));
}
