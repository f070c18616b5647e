import type { Json } from "../../../layers/layer.ts";
import { describe, type Graph } from "./graph.ts";
import { padSteps, unmasked } from "./steps.ts";
import { Axis, type Data, isFeatures, type MergedAxis, single } from "./values.ts";

/**
 * Operators with windows over time: Conv and pooling, of data [batch,
 * features, time], or of [batch, features, 1, time], as Keras's converters
 * have it.
 */

/** Windows of a node over its one axis that has steps. */
interface Windows {
  readonly size: number;
  readonly strides: number;
  readonly dilation: number;
  /** By its name in gruvy; or steps that have to be put before and after. */
  readonly padding: "valid" | "same" | "causal" | readonly [before: number, after: number];
}

/** Data of a window operator: features, its axis of time, and where that is among the axes after the features. */
interface OverTime {
  readonly data: Data;
  readonly features: number;
  readonly at: number;
  readonly time: Axis;
}

const isOne = (axis: MergedAxis) => axis.every(({ role, size }) => role === "one" || size === 1);

/** Data [batch, features, time], its features known. @param kernel sizes of the windows, axis by axis */
function overTime(graph: Graph, kernel: readonly number[], expected?: number): OverTime {
  const given = graph.data(0);
  const needed = "expected windows over one axis, time, of [batch, features, time]";
  const n = given.axes.length - 2;
  if (n < 1 || n > 2 || kernel.length !== n)
    throw graph.unsupported(`windows [${kernel}] over ${describe(given)}`, needed);
  // Of two axes one must be of size 1.
  const at = n === 1 ? 0 : isOne(given.axes[2]) && kernel[0] === 1 ? 1 : 0;
  if (n === 2 && !(isOne(given.axes[3 - at]) && kernel[1 - at] === 1))
    throw graph.unsupported(`windows [${kernel}] over ${describe(given)}`, needed);
  const { data, size: features } = graph.rows(given, 1, expected);
  const [time] = data.axes[2 + at];
  if (data.axes[2 + at].length !== 1) throw graph.unsupported(`windows over ${describe(given)}`, "expected time apart");
  graph.assign(time, "time");
  return { data, features, at, time };
}

/** Windows as the node says them. @param n axes with windows, of which the one `at` counts */
function windowsOf(graph: Graph, size: number, n: number, at: number): Windows {
  const { attributes } = graph.node;
  const one = (name: string): number => {
    const given = attributes.get(name)?.ints ?? [];
    if (given.length && given.length !== n) throw graph.damaged(`${name} [${given}] for windows over ${n} axes`);
    if (given.some((v, i) => i !== at && v !== 1))
      throw graph.unsupported(`${name} [${given}]`, "expected 1 where there are no steps");
    return given[at] ?? 1;
  };
  const [strides, dilation] = [one("strides"), one("dilations")];
  const total = (size - 1) * dilation;
  const auto = attributes.get("auto_pad")?.s ?? "NOTSET";
  const pads = attributes.get("pads")?.ints ?? [];
  if (pads.length && pads.length !== 2 * n) throw graph.damaged(`pads [${pads}] for windows over ${n} axes`);
  if (pads.some((v, i) => i % n !== at && v !== 0))
    throw graph.unsupported(`pads [${pads}]`, "expected 0 where there are no steps");
  if (pads.some((v) => v < 0)) throw graph.unsupported(`pads [${pads}]`, "expected 0 or more");
  if (auto === "VALID") return { size, strides, dilation, padding: "valid" };
  if (auto === "SAME_UPPER" || (auto === "SAME_LOWER" && strides === 1 && total % 2 === 0))
    return { size, strides, dilation, padding: "same" };
  if (auto !== "NOTSET" && auto !== "")
    throw graph.unsupported(`padding ${auto}`, "expected pads that are written out");
  return { size, strides, dilation, padding: [pads[at] ?? 0, pads[at + n] ?? 0] };
}

/** The name of padding that is written out, where gruvy has one. */
function named({ size, strides, dilation, padding }: Windows): Windows["padding"] {
  if (typeof padding === "string") return padding;
  const [before, after] = padding;
  const total = (size - 1) * dilation;
  if (before === 0 && after === 0) return "valid";
  if (before === total && after === 0) return "causal";
  // With strides gruvy's "same" goes by the number of steps, which padding that is written out does not.
  if (strides === 1 && before === Math.floor(total / 2) && before + after === total) return "same";
  return padding;
}

/** Padding that a Pad before the node has written out goes to the node's own. */
function gathered(graph: Graph, over: OverTime, windows: Windows, value: number): { over: OverTime; windows: Windows } {
  const { padding: made } = over.data.node >= 0 ? graph.nodes[over.data.node] : {};
  const { padding } = windows;
  const own = typeof padding !== "string" ? padding : padding === "valid" ? [0, 0] : undefined;
  if (!made || !own || made.value !== value || !over.data.exclusive) return { over, windows };
  const [time] = made.of.axes.find((axis) => axis.some(({ role }) => role === "time")) ?? [];
  if (!time) return { over, windows };
  const axes = over.data.axes.map((axis) => (axis[0] === over.time ? single(time) : axis));
  const data = { ...made.of, axes: axes.map((axis, i) => (i === 1 ? made.of.features : axis)) };
  return {
    over: { ...over, data, time },
    windows: { ...windows, padding: [made.before + own[0], made.after + own[1]] },
  };
}

