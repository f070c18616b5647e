import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { shapeText, type Tensor } from "../../core/tensor.ts";
import type { Activation } from "../../layers/activations.ts";
import { conv1d } from "../../layers/conv1d.ts";
import { pooling1d } from "../../layers/pooling1d.ts";
import { reverseAxes } from "../gates.ts";
import { type Config, readActivation, readInitializer } from "./config.ts";
import { type Converter, channelsLast, given, none, type Piece, type Site, single, size } from "./piece.ts";

/** Keras's layers with windows over time. Keras 1 has other names for their options. */

/** @param kernelOf [steps, features, filters] and the bias, from what is stored */
function convolution(
  c: Config,
  { name, where, dialect }: Site,
  kernelOf: (stored: readonly Tensor[]) => Tensor[],
): Piece {
  channelsLast(c, where);
  return {
    layer: conv1d(
      (c.filters ?? c.nb_filter) as number,
      single(c.kernel_size ?? c.filter_length) as number,
      given({
        name,
        strides: single(c.strides ?? c.subsample_length),
        dilation: single(c.dilation_rate ?? c.atrous_rate),
        padding: c.padding ?? c.border_mode,
        activation: readActivation(c.activation, dialect, where) as Activation,
        useBias: c.use_bias ?? c.bias ?? true,
        kernelInitializer: readInitializer(c.kernel_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: [""],
    mask: "ignores",
    shape: (input) => input && [stepsAfter(c, input[0]), size(c.filters ?? c.nb_filter)],
    params(stored) {
      const [kernel, bias] = kernelOf(stored);
      return { ...(kernel && { kernel }), ...(bias && { bias }) };
    },
  };
}

/** How many steps windows give, where every step gives one. */
function stepsAfter(c: Config, steps: number | null): number | null {
  const strides = single(c.strides ?? c.subsample_length, 1);
  return strides === 1 && (c.padding ?? c.border_mode) !== "valid" ? steps : null;
}

export const convertConv1d: Converter = (c, site) => {
  const groups = c.groups ?? 1;
  if (!Number.isInteger(groups) || (groups as number) < 1 || (groups as number) > 65536)
    throw new FormatError(`${site.where}: ${shown(groups)} groups`);
  return convolution(c, site, ([kernel, ...rest]) => {
    if (kernel?.shape.length === 4) kernel = fromKeras1(kernel, c.nb_filter ?? c.filters);
    if (kernel?.shape.length !== 3) return kernel ? [kernel, ...rest] : [];
    if (site.dialect.turnsKernels) kernel = turned(kernel);
    return [groups === 1 ? kernel : ungrouped(kernel, groups as number, site.where), ...rest];
  });
};

/** A kernel of Keras 1 with an axis more: [steps, 1, features, filters], or, earlier, [filters, features, steps, 1]. */
function fromKeras1({ shape, data }: Tensor, filters: unknown): Tensor {
  const [a, b, features, d] = shape;
  if (b === 1 && d === filters) return { shape: [a, features, d], data };
  return reverseAxes({ shape: shape.slice(0, 3), data });
}

/** A kernel whose steps stand the other way round. */
function turned({ shape, data }: Tensor): Tensor {
  const step = shape[1] * shape[2];
  const out = new Float32Array(data.length);
  for (let k = 0; k < shape[0]; k++) out.set(data.subarray(k * step, (k + 1) * step), (shape[0] - 1 - k) * step);
  return { shape, data: out };
}

/** Numbers that a kernel may come to when its zeros are written out. */
const LARGEST = 2 ** 22;

/** The kernel of all features from one of groups: filters of a group read the features of that group, with zeros for others. */
function ungrouped({ shape: [K, own, N], data }: Tensor, groups: number, where: string): Tensor {
  const I = own * groups;
  if (N % groups !== 0 || K * I * N > LARGEST)
    throw new FormatError(`${where}: a kernel ${shapeText([K, own, N])} in ${groups} groups`);
  const out = new Float32Array(K * I * N);
  for (let k = 0; k < K; k++)
    for (let i = 0; i < own; i++)
      for (let n = 0; n < N; n++)
        out[(k * I + Math.floor((n * groups) / N) * own + i) * N + n] = data[(k * own + i) * N + n];
  return { shape: [K, I, N], data: out };
}

/** One filter a feature and then a product with all of them: as one convolution. */
export const convertSeparable: Converter = (c, site) =>
  convolution(c, site, ([depthwise, pointwise, ...rest]) => {
    if (depthwise?.shape.length !== 3 || pointwise?.shape.length !== 3) return [];
    const [K, I, multiplier] = depthwise.shape;
    const [, inner, N] = pointwise.shape;
    if (inner !== I * multiplier || pointwise.shape[0] !== 1 || K * I * N > LARGEST)
      throw new FormatError(
        `${site.where}: kernels ${shapeText(depthwise.shape)} and ${shapeText(pointwise.shape)} do not fit each other`,
      );
    const out = new Float32Array(K * I * N);
    for (let k = 0; k < K; k++)
      for (let i = 0; i < I; i++)
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let m = 0; m < multiplier; m++)
            sum += depthwise.data[(k * I + i) * multiplier + m] * pointwise.data[(i * multiplier + m) * N + n];
          out[(k * I + i) * N + n] = sum;
        }
    return [{ shape: [K, I, N], data: out }, ...rest];
  });

export const pooling =
  (kind: "max" | "mean"): Converter =>
  (c, { name, where }) => {
    channelsLast(c, where);
    const size = single(c.pool_size ?? c.pool_length, 2);
    return {
      layer: pooling1d(
        given({
          name,
          kind,
          size,
          strides: single(c.strides ?? c.stride) ?? size,
          padding: c.padding ?? c.border_mode,
        }),
      ),
      within: [],
      mask: "ignores",
      shape: (input) => input && [null, input.at(-1) ?? null],
      params: none,
    };
  };

export const globalPooling =
  (kind: "max" | "mean"): Converter =>
  (c, { name, where }) => {
    channelsLast(c, where);
    if (c.keepdims === true) throw new FormatError(`${where}: keepdims; gruvy gives [batch, features]`);
    // Of the two only the mean knows masks.
    return {
      layer: pooling1d({ name, kind, global: true }),
      within: [],
      shape: (input) => input && [input.at(-1) ?? null],
      mask: kind === "mean" ? "ends" : "ignores",
      params: none,
    };
  };
