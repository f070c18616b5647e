import type { Unit } from "./match.ts";
import type { TorchTensor } from "./tensors.ts";

/** Numbers for each feature: means and variances of training, and what they are scaled and shifted by, if at all. */
export function isBatchNorm({ tensors }: Unit): boolean {
  if (!tensors.has("running_mean") || !tensors.has("running_var")) return false;
  const [first, ...others] = [...tensors.values()].map(({ tensor }) => tensor.shape);
  return first.length === 1 && others.every((shape) => shape.length === 1 && shape[0] === first[0]);
}

/**
 * An nn.BatchNorm1d, as it computes outside of training, as the nn.Linear of a
 * diagonal matrix that a dense layer in its place can hold:
 *
 *   y = weight · (x − mean) / √(variance + epsilon) + bias
 *
 * @param epsilon which files do not hold
 */
export function asLinear(unit: Unit, epsilon: number): Unit {
  const get = (name: string) => unit.tensors.get(name)?.tensor;
  const [mean, variance] = [get("running_mean")!, get("running_var")!];
  const n = mean.shape[0];
  const factors = (): Float64Array => {
    const scale = get("weight")?.read();
    return Float64Array.from(variance.read(), (v, j) => (scale ? scale[j] : 1) / Math.sqrt(v + epsilon));
  };
  const weight: TorchTensor = {
    dtype: variance.dtype,
    shape: [n, n],
    read() {
      const out = new Float32Array(n * n);
      factors().forEach((factor, j) => {
        out[j * n + j] = factor;
      });
      return out;
    },
  };
  const bias: TorchTensor = {
    dtype: mean.dtype,
    shape: [n],
    read() {
      const [factor, means, shift] = [factors(), mean.read(), get("bias")?.read()];
      return Float32Array.from(means, (m, j) => (shift ? shift[j] : 0) - m * factor[j]);
    },
  };
  const named = (name: string, tensor: TorchTensor) => [name, { fullName: `${unit.module}.${name}`, tensor }] as const;
  return { ...unit, tensors: new Map([named("weight", weight), named("bias", bias)]) };
}
