import type { Json } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { TFJS } from "../keras/config.ts";
import { describeModel, type Target } from "../keras/write.ts";

const TARGET: Target = { ...TFJS, resetAfter: false };

/**
 * A model as TensorFlow.js's layers format: "model.json" and "weights.bin".
 *
 * @throws FormatError for what TensorFlow.js has not: the reset gate after the product above all
 */
export async function toTfjs(model: Model): Promise<Record<string, Uint8Array>> {
  const { inputShape, tokens, layers } = describeModel(model, TARGET);
  const specs: Json[] = [];
  const pieces: Float32Array[] = [];
  const described = layers.map(({ name, className, config, weights }, i) => {
    for (const { name: own, tensor } of weights) {
      specs.push({ name: `${name}/${own}`, shape: tensor.shape, dtype: "float32" });
      pieces.push(tensor.data);
    }
    const first = i === 0 ? { batch_input_shape: [null, ...inputShape], dtype: tokens ? "int32" : "float32" } : {};
    return { class_name: className, config: { name, trainable: true, ...first, ...config } };
  });
  const data = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  pieces.reduce((at, piece) => {
    data.set(piece, at);
    return at + piece.length;
  }, 0);
  const json = {
    format: "layers-model",
    generatedBy: "gruvy",
    convertedBy: null,
    modelTopology: {
      class_name: "Sequential",
      config: { name: "sequential", layers: described },
      keras_version: "tfjs-layers 4.22.0",
      backend: "tensor_flow.js",
    },
    weightsManifest: [{ paths: ["weights.bin"], weights: specs }],
  };
  return { "model.json": new TextEncoder().encode(JSON.stringify(json)), "weights.bin": new Uint8Array(data.buffer) };
}
