/**
 * Models and weights of other programs: `gruvy/formats`. `loadModel` comes
 * here by itself for a file that is not gruvy's own.
 */
export { type ExportFormat, type ExportOptions, exportModel } from "./export.ts";
export { importModel } from "./import.ts";
export { fromKeras } from "./keras/weights.ts";
export { type FromPyTorchOptions, fromPyTorch } from "./torch/import.ts";
