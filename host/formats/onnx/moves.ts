import { count } from "../../core/tensor.ts";
import { describe, type Graph } from "./graph.ts";
import { TYPE } from "./proto.ts";
import {
  Axis,
  constant,
  type Data,
  type Floats,
  type Ints,
  isFeatures,
  type MergedAxis,
  type Part,
  reshaped,
  type Size,
  single,
  sizeOf,
  type Value,
  wrap,
} from "./values.ts";

/**
 * Operators that move numbers and change none, and those that compute with
 * shapes. On data they only move axes; what gruvy has to do for them, such as
 * to choose some of the features, is said by layers.
 */

/** Entries of a known tensor at positions. */
function gathered<V extends Floats | Ints>(value: V, shape: readonly number[], index: (i: number) => number): V {
  const n = count(shape);
  if (value.kind === "floats") {
    const data = new Float32Array(n);
    for (let i = 0; i < n; i++) data[i] = value.data[index(i)];
    return { ...value, shape, data };
  }
  const entries: Size[] = [];
  for (let i = 0; i < n; i++) entries.push((value as Ints).entries[index(i)]);
  return { ...value, shape, entries };
}

const isKnown = (value: Value): value is Floats | Ints => value.kind === "floats" || value.kind === "ints";

/** Axes of a value, in so far as it has some. */
function rankOf(graph: Graph, value: Value): number {
  if (value.kind === "data") return value.axes.length;
  if (value.kind === "floats" || value.kind === "ints") return value.shape.length;
  if (value.kind === "fill") return value.rank;
  if (value.kind === "moment") return value.of.axes.length;
  if (value.kind === "part") return graph.inputs[value.input].axes.length;
  if (value.kind === "mask") throw graph.unsupported(`reads ${describe(value)}`, "layers of gruvy alone do");
  return value.parts[0].kind === "data" ? value.parts[0].axes.length : graph.inputs[value.parts[0].input].axes.length;
}

/** A known tensor with its axes in another order. */
function permuted(value: Floats | Ints, order: readonly number[]): Floats | Ints {
  const shape = order.map((axis) => value.shape[axis]);
  const strides = value.shape.map((_, axis) => count(value.shape.slice(axis + 1)));
  return gathered(value, shape, (i) => {
    let at = 0;
    for (let k = order.length - 1, rest = i; k >= 0; k--) {
      at += (rest % shape[k]) * strides[order[k]];
      rest = Math.floor(rest / shape[k]);
    }
    return at;
  });
}

/** The entries [from, to) of a known tensor along an axis, or those at positions. */
function chosen<V extends Floats | Ints>(value: V, axis: number, positions: readonly number[], drop = false): V {
  const { shape } = value;
  const inner = count(shape.slice(axis + 1));
  const full = [...shape.slice(0, axis), positions.length, ...shape.slice(axis + 1)];
  const taken = gathered(value, full, (i) => {
    const [before, at, after] = [
      Math.floor(i / (inner * positions.length)),
      Math.floor(i / inner) % positions.length,
      i % inner,
    ];
    return (before * shape[axis] + positions[at]) * inner + after;
  });
  return drop ? { ...taken, shape: full.filter((_, i) => i !== axis) } : taken;
}

/** A new shape for values whose numbers are known, or that have none. */
function withShape(graph: Graph, value: Value, target: readonly Size[], allowZero = false): Value {
  if (isKnown(value)) {
    const n = value.kind === "floats" ? value.data.length : value.entries.length;
    let shape = target.map((size, i) => {
      if (typeof size !== "number") throw graph.unsupported("a shape that depends on the input's", "expected numbers");
      return size === 0 && !allowZero ? value.shape[i] : size;
    });
    const rest = n / shape.reduce((product, size) => product * (size === -1 ? 1 : size), 1);
    shape = shape.map((size) => (size === -1 ? rest : size));
    if (!shape.every((size) => Number.isInteger(size) && size >= 0) || count(shape) !== n)
      throw graph.damaged(`${n} numbers do not have the shape [${shape}]`);
    return { ...value, shape };
  }
  if (value.kind === "fill") return { ...value, rank: target.length };
  if (value.kind === "data") {
    const result = reshaped(value, target, allowZero);
    if (!result)
      throw graph.unsupported(
        `${describe(value)} into [${target.map((size) => (size instanceof Axis ? (size.role ?? "?") : size)).join(", ")}]`,
        "only whole axes can be merged, and only features taken apart",
      );
    return { ...value, ...result };
  }
  throw graph.unsupported(`reshapes ${describe(value)}`, "expected data");
}

