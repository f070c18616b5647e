import type { Json } from "../../layers/layer.ts";
import { describe, type Graph } from "./graph.ts";
import { Axis, type Data, single } from "./values.ts";

/** Operators with windows over time: Conv and pooling, of data [batch, features, time]. */

interface Windows {
  readonly size: number;
  readonly strides: number;
  readonly dilation: number;
  readonly padding: string;
}

/** Windows as the node says them, with padding by its name in gruvy. */
function windowsOf(graph: Graph, size: number): Windows {
  const one = (name: string, fallback: number): number => {
    const given = graph.node.attributes.get(name)?.ints ?? [];
    if (given.length > 1) throw graph.unsupported(`${name} [${given}]`, "windows over one axis, time");
    return given[0] ?? fallback;
  };
  const [strides, dilation] = [one("strides", 1), one("dilations", 1)];
  const total = (size - 1) * dilation;
  const auto = graph.node.attributes.get("auto_pad")?.s ?? "NOTSET";
  const [before = 0, after = 0] = graph.node.attributes.get("pads")?.ints ?? [];
  let padding: string | undefined;
  if (auto === "VALID") padding = "valid";
  else if (auto === "SAME_UPPER" || (auto === "SAME_LOWER" && strides === 1 && total % 2 === 0)) padding = "same";
  else if (auto === "NOTSET" || auto === "") {
    if (before === 0 && after === 0) padding = "valid";
    else if (before === total && after === 0) padding = "causal";
    // With strides gruvy's "same" goes by the number of steps, which padding that is written out does not.
    else if (strides === 1 && before === Math.floor(total / 2) && before + after === total) padding = "same";
  }
  if (!padding)
    throw graph.unsupported(
      `padding of ${before} and ${after} steps (${auto}) for windows of ${total + 1}`,
      "expected none, as many outputs as steps, or causal",
    );
  return { size, strides, dilation, padding };
}

/** Data [batch, features, time], its features known. */
function overTime(graph: Graph, expected?: number): { data: Data; size: number } {
  const given = graph.data(0);
  if (given.axes.length !== 3)
    throw graph.unsupported(`windows over ${describe(given)}`, "expected [batch, features, time]");
  const rows = graph.rows(given, 1, expected);
  const [time] = rows.data.axes[2];
  if (rows.data.axes[2].length !== 1) throw graph.unsupported(`windows over ${describe(given)}`, "expected time apart");
  graph.assign(time, "time");
  return rows;
}

/** A layer's result, with as many steps as it makes. */
function windowed(made: Data, { padding, strides, size }: Windows): Data {
  if (strides === 1 && (padding !== "valid" || size === 1)) return made;
  return { ...made, axes: [made.axes[0], made.axes[1], single(new Axis(null, "time"))] };
}

export function conv(graph: Graph): void {
  const { shape, data: weights } = graph.floats(1);
  const [filters, features, size] = shape;
  if (shape.length !== 3)
    throw graph.unsupported(`a kernel [${shape}]`, "expected one over time, [filters, features, steps]");
  if (graph.int("group", 1) !== 1) throw graph.unsupported(`${graph.int("group", 1)} groups`, "expected one");
  const { data } = overTime(graph, features);
  const windows = windowsOf(graph, size);
  // [filters, features, steps] to [steps, features, filters].
  const kernel = graph.once("kernel", [1], () => {
    const turned = new Float32Array(weights.length);
    for (let n = 0; n < filters; n++)
      for (let i = 0; i < features; i++)
        for (let k = 0; k < size; k++)
          turned[(k * features + i) * filters + n] = weights[(n * features + i) * size + k];
    return turned;
  });
  const bias = graph.optional(2) ? graph.floats(2).data : undefined;
  if (bias && bias.length !== filters) throw graph.damaged(`${filters} filters and ${bias.length} biases`);
  const { strides, dilation, padding } = windows;
  const made = graph.emit(
    "conv1d",
    { filters, kernelSize: size, strides, dilation, padding, useBias: bias !== undefined },
    [data],
    {
      kernel: { shape: [size, features, filters], data: kernel },
      ...(bias && { bias: { shape: [filters], data: bias } }),
    },
    filters,
  );
  graph.set(0, windowed(made, windows));
}

export function pool(kind: "max" | "mean"): (graph: Graph) => void {
  return (graph) => {
    const { data, size: features } = overTime(graph);
    const shape = graph.node.attributes.get("kernel_shape")?.ints ?? [];
    if (shape.length !== 1) throw graph.unsupported(`windows [${shape}]`, "expected windows over one axis, time");
    if (graph.int("ceil_mode", 0)) throw graph.unsupported("ceil_mode", "windows lie within the sequence here");
    const windows = windowsOf(graph, shape[0]);
    if (windows.dilation !== 1) throw graph.unsupported("dilation", "expected none");
    if (windows.padding === "causal") throw graph.unsupported("causal padding", "expected none, or SAME_UPPER");
    if (kind === "mean" && windows.padding === "same" && graph.int("count_include_pad", 0))
      throw graph.unsupported("count_include_pad", "padding does not count here");
    const { size, strides, padding } = windows;
    const made = graph.emit("pooling1d", { kind, global: false, size, strides, padding }, [data], {}, features);
    graph.set(0, windowed(made, windows));
  };
}

/** The mean or largest of all steps. @param keep the axis stays, of size 1 */
export function poolAll(graph: Graph, data: Data, at: number, kind: "max" | "mean", keep: boolean): Data {
  const [time] = data.axes[at];
  if (data.axes[at].length !== 1) throw graph.unsupported(`${kind} over ${describe(data)}`, "expected time apart");
  graph.assign(time, "time");
  const config: Record<string, Json> = { kind, global: true };
  const { size } = graph.rows(data, graph.featuresAxis(data));
  const made = graph.emit("pooling1d", config, [data], {}, size);
  const axes = made.axes.flatMap((axis, i) => (i !== at ? [axis] : keep ? [single(new Axis(1, "one"))] : []));
  return { ...made, axes };
}

export function globalPool(kind: "max" | "mean"): (graph: Graph) => void {
  return (graph) => graph.set(0, poolAll(graph, overTime(graph).data, 2, kind, true));
}
