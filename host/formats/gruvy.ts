import { FormatError, GruvyError, OptionError, StateError } from "../core/errors.ts";
import { checkOptions, flag, isRecord, oneOf, shown } from "../core/options.ts";
import { shapeText, type Tensor } from "../core/tensor.ts";
import { getEngine } from "../core/wasm.ts";
import { callable, GraphNode, type WithStates } from "../layers/callable.ts";
import { layerFromConfig } from "../layers/index.ts";
import type { Json, Layer, Param } from "../layers/layer.ts";
import { checkName } from "../layers/name.ts";
import type { Metric } from "../metrics/metric.ts";
import { resolveMetric } from "../metrics/resolve.ts";
import { assembleGraph, type GraphConfig, type InputOptions, input } from "../stacks/graph.ts";
import type { Architecture, CompileOptions, Model } from "../stacks/model.ts";
import type { Quantization, Weights } from "../stacks/network.ts";
import { assemble } from "../stacks/sequential.ts";
import { goalOptions } from "../training/goals.ts";
import type { Progress, Trainer } from "../training/trainer.ts";
import { LARGEST_HALF, toHalf } from "./half.ts";
import {
  isSafetensors,
  readSafetensors,
  type StoredTensor,
  type WritableTensor,
  writeSafetensors,
} from "./safetensors.ts";
import { isSource, type ModelFiles, type ModelSource, readSource } from "./source.ts";

/**
 * Our own file: safetensors with the parameters under their names in Keras
 * layouts, and in the metadata entry "gruvy" the JSON of everything else. A
 * checkpoint has the optimizer's moments beside them ("optimizer.m.gru.kernel")
 * and the tensors of callbacks ("callback.earlyStopping.gru.kernel"). A
 * quantised model has I8 matrices, each with the scales of its columns beside
 * it: weight = "gru.kernel"[i, j] · "gru.kernel.scale"[j].
 */

export interface SaveOptions {
  /** Add what `fit` needs to go on as if it had never stopped. Default false. */
  training?: boolean;
  /** What weights are stored as; "float16" halves the file and rounds them to 11 bits. Default "float32". */
  precision?: "float32" | "float16";
}

/** Version of the JSON, raised when an older reader could not make sense of it. */
const FORMAT = 1;

/** Layers, and calls of layers, that a file may have. */
const MOST_LAYERS = 10_000;

interface Header {
  readonly format: number;
  readonly architecture: Architecture;
  /** Losses, weights and metrics: of the only output, or by output's name. */
  readonly compile?: {
    readonly loss: object;
    readonly lossWeights?: object;
    readonly optimizer: { readonly name: string; readonly config: object };
    readonly metrics: object;
  };
  readonly quantization?: Quantization;
  readonly training?: { readonly progress: Progress; readonly callbacks: Readonly<Record<string, Json>> };
}

/** The bytes of a saved model. */
export function toBytes(model: Model<unknown>, options: SaveOptions = {}): Uint8Array<ArrayBuffer> {
  checkOptions("save()", options, ["training", "precision"]);
  const precision = oneOf("save()", "precision", options.precision ?? "float32", ["float32", "float16"]);
  const training = flag("save()", "training", options.training ?? false);
  const trainer = model.training;
  if (training && !trainer) throw new OptionError('save(): "training" needs a compiled model');
  if (training && precision === "float16")
    throw new OptionError('save(): "precision": training goes on from exact weights; use "float32" with "training"');
  const { network } = model;
  if (training && network.quantization) throw new StateError('save(): "training": a quantised model cannot train');
  const tensors = new Map<string, WritableTensor>();
  for (const param of network.params)
    if (param.type === "i8") {
      const { q, scales } = network.readQuantized(param);
      tensors.set(param.name, { shape: param.shape, data: q });
      tensors.set(`${param.name}.scale`, { shape: [scales.length], data: scales });
    } else {
      const data = network.readParam(param);
      tensors.set(param.name, { shape: param.shape, data: precision === "float16" ? halves(param.name, data) : data });
    }
  const callbacks: Record<string, Json> = {};
  if (training && trainer) {
    for (const [name, { shape, data }] of trainer.moments()) tensors.set(name, { shape: [...shape], data });
    for (const [callback, { state, tensors: own }] of trainer.callbackStates()) {
      callbacks[callback] = state;
      for (const [name, tensor] of Object.entries(own)) tensors.set(`callback.${callback}.${name}`, tensor);
    }
  }
  const header: Header = {
    format: FORMAT,
    architecture: model.architecture,
    ...(network.quantization && { quantization: network.quantization }),
    ...(trainer && { compile: compileOptions(trainer) }),
    ...(training && trainer && { training: { progress: trainer.progress, callbacks } }),
  };
  return writeSafetensors(tensors, { gruvy: JSON.stringify(header), format: "gruvy" }) as Uint8Array<ArrayBuffer>;
}

