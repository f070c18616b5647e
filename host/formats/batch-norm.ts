import type { Tensor } from "../core/tensor.ts";

/** A batch normalisation whose statistics are known: (x − mean) / √(variance + ε) · gamma + beta. */
export interface BatchNorm {
  /** [features], as all of them are. */
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  /** Absent: ones. */
  readonly gamma?: ArrayLike<number>;
  /** Absent: zeros. */
  readonly beta?: ArrayLike<number>;
  readonly epsilon: number;
}

/** The same as parameters of `affine`, x · scale + shift, each rounded once. */
export function toAffine({ mean, variance, gamma, beta, epsilon }: BatchNorm): { scale: Tensor; shift: Tensor } {
  const factors = Float64Array.from(variance, (v, j) => (gamma?.[j] ?? 1) / Math.sqrt(v + epsilon));
  const shape = [factors.length];
  return {
    scale: { shape, data: Float32Array.from(factors) },
    shift: { shape, data: Float32Array.from(factors, (factor, j) => (beta?.[j] ?? 0) - mean[j] * factor) },
  };
}
