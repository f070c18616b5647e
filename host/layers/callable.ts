import { OptionError } from "../core/errors.ts";
import { checkOptions, shown } from "../core/options.ts";
import type { Layer } from "./layer.ts";

/** Where a graph begins: what `input()` says of one of its inputs. */
export interface GraphInput {
  readonly shape: readonly (number | null)[];
  readonly tokens: boolean;
  readonly name?: string;
}

/** A layer that reads nodes of a graph. */
export interface LayerCall {
  readonly layer: Layer;
  readonly inputs: readonly GraphNode[];
  /** Where the states of a recurrent layer begin; empty: at zero, or where the caller says. */
  readonly initialStates: readonly GraphNode[];
}

/**
 * A place in a graph that layers can read: what `input()` gives and what a
 * layer called on nodes gives. It holds no numbers, and can only come from
 * nodes that were there before it, so a graph has no cycles.
 */
export class GraphNode {
  /** Made by `input()` and by calling layers. */
  constructor(
    /** @internal */ readonly origin: GraphInput | LayerCall,
    /** @internal Which final state of the layer, where it is not its output. */
    readonly state?: number,
  ) {}
}

export interface CallOptions {
  /** Where a recurrent layer begins: [batch, units], one for each of its states. Default zeros. */
  initialState?: GraphNode | readonly GraphNode[];
}

/**
 * A layer that can be called on nodes of a graph: `gru(64)(node)`,
 * `add()([a, b])`. Every call of one layer object has the same parameters.
 */
export interface CallableLayer<Result = GraphNode> extends Layer {
  (inputs: GraphNode | readonly GraphNode[], options?: CallOptions): Result;
}

/** The output of a recurrent layer with `returnState`, and its final states, [batch, units] each. */
export type WithStates = [output: GraphNode, ...states: GraphNode[]];

/** Makes a layer's description callable. */
export function callable<Result = GraphNode>(layer: Layer): CallableLayer<Result> {
  const where = `${layer.type}()`;
  const call = (inputs: unknown, options: CallOptions = {}) => {
    checkOptions(where, options, ["initialState"]);
    const { initialState } = options;
    const origin: LayerCall = {
      layer: call as unknown as Layer,
      inputs: nodeList(where, inputs),
      initialStates: initialState === undefined ? [] : nodeList(`${where}: initialState`, initialState),
    };
    const node = new GraphNode(origin);
    if (!layer.returnsStates) return node;
    return [node, ...Array.from({ length: layer.returnsStates }, (_, i) => new GraphNode(origin, i))];
  };
  // A function has a name of its own; the layer's takes its place.
  for (const [key, value] of Object.entries({ name: undefined, ...layer }))
    Object.defineProperty(call, key, { value, enumerable: true });
  return call as unknown as CallableLayer<Result>;
}

function nodeList(where: string, nodes: unknown): readonly GraphNode[] {
  const list: readonly unknown[] = Array.isArray(nodes) ? [...nodes] : [nodes];
  const bad = list.findIndex((node) => !(node instanceof GraphNode));
  if (bad >= 0 || !list.length)
    throw new OptionError(
      `${where}: a layer is called on nodes of a graph, from input() or other layers, got ${Array.isArray(list[bad]) ? "a list of nodes; take one of them" : list.length ? shown(list[bad]) : "none"}`,
    );
  return list as readonly GraphNode[];
}
