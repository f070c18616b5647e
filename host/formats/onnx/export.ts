import { FormatError } from "../../core/errors.ts";
import { flag } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Json } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import type { Node, Source } from "../../stacks/network.ts";
import { toOnnxGru } from "../gates.ts";
import { applyActivation, gruActivations } from "./functions.ts";
import { type AttributeValue, initializer, node, type OnnxValue, TYPE, writeModel } from "./proto.ts";

export interface OnnxExportOptions {
  /** One step a run: inputs "x" [batch, features] and "<layer>_state", outputs "y" and "<layer>_state_out". Default false. */
  streaming?: boolean;
  /** An input "lengths" (int32, one a sequence) for right-padded sequences. Default false. */
  lengths?: boolean;
}

/** A tensor of the graph. Sequences are [batch, time, features], or time first where a GRU has just made them. */
interface Value {
  readonly name: string;
  readonly sequence: boolean;
  readonly timeFirst: boolean;
  readonly features: number;
}

const WHERE = "exportModel()";

/** What layers write into: nodes and numbers of the graph. */
export class Writer {
  readonly parts: Uint8Array[] = [];
  readonly inputs: OnnxValue[] = [];
  readonly outputs: OnnxValue[] = [];
  private readonly constants = new Map<string, string>();
  private readonly names = new Set<string>();
  /** The least that the operators used need: 17 brought LayerNormalization. */
  opset = 17;

  /** A name that nothing has yet. */
  fresh(name: string): string {
    let own = name;
    for (let i = 1; this.names.has(own); i++) own = `${name}_${i}`;
    this.names.add(own);
    return own;
  }

  /** A node with one output, and the output's name. */
  op(
    type: string,
    layer: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output = this.fresh(`${layer}/${type}_output`),
  ): string {
    this.parts.push(node(type, this.fresh(`${layer}/${type}`), inputs, [output], attributes));
    return output;
  }

  weight(name: string, { shape, data }: Tensor): string {
    const own = this.fresh(name);
    this.parts.push(initializer(own, shape, data));
    return own;
  }

  /** Whole numbers, or one float; the same ones once. */
  constant(value: readonly number[] | number): string {
    const key = JSON.stringify([value, Array.isArray(value)]);
    let name = this.constants.get(key);
    if (!name) {
      name = this.fresh(`constant_${this.constants.size}`);
      this.constants.set(key, name);
      this.parts.push(
        typeof value === "number"
          ? initializer(name, [], Float32Array.of(value))
          : initializer(name, [value.length], value),
      );
    }
    return name;
  }
}

/**
 * A model as an ONNX file, opset 17 or the least that its layers need. Input
 * "x" is [batch, time, features] as `predict` takes it (int32 tokens [batch,
 * time]), output "y" as it gives it.
 *
 * @throws FormatError for a layer that ONNX cannot hold
 */
