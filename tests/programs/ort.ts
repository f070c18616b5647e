import { createRequire } from "node:module";

/** ONNX Runtime, as far as tests use it. */

export interface OrtTensor {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}
export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly { readonly name: string; readonly shape: readonly (number | string)[] }[];
  run(feeds: Record<string, unknown>): Promise<Record<string, OrtTensor>>;
}
interface Ort {
  readonly InferenceSession: { create(bytes: Uint8Array, options: object): Promise<Session> };
  readonly Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OrtTensor;
}

export const ort = createRequire(import.meta.url)("onnxruntime-node") as Ort;
