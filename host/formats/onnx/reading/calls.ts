import { GruvyError } from "../../../core/errors.ts";
import { isRecord, shown } from "../../../core/options.ts";
import type { Tensor } from "../../../core/tensor.ts";
import { layerFromConfig } from "../../../layers/index.ts";
import type { Json, Layer } from "../../../layers/layer.ts";
import { activate } from "./activations.ts";
import { describe, type Graph, type Read } from "./graph.ts";
import { Axis, type Data, single } from "./values.ts";

/**
 * Layers that gruvy has written as functions, from what their calls say
 * (writing/call.ts). The functions' bodies are for other programs.
 */

/** Of the nodes that call them. */
export const DOMAIN = "gruvy";

/** Characters of a config: the largest that gruvy writes have some hundreds. */
const LONGEST_CONFIG = 2 ** 16;

export function layerCall(graph: Graph): void {
  const { inputs, outputs, attributes } = graph.node;
  const type = attributes.get("layer")?.s;
  const reads = attributes.get("reads")?.strings ?? [];
  const makes = attributes.get("makes")?.strings ?? [];
  if (reads.length !== inputs.length || makes.length !== outputs.length)
    throw graph.damaged("does not say what each input and output is");
  const at = (what: string) => reads.flatMap((read, i) => (read === what ? [i] : []));
  for (const i of at("lengths")) {
    const value = graph.data(i);
    if (value.node >= 0) throw graph.unsupported(`lengths are ${describe(value)}`, "expected an input of the model");
    graph.use(-1 - value.node, "lengths");
  }
  for (const i of at("mask")) {
    const value = graph.input(i);
    if (value.kind !== "mask") throw graph.damaged(`its mask is ${describe(value)}`);
  }
  const masks = makes.flatMap((what, i) => (what === "mask" ? [i] : []));
  if (type !== undefined) {
    const config = configOf(graph);
    const { readsTokens = false } = described(graph, type, config);
    if (type === "activation") graph.set(0, activate(graph, rowsOf(graph, at("input")[0]), config.activation));
    else layer(graph, type, config, readsTokens, reads, makes);
  }
  for (const i of masks) graph.set(i, { kind: "mask" });
  // An input as it is: its padding is zeros in gruvy too.
  if (type === undefined)
    for (const [i, what] of makes.entries()) if (what === "input") graph.set(i, graph.data(at(what)[0]));
}

function layer(
  graph: Graph,
  type: string,
  config: Record<string, Json>,
  readsTokens: boolean,
  reads: readonly string[],
  makes: readonly string[],
): void {
  const step = graph.int("step", 0) === 1;
  if (step) graph.stepwise = true;
  // In a step all layers give what they have of it, as those of operators do.
  if (step && "returnSequences" in config) config.returnSequences = true;
  const inputs: Read[] = [];
  const initialStates: Read[] = [];
  const weights: Record<string, Tensor> = {};
  let first: Data | undefined;
  reads.forEach((what, i) => {
    if (what === "mask") return;
    if (what === "input") {
      const data = readsTokens ? tokensOf(graph, i) : rowsOf(graph, i);
      first ??= data;
      inputs.push(readsTokens ? { node: data.node } : graph.read(data));
    } else if (what === "state") {
      const { node } = graph.data(i);
      if (node >= 0) throw graph.damaged("its state is not an input of the model");
      graph.use(-1 - node, "state");
    } else if (what === "initialState") initialStates.push(graph.read(rowsOf(graph, i)));
    else {
      const { shape, data } = graph.floats(i);
      weights[what] = { shape: [...shape], data };
    }
  });
  if (!first) throw graph.damaged("reads no data");
  const node = graph.layer(type, config, inputs, weights);
  if (initialStates.length) graph.nodes[node].initialStates = initialStates;

  const batch = first.axes[0];
  const features = new Axis(graph.int("features", 0), "features");
  const time = graph.int("axes", 2) === 3 ? [single(new Axis(null, "time"))] : [];
  let states = 0;
  makes.forEach((what, i) => {
    if (what === "output")
      graph.set(i, { kind: "data", node, axes: [batch, ...time, single(features)], features: [features] });
    else if (what === "state") {
      const zeros = config.zeroOutputForMask === true && reads.includes("mask");
      // Read as it goes out, and by others.
      if (step && zeros && graph.count(graph.node.outputs[i]) > 1)
        throw graph.unsupported(
          "a step whose state is read, and is not its output",
          "expected zeroOutputForMask: false",
        );
      const units = new Axis(graph.node.attributes.get("units")?.ints[states] ?? null, "features");
      graph.set(i, {
        kind: "data",
        node,
        axes: [batch, single(units)],
        features: [units],
        state: true,
        part: states++,
      });
    } else if (what !== "mask") throw graph.damaged(`makes ${shown(what)}`);
  });
}

function configOf(graph: Graph): Record<string, Json> {
  const text = graph.node.attributes.get("config")?.s ?? "";
  let config: unknown;
  try {
    config = text.length <= LONGEST_CONFIG ? JSON.parse(text) : undefined;
  } catch {
    config = undefined;
  }
  if (!isRecord(config)) throw graph.damaged("expected a config, an object of JSON");
  return config as Record<string, Json>;
}

/** The layer, as far as it is known without what it reads. */
function described(graph: Graph, type: string, config: Record<string, Json>): Layer {
  try {
    return layerFromConfig(type, undefined, config);
  } catch (error) {
    throw error instanceof GruvyError ? graph.damaged(error.message) : error;
  }
}

/** Input i as [batch, time, features] or [batch, features]. */
function rowsOf(graph: Graph, i: number): Data {
  const given = graph.data(i);
  const { axes } = given;
  if (axes.length < 2 || axes.length > 3) throw graph.damaged(`reads ${describe(given)}`);
  const { data } = graph.rows(given, axes.length - 1);
  assignRows(graph, data);
  return data;
}

/** Input i as tokens, [batch, time] or [batch]. */
function tokensOf(graph: Graph, i: number): Data {
  const given = graph.data(i);
  if (given.node >= 0 || given.axes.length < 1 || given.axes.length > 2)
    throw graph.unsupported(`tokens are ${describe(given)}`, "expected an input of the model");
  graph.use(-1 - given.node, "tokens");
  assignRows(graph, given);
  return given;
}

/** Batch first, then time, if there is one. */
function assignRows(graph: Graph, { axes, features }: Data): void {
  const rows = axes.slice(0, axes.length - (features.length ? 1 : 0));
  rows.forEach((axis, i) => {
    if (axis.length !== 1) throw graph.damaged("reads rows whose batch and time are one");
    graph.assign(axis[0], i === 0 ? "batch" : "time");
  });
}
