import { describe, type Graph } from "./graph.ts";
import { chosen, MOST, range } from "./known.ts";
import { squeezed } from "./moves.ts";
import { pickStep, shorten } from "./steps.ts";
import {
  Axis,
  type Data,
  type Floats,
  type Ints,
  isFeatures,
  isKnown,
  lengthOf,
  type MergedAxis,
  type Part,
  rankOf,
  type Size,
  single,
  sizeOf,
  type Value,
  wrap,
} from "./values.ts";

/** Operators that take parts of tensors. */

/**
 * Positions along an axis of data.
 *
 * @param drop the axis goes, as with a single index
 */
function choose(
  graph: Graph,
  given: Value,
  axis: number,
  positions: (length: number) => number[],
  drop: boolean,
): Value {
  const state = graph.node.outputs.some((output) => graph.isState(output));
  const own = given.kind === "data" && given.node < 0 && !state && axis === graph.featuresAt(given);
  const value = own ? graph.withFeatures(given) : given;
  if (isKnown(value)) {
    return taken(graph, value, axis, positions(value.shape[axis]), drop);
  }
  if (value.kind === "fill") return { ...value, rank: value.rank - (drop ? 1 : 0) };
  if (value.kind === "stack" && axis === value.axis) {
    const sizes = value.parts.map((part) => sizeOf(part.axes[axis]) ?? 1);
    if (!(sizes.reduce((sum, size) => sum + size, 0) <= MOST))
      throw graph.unsupported(`takes parts of [${sizes.slice(0, 8)}] states`, `expected at most ${MOST}`);
    const places = sizes.flatMap((size, i) => Array.from({ length: size }, (_, k) => [i, k]));
    const at = positions(places.length);
    const wanted = at.flatMap((p) => (places[p] ? [places[p]] : []));
    const [first] = wanted;
    if (first && wanted.length === at.length) {
      // All of one part or a piece of it, or several whole ones.
      if (wanted.every(([i]) => i === first[0]))
        return choose(graph, value.parts[first[0]], axis, () => wanted.map(([, k]) => k), drop);
      const whole = wanted.filter(([, k]) => k === 0).map(([i]) => i);
      const all = whole.flatMap((i) => Array.from({ length: sizes[i] }, (_, k) => [i, k]));
      if (!drop && all.join() === wanted.join()) return { ...value, parts: whole.map((i) => value.parts[i]) };
    }
  }
  if (value.kind === "part" && value.axes[axis].length === 1 && value.axes[axis][0].size === value.to - value.from) {
    const at = positions(value.to - value.from);
    const run = at.every((p, i) => p >= 0 && p < value.to - value.from && p === at[0] + i);
    if (run && at.length) return part(value.input, value.axes, axis, value.from + at[0], at.length, drop);
  }
  if (value.kind !== "data") throw graph.unsupported(`takes parts of ${describe(value)}`, "expected data");
  const along = value.axes[axis];
  const length = sizeOf(along);

  // States of several layers in one input.
  if (value.node < 0 && along.length === 1 && length !== null && value.features.length === 0 && state) {
    const at = positions(length);
    const run = at.every((p, i) => p >= 0 && p < length && p === at[0] + i);
    if (run && at.length && at.length < length) return part(-1 - value.node, value.axes, axis, at[0], at.length, drop);
  }
  const feature = value.features.findIndex((f) => along.length === 1 && f === along[0]);
  if (feature >= 0 && length !== null) return pick(graph, value, axis, feature, positions(length), drop);
  if (isFeatures(value, along) && length !== null) {
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
  return steps(graph, value, axis, positions, drop);
}

/** Entries of a known tensor. */
function taken(graph: Graph, value: Floats | Ints, axis: number, at: readonly number[], drop: boolean): Floats | Ints {
  const length = value.shape[axis];
  const outside = at.find((p) => !(p >= 0 && p < length));
  if (outside !== undefined) throw graph.damaged(`position ${outside} of ${length}`);
  if (length > 0) graph.checkCopies((lengthOf(value) / length) * at.length);
  return chosen(value, axis, at, drop);
}

function part(input: number, given: readonly MergedAxis[], axis: number, from: number, n: number, drop: boolean): Part {
  const axes = given.flatMap((own, i) => (i !== axis ? [own] : drop ? [] : [single(new Axis(n))]));
  return { kind: "part", input, axes, from, to: from + n };
}

/** Steps of a sequence: one of them, or some in a row. */
function steps(graph: Graph, data: Data, axis: number, positions: (length: number) => number[], drop: boolean): Data {
  const own = stepsAxis(graph, data, axis);
  if (own.size === null) {
    // From a length that no graph has, positions from the end can be told from those from the beginning.
    const FAR = 2 ** 40;
    const at = positions(FAR);
    if (at.length === 1) return pickStep(graph, data, axis, at[0] < FAR / 2 ? at[0] : at[0] - FAR, drop);
    throw graph.unsupported(`takes parts of ${describe(data)}`, "give the input a fixed number of steps");
  }
  const T = own.size;
  const at = positions(T);
  const stride = at.length > 1 ? at[1] - at[0] : 1;
  if (!at.length || !(stride > 0) || !at.every((p, i) => p >= 0 && p < T && p === at[0] + i * stride))
    throw graph.unsupported(`takes steps [${at.slice(0, 8)}] of ${T}`, "expected some in a row");
  if (at[0] !== T - 1) graph.fixed = true;
  if (at.length === 1) return pickStep(graph, data, axis, at[0] === T - 1 ? -1 : at[0], drop);
  return shorten(graph, data, axis, at[0], T - 1 - at[at.length - 1], stride);
}

/** The axis of time, alone. */
function stepsAxis(graph: Graph, data: Data, axis: number): Axis {
  const own = data.axes[axis];
  if (own.length !== 1)
    throw graph.unsupported(`takes parts of ${describe(data)}`, "expected time as an axis of its own");
  graph.assign(own[0], "time");
  return own[0];
}

/** Some of the features: a product with columns of the identity, exact. */
function pick(graph: Graph, data: Data, axis: number, feature: number, at: readonly number[], drop: boolean): Data {
  const sizes = data.features.map(({ size }) => size ?? 1);
  const outside = at.find((p) => !(p >= 0 && p < sizes[feature]));
  if (outside !== undefined) throw graph.damaged(`position ${outside} of ${sizes[feature]}`);
  const I = graph.columns(data);
  const inner = sizes.slice(feature + 1).reduce((a, b) => a * b, 1);
  const block = sizes[feature] * inner;
  const N = (I / block) * at.length * inner;
  graph.checkCount(I * N);
  const columns: number[] = [];
  for (let from = 0; from < I; from += block)
    for (const p of at) for (let i = 0; i < inner; i++) columns.push(from + p * inner + i);
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

/** Sequences turned round, all of them whole. */
export function reverseSequence(graph: Graph) {
  const value = graph.settle(graph.input(0));
  const lengths = graph.input(1);
  const axis = graph.axis(graph.int("time_axis", 0), rankOf(value));
  const [time] = value.kind === "data" ? value.axes[axis] : [];
  const whole = (n: Size) => n !== null && (n === time || (time?.size !== null && n === time?.size));
  if (!time || lengths.kind !== "ints" || !lengths.entries.every(whole))
    throw graph.unsupported(`turns round ${describe(lengths)} steps of ${describe(value)}`, "expected all of them");
  graph.set(0, reverses(graph, value, axis, -1, -(2 ** 31), -1) ?? value);
}

/** Steps from the beginning or to the end, of a sequence of any length. */
function cuts(graph: Graph, value: Value, axis: number, start: number, end: number, step: number): Data | undefined {
  if (value.kind !== "data" || step < 1) return undefined;
  const own = value.axes[axis];
  if (own.length !== 1 || own[0].size !== null || value.features.includes(own[0])) return undefined;
  const after = end >= 2 ** 31 - 1 ? 0 : -end;
  if (start < 0 || start > MOST || after < 0 || after > MOST || (after > 0 && step > 1)) return undefined;
  stepsAxis(graph, value, axis);
  return shorten(graph, value, axis, start, after, step);
}

export function slice(graph: Graph) {
  let value = graph.settle(graph.input(0));
  const starts = graph.ints("starts", 1);
  const ends = graph.ints("ends", 2);
  if (!starts || !ends) throw graph.damaged("needs starts and ends");
  const rank = rankOf(value);
  const axes = graph.ints("axes", 3) ?? starts.map((_, i) => i);
  const steps = graph.ints("steps", 4) ?? starts.map(() => 1);
  axes.forEach((given, i) => {
    const axis = graph.axis(given, rank);
    const step = steps[i];
    if (!step) throw graph.damaged("a step of 0");
    // Everything of an axis, of whatever length.
    if (step === 1 && starts[i] === 0 && ends[i] >= 2 ** 31 - 1) return;
    const cut =
      reverses(graph, value, axis, starts[i], ends[i], step) ?? cuts(graph, value, axis, starts[i], ends[i], step);
    if (cut) {
      value = cut;
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

export function gather(graph: Graph) {
  const table = graph.settle(graph.input(0));
  const index = graph.input(1);
  const rank = rankOf(table);
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
    const all = taken(graph, table, axis, positions(table.shape[axis]), false);
    graph.set(0, { ...all, shape: [...table.shape.slice(0, axis), ...index.shape, ...table.shape.slice(axis + 1)] });
    return;
  }
  graph.set(0, choose(graph, table, axis, positions, index.shape.length === 0));
}

export function split(graph: Graph) {
  const value = graph.settle(graph.input(0));
  const rank = rankOf(value);
  const axis = graph.axis(graph.int("axis", 0), rank);
  const parts = graph.node.outputs.length;
  const length = isKnown(value) ? value.shape[axis] : value.kind === "data" ? sizeOf(value.axes[axis]) : null;
  if (length === null) throw graph.unsupported(`splits ${describe(value)}`, "the axis must have a known size");
  const size = Math.ceil(length / parts);
  const sizes =
    graph.ints("split", 1) ?? Array.from({ length: parts }, (_, i) => Math.min(size, Math.max(0, length - i * size)));
  if (length > MOST) throw graph.unsupported(`splits ${length} positions`, `expected at most ${MOST}`);
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