export function toOnnx(model: Model<unknown>, options: OnnxExportOptions = {}): Uint8Array<ArrayBuffer> {
  const streaming = flag(WHERE, "streaming", options.streaming ?? false);
  const lengths = flag(WHERE, "lengths", options.lengths ?? false);
  const { nodes, topology } = model.network;
  const writer = new Writer();
  const weights = model.weights();
  const axes = (value: { sequence: boolean }, ...more: number[]) => [
    "batch",
    ...(value.sequence ? ["time"] : []),
    ...more,
  ];
  const alone = model.network.inputs.length === 1;
  const inputs = model.network.inputs.map(({ name, port }): Value => {
    const tokens = port.type === "tokens";
    const value = {
      name: writer.fresh(alone ? "x" : name),
      sequence: port.sequence && !streaming,
      timeFirst: false,
      features: tokens ? 0 : port.features,
    };
    const shape = axes(value, ...(tokens ? [] : [port.features]));
    writer.inputs.push({ name: value.name, type: tokens ? TYPE.int32 : TYPE.float, shape });
    return value;
  });
  if (lengths) {
    if (!alone || !inputs[0].sequence)
      throw new FormatError(`${WHERE}: "lengths": the model has not one input with a time axis`);
    writer.inputs.push({ name: writer.fresh("lengths"), type: TYPE.int32, shape: ["batch"] });
  }
  const sources = [
    ...nodes.flatMap(({ inputs: read, initialStates = [] }) => [...read, ...initialStates]),
    ...topology.outputs.map(({ source }) => source),
  ];
  const made: { readonly value: Value; readonly states: readonly Value[] }[] = [];
  const at = ({ node, state }: Source): Value =>
    node < 0 ? inputs[-1 - node] : state === undefined ? made[node].value : made[node].states[state];
  for (const [i, layer] of nodes.entries()) {
    const owner = nodes[layer.shares ?? i].name;
    const context: Context = {
      writer,
      layer,
      own: (name) => weights[`${owner}.${name}`],
      streaming,
      lengths,
      states: [],
      wantsStates: sources.some(({ node, state }) => node === i && state !== undefined),
      initial: layer.initialStates?.map(at),
    };
    const value = write(context, layer.inputs.map(at));
    made.push({ value, states: context.states });
  }
  const first = writer.outputs.splice(0);
  for (const { name, source } of topology.outputs) {
    const last = inOrder(writer, at(source));
    const y = writer.op(
      "Identity",
      "output",
      [last.name],
      {},
      writer.fresh(topology.outputs.length === 1 ? "y" : name),
    );
    writer.outputs.push({ name: y, type: TYPE.float, shape: axes(last, last.features) });
  }
  writer.outputs.push(...first);
  return writeModel("gruvy", writer.opset, writer.parts, writer.inputs, writer.outputs);
}

interface Context {
  readonly writer: Writer;
  readonly layer: Node;
  /** A parameter of the layer. */
  readonly own: (name: string) => Tensor | undefined;
  readonly streaming: boolean;
  readonly lengths: boolean;
  /** Final states of a recurrent layer, filled in where something reads them. */
  readonly states: Value[];
  readonly wantsStates: boolean;
  /** Where its states begin, where other layers say so. */
  readonly initial?: readonly Value[];
}

function refused({ layer }: Context, what: string, instead: string): FormatError {
  return new FormatError(`${WHERE}: layer "${layer.name}": ${what}, which ONNX cannot hold; ${instead}`);
}

function write(context: Context, inputs: readonly Value[]): Value {
  const { type } = context.layer.layer;
  if (!Object.hasOwn(LAYERS, type))
    throw refused(context, `a ${type} layer`, `it can hold ${Object.keys(LAYERS).join(", ")}`);
  return LAYERS[type](context, inputs);
}

/** Batch before time. */
function inOrder(writer: Writer, value: Value): Value {
  if (!value.timeFirst) return value;
  return { ...value, name: writer.op("Transpose", value.name, [value.name], { perm: [1, 0, 2] }), timeFirst: false };
}

function activated({ writer, layer }: Context, name: string, activation: Json): string {
  return applyActivation(writer, layer.name, name, activation, WHERE);
}

