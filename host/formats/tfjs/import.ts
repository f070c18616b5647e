import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import { count, shapeText, type Tensor } from "../../core/tensor.ts";
import type { Model } from "../../stacks/model.ts";
import { readBeside, type SourceFile } from "../beside.ts";
import { concat } from "../concat.ts";
import { fromHalf } from "../half.ts";
import { buildModel } from "../keras/build.ts";
import { type Config, type KerasModel, kerasDialect, parseJson, TFJS } from "../keras/config.ts";
import { byPart, importApart, ofInner, topology } from "../keras/import.ts";
import { plainBytes } from "../source.ts";
import { unpackedLimit } from "../zip.ts";

/**
 * TensorFlow.js layers models: `model.json` with Keras's JSON and a manifest
 * of weights, whose numbers stand one after the other in the files beside it.
 */

const WHERE = "loadModel()";

/** The bytes of a file that model.json names. */
type Fetch = (path: string) => Promise<Uint8Array>;

/** A model from model.json and the files that came with it, or lie beside it. */
export async function importTfjs(file: SourceFile): Promise<Model> {
  const json = parseJson(new TextDecoder().decode(file.bytes.slice()), `${WHERE}: the file`);
  // Keras itself writes the two apart: model.to_json() and model.save_weights().
  const apart = [...(file.files?.keys() ?? [])].find((name) => /\.(h5|hdf5)$/.test(name));
  const fetch: Fetch = (path) => readBeside(file, path, WHERE);
  if (isRecord(json) && "class_name" in json && apart !== undefined) return importApart(json, await fetch(apart));
  return fromManifest(json, fetch);
}

async function fromManifest(json: unknown, fetch: Fetch): Promise<Model> {
  if (!isRecord(json)) throw new FormatError(`${WHERE}: expected the object of a model.json`);
  if (json.format === "graph-model")
    throw new FormatError(
      `${WHERE}: a TensorFlow.js graph model; convert the original again with --output_format=tfjs_layers_model`,
    );
  if (json.modelTopology === undefined && "class_name" in json)
    throw new FormatError(
      `${WHERE}: the JSON of a Keras model without weights; pass { "model.json": ..., "model.weights.h5": ... }, or save the model as .keras`,
    );
  const groups = json.weightsManifest;
  if (!Array.isArray(groups)) throw new FormatError(`${WHERE}: a JSON file without "weightsManifest" is no model.json`);
  const weights = new Map<string, Tensor>();
  for (const group of groups) {
    if (!isRecord(group) || !Array.isArray(group.paths) || !Array.isArray(group.weights))
      throw new FormatError(`${WHERE}: a group of "weightsManifest" without paths and weights`);
    if (new Set(group.paths).size !== group.paths.length)
      throw new FormatError(`${WHERE}: a path stands twice in "weightsManifest"`);
    const pieces: Uint8Array[] = [];
    for (const path of group.paths) {
      if (typeof path !== "string") throw new FormatError(`${WHERE}: a path of "weightsManifest" is ${shown(path)}`);
      pieces.push(await fetch(path));
    }
    readWeights(group.weights, joined(pieces), weights);
  }
  return build(json.modelTopology, weights);
}

/** A model as TensorFlow.js itself hands it on: { modelTopology, weightSpecs, weightData }. */
export async function importArtifacts(files: Config): Promise<Model> {
  const data = "weightData" in files ? joined(files.weightData) : new Uint8Array();
  const weights = new Map<string, Tensor>();
  readWeights(Array.isArray(files.weightSpecs) ? files.weightSpecs : [], data, weights);
  return build(files.modelTopology, weights);
}

/** One buffer, or several in order. */
function joined(data: unknown): Uint8Array {
  const pieces = (Array.isArray(data) ? data : [data]).map((piece: unknown) => {
    if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
    if (piece instanceof Uint8Array) return plainBytes(piece);
    throw new FormatError(`${WHERE}: "weightData": expected bytes, got ${shown(piece)}`);
  });
  return pieces.length === 1 ? pieces[0] : concat(pieces);
}

const SIZES: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1, uint8: 1, uint16: 2, float16: 2 };

