import { FormatError } from "../../core/errors.ts";
import type { GraphConfig, NodeRef } from "../../stacks/graph.ts";
import type { Architecture, Model } from "../../stacks/model.ts";
import { portOf } from "../../stacks/nodes.ts";
import { TFJS } from "./config.ts";
import { type Target, WRITERS, type WrittenLayer } from "./write.ts";

const WHERE = "exportModel()";

/** The n-th call of a layer, and which of its results; of an input [name, 0, 0]. */
export type History = readonly [layer: string, node: number, tensor: number];

/** A layer as Keras describes it, and the calls of it. */
export interface DescribedLayer extends WrittenLayer {
  readonly name: string;
  readonly calls: readonly { readonly inputs: readonly History[]; readonly states: readonly History[] }[];
}

/** A model as Keras describes it. */
export interface DescribedModel {
  readonly sequential: boolean;
  readonly inputs: readonly {
    readonly name: string;
    readonly shape: readonly (number | null)[];
    readonly tokens: boolean;
  }[];
  readonly layers: readonly DescribedLayer[];
  readonly outputs: readonly History[];
  /** Of a tensor, with the batch. */
  readonly shapeOf: (history: History) => readonly (number | null)[];
}

/**
 * A model in Keras's terms.
 *
 * @throws FormatError for a layer, or an option of one, that the target has not; it names the layer
 */
export function describeModel(model: Model<unknown>, target: Target): DescribedModel {
  const { network } = model;
  const graph = graphOf(model.architecture, network.inputs[0].port.type === "tokens");
  const flows = new Flows(graph, target);
  const weights = model.weights();
  const sequential = model.architecture.kind === "sequential" && graph.layers.every(({ type }) => !twoSided(type));
  const layers = flows.order().map(({ type, name, config }): DescribedLayer => {
    if (!Object.hasOwn(WRITERS, type))
      throw new FormatError(
        `${WHERE}: layer "${name}" (${type}): ${target.program} has no such layer; export to "onnx", or use ${Object.keys(WRITERS).join(", ")}`,
      );
    const { inputs, built } = network.nodes.find((node) => node.name === name)!;
    const written = WRITERS[type]({
      name,
      type,
      config,
      target,
      sequential,
      param: (own) => weights[`${name}.${own}`],
      input: portOf(network.topology, network.nodes, inputs[0]),
      output: built.output,
    });
    if (target.lacks.includes(written.className))
      throw new FormatError(
        `${WHERE}: layer "${name}" (${type}): ${target.program} has no ${written.className}; export to "keras" or "onnx"`,
      );
    return { ...written, name, calls: flows.callsOf(name) };
  });
  return {
    sequential,
    inputs: graph.inputs.map(({ name, shape, type }) => ({ name, shape, tokens: type === "tokens" })),
    layers,
    outputs: graph.outputs.map(({ from }) => flows.history(from)),
    shapeOf: shapes(model, flows, graph),
  };
}

/** Shapes of all that flows, by where it comes from. */
function shapes({ network }: Model<unknown>, flows: Flows, graph: GraphConfig): DescribedModel["shapeOf"] {
  const known = new Map<string, (number | null)[]>();
  for (const { name, shape } of graph.inputs) known.set(String([name, 0, 0]), [null, ...shape]);
  network.nodes.forEach(({ built: { output, states = [] } }, i) => {
    const { sequence, steps, features } = output;
    known.set(String(flows.history(i)), [null, ...(sequence ? [steps] : []), features]);
    for (const [k, { units }] of states.entries()) known.set(String(flows.history([i, k])), [null, units]);
  });
  return (history) => known.get(String(history))!;
}

const MERGES = ["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"];

/** Layers that attend: on one input in gruvy, which is two in Keras. */
function twoSided(type: string): boolean {
  return type === "attention" || type === "multiHeadAttention";
}