/** Every layer type that ONNX has operators for; a new one is a row here. */
const LAYERS: Readonly<Record<string, (context: Context, inputs: readonly Value[]) => Value>> = {
  gru(context, [x]) {
    const { layer, own } = context;
    return recurrent(context, x, layer.layer.config, [{ config: layer.layer.config, own, state: layer.name }]);
  },

  bidirectional(context, [x]) {
    const { merge, layer, backwardLayer } = context.layer.layer.config as Readonly<Record<string, Json>> & {
      layer: Wrapped;
      backwardLayer: Wrapped | null;
    };
    const second = backwardLayer ?? layer;
    if (layer.type !== "gru" || second.type !== "gru")
      throw refused(context, `a bidirectional ${layer.type}`, "use bidirectional(gru(...))");
    if (context.streaming) throw refused(context, "bidirectional in a streaming export", "it reads from the end too");
    if (merge !== "concat") throw refused(context, `merge "${merge}"`, 'use merge "concat"');
    const part = (prefix: string) => (name: string) => context.own(`${prefix}.${name}`);
    return recurrent(context, x, layer.config, [
      { config: layer.config, own: part("forward"), state: "" },
      { config: second.config, own: part("backward"), state: "" },
    ]);
  },

  dense(context, [x]) {
    const { writer, layer, own } = context;
    const { units, activation } = layer.layer.config;
    const kernel = writer.weight(`${layer.name}.kernel`, own("kernel")!);
    let y = writer.op("MatMul", layer.name, [x.name, kernel]);
    const bias = own("bias");
    if (bias) y = writer.op("Add", layer.name, [y, writer.weight(`${layer.name}.bias`, bias)]);
    return { ...x, name: activated(context, y, activation), features: units as number };
  },

  activation: (context, [x]) => ({ ...x, name: activated(context, x.name, context.layer.layer.config.activation) }),

  embedding(context, [x]) {
    const { writer, layer, own } = context;
    const { units, maskZero } = layer.layer.config;
    if (maskZero) throw refused(context, "maskZero, a mask that may have holes", "pad on the right and use lengths");
    const table = writer.weight(`${layer.name}.embeddings`, own("embeddings")!);
    return { ...x, name: writer.op("Gather", layer.name, [table, x.name]), features: units as number };
  },

  dropout({ writer, layer }, [x]) {
    const ratio = writer.constant(layer.layer.config.rate as number);
    return { ...x, name: writer.op("Dropout", layer.name, [x.name, ratio]) };
  },

  layerNorm({ writer, layer, own }, [x]) {
    const gamma = own("gamma") ?? { shape: [x.features], data: new Float32Array(x.features).fill(1) };
    const beta = own("beta");
    const inputs = [x.name, writer.weight(`${layer.name}.gamma`, gamma)];
    if (beta) inputs.push(writer.weight(`${layer.name}.beta`, beta));
    const epsilon = { float: layer.layer.config.epsilon as number };
    return { ...x, name: writer.op("LayerNormalization", layer.name, inputs, { axis: -1, epsilon }) };
  },

  conv1d(context, [given]) {
    const { writer, layer, own } = context;
    const { filters, kernelSize, padding, strides, dilation, activation } = layer.layer.config as Record<
      string,
      Json
    > & {
      filters: number;
      kernelSize: number;
      dilation: number;
      strides: number;
    };
    const { shape, data } = own("kernel")!;
    // [steps, features, filters] to [filters, features, steps].
    const [size, features] = shape;
    const kernel = new Float32Array(data.length);
    for (let k = 0; k < size; k++)
      for (let i = 0; i < features; i++)
        for (let n = 0; n < filters; n++)
          kernel[(n * features + i) * size + k] = data[(k * features + i) * filters + n];
    const inputs = [writer.weight(`${layer.name}.W`, { shape: [filters, features, size], data: kernel })];
    const bias = own("bias");
    if (bias) inputs.push(writer.weight(`${layer.name}.bias`, bias));
    const total = (kernelSize - 1) * dilation;
    const pads: Record<string, AttributeValue> =
      padding === "same" && strides > 1
        ? { auto_pad: "SAME_UPPER" }
        : {
            pads: padding === "causal" ? [total, 0] : padding === "same" ? [total >> 1, total - (total >> 1)] : [0, 0],
          };
    const options = { kernel_shape: [kernelSize], strides: [strides], dilations: [dilation], ...pads };
    const y = featuresFirst(context, given, "Conv", inputs, options, filters);
    return { ...y, name: activated(context, y.name, activation) };
  },

  pooling1d(context, [given]) {
    const { kind, global, size, strides, padding } = context.layer.layer.config;
    if (global) {
      const pooled = featuresFirst(context, given, kind === "max" ? "GlobalMaxPool" : "GlobalAveragePool", [], {});
      const name = context.writer.op("Squeeze", context.layer.name, [pooled.name, context.writer.constant([1])]);
      return { ...pooled, name, sequence: false };
    }
    const pads: Record<string, AttributeValue> = padding === "same" ? { auto_pad: "SAME_UPPER" } : {};
    const options = { kernel_shape: [size as number], strides: [strides as number], ...pads };
    return featuresFirst(context, given, kind === "max" ? "MaxPool" : "AveragePool", [], options);
  },

  add: (context, inputs) => merged(context, inputs, "Add"),
  subtract: (context, inputs) => merged(context, inputs, "Sub"),
  multiply: (context, inputs) => merged(context, inputs, "Mul"),
  maximum: (context, inputs) => merged(context, inputs, "Max"),
  average(context, inputs) {
    const sum = merged(context, inputs, "Add");
    const part = context.writer.constant(1 / inputs.length);
    return { ...sum, name: context.writer.op("Mul", context.layer.name, [sum.name, part]) };
  },
  concatenate(context, inputs) {
    const { writer, layer } = context;
    if (layer.layer.config.axis === 1 && inputs[0].sequence)
      throw refused(context, "sequences one after the other", "join features");
    const read = inputs.map((value) => inOrder(writer, value));
    const name = writer.op(
      "Concat",
      layer.name,
      read.map((value) => value.name),
      { axis: -1 },
    );
    return { ...read[0], name, features: read.reduce((sum, { features }) => sum + features, 0) };
  },

  reverse(context, [x]) {
    if (context.streaming) throw refused(context, "reverse in a streaming export", "it begins with the last step");
    if (context.lengths) throw refused(context, "reverse with lengths", "export without lengths");
    return backwards(context.writer, context.layer.name, x);
  },
};

