import {
  activation,
  add,
  affine,
  attention,
  average,
  bidirectional,
  concatenate,
  conv1d,
  dense,
  dropout,
  embedding,
  flatten,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  type Model,
  masking,
  minimum,
  multiHeadAttention,
  multiply,
  padding1d,
  pooling1d,
  remask,
  repeat,
  reshape,
  type SequentialOptions,
  sequential,
  type Tensor,
  transpose,
} from "../../host/index.ts";
import { randomLabels, randomTensor } from "./models.ts";

type Format = "keras" | "h5" | "tfjs";

/** A model that Keras or TensorFlow.js can hold, with weights that are all drawn, biases too. */
export interface KerasModel {
  readonly name: string;
  readonly formats: readonly Format[];
  readonly make: () => Promise<Model<Tensor | Tensor[]>>;
  readonly inputs: readonly (Tensor | Tensor<Int32Array>)[];
}

const KERAS = ["keras", "h5"] as const;
const ALL = ["keras", "h5", "tfjs"] as const;

const sequences = { returnSequences: true } as const;
const before = { resetAfter: false } as const;
const x = randomTensor([3, 6, 3], 1);
const holes: Tensor = { shape: x.shape, data: x.data.map((v, i) => ([0, 2, 7].includes(Math.floor(i / 3)) ? 0 : v)) };
const shape: SequentialOptions = { inputShape: [6, 3], seed: 1 };

function chain(
  name: string,
  formats: readonly Format[],
  layers: readonly Layer[],
  given: Tensor | Tensor<Int32Array> = x,
  options = shape,
): KerasModel {
  return { name, formats, inputs: [given], make: async () => drawn(await sequential(layers, options)) };
}

function nodes(
  name: string,
  formats: readonly Format[],
  make: () => Promise<Model<unknown>>,
  ...inputs: Tensor[]
): KerasModel {
  return { name, formats, inputs, make: async () => drawn((await make()) as Model<Tensor | Tensor[]>) };
}

function drawn<M extends Model<unknown>>(model: M): M {
  const weights = Object.entries(model.weights());
  model.setWeights(Object.fromEntries(weights.map(([key, t], i) => [key, randomTensor([...t.shape], 7 + i, 0.7)])));
  return model;
}

const tokens: SequentialOptions = { inputShape: [6], seed: 1 };
const labels = randomLabels([3, 6], 9, 2);