function compileOptions({ goals, optimizer, network }: Trainer): NonNullable<Header["compile"]> {
  const { loss, lossWeights, metrics } = goalOptions(goals, network.outputs);
  const saved = {
    loss: mapValues(loss, ({ name, config }) => ({ name, config })),
    lossWeights,
    metrics: mapValues(metrics, (list) => list.filter(isBuiltIn).map(({ name, options }) => ({ name, options }))),
  };
  const only = network.outputs.length === 1 ? network.outputs[0].name : undefined;
  const weighted = only === undefined || lossWeights[only] !== 1;
  return {
    loss: only === undefined ? saved.loss : saved.loss[only],
    ...(weighted && { lossWeights: saved.lossWeights }),
    optimizer: { name: optimizer.name, config: optimizer.config },
    metrics: only === undefined ? saved.metrics : saved.metrics[only],
  };
}

function mapValues<A, B>(record: Record<string, A>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

/** @throws OptionError for numbers that f16 has no room for */
function halves(name: string, data: Float32Array): Uint16Array {
  const large = data.find((v) => Math.abs(v) > LARGEST_HALF);
  if (large !== undefined)
    throw new OptionError(
      `save(): "precision": "${name}" has ${large}, and float16 ends at ${LARGEST_HALF}; use "float32"`,
    );
  return toHalf(data);
}

/** Metrics of the user's own cannot be made again from a file. */
function isBuiltIn({ name, options }: Metric<unknown>): boolean {
  try {
    return resolveMetric("save()", { name, options }) !== undefined;
  } catch {
    return false;
  }
}

/** Writes the file at `path`, all or nothing. */
export async function save(model: Model<unknown>, path: string | URL, options: SaveOptions): Promise<void> {
  if (!(path instanceof URL) && (typeof path !== "string" || !path))
    throw new OptionError(`save(): expected a path, got ${shown(path)}`);
  const bytes = toBytes(model, options);
  const { writeFile } = await import("../files/files.ts");
  await writeFile(String(path), bytes);
}

/**
 * A model from a file that `save` wrote, or of another program: Keras (.h5,
 * .keras), TensorFlow.js (model.json), ONNX. The content tells which.
 *
 * @example const model = await loadModel("digits.safetensors")
 * @param source path, URL, bytes, Response, File or Blob; several files by their names, or a list of File objects
 * @returns a model whose `predict` gives what that of the saved one did; for several outputs say which:
 *          `loadModel<{ tags: Tensor; next: Tensor }>(path)`
 * @throws FormatError for a file that is damaged, hostile, or of another kind; nothing is left behind
 */
export async function loadModel<Outputs = Tensor>(source: ModelSource | ModelFiles): Promise<Model<Outputs>> {
  const bytes = isSource(source) ? await readSource(source, "loadModel()") : undefined;
  if (!bytes || !isSafetensors(bytes)) {
    const { importModel } = await import("./index.ts");
    return (await importModel(source, bytes)) as Model<Outputs>;
  }
  const { tensors, metadata } = readSafetensors(bytes, "loadModel()");
  const text = metadata.get("gruvy");
  if (text === undefined)
    throw new FormatError(
      'loadModel(): a safetensors file without the "gruvy" metadata: weights only, no architecture; make the model, then fill it with fromPyTorch(source, model) of gruvy/formats',
    );
  const header = parseHeader(text);
  const quantization = header.quantization && (await checkQuantization(header.quantization));
  const int8: ({ param: Param } & ReturnType<typeof readQuantized>)[] = [];
  const model = await build(header.architecture, {
    quantization,
    given: (param) => {
      if (param.type === "f32") return floats(param.name, tensors.get(param.name), param.shape).data;
      int8.push({ param, ...readQuantized(param, tensors) });
    },
  });
  try {
    for (const { param, data, scales } of int8) model.network.writeQuantized(param, data, scales);
    if (header.compile) compile(model, header);
    if (header.training && header.quantization)
      throw new FormatError("loadModel(): the training state of a quantised model, which cannot train");
    if (header.training) restoreTraining(model, header.training, tensors);
    return model as Model<Outputs>;
  } catch (error) {
    model.dispose();
    if (error instanceof FormatError || !(error instanceof GruvyError)) throw error;
    throw new FormatError(`loadModel(): ${error.message}`);
  }
}

/** Levels of JSON that a header may have: those who read it recur. */
const DEEPEST = 64;

/** How deep a JSON text nests; brackets in strings do not count. */
function nesting(text: string): number {
  let [depth, deepest] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') while (++i < text.length && text[i] !== '"') i += text[i] === "\\" ? 1 : 0;
    else if (c === "{" || c === "[") deepest = Math.max(deepest, ++depth);
    else if (c === "}" || c === "]") depth--;
  }
  return deepest;
}