/** A sequential model is a graph whose nodes follow one another. */
function graphOf({ kind, config }: Architecture, tokens: boolean): GraphConfig {
  if (kind === "graph") return config as GraphConfig;
  const { layers, inputShape, seed } = config as Pick<GraphConfig, "layers" | "seed"> & {
    inputShape: readonly (number | null)[];
  };
  return {
    inputs: [{ name: "input_layer", shape: inputShape, type: tokens ? "tokens" : "values" }],
    layers,
    nodes: layers.map(({ name }, i) => ({ layer: name, inputs: [i - 1] })),
    outputs: [{ name: "output", from: layers.length - 1 }],
    form: "one",
    seed,
  };
}

/** What flows where, and with which masks. */
class Flows {
  private readonly types: ReadonlyMap<string, GraphConfig["layers"][number]>;
  /** Which call of its layer a node is. */
  private readonly calls: readonly number[];

  constructor(
    private readonly graph: GraphConfig,
    private readonly target: Target,
  ) {
    this.types = new Map(graph.layers.map((layer) => [layer.name, layer]));
    const counts = new Map<string, number>();
    this.calls = graph.nodes.map(({ layer }) => {
      const count = counts.get(layer) ?? 0;
      counts.set(layer, count + 1);
      return count;
    });
    this.checkMasks();
  }

  private layer(node: number): GraphConfig["layers"][number] {
    return this.types.get(this.graph.nodes[node].layer)!;
  }

  /** Where a tensor comes from, in Keras's terms: there are no remasks there. */
  history(ref: NodeRef): History {
    const [node, state] = typeof ref === "number" ? [ref, undefined] : ref;
    if (node < 0) return [this.graph.inputs[-1 - node].name, 0, 0];
    if (this.layer(node).type === "remask") return this.history(this.graph.nodes[node].inputs[0]);
    return [this.graph.nodes[node].layer, this.calls[node], state === undefined ? 0 : 1 + state];
  }

  /**
   * The layers as Keras orders them, in which the groups of its files are
   * counted: by the longest way to an output, the longest first, and where
   * that is equal by when they are met on the way back from the outputs.
   */
  order(): GraphConfig["layers"][number][] {
    const { nodes, outputs } = this.graph;
    const readBy = (node: number) =>
      [...nodes[node].inputs, ...(nodes[node].initialStates ?? [])]
        .map((ref) => this.sourceOf(ref))
        .filter((n) => n >= 0);
    const met = new Map<string, number>();
    const finished: number[] = [];
    const seen = new Set<number>();
    // A stack of its own: graphs may be deeper than calls may nest.
    const stack = outputs.map(({ from }) => ({ node: this.sourceOf(from), done: false })).reverse();
    while (stack.length > 0) {
      const { node, done } = stack.pop()!;
      if (done) finished.push(node);
      if (done || node < 0 || seen.has(node)) continue;
      seen.add(node);
      const { layer } = nodes[node];
      if (!met.has(layer)) met.set(layer, met.size);
      stack.push(
        { node, done: true },
        ...readBy(node)
          .map((read) => ({ node: read, done: false }))
          .reverse(),
      );
    }
    const depths = new Map<number, number>();
    const depthOf = new Map<string, number>();
    for (const node of finished.reverse()) {
      const { layer } = nodes[node];
      const depth = Math.max(depths.get(node) ?? 0, depthOf.get(layer) ?? 0);
      depthOf.set(layer, depth);
      for (const read of readBy(node)) depths.set(read, Math.max(depth + 1, depths.get(read) ?? 0));
    }
    return [...met.keys()]
      .sort((a, b) => depthOf.get(b)! - depthOf.get(a)! || met.get(a)! - met.get(b)!)
      .map((name) => this.types.get(name)!);
  }

  /** The node that a reference leads to, past remasks; below 0: an input. */
  private sourceOf(ref: NodeRef): number {
    const node = typeof ref === "number" ? ref : ref[0];
    return node >= 0 && this.layer(node).type === "remask" ? this.sourceOf(this.graph.nodes[node].inputs[0]) : node;
  }

  callsOf(name: string): DescribedLayer["calls"] {
    const calls = this.graph.nodes.filter(({ layer }) => layer === name);
    return calls.map(({ inputs, initialStates = [] }) => {
      const read = inputs.map((ref) => this.history(ref));
      const both = twoSided(this.types.get(name)!.type) && read.length === 1;
      return { inputs: both ? [read[0], read[0]] : read, states: initialStates.map((ref) => this.history(ref)) };
    });
  }

