import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, integer, oneOf, shown } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import { getEngine } from "../core/wasm.ts";
import { type GraphInput, GraphNode, type LayerCall } from "../layers/callable.ts";
import type { Json, Layer } from "../layers/layer.ts";
import { checkName } from "../layers/name.ts";
import { Model, type OutputForm } from "./model.ts";
import { Network, type NodeSpec, type Source, type Terminal, type Topology, type Weights } from "./network.ts";
import { inputPort, nameLayers } from "./sequential.ts";

export interface InputOptions {
  /** By which `predict` and `fit` take it from a record. Default "input", "input_1"... */
  name?: string;
  /** "tokens" are whole numbers for an embedding, [batch, time] or [batch]. Default "values". */
  type?: "values" | "tokens";
}

/**
 * An input of a graph.
 *
 * @example const x = input([null, 16])                    // sequences of 16 features
 * @example const words = input([null], { type: "tokens" })
 * @param shape one sample: [time, features] or [features]; [time] or [] for tokens. null is any number of steps
 * @throws OptionError for unknown options, ShapeError for a shape of another rank
 */
export function input(shape: readonly (number | null)[], options: InputOptions = {}): GraphNode {
  const where = "input()";
  checkOptions(where, options, ["name", "type"]);
  const type = oneOf(where, "type", options.type ?? "values", ["values", "tokens"]);
  inputPort(where, shape, type === "tokens", "shape");
  return new GraphNode({ shape: [...shape], tokens: type === "tokens", name: checkName(where, options.name) });
}

/** Nodes alone, in a list, or in a record by name. */
export type Nodes = GraphNode | readonly GraphNode[] | Readonly<Record<string, GraphNode>>;

/** What a model with these outputs predicts. */
export type OutputsOf<Outputs extends Nodes> = Outputs extends GraphNode | readonly [GraphNode]
  ? Tensor
  : { -readonly [Name in keyof Outputs]: Tensor };

export interface GraphOptions<Outputs extends Nodes> {
  /** All that the outputs depend on; a record gives names. */
  inputs: Nodes;
  /** A model with one output predicts a tensor, one with several a list, or a record where they are given as one. */
  outputs: Outputs;
  /** Draws initial weights, shuffles, dropout. Default 0. */
  seed?: number;
  /**
   * A model with the same layers, or layers of the same names: this one has its parameters, not copies of them, and
   * follows its training. For other ways through a model, such as an encoder by itself. Only the other can be trained,
   * and must not be disposed of.
   */
  weightsOf?: Model<unknown>;
}

/**
 * A model of any acyclic form: several inputs and outputs, sequences of
 * different lengths, layers that read several others or are used several
 * times (with the same parameters).
 *
 * @example
 * const source = input([null, 16])
 * const target = input([null, 8])
 * const [, state] = gru(64, { returnState: true })(source)
 * const decoded = gru(64, { returnSequences: true })(target, { initialState: state })
 * const model = await graph({ inputs: [source, target], outputs: dense(8)(decoded), seed: 1 })
 *
 * @throws OptionError for nodes that do not make a graph: inputs that nothing reads or that are missing, names twice
 * @throws ShapeError  when a layer does not fit what it reads
 */
export function graph<const Outputs extends Nodes>(options: GraphOptions<Outputs>): Promise<Model<OutputsOf<Outputs>>> {
  return assembleGraph(options) as Promise<Model<OutputsOf<Outputs>>>;
}

/** What a file says of a graph. Layers are listed once; a node is a call of one of them. */
export interface GraphConfig {
  readonly inputs: readonly { name: string; shape: readonly (number | null)[]; type: "values" | "tokens" }[];
  readonly layers: readonly { type: string; name: string; config: { readonly [option: string]: Json } }[];
  readonly nodes: readonly { layer: string; inputs: readonly NodeRef[]; initialStates?: readonly NodeRef[] }[];
  readonly outputs: readonly { name: string; from: NodeRef }[];
  readonly form: OutputForm;
  readonly seed: number;
}

