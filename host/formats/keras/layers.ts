import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import { activation } from "../../layers/activation.ts";
import type { Activation } from "../../layers/activations.ts";
import { concatenate } from "../../layers/concatenate.ts";
import { dense } from "../../layers/dense.ts";
import { dropout } from "../../layers/dropout.ts";
import { embedding } from "../../layers/embedding.ts";
import type { Layer } from "../../layers/layer.ts";
import { masking } from "../../layers/masking.ts";
import { add, average, maximum, minimum, multiply, subtract } from "../../layers/merge.ts";
import { repeat } from "../../layers/repeat.ts";
import { convertAttention, convertMultiHead } from "./attention.ts";
import { ACTIVATION_LAYERS, type Config, readActivation, readInitializer } from "./config.ts";
import { convertBatchNorm, convertLayerNorm, convertNormalization, convertRescaling } from "./normalize.ts";
import { type Converter, flag, given, inOrder, none, type Piece, type Site, size, withFeatures } from "./piece.ts";
import { convertBidirectional, convertGru, convertRnn } from "./recurrent.ts";
import { convertCropping, convertFlatten, convertPadding, convertPermute, convertReshape } from "./reshape.ts";
import { convertConv1d, convertSeparable, globalPooling, pooling } from "./windows.ts";

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
  shape: withFeatures(size(c.units ?? c.output_dim)),
  params: inOrder("kernel", "bias"),
});

/** A layer around another one, which alone matters here. */
function convertInner(c: Config, site: Site, classes: readonly string[]): Piece {
  const inner = isRecord(c.layer) ? c.layer : {};
  const className = String(inner.class_name);
  const config = isRecord(inner.config) ? inner.config : {};
  if (!classes.includes(className))
    throw new FormatError(`${site.where}: of ${shown(inner.class_name)}; gruvy has it of ${classes.join(", ")}`);
  const piece = LAYERS[className](config, { ...site, className, where: `${site.where}: its ${className}` });
  return {
    ...piece,
    within: piece.within.map((group) => (group ? `layer/${group}` : "layer")),
    inner: typeof config.name === "string" ? [config.name] : [],
  };
}

/** The same layer at every step, which those of gruvy are by themselves. */
const convertTimeDistributed: Converter = (c, site) => convertInner(c, { ...site, rank: 2 }, STEPWISE);

/** A layer that was trained with some of its weights held at zero, which they are in the file. */
const convertPruned: Converter = (c, site) => {
  const own: Readonly<Record<string, number>> = { GRU: 3, Dense: 2, Conv1D: 2, Embedding: 1 };
  const piece = convertInner(c, site, Object.keys(own));
  const { class_name: className, config } = c.layer as { class_name: string; config?: Config };
  // Masks, thresholds and a counter come after its own.
  const count = own[className] - (config?.use_bias === false ? 1 : 0);
  return { ...piece, params: (stored) => piece.params(stored.slice(0, count)) };
};

const merge =
  (make: (options: { name: string }) => Layer): Converter =>
  (_, { name }) => ({ layer: make({ name }), within: [], mask: "merges", params: none });

/** Keras 1 had one layer for all ways to merge. */
const convertMerge: Converter = (c, site) => {
  const classes: Record<string, string> = { sum: "Add", mul: "Multiply", ave: "Average", max: "Maximum" };
  const { mode } = c;
  if (mode === "concat") return LAYERS.Concatenate({ axis: c.concat_axis ?? -1 }, site);
  if (typeof mode !== "string" || !Object.hasOwn(classes, mode))
    throw new FormatError(`${site.where}: mode ${shown(mode)}; gruvy has concat, ${Object.keys(classes).join(", ")}`);
  return LAYERS[classes[mode]]({}, site);
};

/** Classes that do to a step what they do to a sample. */
export const STEPWISE: readonly string[] = [
  "Dense",
  "Activation",
  "Dropout",
  "LayerNormalization",
  "BatchNormalization",
  "Rescaling",
  "Flatten",
  ...Object.keys(ACTIVATION_LAYERS),
];

const recurrent = "its recurrent layers have the gates of a GRU; train the model with GRU in its place";
const code = "what it computes is Python code; build the model of layers without it";
const parts = "it takes steps of sequences, x[:, -1] or x[:, 2:5], where the model fixes how many there are";
const planes = "it convolves over time alone; Conv1D takes its place where there is one axis";

