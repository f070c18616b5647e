import { FormatError } from "../../core/errors.ts";
import type { Model } from "../../stacks/model.ts";
import type { Node, Topology } from "../../stacks/network.ts";
import { type WritableTensor, writeSafetensors } from "../safetensors.ts";
import { modulesOf, type TorchModule } from "./modules.ts";

/**
 * A model's weights as PyTorch has them, in safetensors. Layers are modules
 * under their gruvy names, grus that follow one another the levels of one
 * nn.GRU: "gru.weight_ih_l0", "gru.weight_ih_l1", "dense.weight". A model that
 * is nothing but one nn.GRU has its names alone, "weight_ih_l0", so that
 * `nn.GRU.load_state_dict` takes the file as it is.
 *
 * @throws FormatError for a layer that PyTorch cannot hold
 */
export function toPyTorch(model: Model): Uint8Array<ArrayBuffer> {
  const where = "exportModel()";
  const { nodes, topology } = model.network;
  const backwards = nodes.find(({ layer }) => layer.config.goBackwards);
  if (backwards)
    throw new FormatError(
      `${where}: layer "${backwards.name}": goBackwards, which nn.GRU has only beside a forward direction; use bidirectional`,
    );
  const modules = modulesOf(nodes, where, '; export to "onnx"');
  const places = placesOf(nodes, modules, readersOf(topology));
  const alone =
    new Set([...places.values()].map(({ module }) => module)).size === 1 && modules.every((m) => m.recurrent);
  const weights = model.weights();
  const tensors = new Map<string, WritableTensor>();
  for (const [{ layer, recurrent, toTorch }, { module, level }] of places) {
    const own = Object.entries(weights)
      .filter(([name]) => name.startsWith(`${layer}.`))
      .map(([name, tensor]) => [name.slice(layer.length + 1), tensor]);
    for (const [name, tensor] of Object.entries(toTorch(Object.fromEntries(own)))) {
      const full = recurrent ? name.replace(/(_reverse)?$/, `_l${level}$1`) : name;
      tensors.set(alone ? full : `${module}.${full}`, tensor);
    }
  }
  return writeSafetensors(tensors, { format: "pt" });
}

/** How often each node is read: by other nodes, and as an output. */
function readersOf({ nodes, outputs }: Topology): number[] {
  const counts = nodes.map(() => 0);
  const sources = nodes.flatMap(({ inputs, initialStates = [] }) => [...inputs, ...initialStates]);
  for (const { node } of [...sources, ...outputs.map(({ source }) => source)]) counts[node]++;
  return counts;
}

/** The module, and in an nn.GRU the level, of each layer. */
function placesOf(
  nodes: readonly Node[],
  modules: readonly TorchModule[],
  readers: readonly number[],
): Map<TorchModule, { module: string; level: number }> {
  const places = new Map<TorchModule, { module: string; level: number }>();
  let before: { node: Node; module: string; level: number } | undefined;
  for (const [i, node] of nodes.entries()) {
    const module = modules.find(({ layer }) => layer === node.name);
    if (!module) {
      // nn.GRU has dropout between its levels.
      if (node.layer.type !== "dropout") before = undefined;
      continue;
    }
    if (!module.recurrent) before = undefined;
    const follows = before && follow(before.node, node) && readsOnly(nodes, readers, i, nodes.indexOf(before.node));
    const place =
      before && follows ? { module: before.module, level: before.level + 1 } : { module: node.name, level: 0 };
    places.set(module, place);
    before = module.recurrent ? { node, ...place } : undefined;
  }
  return places;
}

/** Whether two layers can be levels of one nn.GRU. */
function follow(a: Node, b: Node): boolean {
  const options = ({ layer: { config } }: Node) => (config.layer as { config?: typeof config })?.config ?? config;
  const [x, y] = [options(a), options(b)];
  return a.layer.type === b.layer.type && x.units === y.units && x.useBias === y.useBias;
}

/** Whether node `to` reads node `from` and nothing else, and nothing else reads that; through dropout at most. */
function readsOnly(nodes: readonly Node[], readers: readonly number[], to: number, from: number): boolean {
  for (let at = to; ; ) {
    const { inputs, initialStates } = nodes[at];
    if (inputs.length !== 1 || inputs[0].state !== undefined || initialStates) return false;
    at = inputs[0].node;
    if (readers[at] !== 1) return false;
    if (at === from) return true;
    if (at < 0 || nodes[at].layer.type !== "dropout") return false;
  }
}