/** -1 - i: the i-th input; i: the i-th node; [i, s]: its final state s. */
export type NodeRef = number | readonly [node: number, state: number];

/** `graph`, with parameters drawn, given, or quantised and still to be written. */
export async function assembleGraph(
  options: GraphOptions<Nodes>,
  weights: Weights = {},
  saved?: { readonly form: OutputForm; readonly names: readonly (string | undefined)[] },
): Promise<Model<unknown>> {
  const where = "graph()";
  checkOptions(where, options, ["inputs", "outputs", "seed", "weightsOf"]);
  const of = networkOf(where, options?.weightsOf);
  const seed = integer(where, "seed", options?.seed ?? of?.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
  const inputs = namedNodes(where, "inputs", options?.inputs);
  const outputs = namedNodes(where, "outputs", options?.outputs);
  const terminals = inputTerminals(where, inputs);
  const calls = inOrder(
    where,
    outputs.map(({ node }) => node),
  );
  const position = new Map<GraphNode["origin"], number>();
  inputs.forEach(({ node }, i) => {
    position.set(node.origin, -1 - i);
  });
  calls.forEach((call, i) => {
    position.set(call, i);
  });
  const sourceOf = ({ origin, state }: GraphNode): Source => {
    const node = position.get(origin);
    if (node === undefined)
      throw new OptionError(
        `${where}: an input of shape ${shown((origin as GraphInput).shape)} is read, but is not among "inputs"`,
      );
    return state === undefined ? { node } : { node, state };
  };

  const layers = [...new Set(calls.map(({ layer }) => layer))];
  // A layer that both models have goes by its name in the other.
  const nameIn = (layer: Layer) => of?.nodes.find((node) => node.layer === layer)?.name ?? layer.name;
  const layerNames = nameLayers(
    where,
    layers.map((layer) => ({ type: layer.type, name: nameIn(layer) })),
    of?.nodes.map(({ name }) => name),
  );
  const firstCall = new Map<Layer, number>();
  const uses = new Map<Layer, number>();
  const nodes = calls.map((call, i): NodeSpec => {
    const { layer, inputs: read, initialStates } = call;
    const use = (uses.get(layer) ?? 0) + 1;
    uses.set(layer, use);
    const name = layerNames[layers.indexOf(layer)] + (use > 1 ? `:${use}` : "");
    if (use === 1) firstCall.set(layer, i);
    return {
      layer,
      name,
      inputs: read.map(sourceOf),
      ...(initialStates.length && { initialStates: initialStates.map(sourceOf) }),
      ...(use > 1 && { shares: firstCall.get(layer) }),
    };
  });
  const form = saved?.form ?? formOf(options.outputs);
  const ends = outputs.map(({ name, node }, i) => {
    const source = sourceOf(node);
    if (source.node < 0) throw new OptionError(`${where}: an output must come from a layer, got an input`);
    const own = nodes[source.node].name + (source.state === undefined ? "" : `_state${source.state || ""}`);
    return { name: saved?.names[i] ?? name ?? own, source };
  });
  checkUnique(where, "outputs", ends);
  const read = new Set(
    nodes.flatMap((node) => [...node.inputs, ...(node.initialStates ?? [])].map(({ node: n }) => n)),
  );
  const unread = terminals.find((_, i) => !read.has(-1 - i));
  if (unread) throw new OptionError(`${where}: input "${unread.name}" is not read by anything that the outputs need`);

  const topology: Topology = { inputs: terminals, nodes, outputs: ends };
  const network = new Network(await getEngine(), topology, seed, of ? { of, quantization: of.quantization } : weights);
  const refOf = ({ node, state }: Source): NodeRef => (state === undefined ? node : [node, state]);
  const config: GraphConfig = {
    inputs: inputs.map(({ node }, i) => {
      const { shape, tokens } = node.origin as GraphInput;
      return { name: terminals[i].name, shape, type: tokens ? "tokens" : "values" };
    }),
    layers: layers.map((layer, i) => ({ type: layer.type, name: layerNames[i], config: layer.config })),
    nodes: nodes.map(({ layer, inputs: from, initialStates }) => ({
      layer: layerNames[layers.indexOf(layer)],
      inputs: from.map(refOf),
      ...(initialStates && { initialStates: initialStates.map(refOf) }),
    })),
    outputs: ends.map(({ name, source }) => ({ name, from: refOf(source) })),
    form,
    seed,
  };
  return new Model<unknown>(network, { kind: "graph", config }, form);
}

function networkOf(where: string, model: unknown): Network | undefined {
  if (model === undefined) return undefined;
  if (!(model instanceof Model)) throw new OptionError(`${where}: "weightsOf" must be a model, got ${shown(model)}`);
  model.network.checkAlive();
  return model.network;
}

function formOf(outputs: unknown): OutputForm {
  if (outputs instanceof GraphNode || (Array.isArray(outputs) && outputs.length === 1)) return "one";
  return Array.isArray(outputs) ? "list" : "record";
}

function namedNodes(where: string, what: string, nodes: unknown): { name?: string; node: GraphNode }[] {
  const list =
    nodes instanceof GraphNode
      ? [{ node: nodes }]
      : Array.isArray(nodes)
        ? Array.from(nodes as unknown[], (node) => ({ node }))
        : typeof nodes === "object" && nodes !== null
          ? Object.entries(nodes).map(([name, node]) => ({ name: checkName(where, name), node: node as unknown }))
          : undefined;
  if (!list?.length)
    throw new OptionError(`${where}: "${what}" must be a node, a list or a record of nodes, got ${shown(nodes)}`);
  for (const { node } of list)
    if (!(node instanceof GraphNode))
      throw new OptionError(
        `${where}: "${what}" must be nodes, from input() and from layers called on nodes, got ${Array.isArray(node) ? "a list of nodes; take one of them" : shown(node)}`,
      );
  return list as { name?: string; node: GraphNode }[];
}

function inputTerminals(where: string, inputs: readonly { name?: string; node: GraphNode }[]): Terminal[] {
  const given = inputs.map(({ name, node: { origin } }) => {
    if ("layer" in origin)
      throw new OptionError(
        `${where}: "inputs" must come from input(), got the output of a layer of type "${origin.layer.type}"`,
      );
    return { ...origin, name: name ?? origin.name };
  });
  if (new Set(inputs.map(({ node }) => node.origin)).size < inputs.length)
    throw new OptionError(`${where}: "inputs" has the same input twice`);
  const named = given.flatMap(({ name }) => (name === undefined ? [] : [{ name }]));
  checkUnique(where, "inputs", named);
  const taken = new Set(named.map(({ name }) => name));
  let next = 0;
  const fresh = (): string => {
    const name = next ? `input_${next}` : "input";
    next++;
    return taken.has(name) ? fresh() : name;
  };
  return given.map(({ shape, tokens, name }) => ({ name: name ?? fresh(), port: inputPort(where, shape, tokens) }));
}

function checkUnique(where: string, what: string, named: readonly { name: string }[]): void {
  const twice = named.find(({ name }, i) => named.findIndex((other) => other.name === name) < i);
  if (twice) throw new OptionError(`${where}: two of "${what}" are called "${twice.name}"; give them in a record`);
}

/** All calls that the nodes depend on, each after those that it reads. */
function inOrder(where: string, nodes: readonly GraphNode[]): LayerCall[] {
  const order: LayerCall[] = [];
  const done = new Set<LayerCall>();
  // A stack of its own: graphs may be deeper than calls may nest.
  const stack = nodes.map(({ origin }) => origin).reverse();
  while (stack.length) {
    const call = stack[stack.length - 1];
    if (!("layer" in call) || done.has(call)) {
      stack.pop();
      continue;
    }
    const open = [...call.inputs, ...call.initialStates]
      .map(({ origin }) => origin)
      .filter((origin) => "layer" in origin && !done.has(origin));
    if (open.length) stack.push(...open.reverse());
    else {
      stack.pop();
      done.add(call);
      order.push(call);
    }
  }
  if (!order.length) throw new ShapeError(`${where}: the outputs do not come from any layer`);
  return order;
}