function squeezed(graph: Graph, value: Value, axes: readonly number[] | undefined): Value {
  const rank = rankOf(graph, value);
  if (value.kind === "data") {
    const ones = value.axes.map((axis) => sizeOf(axis) === 1);
    const drop = new Set(axes?.map((axis) => graph.axis(axis, rank)) ?? ones.flatMap((one, i) => (one ? [i] : [])));
    for (const axis of drop) {
      const [only] = value.axes[axis];
      // An axis of unknown size that is dropped is of size 1: a batch of one, or a single step.
      if (!ones[axis] && !(value.axes[axis].length === 1 && only.size === null))
        throw graph.damaged(`squeezes axis ${axis} of ${describe(value)}`);
    }
    return { ...value, axes: value.axes.filter((_, i) => !drop.has(i)) };
  }
  if (isKnown(value)) {
    const drop = new Set(
      axes?.map((axis) => graph.axis(axis, rank)) ?? value.shape.flatMap((n, i) => (n === 1 ? [i] : [])),
    );
    for (const axis of drop)
      if (value.shape[axis] !== 1) throw graph.damaged(`squeezes axis ${axis} of ${describe(value)}`);
    return { ...value, shape: value.shape.filter((_, i) => !drop.has(i)) };
  }
  if (value.kind === "fill") return { ...value, rank: rank - (axes?.length ?? 1) };
  throw graph.unsupported(`squeezes ${describe(value)}`, "expected data");
}

function unsqueezed(graph: Graph, value: Value, axes: readonly number[]): Value {
  const rank = rankOf(graph, value) + axes.length;
  const places = new Set(axes.map((axis) => graph.axis(axis, rank)));
  const spread = <A>(old: readonly A[], fresh: () => A): A[] => {
    let next = 0;
    return Array.from({ length: rank }, (_, i) => (places.has(i) ? fresh() : old[next++]));
  };
  if (value.kind === "data") return { ...value, axes: spread<MergedAxis>(value.axes, () => [new Axis(1, "one")]) };
  if (isKnown(value)) return { ...value, shape: spread(value.shape, () => 1) };
  if (value.kind === "fill") return { ...value, rank };
  throw graph.unsupported(`unsqueezes ${describe(value)}`, "expected data");
}

/**
 * Positions along an axis of data.
 *
 * @param drop the axis goes, as with a single index
 */
function choose(
  graph: Graph,
  value: Value,
  axis: number,
  positions: (length: number) => number[],
  drop: boolean,
): Value {
  if (isKnown(value)) {
    const length = value.shape[axis];
    const at = positions(length);
    if (!at.every((p) => p >= 0 && p < length)) throw graph.damaged(`position ${at} of ${length}`);
    return chosen(value, axis, at, drop);
  }
  if (value.kind === "fill") return { ...value, rank: value.rank - (drop ? 1 : 0) };
  if (value.kind === "stack" && axis === value.axis) {
    const at = positions(value.parts.length);
    if (at.length === 1 && value.parts[at[0]])
      return drop ? squeezed(graph, value.parts[at[0]], [axis]) : value.parts[at[0]];
    const parts = at.map((p) => value.parts[p]);
    if (!drop && parts.length && parts.every((part) => part)) return { ...value, parts };
  }
  if (value.kind !== "data") throw graph.unsupported(`takes parts of ${describe(value)}`, "expected data");
  const own = value.axes[axis];
  const length = sizeOf(own);

  // States of several layers in one input.
  if (
    value.node < 0 &&
    own.length === 1 &&
    own[0].role === undefined &&
    length !== null &&
    value.features.length === 0
  ) {
    const at = positions(length);
    const run = at.every((p, i) => p >= 0 && p < length && p === at[0] + i);
    if (run && at.length) return { kind: "part", input: -1 - value.node, axis, from: at[0], to: at[0] + at.length };
  }
  const feature = value.features.findIndex((f) => own.length === 1 && f === own[0]);
  if (feature >= 0 && length !== null) return pick(graph, value, axis, feature, positions(length), drop);
  if (isFeatures(value, own) && length !== null) {
    const whole = new Axis(length, "features");
    const merged: Data = {
      ...value,
      axes: value.axes.map((a, i) => (i === axis ? single(whole) : a)),
      features: [whole],
    };
    return pick(graph, merged, axis, 0, positions(length), drop);
  }
  // Everything, or the only entry.
  const all = length === null ? undefined : positions(length);
  if (all && all.length === length && all.every((p, i) => p === i))
    return drop ? squeezed(graph, value, [axis]) : value;
  return lastStep(graph, value, axis, positions, drop);
}

