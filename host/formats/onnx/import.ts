import { FormatError, GruvyError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { shapeText, type Tensor } from "../../core/tensor.ts";
import { layerFromConfig } from "../../layers/index.ts";
import type { Layer, Param } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { assemble } from "../../stacks/sequential.ts";
import type { SourceFile } from "../import.ts";
import { beside, readSource } from "../source.ts";
import { type Emitted, Graph } from "./graph.ts";
import { OPERATORS } from "./layers.ts";
import { External, type OnnxModel, readModel } from "./proto.ts";
import type { Data, Part, Value } from "./values.ts";

const WHERE = "loadModel()";

/** Layers that a model may have. */
const MOST_NODES = 100_000;

/**
 * A model from an ONNX file. Rows are [batch, time, features] here, whatever
 * order the graph has. Inputs that are lengths or states of recurrent layers
 * are `lengths` and `initialState` of `predict`; outputs that are final states
 * beside others are the model's states.
 *
 * @param file its bytes, and where it came from: data of tensors may stand in files beside it
 * @throws FormatError for damaged files, and for operators that gruvy has no layer for, by node
 */
export async function importOnnx({ bytes, place }: SourceFile): Promise<Model> {
  const external = new External();
  const onnx = readModel(bytes, WHERE, external);
  for (const path of external.locations) {
    if (place === undefined)
      throw new FormatError(
        `${WHERE}: data of tensors is in the file ${shown(path)}; load the model by its path or URL`,
      );
    external.files.set(path, await readSource(beside(place, path, WHERE), WHERE));
  }
  const graph = read(onnx);
  return build(graph, onnx);
}

/** Goes through the graph, node by node. */
function read(onnx: OnnxModel): Graph {
  if (onnx.nodes.length > MOST_NODES)
    throw new FormatError(`${WHERE}: ${onnx.nodes.length} nodes; expected at most ${MOST_NODES}`);
  const graph = new Graph(onnx, WHERE);
  for (const node of onnx.nodes) {
    graph.node = node;
    if (node.domain !== "" || !Object.hasOwn(OPERATORS, node.type))
      throw new FormatError(
        `${WHERE}: ${node.domain ? `${node.domain}.` : ""}${node.type} node ${shown(node.name || node.outputs[0] || "")}: ` +
          `no layer of gruvy does this; known are ${Object.keys(OPERATORS).join(", ")}`,
      );
    OPERATORS[node.type](graph);
  }
  return graph;
}

/** The data that are the model's outputs. */
function outputsOf(graph: Graph, onnx: OnnxModel): { name: string; data: Data }[] {
  const isState = (value: Value | Part): boolean =>
    value.kind === "stack"
      ? value.parts.every(isState)
      : value.kind === "part" || (value.kind === "data" && value.state === true);
  const all = onnx.outputs.map(({ name }) => {
    const value = graph.values.get(name);
    if (!value) throw new FormatError(`${WHERE}: output ${shown(name)}: nothing makes it`);
    return { name, value };
  });
  const rows = all.filter(({ value }) => !isState(value));
  // Final states beside other outputs are the model's own; alone they are what it is for.
  const chosen = rows.length ? rows : all.slice(-1);
  return chosen.map(({ name, value }) => {
    const data = value.kind === "stack" ? value.parts[value.parts.length - 1] : value;
    if (data.kind !== "data" || data.node < 0)
      throw new FormatError(`${WHERE}: output ${shown(name)}: expected the output of a layer`);
    graph.read(data);
    return { name, data };
  });
}

/** A layer's own name from that of a node: "/encoder/gru/GRU" is encoder_gru, a second one encoder_gru_1. */
function nameOf({ name, type }: Emitted, taken: Set<string>): string {
  const parts = name.split("/").filter((part) => part);
  const path = (parts.length > 1 ? parts.slice(0, -1) : parts).join("_").replace(/[^\p{L}\p{N}_-]/gu, "_");
  const stem = /^\p{L}/u.test(path) ? path.slice(0, 100) : type;
  let own = stem;
  for (let i = 1; taken.has(own); i++) own = `${stem}_${i}`;
  taken.add(own);
  return own;
}

async function build(graph: Graph, onnx: OnnxModel): Promise<Model> {
  const outputs = outputsOf(graph, onnx);
  if (outputs.length !== 1) throw new FormatError(`${WHERE}: ${outputs.length} outputs; expected one`);
  const used = reachable(
    graph,
    outputs.map(({ data }) => data.node),
  );
  const inputs = graph.inputs.flatMap((input, i) => (input.use === "values" || input.use === "tokens" ? [i] : []));
  if (inputs.length !== 1) throw new FormatError(`${WHERE}: ${inputs.length} inputs with data; expected one`);
  const order = [...used].sort((a, b) => a - b);
  order.forEach((node, i) => {
    const { inputs: read, name } = graph.nodes[node];
    const before = i ? order[i - 1] : -1 - inputs[0];
    if (read.length !== 1 || read[0].node !== before)
      throw new FormatError(`${WHERE}: node ${shown(name)}: the graph branches; expected a chain of layers`);
  });

  const taken = new Set<string>();
  const layers: Layer[] = [];
  const weights = new Map<string, Tensor>();
  try {
    for (const node of order) {
      const emitted = graph.nodes[node];
      finish(emitted, graph.stepwise);
      const name = nameOf(emitted, taken);
      layers.push(layerFromConfig(emitted.type, name, emitted.config));
      for (const [own, tensor] of Object.entries(emitted.weights)) weights.set(`${name}.${own}`, tensor);
    }
    return await assemble(
      layers,
      { inputShape: inputShape(graph, inputs[0]) },
      { given: (param) => given(param, weights) },
    );
  } catch (error) {
    if (error instanceof FormatError || !(error instanceof GruvyError)) throw error;
    throw new FormatError(`${WHERE}: ${error.message}`);
  }
}

/** Recurrent layers that nobody wants the outputs of give their last. */
function finish({ reads, config, type }: Emitted, stepwise: boolean): void {
  if (!reads || reads.outputs || stepwise) return;
  config.returnSequences = false;
  if (type !== "bidirectional") return;
  delete config.returnSequences;
  for (const part of ["layer", "backwardLayer"]) {
    const own = config[part] as { type: string; config: object };
    config[part] = { ...own, config: { ...own.config, returnSequences: false } };
  }
}

function reachable(graph: Graph, from: readonly number[]): Set<number> {
  const found = new Set<number>();
  const open = [...from];
  while (open.length) {
    const node = open.pop()!;
    if (node < 0 || found.has(node)) continue;
    found.add(node);
    const { inputs, initialStates } = graph.nodes[node];
    open.push(...inputs.map((read) => read.node), ...(initialStates ?? []).map((read) => read.node));
  }
  return found;
}

/** [time, features], [features], [time] or [] of tokens. */
function inputShape(graph: Graph, input: number): (number | null)[] {
  const { axes, use, name } = graph.inputs[input];
  const rows = axes.filter(({ role }) => role !== "features");
  const steps = rows.length - 1;
  if (steps < 0 || steps > 1 || (use === "values" && rows.length === axes.length))
    throw new FormatError(
      `${WHERE}: input ${shown(name)}: expected [batch, time, features] in some order, got ${axes.length} axes`,
    );
  const features = axes.find(({ role }) => role === "features")?.size ?? null;
  return [...(steps || graph.stepwise ? [null] : []), ...(use === "tokens" ? [] : [features])];
}

function given({ name, shape }: Param, weights: ReadonlyMap<string, Tensor>): Float32Array {
  const tensor = weights.get(name);
  if (!tensor) throw new FormatError(`${WHERE}: "${name}" ${shapeText(shape)} is missing`);
  if (shapeText(tensor.shape) !== shapeText(shape))
    throw new FormatError(`${WHERE}: "${name}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}`);
  const bad = tensor.data.findIndex((v) => v - v !== 0);
  if (bad >= 0)
    throw new FormatError(`${WHERE}: "${name}" has ${tensor.data[bad]} at position ${bad}; expected finite numbers`);
  return tensor.data;
}