function parseHeader(text: string): Header {
  let header: unknown;
  if (nesting(text) > DEEPEST)
    throw new FormatError(`loadModel(): the "gruvy" metadata is nested deeper than ${DEEPEST} levels`);
  try {
    header = JSON.parse(text);
  } catch {
    throw new FormatError('loadModel(): the "gruvy" metadata is not JSON');
  }
  if (!isRecord(header) || !isRecord(header.architecture))
    throw new FormatError('loadModel(): the "gruvy" metadata has no architecture');
  if (header.format !== FORMAT)
    throw new FormatError(
      `loadModel(): format version ${JSON.stringify(header.format)?.slice(0, 20)}; this version reads ${FORMAT}`,
    );
  return header as unknown as Header;
}

/** What this version computes with, and nothing that it would compute otherwise. */
async function checkQuantization(value: unknown): Promise<Quantization> {
  const { core } = await getEngine();
  const bits = core.int8ActivationBits();
  if (!isRecord(value) || value.precision !== "int8" || !isRecord(value.ranges))
    throw new FormatError("loadModel(): the quantization is damaged");
  if (value.activationBits !== bits)
    throw new FormatError(
      `loadModel(): int8 with activations of ${shown(value.activationBits)} bits; this version computes with ${bits}`,
    );
  const ranges = Object.entries(value.ranges);
  if (!ranges.every(([, range]) => typeof range === "number" && range >= 0 && range <= 3.4e38))
    throw new FormatError("loadModel(): the ranges of the quantization are damaged");
  return { precision: "int8", activationBits: bits, ranges: Object.fromEntries(ranges) as Record<string, number> };
}

/** A model of an architecture from a file. */
export async function build({ kind, config }: Architecture, weights: Weights): Promise<Model<unknown>> {
  if ((kind !== "sequential" && kind !== "graph") || !isRecord(config))
    throw new FormatError('loadModel(): the architecture is neither "sequential" nor "graph"');
  const { layers, inputShape, seed } = config as { layers?: unknown; inputShape?: unknown; seed?: unknown };
  if (!Array.isArray(layers) || layers.length === 0 || layers.length > MOST_LAYERS)
    throw new FormatError(`loadModel(): the architecture has no list of 1 to ${MOST_LAYERS} layers`);
  try {
    const made = layers.map((layer: unknown) => {
      if (
        !isRecord(layer) ||
        typeof layer.type !== "string" ||
        typeof layer.name !== "string" ||
        !isRecord(layer.config)
      )
        throw new FormatError("loadModel(): a layer without type, name and config");
      return layerFromConfig(layer.type, layer.name, layer.config);
    });
    if (kind === "graph") return await buildGraph(config as unknown as GraphConfig, made, weights);
    return await assemble(made, { inputShape: inputShape as (number | null)[], seed: seed as number }, weights);
  } catch (error) {
    if (error instanceof FormatError || !(error instanceof GruvyError)) throw error;
    throw new FormatError(`loadModel(): ${error.message}`);
  }
}

/** Calls the layers as they were called; what comes of it is checked as all graphs are. */
export function buildGraph(config: GraphConfig, layers: readonly Layer[], weights: Weights): Promise<Model<unknown>> {
  const damaged = (what: string) => new FormatError(`loadModel(): the graph has ${what}`);
  const list = (value: unknown, what: string): readonly Record<string, unknown>[] => {
    if (!Array.isArray(value) || !value.length || value.length > MOST_LAYERS || !value.every(isRecord))
      throw damaged(`no list of 1 to ${MOST_LAYERS} ${what}`);
    return value;
  };
  const inputs = list(config.inputs, "inputs").map(({ name, shape, type }) =>
    input(shape as [], { name, type } as InputOptions),
  );
  const callables = new Map(layers.map((layer) => [layer.name, callable<GraphNode | WithStates>(layer)]));
  const calls: GraphNode[][] = [];
  const at = (ref: unknown): GraphNode => {
    const [node, state] = Array.isArray(ref) ? ref : [ref];
    const found = !Number.isInteger(node) ? undefined : node < 0 ? inputs[-1 - node] : calls[node]?.[0];
    if (!found) throw damaged(`a node that reads ${shown(ref)}, which is not before it`);
    if (state === undefined) return found;
    if (!whole(state)) throw damaged(`a state ${shown(state)}`);
    return new GraphNode(found.origin, state);
  };
  const read = (refs: unknown): GraphNode[] => {
    if (!Array.isArray(refs)) throw damaged("a node without a list of inputs");
    return refs.map(at);
  };
  for (const { layer, inputs: from, initialStates } of list(config.nodes, "nodes")) {
    const call = callables.get(layer as string);
    if (!call) throw damaged(`no layer ${shown(layer)}`);
    const options = initialStates === undefined ? {} : { initialState: read(initialStates) };
    calls.push([call(read(from), options)].flat());
  }
  const outputs = list(config.outputs, "outputs").map(({ name, from }) => ({
    name: checkName("loadModel(): output", name),
    node: at(from),
  }));
  if (!["one", "list", "record"].includes(config.form) || (config.form === "one" && outputs.length > 1))
    throw damaged("outputs of no known form");
  const { form, seed } = config;
  const nodes = outputs.map(({ node }) => node);
  return assembleGraph({ inputs, outputs: nodes, seed }, weights, { form, names: outputs.map(({ name }) => name) });
}

