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
      model_config: JSON.stringify({ class_name: "Sequential", config }),
    },
    members: { model_weights: { attributes: { layer_names: Object.keys(weights) }, members: groups } },
  });
}

/** A layer by its class. */
export const layer = (className: string, config: object = {}, name = "layer"): Layer => ({
  class_name: className,
  config: { name, ...config },
});