/** Why an activation is refused with some options. */
const NO_ACTIVATION: Readonly<Record<string, string>> = {
  ReLU: "gruvy has one of its max_value, its negative_slope and a threshold above 0 at a time",
  Softmax: "gruvy's is over the last axis, features",
};

/** Classes that no row will read, and what would do. */
export const REFUSED: Readonly<Record<string, string>> = {
  LSTM: recurrent,
  CuDNNLSTM: recurrent,
  SimpleRNN: recurrent,
  ConvLSTM1D: recurrent,
  ConvLSTM2D: recurrent,
  Lambda: code,
  TFOpLambda: code,
  TensorFlowOpLayer: code,
  SlicingOpLambda: parts,
  GetItem: parts,
  Conv2D: planes,
  Convolution2D: planes,
  MaxPooling2D: planes,
  DepthwiseConv1D: "its filters read all features; SeparableConv1D or Conv1D takes its place",
  PReLU: "it has one slope for all features; LeakyReLU takes its place",
  StringLookup: "it reads numbers of tokens; look words up before the model",
  TextVectorization: "it reads numbers of tokens; look words up before the model",
};

/** Every class of Keras that gruvy reads; a new one is a row. */
export const LAYERS: Readonly<Record<string, Converter>> = {
  GRU: convertGru,
  GRUV1: convertGru,
  GRUV2: convertGru,
  UnifiedGRU: convertGru,
  CuDNNGRU: convertGru,
  RNN: convertRnn,
  Dense: convertDense,
  TimeDistributedDense: convertDense,
  TimeDistributed: convertTimeDistributed,
  PruneLowMagnitude: convertPruned,
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
    shape: (input) => input && [...input, size(c.output_dim)],
    params: inOrder("embeddings"),
  }),
  LayerNormalization: convertLayerNorm,
  BatchNormalization: convertBatchNorm,
  BatchNormalizationV1: convertBatchNorm,
  BatchNormalizationV2: convertBatchNorm,
  Normalization: convertNormalization,
  Rescaling: convertRescaling,
  Flatten: convertFlatten,
  Reshape: convertReshape,
  Permute: convertPermute,
  ZeroPadding1D: convertPadding,
  Cropping1D: convertCropping,
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
  Convolution1D: convertConv1d,
  AtrousConvolution1D: convertConv1d,
  SeparableConv1D: convertSeparable,
  MaxPooling1D: pooling("max"),
  AveragePooling1D: pooling("mean"),
  GlobalMaxPooling1D: globalPooling("max"),
  GlobalAveragePooling1D: globalPooling("mean"),
  Attention: convertAttention,
  AdditiveAttention: convertAttention,
  MultiHeadAttention: convertMultiHead,
  RepeatVector: (c, { name }) => ({
    layer: repeat(c.n as number, { name }),
    within: [],
    shape: (input) => [size(c.n), input?.at(-1) ?? null],
    params: none,
  }),
  Concatenate(c, { name, where, rank }) {
    // Keras counts the batch, and from either end; gruvy's axis 1 is that of the features too, where there is no time.
    const axis = c.axis ?? -1;
    const time = axis === 1 || (axis === -2 && rank === 3);
    if (!time && axis !== -1 && axis !== 2)
      throw new FormatError(`${where}: axis ${shown(axis)}; gruvy has -1 (features) and 1 (time)`);
    const shape: Piece["shape"] = (...inputs) => {
      const [first] = inputs;
      if (!first || time) return first && [null, ...first.slice(1)];
      const widths = inputs.map((input) => input?.at(-1) ?? Number.NaN);
      return [...first.slice(0, -1), size(widths.reduce((sum, width) => sum + width, 0))];
    };
    return { layer: concatenate({ name, axis: time ? 1 : -1 }), within: [], mask: "merges", shape, params: none };
  },
  Merge: convertMerge,
  Add: merge(add),
  Subtract: merge(subtract),
  Multiply: merge(multiply),
  Average: merge(average),
  Maximum: merge(maximum),
  Minimum: merge(minimum),
  ...Object.fromEntries(
    Object.entries(ACTIVATION_LAYERS).map(([className, make]): [string, Converter] => [
      className,
      (c, { name, where, rank }) => {
        const made = make(c, rank);
        if (made === undefined) throw new FormatError(`${where}: ${NO_ACTIVATION[className] ?? "not in gruvy so"}`);
        return { layer: activation(made as Activation, { name }), within: [], params: none };
      },
    ]),
  ),
};
