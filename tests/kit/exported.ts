import {
  activation,
  add,
  affine,
  average,
  bidirectional,
  concatenate,
  conv1d,
  dense,
  dropout,
  embedding,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  type Model,
  maximum,
  minimum,
  multiply,
  pooling1d,
  reverse,
  type SequentialOptions,
  sequential,
  subtract,
  type Tensor,
} from "../../host/index.ts";
import { randomTensor } from "./models.ts";

/** Models that other programs can hold, for round trips and for running them there. */
export interface Exported {
  readonly name: string;
  readonly layers: () => Layer[];
  readonly options: SequentialOptions;
  /** Tokens that the model reads; absent: numbers. */
  readonly tokens?: number;
  /** It can run step by step. */
  readonly streams?: boolean;
}

const sequences = { returnSequences: true, biasInitializer: "randomNormal" } as const;
const last = { biasInitializer: "randomNormal" } as const;
const shape: SequentialOptions = { inputShape: [null, 3], seed: 7 };

export const EXPORTED: readonly Exported[] = [
  { name: "gru", layers: () => [gru(5, last)], options: shape, streams: true },
  { name: "gru, sequences", layers: () => [gru(5, sequences)], options: shape, streams: true },
  {
    name: "gru without bias",
    layers: () => [gru(5, { useBias: false }), dense(2, { useBias: false })],
    options: shape,
    streams: true,
  },
  { name: "reset before", layers: () => [gru(5, { ...sequences, resetAfter: false })], options: shape, streams: true },
  {
    name: "stack with head",
    layers: () => [gru(5, sequences), dropout(0.25), gru(4, last), dense(3, { activation: "softmax" })],
    options: shape,
    streams: true,
  },
  {
    name: "tokens, layerNorm, logSoftmax",
    layers: () => [
      embedding(7, 4),
      gru(5, sequences),
      layerNorm({ epsilon: 1e-3 }),
      dense(3, { activation: "logSoftmax" }),
    ],
    options: { inputShape: [null], seed: 7 },
    tokens: 7,
    streams: true,
  },
  {
    name: "bidirectional",
    layers: () => [bidirectional(gru(3, sequences)), bidirectional(gru(4, last)), dense(2)],
    options: shape,
  },
  { name: "goBackwards", layers: () => [gru(5, { ...last, goBackwards: true }), dense(2)], options: shape },
  {
    name: "goBackwards, sequences",
    layers: () => [gru(5, { ...sequences, goBackwards: true }), dense(2)],
    options: shape,
  },
  {
    name: "goBackwards, in time",
    layers: () => [gru(5, { ...sequences, goBackwards: true }), reverse(), dense(2)],
    options: shape,
  },
  ...(["valid", "same", "causal"] as const).flatMap((padding) =>
    ([1, 2] as const).map(
      (strides): Exported => ({
        name: `conv1d, ${padding}, strides ${strides}`,
        layers: () => [
          conv1d(6, 3, { padding, strides, activation: "relu", biasInitializer: "randomNormal" }),
          gru(4, last),
        ],
        options: shape,
      }),
    ),
  ),
  {
    name: "conv1d of 2, same, dilation",
    layers: () => [conv1d(4, 2, { padding: "same", dilation: 2 }), conv1d(4, 1, { useBias: false }), gru(4, last)],
    options: shape,
  },
  {
    name: "affine",
    layers: () => [
      gru(4, sequences),
      affine({ scaleInitializer: "randomNormal", shiftInitializer: "randomNormal" }),
      gru(2),
    ],
    options: shape,
    streams: true,
  },
  ...(["max", "mean"] as const).flatMap((kind): Exported[] => [
    {
      name: `${kind} of all steps`,
      layers: () => [gru(4, sequences), pooling1d({ kind, global: true }), dense(2)],
      options: shape,
    },
    {
      name: `${kind} of two steps`,
      layers: () => [gru(4, sequences), pooling1d({ kind, size: 2 }), gru(2)],
      options: shape,
    },
    {
      name: `${kind} of three steps, same`,
      layers: () => [gru(4, sequences), pooling1d({ kind, size: 3, strides: 2, padding: "same" }), gru(2)],
      options: shape,
    },
  ]),
  {
    name: "hard gates, relu",
    layers: () => [gru(5, { ...sequences, recurrentActivation: "hardSigmoid", activation: "relu" })],
    options: shape,
    streams: true,
  },
  {
    name: "hard gates of Keras 2, reset before",
    layers: () => [
      gru(5, {
        ...last,
        recurrentActivation: "hardSigmoid02",
        activation: { name: "elu", alpha: 0.8 },
        resetAfter: false,
      }),
    ],
    options: shape,
    streams: true,
  },
  {
    name: "clipped gates",
    layers: () => [
      gru(5, {
        ...last,
        recurrentActivation: { name: "clippedSigmoid", alpha: 0.5 },
        activation: { name: "clippedTanh", alpha: 0.5 },
      }),
    ],
    options: shape,
    streams: true,
  },
  ...(
    [
      "tanh",
      "sigmoid",
      "relu",
      "leakyRelu",
      "elu",
      "selu",
      "gelu",
      "silu",
      "softplus",
      "softsign",
      "hardtanh",
      "hardSigmoid",
      "hardSigmoid02",
      "thresholdedRelu",
      "logSoftmax",
    ] as const
  ).map(
    (of): Exported => ({
      name: `${of} in a dense layer, after a gru`,
      layers: () => [gru(4, last), dense(6, { activation: of, biasInitializer: "randomNormal" })],
      options: shape,
      streams: true,
    }),
  ),
  {
    name: "activations as layers",
    layers: () => [
      gru(4, sequences),
      activation("leakyRelu"),
      activation({ name: "hardtanh", alpha: -0.2, beta: 0.3 }),
      gru(2),
    ],
    options: shape,
    streams: true,
  },
];

