import { OptionError, ShapeError } from "../core/errors.ts";
import type { Engine } from "../core/wasm.ts";
import type { Initializer } from "../layers/initializers.ts";
import type { Builder, Param, Port } from "../layers/layer.ts";
import type { Network, Node, NodeSpec, Packed, Quantization, Source, Topology } from "./network.ts";

/** Features, and steps that are fixed, of what a layer gives. */
const MOST = 2 ** 24;

/**
 * Builds the layers of a model, in order: each declares its parameters and
 * the packed copies of them. A layer that is used again gets those of its
 * first use.
 *
 * @param packs where the packed copies go
 * @param owner a model with layers of the same names, whose parameters and packed copies these layers have
 * @throws ShapeError, OptionError where a layer does not fit what it reads
 */
export function buildNodes(
  engine: Engine,
  topology: Topology,
  seed: number,
  quantization: Quantization | undefined,
  packs: Packed[],
  owner?: Pick<Network, "params" | "packs">,
): readonly Node[] {
  const nodes: Node[] = [];
  const packedBy: Packed[][] = [];
  topology.nodes.forEach((spec, i) => {
    const first = spec.shares ?? i;
    const prefix = topology.nodes[first].name;
    const params: Param[] = i === first ? [] : [...nodes[first].params];
    const packed: Packed[] = (packedBy[i] = i === first ? [] : packedBy[first]);
    const declare = (part: string, shape: readonly number[], initializer: Initializer, type: Param["type"]) => {
      const name = `${prefix}.${part}`;
      const shared = i !== first && params.find((param) => param.name === name);
      if (shared && `${shared.shape}` === `${shape}`) return shared;
      if (i !== first)
        throw new ShapeError(
          `layer "${prefix}" is used more than once: "${name}" would be [${shape.join(", ")}] here, and is ${shared ? `[${shared.shape.join(", ")}]` : "not there"} in its first use`,
        );
      if (owner) {
        const theirs = owner.params.find((param) => param.name === name);
        if (`${theirs?.shape}` !== `${shape}`)
          throw new ShapeError(
            `layer "${prefix}": "${name}" would be [${shape.join(", ")}] here, and is ${theirs ? `[${theirs.shape.join(", ")}]` : "not there"} in the model whose weights it has`,
          );
        params.push(theirs!);
        return theirs!;
      }
      const param: Param = { name, shape, initializer, type, address: 0, scales: 0, gradient: 0 };
      params.push(param);
      return param;
    };
    const builder: Builder = {
      core: engine.core,
      name: spec.name,
      seed,
      int8: quantization && { range: quantization.ranges[spec.name] ?? 0 },
      param: (name, shape, initializer) => declare(name, shape, initializer, "f32"),
      matrix: (name, shape, initializer) => declare(name, shape, initializer, quantization ? "i8" : "f32"),
      packed: (label, count, record, training = false) => {
        const shared = i !== first && packed.find((pack) => pack.label === `${prefix}.${label}`);
        if (shared) return shared;
        const theirs = owner?.packs.find((pack) => pack.label === `${prefix}.${label}`);
        if (theirs) return theirs;
        const pack: Packed = { label: `${prefix}.${label}`, count, training, record, address: 0 };
        packed.push(pack);
        packs.push(pack);
        return pack;
      },
    };
    checkArity(spec);
    const ports = spec.inputs.map((source) => portOf(topology, nodes, source));
    const built = spec.layer.build(builder, ports);
    const { features, steps } = built.output;
    if (features > MOST || (steps ?? 0) > MOST)
      throw new ShapeError(
        `layer "${spec.name}": its output would be [batch, ${steps === null ? "" : `${steps}, `}${features}]; expected at most ${MOST} of each`,
      );
    const node: Node = { ...spec, built, params };
    checkInitialStates(topology, nodes, node);
    nodes.push(node);
  });
  return nodes;
}

/** What comes from a source. */
export function portOf(topology: Topology, nodes: readonly Node[], { node, state }: Source): Port {
  if (node < 0) return topology.inputs[-1 - node].port;
  const { output, states } = nodes[node].built;
  if (state === undefined) return output;
  const own = states?.[state];
  if (!own) throw new OptionError(`layer "${nodes[node].name}": has no state ${state} to read`);
  return { features: own.units, sequence: false, steps: null, type: "values" };
}

function checkArity({ layer, name, inputs }: NodeSpec): void {
  const [least, most] = layer.arity ?? [1, 1];
  if (inputs.length >= least && inputs.length <= most) return;
  const wanted = least === most ? least : most === Infinity ? `at least ${least}` : `${least} to ${most}`;
  throw new ShapeError(
    `layer "${name}": expected ${wanted} input${least === 1 && most === 1 ? "" : "s"}, got ${inputs.length}`,
  );
}

function checkInitialStates(topology: Topology, nodes: readonly Node[], node: Node): void {
  const { name, built, initialStates = [] } = node;
  if (!initialStates.length) return;
  const { states = [] } = built;
  const where = `layer "${name}": initialState`;
  if (initialStates.length !== states.length)
    throw new ShapeError(`${where}: the layer has ${states.length} states, got ${initialStates.length}`);
  if (built.stateful)
    throw new OptionError(`${where}: a stateful layer begins where the batch before ended, not at another layer`);
  initialStates.forEach((source, i) => {
    const { features, sequence, type } = portOf(topology, nodes, source);
    if (sequence || type === "tokens" || features !== states[i].units)
      throw new ShapeError(
        `${where}: expected [batch, ${states[i].units}], got ${type === "tokens" ? "tokens" : `[batch, ${sequence ? "time, " : ""}${features}]`}`,
      );
  });
}
