import type { OnnxNode } from "../proto.ts";
import { besideOneAnother, merged } from "./arithmetic.ts";
import { describe, type Graph } from "./graph.ts";
import { squeezed, unsqueezed } from "./moves.ts";
import type { Operator } from "./open.ts";
import { type Data, isFeatures, rankOf, type Size, type Stack, sizeOf, type Value } from "./values.ts";

/** Last states of several layers as one tensor, [layers · directions, batch, units] or with these axes in another order. */

export function transposedStack(stack: Stack, perm: readonly number[]): Stack {
  const parts = stack.parts.map((part) => ({ ...part, axes: perm.map((p) => part.axes[p]) }));
  return { ...stack, axis: perm.indexOf(stack.axis), parts };
}

/**
 * [layers · directions, ...] as [layers, directions, ...], or [batch, layers ·
 * directions, units] as [batch, all units].
 *
 * @returns undefined for other shapes
 */
export function reshapedStack(graph: Graph, value: Stack, target: readonly Size[]): Value | undefined {
  const { parts, axis } = value;
  const rank = rankOf(value);
  const [n, D] = [target[axis], target[axis + 1]];
  const fits = parts.every((part) => sizeOf(part.axes[axis]) === D);
  if (target.length === rank + 1 && (n === parts.length || n === -1) && fits)
    return { ...value, parts: parts.map((part) => unsqueezed(graph, part, [axis]) as typeof part) };
  if (target.length !== 2 || rank !== 3 || axis !== 1) return undefined;
  const data = parts.map((part): Data => {
    if (part.kind !== "data") throw graph.unsupported(`joins ${describe(part)}`, "expected states of layers");
    const columns = part.axes.slice(1).flatMap((own) => own.filter(({ role }) => role !== "one"));
    return { ...part, axes: [part.axes[0], columns] };
  });
  if (!data.every((part) => isFeatures(part, part.axes[1]))) return undefined;
  const size = data.reduce((sum, part) => sum + graph.columns(part), 0);
  const [batch, all] = target;
  const known = (entry: Size, own: number | null) =>
    entry === null || entry === -1 || entry === own || typeof entry !== "number";
  if (!known(all, size) || !known(batch, sizeOf(data[0].axes[0]))) return undefined;
  return besideOneAnother(graph, data);
}

/** The mean of states of layers. */
export function meanOfStack(graph: Graph, value: Stack, given: number): Data {
  const axis = graph.axis(given, rankOf(value));
  const data = value.parts.map((part): Data => {
    if (part.kind !== "data" || axis !== value.axis || sizeOf(part.axes[axis]) !== 1)
      throw graph.unsupported(`a mean over axis ${axis} of ${describe(value)}`, "expected that of layers");
    return squeezed(graph, part, [axis]) as Data;
  });
  const made = merged(graph, "average", data);
  return graph.int("keepdims", 1) === 1 ? (unsqueezed(graph, made, [axis]) as Data) : made;
}

/** Operators that do the same to each tensor of a stack as to the stack, with the axis of an attribute in another place. */
const ALIKE = ["MatMul", "Add", "Sub", "Mul", "Div", "Tanh", "Relu", "Sigmoid", "Dropout", "Concat", "Gather"];

/** An operator on last states of several layers, one after the other: on each of them. */
export function onStacks(graph: Graph, node: OnnxNode, operator: Operator) {
  const stacks = node.inputs.map((_, i) => graph.optional(i)).filter((value) => value?.kind === "stack");
  const [first] = stacks;
  const n = first?.parts.length ?? 0;
  const axis = first ? node.attributes.get("axis")?.i : undefined;
  const along = axis !== undefined && graph.axis(axis, rankOf(first!)) <= first!.axis;
  if (
    !first ||
    !ALIKE.includes(node.type) ||
    along ||
    stacks.some((s) => s.axis !== first.axis || s.parts.length !== n)
  )
    return operator(graph);
  const names = node.inputs.map((name, i) => (graph.optional(i)?.kind === "stack" ? name : undefined));
  const parts = Array.from({ length: n }, (_, k) => {
    // Names that no file can have, so that nothing else reads them.
    const own = (name: string) => `\0${name} ${k}`;
    names.forEach((name, i) => {
      const value = graph.optional(i);
      if (name !== undefined && value?.kind === "stack") graph.values.set(own(name), value.parts[k]);
    });
    graph.node = {
      ...node,
      inputs: node.inputs.map((name, i) => (names[i] === undefined ? name : own(name))),
      outputs: node.outputs.map((name) => (name ? own(name) : name)),
    };
    operator(graph);
    const made = graph.values.get(own(node.outputs[0]));
    graph.node = node;
    if (made?.kind !== "data") throw graph.unsupported("works on states of layers", "expected one tensor for each");
    return made;
  });
  graph.set(0, { ...first, parts });
}