/** Data that the layer reads, with what it calls its padding: steps are put in where it has no name for it. */
function settled(graph: Graph, over: OverTime, windows: Windows, value: number): { data: Data; padding: string } {
  const padding = named(windows);
  if (typeof padding === "string") return { data: over.data, padding };
  return { data: padSteps(graph, over.data, 2 + over.at, padding[0], padding[1], value), padding: "valid" };
}

/** A layer's result, with as many steps as it makes. */
function windowed(made: Data, { at, time }: OverTime, windows: Windows): Data {
  const { size, strides, dilation, padding } = windows;
  const total = (size - 1) * dilation;
  const { size: T } = time;
  const added =
    padding === "same" || padding === "causal" ? undefined : padding === "valid" ? 0 : padding[0] + padding[1];
  if (strides === 1 && (added === undefined || added === total))
    return { ...made, axes: made.axes.map((a, i) => (i === 2 + at ? single(time) : a)) };
  const steps =
    T === null
      ? null
      : added === undefined
        ? Math.ceil(T / strides)
        : Math.floor((T + added - total - 1) / strides) + 1;
  return { ...made, axes: made.axes.map((axis, i) => (i === 2 + at ? single(new Axis(steps, "time")) : axis)) };
}

export function conv(graph: Graph): void {
  const { shape, data: weights } = graph.floats(1);
  const [filters, perGroup, ...kernelShape] = shape;
  const groups = graph.int("group", 1);
  if (!(groups >= 1) || filters % groups) throw graph.damaged(`${groups} groups of ${filters} filters`);
  const features = perGroup * groups;
  const first = overTime(graph, kernelShape, features);
  const size = kernelShape[first.at];
  if (!(size >= 1)) throw graph.damaged(`a kernel [${shape}]`);
  const { over, windows } = gathered(graph, first, windowsOf(graph, size, kernelShape.length, first.at), 0);
  if (groups > 1) graph.checkCount(size * features * filters);
  // [filters, features, steps] to [steps, features, filters]; between groups there is nothing.
  const kernel = graph.once(`kernel of ${groups}`, [1], () => {
    const turned = new Float32Array(size * features * filters);
    for (let n = 0; n < filters; n++) {
      const from = Math.floor(n / (filters / groups)) * perGroup;
      for (let i = 0; i < perGroup; i++)
        for (let k = 0; k < size; k++)
          turned[(k * features + from + i) * filters + n] = weights[(n * perGroup + i) * size + k];
    }
    return turned;
  });
  const bias = graph.optional(2) ? graph.floats(2).data : undefined;
  if (bias && bias.length !== filters) throw graph.damaged(`${filters} filters and ${bias.length} biases`);
  const { data, padding } = settled(graph, over, windows, 0);
  const { strides, dilation } = windows;
  const made = graph.emit(
    "conv1d",
    {
      filters,
      kernelSize: size,
      strides,
      dilation,
      padding,
      useBias: bias !== undefined,
      activation: fusedActivation(graph),
    },
    [data],
    {
      kernel: { shape: [size, features, filters], data: kernel },
      ...(bias && { bias: { shape: [filters], data: bias } }),
    },
    filters,
  );
  graph.set(0, windowed(made, over, windows));
}

/** The activation that ONNX Runtime's optimiser has put into a convolution. */
function fusedActivation(graph: Graph): Json {
  const { attributes } = graph.node;
  const name = attributes.get("activation")?.s;
  if (graph.node.domain === "" || !name) return "linear";
  if (graph.optional(3)) throw graph.unsupported("adds another tensor", "save the model without optimisations");
  const [alpha = 0, beta = 0] = attributes.get("activation_params")?.floats ?? [];
  const known: Readonly<Record<string, Json>> = {
    Relu: "relu",
    Sigmoid: "sigmoid",
    Tanh: "tanh",
    LeakyRelu: { name: "leakyRelu", alpha },
    Clip: { name: "hardtanh", alpha, beta },
    HardSigmoid: { name: "hardSigmoid", alpha, beta },
  };
  if (!Object.hasOwn(known, name))
    throw graph.unsupported(`with the activation ${name}`, `expected ${Object.keys(known).join(", ")}`);
  return known[name];
}

/** Smaller than all numbers that a Max may meet. */
const LOWEST = -3.4028234663852886e38;