/** The numbers of an int8 parameter, and their scales, one a column. */
function readQuantized({ name, shape }: Param, tensors: ReadonlyMap<string, StoredTensor>) {
  const { data, dtype } = ofShape(name, tensors.get(name), shape);
  if (!(data instanceof Int8Array)) throw new FormatError(`loadModel(): "${name}": expected I8, got ${dtype}`);
  const scales = floats(`${name}.scale`, tensors.get(`${name}.scale`), [shape.at(-1)!]);
  return { data, scales: scales.data };
}

function ofShape(name: string, tensor: StoredTensor | undefined, shape: readonly number[]): StoredTensor {
  if (!tensor) throw new FormatError(`loadModel(): "${name}" ${shapeText(shape)} is missing`);
  if (shapeText(tensor.shape) !== shapeText(shape))
    throw new FormatError(`loadModel(): "${name}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}`);
  return tensor;
}

/** A stored tensor as finite f32 numbers of a shape. */
export function floats(name: string, tensor: StoredTensor | undefined, shape: readonly number[]): Tensor {
  const { data, dtype } = ofShape(name, tensor, shape);
  if (!(data instanceof Float32Array))
    throw new FormatError(`loadModel(): "${name}": expected F32, F16 or BF16, got ${dtype}`);
  checkFinite(name, data);
  return { shape: [...shape], data };
}

function checkFinite(name: string, data: Float32Array): void {
  // Searches of the engine's own: a loop would run cold, 3 ms of a start for 25,000 weights.
  if (!(data.includes(Number.NaN) || data.includes(Infinity) || data.includes(-Infinity))) return;
  const bad = data.findIndex((v) => v - v !== 0);
  throw new FormatError(`loadModel(): "${name}" has ${data[bad]} at position ${bad}; expected finite numbers`);
}

function compile(model: Model<unknown>, { compile: saved }: Header): void {
  if (!isRecord(saved) || !isRecord(saved.loss) || !isRecord(saved.optimizer) || typeof saved.metrics !== "object")
    throw new FormatError("loadModel(): the compile options are damaged");
  const { loss, lossWeights, optimizer, metrics } = saved as unknown as CompileOptions;
  model.compile({ loss, lossWeights, optimizer, metrics });
}

function whole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isPlateau(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { best, badEpochs, cooldown, reductions } = value;
  return (best === null || Number.isFinite(best)) && whole(badEpochs) && whole(cooldown) && whole(reductions);
}

function restoreTraining(
  model: Model<unknown>,
  saved: NonNullable<Header["training"]>,
  tensors: ReadonlyMap<string, StoredTensor>,
): void {
  const trainer = model.training;
  const { progress, callbacks } = saved;
  const damaged = () => new FormatError("loadModel(): the training state is damaged");
  if (!trainer || !isRecord(progress) || !isRecord(callbacks)) throw damaged();
  const { step, epoch, plateau } = progress as unknown as Progress;
  if (!whole(step) || !whole(epoch)) throw damaged();
  if ((trainer.progress.plateau === undefined) !== (plateau === undefined)) throw damaged();
  if (plateau !== undefined && !isPlateau(plateau)) throw damaged();
  const moments = new Map<string, Tensor>();
  for (const [name, { shape }] of trainer.moments()) moments.set(name, floats(name, tensors.get(name), shape));
  trainer.restoreMoments(moments);
  trainer.progress = { step, epoch, ...(plateau && { plateau: { ...plateau } }) };
  const resumed = new Map<string, { state: Json; tensors: Record<string, Tensor> }>();
  for (const [name, state] of Object.entries(callbacks)) {
    const own: [string, Tensor][] = [];
    for (const [key, { shape, data }] of tensors)
      if (key.startsWith(`callback.${name}.`) && data instanceof Float32Array) {
        checkFinite(key, data);
        own.push([key.slice(`callback.${name}.`.length), { shape, data }]);
      }
    resumed.set(name, { state: state as Json, tensors: Object.fromEntries(own) });
  }
  trainer.resumed = resumed;
}
