/**
 * Models and weights of other programs: `gruvy/formats`. `loadModel` comes
 * here by itself for a file that is not gruvy's own.
 */
export { type ExportFormat, type ExportOptions, exportModel } from "./export.ts";
export { fromKeras, fromPyTorch, importModel } from "./import.ts";
export type { OnnxExportOptions } from "./onnx/export.ts";
export type { FromPyTorchOptions } from "./torch/import.ts";
