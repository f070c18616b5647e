import { FormatError, GruvyError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { shapeText, type Tensor } from "../../core/tensor.ts";
import { layerFromConfig } from "../../layers/index.ts";
import type { Layer, Param } from "../../layers/layer.ts";
import type { GraphConfig, NodeRef } from "../../stacks/graph.ts";
import type { Model } from "../../stacks/model.ts";
import { assemble } from "../../stacks/sequential.ts";
import { readBeside, type SourceFile } from "../beside.ts";
import { buildGraph } from "../gruvy.ts";
import { External, type OnnxModel, readModel } from "./proto.ts";
import { describe, type Emitted, Graph, type Read } from "./reading/graph.ts";
import { readNodes } from "./reading/layers.ts";
import { roll } from "./reading/rolled.ts";
import { flat } from "./reading/unrolled.ts";
import type { Data, MergedAxis, Part, Value } from "./reading/values.ts";

const WHERE = "loadModel()";

/** Layers that a model may have. */
const MOST_NODES = 100_000;

/**
 * A model from an ONNX file. Rows are [batch, time, features] here, whatever
 * order the graph has. Inputs that are lengths or states of recurrent layers
 * are `lengths` and `initialState` of `predict`; outputs that are final states
 * [layers, batch, units] beside others are the model's states.
 *
 * @param file its bytes, and where it came from: data of tensors may stand in files beside it
 * @throws FormatError for damaged files, and for operators that gruvy has no layer for, by node
 */
export async function importOnnx(file: SourceFile): Promise<Model> {
  const external = new External();
  const onnx = readModel(file.bytes, WHERE, external);
  for (const path of external.locations) external.files.set(path, await readBeside(file, path, WHERE));
  // As with gruvy's own files, what it predicts is for the caller to say.
  return (await build(read(onnx), onnx)) as Model;
}

/** Goes through the graph, node by node. */
function read(onnx: OnnxModel): Graph {
  if (onnx.nodes.length > MOST_NODES)
    throw new FormatError(`${WHERE}: ${onnx.nodes.length} nodes; expected at most ${MOST_NODES}`);
  const graph = new Graph(onnx, WHERE);
  readNodes(graph);
  return graph;
}

interface Output {
  readonly name: string;
  readonly from: Read;
}

/** The data that are the model's outputs. */
function outputsOf(graph: Graph, onnx: OnnxModel): Output[] {
  // As PyTorch returns it, [layers, batch, units], or where the graph is a step: what gruvy keeps itself.
  const isState = (value: Value | Part): boolean =>
    value.kind === "stack"
      ? value.parts.every(isState)
      : value.kind === "part" ||
        (value.kind === "data" && value.state === true && (graph.stepwise || value.axes.length > 2));
  const all = onnx.outputs.map(({ name }) => {
    const value = graph.values.get(name);
    if (!value) throw new FormatError(`${WHERE}: output ${shown(name)}: nothing makes it`);
    return { name, value };
  });
  if (!all.length) throw new FormatError(`${WHERE}: an ONNX graph without outputs`);
  const rows = all.filter(({ value }) => !isState(value));
  // Final states beside other outputs are the model's own; alone they are what it is for.
  const chosen = rows.length ? rows : all.slice(-1);
  return chosen.flatMap(({ name, value }) => {
    if (value.kind !== "stack") return output(graph, name, graph.settle(value));
    // States of several layers in one tensor: an output each.
    return value.parts.map((part, i) => output(graph, value.parts.length === 1 ? name : `${name}_${i}`, part));
  });
}

function output(graph: Graph, name: string, data: Value | Part): Output {
  if (data.kind !== "data" || data.node < 0)
    throw new FormatError(`${WHERE}: output ${shown(name)}: expected the output of a layer, got ${describe(data)}`);
  checkOrder(name, data);
  return { name, from: graph.read(flat(graph, data)) };
}

/** Axes may be in any order, but not those that are features together, nor may these be one with the batch. */
function checkOrder(output: string, { axes, features }: Data): void {
  const apart = (axis: MergedAxis) =>
    !(axis.some(({ role }) => role === "batch") && axis.some((own) => features.includes(own)));
  if (!axes.every(apart))
    throw new FormatError(
      `${WHERE}: output ${shown(output)}: its features are one axis with the batch; let the graph end before they are merged`,
    );
  const places = axes.flat().flatMap((axis) => (axis.size === 1 ? [] : features.indexOf(axis)));
  const inOrder = places.filter((place) => place >= 0);
  if (inOrder.some((place, i) => place < (inOrder[i - 1] ?? -1)))
    throw new FormatError(
      `${WHERE}: output ${shown(output)}: its features are those of a layer in another order; let the graph end before they are exchanged`,
    );
}

/** One direction of a last state is a state, where it was picked out of both. */
function resolved(graph: Graph, read: Read): Read {
  const pick = graph.nodes[read.node]?.pick;
  if (!pick?.of.state || graph.nodes[pick.of.node].type !== "bidirectional") return read;
  const { columns, of } = pick;
  const units = of.features[of.features.length - 1].size;
  const whole = columns.length === units && columns.every((column, i) => column === columns[0] + i);
  return whole && columns[0] % units === 0 ? { node: of.node, state: columns[0] / units } : read;
}

/** A name of gruvy's from one of ONNX: "/encoder/gru/GRU" is encoder_gru, a second one encoder_gru_1. */
function nameOf(name: string, otherwise: string, taken: Set<string>): string {
  const parts = name.split("/").filter((part) => part);
  const path = (parts.length > 1 ? parts.slice(0, -1) : parts).join("_").replace(/[^\p{L}\p{N}_-]/gu, "_");
  const stem = /^\p{L}/u.test(path) ? path.slice(0, 100) : otherwise;
  let own = stem;
  for (let i = 1; taken.has(own); i++) own = `${stem}_${i}`;
  taken.add(own);
  return own;
}

async function build(graph: Graph, onnx: OnnxModel): Promise<Model<unknown>> {
  const made = outputsOf(graph, onnx);
  const instead = roll(graph);
  const outputs = made.map(({ name, from }) => {
    const read = from.state === undefined ? instead.get(from.node) : undefined;
    return { name, from: resolved(graph, read ?? from) };
  });
  for (const node of graph.nodes) {
    node.inputs = node.inputs.map((read) => resolved(graph, read));
    node.initialStates = node.initialStates?.map((read) => resolved(graph, read));
  }
  const order = [
    ...reachable(
      graph,
      outputs.map(({ from }) => from.node),
    ),
  ].sort((a, b) => a - b);
  checkLayers(graph, order);
  findReads(graph, order, outputs);
  const read = new Set(order.flatMap((node) => readsOf(graph.nodes[node]).map((source) => source.node)));
  const inputs = graph.inputs.flatMap((_, i) => (read.has(-1 - i) ? [i] : []));
  const taken = new Set<string>();
  const weights = new Map<string, Tensor>();
  const asked = new Set<string>();
  const given = {
    given(param: Param) {
      asked.add(param.name);
      return weightOf(param, weights);
    },
  };
  try {
    const made = new Map<string, Layer>();
    const keys = order.map(sharing(graph));
    // One layer gives sequences, or it does not.
    const whole = new Set(keys.filter((_, i) => graph.nodes[order[i]].reads?.outputs));
    const layers = order.map((node, i): Layer => {
      const emitted = graph.nodes[node];
      const key = keys[i];
      if (emitted.reads && whole.has(key)) emitted.reads.outputs = true;
      finish(emitted, graph.stepwise);
      const known = made.get(key);
      if (known) return known;
      const name = nameOf(emitted.name, emitted.type, taken);
      for (const [own, tensor] of Object.entries(emitted.weights)) weights.set(`${name}.${own}`, tensor);
      const layer = layerFromConfig(emitted.type, name, emitted.config);
      made.set(key, layer);
      return layer;
    });
    const chain = made.size === layers.length && isChain(graph, order, inputs, outputs);
    const model = chain
      ? await assemble(layers, { inputShape: inputShape(graph, inputs[0]) }, given)
      : await buildGraph(graphConfig(graph, order, inputs, outputs, layers), [...new Set(layers)], given);
    const left = [...weights.keys()].find((name) => !asked.has(name));
    if (left === undefined) return model;
    model.dispose();
    throw new FormatError(`${WHERE}: "${left}" is of no use to its layer`);
  } catch (error) {
    if (error instanceof FormatError || !(error instanceof GruvyError)) throw error;
    throw new FormatError(`${WHERE}: ${error.message}`);
  }
}

/** What layers that are one layer have in common: their config, and weights that are the same numbers of the file. */
function sharing(graph: Graph): (node: number) => string {
  const numbers = new Map<Float32Array, number>();
  const numberOf = (data: Float32Array): number => {
    const known = numbers.get(data);
    if (known !== undefined) return known;
    numbers.set(data, numbers.size);
    return numbers.size - 1;
  };
  return (node) => {
    const { type, config, weights } = graph.nodes[node];
    const own = Object.entries(weights).map(([name, { data }]) => [name, numberOf(data)]);
    return JSON.stringify(own.length ? [type, config, own] : node);
  };
}

/** What single layers are right about, and a model of them all is not. */
function checkLayers(graph: Graph, order: readonly number[]): void {
  const made = (found: (emitted: Emitted) => boolean) => order.map((node) => graph.nodes[node]).find(found);
  const refused = (name: string, what: string) => new FormatError(`${WHERE}: node ${shown(name)}: ${what}`);
  const attends = made(({ type }) => type === "attention" || type === "multiHeadAttention");
  if (graph.stepwise && attends)
    throw refused(
      attends.name,
      "attention in a graph of a single step; load the network that was trained, over whole sequences",
    );
  const sequence = graph.inputs.find(({ axes }) => axes.some(({ role }) => role === "time"));
  if (graph.stepwise && sequence)
    throw new FormatError(
      `${WHERE}: a recurrent layer takes a single step, and input ${shown(sequence.name)} has many; export the recurrent layers over whole sequences`,
    );
  // A layer that takes a step has a state of its own, which callers do not know of.
  const step = made((emitted) => emitted.step !== undefined);
  if (step && graph.inputs.some(({ use }) => use === "state"))
    throw refused(step.name, "takes a step beside states that callers give; let it take h_n, or give no states");
}

/** What of recurrent layers the model reads: their outputs, their last state or both. */
function findReads(graph: Graph, order: readonly number[], outputs: readonly Output[]): void {
  const ends = outputs.map(({ from }) => from);
  for (const { node, state } of [...order.flatMap((at) => readsOf(graph.nodes[at])), ...ends]) {
    const reads = node < 0 ? undefined : graph.nodes[node].reads;
    if (reads) reads[state === undefined ? "outputs" : "state"] = true;
  }
}

const readsOf = ({ inputs, initialStates = [] }: Emitted): readonly Read[] => [...inputs, ...initialStates];

/** Whether each layer reads the one before it, and nothing else does. */
function isChain(
  graph: Graph,
  order: readonly number[],
  inputs: readonly number[],
  outputs: readonly Output[],
): boolean {
  const [{ from }] = outputs;
  const ends = outputs.length === 1 && from.node === order[order.length - 1] && isOutput(graph, from);
  return (
    inputs.length === 1 &&
    ends &&
    order.every((node, i) => {
      const { inputs: read, initialStates, reads } = graph.nodes[node];
      const both = reads?.outputs && reads.state && !graph.stepwise;
      const before = i ? order[i - 1] : -1 - inputs[0];
      return !initialStates && !both && read.length === 1 && read[0].node === before && isOutput(graph, read[0]);
    })
  );
}

/** Not a state, but where a layer gives its last state alone. */
function isOutput(graph: Graph, { node, state }: Read): boolean {
  return state === undefined || (state === "all" && graph.nodes[node].reads !== undefined);
}

/** The graph as gruvy's own files have it. */
function graphConfig(
  graph: Graph,
  order: readonly number[],
  inputs: readonly number[],
  outputs: readonly Output[],
  layers: Layer[],
): GraphConfig {
  const nodes: { layer: string; inputs: NodeRef[]; initialStates?: NodeRef[] }[] = [];
  const places = new Map<number, { readonly at: number; all?: NodeRef }>();
  inputs.forEach((input, i) => {
    places.set(-1 - input, { at: -1 - i });
  });
  const taken = new Set(layers.map(({ name }) => name!));
  /** Last states of both directions side by side. */
  const joined = (at: number): NodeRef => {
    const name = nameOf("", "concatenate", taken);
    layers.push(layerFromConfig("concatenate", name, { axis: -1 }));
    const inputs = [0, 1].map((state): NodeRef => [at, state]);
    return nodes.push({ layer: name, inputs }) - 1;
  };
  const ref = ({ node, state }: Read): NodeRef => {
    const place = places.get(node)!;
    if (state === undefined) return place.at;
    // In a step the output is the state; where nobody wants a layer's outputs, it gives its last.
    const { reads, type } = graph.nodes[node];
    if (graph.stepwise || (state === "all" && !reads?.outputs)) return place.at;
    if (state !== "all") return [place.at, state];
    return (place.all ??= type === "bidirectional" ? joined(place.at) : [place.at, 0]);
  };
  order.forEach((node, i) => {
    const { inputs: read, initialStates } = graph.nodes[node];
    const call = {
      layer: layers[i].name!,
      inputs: read.map(ref),
      ...(initialStates && { initialStates: initialStates.map(ref) }),
    };
    places.set(node, { at: nodes.push(call) - 1 });
  });
  const names = new Set<string>();
  return {
    inputs: inputs.map((input) => ({
      name: nameOf(graph.inputs[input].name, "input", names),
      shape: inputShape(graph, input),
      type: graph.inputs[input].use === "tokens" ? "tokens" : "values",
    })),
    layers: [],
    nodes,
    outputs: outputs.map(({ name, from }) => ({ name: nameOf(name, "output", names), from: ref(from) })),
    form: outputs.length === 1 ? "one" : "record",
    seed: 0,
  };
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
    for (const read of readsOf(graph.nodes[node])) open.push(read.node);
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
  // A file that fixes the steps has often been made from one example; layers that rearrange sequences mean it.
  const means = graph.fixed || graph.nodes.some(({ type }) => type === "reshape" || type === "transpose");
  const time = means ? ((rows.find(({ role }) => role === "time") ?? rows[1])?.size ?? null) : null;
  return [...(steps || graph.stepwise ? [time] : []), ...(use === "tokens" ? [] : [features])];
}

function weightOf({ name, shape }: Param, weights: ReadonlyMap<string, Tensor>): Float32Array {
  const tensor = weights.get(name);
  if (!tensor) throw new FormatError(`${WHERE}: "${name}" ${shapeText(shape)} is missing`);
  if (shapeText(tensor.shape) !== shapeText(shape))
    throw new FormatError(`${WHERE}: "${name}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}`);
  const bad = tensor.data.findIndex((v) => v - v !== 0);
  if (bad >= 0)
    throw new FormatError(`${WHERE}: "${name}" has ${tensor.data[bad]} at position ${bad}; expected finite numbers`);
  return tensor.data;
}
