import { FormatError } from "../../core/errors.ts";
import { isRecord } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Architecture, Model } from "../../stacks/model.ts";
import { type TreeNode, writeHdf5 } from "../hdf5/write.ts";
import { writeZip } from "../zip.ts";
import { kerasDialect, snakeCase } from "./config.ts";
import { type DescribedModel, describeModel, type History } from "./describe.ts";
import type { Target } from "./write.ts";

/** Versions that we write as. */
const KERAS2 = "2.15.0";
const KERAS3 = "3.9.2";

const target = (version: string): Target => ({
  ...kerasDialect(version),
  resetAfter: true,
  lacks: version === KERAS2 ? ["leaky_relu", "relu6", "log_softmax", "log_sigmoid", "hard_tanh"] : [],
});

/**
 * A model as Keras 3's `.keras`: a stored zip of metadata.json, config.json
 * and model.weights.h5.
 *
 * @throws FormatError for what Keras 3 has not
 */
export async function toKerasZip(model: Model<unknown>): Promise<Uint8Array<ArrayBuffer>> {
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

function config3({ sequential, inputs, layers, outputs, shapeOf }: DescribedModel): object {
  const dtype = "float32";
  const tensor3 = (history: History) => ({
    class_name: "__keras_tensor__",
    config: { shape: shapeOf(history), dtype, keras_history: history },
  });
  const inputLayers = inputs.map(({ name, shape, tokens }) => ({
    ...serialized("keras.layers", "InputLayer", {
      batch_shape: [null, ...shape],
      dtype: tokens ? "int32" : dtype,
      sparse: false,
      name,
    }),
    ...(!sequential && { name, inbound_nodes: [] }),
  }));
  const made = layers.map(({ name, className, config, calls, kwargs = {} }) => ({
    ...serialized("keras.layers", className, { name, trainable: true, dtype, ...options3(config) }),
    ...(!sequential && {
      name,
      inbound_nodes: calls.map(({ inputs: read, states }) => {
        const args = read.map(tensor3);
        return {
          args: read.length > 1 && !SEVERAL_ARGUMENTS.includes(className) ? [args] : args,
          kwargs: {
            ...kwargs,
            ...(states.length && { initial_state: states.length === 1 ? tensor3(states[0]) : states.map(tensor3) }),
          },
        };
      }),
    }),
  }));
  const about = { name: sequential ? "sequential" : "functional", trainable: true, layers: [...inputLayers, ...made] };
  return sequential
    ? {
        ...serialized("keras", "Sequential", { ...about, dtype, build_input_shape: [null, ...inputs[0].shape] }),
        compile_config: null,
      }
    : {
        ...serialized("keras.src.models.functional", "Functional", {
          ...about,
          input_layers: inputs.map(({ name }) => [name, 0, 0]),
          output_layers: outputs.length === 1 ? outputs[0] : outputs,
        }),
        registered_name: "Functional",
        compile_config: null,
      };
}

/** Layers that take their inputs one by one rather than in a list. */
const SEVERAL_ARGUMENTS = ["MultiHeadAttention"];

/** Initialisers, and layers in layers, are objects of their own. */
function options3(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => {
      if (!isRecord(value) || typeof value.class_name !== "string") return [name, value];
      const own = value.config as Record<string, unknown>;
      const module = name.endsWith("_initializer") ? "keras.initializers" : "keras.layers";
      return [name, serialized(module, value.class_name, options3(own))];
    }),
  );
}

/** Groups by class and count, variables by number. */
function structured({ layers }: DescribedModel): TreeNode {
  const counts = new Map<string, number>();
  const root = emptyNode();
  for (const { name, className, weights } of layers) {
    const snake = snakeCase(className);
    const count = counts.get(snake) ?? 0;
    counts.set(snake, count + 1);
    const group = `layers/${snake}${count ? `_${count}` : ""}`;
    nodeAt(root, `${group}/vars`).attributes = { name };
    for (const { group: within, tensor } of weights) {
      const { members } = nodeAt(root, `${group}/${within ? `${within}/` : ""}vars`);
      members[Object.keys(members).length] = tensor;
    }
  }
  nodeAt(root, "vars");
  return root;
}

