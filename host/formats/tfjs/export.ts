import type { Json } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { TFJS } from "../keras/config.ts";
import { describeModel } from "../keras/describe.ts";
import { config2 } from "../keras/export.ts";
import type { Target } from "../keras/write.ts";

const TARGET: Target = {
  ...TFJS,
  resetAfter: false,
  lacks: [
    "Attention",
    "AdditiveAttention",
    "MultiHeadAttention",
    "Subtract",
    "ZeroPadding1D",
    "Cropping1D",
    "ELU",
    "leaky_relu",
    "log_sigmoid",
    "hard_tanh",
  ],
};

/**
 * A model as TensorFlow.js's layers format: "model.json" and "weights.bin".
 *
 * @throws FormatError for what TensorFlow.js has not: the reset gate after the product above all
 */
export async function toTfjs(model: Model<unknown>): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
  const described = describeModel(model, TARGET);
  const weights = described.layers.flatMap(({ name, weights: own }) =>
    own.map(({ name: weight, tensor }) => ({ name: `${name}/${weight}`, tensor })),
  );
  const data = new Float32Array(weights.reduce((sum, { tensor }) => sum + tensor.data.length, 0));
  weights.reduce((at, { tensor }) => {
    data.set(tensor.data, at);
    return at + tensor.data.length;
  }, 0);
  const specs: Json = weights.map(({ name, tensor }) => ({ name, shape: tensor.shape, dtype: "float32" }));
  const json = {
    format: "layers-model",
    generatedBy: "gruvy",
    convertedBy: null,
    modelTopology: { ...config2(described, true), keras_version: "tfjs-layers 4.22.0", backend: "tensor_flow.js" },
    weightsManifest: [{ paths: ["weights.bin"], weights: specs }],
  };
  return { "model.json": new TextEncoder().encode(JSON.stringify(json)), "weights.bin": new Uint8Array(data.buffer) };
}
