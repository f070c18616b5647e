import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import { activation } from "../../layers/activation.ts";
import type { Activation } from "../../layers/activations.ts";
import { attention } from "../../layers/attention.ts";
import { bidirectional } from "../../layers/bidirectional.ts";
import { concatenate } from "../../layers/concatenate.ts";
import { conv1d } from "../../layers/conv1d.ts";
import { dense } from "../../layers/dense.ts";
import { dropout } from "../../layers/dropout.ts";
import { embedding } from "../../layers/embedding.ts";
import { gru } from "../../layers/gru.ts";
import type { Layer } from "../../layers/layer.ts";
import { layerNorm } from "../../layers/layer-norm.ts";
import { masking } from "../../layers/masking.ts";
import { add, average, maximum, multiply, subtract } from "../../layers/merge.ts";
import { multiHeadAttention } from "../../layers/multi-head-attention.ts";
import { pooling1d } from "../../layers/pooling1d.ts";
import { repeat } from "../../layers/repeat.ts";
import { fromCudnnGru, fromKeras1Gru } from "../gates.ts";
import { ACTIVATION_LAYERS, type Config, type Dialect, isRecord, readActivation, readInitializer } from "./config.ts";

/** A layer of Keras in gruvy's terms. */
export interface Piece {
  /** Absent where it passes its input on as it is. */
  readonly layer?: Layer;
  /** Groups of a `.keras` file, below the layer's own, that hold its variables, in Keras's order. */
  readonly within: readonly string[];
  /** Names of layers inside it. */
  readonly inner?: readonly string[];
  /** What becomes of a mask: it goes on (the default), begins or ends here, is not seen, or turns round with the steps. */
  readonly mask?: "starts" | "ends" | "ignores" | "turns";
  /** Final states of a recurrent layer, its further results. */
  readonly states?: number;
  /** Parameters by their own names, from the weights in Keras's order. */
  readonly params: (stored: readonly Tensor[]) => Readonly<Record<string, Tensor>>;
}

/** A layer on its way into a model. */
export interface Site {
  readonly className: string;
  /** Its name in gruvy. */
  readonly name: string;
  /** For messages: `layer "gru_1" (GRU)`. */
  readonly where: string;
  readonly dialect: Dialect;
}

type Converter = (config: Config, site: Site) => Piece;

const none = () => ({});

/** Parameters that Keras has in this order, with the same shapes; those after `from` may be missing. */
function inOrder(...names: string[]): Piece["params"] {
  return (stored) => Object.fromEntries(stored.map((tensor, i) => [names[i] ?? `weight ${i}`, tensor]));
}