/** Several inputs of one shape, two at a time. */
function merged({ writer, layer }: Context, inputs: readonly Value[], type: string): Value {
  const read = inputs.map((value) => inOrder(writer, value));
  const name = read.map((value) => value.name).reduce((a, b) => writer.op(type, layer.name, [a, b]));
  return { ...read[0], name };
}

/** An operator with windows over time, which reads [batch, features, time]. */
function featuresFirst(
  context: Context,
  given: Value,
  type: string,
  inputs: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>>,
  features = given.features,
): Value {
  const { writer, layer, streaming, lengths } = context;
  if (streaming) throw refused(context, "windows over time in a streaming export", "export whole sequences");
  if (lengths) throw refused(context, "windows over padded sequences", "export without lengths");
  const x = inOrder(writer, given);
  const first = writer.op("Transpose", layer.name, [x.name], { perm: [0, 2, 1] });
  const y = writer.op(type, layer.name, [first, ...inputs], attributes);
  return { ...x, name: writer.op("Transpose", layer.name, [y], { perm: [0, 2, 1] }), features };
}

/** Steps from the last to the first. */
function backwards(writer: Writer, layer: string, x: Value): Value {
  // To before the first: further than any length from the end.
  const [starts, ends, axes, steps] = [-1, -(2 ** 31), x.timeFirst ? 0 : 1, -1].map((n) => writer.constant([n]));
  return { ...x, name: writer.op("Slice", layer, [x.name, starts, ends, axes, steps]) };
}

interface Wrapped {
  readonly type: string;
  readonly config: Readonly<Record<string, Json>>;
}

interface Direction {
  readonly config: Readonly<Record<string, Json>>;
  readonly own: (name: string) => Tensor | undefined;
  /** Name of its state in a streaming export. */
  readonly state: string;
}

