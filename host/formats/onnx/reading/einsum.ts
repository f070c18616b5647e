import type { Tensor } from "../../../core/tensor.ts";
import { count } from "../../../core/tensor.ts";
import { describe, type Graph } from "./graph.ts";
import { permuted } from "./known.ts";
import { matMul } from "./scores.ts";
import { Axis, type Data, type Floats, isArranged, type MergedAxis, type Scores, single } from "./values.ts";

/** Einsum of two tensors, where it is a product with a matrix, or one of queries with keys or of weights with values. */

/** @param dense a product of rows with a matrix */
export function einsum(graph: Graph, dense: (data: Data, kernel: Tensor) => Data) {
  const equation = (graph.node.attributes.get("equation")?.s ?? "").replaceAll(" ", "");
  const [, first, second, result] = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]*)$/.exec(equation) ?? [];
  const refused = graph.unsupported(
    `the sum "${equation.slice(0, 40)}"`,
    "expected that of two tensors, as a product of matrices",
  );
  const twice = (letters: string) => new Set(letters).size !== letters.length;
  if (first === undefined || graph.node.inputs.length !== 2 || [first, second, result].some(twice)) throw refused;
  const [a, b] = [graph.settle(graph.input(0)), graph.settle(graph.input(1))];
  for (const [value, letters] of [
    [a, first],
    [b, second],
  ] as const)
    if ((value.kind === "floats" ? value.shape : isArranged(value) ? value.axes : []).length !== letters.length)
      throw refused;
  if (isArranged(a) && a.kind !== "part" && isArranged(b) && b.kind !== "part")
    return graph.set(0, ofData(graph, a, first, b, second, result));
  if (a.kind === "data" && b.kind === "floats")
    return graph.set(0, withNumbers(graph, a, first, b, second, result, dense));
  if (a.kind === "floats" && b.kind === "data")
    return graph.set(0, withNumbers(graph, b, second, a, first, result, dense));
  throw graph.unsupported(`${describe(a)} with ${describe(b)}`, "expected data");
}

const inOrder = (letters: string, from: string): number[] => [...letters].map((letter) => from.indexOf(letter));

/** A sum over letters of both: the columns of the data, with what the numbers have besides as new ones. */
function withNumbers(
  graph: Graph,
  data: Data,
  own: string,
  { shape, data: numbers }: Floats,
  other: string,
  result: string,
  dense: (data: Data, kernel: Tensor) => Data,
): Data {
  const summed = [...own].filter((letter) => other.includes(letter)).join("");
  const fresh = [...other].filter((letter) => !own.includes(letter)).join("");
  const rows = [...own].filter((letter) => !other.includes(letter)).join("");
  const ordered = [...result].filter((letter) => !fresh.includes(letter)).join("");
  if (!summed || !fresh || [...summed].some((letter) => result.includes(letter)) || ordered.length !== rows.length)
    throw graph.unsupported(`the sum "${own},${other}->${result}"`, "expected a product with a matrix");
  const kernel = permuted({ kind: "floats", shape, data: numbers }, inOrder(summed + fresh, other)) as Floats;
  const sizes = kernel.shape.slice(summed.length);
  const [I, N] = [count(kernel.shape.slice(0, summed.length)), count(sizes)];
  const axes = inOrder(rows, own).map((at) => data.axes[at]);
  const columns = inOrder(summed, own).flatMap((at) => data.axes[at]);
  const made = dense({ ...data, axes: [...axes, columns] }, { shape: [I, N], data: kernel.data });
  // New columns as axes of their own.
  const features = sizes.length > 1 ? sizes.map((size) => new Axis(size, "features")) : made.features;
  const all = new Map<string, MergedAxis>();
  [...rows].forEach((letter, i) => {
    all.set(letter, made.axes[i]);
  });
  [...fresh].forEach((letter, i) => {
    all.set(letter, single(features[i]));
  });
  if ([...result].some((letter) => !all.has(letter)) || all.size !== result.length)
    throw graph.unsupported(`the sum "${own},${other}->${result}"`, "expected all of its letters");
  return { ...made, features, axes: [...result].map((letter) => all.get(letter)!) };
}

/** A sum over one letter of both, with at most one letter more in each. */
function ofData(
  graph: Graph,
  a: Data | Scores,
  first: string,
  b: Data | Scores,
  second: string,
  result: string,
): Data | Scores {
  const common = [...first].filter((letter) => second.includes(letter));
  const [summed, ...others] = common.filter((letter) => !result.includes(letter));
  const batch = common.filter((letter) => result.includes(letter)).join("");
  const [left, ...left2] = [...first].filter((letter) => !second.includes(letter));
  const [right, ...right2] = [...second].filter((letter) => !first.includes(letter));
  if (
    !summed ||
    others.length ||
    left2.length ||
    right2.length ||
    !batch ||
    result.length !== batch.length + Number(!!left) + Number(!!right)
  )
    throw graph.unsupported(`the sum "${first},${second}->${result}"`, "expected a product of matrices");
  const one = single(new Axis(1, "one"));
  const turned = <V extends Data | Scores>(value: V, letters: string, order: (string | undefined)[]): V => ({
    ...value,
    axes: [
      ...inOrder(batch, letters).map((at) => value.axes[at]),
      ...order.map((letter) => (letter ? value.axes[letters.indexOf(letter)] : one)),
    ],
  });
  const made = matMul(graph, turned(a, first, [left, summed]), turned(b, second, [summed, right]));
  if (made.kind !== "data" && made.kind !== "scores")
    throw graph.unsupported(`${describe(a)} with ${describe(b)}`, "expected data");
  const at = (letter: string) =>
    letter === left ? batch.length : letter === right ? batch.length + 1 : batch.indexOf(letter);
  return { ...made, axes: [...result].map((letter) => made.axes[at(letter)]) };
}
