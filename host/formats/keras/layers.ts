import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import { activation } from "../../layers/activation.ts";
import type { Activation } from "../../layers/activations.ts";
import { concatenate } from "../../layers/concatenate.ts";
import { conv1d } from "../../layers/conv1d.ts";
import { dense } from "../../layers/dense.ts";
import { dropout } from "../../layers/dropout.ts";
import { embedding } from "../../layers/embedding.ts";
import type { Layer } from "../../layers/layer.ts";
import { layerNorm } from "../../layers/layer-norm.ts";
import { masking } from "../../layers/masking.ts";
import { add, average, maximum, multiply, subtract } from "../../layers/merge.ts";
import { pooling1d } from "../../layers/pooling1d.ts";
import { repeat } from "../../layers/repeat.ts";
import { convertAttention, convertMultiHead } from "./attention.ts";
import { ACTIVATION_LAYERS, readActivation, readInitializer } from "./config.ts";
import { type Converter, channelsLast, flag, given, inOrder, none, single } from "./piece.ts";
import { convertBidirectional, convertGru, convertRnn } from "./recurrent.ts";

/** Dropout of whatever kind. */
const convertDropout: Converter = (c, { name }) => ({
  layer: dropout((c.rate ?? c.p) as number, { name }),
  within: [],
  params: none,
});

/** A layer that does nothing when a model runs, and something gruvy has not when it trains. */
const passes: Converter = () => ({ within: [], params: none });

const convertDense: Converter = (c, { name, where, dialect }) => ({
  layer: dense(
    (c.units ?? c.output_dim) as number,
    given({
      name,
      activation: readActivation(c.activation, dialect, where) as Activation,
      useBias: c.use_bias ?? c.bias ?? true,
      kernelInitializer: readInitializer(c.kernel_initializer),
      biasInitializer: readInitializer(c.bias_initializer),
    }),
  ),
  within: [""],
  params: inOrder("kernel", "bias"),
});

/** The same layer at every step, which those of gruvy are by themselves. */
const convertTimeDistributed: Converter = (c, site) => {
  const inner = isRecord(c.layer) ? c.layer : {};
  const className = String(inner.class_name);
  const config = isRecord(inner.config) ? inner.config : {};
  if (!STEPWISE.includes(className))
    throw new FormatError(`${site.where}: of ${shown(inner.class_name)}; gruvy has it of ${STEPWISE.join(", ")}`);
  const piece = LAYERS[className](config, { ...site, className, where: `${site.where}: its ${className}` });
  return {
    ...piece,
    within: piece.within.map((group) => (group ? `layer/${group}` : "layer")),
    inner: typeof config.name === "string" ? [config.name] : [],
  };
};

const convertConv1d: Converter = (c, { name, where, dialect }) => {
  channelsLast(c, where);
  if ((c.groups ?? 1) !== 1) throw new FormatError(`${where}: ${shown(c.groups)} groups; gruvy convolves all features`);
  return {
    layer: conv1d(
      c.filters as number,
      single(c.kernel_size) as number,
      given({
        name,
        strides: single(c.strides),
        dilation: single(c.dilation_rate),
        padding: c.padding,
        activation: readActivation(c.activation, dialect, where) as Activation,
        useBias: flag(c, "use_bias", true),
        kernelInitializer: readInitializer(c.kernel_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: [""],
    mask: "ignores",
    params: inOrder("kernel", "bias"),
  };
};

const pooling =
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
      params: none,
    };
  };

const globalPooling =
  (kind: "max" | "mean"): Converter =>
  (c, { name, where }) => {
    channelsLast(c, where);
    if (c.keepdims === true) throw new FormatError(`${where}: keepdims; gruvy gives [batch, features]`);
    // Of the two only the mean knows masks.
    return {
      layer: pooling1d({ name, kind, global: true }),
      within: [],
      mask: kind === "mean" ? "ends" : "ignores",
      params: none,
    };
  };

const merge =
  (make: (options: { name: string }) => Layer): Converter =>
  (_, { name }) => ({ layer: make({ name }), within: [], params: none });

const STEPWISE = ["Dense", "Activation", "Dropout", "LayerNormalization", ...Object.keys(ACTIVATION_LAYERS)];

/** Every class of Keras that gruvy reads; a new one is a row. */
export const LAYERS: Readonly<Record<string, Converter>> = {
  GRU: convertGru,
  CuDNNGRU: convertGru,
  RNN: convertRnn,
  Dense: convertDense,
  TimeDistributedDense: convertDense,
  TimeDistributed: convertTimeDistributed,
  Bidirectional: convertBidirectional,
  Embedding: (c, { name }) => ({
    layer: embedding(
      c.input_dim as number,
      c.output_dim as number,
      given({
        name,
        maskZero: flag(c, "mask_zero", false),
        embeddingsInitializer: readInitializer(c.embeddings_initializer),
      }),
    ),
    within: [""],
    mask: c.mask_zero === true ? "starts" : undefined,
    params: inOrder("embeddings"),
  }),
  LayerNormalization(c, { name, where }) {
    const axis = Array.isArray(c.axis) ? c.axis : [c.axis ?? -1];
    // Keras 2 writes -1 of a sequence as [2]; whether it was the last axis is seen by the shape of its weights.
    if (axis.length !== 1 || ![-1, 1, 2].includes(axis[0]) || c.rms_scaling === true)
      throw new FormatError(`${where}: axis ${shown(c.axis)}; gruvy normalises over the features, axis -1`);
    return {
      layer: layerNorm(
        given({
          name,
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
  },
  Masking: (c, { name }) => ({
    layer: masking(given({ name, maskValue: c.mask_value })),
    within: [],
    mask: "starts",
    params: none,
  }),
  Activation: (c, { name, where, dialect }) => ({
    layer: activation(readActivation(c.activation, dialect, where) as Activation, { name }),
    within: [],
    params: none,
  }),
  Dropout: convertDropout,
  SpatialDropout1D: convertDropout,
  GaussianDropout: convertDropout,
  AlphaDropout: convertDropout,
  GaussianNoise: passes,
  ActivityRegularization: passes,
  Conv1D: convertConv1d,
  MaxPooling1D: pooling("max"),
  AveragePooling1D: pooling("mean"),
  GlobalMaxPooling1D: globalPooling("max"),
  GlobalAveragePooling1D: globalPooling("mean"),
  Attention: convertAttention,
  AdditiveAttention: convertAttention,
  MultiHeadAttention: convertMultiHead,
  RepeatVector: (c, { name }) => ({ layer: repeat(c.n as number, { name }), within: [], params: none }),
  Concatenate(c, { name, where }) {
    // Keras counts the batch; where it counts from the front, the last axis of a sequence is 2, and without time 1.
    const axis = c.axis ?? -1;
    if (axis !== -1 && axis !== 1 && axis !== 2)
      throw new FormatError(`${where}: axis ${shown(axis)}; gruvy has -1 (features) and 1 (time)`);
    return { layer: concatenate({ name, axis: axis === 1 ? 1 : -1 }), within: [], params: none };
  },
  Add: merge(add),
  Subtract: merge(subtract),
  Multiply: merge(multiply),
  Average: merge(average),
  Maximum: merge(maximum),
  ...Object.fromEntries(
    Object.entries(ACTIVATION_LAYERS).map(([className, make]): [string, Converter] => [
      className,
      (c, { name, where }) => {
        const made = make(c);
        if (made === undefined) throw new FormatError(`${where}: with these options it is not in gruvy`);
        return { layer: activation(made as Activation, { name }), within: [], params: none };
      },
    ]),
  ),
};
