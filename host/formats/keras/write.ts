import { FormatError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Json } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { type Dialect, writeActivation, writeInitializer } from "./config.ts";

/** A layer as Keras describes it. */
export interface WrittenLayer {
  readonly className: string;
  readonly config: Readonly<Record<string, Json>>;
  /** In Keras's order, with Keras's names. */
  readonly weights: readonly { readonly name: string; readonly tensor: Tensor }[];
  /** The group of a `.keras` file, below the layer's own, that holds its variables: "cell". */
  readonly within: string;
}

/** A Sequential model as Keras describes it. */
export interface WrittenModel {
  /** Per sample; null is any length. */
  readonly inputShape: readonly (number | null)[];
  readonly tokens: boolean;
  readonly layers: readonly (WrittenLayer & { readonly name: string })[];
}

/** What is written to, and what it can hold. */
export interface Target extends Dialect {
  /** GRUs with the reset gate after the product. */
  readonly resetAfter: boolean;
}

interface Source {
  readonly name: string;
  readonly config: Readonly<Record<string, Json>>;
  readonly target: Target;
  /** A parameter of the layer's own. */
  readonly param: (name: string) => Tensor;
}

type Writer = (source: Source) => WrittenLayer;

interface Saved {
  readonly type: string;
  readonly name: string;
  readonly config: Readonly<Record<string, Json>>;
}

/** @throws FormatError for a layer, or an option of one, that the target has not */
export function describeModel(model: Model, target: Target): WrittenModel {
  const { kind, config } = model.architecture;
  if (kind !== "sequential") throw new FormatError(`exportModel(): a model of kind "${kind}"; expected "sequential"`);
  const { layers } = config as { layers: readonly Saved[] };
  const weights = model.weights();
  return {
    inputShape: model.inputShape,
    tokens: model.network.inputs[0].port.type === "tokens",
    layers: layers.map(({ type, name, config: own }) => {
      if (!Object.hasOwn(WRITERS, type))
        throw new FormatError(
          `exportModel(): layer "${name}" (${type}): ${target.program} has no such layer; it takes ${Object.keys(WRITERS).join(", ")}`,
        );
      return { name, ...WRITERS[type]({ name, config: own, target, param: (param) => weights[`${name}.${param}`] }) };
    }),
  };
}

/** Keras's name of an activation. */
function activationName({ name, target }: Source, type: string, value: Json): string {
  const found = writeActivation(value, target);
  if (found !== undefined) return found;
  const shown = JSON.stringify(value);
  const otherwise =
    value === "hardSigmoid" || value === "hardSigmoid02"
      ? `; its hard_sigmoid is ${target.hardSigmoid === "hardSigmoid" ? "x/6 + 0.5" : "0.2x + 0.5"}`
      : "";
  throw new FormatError(
    `exportModel(): layer "${name}" (${type}): ${target.program} has no activation ${shown}${otherwise}; use one that it has`,
  );
}

const WRITERS: Readonly<Record<string, Writer>> = {
  gru(source) {
    const { name, config: c, target, param } = source;
    if (c.resetAfter && !target.resetAfter)
      throw new FormatError(
        `exportModel(): layer "${name}" (gru): ${target.program} has no GRU with resetAfter; train it with resetAfter: false, or export to "keras" or "onnx"`,
      );
    if (c.layerNorm)
      throw new FormatError(`exportModel(): layer "${name}" (gru): ${target.program} has no GRU with layerNorm`);
    return {
      className: "GRU",
      config: {
        units: c.units,
        return_sequences: c.returnSequences,
        return_state: false,
        go_backwards: c.goBackwards,
        stateful: c.stateful,
        unroll: false,
        ...(c.zeroOutputForMask && { zero_output_for_mask: true }),
        activation: activationName(source, "gru", c.activation),
        recurrent_activation: activationName(source, "gru", c.recurrentActivation),
        use_bias: c.useBias,
        ...initializers(c, "kernel", "recurrent", "bias"),
        dropout: c.dropout ?? 0,
        recurrent_dropout: c.recurrentDropout ?? 0,
        reset_after: c.resetAfter,
      },
      weights: [
        { name: "kernel", tensor: param("kernel") },
        { name: "recurrent_kernel", tensor: param("recurrentKernel") },
        ...(c.useBias ? [{ name: "bias", tensor: param("bias") }] : []),
      ],
      within: "cell",
    };
  },
  dense(source) {
    const { config: c, param } = source;
    return {
      className: "Dense",
      config: {
        units: c.units,
        activation: activationName(source, "dense", c.activation),
        use_bias: c.useBias,
        ...initializers(c, "kernel", "bias"),
      },
      weights: ["kernel", ...(c.useBias ? ["bias"] : [])].map((own) => ({ name: own, tensor: param(own) })),
      within: "",
    };
  },
  embedding: ({ name, config: c, param, target }) => {
    if (c.paddingIndex !== null)
      throw new FormatError(
        `exportModel(): layer "${name}" (embedding): ${target.program} has no paddingIndex; leave it out`,
      );
    return {
      className: "Embedding",
      config: {
        input_dim: c.tokens,
        output_dim: c.units,
        mask_zero: c.maskZero,
        ...initializers(c, "embeddings"),
      },
      weights: [{ name: "embeddings", tensor: param("embeddings") }],
      within: "",
    };
  },
  layerNorm: ({ config: c, param }) => ({
    className: "LayerNormalization",
    config: { axis: -1, epsilon: c.epsilon, center: c.center, scale: c.scale, ...initializers(c, "gamma", "beta") },
    weights: [...(c.scale ? ["gamma"] : []), ...(c.center ? ["beta"] : [])].map((own) => ({
      name: own,
      tensor: param(own),
    })),
    within: "",
  }),
  masking: ({ config: c }) => ({ className: "Masking", config: { mask_value: c.maskValue }, weights: [], within: "" }),
  dropout: ({ config: c }) => ({ className: "Dropout", config: { rate: c.rate }, weights: [], within: "" }),
  activation(source) {
    const { config: c } = source;
    const { name, alpha } = (typeof c.activation === "string" ? { name: c.activation, alpha: 0 } : c.activation) as {
      name: string;
      alpha: number;
    };
    // Slopes are options of layers of their own.
    if (name === "leakyRelu" && writeActivation(c.activation, source.target) === undefined)
      return { className: "LeakyReLU", config: slope(source.target, alpha || 0.01), weights: [], within: "" };
    if (name === "elu" && c.activation !== "elu")
      return { className: "ELU", config: { alpha }, weights: [], within: "" };
    const activation = activationName(source, "activation", c.activation);
    return { className: "Activation", config: { activation }, weights: [], within: "" };
  },
};

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