/** Those whose layers come back as others that compute the same: ONNX has no operator for their activation. */
export const REWRITTEN: readonly Exported[] = (
  ["logSigmoid", "affine", "scaledTanh", "clippedTanh", "clippedSigmoid"] as const
).map((of) => ({
  name: `${of} in a dense layer`,
  layers: () => [gru(4, last), dense(6, { activation: of })],
  options: shape,
}));

export function make({ layers, options }: Exported): Promise<Model> {
  return sequential(layers(), options);
}

/** Models that branch, with their inputs. */
export interface ExportedGraph {
  readonly name: string;
  readonly make: () => Promise<Model<Tensor | Record<string, Tensor>>>;
  /** By name; a single input is "x". */
  readonly inputs: Readonly<Record<string, Tensor>>;
}

const series = (seed: number, steps = 5, features = 3) => randomTensor([2, steps, features], seed);
// What `predict` gives depends on the outputs; here it is one of two things.
const made = (model: Promise<unknown>) => model as Promise<Model<Tensor | Record<string, Tensor>>>;

export const EXPORTED_GRAPHS: readonly ExportedGraph[] = [
  {
    name: "residual",
    make() {
      const x = input([null, 3]);
      const y = gru(3, sequences)(x);
      return made(graph({ inputs: x, outputs: dense(2)(add()([x, gru(3, sequences)(y), y])), seed: 1 }));
    },
    inputs: { x: series(1) },
  },
  {
    name: "two inputs, merged in every way",
    make() {
      const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
      const [p, q] = [gru(4, sequences)(a), gru(4, sequences)(b)];
      const parts = [
        multiply()([p, q]),
        subtract()([p, q]),
        maximum()([p, q]),
        minimum()([p, q]),
        average()([p, q, p]),
      ];
      return made(graph({ inputs: [a, b], outputs: dense(3)(concatenate()(parts)), seed: 2 }));
    },
    inputs: { a: series(1), b: series(2) },
  },
  {
    name: "a decoder that begins with the encoder's state",
    make() {
      const [source, target] = [input([null, 3], { name: "source" }), input([null, 2], { name: "target" })];
      const [encoded, state] = gru(4, { ...sequences, returnState: true })(source);
      const decoded = gru(4, sequences)(target, { initialState: state });
      return made(
        graph({
          inputs: { source, target },
          outputs: { decoded: dense(2)(decoded), encoded: dense(3)(encoded), state },
          seed: 3,
        }),
      );
    },
    inputs: { source: series(1), target: series(2, 4, 2) },
  },
  {
    name: "outputs and last state of both directions",
    make() {
      const x = input([null, 3]);
      const [y, forward, backward] = bidirectional(gru(3, { ...sequences, returnState: true }))(x);
      return made(
        graph({ inputs: x, outputs: { y: dense(2)(y), last: dense(2)(concatenate()([forward, backward])) }, seed: 4 }),
      );
    },
    inputs: { x: series(1) },
  },
  {
    name: "one layer for two inputs",
    make() {
      const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
      const shared = gru(4, last);
      return made(graph({ inputs: [a, b], outputs: dense(1)(subtract()([shared(a), shared(b)])), seed: 5 }));
    },
    inputs: { a: series(1), b: series(2) },
  },
];
