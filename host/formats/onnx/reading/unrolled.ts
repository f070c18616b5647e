import type { Tensor } from "../../../core/tensor.ts";
import { describe, type Emitted, type Graph, type Read } from "./graph.ts";
import { retimed, unmasked } from "./steps.ts";
import { Axis, type Data, isTurned, rowsOf, single } from "./values.ts";

/** Sequences whose steps a file has taken apart, or made one of. */

/**
 * A product with all steps of a sequence at once: a convolution of one window
 * over all of them.
 *
 * @returns undefined where the last axis of the data is no sequence, flattened
 */
export function flattened(graph: Graph, given: Data, kernel: Tensor, bias?: Float32Array): Data | undefined {
  const last = given.axes[given.axes.length - 1] ?? [];
  if (last.length < 2) return undefined;
  // An input's features are the last of its axes, in whatever order it is read.
  const own = given.node < 0 && given.features.length === 0 ? graph.inputs[-1 - given.node].axes : undefined;
  const features =
    own && last.length === 2 ? [own[graph.featuresAt({ ...given, axes: own.map(single) })]] : given.features;
  const [time, ...others] = last.filter((axis) => !features.includes(axis));
  if (!time || others.length || !features.every((axis) => last.includes(axis))) return undefined;
  const sizes = last.map(({ size }) => size);
  if (sizes.some((size) => size === null))
    throw graph.unsupported("flattens sequences of any length", "give the input a fixed number of steps");
  graph.assign(time, "time");
  if (own) graph.assign(features[0], "features");
  const data = unmasked(graph, { ...given, features });
  const [I, N] = kernel.shape;
  const strides = last.map((_, i) => sizes.slice(i + 1).reduce<number>((product, size) => product * size!, 1));
  const [T, F] = [time.size!, graph.columns(data)];
  if (T * F !== I) throw graph.damaged(`expected ${I} features, got ${T * F}`);
  const rows = new Float32Array(I * N);
  for (let t = 0; t < T; t++)
    for (let i = 0; i < F; i++) {
      let from = t * strides[last.indexOf(time)];
      for (let k = features.length - 1, rest = i; k >= 0; k--) {
        from += (rest % features[k].size!) * strides[last.indexOf(features[k])];
        rest = Math.floor(rest / features[k].size!);
      }
      rows.set(kernel.data.subarray(from * N, (from + 1) * N), (t * F + i) * N);
    }
  graph.fixed = true;
  const node = graph.layer(
    "conv1d",
    { filters: N, kernelSize: T, padding: "valid", useBias: bias !== undefined },
    [graph.read(data)],
    { kernel: { shape: [T, F, N], data: rows }, ...(bias && { bias: { shape: [N], data: bias } }) },
  );
  const made = new Axis(N, "features");
  // Its one step is all there is.
  const all = graph.layer("pooling1d", { kind: "max", global: true }, [{ node }], {});
  return { kind: "data", node: all, axes: [...given.axes.slice(0, -1), single(made)], features: [made] };
}

/** Features of all steps that a file has as one axis, as a layer makes them. */
export function flat(graph: Graph, data: Data): Data {
  const { features } = data;
  const isFeature = (own: Axis) => features.includes(own);
  const whole =
    data.axes.find((axis) => !axis.every(isFeature) && axis.some((a) => a.size !== 1 && isFeature(a))) ?? [];
  const [time, ...others] = whole.filter((axis) => !isFeature(axis));
  const [batch, ...more] = rowsOf(data).filter((axis) => axis !== time);
  if (!time || others.length || !batch || more.length) return data;
  const last = whole[whole.length - 1] === time;
  const apart = features.some((own) => own.size !== 1 && !whole.includes(own));
  if (time.size === null || (!last && whole[0] !== time) || apart)
    throw graph.unsupported(
      `flattens ${describe(data)}`,
      "expected a fixed number of steps, and their features together",
    );
  graph.assign(time, "time");
  graph.fixed = true;
  const read = graph.read(data);
  const turned = last ? { node: graph.layer("transpose", {}, [read], {}) } : read;
  const node = graph.layer("reshape", { shape: [-1] }, [turned], {});
  const all = new Axis(time.size * graph.columns(data), "features");
  return { kind: "data", node, axes: [single(batch), single(all)], features: [all] };
}

