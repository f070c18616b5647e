import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import type { TorchTensor } from "./tensors.ts";

/**
 * Weights that files keep as a length g and a direction v, as the weights that
 * they are: w = g · v / ‖v‖, the norm over every axis along which g has one
 * number. torch.nn.utils.weight_norm names them "weight_g" and "weight_v", or
 * "parametrizations.weight.original0" and "original1" since PyTorch 2.0.
 *
 * Source: Salimans and Kingma 2016, arXiv:1602.07868, eq. 2.
 * @throws FormatError for other weights that PyTorch computes
 */
export function withoutWeightNorm(tensors: ReadonlyMap<string, TorchTensor>, where: string): Map<string, TorchTensor> {
  const out = new Map<string, TorchTensor>();
  for (const [name, tensor] of tensors) {
    const { plain, length, direction } = partsOf(name);
    const [g, v] = [tensors.get(length), tensors.get(direction)];
    if (g && v && fits(g.shape, v.shape)) {
      if (name === direction) out.set(plain, weightOf(g, v));
    } else if (/(^|\.)parametrizations\.|_orig$/.test(name))
      throw new FormatError(
        `${where}: ${shown(name)}: a weight that PyTorch computes; make it plain there, with torch.nn.utils.parametrize.remove_parametrizations, remove_spectral_norm or prune.remove`,
      );
    else out.set(name, tensor);
  }
  return out;
}

/** The weight that a tensor may be a part of, and both parts. */
function partsOf(name: string): { plain: string; length: string; direction: string } {
  const match = /^(.*?)parametrizations\.([^.]+)\.original[01]$/.exec(name);
  if (!match) {
    const plain = name.replace(/_[gv]$/, "");
    return { plain, length: `${plain}_g`, direction: `${plain}_v` };
  }
  const [, module, weight] = match;
  const stem = `${module}parametrizations.${weight}.original`;
  return { plain: module + weight, length: `${stem}0`, direction: `${stem}1` };
}

/** Axes of v that g has too, and at least one along which the norm runs; no axes: one number for all. */
function fits(g: readonly number[], v: readonly number[]): boolean {
  if (g.length === 0) return true;
  return g.length === v.length && g.every((n, axis) => n === v[axis] || n === 1) && g.includes(1);
}

function weightOf(length: TorchTensor, direction: TorchTensor): TorchTensor {
  const { dtype, shape } = direction;
  return {
    dtype,
    shape,
    read() {
      const [g, v] = [length.read(), direction.read()];
      // Of each number of v, the g that it belongs to.
      const owner = new Uint32Array(v.length);
      for (let axis = shape.length - 1, below = 1, stride = 1; axis >= 0; below *= shape[axis--]) {
        if ((length.shape[axis] ?? 1) === 1) continue;
        for (let i = 0; i < v.length; i++) owner[i] += stride * (Math.floor(i / below) % shape[axis]);
        stride *= shape[axis];
      }
      const squares = new Float64Array(g.length);
      v.forEach((x, i) => {
        squares[owner[i]] += x * x;
      });
      return v.map((x, i) => (x * g[owner[i]]) / Math.sqrt(squares[owner[i]]));
    },
  };
}
