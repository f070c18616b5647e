import { FormatError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { resolveActivation } from "../../layers/activations.ts";
import type { Json, Port } from "../../layers/layer.ts";
import { type Dialect, TFJS, writeActivation, writeInitializer } from "./config.ts";

/** A layer as Keras describes it. */
export interface WrittenLayer {
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: readonly Weight[];
  /** Arguments of every call of it. */
  readonly kwargs?: Readonly<Record<string, Json>>;
}

/** One of its weights, in Keras's order. */
export interface Weight {
  /** "kernel", "forward_gru/kernel": below the layer's own name. */
  readonly name: string;
  /** The group of a `.keras` file, below the layer's own: "cell". */
  readonly group: string;
  readonly tensor: Tensor;
}

/** What is written to, and what it can hold. */
export interface Target extends Dialect {
  /** GRUs with the reset gate after the product. */
  readonly resetAfter: boolean;
  /** Classes and activations that it has not, by Keras's names. */
  readonly lacks: readonly string[];
}

export interface Source {
  readonly name: string;
  readonly type: string;
  readonly config: Readonly<Record<string, Json>>;
  readonly target: Target;
  /** Of a model without calls of layers on nodes. */
  readonly sequential: boolean;
  /** A parameter of the layer's own. */
  readonly param: (name: string) => Tensor;
  /** What it reads; of several inputs the first. */
  readonly input: Port;
  /** What it gives. */
  readonly output: Port;
}

type Writer = (source: Source) => WrittenLayer;

function refuse({ name, type, target }: Source, why: string, instead: string): never {
  throw new FormatError(`exportModel(): layer "${name}" (${type}): ${target.program} has no ${why}; ${instead}`);
}

/** Weights that Keras has under names, in this order. */
function weightsOf(
  { param }: Source,
  group: string,
  names: readonly (readonly [keras: string, own: string])[],
): Weight[] {
  return names.map(([name, own]) => ({ name, group, tensor: param(own) }));
}

/** Keras's name of an activation, where it has one. */
function activationName({ target }: Source, value: Json): string | undefined {
  const found = writeActivation(value, target);
  return found === undefined || target.lacks.includes(found) ? undefined : found;
}

/** The layer that Keras has for an activation with numbers of its own. */
function activationLayer({ target }: Source, value: Json): WrittenLayer | undefined {
  const { name, alpha, beta } = resolveActivation("exportModel()", "activation", value, true);
  if (name === "leakyRelu") return plain("LeakyReLU", slope(target, alpha));
  if (name === "elu") return plain("ELU", { alpha });
  return name === "hardtanh" && alpha === 0 ? plain("ReLU", { max_value: beta }) : undefined;
}

/** An activation as an option of a layer: a name, or a layer in its place, which TensorFlow.js does not take. */
function activationOf(source: Source, value: Json): unknown {
  const name = activationName(source, value);
  if (name !== undefined) return name;
  const made = activationLayer(source, value);
  if (!made || source.target.program === TFJS.program) return refuseActivation(source, value, made);
  return { module: "keras.layers", class_name: made.className, config: made.config, registered_name: null };
}

function refuseActivation(source: Source, value: Json, made?: WrittenLayer): never {
  const { hardSigmoid } = source.target;
  const means = hardSigmoid === "hardSigmoid" ? "x/6 + 0.5" : "0.2x + 0.5";
  const hard = JSON.stringify(value).includes("hardSigmoid");
  const instead = hard ? `use its hard_sigmoid, "${hardSigmoid}" (${means})` : "use one that it has";
  return refuse(
    source,
    `activation ${JSON.stringify(value)}`,
    `${made ? "use a layer activation() after it" : instead}, or export to "onnx"`,
  );
}

/** One row a layer of ours. */
export const WRITERS: Readonly<Record<string, Writer>> = {
  gru: writeGru,
  bidirectional(source) {
    const { config: c, name, param } = source;
    const direction = (saved: Json, part: string) => {
      const { type, config } = saved as { type: string; config: Source["config"] };
      if (type !== "gru") refuse(source, `Bidirectional of ${type}`, 'it takes gru; export to "onnx"');
      return writeGru({ ...source, config, param: (own) => param(`${part}.${own}`) });
    };
    const forward = direction(c.layer, "forward");
    const backward = direction(c.backwardLayer ?? c.layer, "backward");
    const inner = `${name}_gru`;
    const wrapped = (written: WrittenLayer) => ({
      module: "keras.layers",
      registered_name: null,
      class_name: written.className,
      config: { name: inner, trainable: true, ...written.config },
    });
    return {
      className: "Bidirectional",
      config: {
        layer: wrapped(forward),
        ...(c.backwardLayer && { backward_layer: wrapped(backward) }),
        merge_mode: c.merge === "average" ? "ave" : c.merge,
      },
      weights: [
        ...forward.weights.map((weight) => ({
          ...weight,
          name: `forward_${inner}/${weight.name}`,
          group: "forward_layer/cell",
        })),
        ...backward.weights.map((weight) => ({
          ...weight,
          name: `backward_${inner}/${weight.name}`,
          group: "backward_layer/cell",
        })),
      ],
    };
  },
  dense(source) {
    const { config: c } = source;
    return {
      className: "Dense",
      config: {
        units: c.units,
        activation: activationOf(source, c.activation),
        use_bias: c.useBias,
        ...initializers(c, "kernel", "bias"),
      },
      weights: weightsOf(source, "", [["kernel", "kernel"], ...(c.useBias ? ([["bias", "bias"]] as const) : [])]),
    };
  },
  embedding(source) {
    const { config: c } = source;
    if (c.paddingIndex !== null) refuse(source, "paddingIndex", "leave it out");
    return {
      className: "Embedding",
      config: { input_dim: c.tokens, output_dim: c.units, mask_zero: c.maskZero, ...initializers(c, "embeddings") },
      weights: weightsOf(source, "", [["embeddings", "embeddings"]]),
    };
  },
  layerNorm(source) {
    const { config: c } = source;
    const names = [...(c.scale ? ["gamma"] : []), ...(c.center ? ["beta"] : [])];
    return {
      className: "LayerNormalization",
      config: { axis: -1, epsilon: c.epsilon, center: c.center, scale: c.scale, ...initializers(c, "gamma", "beta") },
      weights: weightsOf(
        source,
        "",
        names.map((own) => [own, own]),
      ),
    };
  },
  conv1d(source) {
    const { config: c, target } = source;
    if (c.padding === "causal" && target.program === "TensorFlow.js")
      refuse(source, 'convolution with padding "causal"', 'use "same" or "valid"');
    return {
      className: "Conv1D",
      config: {
        filters: c.filters,
        kernel_size: [c.kernelSize],
        strides: [c.strides],
        padding: c.padding,
        data_format: "channels_last",
        dilation_rate: [c.dilation],
        activation: activationOf(source, c.activation),
        use_bias: c.useBias,
        ...initializers(c, "kernel", "bias"),
      },
      weights: weightsOf(source, "", [["kernel", "kernel"], ...(c.useBias ? ([["bias", "bias"]] as const) : [])]),
    };
  },
  pooling1d({ config: c }) {
    const kind = c.kind === "max" ? "Max" : "Average";
    if (c.global) return plain(`Global${kind}Pooling1D`, { data_format: "channels_last" });
    return plain(`${kind}Pooling1D`, {
      pool_size: [c.size],
      strides: [c.strides],
      padding: c.padding,
      data_format: "channels_last",
    });
  },
  attention(source) {
    const { config: c } = source;
    if (c.units !== null)
      refuse(source, "attention that maps queries and keys", "use multiHeadAttention, or dense layers before it");
    const scaled = c.scale !== "none";
    // The root of the columns as a factor that training has not moved.
    const root = { shape: [1], data: Float32Array.of(1 / Math.sqrt(source.input.features)) };
    const param = (name: string) => (c.scale === "sqrt" ? root : source.param(name));
    const weights = scaled ? weightsOf({ ...source, param }, "", [["scale", "scale"]]) : [];
    return {
      className: c.score === "additive" ? "AdditiveAttention" : "Attention",
      config: { use_scale: scaled, dropout: c.dropout },
      // One factor has no axes.
      weights: weights.map((weight) =>
        c.score === "dot" ? { ...weight, tensor: { shape: [], data: weight.tensor.data } } : weight,
      ),
      ...(c.causal && { kwargs: { use_causal_mask: true } }),
    };
  },
  multiHeadAttention(source) {
    const { config: c, param } = source;
    const heads = c.heads as number;
    const parts = ["query", "key", "value", "output"];
    const shaped = (part: string, { shape, data }: Tensor): Tensor => {
      const n = shape.at(-1)!;
      if (shape.length === 1) return { shape: part === "output" ? shape : [heads, n / heads], data };
      return { shape: part === "output" ? [heads, shape[0] / heads, n] : [shape[0], heads, n / heads], data };
    };
    const columns = (part: string) => param(`${part}Kernel`).shape[1] / heads;
    return {
      className: "MultiHeadAttention",
      config: {
        num_heads: heads,
        key_dim: columns("query"),
        value_dim: columns("value"),
        dropout: c.dropout,
        use_bias: c.useBias,
        output_shape: c.units === null ? null : [c.units],
        attention_axes: null,
        ...initializers(c, "kernel", "bias"),
      },
      weights: parts.flatMap((part) =>
        ["Kernel", ...(c.useBias ? ["Bias"] : [])].map((kind) => ({
          name: `${part === "output" ? "attention_output" : part}/${kind.toLowerCase()}`,
          group: `${part}_dense`,
          tensor: shaped(part, param(part + kind)),
        })),
      ),
      ...(c.causal && { kwargs: { use_causal_mask: true } }),
    };
  },
  affine(source) {
    const { shape, data } = source.param("scale");
    // Statistics that leave the numbers as they are: with Keras's own epsilon, variance + epsilon is 1 in float32.
    const epsilon = 1e-3;
    const statistics: [string, number][] = [
      ["moving_mean", 0],
      ["moving_variance", 1 - epsilon],
    ];
    return {
      className: "BatchNormalization",
      config: { axis: -1, momentum: 0.99, epsilon, center: true, scale: true },
      weights: [
        ...weightsOf(source, "", [
          ["gamma", "scale"],
          ["beta", "shift"],
        ]),
        ...statistics.map(([name, value]) => ({
          name,
          group: "",
          tensor: { shape, data: new Float32Array(data.length).fill(value) },
        })),
      ],
    };
  },
  reshape({ output: { sequence, steps, features } }) {
    return sequence ? plain("Reshape", { target_shape: [steps ?? -1, features] }) : plain("Flatten", {});
  },
  padding1d(source) {
    const [before, after] = [source.config.before, source.config.after] as number[];
    if (before * after < 0) refuse(source, "layer that pads one end and cuts the other", "use one layer for each");
    if (before < 0 || after < 0) return plain("Cropping1D", { cropping: [-before || 0, -after || 0] });
    return plain("ZeroPadding1D", { padding: [before, after] });
  },
  transpose: () => plain("Permute", { dims: [2, 1] }),
  repeat: ({ config: c }) => plain("RepeatVector", { n: c.n }),
  concatenate: ({ config: c }) => plain("Concatenate", { axis: c.axis }),
  add: () => plain("Add", {}),
  subtract: () => plain("Subtract", {}),
  multiply: () => plain("Multiply", {}),
  average: () => plain("Average", {}),
  maximum: () => plain("Maximum", {}),
  minimum: () => plain("Minimum", {}),
  masking: ({ config: c }) => plain("Masking", { mask_value: c.maskValue }),
  dropout: ({ config: c }) => plain("Dropout", { rate: c.rate }),
  activation(source) {
    const { activation } = source.config;
    const name = activationName(source, activation);
    if (name !== undefined) return plain("Activation", { activation: name });
    return activationLayer(source, activation) ?? refuseActivation(source, activation);
  },
};

/** A layer without weights. */
function plain(className: string, config: WrittenLayer["config"]): WrittenLayer {
  return { className, config, weights: [] };
}

function writeGru(source: Source): WrittenLayer {
  const { config: c, target } = source;
  if (c.resetAfter && !target.resetAfter)
    refuse(source, "GRU with resetAfter", 'train it with resetAfter: false, or export to "keras" or "onnx"');
  for (const option of ["layerNorm", "zoneout"])
    if (c[option]) refuse(source, `GRU with ${option}`, 'export to "onnx", or train it without');
  return {
    className: "GRU",
    config: {
      units: c.units,
      return_sequences: c.returnSequences,
      return_state: !source.sequential && (c.returnState ?? false),
      go_backwards: c.goBackwards,
      stateful: c.stateful,
      unroll: false,
      ...(c.zeroOutputForMask && { zero_output_for_mask: true }),
      activation: activationOf(source, c.activation),
      recurrent_activation: activationOf(source, c.recurrentActivation),
      use_bias: c.useBias,
      ...initializers(c, "kernel", "recurrent", "bias"),
      dropout: c.dropout ?? 0,
      recurrent_dropout: c.recurrentDropout ?? 0,
      reset_after: c.resetAfter,
    },
    weights: weightsOf(source, "cell", [
      ["kernel", "kernel"],
      ["recurrent_kernel", "recurrentKernel"],
      ...(c.useBias ? ([["bias", "bias"]] as const) : []),
    ]),
  };
}

/** Keras 3 has given the slope another name. */
function slope(target: Target, value: number): Record<string, Json> {
  return target.hardSigmoid === "hardSigmoid" ? { negative_slope: value } : { alpha: value };
}

/** "kernel_initializer" and the like, for those that the layer has. */
function initializers(config: Readonly<Record<string, Json>>, ...names: string[]): Record<string, Json> {
  return Object.fromEntries(
    names.map((name) => [`${name}_initializer`, writeInitializer(config[`${name}Initializer`]) as Json]),
  );
}