/** Some of the features: a product with columns of the identity, exact. */
function pick(graph: Graph, data: Data, axis: number, feature: number, at: readonly number[], drop: boolean): Data {
  const sizes = data.features.map(({ size }) => size ?? 1);
  if (!at.every((p) => p >= 0 && p < sizes[feature])) throw graph.damaged(`position ${at} of ${sizes[feature]}`);
  const I = sizes.reduce((a, b) => a * b, 1);
  const inner = sizes.slice(feature + 1).reduce((a, b) => a * b, 1);
  const columns: number[] = [];
  for (let i = 0; i < I; i++) {
    const place = at.indexOf(Math.floor(i / inner) % sizes[feature]);
    if (place >= 0) columns.push(i);
  }
  columns.sort((a, b) => {
    const key = (i: number) => [
      Math.floor(i / (inner * sizes[feature])),
      at.indexOf(Math.floor(i / inner) % sizes[feature]),
      i % inner,
    ];
    const [x, y] = [key(a), key(b)];
    return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
  });
  const N = columns.length;
  const kernel = new Float32Array(I * N);
  columns.forEach((i, j) => {
    kernel[i * N + j] = 1;
  });
  // One of several directions: an axis of size 1, which carries nothing.
  const gone = data.features.length > 1 && at.length === 1;
  const fresh = data.features.map((f, i) => (i === feature ? new Axis(at.length, gone ? "one" : f.role) : f));
  const read = graph.read(data);
  const weights = { kernel: { shape: [I, N], data: kernel } };
  const node = graph.layer("dense", { units: N, useBias: false }, [read], weights);
  graph.nodes[node].pick = { of: data, columns };
  const kept = fresh.filter((_, i) => !((drop || gone) && i === feature));
  const replace = (a: Axis) => fresh[data.features.indexOf(a)] ?? a;
  return {
    kind: "data",
    node,
    axes: data.axes.flatMap((a, i) => (i === axis && drop ? [] : [a.map(replace)])),
    features: kept.length ? kept : fresh,
  };
}

/** The last step of a forward GRU's outputs, also through layers that work on every step: its last state. */
function lastStep(
  graph: Graph,
  data: Data,
  axis: number,
  positions: (length: number) => number[],
  drop: boolean,
): Data {
  const needed = "only the last step of a GRU's outputs can be taken; export Y_h, or the state that PyTorch returns";
  const [own] = data.axes[axis];
  // From a length that no graph has, positions from the end can be told from those from the beginning.
  const FAR = 2 ** 40;
  const at = positions(own.size ?? FAR);
  if (at.length !== 1 || at[0] !== (own.size ?? FAR) - 1)
    throw graph.unsupported(`takes parts of ${describe(data)}`, needed);
  let node = data.node;
  for (;;) {
    const emitted = graph.nodes[node];
    if (!emitted || !data.exclusive) throw graph.unsupported("takes the last step of what others read whole", needed);
    if (emitted.reads) {
      const forward = emitted.type === "gru" && !emitted.config.goBackwards;
      if (!forward || emitted.padded || emitted.reads.state) throw graph.unsupported("takes the last step", needed);
      emitted.reads.outputs = false;
      emitted.reads.state = true;
      for (const reader of graph.nodes)
        for (const [i, read] of reader.inputs.entries())
          if (read.node === node) reader.inputs[i] = { node, state: "all" };
      break;
    }
    if (!["dense", "activation", "dropout", "layerNorm"].includes(emitted.type))
      throw graph.unsupported(`takes the last step of a layer of type ${emitted.type}`, needed);
    node = emitted.inputs[0].node;
  }
  graph.assign(own, "time");
  const axes = drop
    ? data.axes.filter((_, i) => i !== axis)
    : data.axes.map((a, i) => (i === axis ? [new Axis(1, "one")] : a));
  return { ...data, axes, state: node === data.node };
}