export function pool(kind: "max" | "mean"): (graph: Graph) => void {
  return (graph) => {
    const shape = graph.node.attributes.get("kernel_shape")?.ints ?? [];
    if (graph.used(1)) throw graph.unsupported("gives positions", "no layer does");
    const first = overTime(graph, shape);
    const size = shape[first.at];
    if (!(size >= 1)) throw graph.damaged(`windows [${shape}]`);
    const counted = kind === "mean" && graph.int("count_include_pad", 0) === 1;
    const padded = windowsOf(graph, size, shape.length, first.at);
    const { over, windows } =
      kind === "mean" && !counted
        ? { over: first, windows: padded }
        : gathered(graph, first, padded, counted ? 0 : LOWEST);
    const { dilation, strides, padding: own } = windows;
    if (dilation !== 1) throw graph.unsupported("dilation", "expected none");
    if (graph.int("ceil_mode", 0)) checkWhole(graph, over, windows);
    const usual = named(windows);
    const written = typeof own === "string" ? usual : usual === "valid" || (usual === "same" && !counted) ? usual : own;
    if (kind === "mean" && !counted && typeof written !== "string")
      throw graph.unsupported(
        `padding of ${written} steps that do not count`,
        "expected none, or as many outputs as steps",
      );
    if (own === "same" && counted) throw graph.unsupported("count_include_pad", "expected pads that are written out");
    const { data, padding } =
      typeof written === "string"
        ? { data: over.data, padding: written }
        : settled(graph, over, { ...windows, padding: written, dilation: Number.NaN }, counted ? 0 : LOWEST);
    const config = { kind, global: false, size, strides, padding };
    const made = graph.emit("pooling1d", config, [data], {}, over.features);
    graph.set(0, windowed(made, over, windows));
  };
}

/** Windows that go over the end of the sequence would count: there must be none. */
function checkWhole(graph: Graph, { time: { size: T } }: OverTime, { size, strides, padding }: Windows): void {
  const added = typeof padding === "string" ? 0 : padding[0] + padding[1];
  if (T === null || padding === "same" || (T + added - size) % strides)
    throw graph.unsupported("ceil_mode", "windows lie within the sequence here");
  graph.fixed = true;
}

/** Pad: steps before and after. */
export function pad(graph: Graph) {
  const given = graph.data(0);
  const { attributes } = graph.node;
  const mode = attributes.get("mode")?.s ?? "constant";
  if (mode !== "constant") throw graph.unsupported(`padding of mode ${mode}`, "expected constant");
  const rank = given.axes.length;
  const pads = graph.ints("pads", 1) ?? [];
  const some = graph.ints("axes", 3);
  const axes = some ? some.map((axis) => graph.axis(axis, rank)) : given.axes.map((_, i) => i);
  if (pads.length !== 2 * axes.length) throw graph.damaged(`pads [${pads}] for ${axes.length} axes`);
  const value = attributes.get("value")?.f ?? (graph.optional(2) ? graph.floats(2).data[0] : 0);
  const padded = axes.flatMap((axis, i) => (pads[i] || pads[i + axes.length] ? [{ axis, i }] : []));
  if (padded.length === 0) return graph.set(0, given);
  const [{ axis, i }] = padded;
  const own = given.axes[axis];
  const [before, after] = [pads[i], pads[i + axes.length]];
  const isSteps = own.length === 1 && !given.features.includes(own[0]) && !isFeatures(given, own);
  if (padded.length > 1 || !isSteps || before < 0 || after < 0 || before + after > 2 ** 16 || rank < 3)
    throw graph.unsupported(`pads ${describe(given)} by [${pads}]`, "expected steps before or after a sequence");
  graph.assign(own[0], "time");
  // Of an input, the features are the axis that is neither the batch nor padded.
  const data = given.node < 0 && rank === 3 ? graph.rows(given, axis === 2 ? 1 : 2).data : given;
  if (data.features.some(({ size }) => size === null))
    throw graph.unsupported("the number of features is not known", "give the input a shape with it");
  graph.set(0, padSteps(graph, data, axis, before, after, value));
}

/** The mean or largest of all steps. @param keep the axis stays, of size 1 */
export function poolAll(graph: Graph, given: Data, at: number, kind: "max" | "mean", keep: boolean): Data {
  const [time] = given.axes[at];
  // Of one there is nothing to choose from.
  if (given.axes[at].every(({ role }) => role === "one"))
    return { ...given, axes: given.axes.filter((_, i) => keep || i !== at) };
  if (given.axes[at].length !== 1) throw graph.unsupported(`${kind} over ${describe(given)}`, "expected time apart");
  graph.assign(time, "time");
  const config: Record<string, Json> = { kind, global: true };
  const data = unmasked(graph, given);
  const { size } = graph.rows(data, graph.featuresAxis(data));
  const made = graph.emit("pooling1d", config, [data], {}, size);
  const axes = made.axes.flatMap((axis, i) => (i !== at ? [axis] : keep ? [single(new Axis(1, "one"))] : []));
  return { ...made, axes };
}

export function globalPool(kind: "max" | "mean"): (graph: Graph) => void {
  return (graph) => {
    const given = graph.data(0);
    const { data, at } = overTime(graph, new Array<number>(Math.max(0, given.axes.length - 2)).fill(1));
    graph.set(0, poolAll(graph, data, 2 + at, kind, true));
  };
}