export const KERAS_MODELS: readonly KerasModel[] = [
  chain("stack", KERAS, [gru(5, sequences), layerNorm(), dropout(0.2), gru(4), dense(3, { activation: "softmax" })]),
  chain("any length", ALL, [gru(5, { ...sequences, ...before }), dense(2)], x, { inputShape: [null, 3], seed: 1 }),
  chain("reset before", ALL, [gru(5, { ...before, ...sequences }), gru(3, { ...before, useBias: false }), dense(2)]),
  chain("hard gates of Keras 3", KERAS, [gru(5, { recurrentActivation: "hardSigmoid", activation: "relu" })]),
  chain("hard gates of Keras 2", ["h5", "tfjs"], [gru(5, { ...before, recurrentActivation: "hardSigmoid02" })]),
  chain("tokens", ALL, [embedding(9, 4, { maskZero: true }), gru(5, before), dense(2)], labels, tokens),
  chain("masked", ALL, [masking(), gru(4, { ...before, ...sequences }), gru(3, before)], holes),
  chain("masked, zero", KERAS, [masking(), gru(4, { ...sequences, zeroOutputForMask: true })], holes),
  chain("backwards", ALL, [gru(4, { ...before, ...sequences, goBackwards: true }), gru(3, before)]),
  chain(
    "masked, backwards",
    ALL,
    [masking(), gru(4, { ...before, ...sequences, goBackwards: true }), remask("reversed"), gru(3, before)],
    holes,
  ),
  ...(["concat", "sum", "mul", "average"] as const).map((merge) =>
    chain(`bidirectional ${merge}`, ALL, [
      bidirectional(gru(3, { ...before, ...sequences }), { merge }),
      bidirectional(gru(2, before), { merge }),
    ]),
  ),
  chain("bidirectional, masked", KERAS, [masking(), bidirectional(gru(3, sequences)), gru(2)], holes),
  chain("two directions apart", KERAS, [
    bidirectional(gru(3, sequences), { backwardLayer: gru(3, { ...sequences, ...before, goBackwards: true }) }),
  ]),
  chain("convolution", ALL, [
    conv1d(4, 3, { padding: "same", activation: "relu" }),
    pooling1d({ size: 2 }),
    conv1d(3, 2, { strides: 2 }),
    dense(2),
  ]),
  chain("causal convolution", KERAS, [
    conv1d(4, 3, { padding: "causal", dilation: 2 }),
    pooling1d({ kind: "mean" }),
    gru(3),
  ]),
  chain("convolution without its mask", KERAS, [masking(), remask("none"), conv1d(4, 3), gru(3)], holes),
  chain("pooled", ALL, [gru(4, { ...before, ...sequences }), pooling1d({ kind: "mean", global: true }), dense(2)]),
  chain("pooled, masked", KERAS, [masking(), gru(4, sequences), pooling1d({ kind: "mean", global: true })], holes),
  chain("largest", ALL, [gru(4, { ...before, ...sequences }), pooling1d({ global: true })]),
  chain(
    "repeated",
    ALL,
    [dense(3, { activation: "tanh" }), repeat(4), gru(3, { ...before, ...sequences })],
    randomTensor([3, 4], 1),
    {
      inputShape: [4],
      seed: 1,
    },
  ),
  chain("activations", ALL, [
    dense(4, { activation: "gelu" }),
    activation({ name: "leakyRelu", alpha: 0.3 }),
    activation({ name: "hardtanh", alpha: 0, beta: 0.4 }),
    dense(4, { activation: "silu" }),
    dense(4, { activation: "softplus" }),
    dense(4, { activation: "softsign" }),
    dense(4, { activation: "selu" }),
    dense(4, { activation: "logSoftmax" }),
  ]),
  chain("scaled and flat", ALL, [
    conv1d(4, 3, { padding: "same", activation: "relu" }),
    affine(),
    reshape([-1, 8]),
    gru(4, { ...before, ...sequences }),
    transpose(),
    flatten(),
    affine(),
    dense(2),
  ]),
  chain("padded", KERAS, [padding1d({ before: 2, after: 1 }), gru(3, sequences), padding1d({ before: -3, after: 0 })]),
  chain("slopes", KERAS, [dense(4), activation({ name: "elu", alpha: 0.7 }), dense(4, { activation: "elu" })]),
  chain("slopes in layers", KERAS, [
    conv1d(4, 2, { activation: { name: "leakyRelu", alpha: 0.3 } }),
    gru(4, { ...sequences, activation: { name: "elu", alpha: 0.7 } }),
    dense(4, { activation: { name: "hardtanh", alpha: 0, beta: 0.4 } }),
    dense(4, { activation: { name: "leakyRelu", alpha: 0.2 } }),
  ]),
  chain("activations of Keras 3", KERAS, [
    dense(4, { activation: "hardSigmoid" }),
    dense(4, { activation: "hardtanh" }),
    dense(4, { activation: "logSigmoid" }),
  ]),
  chain("self-attention", KERAS, [multiHeadAttention(2, { keyUnits: 3, units: 4 }), layerNorm()]),
  nodes(
    "residual",
    ALL,
    () => {
      const a = input([6, 3], { name: "a" });
      const y = gru(4, { ...before, ...sequences })(a);
      return graph({ inputs: a, outputs: dense(2)(add()([y, dense(4)(a)])) });
    },
    x,
  ),
  nodes(
    "siamese",
    ALL,
    () => {
      const [a, b] = [input([6, 3], { name: "a" }), input([6, 3], { name: "b" })];
      const shared = gru(4, { ...before, name: "shared" });
      return graph({
        inputs: [a, b],
        outputs: [multiply, average, minimum].map((merge) => merge()([shared(a), shared(b)])),
      });
    },
    x,
    holes,
  ),
  nodes(
    "encoder and decoder",
    ALL,
    () => {
      const [source, target] = [input([6, 3], { name: "source" }), input([5, 2], { name: "target" })];
      const [encoded, state] = gru(4, { ...before, ...sequences, returnState: true })(source);
      const decoded = gru(4, { ...before, ...sequences })(target, { initialState: state });
      return graph({
        inputs: [source, target],
        outputs: [dense(3, { activation: "softmax" })(decoded), pooling1d({ global: true })(encoded)],
      });
    },
    x,
    randomTensor([3, 5, 2], 3),
  ),
  nodes(
    "attention",
    KERAS,
    () => {
      const [q, v] = [input([6, 3], { name: "q" }), input([5, 3], { name: "v" })];
      const seen = attention({ scale: "learned" })([q, v]);
      const added = attention({ score: "additive" })([q, v]);
      const heads = multiHeadAttention(2, { keyUnits: 2, units: 3 })([q, v]);
      return graph({ inputs: [q, v], outputs: concatenate()([seen, added, heads, q]) });
    },
    x,
    randomTensor([3, 5, 3], 3),
  ),
  nodes(
    "causal attention",
    KERAS,
    () => {
      const q = input([6, 3], { name: "q" });
      const heads = multiHeadAttention(3, { causal: true, useBias: false })(q);
      return graph({ inputs: q, outputs: attention({ scale: "none", causal: true })([heads, q]) });
    },
    x,
  ),
];
