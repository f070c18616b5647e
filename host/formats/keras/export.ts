import type { Json } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { type TreeNode, writeHdf5 } from "../hdf5/write.ts";
import { writeZip } from "../zip.ts";
import { kerasDialect } from "./config.ts";
import { snakeCase } from "./topology.ts";
import { describeModel, type Target, type WrittenModel } from "./write.ts";

/** Versions that we write as. */
const KERAS2 = "2.15.0";
const KERAS3 = "3.9.2";

const target = (version: string): Target => ({ ...kerasDialect(version), resetAfter: true });

/**
 * A model as Keras 3's `.keras`: a stored zip of metadata.json, config.json
 * and model.weights.h5.
 *
 * @throws FormatError for what Keras 3 has not
 */
export async function toKerasZip(model: Model): Promise<Uint8Array> {
  const described = describeModel(model, target(KERAS3));
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  return writeZip(
    new Map([
      ["metadata.json", json({ keras_version: KERAS3, date_saved: "1980-01-01@00:00:00" })],
      ["config.json", json(config3(described))],
      ["model.weights.h5", writeHdf5(structured(described))],
    ]),
  );
}

/** An object as Keras 3 serializes it. */
function serialized(module: string, className: string, config: object): Record<string, unknown> {
  return { module, class_name: className, config, registered_name: null };
}

function config3({ inputShape, tokens, layers }: WrittenModel): object {
  const dtype = "float32";
  const batchShape = [null, ...inputShape];
  const input = { batch_shape: batchShape, dtype: tokens ? "int32" : dtype, sparse: false, name: "input_layer" };
  return {
    ...serialized("keras", "Sequential", {
      name: "sequential",
      trainable: true,
      dtype,
      layers: [
        serialized("keras.layers", "InputLayer", input),
        ...layers.map(({ name, className, config }) =>
          serialized("keras.layers", className, { name, trainable: true, dtype, ...config3Of(config) }),
        ),
      ],
      build_input_shape: batchShape,
    }),
    compile_config: null,
  };
}

/** Initialisers are objects of their own. */
function config3Of(config: Readonly<Record<string, Json>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => {
      if (!name.endsWith("_initializer")) return [name, value];
      const { class_name: className, config: own } = value as { class_name: string; config: object };
      return [name, serialized("keras.initializers", className, own)];
    }),
  );
}

/** Groups by class and count, variables by number. */
function structured({ layers }: WrittenModel): TreeNode {
  const counts = new Map<string, number>();
  const groups: Record<string, TreeNode> = {};
  for (const { name, className, weights, within } of layers) {
    const snake = snakeCase(className);
    const count = counts.get(snake) ?? 0;
    counts.set(snake, count + 1);
    const vars: TreeNode = { members: Object.fromEntries(weights.map(({ tensor }, i) => [String(i), tensor])) };
    const node: TreeNode = { members: { vars: { ...vars, attributes: { name } } } };
    groups[`${snake}${count ? `_${count}` : ""}`] = within
      ? { members: { [within]: { members: { vars } }, vars: { attributes: { name } } } }
      : node;
  }
  return { members: { layers: { members: groups }, vars: {} } };
}

/**
 * A model as Keras's older `.h5`. It is written as Keras 2 writes, which
 * Keras 3 reads too; as Keras 3 where the model has Keras 3's hard sigmoid.
 *
 * @throws FormatError for what Keras has not
 */
export async function toH5(model: Model): Promise<Uint8Array> {
  const version = JSON.stringify(model.architecture.config).includes('"hardSigmoid"') ? KERAS3 : KERAS2;
  const { inputShape, tokens, layers } = describeModel(model, target(version));
  const input = { batch_input_shape: [null, ...inputShape], dtype: tokens ? "int32" : "float32", sparse: false };
  const config = {
    class_name: "Sequential",
    config: {
      name: "sequential",
      layers: [
        { class_name: "InputLayer", config: { ...input, name: "input_layer" } },
        ...layers.map(({ name, className, config: own }) => ({
          class_name: className,
          config: { name, trainable: true, dtype: "float32", ...own },
        })),
      ],
    },
  };
  const groups: Record<string, TreeNode> = {};
  for (const { name, weights } of layers) {
    const named = Object.fromEntries(weights.map(({ name: own, tensor }) => [`${own}:0`, tensor]));
    groups[name] = {
      attributes: { weight_names: weights.map(({ name: own }) => `${name}/${own}:0`) },
      members: weights.length ? { [name]: { members: named } } : {},
    };
  }
  const about = { backend: "tensorflow", keras_version: version };
  return writeHdf5({
    attributes: { ...about, model_config: JSON.stringify(config) },
    members: {
      model_weights: {
        attributes: {
          ...about,
          ...split(
            "layer_names",
            layers.map(({ name }) => name),
          ),
        },
        members: groups,
      },
    },
  });
}

/** A list that is too long for one attribute as Keras splits it: name0, name1... */
function split(name: string, values: readonly string[]): Record<string, readonly string[]> {
  const width = Math.max(1, ...values.map((value) => new TextEncoder().encode(value).length));
  const each = Math.max(1, Math.floor(60_000 / width));
  if (values.length <= each) return { [name]: values };
  const parts: Record<string, readonly string[]> = {};
  for (let i = 0; i * each < values.length; i++) parts[`${name}${i}`] = values.slice(i * each, (i + 1) * each);
  return parts;
}
