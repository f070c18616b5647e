import { toAffine } from "../batch-norm.ts";
import type { Unit } from "./match.ts";
import type { TorchTensor } from "./tensors.ts";

/** Numbers for each feature: means and variances of training, and what they are scaled and shifted by, if at all. */
export function isBatchNorm({ tensors }: Unit): boolean {
  if (!tensors.has("running_mean") || !tensors.has("running_var")) return false;
  const [first, ...others] = [...tensors.values()].map(({ tensor }) => tensor.shape);
  return first.length === 1 && others.every((shape) => shape.length === 1 && shape[0] === first[0]);
}

/**
 * An nn.BatchNorm1d, as it computes outside of training, with the tensors of
 * an affine layer: "scale" and "shift".
 *
 * @param epsilon which files do not hold
 */
export function asAffine(unit: Unit, epsilon: number): Unit {
  const get = (name: string) => unit.tensors.get(name)?.tensor;
  const [mean, variance] = [get("running_mean")!, get("running_var")!];
  const folded = () =>
    toAffine({
      mean: mean.read(),
      variance: variance.read(),
      gamma: get("weight")?.read(),
      beta: get("bias")?.read(),
      epsilon,
    });
  const { dtype, shape } = variance;
  return renamed(unit, {
    scale: { dtype, shape, read: () => folded().scale.data },
    shift: { dtype, shape, read: () => folded().shift.data },
  });
}

/** The same as the nn.Linear of a diagonal matrix, which a dense layer in its place can hold. */
export function asLinear(unit: Unit, epsilon: number): Unit {
  const { tensors } = asAffine(unit, epsilon);
  const [scale, shift] = [tensors.get("scale")!.tensor, tensors.get("shift")!.tensor];
  const [n] = scale.shape;
  const weight: TorchTensor = {
    ...scale,
    shape: [n, n],
    read() {
      const out = new Float32Array(n * n);
      scale.read().forEach((factor, j) => {
        out[j * n + j] = factor;
      });
      return out;
    },
  };
  return renamed(unit, { weight, bias: shift });
}

function renamed(unit: Unit, tensors: Readonly<Record<string, TorchTensor>>): Unit {
  const named = Object.entries(tensors).map(
    ([name, tensor]) => [name, { fullName: `${unit.module}.${name}`, tensor }] as const,
  );
  return { ...unit, tensors: new Map(named) };
}
