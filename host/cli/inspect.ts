import { FormatError } from "../core/errors.ts";
import { builtin } from "../core/host.ts";
import { count, shapeText } from "../core/tensor.ts";
import { isTorch } from "../formats/detect.ts";
import { loadModel } from "../formats/gruvy.ts";
import { formatOf } from "../formats/import.ts";
import { isSafetensors, readSafetensors } from "../formats/safetensors.ts";
import { readSource } from "../formats/source.ts";
import { unpackedLimit } from "../formats/zip.ts";
import { print } from "./terminal.ts";

/** What there is to know of a file. */
interface Report {
  readonly file: string;
  readonly format: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly parameters: number;
  /** Of all weights in order, as float32: the same for the same weights in any format. */
  readonly weightsSha256?: string;
  readonly inputShapes?: Shapes;
  readonly outputShapes?: Shapes;
  readonly architecture?: object;
  /** Of weights alone what their names and shapes look like. */
  readonly modules?: readonly (Keyed & { readonly kind: string })[];
  readonly tensors: readonly (Keyed & { readonly shape: readonly number[]; readonly dtype: string })[];
}

/** Per sample, by name; null is any length. */
type Shapes = Readonly<Record<string, readonly (number | null)[]>>;

interface Keyed {
  readonly name: string;
  /** Where in a checkpoint it is: what `fromPyTorch` takes as { key }. */
  readonly key?: string;
}

/** `gruvy inspect file`. */
export async function inspect(file: string, { json }: { json?: boolean }): Promise<void> {
  const bytes = await readSource(String(file), "inspect");
  const about = { file: String(file), bytes: bytes.length, sha256: sha256([bytes]) };
  const weights = await weightsIn(bytes);
  if (weights) {
    const parameters = weights.tensors.reduce((sum, { shape }) => sum + count(shape), 0);
    show({ ...about, parameters, ...weights }, "", json);
    return;
  }
  const model = await loadModel(String(file));
  const params = Object.entries(model.network.quantization ? {} : model.weights());
  const report: Report = {
    ...about,
    format: formatOf(bytes) ?? "gruvy safetensors",
    parameters: model.parameterCount,
    weightsSha256: params.length ? sha256(params.map(([, { data }]) => new Uint8Array(data.buffer))) : undefined,
    inputShapes: model.inputShapes,
    outputShapes: model.outputShapes,
    architecture: model.architecture,
    tensors: model.network.params.map(({ name, shape, type }) => ({ name, shape, dtype: type })),
  };
  show(report, model.summary(), json);
  model.dispose();
}

type Weights = Pick<Report, "format" | "modules" | "tensors">;

/** Members of groups that are listed at most: links may make few of them many. */
const MOST_LISTED = 10_000;

/** What is in an HDF5 file without a model, by its paths. */
async function weightsInHdf5(bytes: Uint8Array): Promise<Weights | undefined> {
  const { openHdf5 } = await import("../formats/hdf5/read.ts");
  const root = openHdf5(bytes, "inspect", unpackedLimit(bytes.length));
  if (root.attributes.includes("model_config")) return undefined;
  const tensors: Report["tensors"][number][] = [];
  const paths = [...root.names].reverse();
  for (let listed = 0; paths.length > 0; listed++) {
    const name = paths.pop()!;
    const item = root.get(name);
    if (item?.kind === "dataset") tensors.push({ name, shape: item.shape, dtype: item.dtype });
    if (item?.kind === "group") for (const inner of [...item.names].reverse()) paths.push(`${name}/${inner}`);
    if (listed + paths.length > MOST_LISTED)
      throw new FormatError(`inspect: more than ${MOST_LISTED} groups and datasets`);
  }
  return { format: "HDF5, weights only", tensors };
}

/** What a file holds that has weights and no model. */
async function weightsIn(bytes: Uint8Array): Promise<Weights | undefined> {
  if (formatOf(bytes) === "Keras .h5") return weightsInHdf5(bytes);
  const torch = isTorch(bytes);
  if (!torch && (!isSafetensors(bytes) || readSafetensors(bytes, "inspect").metadata.has("gruvy"))) return undefined;
  const { readTorch, stateDicts } = await import("../formats/torch/read.ts");
  const { fromSafetensors } = await import("../formats/torch/import.ts");
  const { modulesIn } = await import("../formats/torch/describe.ts");
  const { unitsOf } = await import("../formats/torch/match.ts");
  const found = torch
    ? stateDicts(await readTorch(bytes, "inspect"))
    : new Map([["", fromSafetensors(bytes, "inspect")]]);
  const all = [...found].map(([key, of]) => ({ of, at: key ? { key } : {} }));
  return {
    format: torch ? "PyTorch weights" : "safetensors, weights only",
    modules: all.flatMap(({ of, at }) => modulesIn(unitsOf(of)).map((module) => ({ ...module, ...at }))),
    tensors: all.flatMap(({ of, at }) => [...of].map(([name, { shape, dtype }]) => ({ name, shape, dtype, ...at }))),
  };
}

function show(report: Report, summary: string, json?: boolean): void {
  if (json) {
    print(JSON.stringify(report, null, 2));
    return;
  }
  const { file, format, bytes, inputShapes, outputShapes, modules = [], tensors } = report;
  print(`${file}: ${format}, ${bytes} bytes, sha256 ${report.sha256}`);
  if (inputShapes && outputShapes) print(`${shapesText("input", inputShapes)}, ${shapesText("output", outputShapes)}`);
  if (summary) print(`\n${summary}\n`);
  for (const key of new Set(tensors.map((tensor) => tensor.key))) {
    const of = <T extends Keyed>(list: readonly T[]) => list.filter((item) => item.key === key);
    if (key !== undefined) print(`\nunder "${key}":`);
    columns(of(modules).map(({ name, kind }) => [name, kind]));
    columns(of(tensors).map(({ name, shape, dtype }) => [name, `${dtype}  ${shapeText(shape)}`]));
  }
  print(`${report.parameters} parameters${report.weightsSha256 ? `, weights sha256 ${report.weightsSha256}` : ""}`);
}

/** Names where there are several: one is the one. */
function shapesText(what: string, shapes: Shapes): string {
  const all = Object.entries(shapes).map(([name, shape]) => [name, shapeText([null, ...shape])]);
  return all.length === 1 ? `${what} ${all[0][1]}` : `${what}s ${all.map((one) => one.join(" ")).join(", ")}`;
}

function columns(lines: readonly (readonly [name: string, rest: string])[]): void {
  const widest = lines.reduce((most, [name]) => Math.max(most, name.length), 0);
  for (const [name, rest] of lines) print(`${name.padEnd(widest)}  ${rest}`);
}

interface Hash {
  update(bytes: Uint8Array): Hash;
  digest(encoding: "hex"): string;
}

function sha256(pieces: readonly Uint8Array[]): string {
  const { createHash } = builtin<{ createHash(name: string): Hash }>("crypto")!;
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}
