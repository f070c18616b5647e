import { createRequire } from "node:module";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel } from "../../host/formats/index.ts";
import type { Tensor } from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { KERAS_MODELS } from "../kit/keras-models.ts";

/** TensorFlow.js loads what gruvy exports, and gives the same numbers. */

interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
}
interface Tf {
  tensor(data: Float32Array | Int32Array, shape: number[], dtype: string): TfTensor;
  setBackend(name: string): Promise<boolean>;
}
interface TfLayers {
  loadLayersModel(handler: {
    load(): Promise<object>;
  }): Promise<{ predict(x: TfTensor | TfTensor[]): TfTensor | TfTensor[] }>;
}

const require = createRequire(import.meta.url);
const tf = require("@tensorflow/tfjs-core") as Tf;
require("@tensorflow/tfjs-backend-cpu");
const layers = require("@tensorflow/tfjs-layers") as TfLayers;
await tf.setBackend("cpu");

/** float32 sums in another order, and other functions: some 1e-6 of the largest entry. */
const TOLERANCE = 3e-6;

for (const { name, make, inputs } of KERAS_MODELS.filter((one) => one.formats.includes("tfjs")))
  test(`${name}: the same outputs`, async () => {
    const model = await make();
    const files = await exportModel(model, "tfjs");
    const json = JSON.parse(new TextDecoder().decode(files["model.json"]));
    const { buffer } = files["weights.bin"];
    const artifacts = {
      modelTopology: json.modelTopology,
      weightSpecs: json.weightsManifest[0].weights,
      weightData: buffer,
    };
    const theirs = await layers.loadLayersModel({ load: async () => artifacts });
    const given = inputs.map(({ shape, data }) =>
      tf.tensor(data, [...shape], data instanceof Int32Array ? "int32" : "float32"),
    );
    const made = theirs.predict(given.length === 1 ? given[0] : given);
    const expected = await model.predict(inputs.length === 1 ? inputs[0] : [...inputs]);
    const list = (y: Tensor | Tensor[]) => (Array.isArray(y) ? y : [y]);
    for (const [i, y] of (Array.isArray(made) ? made : [made]).entries()) {
      assert.equal(y.shape, list(expected)[i].shape);
      close(await y.data(), list(expected)[i].data, TOLERANCE, `output ${i}`);
    }
    model.dispose();
  });

test.run();