interface MutableNode {
  attributes?: TreeNode["attributes"];
  members: Record<string, MutableNode | Tensor>;
}

/** Members by any name: "constructor" is one of a layer too. */
function emptyNode(): MutableNode {
  return { members: Object.create(null) };
}

function nodeAt(root: MutableNode, path: string): MutableNode {
  return path.split("/").reduce((node, part) => (node.members[part] ??= emptyNode()) as MutableNode, root);
}

/** What Keras 3 cannot read as Keras 2 writes it: calls whose arguments are tensors. */
function needsKeras3({ kind, config }: Architecture): boolean {
  const text = JSON.stringify(config);
  const calls = kind === "graph" && text.includes('"initialStates"');
  return calls || /"type":"(attention|multiHeadAttention)"/.test(text);
}

/** As Keras 2 has a model, or as Keras 3 where only that has it. */
function describeOlder(model: Model<unknown>): { version: string; described: DescribedModel } {
  if (!needsKeras3(model.architecture))
    try {
      return { version: KERAS2, described: describeModel(model, target(KERAS2)) };
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
    }
  return { version: KERAS3, described: describeModel(model, target(KERAS3)) };
}

/**
 * A model as Keras's older `.h5`. It is written as Keras 2 writes, which
 * Keras 3 reads too, wherever that says all there is.
 *
 * @throws FormatError for what Keras has not
 */
export async function toH5(model: Model<unknown>): Promise<Uint8Array<ArrayBuffer>> {
  const { version, described } = describeOlder(model);
  const groups: Record<string, TreeNode> = {};
  for (const { name, weights } of described.layers) {
    const root = emptyNode();
    for (const { name: own, tensor } of weights) {
      const parts = `${name}/${own}:0`.split("/");
      nodeAt(root, parts.slice(0, -1).join("/")).members[parts.at(-1)!] = tensor;
    }
    groups[name] = { ...root, attributes: { weight_names: weights.map(({ name: own }) => `${name}/${own}:0`) } };
  }
  const about = { backend: "tensorflow", keras_version: version };
  const names = described.layers.map(({ name }) => name);
  return writeHdf5({
    attributes: {
      ...about,
      model_config: JSON.stringify(version === KERAS3 ? config3(described) : config2(described)),
    },
    members: { model_weights: { attributes: { ...about, ...split("layer_names", names) }, members: groups } },
  });
}

/** A model as Keras 2 and TensorFlow.js describe it. @param statesInList whether states stand beside inputs */
export function config2({ sequential, inputs, layers, outputs }: DescribedModel, statesInList = false): object {
  const dtype = "float32";
  const inputLayers = inputs.map(({ name, shape, tokens }) => ({
    class_name: "InputLayer",
    config: { batch_input_shape: [null, ...shape], dtype: tokens ? "int32" : dtype, sparse: false, name },
    ...(!sequential && { name, inbound_nodes: [] }),
  }));
  const made = layers.map(({ name, className, config, calls, kwargs = {} }) => ({
    class_name: className,
    config: { name, trainable: true, dtype, ...config },
    ...(!sequential && {
      name,
      inbound_nodes: calls.map(({ inputs: read, states }) => {
        const initial = { initial_state: states.length === 1 ? states[0] : states };
        const own = { ...kwargs, ...(states.length && !statesInList && initial) };
        const all = statesInList ? [...read, ...states] : read;
        return all.map((history, i) => [...history, i === 0 ? own : {}]);
      }),
    }),
  }));
  const own = { name: sequential ? "sequential" : "functional", layers: [...inputLayers, ...made] };
  if (sequential) return { class_name: "Sequential", config: own };
  const ends = { input_layers: inputs.map(({ name }) => [name, 0, 0]), output_layers: outputs };
  return { class_name: statesInList ? "Model" : "Functional", config: { ...own, ...ends } };
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