/** Steps one after the other that are all of a sequence, each through the same layers: the sequence through them. */
export function unrolled(graph: Graph, steps: readonly Data[], axis: number): Data | undefined {
  const chains = steps.map((data) => chainOf(graph, data));
  const first = chains[0];
  const of = first?.step.of;
  if (!first || !of || !("axes" in of) || of.axes[first.step.axis]?.[0]?.size !== steps.length) return undefined;
  const same = chains.every((chain, i) => {
    if (!chain || chain.step.of.node !== of.node || chain.layers.length !== first.layers.length) return false;
    if (chain.step.at !== i && !(chain.step.at === -1 && i === steps.length - 1)) return false;
    return chain.layers.every((layer, k) => equal(graph.nodes[layer], graph.nodes[first.layers[k]]));
  });
  if (!same) return undefined;
  let read = graph.read(of);
  for (const layer of first.layers) {
    const { type, config, weights } = graph.nodes[layer];
    read = { node: graph.layer(type, { ...config }, [read], { ...weights }) };
  }
  const axes = steps[0].axes.map((own, i) => (i === axis ? of.axes[first.step.axis] : own));
  return { ...steps[0], node: read.node, axes, exclusive: undefined };
}

/** The layers from a step to some data, first to last; the last step may be a state, -1. */
function chainOf(graph: Graph, data: Data) {
  const layers: number[] = [];
  for (let read: Read = { node: data.node, ...(data.state && { state: "all" }) }; read.node >= 0; ) {
    const { type, config, inputs, step } = graph.nodes[read.node];
    const forward = type === "gru" && !config.goBackwards && !graph.padded({ node: read.node });
    if (read.state !== undefined)
      return forward ? { step: { of: read, axis: -1, at: -1 }, layers: layers.reverse() } : undefined;
    if (step) return { step, layers: layers.reverse() };
    if (!["dense", "affine", "activation", "dropout", "layerNorm"].includes(type) || layers.length > 16)
      return undefined;
    layers.push(read.node);
    read = inputs[0];
  }
  return undefined;
}

/** Whether two layers are the same, weights and all. */
export function equal(a: Emitted, b: Emitted): boolean {
  const names = Object.keys(a.weights);
  return (
    a.type === b.type &&
    JSON.stringify(a.config) === JSON.stringify(b.config) &&
    names.length === Object.keys(b.weights).length &&
    names.every((name) => {
      const [x, y] = [a.weights[name].data, b.weights[name]?.data ?? []];
      return x === y || (x.length === y.length && x.every((w, i) => w === y[i]));
    })
  );
}

/** Sequences, and vectors as sequences of one step, one after the other. */
export function joinSteps(graph: Graph, values: readonly Data[], axis: number): Data {
  const parts = values.map((data) => {
    const rows = unmasked(graph, graph.withFeatures(data));
    const own = rows.axes[axis];
    const once = own.every(({ role }) => role === "one");
    if (!once && (own.length !== 1 || rows.features.includes(own[0]) || rowsOf(rows).length !== 2))
      throw graph.unsupported(`joins ${describe(data)} on axis ${axis}`, "features or steps can be joined");
    if (!once) graph.assign(own[0], "time");
    const read = graph.read(rows);
    return {
      rows,
      size: once ? 1 : own[0].size,
      read: once ? { node: graph.layer("repeat", { n: 1 }, [read], {}) } : read,
    };
  });
  const [{ rows }] = parts;
  const F = graph.columns(rows);
  const fits = (own: Data) => own.axes.length === rows.axes.length && graph.columns(own) === F && !isTurned(own, rows);
  if (!parts.every((part) => fits(part.rows))) throw graph.damaged("joins tensors that do not fit");
  const node = graph.layer(
    "concatenate",
    { axis: 1 },
    parts.map(({ read }) => read),
    {},
  );
  const size = parts.reduce<number | null>(
    (sum, part) => (sum === null || part.size === null ? null : sum + part.size),
    0,
  );
  return {
    ...rows,
    node,
    axes: retimed(rows, axis, single(new Axis(size, "time"))),
    state: undefined,
    exclusive: undefined,
  };
}
