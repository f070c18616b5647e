import type { Json } from "../../../layers/layer.ts";
import type { Graph } from "./graph.ts";
import type { Data } from "./values.ts";

export type Operator = (graph: Graph) => void;

/** The layer that made data, where nothing else reads it and it may still change. */
export function open(graph: Graph, data: Data, ...types: string[]) {
  const node = data.node >= 0 && data.exclusive ? graph.nodes[data.node] : undefined;
  return node && types.includes(node.type) ? node : undefined;
}

export const isLinear = (config: Record<string, Json>) => (config.activation ?? "linear") === "linear";