  /** Masks that come from the model itself must mean the same in Keras; those of a caller it has not. */
  private checkMasks(): void {
    const { nodes } = this.graph;
    // Which mask comes out of a node: the number of the node where it began.
    const masks: (number | undefined)[] = [];
    // Turned round by goBackwards, which in Keras leaves the mask as it is.
    const turned: boolean[] = [];
    const nodeOf = (ref: NodeRef) => (typeof ref === "number" ? ref : -1);
    nodes.forEach(({ inputs }, i) => {
      const { type, name, config } = this.layer(i);
      const from = inputs.map(nodeOf).filter((node) => node >= 0);
      const comes = from.some((node) => masks[node] !== undefined);
      const refuse = (why: string, instead: string) => {
        throw new FormatError(`${WHERE}: layer "${name}" (${type}): ${this.target.program} ${why}; ${instead}`);
      };
      if (type === "remask") {
        const back = config.to === "reversed";
        if (back && !from.some((node) => turned[node])) refuse("turns no masks round", "leave it out");
        const readers = nodes.flatMap((node, j) => (node.inputs.some((ref) => nodeOf(ref) === i) ? [j] : []));
        if (!back && comes && !readers.every((j) => this.seesNoMask(j)))
          refuse("drops masks only before convolutions and poolings", "leave it out");
        masks[i] = comes && back ? i : undefined;
        turned[i] = false;
        return;
      }
      if (comes && from.some((node) => turned[node]) && readsMasks(type, config))
        refuse("leaves a mask as it is where goBackwards turns the steps round", 'put remask("reversed") before it');
      if (comes && this.seesNoMask(i))
        refuse("does not see masks here", 'put remask("none") before it, or export to "onnx"');
      if (comes && type === "multiHeadAttention" && config.blind !== "mean")
        refuse("has no zeros for queries that see nothing", 'make it with blind: "mean"');
      if (
        comes &&
        type === "bidirectional" &&
        sequences(config) &&
        (config.zeroOutputForMask === false) === this.target.bidirectionalZeroes
      )
        refuse(`has ${this.target.bidirectionalZeroes ? "zeros" : "no zeros"} at masked steps`, "leave the mask out");
      const own = new Set(inputs.map((ref) => masks[nodeOf(ref)]));
      // Keras 2 and 3 differ here, and both read what is written for either.
      if (own.size > 1 && MERGES.includes(type) && this.target.program !== TFJS.program)
        refuse("merges different masks in another way", "give all that it merges one mask");
      const starts = type === "masking" || (type === "embedding" && config.maskZero === true);
      const merged = own.size > 1 && !twoSided(type);
      const goes = comes && !endsMasks(type, config);
      masks[i] = starts || (goes && merged) ? i : goes ? masks[nodeOf(inputs[0])] : undefined;
      turned[i] =
        masks[i] !== undefined &&
        ((type === "gru" && config.goBackwards === true) || from.some((node) => turned[node]));
    });
  }

  private seesNoMask(node: number): boolean {
    const { type, config } = this.layer(node);
    return type === "conv1d" || (type === "pooling1d" && !(config.global && config.kind === "mean"));
  }
}

function sequences(config: GraphConfig["layers"][number]["config"]): boolean {
  return (
    ((config.layer as { config: { returnSequences?: boolean } } | undefined)?.config ?? config).returnSequences === true
  );
}

function readsMasks(type: string, config: GraphConfig["layers"][number]["config"]): boolean {
  return (
    ["gru", "bidirectional", "attention", "multiHeadAttention"].includes(type) ||
    (type === "pooling1d" && !!config.global)
  );
}

function endsMasks(type: string, config: GraphConfig["layers"][number]["config"]): boolean {
  if (type === "gru" || type === "bidirectional") return !sequences(config);
  return ["pooling1d", "conv1d", "repeat", "reshape", "transpose", "padding1d"].includes(type);
}
