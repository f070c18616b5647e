import { FormatError, GruvyError, OptionError } from "../core/errors.ts";
import { isRecord, shown } from "../core/options.ts";
import type { Model } from "../stacks/model.ts";
import { filesByName, type SourceFile } from "./beside.ts";
import { isOnnx, isTorch } from "./detect.ts";
import { isFiles, isSource, type ModelFiles, type ModelSource, readSource } from "./source.ts";
import type { FromPyTorchOptions } from "./torch/import.ts";
import { isZip } from "./zip.ts";

const WHERE = "loadModel()";

interface Importer {
  readonly name: string;
  /** Whether a file is of this format, from a look at it that costs nothing. */
  matches(bytes: Uint8Array): boolean;
  load(file: SourceFile): Promise<Model>;
}

/** What `loadModel` reads besides our own files. Each in a chunk of its own, loaded when a file asks for it. */
const IMPORTERS: readonly Importer[] = [
  {
    name: "Keras .h5",
    // After a block of the user's own of 512 bytes or more, or none.
    matches: (bytes) => [0, 512, 1024, 2048].some((at) => begins(bytes, "\x89HDF\r\n\x1a\n", at)),
    load: async (file) => (await import("./keras/import.ts")).importH5(file.bytes),
  },
  {
    name: "PyTorch weights",
    matches: isTorch,
    load() {
      throw new FormatError(
        "loadModel(): a file of PyTorch's, which holds weights and no architecture; make the model, then fill it with fromPyTorch(source, model) of gruvy/formats; npx gruvy inspect lists the modules in the file",
      );
    },
  },
  {
    name: "ONNX",
    matches: isOnnx,
    load: async (file) => (await import("./onnx/import.ts")).importOnnx(file),
  },
  {
    name: "Keras .keras",
    matches: isZip,
    load: async (file) => (await import("./keras/import.ts")).importKerasZip(file.bytes),
  },
  {
    name: "TensorFlow.js model.json",
    matches: (bytes) => /^(\ufeff|\xef\xbb\xbf)?\s*\{/.test(latin(bytes, 0, 64)),
    load: async (file) => (await import("./tfjs/import.ts")).importTfjs(file),
  },
];

function latin(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}

function begins(bytes: Uint8Array, magic: string, at = 0): boolean {
  return latin(bytes, at, at + magic.length) === magic;
}

/** The format of a file that `importModel` reads, or undefined. */
export function formatOf(bytes: Uint8Array): string | undefined {
  return IMPORTERS.find(({ matches }) => matches(bytes))?.name;
}

/**
 * A model from a file of another program; its content tells which.
 *
 * @param source one file; several by name, with a .json or an .onnx among them; what TensorFlow.js itself hands on,
 *               { modelTopology, weightSpecs, weightData }
 * @param bytes  the file's, where the source is one file
 * @throws FormatError for a file that is damaged, hostile, or holds what gruvy has not; it names what
 */
export async function importModel(source: ModelSource | ModelFiles, bytes?: Uint8Array): Promise<Model> {
  if (!bytes && !isFiles(source))
    throw new OptionError(`${WHERE}: expected a path, URL, bytes, Response or File, got ${shown(source)}`);
  try {
    if (bytes) return await importFile({ bytes, place: placeOf(source) });
    if (isRecord(source) && "modelTopology" in source)
      return await (await import("./tfjs/import.ts")).importArtifacts(source);
    return await importFiles(filesByName(source as ModelFiles), source);
  } catch (error) {
    // What a layer refuses, the file has asked for; what loadModel() refuses itself, its caller has.
    if (!(error instanceof GruvyError) || error instanceof FormatError || error.message.startsWith(WHERE)) throw error;
    throw new FormatError(`${WHERE}: ${error.message}`);
  }
}

/** A model of several files; of one alone that one. */
async function importFiles(files: ReadonlyMap<string, unknown>, given: unknown): Promise<Model> {
  const names = [...files.keys()];
  const main = names.find((name) => /\.(json|onnx)$/i.test(name)) ?? (names.length === 1 ? names[0] : undefined);
  const file = main === undefined ? undefined : files.get(main);
  if (!isSource(file))
    throw new OptionError(
      `${WHERE}: expected a path, URL, bytes, Response or File, or files by name with one .json or .onnx among them, got ${shown(given)}`,
    );
  // It may be of gruvy's own.
  if (names.length === 1 && !/\.json$/i.test(names[0])) return (await import("./gruvy.ts")).loadModel(file);
  return importFile({ bytes: await readSource(file, WHERE), files });
}

async function importFile(file: SourceFile): Promise<Model> {
  const { bytes } = file;
  const start = latin(bytes, 0, 40);
  if (start.startsWith("version https://git-lfs"))
    throw new FormatError(
      `${WHERE}: a pointer that Git LFS has left in the place of a file; get the file with git lfs pull`,
    );
  if (/^(\xef\xbb\xbf)?\s*<(!doctype html|html)/i.test(start))
    throw new FormatError(`${WHERE}: a page in HTML, as servers send in the place of a file that they have not`);
  if (start.startsWith("\x1f\x8b")) throw new FormatError(`${WHERE}: a gzip archive; unpack it first`);
  const importer = IMPORTERS.find(({ matches }) => matches(bytes));
  if (!importer)
    throw new FormatError(
      `${WHERE}: ${bytes.length} bytes of no format known here: gruvy .safetensors, ${IMPORTERS.map(({ name }) => name).join(", ")}`,
    );
  return importer.load(file);
}

function placeOf(source: unknown): string | undefined {
  if (typeof source === "string" || source instanceof URL) return String(source);
  const url = (source as { url?: unknown }).url;
  return typeof url === "string" && url ? url : undefined;
}

/**
 * Fills a model's weights from a file of PyTorch: a state dict or a checkpoint
 * that holds one (`.pt`, `.pth`, zip or legacy), a TorchScript archive, or
 * `.safetensors`.
 *
 * Layers take modules of their kind and shape in order: each gru of a stack
 * one level of an nn.GRU, a bidirectional one both directions of a level, an
 * embedding an nn.Embedding, a dense an nn.Linear, a conv1d an nn.Conv1d, a
 * layerNorm an nn.LayerNorm, a multiHeadAttention an nn.MultiheadAttention. A
 * module called as the layer goes before others. Where names and order say
 * different things, `mapping` decides; `npx gruvy inspect` shows what a file has.
 *
 * @example
 * const model = await sequential([gru(64, { returnSequences: true }), gru(64), dense(3)], { inputShape: [null, 8] })
 * await fromPyTorch("checkpoint.pt", model)
 * @param source path, URL, bytes, Response, File or Blob
 * @returns the model
 * @throws FormatError naming what is missing, what is left over, and shapes that differ; then nothing has changed
 */
export async function fromPyTorch<M extends Model<unknown>>(
  source: ModelSource,
  model: M,
  options: FromPyTorchOptions = {},
): Promise<M> {
  const { fillFromTorch } = await import("./torch/import.ts");
  await fillFromTorch(source, model, options);
  return model;
}

/**
 * Fills a model's weights from a file of Keras: `.weights.h5` of any version,
 * and whole models, of which the weights alone are read.
 *
 * Layers are found as Keras finds them: in files with names by these, where
 * all of the model's are there, and otherwise in order; in files of Keras 3
 * by their class and which of it they are. An `affine` takes a batch
 * normalisation, whose epsilon is in no such file: it is taken to be 1e-3, as
 * it is in Keras.
 *
 * @example await fromKeras("gru.weights.h5", await sequential([gru(64), dense(3)], { inputShape: [null, 8] }))
 * @param source path, URL, bytes, Response, File or Blob
 * @returns the model
 * @throws FormatError naming what is missing, left over, or of another shape; then nothing has changed
 */
export async function fromKeras<Outputs>(source: ModelSource, model: Model<Outputs>): Promise<Model<Outputs>> {
  const { fillFromKeras } = await import("./keras/weights.ts");
  return fillFromKeras(source, model);
}
