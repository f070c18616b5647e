import { FormatError } from "../core/errors.ts";
import { activation } from "./activation.ts";
import type { Activation } from "./activations.ts";
import { affine } from "./affine.ts";
import { attention } from "./attention.ts";
import { bidirectional } from "./bidirectional.ts";
import { concatenate } from "./concatenate.ts";
import { conv1d } from "./conv1d.ts";
import { dense } from "./dense.ts";
import { dropout } from "./dropout.ts";
import { embedding } from "./embedding.ts";
import { gru } from "./gru.ts";
import type { Layer } from "./layer.ts";
import { layerNorm } from "./layer-norm.ts";
import { lightGru, mgu, minGru } from "./light-gru.ts";
import { masking } from "./masking.ts";
import { add, average, maximum, minimum, multiply, subtract } from "./merge.ts";
import { multiHeadAttention } from "./multi-head-attention.ts";

import { padding1d } from "./padding1d.ts";
import { pooling1d } from "./pooling1d.ts";
import { remask } from "./remask.ts";
import { repeat } from "./repeat.ts";
import { reshape, transpose } from "./reshape.ts";
import { reverse } from "./reverse.ts";
import { timeDistributed } from "./time-distributed.ts";

/** A saved layer's options, its name among them; the factories check every one. */
type Config = Record<string, unknown>;

const without = (config: Config, ...names: string[]): never =>
  Object.fromEntries(
    Object.entries(config).filter(([name, value]) => !names.includes(name) && value !== null),
  ) as never;

/** Every layer, made again from its config; a new one is a row here. */
const layers: Readonly<Record<string, (config: Config) => Layer>> = {
  gru: (c) => gru(c.units as number, without(c, "units")),
  bidirectional: ({ layer, backwardLayer, ...c }) =>
    bidirectional(inner(layer), without({ ...c, backwardLayer: backwardLayer && inner(backwardLayer) })),
  conv1d: (c) => conv1d(c.filters as number, c.kernelSize as number, without(c, "filters", "kernelSize")),
  minGru: (c) => minGru(c.units as number, without(c, "units")),
  lightGru: (c) => lightGru(c.units as number, without(c, "units")),
  mgu: (c) => mgu(c.units as number, without(c, "units")),
  dense: (c) => dense(c.units as number, without(c, "units")),
  embedding: (c) => embedding(c.tokens as number, c.units as number, without(c, "tokens", "units")),
  dropout: (c) => dropout(c.rate as number, without(c, "rate")),
  layerNorm: (c) => layerNorm(without(c)),
  affine: (c) => affine(without(c)),
  activation: (c) => activation(c.activation as Activation, without(c, "activation")),
  attention: (c) => attention(without(c)),
  multiHeadAttention: (c) => multiHeadAttention(c.heads as number, without(c, "heads")),
  masking: (c) => masking(without(c)),
  padding1d: (c) => padding1d(without(c)),
  pooling1d: (c) => pooling1d(without(c)),
  remask: (c) => remask(c.to as "none", without(c, "to")),
  reverse: (c) => reverse(without(c)),
  concatenate: (c) => concatenate(without(c)),
  add: (c) => add(without(c)),
  subtract: (c) => subtract(without(c)),
  multiply: (c) => multiply(without(c)),
  average: (c) => average(without(c)),
  maximum: (c) => maximum(without(c)),
  minimum: (c) => minimum(without(c)),
  timeDistributed: ({ layer, ...c }) => timeDistributed(inner(layer), without(c)),
  repeat: (c) => repeat(c.n as number, without(c, "n")),
  reshape: (c) => reshape(c.shape as number[], without(c, "shape")),
  transpose: (c) => transpose(without(c)),
};

/** A layer in the config of a layer around it. */
function inner(saved: unknown): Layer {
  const { type, config } = (saved ?? {}) as { type?: unknown; config?: unknown };
  if (typeof type !== "string" || typeof config !== "object" || config === null)
    throw new FormatError("a layer around another one without its type and config");
  return layerFromConfig(type, undefined, config as Config);
}

/** @throws FormatError for a type that this version does not have */
export function layerFromConfig(type: string, name: string | undefined, config: Config): Layer {
  if (!Object.hasOwn(layers, type))
    throw new FormatError(
      `unknown layer type ${JSON.stringify(type).slice(0, 60)}; this version has ${Object.keys(layers).join(", ")}`,
    );
  return layers[type]({ ...config, name });
}
