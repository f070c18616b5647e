import { type TreeNode, writeHdf5 } from "../../host/formats/hdf5/write.ts";
import type { Tensor } from "../../host/index.ts";

/** Files of Keras, of layers by their own configs. */

export interface Layer {
  readonly class_name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** An .h5 as Keras writes it: layers, and their weights in order. */
export function h5(
  layers: readonly Layer[],
  weights: Readonly<Record<string, readonly Tensor[]>>,
  version?: string,
  config: unknown = { layers },
  className = "Sequential",
): Uint8Array {
  const groups: Record<string, TreeNode> = {};
  for (const [name, tensors] of Object.entries(weights))
    groups[name] = {
      attributes: { weight_names: tensors.map((_, i) => `${name}_w${i}:0`) },
      members: Object.fromEntries(tensors.map((tensor, i) => [`${name}_w${i}:0`, tensor])),
    };
  return writeHdf5({
    attributes: {
      ...(version && { keras_version: version }),
      model_config: JSON.stringify({ class_name: className, config }),
    },
    members: { model_weights: { attributes: { layer_names: Object.keys(weights) }, members: groups } },
  });
}

/** A layer by its class. */
export const layer = (className: string, config: object = {}, name = "layer"): Layer => ({
  class_name: className,
  config: { name, ...config },
});

/** A layer of a functional model, and what it reads. */
export interface Called {
  readonly class: string;
  readonly name: string;
  readonly config?: object;
  readonly from: readonly string[];
}

/** An .h5 of a functional model: its input is "x", five steps of three features, its output the last layer. */
export function functional(
  layers: readonly Called[],
  weights: Readonly<Record<string, readonly Tensor[]>>,
  version: string,
): Uint8Array {
  const input = { class_name: "InputLayer", name: "x", config: { batch_input_shape: [null, 5, 3] }, inbound_nodes: [] };
  const called = layers.map(({ class: className, name, config, from }) => ({
    ...layer(className, config, name),
    name,
    inbound_nodes: [from.map((one) => [one, 0, 0, {}])],
  }));
  const ends = { input_layers: [["x", 0, 0]], output_layers: [[layers.at(-1)!.name, 0, 0]] };
  return h5([], weights, version, { name: "model", layers: [input, ...called], ...ends }, "Functional");
}