/** Options that are there. */
function given(options: Record<string, unknown>): never {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** A flag that may be missing, or null. */
function flag(config: Config, name: string, otherwise: boolean): unknown {
  return config[name] ?? otherwise;
}

/** Dropout of whatever kind. */
const convertDropout: Converter = (c, { name }) => ({
  layer: dropout((c.rate ?? c.p) as number, { name }),
  within: [],
  params: none,
});

/** A rate of dropout, where there is one. */
function rate(value: unknown): unknown {
  return value === null || value === 0 ? undefined : value;
}

/** A layer that does nothing when a model runs, and something gruvy has not when it trains. */
const passes: Converter = () => ({ within: [], params: none });

function convertGru(c: Config, { name, where, dialect, className }: Site): Piece {
  if (c.time_major === true)
    throw new FormatError(`${where}: "time_major" has time before batch; save it with time_major=False`);
  const cudnn = className === "CuDNNGRU";
  const act = (value: unknown, otherwise: string) =>
    cudnn ? otherwise : value === undefined ? otherwise : readActivation(value, dialect, where);
  return {
    layer: gru(
      (c.units ?? c.output_dim) as number,
      given({
        name,
        returnSequences: flag(c, "return_sequences", false),
        resetAfter: cudnn || flag(c, "reset_after", false),
        useBias: flag(c, "use_bias", true),
        activation: act(c.activation, "tanh"),
        recurrentActivation: cudnn
          ? "sigmoid"
          : readActivation(c.recurrent_activation ?? c.inner_activation ?? "hard_sigmoid", dialect, where),
        returnState: flag(c, "return_state", false),
        dropout: rate(c.dropout ?? c.dropout_W),
        recurrentDropout: rate(c.recurrent_dropout ?? c.dropout_U),
        goBackwards: flag(c, "go_backwards", false),
        stateful: flag(c, "stateful", false),
        zeroOutputForMask: flag(c, "zero_output_for_mask", false),
        kernelInitializer: readInitializer(c.kernel_initializer),
        recurrentInitializer: readInitializer(c.recurrent_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: ["cell"],
    mask: flag(c, "return_sequences", false) !== true ? "ends" : c.go_backwards === true ? "turns" : undefined,
    states: 1,
    params: gruParams,
  };
}

/** [kernel, recurrent kernel, bias?], in any of the forms that Keras has had. */
function gruParams(stored: readonly Tensor[]): Record<string, Tensor> {
  if (stored.length === 9) return { ...fromKeras1Gru(stored) };
  const [kernel, recurrentKernel, bias] = stored;
  const square = recurrentKernel?.shape.length === 2 && kernel?.shape.length === 2;
  // Only CuDNNGRU has both biases in one row, and it goes with matrices of its own kind.
  if (square && bias?.shape.length === 1 && bias.shape[0] === 6 * recurrentKernel.shape[0])
    return { ...fromCudnnGru(kernel, recurrentKernel, bias) };
  return inOrder("kernel", "recurrentKernel", "bias")(stored);
}

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

/** Layers around a cell: RNN(GRUCell(64)). */
const convertRnn: Converter = (c, site) => {
  const cell = isRecord(c.cell) && isRecord(c.cell.config) ? c.cell : undefined;
  if (cell?.class_name !== "GRUCell")
    throw new FormatError(
      `${site.where}: a cell of class ${shown(cell?.class_name)}; of RNN layers gruvy has those around one GRUCell`,
    );
  return convertGru({ ...(cell.config as Config), ...c }, site);
};

const MERGES: Readonly<Record<string, "concat" | "sum" | "mul" | "average">> = {
  concat: "concat",
  sum: "sum",
  mul: "mul",
  ave: "average",
};

/** Two recurrent layers, the second made from the first where it is not given. */
const convertBidirectional: Converter = (c, site) => {
  const direction = (wrapped: unknown, which: string) => {
    const { class_name: className, config } = isRecord(wrapped) ? wrapped : {};
    if (typeof className !== "string" || !RECURRENT.includes(className) || !isRecord(config))
      throw new FormatError(`${site.where}: of ${shown(className)}; gruvy has it of ${RECURRENT.join(", ")}`);
    return { config, ...LAYERS[className](config, { ...site, className, where: `${site.where}: its ${which} layer` }) };
  };
  const merge = typeof c.merge_mode === "string" ? MERGES[c.merge_mode] : undefined;
  if (merge === undefined)
    throw new FormatError(
      `${site.where}: "merge_mode" ${shown(c.merge_mode)}; gruvy has ${Object.keys(MERGES).join(", ")}`,
    );
  const forward = direction(c.layer, "forward");
  const backward = isRecord(c.backward_layer) ? direction(c.backward_layer, "backward") : undefined;
  return {
    layer: bidirectional(forward.layer!, {
      name: site.name,
      merge,
      ...(backward && { backwardLayer: backward.layer }),
      ...(!site.dialect.bidirectionalZeroes && { zeroOutputForMask: forward.config.zero_output_for_mask === true }),
    }),
    mask: forward.mask,
    states: 2,
    within: ["forward_layer/cell", "backward_layer/cell"],
    inner: typeof forward.config.name === "string" ? [forward.config.name] : [],
    params(stored) {
      const half = stored.length / 2;
      const named = (part: string, weights: Readonly<Record<string, Tensor>>) =>
        Object.entries(weights).map(([name, tensor]) => [`${part}.${name}`, tensor]);
      return Object.fromEntries([
        ...named("forward", forward.params(stored.slice(0, half))),
        ...named("backward", (backward ?? forward).params(stored.slice(half))),
      ]);
    },
  };
};

const RECURRENT = ["GRU", "CuDNNGRU", "RNN"];

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

/** An option that Keras writes as [3], or as 3. */
function single(value: unknown, otherwise?: number): unknown {
  const own = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return own ?? otherwise;
}

function channelsLast(c: Config, where: string): void {
  if ((c.data_format ?? "channels_last") !== "channels_last")
    throw new FormatError(`${where}: data_format ${shown(c.data_format)}; gruvy has features last, "channels_last"`);
}

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

const convertAttention: Converter = (c, { className, name, where }) => {
  if (c.score_mode !== undefined && c.score_mode !== "dot")
    throw new FormatError(`${where}: score_mode ${shown(c.score_mode)}; gruvy has "dot", and AdditiveAttention`);
  const additive = className === "AdditiveAttention";
  const learned = c.use_scale ?? additive;
  return {
    layer: attention(
      given({
        name,
        score: additive ? "additive" : "dot",
        scale: learned ? "learned" : "none",
        causal: (c.use_causal_mask ?? c.causal ?? false) as boolean,
        dropout: rate(c.dropout),
      }),
    ),
    within: [""],
    // A learned factor has no axes in Keras.
    params: (stored) =>
      Object.fromEntries(stored.slice(0, 1).map((t) => ["scale", t.shape.length ? t : { shape: [1], data: t.data }])),
  };
};

const convertMultiHead: Converter = (c, { name, where }) => {
  for (const [option, plain] of [
    ["attention_axes", [1]],
    ["output_shape", []],
  ] as const)
    if (Array.isArray(c[option]) && c[option].length > 1)
      throw new FormatError(`${where}: "${option}" ${shown(c[option])}; expected one axis, such as ${shown(plain)}`);
  const useBias = flag(c, "use_bias", true);
  const parts = ["query", "key", "value", "output"];
  const names = parts.flatMap((part) => [`${part}Kernel`, ...(useBias ? [`${part}Bias`] : [])]);
  return {
    layer: multiHeadAttention(
      c.num_heads as number,
      given({
        name,
        keyUnits: c.key_dim,
        valueUnits: c.value_dim ?? undefined,
        units: single(c.output_shape),
        useBias,
        causal: (c.use_causal_mask ?? false) as boolean,
        dropout: rate(c.dropout),
        kernelInitializer: readInitializer(c.kernel_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: parts.map((part) => `${part}_dense`),
    // Keras has an axis of heads and one of columns, where we have one of both.
    params: (stored) =>
      Object.fromEntries(
        stored.map(({ shape, data }, i) => {
          const own = names[i] ?? `weight ${i}`;
          const kernel = own.endsWith("Kernel");
          const [a, b, d] = shape;
          const flat =
            kernel && shape.length === 3 ? (own === "outputKernel" ? [a * b, d] : [a, b * d]) : [data.length];
          return [own, { shape: kernel && shape.length !== 3 ? shape : flat, data }];
        }),
      ),
  };
};

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