/** One GRU node, of one direction or two. */
function recurrent(
  context: Context,
  given: Value,
  options: Readonly<Record<string, Json>>,
  directions: readonly Direction[],
): Value {
  const { writer, layer, streaming, lengths } = context;
  const [{ config }, second] = directions;
  const D = directions.length;
  const H = config.units as number;
  for (const option of ["layerNorm", "zoneout"])
    if (config[option]) throw refused(context, `a gru with ${option}`, "train without it");
  if (second && (second.config.units !== H || second.config.resetAfter !== config.resetAfter))
    throw refused(context, "directions of different units or reset forms", "make them the same");
  const goBackwards = config.goBackwards === true;
  const returnSequences = options.returnSequences === true;
  if (goBackwards && streaming) throw refused(context, "goBackwards in a streaming export", "it reads from the end");
  if (goBackwards && lengths && returnSequences)
    throw refused(context, "sequences of goBackwards with lengths", "export without lengths");

  // Time first, with a time axis of one where there is none.
  let x = given.name;
  if (streaming) x = writer.op("Unsqueeze", layer.name, [x, writer.constant([0])]);
  else if (!given.timeFirst) x = writer.op("Transpose", layer.name, [x], { perm: [1, 0, 2] });

  const parts = directions.map(({ own }) =>
    toOnnxGru({ kernel: own("kernel")!, recurrentKernel: own("recurrentKernel")!, bias: own("bias") }),
  );
  const stacked = (tensors: readonly Tensor[]): Tensor => {
    const data = new Float32Array(tensors.reduce((sum, t) => sum + t.data.length, 0));
    let at = 0;
    for (const t of tensors) {
      data.set(t.data, at);
      at += t.data.length;
    }
    return { shape: [tensors.length, ...tensors[0].shape], data };
  };
  const inputs = [
    x,
    writer.weight(`${layer.name}.W`, stacked(parts.map(({ W }) => W))),
    writer.weight(`${layer.name}.R`, stacked(parts.map(({ R }) => R))),
  ];
  const biases = parts.some(({ B }) => B);
  const none = (): Tensor => ({ shape: [6 * H], data: new Float32Array(6 * H) });
  inputs.push(biases ? writer.weight(`${layer.name}.B`, stacked(parts.map(({ B }) => B ?? none()))) : "");
  inputs.push(lengths ? "lengths" : "");
  if (context.initial) {
    if (streaming) throw refused(context, "states from other layers in a streaming export", "export whole sequences");
    const given = context.initial.map(({ name }) => writer.op("Unsqueeze", layer.name, [name, writer.constant([0])]));
    inputs.push(D === 1 ? given[0] : writer.op("Concat", layer.name, given, { axis: 0 }));
  } else if (streaming) {
    const state = writer.fresh(`${directions[0].state}_state`);
    writer.inputs.push({ name: state, type: TYPE.float, shape: ["batch", H] });
    inputs.push(writer.op("Unsqueeze", layer.name, [state, writer.constant([0])]));
  }
  while (inputs.at(-1) === "") inputs.pop();

  const [y, last] = [writer.fresh(`${layer.name}/Y`), writer.fresh(`${layer.name}/Y_h`)];
  const sequences = returnSequences && !streaming;
  writer.parts.push(
    node(
      "GRU",
      writer.fresh(`${layer.name}/GRU`),
      inputs,
      sequences ? (context.wantsStates ? [y, last] : [y]) : ["", last],
      {
        hidden_size: H,
        direction: D === 2 ? "bidirectional" : goBackwards ? "reverse" : "forward",
        linear_before_reset: config.resetAfter ? 1 : 0,
        ...gruActivations(
          directions.flatMap((d) => [d.config.recurrentActivation, d.config.activation]),
          (what, instead) => refused(context, what, instead),
        ),
      },
    ),
  );
  const features = D * H;
  if (context.wantsStates && !streaming)
    for (let d = 0; d < D; d++) {
      const [from, to, axis] = [d, d + 1, 0].map((n) => writer.constant([n]));
      const own = D === 1 ? last : writer.op("Slice", layer.name, [last, from, to, axis]);
      const name = writer.op("Squeeze", layer.name, [own, writer.constant([0])]);
      context.states.push({ name, sequence: false, timeFirst: false, features: H });
    }
  if (streaming) {
    const state = writer.op("Squeeze", layer.name, [last, writer.constant([0])]);
    const out = writer.op("Identity", layer.name, [state], {}, writer.fresh(`${directions[0].state}_state_out`));
    writer.outputs.push({ name: out, type: TYPE.float, shape: ["batch", H] });
    return { name: state, sequence: false, timeFirst: false, features };
  }
  if (sequences) {
    // [time, directions, batch, units]
    const name =
      D === 1
        ? writer.op("Squeeze", layer.name, [y, writer.constant([1])])
        : writer.op("Reshape", layer.name, [
            writer.op("Transpose", layer.name, [y], { perm: [0, 2, 1, 3] }),
            writer.constant([0, 0, features]),
          ]);
    const value: Value = { name, sequence: true, timeFirst: true, features };
    // gruvy gives them in reading order.
    return goBackwards ? backwards(writer, layer.name, value) : value;
  }
  // [directions, batch, units]
  const name =
    D === 1
      ? writer.op("Squeeze", layer.name, [last, writer.constant([0])])
      : writer.op("Reshape", layer.name, [
          writer.op("Transpose", layer.name, [last], { perm: [1, 0, 2] }),
          writer.constant([0, features]),
        ]);
  return { name, sequence: false, timeFirst: false, features };
}
