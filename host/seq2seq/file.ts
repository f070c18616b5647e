import { readSafetensors, type WritableTensor, writeSafetensors } from "../formats/safetensors.ts";
import type { Model } from "../stacks/model.ts";
import type { Seq2SeqConfig } from "./parts.ts";

/** The metadata entry beside that of the whole model. */
export const ENTRY = "gruvy.seq2seq";

/** The file of the whole model, which says as well what it is the whole of. */
export function toBytes(whole: Model, config: Seq2SeqConfig): Uint8Array<ArrayBuffer> {
  const { tensors, metadata } = readSafetensors(whole.toBytes(), "save()");
  const entries = { ...Object.fromEntries(metadata), [ENTRY]: JSON.stringify(config) };
  return writeSafetensors(tensors as ReadonlyMap<string, WritableTensor> as Map<string, WritableTensor>, entries) as Uint8Array<ArrayBuffer>;
} // biome-ignore format: long lines