/** Weights of a manifest from the bytes of its group; they must fill them. */
function readWeights(specs: readonly unknown[], data: Uint8Array, into: Map<string, Tensor>): void {
  let at = 0;
  let room = unpackedLimit(data.length);
  for (const spec of specs) {
    if (!isRecord(spec) || typeof spec.name !== "string") throw new FormatError(`${WHERE}: a weight without a name`);
    const { name, shape, quantization } = spec;
    const what = `${WHERE}: the weights ${shown(name)}`;
    if (!Array.isArray(shape) || shape.length > 8 || !shape.every((n) => Number.isSafeInteger(n) && n >= 0))
      throw new FormatError(`${what}: expected a shape, got ${shown(shape)}`);
    const dtype = isRecord(quantization) ? quantization.dtype : spec.dtype;
    if (typeof dtype !== "string" || !Object.hasOwn(SIZES, dtype))
      throw new FormatError(`${what}: expected numbers of ${Object.keys(SIZES).join(", ")}, got ${shown(dtype)}`);
    const bytes = count(shape) * SIZES[dtype];
    if (!(at + bytes <= data.length))
      throw new FormatError(
        `${what}: expected ${bytes} bytes for ${shapeText(shape)} from byte ${at}, got ${data.length} in all`,
      );
    room -= 4 * count(shape);
    if (room < 0) throw new FormatError(`${what}: more numbers than the files hold`);
    if (into.has(name)) throw new FormatError(`${what} stand twice in the manifest`);
    const { buffer } = data.slice(at, at + bytes);
    const packed = isRecord(quantization) ? quantization : undefined;
    into.set(name, { shape, data: decode(buffer as ArrayBuffer, dtype, packed, spec.dtype, what) });
    at += bytes;
  }
  if (at !== data.length) throw new FormatError(`${WHERE}: expected ${at} bytes of weights, got ${data.length}`);
}

function decode(
  buffer: ArrayBuffer,
  dtype: string,
  quantization: Config | undefined,
  original: unknown,
  what: string,
): Float32Array {
  if (dtype === "float32") return new Float32Array(buffer);
  if (dtype === "float16") return fromHalf(new Uint16Array(buffer));
  if (dtype === "int32") return Float32Array.from(new Int32Array(buffer));
  const stored = dtype === "uint16" ? new Uint16Array(buffer) : new Uint8Array(buffer);
  if (!quantization) return Float32Array.from(stored);
  const { min, scale } = quantization;
  if (typeof min !== "number" || typeof scale !== "number")
    throw new FormatError(`${what}: a quantization without min and scale`);
  return Float32Array.from(stored, (q) => (original === "int32" ? Math.round(q * scale + min) : q * scale + min));
}

function build(modelTopology: unknown, weights: ReadonlyMap<string, Tensor>): Promise<Model> {
  const converted = isRecord(modelTopology) && isRecord(modelTopology.model_config);
  const { class_name: className, config } = topology(converted ? modelTopology.model_config : modelTopology);
  const version = isRecord(modelTopology) ? modelTopology.keras_version : undefined;
  // What the converter made of a Keras model has Keras's version, and Keras's meaning.
  const dialect =
    typeof version === "string" && /^\d/.test(version)
      ? kerasDialect(version, String((modelTopology as Config).backend))
      : TFJS;
  return buildModel({ className, config, dialect, weights: byName(weights) });
}

/** Weights by names of their layer: "gru_1/kernel", "bidirectional/forward_gru/gru_cell/kernel". */
function byName(weights: ReadonlyMap<string, Tensor>): KerasModel["weights"] {
  const parts = byPart([...weights.keys()]);
  const beginning = (part: string) => (parts.by.get(part) ?? []).filter((name) => name.startsWith(`${part}/`));
  return async ({ names, depth }) => {
    const tests = [
      () => (depth === 1 ? beginning(names[0]) : []),
      () => ofInner(parts, names.slice(0, depth)),
      () => names.slice(depth).flatMap(beginning),
    ];
    const found = tests.map((test) => test()).find(({ length }) => length > 0) ?? [];
    return found.map((name) => weights.get(name)!);
  };
}
