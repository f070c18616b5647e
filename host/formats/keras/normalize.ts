import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import { affine } from "../../layers/affine.ts";
import { layerNorm } from "../../layers/layer-norm.ts";
import { toAffine } from "../batch-norm.ts";
import { readInitializer } from "./config.ts";
import { type Converter, flag, given, inOrder, type Site } from "./piece.ts";

/** Keras's layers that bring features to a scale. */

/** Axes count the batch, from either end. */
function checkAxis(given: unknown, otherwise: number, { rank, where }: Site): void {
  const axis = Array.isArray(given) ? given : [given ?? otherwise];
  const last = rank === undefined ? [-1, 1, 2] : [-1, rank - 1];
  if (axis.length !== 1 || !last.includes(axis[0]))
    throw new FormatError(`${where}: axis ${shown(given)}; gruvy normalises features, the last axis, -1`);
}

/** An option that is a number, or a list of them. */
function numbers(value: unknown, option: string, where: string): number[] {
  const list: unknown[] = [value].flat(4);
  if (!list.every((v) => typeof v === "number"))
    throw new FormatError(`${where}: "${option}" ${shown(value)}; expected numbers`);
  return list as number[];
}

export const convertLayerNorm: Converter = (c, site) => {
  checkAxis(c.axis, -1, site);
  if (c.rms_scaling === true) throw new FormatError(`${site.where}: rms_scaling; gruvy has it without`);
  return {
    layer: layerNorm(
      given({
        name: site.name,
        epsilon: c.epsilon ?? 1e-3,
        scale: flag(c, "scale", true),
        center: flag(c, "center", true),
        gammaInitializer: readInitializer(c.gamma_initializer),
        betaInitializer: readInitializer(c.beta_initializer),
      }),
    ),
    within: [""],
    params: inOrder(...(c.scale === false ? [] : ["gamma"]), "beta"),
  };
};

/** With the statistics that it has gathered, which a model that runs goes by. */
export const convertBatchNorm: Converter = (c, site) => {
  checkAxis(c.axis, -1, site);
  if ((c.mode ?? 0) !== 0) throw new FormatError(`${site.where}: mode ${shown(c.mode)}; gruvy has 0, of features`);
  const names = [...(c.scale === false ? [] : ["gamma"]), ...(c.center === false ? [] : ["beta"]), "mean", "variance"];
  return {
    layer: affine({ name: site.name }),
    within: [""],
    params(stored): Record<string, Tensor> {
      const { gamma, beta, mean, variance } = Object.fromEntries(names.map((name, i) => [name, stored[i]?.data]));
      if (!variance || [gamma, beta, mean].some((values) => values && values.length !== variance.length)) return {};
      const [epsilon] = numbers(c.epsilon ?? 1e-3, "epsilon", site.where);
      return { ...toAffine({ gamma, beta, mean, variance, epsilon }) };
    },
  };
};

/** Statistics of the data: weights of the layer, or options. */
export const convertNormalization: Converter = (c, site) => {
  if (c.axis !== null) checkAxis(c.axis, -1, site);
  const option = (name: string) => Float64Array.from(numbers(c[name], name, site.where));
  return {
    layer: affine({ name: site.name }),
    within: [""],
    params(stored): Record<string, Tensor> {
      const given = typeof c.mean === "number" || Array.isArray(c.mean);
      const mean = given ? option("mean") : stored[0]?.data;
      const variance = given ? option("variance") : stored[1]?.data;
      if (!mean || mean.length !== variance?.length) return {};
      // Keras bounds the deviation, and adds nothing to it.
      const deviation = Float64Array.from(variance, (v) => Math.max(Math.sqrt(v), 1e-7));
      const inverse = c.invert === true;
      const scale = deviation.map((d) => (inverse ? d : 1 / d));
      const shape = mean.length === 1 ? [] : [mean.length];
      return {
        scale: { shape, data: Float32Array.from(scale) },
        shift: { shape, data: Float32Array.from(mean, (m, j) => (inverse ? m : -m * scale[j])) },
      };
    },
  };
};

export const convertRescaling: Converter = (c, { name, where }) => {
  const option = (key: string, otherwise: number): Tensor => {
    const data = Float32Array.from(numbers(c[key] ?? otherwise, key, where));
    return { shape: data.length === 1 ? [] : [data.length], data };
  };
  return {
    layer: affine({ name }),
    within: [],
    params: () => ({ scale: option("scale", 1), shift: option("offset", 0) }),
  };
};