const range = (from: number, to: number, step: number): number[] => {
  const out: number[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(i);
  return out;
};

/** Longest list of positions that a Slice makes. */
const MOST = 2 ** 24;

/** A Slice from the last step to the first, of data whose axis is time. */
function reverses(
  graph: Graph,
  value: Value,
  axis: number,
  start: number,
  end: number,
  step: number,
): Data | undefined {
  if (value.kind !== "data" || step !== -1 || start !== -1 || end > -(2 ** 30)) return undefined;
  const own = value.axes[axis];
  if (own.length !== 1 || value.features.includes(own[0])) return undefined;
  graph.assign(own[0], "time");
  // What put outputs of a reversed GRU into the order of time is undone.
  const before = value.exclusive ? graph.nodes[value.node] : undefined;
  const of = before?.type === "reverse" ? before.inputs[0].node : -1;
  if (graph.nodes[of]?.reads) return { ...value, node: of };
  return graph.push("reverse", {}, graph.withFeatures(value));
}

function slice(graph: Graph): void {
  let value = graph.input(0);
  const starts = graph.ints("starts", 1);
  const ends = graph.ints("ends", 2);
  if (!starts || !ends) throw graph.damaged("needs starts and ends");
  const rank = rankOf(graph, value);
  const axes = graph.ints("axes", 3) ?? starts.map((_, i) => i);
  const steps = graph.ints("steps", 4) ?? starts.map(() => 1);
  axes.forEach((given, i) => {
    const axis = graph.axis(given, rank);
    const step = steps[i];
    if (!step) throw graph.damaged("a step of 0");
    const reversed = reverses(graph, value, axis, starts[i], ends[i], step);
    if (reversed) {
      value = reversed;
      return;
    }
    value = choose(
      graph,
      value,
      axis,
      (n) => {
        const clamp = (x: number, low: number, high: number) => Math.min(Math.max(wrap(x, n), low), high);
        const [from, to] =
          step > 0
            ? [clamp(starts[i], 0, n), clamp(ends[i], 0, n)]
            : [clamp(starts[i], 0, n - 1), clamp(ends[i], -1, n - 1)];
        if (Math.abs(to - from) > MOST) return []; // the whole of an axis without a known length: seen below
        return range(from, to, step);
      },
      false,
    );
  });
  graph.set(0, value);
}

/** A Slice that takes everything of an axis whose length is not known. */
function takesAll(graph: Graph): boolean {
  const [starts, ends, steps] = [graph.ints("starts", 1), graph.ints("ends", 2), graph.ints("steps", 4)];
  return (
    !!starts &&
    !!ends &&
    starts.every((s) => s === 0) &&
    ends.every((e) => e >= 2 ** 31 - 1) &&
    (steps ?? []).every((s) => s === 1)
  );
}

function gather(graph: Graph): void {
  const table = graph.input(0);
  const index = graph.input(1);
  const rank = rankOf(graph, table);
  const axis = graph.axis(graph.int("axis", 0), rank);
  if (index.kind === "data") {
    if (table.kind !== "floats" || rank !== 2 || axis !== 0 || index.node >= 0)
      throw graph.unsupported(
        "looks data up in something else than a table",
        "expected an embedding of an input's tokens",
      );
    graph.use(-1 - index.node, "tokens");
    const [tokens, units] = table.shape;
    const features = new Axis(units, "features");
    const weights = { embeddings: { shape: [tokens, units], data: table.data } };
    const node = graph.layer("embedding", { tokens, units }, [{ node: index.node }], weights);
    graph.set(0, { kind: "data", node, axes: [...index.axes, single(features)], features: [features] });
    return;
  }
  if (index.kind !== "ints" || !index.entries.every((e) => typeof e === "number"))
    throw graph.unsupported(`takes positions ${describe(index)}`, "expected known ones");
  const at = index.entries as readonly number[];
  const positions = (n: number) => at.map((p) => wrap(p, n));
  if (index.shape.length > 1) {
    if (!isKnown(table)) throw graph.unsupported(`takes positions ${describe(index)}`, "expected one, or a list");
    const taken = chosen(table, axis, positions(table.shape[axis]));
    graph.set(0, { ...taken, shape: [...table.shape.slice(0, axis), ...index.shape, ...table.shape.slice(axis + 1)] });
    return;
  }
  graph.set(0, choose(graph, table, axis, positions, index.shape.length === 0));
}

function split(graph: Graph): void {
  const value = graph.input(0);
  const rank = rankOf(graph, value);
  const axis = graph.axis(graph.int("axis", 0), rank);
  const parts = graph.node.outputs.length;
  const length = isKnown(value) ? value.shape[axis] : value.kind === "data" ? sizeOf(value.axes[axis]) : null;
  if (length === null) throw graph.unsupported(`splits ${describe(value)}`, "the axis must have a known size");
  const size = Math.ceil(length / parts);
  const sizes =
    graph.ints("split", 1) ?? Array.from({ length: parts }, (_, i) => Math.min(size, Math.max(0, length - i * size)));
  if (sizes.reduce((a, b) => a + b, 0) !== length || sizes.length !== parts || sizes.some((n) => n < 0))
    throw graph.damaged(`splits ${length} into [${sizes}]`);
  let from = 0;
  sizes.forEach((n, i) => {
    const begin = from;
    from += n;
    if (graph.used(i))
      graph.set(
        i,
        choose(graph, value, axis, () => range(begin, begin + n, 1), false),
      );
  });
}

function concat(graph: Graph) {
  const values = graph.node.inputs.map((_, i) => graph.input(i));
  const rank = rankOf(graph, values[0]);
  const axis = graph.axis(graph.int("axis", 0), rank);
  if (values.every((v): v is Ints => v.kind === "ints") && rank === 1) {
    const entries = values.flatMap((v) => v.entries);
    return graph.set(0, { kind: "ints", shape: [entries.length], entries });
  }
  if (values.every((v): v is Floats => v.kind === "floats")) {
    const parts = values.map((v) => permuted(v, order(axis, rank)) as Floats);
    const shape = [parts.reduce((sum, p) => sum + p.shape[0], 0), ...parts[0].shape.slice(1)];
    const data = new Float32Array(parts.reduce((sum, p) => sum + p.data.length, 0));
    let at = 0;
    for (const part of parts) {
      data.set(part.data, at);
      at += part.data.length;
    }
    if (count(shape) !== data.length) throw graph.damaged("tensors that do not fit beside one another");
    return graph.set(0, permuted({ kind: "floats", shape, data }, order(axis, rank)));
  }
  if (values.every((v) => v.kind === "fill")) return graph.set(0, values[0]);
  const stacked = values.flatMap((v): readonly Value[] => (v.kind === "stack" && v.axis === axis ? v.parts : [v]));
  const features = values.every(
    // States of PyTorch are stacked on an axis of their own.
    (v) => v.kind === "data" && v.axes[axis].some((a) => v.features.includes(a)) && !(v.state && v.axes.length > 2),
  );
  const apart = (v: Value): v is Data | Part =>
    v.kind === "part" || (v.kind === "data" && (v.state === true || sizeOf(v.axes[axis]) === 1));
  if (!features && stacked.every(apart)) return graph.set(0, { kind: "stack", axis, parts: stacked });
  const whole = together(graph, values, axis);
  if (whole) return graph.set(0, whole);
  const data = values.map((v, i) => {
    if (v.kind !== "data") throw graph.unsupported(`joins ${describe(v)}`, "expected data");
    const at = graph.featuresAxis(v);
    if (at !== axis)
      throw graph.unsupported(`joins data on axis ${axis} of ${describe(v)}`, "features alone can be joined");
    return graph.rows(graph.data(i), axis);
  });
  const size = data.reduce((sum, { size: n }) => sum + n, 0);
  graph.set(
    0,
    graph.emit(
      "concatenate",
      { axis: -1 },
      data.map((d) => d.data),
      {},
      size,
    ),
  );
}

/** Parts of the same data that are all of it, in its order: both directions of a last state. */
function together(graph: Graph, values: readonly Value[], axis: number): Data | undefined {
  const picks = values.map((v) => (v.kind === "data" ? graph.nodes[v.node]?.pick : undefined));
  const of = picks[0]?.of;
  const columns = picks.flatMap((pick) => pick?.columns ?? [-1]);
  const [first] = values;
  if (!of || first.kind !== "data" || !columns.every((column, i) => column === i)) return undefined;
  const all = of.features.reduce((product, { size }) => product * (size ?? 1), 1);
  if (columns.length !== all || picks.some((pick) => pick?.of.node !== of.node || pick.of.state !== of.state))
    return undefined;
  return { ...of, axes: first.axes.map((own, i) => (i === axis ? of.features : own)), exclusive: undefined };
}

/** Swaps an axis with the first. */
const order = (axis: number, rank: number): number[] =>
  Array.from({ length: rank }, (_, i) => (i === 0 ? axis : i === axis ? 0 : i));

function expand(graph: Graph) {
  const value = graph.input(0);
  const shape = graph.input(1);
  const rank = shape.kind === "ints" ? Math.max(shape.entries.length, rankOf(graph, value)) : rankOf(graph, value);
  if (value.kind === "fill") return graph.set(0, { ...value, rank });
  if (value.kind === "floats" && value.data.length > 0 && value.data.every((v) => v === value.data[0]))
    return graph.set(0, { kind: "fill", value: value.data[0], rank });
  throw graph.unsupported(`repeats ${describe(value)}`, "only one number can be repeated, as in a state of zeros");
}

/** Moves, by operator. */
export const MOVES: Readonly<Record<string, (graph: Graph) => void>> = {
  Identity: (graph) => graph.set(0, graph.input(0)),
  Cast(graph) {
    const value = graph.input(0);
    const to = graph.int("to", TYPE.float);
    const whole = to === TYPE.int64 || to === TYPE.int32 || to === TYPE.bool;
    if (value.kind === "floats" && whole)
      return graph.set(0, constant({ shape: value.shape, data: Float64Array.from(value.data, Math.trunc) }));
    if (value.kind === "ints" && !whole && value.entries.every((e) => typeof e === "number"))
      return graph.set(0, { kind: "floats", shape: value.shape, data: Float32Array.from(value.entries as number[]) });
    graph.set(0, value);
  },
  Constant(graph) {
    const { attributes } = graph.node;
    const value = attributes.get("value")?.t;
    if (value) return graph.set(0, constant(value()));
    const floats = attributes.get("value_floats")?.floats ?? attributes.get("value_float")?.f;
    const ints = attributes.get("value_ints")?.ints ?? attributes.get("value_int")?.i;
    const numbers = floats ?? ints;
    if (numbers === undefined)
      throw graph.unsupported("a value of another kind than tensor, float or int", "expected one of those");
    const list = typeof numbers === "number" ? [numbers] : numbers;
    const shape = typeof numbers === "number" ? [] : [list.length];
    graph.set(0, constant({ shape, data: floats === undefined ? Float64Array.from(list) : Float32Array.from(list) }));
  },
  Transpose(graph) {
    const value = graph.input(0);
    const rank = rankOf(graph, value);
    const given = graph.node.attributes.get("perm")?.ints;
    const perm = given?.length ? given : Array.from({ length: rank }, (_, i) => rank - 1 - i);
    if (perm.length !== rank || [...perm].sort((a, b) => a - b).some((p, i) => p !== i))
      throw graph.damaged(`perm [${perm}]`);
    if (isKnown(value)) return graph.set(0, permuted(value, perm));
    if (value.kind === "data") return graph.set(0, { ...value, axes: perm.map((p) => value.axes[p]) });
    if (value.kind === "fill") return graph.set(0, value);
    throw graph.unsupported(`transposes ${describe(value)}`, "expected data");
  },
  Squeeze: (graph) => graph.set(0, squeezed(graph, graph.input(0), graph.ints("axes", 1))),
  Unsqueeze: (graph) => graph.set(0, unsqueezed(graph, graph.input(0), graph.ints("axes", 1) ?? [])),
  Reshape(graph) {
    const shape = graph.input(1);
    if (shape.kind !== "ints") throw graph.unsupported(`a shape that is ${describe(shape)}`, "expected whole numbers");
    graph.set(0, withShape(graph, graph.input(0), shape.entries, graph.int("allowzero", 0) === 1));
  },
  Flatten(graph) {
    const value = graph.input(0);
    const rank = rankOf(graph, value);
    const axis = graph.int("axis", 1);
    const at = axis === rank ? rank : graph.axis(axis, rank);
    if (value.kind === "data") {
      const merge = (axes: readonly MergedAxis[]): MergedAxis => (axes.length ? axes.flat() : [new Axis(1, "one")]);
      const drop = (axes: MergedAxis) => (axes.length > 1 ? axes.filter(({ role }) => role !== "one") : axes);
      return graph.set(0, {
        ...value,
        axes: [drop(merge(value.axes.slice(0, at))), drop(merge(value.axes.slice(at)))],
      });
    }
    if (!isKnown(value)) throw graph.unsupported(`flattens ${describe(value)}`, "expected data");
    graph.set(0, { ...value, shape: [count(value.shape.slice(0, at)), count(value.shape.slice(at))] });
  },
  Slice(graph) {
    if (takesAll(graph)) return graph.set(0, graph.input(0));
    slice(graph);
  },
  Gather: gather,
  Split: split,
  Concat: concat,
  Expand: expand,
  Shape(graph) {
    const value = graph.input(0);
    let entries: Size[];
    if (value.kind === "data")
      entries = value.axes.map((axis) => (axis.length === 1 ? (axis[0].size ?? axis[0]) : sizeOf(axis)));
    else if (isKnown(value)) entries = [...value.shape];
    else entries = Array.from({ length: rankOf(graph, value) }, () => null);
    entries = entries.slice(graph.int("start", 0), graph.node.attributes.get("end")?.i);
    graph.set(0, { kind: "ints", shape: [entries.length], entries });
  },
  ConstantOfShape(graph) {
    const shape = graph.input(0);
    if (shape.kind !== "ints") throw graph.unsupported(`a shape that is ${describe(shape)}`, "expected whole numbers");
    const value = graph.node.attributes.get("value")?.t?.();
    const number = value?.data[0] ?? 0;
    const known = shape.entries.every((e): e is number => typeof e === "number");
    // Shapes of shapes, as exporters compute with.
    if (known && value && !(value.data instanceof Float32Array) && shape.entries.length <= 1) {
      const n = shape.entries.length ? (shape.entries[0] as number) : 1;
      if (n > 64) throw graph.unsupported(`makes ${n} whole numbers`, "expected a shape");
      return graph.set(0, { kind: "ints", shape: shape.entries as number[], entries: new Array(n).fill(number) });
    }
    graph.set(0, { kind: "fill", value: number, rank: shape.entries.length });
  },
  // Of opset 8 and before, as PyTorch's exporter wrote it.
  ConstantFill(graph) {
    const shape = graph.optional(0);
    const rank =
      shape?.kind === "ints" && graph.int("input_as_shape", 0)
        ? shape.entries.length
        : (graph.ints("shape", 1)?.length ?? 0);
    graph.set(0, { kind: "fill", value: graph.float("value", 0), rank });
  },
  Range(graph) {
    const [from, to, step] = [0, 1, 2].map((i) => graph.input(i)).map((v) => (v.kind === "ints" ? v.entries[0] : null));
    if (
      typeof from !== "number" ||
      typeof to !== "number" ||
      typeof step !== "number" ||
      !step ||
      Math.abs((to - from) / step) > MOST
    )
      throw graph.unsupported("counts by the input's shape", "expected known numbers");
    const entries = range(from, to, step);
    graph.set(0, { kind: "ints", shape: [entries.length], entries });
  },
};

/** Arithmetic with shapes: numbers where all are known, else what nothing can use. */
export function intArithmetic(f: (a: number, b: number) => number): (graph: Graph, a: Ints, b: Ints) => void {
  return (graph, a, b) => {
    const n = Math.max(a.entries.length, b.entries.length);
    const at = ({ entries }: Ints, i: number) => entries[entries.length === 1 ? 0 : i];
    const entries = Array.from({ length: n }, (_, i): Size => {
      const [x, y] = [at(a, i), at(b, i)];
      return typeof x === "number" && typeof y === "number" ? f(x, y) : null;
    });
    const longer = a.entries.length === n && a.shape.length >= b.shape.length ? a : b;
    graph.set(0, { kind: "ints", shape: longer.shape, entries });
  };
}
