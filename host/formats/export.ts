import { OptionError, StateError } from "../core/errors.ts";
import { checkOptions, oneOf } from "../core/options.ts";
import { Model } from "../stacks/model.ts";
import type { OnnxExportOptions } from "./onnx/export.ts";

/** What a model can be written as. */
export type ExportFormat = "keras" | "h5" | "onnx" | "pytorch" | "tfjs";

/** Options of the formats that have some. */
export type ExportOptions = OnnxExportOptions;

/** Bytes that a Blob or a Response takes as they are. */
type Bytes = Uint8Array<ArrayBuffer>;

interface Exporter {
  /** Options it knows. */
  readonly options: readonly string[];
  write(model: Model, options: ExportOptions): Promise<Bytes | Record<string, Bytes>>;
}

/** One row a format, its writer in a chunk of its own. */
const EXPORTERS: Readonly<Record<ExportFormat, Exporter>> = {
  keras: { options: [], write: async (model) => (await import("./keras/export.ts")).toKerasZip(model) },
  h5: { options: [], write: async (model) => (await import("./keras/export.ts")).toH5(model) },
  onnx: {
    options: ["streaming", "lengths"],
    write: async (model, options) => (await import("./onnx/export.ts")).toOnnx(model, options),
  },
  pytorch: { options: [], write: async (model) => (await import("./torch/export.ts")).toPyTorch(model) },
  tfjs: { options: [], write: async (model) => (await import("./tfjs/export.ts")).toTfjs(model) },
};

/**
 * A model as a file of another program.
 *
 * @example await writeFile("digits.keras", await exportModel(model, "keras"))
 * @param format "keras" (.keras of Keras 3), "h5" (Keras's older .h5), "onnx" (every model; opset 17, or 20 with gelu;
 *               `{ streaming: true }` is one step with states in and out, `{ lengths: true }` takes padded batches),
 *               "pytorch" (weights for load_state_dict, as safetensors), "tfjs" (TensorFlow.js layers model)
 * @returns the file's bytes; for "tfjs" two files by name: "model.json" and "weights.bin"
 * @throws FormatError when the format cannot hold the model; it names the layer and what would do
 */
export function exportModel(model: Model<unknown>, format: "tfjs"): Promise<Record<string, Bytes>>;
export function exportModel(
  model: Model<unknown>,
  format: Exclude<ExportFormat, "tfjs">,
  options?: ExportOptions,
): Promise<Bytes>;
export function exportModel(
  model: Model<unknown>,
  format: ExportFormat,
  options?: ExportOptions,
): Promise<Bytes | Record<string, Bytes>>;
export async function exportModel(
  model: Model<unknown>,
  format: ExportFormat,
  options: ExportOptions = {},
): Promise<Bytes | Record<string, Bytes>> {
  const where = "exportModel()";
  if (!(model instanceof Model))
    throw new OptionError(
      `${where}: the first argument is not a model; that of a seq2seq is loadModel(translator.toBytes())`,
    );
  const known = Object.keys(EXPORTERS) as ExportFormat[];
  const exporter = EXPORTERS[oneOf(where, "format", format, known)];
  checkOptions(`${where}: ${format}`, options, exporter.options);
  model.network.checkAlive();
  if (model.network.quantization)
    throw new StateError(`${where}: a quantised model has no float weights; export the model it was made from`);
  // Writers look at layers and weights: what predict gives is nothing to them.
  return exporter.write(model as Model, options);
}
