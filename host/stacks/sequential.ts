import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, integer, shown } from "../core/options.ts";
import { firstHole } from "../core/tensor.ts";
import { getEngine } from "../core/wasm.ts";
import type { Layer, Port } from "../layers/layer.ts";
import { Model } from "./model.ts";
import { Network, type NodeSpec, type Topology, type Weights } from "./network.ts";

export interface SequentialOptions {
  /** One sample: [time, features], [features], or [time] for tokens. null is any number of steps. */
  inputShape: readonly (number | null)[];
  /** Draws initial weights, shuffles, dropout. Default 0. */
  seed?: number;
}

/** What flows into the model. */
export function inputPort(where: string, shape: unknown, tokens: boolean, name = "inputShape"): Port {
  if (!Array.isArray(shape))
    throw new OptionError(`${where}: "${name}" must be an array such as [null, 16], got ${shown(shape)}`);
  const rank = tokens ? [0, 1] : [1, 2];
  if (!rank.includes(shape.length))
    throw new ShapeError(
      `${where}: "${name}" must be ${tokens ? "[time] for a model that reads tokens" : "[features] or [time, features]"}, got ${shown(shape)}`,
    );
  const sequence = shape.length === rank[1];
  if (sequence && shape[0] !== null) integer(where, `${name}[0] (time)`, shape[0], 1, 2 ** 24);
  if (!tokens) integer(where, `${name}[${shape.length - 1}] (features)`, shape[shape.length - 1], 1, 2 ** 20);
  return {
    features: tokens ? 1 : (shape[shape.length - 1] as number),
    sequence,
    steps: sequence ? (shape[0] as number | null) : null,
    type: tokens ? "tokens" : "values",
  };
}

/** Names as in Keras: gru, gru_1, gru_2... */
export function nameLayers(
  where: string,
  layers: readonly Pick<Layer, "type" | "name">[],
  others: string[] = [],
): string[] {
  const taken = new Set([...others, ...layers.flatMap((layer) => layer.name ?? [])]);
  const seen = new Map<string, number>();
  const own = new Set<string>();
  return layers.map((layer) => {
    if (layer.name !== undefined) {
      if (own.has(layer.name)) throw new OptionError(`${where}: two layers are called "${layer.name}"`);
      own.add(layer.name);
      return layer.name;
    }
    const stem = layer.type.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    for (;;) {
      const i = seen.get(stem) ?? 0;
      seen.set(stem, i + 1);
      const name = i === 0 ? stem : `${stem}_${i}`;
      if (!taken.has(name)) return name;
    }
  });
}

/**
 * A model whose layers follow one another.
 *
 * @example
 * const model = await sequential([gru(64), dense(10, { activation: "softmax" })], { inputShape: [null, 16], seed: 1 })
 *
 * @param layers at least one
 * @throws OptionError for unknown options
 * @throws ShapeError  when a layer does not fit the one before it
 */
export function sequential(layers: readonly Layer[], options: SequentialOptions): Promise<Model> {
  return assemble(layers, options);
}

/** `sequential`, with parameters drawn, given, or quantised and still to be written. */
export async function assemble(
  layers: readonly Layer[],
  options: SequentialOptions,
  weights: Weights = {},
): Promise<Model> {
  const where = "sequential()";
  if (!Array.isArray(layers) || layers.length === 0)
    throw new OptionError(`${where}: expected an array of layers, got ${shown(layers)}`);
  const missing = firstHole(layers);
  if (missing >= 0) throw new OptionError(`${where}: layer ${missing} is missing`);
  layers.forEach((layer, i) => {
    if (typeof Object(layer).build !== "function")
      throw new OptionError(`${where}: layer ${i} is not a layer but ${shown(layer)}; write gru(64), dense(10)...`);
  });
  checkOptions(where, options, ["inputShape", "seed"]);
  if (options?.inputShape === undefined)
    throw new OptionError(`${where}: "inputShape" is missing; [null, 16] for sequences of 16 features`);
  const seed = integer(where, "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
  const input = inputPort(where, options.inputShape, layers[0].readsTokens ?? false);
  const names = nameLayers(where, layers);
  const nodes: NodeSpec[] = layers.map((layer, i) => ({ layer, name: names[i], inputs: [{ node: i - 1 }] }));
  const topology: Topology = {
    inputs: [{ name: "input", port: input }],
    nodes,
    outputs: [{ name: names[layers.length - 1], source: { node: layers.length - 1 } }],
  };
  const network = new Network(await getEngine(), topology, seed, weights);
  return new Model(network, {
    kind: "sequential",
    config: {
      inputShape: [...options.inputShape],
      seed,
      layers: layers.map((layer, i) => ({ type: layer.type, name: names[i], config: layer.config })),
    },
  });
}
