import { createRequire } from "node:module";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadModel, type Tensor } from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { randomLabels, randomTensor } from "../kit/models.ts";

/** TensorFlow.js makes and saves models, and gruvy gives the same numbers. */

interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
}
interface Node {
  readonly shape: (number | null)[];
}
interface TfLayer {
  apply(inputs: Node | Node[]): Node;
}
interface TfModel {
  add(layer: TfLayer): void;
  getWeights(): TfTensor[];
  setWeights(weights: TfTensor[]): void;
  predict(x: TfTensor | TfTensor[]): TfTensor | TfTensor[];
  save(handler: { save(artifacts: object): Promise<object> }): Promise<object>;
}
interface Tf {
  tensor(data: Float32Array | Int32Array, shape: number[], dtype: string): TfTensor;
  setBackend(name: string): Promise<boolean>;
}
type Options = Readonly<Record<string, unknown>>;
interface TfLayers {
  sequential(): TfModel;
  model(options: { inputs: Node | Node[]; outputs: Node | Node[] }): TfModel;
  input(options: Options): Node;
  readonly layers: Readonly<Record<string, (options: Options) => TfLayer>>;
}

const require = createRequire(import.meta.url);
const tf = require("@tensorflow/tfjs-core") as Tf;
require("@tensorflow/tfjs-backend-cpu");
// tensor.flatten() and the like, which initialisers use.
require("@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops");
const tfl = require("@tensorflow/tfjs-layers") as TfLayers;
await tf.setBackend("cpu");

/** float32 sums in another order, and other functions: some 1e-6 of the largest entry. */
const TOLERANCE = 3e-6;

type Input = Tensor | Tensor<Int32Array>;

const x = randomTensor([3, 6, 4], 1);
const holes: Tensor = { shape: x.shape, data: x.data.map((v, i) => ([0, 2, 7].includes(Math.floor(i / 4)) ? 0 : v)) };
const inputShape = [6, 4];

function chain(...layers: (readonly [kind: string, options?: Options])[]): TfModel {
  const model = tfl.sequential();
  for (const [i, [kind, options = {}]] of layers.entries())
    model.add(tfl.layers[kind]({ ...(i === 0 && kind !== "embedding" && { inputShape }), ...options }));
  return model;
}

const gru = (units: number, options: Options = {}) => tfl.layers.gru({ units, ...options });
const sequences = { returnSequences: true };

const MODELS: readonly (readonly [name: string, make: () => TfModel, ...inputs: Input[]])[] = [
  [
    "convolution and normalisation",
    () =>
      chain(
        ["conv1d", { filters: 5, kernelSize: 3, padding: "same", activation: "relu" }],
        ["batchNormalization"],
        ["maxPooling1d", { poolSize: 2 }],
        ["gru", { units: 3, ...sequences }],
        ["batchNormalization", { scale: false, center: false }],
        ["flatten"],
        ["dense", { units: 2 }],
      ),
    x,
  ],
  [
    "other shapes",
    () => chain(["permute", { dims: [2, 1] }], ["reshape", { targetShape: [3, 8] }], ["gru", { units: 3 }]),
    x,
  ],
  [
    "activations as layers",
    () =>
      chain(
        ["dense", { units: 4 }],
        ["leakyReLU", { alpha: 0.2 }],
        ["elu"],
        ["thresholdedReLU", { theta: 0.3 }],
        ["reLU", { maxValue: 0.6 }],
        ["softmax", { axis: -1 }],
        ["spatialDropout1d", { rate: 0.2 }],
        ["gaussianNoise", { stddev: 0.2 }],
        ["flatten"],
        ["softmax"],
      ),
    x,
  ],
  [
    "several cells",
    () => {
      const cell = [5, 3].map((units) => tfl.layers.gruCell({ units }));
      return chain(["rnn", { cell, ...sequences }], ["globalAveragePooling1d"]);
    },
    x,
  ],
  [
    "masked",
    () => chain(["masking"], ["gru", { units: 3, ...sequences }], ["gru", { units: 2, goBackwards: true }]),
    holes,
  ],
  [
    "tokens",
    () =>
      chain(
        ["embedding", { inputDim: 9, outputDim: 4, maskZero: true, inputLength: 6 }],
        ["bidirectional", { layer: gru(3, sequences), mergeMode: "sum" }],
        ["timeDistributed", { layer: tfl.layers.dense({ units: 2, activation: "tanh" }) }],
      ),
    randomLabels([3, 6], 9, 2),
  ],
  [
    "merged",
    () => {
      const a = tfl.input({ shape: inputShape });
      const [p, q] = [gru(4, sequences).apply(a), tfl.layers.dense({ units: 4 }).apply(a)];
      const outputs = ["add", "multiply", "average", "maximum", "minimum", "concatenate"].map((kind) =>
        tfl.layers[kind]({}).apply([p, q]),
      );
      return tfl.model({ inputs: a, outputs });
    },
    x,
  ],
  [
    "a number a step",
    () => {
      const a = tfl.input({ shape: inputShape });
      const score = tfl.layers.dense({ units: 1, activation: "sigmoid" }).apply(a);
      return tfl.model({ inputs: a, outputs: tfl.layers.multiply({}).apply([a, score]) });
    },
    x,
  ],
  [
    "attention of products",
    () => {
      const [a, b] = [tfl.input({ shape: inputShape }), tfl.input({ shape: inputShape })];
      const [q, k] = [a, b].map((one) => gru(5, sequences).apply(one));
      const scores = tfl.layers.dot({ axes: [2, 2] }).apply([q, k]);
      const weights = tfl.layers.activation({ activation: "softmax" }).apply(scores);
      const context = tfl.layers.dot({ axes: [2, 1] }).apply([weights, k]);
      return tfl.model({ inputs: [a, b], outputs: tfl.layers.concatenate({}).apply([context, q]) });
    },
    x,
    holes,
  ],
  [
    "a model in a model, twice",
    () => {
      const [a, b] = [tfl.input({ shape: inputShape }), tfl.input({ shape: [6, 4] })];
      const inner = chain(["gru", { units: 3 }], ["dense", { units: 2 }]) as unknown as TfLayer;
      return tfl.model({ inputs: [a, b], outputs: tfl.layers.concatenate({}).apply([inner.apply(a), inner.apply(b)]) });
    },
    x,
    holes,
  ],
];

for (const [name, make, ...inputs] of MODELS)
  test(`${name}: the same outputs`, async () => {
    const theirs = make();
    // Statistics of normalisations are to be above 0.
    const drawn = theirs.getWeights().map(({ shape }, i) => {
      const { data } = randomTensor([...shape], 7 + i, 0.7);
      return tf.tensor(name.includes("normal") ? data.map(Math.abs) : data, shape, "float32");
    });
    theirs.setWeights(drawn);
    let artifacts: object = {};
    await theirs.save({
      save: async (saved) => {
        artifacts = saved;
        return { modelArtifactsInfo: {} };
      },
    });
    const given = inputs.map(({ shape, data }) =>
      tf.tensor(data, [...shape], data instanceof Int32Array ? "int32" : "float32"),
    );
    const expected = [theirs.predict(given.length === 1 ? given[0] : given)].flat();
    const model = await loadModel<Tensor | Tensor[]>(artifacts as never);
    const made = [await model.predict((inputs.length === 1 ? inputs[0] : inputs) as never)].flat();
    for (const [i, y] of expected.entries()) {
      assert.equal(made[i].shape, y.shape);
      close(made[i].data, await y.data(), TOLERANCE, `output ${i}`, 1e-7);
    }
    model.dispose();
  });

test.run();
