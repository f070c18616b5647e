import { count } from "../../../core/tensor.ts";
import { besideOneAnother } from "./arithmetic.ts";
import { describe, type Graph } from "./graph.ts";
import { permuted } from "./known.ts";
import { isLinear } from "./open.ts";
import { beside } from "./scores.ts";
import { joinSteps, unrolled } from "./unrolled.ts";
import {
  Axis,
  type Data,
  type Fill,
  type Floats,
  type Ints,
  isKnown,
  lengthOf,
  type MergedAxis,
  type Part,
  rankOf,
  type Size,
  sizeOf,
  type Value,
} from "./values.ts";

/** Operators that put tensors together, and repeat them. */

export function concat(graph: Graph) {
  const rank = rankOf(graph.input(0));
  const axis = graph.axis(graph.int("axis", 0), rank);
  const values = graph.node.inputs.map((_, i) => {
    const value = graph.input(i);
    if (rankOf(value) !== rank) throw graph.damaged(`joins ${describe(graph.input(0))} and ${describe(value)}`);
    return value.kind === "data" && value.node < 0 && axis === graph.featuresAt(value)
      ? graph.withFeatures(value)
      : value;
  });
  graph.set(0, joined(graph, values, axis, rank));
}

function joined(graph: Graph, values: readonly Value[], axis: number, rank: number): Value {
  graph.checkCopies(values.reduce((sum, v) => sum + (isKnown(v) ? lengthOf(v) : 0), 0));
  if (values.every((v): v is Ints => v.kind === "ints") && rank === 1) {
    const entries = values.flatMap((v) => v.entries);
    return { kind: "ints", shape: [entries.length], entries };
  }
  if (values.every((v): v is Floats => v.kind === "floats")) return joinedNumbers(graph, values, axis, rank);
  if (values.every((v) => v.kind === "fill" && v.value === (values[0] as Fill).value)) return values[0];
  const stacked = values.flatMap((v): readonly Value[] => (v.kind === "stack" && v.axis === axis ? v.parts : [v]));
  const isFeature = (v: Value) => v.kind === "data" && v.axes[axis].includes(v.features[v.features.length - 1]);
  // States stand one after the other along layers and directions, not along the batch.
  const apart = (v: Value): v is Data | Part =>
    v.kind === "part" ||
    (v.kind === "data" && !isFeature(v) && v.axes[axis].every((own) => own.size === 1 || v.features.includes(own)));
  const states =
    graph.isState(graph.node.outputs[0]) || stacked.some((v) => v.kind === "part" || (v.kind === "data" && v.state));
  if (states && stacked.every(apart)) return { kind: "stack", axis, parts: stacked };
  const known = together(graph, values, axis) ?? beside(graph, values, axis);
  if (known) return known;
  const data = values.map((value) => {
    const v = graph.settle(value);
    if (v.kind !== "data") throw graph.unsupported(`joins ${describe(v)}`, "expected data");
    return v;
  });
  if (data.every(isFeature)) return besideOneAnother(graph, data);
  return unrolled(graph, data, axis) ?? joinSteps(graph, data, axis);
}

function joinedNumbers(graph: Graph, values: readonly Floats[], axis: number, rank: number): Floats {
  const parts = values.map((v) => permuted(v, order(axis, rank)) as Floats);
  const shape = [parts.reduce((sum, p) => sum + p.shape[0], 0), ...parts[0].shape.slice(1)];
  const data = new Float32Array(parts.reduce((sum, p) => sum + p.data.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  if (count(shape) !== data.length) throw graph.damaged("tensors that do not fit beside one another");
  return permuted({ kind: "floats", shape, data }, order(axis, rank)) as Floats;
}

/** Parts of the same data that are all of it, in its order: both directions of a last state. */
function together(graph: Graph, values: readonly Value[], axis: number): Data | undefined {
  const picks = values.map((v) => {
    const made = v.kind === "data" ? graph.nodes[v.node] : undefined;
    return made && isLinear(made.config) ? made.pick : undefined;
  });
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

/** Whether axes of size 1 alone are repeated. */
function onlyOnes(shape: readonly number[], by: readonly Size[], how: "to" | "by"): boolean {
  return (
    by.length === shape.length &&
    by.every((size, i) => shape[i] === 1 || size === 1 || (how === "to" && size === shape[i]))
  );
}

/** Expand and Tile. */
export function repeat(graph: Graph, how: "to" | "by") {
  const value = graph.input(0);
  const given = graph.input(1);
  if (given.kind !== "ints") throw graph.unsupported(`a shape that is ${describe(given)}`, "expected whole numbers");
  const rank = Math.max(given.entries.length, rankOf(value));
  if (value.kind === "fill") return graph.set(0, { ...value, rank });
  if (value.kind === "floats" && value.data.length > 0 && value.data.every((v) => v === value.data[0]))
    return graph.set(0, { kind: "fill", value: value.data[0], rank });
  // One whole number is as good as many of it.
  if (value.kind === "ints" && value.entries.length === 1) return graph.set(0, value);
  // Numbers of size 1 along an axis are those of every position anyway.
  if (value.kind === "floats" && rank === value.shape.length && onlyOnes(value.shape, given.entries, how))
    return graph.set(0, value);
  if (value.kind === "data" && rank === value.axes.length && given.entries.length === rank) {
    const axes = value.axes.map((own, i): MergedAxis => {
      const size = given.entries[i];
      const same = size === 1 || (how === "to" && own.length === 1 && (size === own[0] || size === own[0].size));
      if (same) return own;
      if (sizeOf(own) !== 1 || !(size instanceof Axis || typeof size === "number")) return [];
      return [size instanceof Axis ? size : new Axis(size)];
    });
    const wide = axes.filter((own, i) => own !== value.axes[i]);
    if (wide.length === 0) return graph.set(0, value);
    if (wide.length === 1 && wide[0].length) return graph.set(0, { kind: "repeated", of: value, axes });
  }
  throw graph.unsupported(
    `repeats ${describe(value)}`,
    "one number can be repeated, as in a state of zeros, or a vector for every step, as in an attention",
  );
}
