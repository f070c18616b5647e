import { count } from "../../../core/tensor.ts";
import { TYPE } from "../proto.ts";
import { describe, type Graph } from "./graph.ts";
import { concat, repeat } from "./joins.ts";
import { MOST, permuted, range } from "./known.ts";
import { gather, reverseSequence, slice, split } from "./parts.ts";
import { reshaped } from "./reshape.ts";
import { reshapedStack, transposedStack } from "./stacks.ts";
import {
  Axis,
  constant,
  type Ints,
  isArranged,
  isKnown,
  lengthOf,
  type MergedAxis,
  Product,
  rankOf,
  type Size,
  sizeOf,
  times,
  type Value,
} from "./values.ts";

/**
 * Operators that move numbers and change none, and those that compute with
 * shapes. On data they only move axes; what gruvy has to do for them, such as
 * to choose some of the features, is said by layers.
 */

/** A new shape for values whose numbers are known, or that have none. */
function withShape(graph: Graph, value: Value, target: readonly Size[], allowZero = false): Value {
  if (isKnown(value)) {
    const n = lengthOf(value);
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
  if (isArranged(value)) {
    const features = value.kind === "data" ? value.features : [];
    const result = reshaped({ axes: value.axes, features }, target, allowZero);
    if (!result)
      throw graph.unsupported(
        `${describe(value)} into [${target.map(sizeText).join(", ")}]`,
        "only whole axes can be merged, and only features taken apart",
      );
    return value.kind === "data" ? { ...value, ...result } : { ...value, axes: result.axes };
  }
  if (value.kind === "stack") {
    const made = reshapedStack(graph, value, target);
    if (made) return made;
  }
  throw graph.unsupported(`reshapes ${describe(value)}`, "expected data");
}

function sizeText(size: Size): string {
  if (size instanceof Axis) return size.role ?? "?";
  return size instanceof Product ? `${size.factor}·${size.axes.map(sizeText).join("·")}` : `${size ?? "?"}`;
}

/** Without axes of size 1: those said, or all. */
export function squeezed(graph: Graph, value: Value, axes: readonly number[] | undefined): Value {
  const rank = rankOf(value);
  if (isArranged(value)) {
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

export function unsqueezed(graph: Graph, value: Value, axes: readonly number[]): Value {
  const rank = rankOf(value) + axes.length;
  const places = new Set(axes.map((axis) => graph.axis(axis, rank)));
  const spread = <A>(old: readonly A[], fresh: () => A): A[] => {
    let next = 0;
    return Array.from({ length: rank }, (_, i) => (places.has(i) ? fresh() : old[next++]));
  };
  if (isArranged(value)) return { ...value, axes: spread<MergedAxis>(value.axes, () => [new Axis(1, "one")]) };
  if (isKnown(value)) return { ...value, shape: spread(value.shape, () => 1) };
  if (value.kind === "fill") return { ...value, rank };
  throw graph.unsupported(`unsqueezes ${describe(value)}`, "expected data");
}

/** Moves, by operator. */
export const MOVES: Readonly<Record<string, (graph: Graph) => void>> = {
  Identity: (graph) => graph.set(0, graph.input(0)),
  Cast(graph) {
    const value = graph.input(0);
    const to = graph.int("to", TYPE.float);
    const floats = to === TYPE.float || to === TYPE.float16 || to === TYPE.bfloat16 || to === TYPE.double;
    if (value.kind === "floats" && !floats) {
      const bool = to === TYPE.bool;
      const data = Float64Array.from(value.data, (v) => (bool ? Number(v !== 0) : Math.trunc(v)));
      return graph.set(0, constant({ shape: value.shape, type: to, data }));
    }
    if (value.kind === "ints" && floats && value.entries.every((e) => typeof e === "number"))
      return graph.set(0, { kind: "floats", shape: value.shape, data: Float32Array.from(value.entries as number[]) });
    if (value.kind === "ints" && to === TYPE.bool)
      return graph.set(0, {
        ...value,
        type: to,
        entries: value.entries.map((e) => (typeof e === "number" ? Number(e !== 0) : e)),
      });
    if (value.kind === "ints" && !floats) return graph.set(0, { ...value, type: to });
    if ((value.kind === "data" || value.kind === "curve") && !floats && (value.kind === "curve" || value.node >= 0))
      throw graph.unsupported("makes whole numbers of data", "expected those of an input");
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
    const data = floats === undefined ? Float64Array.from(list) : Float32Array.from(list);
    graph.set(0, constant({ shape, type: floats === undefined ? TYPE.int64 : TYPE.float, data }));
  },
  Transpose(graph) {
    const value = graph.settle(graph.input(0));
    const rank = rankOf(value);
    const given = graph.node.attributes.get("perm")?.ints;
    const perm = given?.length ? given : Array.from({ length: rank }, (_, i) => rank - 1 - i);
    if (perm.length !== rank || [...perm].sort((a, b) => a - b).some((p, i) => p !== i))
      throw graph.damaged(`perm [${perm}]`);
    if (isKnown(value)) return graph.set(0, permuted(value, perm));
    if (isArranged(value)) return graph.set(0, { ...value, axes: perm.map((p) => value.axes[p]) });
    if (value.kind === "fill") return graph.set(0, value);
    if (value.kind === "stack") return graph.set(0, transposedStack(value, perm));
    throw graph.unsupported(`transposes ${describe(value)}`, "expected data");
  },
  Squeeze: (graph) => graph.set(0, squeezed(graph, graph.settle(graph.input(0)), graph.ints("axes", 1))),
  Unsqueeze: (graph) => graph.set(0, unsqueezed(graph, graph.settle(graph.input(0)), graph.ints("axes", 1) ?? [])),
  Reshape(graph) {
    const shape = graph.input(1);
    if (shape.kind !== "ints") throw graph.unsupported(`a shape that is ${describe(shape)}`, "expected whole numbers");
    graph.set(0, withShape(graph, graph.settle(graph.input(0)), shape.entries, graph.int("allowzero", 0) === 1));
  },
  Flatten(graph) {
    const value = graph.settle(graph.input(0));
    const rank = rankOf(value);
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
    const flat = value.kind === "stack" && at === 1 ? reshapedStack(graph, value, [-1, null]) : undefined;
    if (flat) return graph.set(0, flat);
    if (!isKnown(value)) throw graph.unsupported(`flattens ${describe(value)}`, "expected data");
    graph.set(0, { ...value, shape: [count(value.shape.slice(0, at)), count(value.shape.slice(at))] });
  },
  Slice: slice,
  Gather: gather,
  Split: split,
  ReverseSequence: reverseSequence,
  Concat: concat,
  Expand: (graph) => repeat(graph, "to"),
  Tile: (graph) => repeat(graph, "by"),
  Shape(graph) {
    const value = graph.input(0);
    let entries: Size[];
    if ("axes" in value) entries = value.axes.map((axis) => axis.reduce<Size>(times, 1));
    else if (isKnown(value)) entries = [...value.shape];
    else entries = Array.from({ length: rankOf(value) }, () => null);
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
export function intArithmetic(
  f: (a: number, b: number) => number,
  otherwise: (a: Size, b: Size) => Size = () => null,
): (graph: Graph, a: Ints, b: Ints) => void {
  return (graph, a, b) => {
    const n = Math.max(a.entries.length, b.entries.length);
    const at = ({ entries }: Ints, i: number) => entries[entries.length === 1 ? 0 : i];
    const entries = Array.from({ length: n }, (_, i): Size => {
      const [x, y] = [at(a, i), at(b, i)];
      return typeof x === "number" && typeof y === "number" ? f(x, y) : otherwise(x, y);
    });
    const longer = a.entries.length === n && a.shape.length >= b.shape.length ? a : b;
    graph.set(0, { kind: "ints", shape: longer.shape, entries });
  };
}
