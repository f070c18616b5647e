import { FormatError } from "../../core/errors.ts";
import { flag } from "../../core/options.ts";
import type { Model } from "../../stacks/model.ts";
import type { Source } from "../../stacks/network.ts";
import { TYPE, writeModel } from "./proto.ts";
import { type Context, inOrder, type Value, WHERE } from "./writing/context.ts";
import { write } from "./writing/layers.ts";
import { padded } from "./writing/masks.ts";
import { OnnxFile, Scope } from "./writing/scope.ts";

export interface OnnxExportOptions {
  /** One step a run: inputs "x" [batch, features] and "<layer>_state", outputs "y" and "<layer>_state_out". Default false. */
  streaming?: boolean;
  /**
   * An input "lengths" (int32, one a sequence) for right-padded sequences; of a model with several inputs
   * "<input>_lengths" for each that has a time axis. Default false.
   */
  lengths?: boolean;
}

/** Layers that what stands in the padding is nothing to. */
const BLIND: ReadonlySet<string> = new Set(["gru", "minGru", "lightGru", "mgu", "bidirectional", "masking"]);

/**
 * A model as an ONNX file, opset 17 or the least that its layers need. Input
 * "x" is [batch, time, features] as `predict` takes it (int32 tokens [batch,
 * time]), output "y" as it gives it; several have their own names.
 *
 * What ONNX has operators for is written as these, every other layer as a
 * function of the file's own (writing/call.ts).
 *
 * @throws FormatError for lengths of a model without a time axis, and for a streaming form of what cannot stream
 */
export function toOnnx(model: Model<unknown>, options: OnnxExportOptions = {}): Uint8Array<ArrayBuffer> {
  const streaming = flag(WHERE, "streaming", options.streaming ?? false);
  const lengths = flag(WHERE, "lengths", options.lengths ?? false);
  const { nodes, topology } = model.network;
  const file = new OnnxFile();
  const graph = Scope.graph(file);
  const weights = Object.entries(model.weights());
  /** Steps of several inputs may differ, and so may those of outputs from those of inputs. */
  const axes = (value: { sequence: boolean }, steps: string | number | null, ...more: number[]) => [
    "batch",
    ...(value.sequence ? [steps] : []),
    ...more,
  ];
  const alone = model.network.inputs.length === 1;
  const given = model.network.inputs.map(({ name, port }): Value => {
    const tokens = port.type === "tokens";
    const value = {
      name: graph.fresh(alone ? "x" : name),
      sequence: port.sequence && !streaming,
      timeFirst: false,
      features: tokens ? 0 : port.features,
    };
    const shape = axes(value, port.steps ?? (alone ? "time" : `${name}_time`), ...(tokens ? [] : [port.features]));
    file.inputs.push({ name: value.name, type: tokens ? TYPE.int32 : TYPE.float, shape });
    return value;
  });
  if (lengths && !given.some(({ sequence }) => sequence))
    throw new FormatError(
      `${WHERE}: "lengths": ${streaming ? 'one step has none; leave out "streaming"' : "no input of the model has a time axis"}`,
    );
  const inputs = given.map((value, i) => {
    if (!lengths || !value.sequence) return value;
    const readers = nodes.filter(({ inputs: read }) => read.some(({ node }) => node === -1 - i));
    const clear = value.features > 0 && !readers.every(({ layer }) => BLIND.has(layer.type));
    const name = graph.fresh(alone ? "lengths" : `${value.name}_lengths`);
    file.inputs.push({ name, type: TYPE.int32, shape: ["batch"] });
    return padded(graph.under(name), value, name, clear);
  });

  const sources = [
    ...nodes.flatMap(({ inputs: read, initialStates = [] }) => [...read, ...initialStates]),
    ...topology.outputs.map(({ source }) => source),
  ];
  const made: { readonly value: Value; readonly states: readonly Value[] }[] = [];
  const at = ({ node, state }: Source): Value =>
    node < 0 ? inputs[-1 - node] : state === undefined ? made[node].value : made[node].states[state];
  for (const [i, layer] of nodes.entries()) {
    const owner = nodes[layer.shares ?? i].name;
    const own = weights.filter(([name]) => name.startsWith(`${owner}.`));
    const context: Context = {
      scope: graph.under(layer.name),
      layer,
      type: layer.layer.type,
      config: layer.layer.config,
      weights: Object.fromEntries(own.map(([name, tensor]) => [name.slice(owner.length + 1), tensor])),
      owner,
      streaming,
      steps: layer.built.output.sequence,
      initial: layer.initialStates?.map(at),
      wantsStates: sources.some(({ node, state }) => node === i && state !== undefined),
      states: [],
    };
    made.push({ value: write(context, layer.inputs.map(at)), states: context.states });
  }
  const states = file.outputs.splice(0);
  for (const { name, source } of topology.outputs) {
    const scope = graph.under("output");
    const last = inOrder(scope, at(source));
    const y = scope.op("Identity", [last.name], {}, graph.fresh(topology.outputs.length === 1 ? "y" : name));
    file.outputs.push({ name: y, type: TYPE.float, shape: axes(last, null, last.features) });
  }
  file.outputs.push(...states);
  return writeModel("gruvy", file.opset, graph.parts, file.inputs, file.outputs, file.functions);
}
