import type * as Gruvy from "../../host/index.ts";
import type { LayerWeights } from "./onnx.ts";

/** What is published is what is measured. */
export const gruvy = (await import(new URL("../../dist/index.js", import.meta.url).href)) as typeof Gruvy;

/** A model and the batch it is measured with. */
export interface Shape {
  /** Input features. */
  I: number;
  /** Units of the GRUs, one above the other; the last gives its final state. */
  units: number[];
  /** Outputs of a dense layer with softmax at the end. */
  classes?: number;
  T: number;
  B: number;
  resetAfter?: boolean;
}

/** A small generator: values far from denormals, the same at each run. */
export function noise(n: number, scale = 1, seed = 12345): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

export const LEARNING_RATE = 1e-4; // low, so that a measurement does not end in gradients that underflow

/** The shape as our model, compiled for training; biases are not zero, so that comparing outputs proves something. */
export async function ourModel({ I, units, classes, resetAfter = true }: Shape): Promise<Gruvy.Model> {
  const { adam, dense, gru, sequential } = gruvy;
  const layers: Gruvy.Layer[] = units.map((n, i) =>
    gru(n, { returnSequences: i < units.length - 1, resetAfter, recurrentInitializer: "glorotUniform" }),
  );
  if (classes) layers.push(dense(classes, { activation: "softmax" }));
  const model = await sequential(layers, { inputShape: [null, I], seed: 1 });
  const weights = model.weights();
  for (const [i, name] of Object.keys(weights).entries())
    if (name.endsWith("bias")) weights[name].data.set(noise(weights[name].data.length, 0.1, i));
  model.setWeights(weights);
  if (classes) model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: LEARNING_RATE }) });
  return model;
}

/** The weights of a model, layer by layer, in Keras layouts. */
export function layersOf(model: Gruvy.Model): LayerWeights[] {
  const weights = Object.entries(model.weights());
  const names = [...new Set(weights.map(([name]) => name.split(".")[0]))];
  return names.map((layer) => {
    const part = (suffix: string) =>
      weights.find(([name]) => name === `${layer}.${suffix}`)?.[1] as LayerWeights["kernel"];
    const type = layer.startsWith("gru") ? "gru" : "dense";
    return { type, kernel: part("kernel"), recurrentKernel: part("recurrentKernel"), bias: part("bias") };
  });
}

/** A batch, in our order and with time first, as the peers like it best. */
export function batchOf({ I, T, B, classes = 0 }: Shape) {
  const data = noise(B * T * I);
  const timeMajor = new Float32Array(data.length);
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) timeMajor.set(data.subarray((b * T + t) * I, (b * T + t + 1) * I), (t * B + b) * I);
  const labels = Array.from({ length: B }, (_, b) => b % (classes || 1));
  const oneHot = new Float32Array(B * classes);
  if (classes) for (const [b, label] of labels.entries()) oneHot[b * classes + label] = 1;
  return {
    x: { shape: [B, T, I], data },
    xTimeMajor: { shape: [T, B, I], data: timeMajor },
    y: { shape: [B, classes], data: oneHot },
    labels,
  };
}

export function describe({ I, units, classes, T, B }: Shape): string {
  const layers = units.length > 1 ? `stack ${units.join("-")}` : `GRU ${units[0]}`;
  return `${layers}${classes ? ` + Dense ${classes}` : ""}, I=${I}, T=${T}, B=${B}`;
}
