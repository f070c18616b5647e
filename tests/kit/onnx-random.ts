import { random } from "../../host/core/random.ts";
import { uniform } from "./core.ts";
import type { NodeOf, NumbersOf } from "./onnx.ts";

/** Graphs of ONNX's operators at random, whose sizes fit each other, from x [batch, time, features] to y. */

/** All orders of so many axes. */
export function permutations(n: number): number[][] {
  if (n === 0) return [[]];
  return permutations(n - 1).flatMap((order) =>
    Array.from({ length: n }, (_, i) => [...order.slice(0, i), n - 1, ...order.slice(i)]),
  );
}

/** A tensor with its axes in another order. */
export function permuted(data: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  const strides = shape.map((_, axis) => product(shape.slice(axis + 1)));
  return data.map((_, i) => {
    let at = 0;
    for (let k = order.length - 1, rest = i; k >= 0; k--) {
      at += (rest % shape[order[k]]) * strides[order[k]];
      rest = Math.floor(rest / shape[order[k]]);
    }
    return data[at];
  });
}

const product = (sizes: readonly number[]) => sizes.reduce((all, n) => all * n, 1);

interface Made {
  readonly name: string;
  readonly shape: readonly number[];
}

export class RandomGraph {
  readonly nodes: NodeOf[] = [];
  readonly numbers: Record<string, NumbersOf[string]> = {};
  readonly sizes: readonly number[];
  /** The file says how many steps x has. */
  readonly fixed: boolean;
  private readonly made: Made[];
  private readonly next: () => number;

  constructor(seed: number) {
    const stream = random(seed, "graph");
    this.next = () => stream.uint32();
    this.sizes = [this.pick([2, 3, 5]), this.pick([3, 4, 5, 7]), this.pick([3, 4, 5, 6])];
    this.fixed = this.below(2) === 0;
    this.made = [{ name: "x", shape: this.sizes }];
    for (let left = 1 + this.below(9); left > 0; left--) {
      const last = this.made[this.made.length - 1];
      const of = this.below(4) ? last : this.pick(this.made);
      if (of.shape.length > 0) this.pick(OPERATORS)(this, of, this.below(of.shape.length));
    }
    const output = this.made.length > 1 ? this.made[this.made.length - 1].name : this.put("Relu", ["x"], this.sizes);
    const named = (name: string) => (name === output ? "y" : name);
    this.nodes = this.nodes.map(([type, inputs, outputs, attributes]) => [
      type,
      inputs.map(named),
      outputs.map(named),
      attributes,
    ]);
  }

  below(n: number): number {
    return this.next() % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  /** Other tensors that fit. */
  others(fits: (shape: readonly number[]) => boolean): Made[] {
    return this.made.filter(({ shape }) => fits(shape));
  }
  floats(...shape: number[]): string {
    return this.known([shape, uniform(product(shape), this.next())]);
  }
  ints(...list: number[]): string {
    return this.known([[list.length], list]);
  }
  index(at: number): string {
    return this.known([[], [at]]);
  }
  private known(numbers: NumbersOf[string]): string {
    const name = `c${Object.keys(this.numbers).length}`;
    this.numbers[name] = numbers;
    return name;
  }
  put(type: string, inputs: string[], shape: readonly number[], attributes?: NodeOf[3]): string {
    return this.several(type, inputs, [shape], attributes)[0];
  }
  several(type: string, inputs: string[], shapes: readonly (readonly number[])[], attributes?: NodeOf[3]): string[] {
    const names = shapes.map((_, i) => `v${this.made.length + i}`);
    this.nodes.push([type, inputs, names, attributes]);
    shapes.forEach((shape, i) => {
      this.made.push({ name: names[i], shape });
    });
    return names;
  }
}

type Put = (graph: RandomGraph, of: Made, axis: number) => void;

const replaced = (shape: readonly number[], axis: number, ...by: number[]) => shape.toSpliced(axis, 1, ...by);

const function_: Put = (g, { name, shape }) =>
  g.put(g.pick(["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Softsign", "Elu"]), [name], shape);
const transpose: Put = (g, { name, shape }) => {
  const perm = g.pick(permutations(shape.length));
  g.put("Transpose", [name], perm.map((axis) => shape[axis]), { perm });
}; // biome-ignore format: short
const matMul: Put = (g, { name, shape }) => {
  const [N, last] = [2 + g.below(4), shape.length - 1];
  g.put("MatMul", [name, g.floats(shape[last], N)], replaced(shape, last, N));
};
const withNumbers: Put = (g, { name, shape }) => {
  const numbers = g.floats(...shape.map((n) => (g.below(3) ? 1 : n)).slice(g.below(shape.length + 1)));
  const type = g.pick(["Add", "Mul", "Sub", "Div", "Max", "Min"]);
  g.put(type, type === "Div" || g.below(2) ? [name, numbers] : [numbers, name], shape);
};
const together: Put = (g, { name, shape }) => {
  const other = g.pick(g.others((own) => own.length === shape.length && own.every((n, i) => n === shape[i])));
  g.put(g.pick(["Add", "Mul", "Sub", "Max", "Min"]), [name, other.name], shape);
};
const concat: Put = (g, { name, shape }, axis) => {
  const fits = (own: readonly number[]) => own.length === shape.length && own.every((n, i) => i === axis || n === shape[i]);
  const other = g.pick(g.others(fits));
  g.put("Concat", [name, other.name], replaced(shape, axis, shape[axis] + other.shape[axis]), { axis });
}; // biome-ignore format: short
const gather: Put = (g, { name, shape }, axis) => {
  const list = Array.from({ length: 1 + g.below(3) }, () => g.below(shape[axis]));
  if (g.below(2)) g.put("Gather", [name, g.index(list[0])], replaced(shape, axis), { axis });
  else g.put("Gather", [name, g.ints(...list)], replaced(shape, axis, list.length), { axis });
};
const slice: Put = (g, { name, shape }, axis) => {
  const from = g.below(shape[axis]);
  const to = from + 1 + g.below(shape[axis] - from);
  g.put("Slice", [name, g.ints(from), g.ints(to), g.ints(axis)], replaced(shape, axis, to - from));
};
const split: Put = (g, { name, shape }, axis) => {
  if (shape[axis] < 2) return;
  const first = 1 + g.below(shape[axis] - 1);
  const sizes = [first, shape[axis] - first];
  g.several("Split", [name, g.ints(...sizes)], sizes.map((n) => replaced(shape, axis, n)), { axis });
}; // biome-ignore format: short
const reduce: Put = (g, { name, shape }, axis) => {
  const keepdims = g.below(2);
  const made = keepdims ? replaced(shape, axis, 1) : replaced(shape, axis);
  g.put(g.pick(["ReduceMean", "ReduceMax", "ReduceMin"]), [name], made, { axes: [axis], keepdims });
};
const merge: Put = (g, { name, shape }, axis) => {
  if (axis + 1 >= shape.length) return;
  const target = shape.toSpliced(axis, 2, -1).map((n, i) => (i < axis ? 0 : n));
  g.put("Reshape", [name, g.ints(...target)], shape.toSpliced(axis, 2, shape[axis] * shape[axis + 1]));
};
const takeApart: Put = (g, { name, shape }, axis) => {
  if (shape[axis] % 2 || shape.length > 3) return;
  const made = replaced(shape, axis, 2, shape[axis] / 2);
  g.put("Reshape", [name, g.ints(...made.map((n, i) => (i < axis ? 0 : n)))], made);
};
const flatten: Put = (g, { name, shape }, axis) =>
  g.put("Flatten", [name], [product(shape.slice(0, axis)), product(shape.slice(axis))], { axis });
const squeeze: Put = (g, { name, shape }, axis) =>
  shape[axis] === 1
    ? g.put("Squeeze", [name, g.ints(axis)], replaced(shape, axis))
    : shape.length < 4 && g.put("Unsqueeze", [name, g.ints(axis)], shape.toSpliced(axis, 0, 1));
const pad: Put = (g, { name, shape }, axis) => {
  const [before, after] = [g.below(3), g.below(2)];
  const pads = [before, after].flatMap((n) => shape.map((_, i) => (i === axis ? n : 0)));
  g.put("Pad", [name, g.ints(...pads)], replaced(shape, axis, shape[axis] + before + after));
};
const softmax: Put = (g, { name, shape }, axis) => g.put("Softmax", [name], shape, { axis });
const conv: Put = (g, { name, shape }) => {
  const [B, I, T] = shape;
  if (shape.length !== 3 || T < 2) return;
  const N = 2 + g.below(3);
  g.put("Conv", [name, g.floats(N, I, 2), g.floats(N)], [B, N, T - 1], { kernel_shape: [2] });
};
const gru: Put = (g, { name, shape: [T, B, I, ...more] }) => {
  if (I === undefined || more.length) return;
  const direction = g.pick(["forward", "reverse", "bidirectional"]);
  const [H, D] = [2 + g.below(2), direction === "bidirectional" ? 2 : 1];
  const weights = [g.floats(D, 3 * H, I), g.floats(D, 3 * H, H), g.floats(D, 6 * H)];
  const shapes = [[T, D, B, H], [D, B, H]]; // biome-ignore format: short
  g.several("GRU", [name, ...weights], shapes, { hidden_size: H, direction, linear_before_reset: g.below(2) });
};

const OPERATORS: readonly Put[] = [
  ...[function_, function_, transpose, transpose, matMul, matMul, withNumbers, withNumbers, together, concat],
  ...[gather, slice, split, reduce, merge, takeApart, flatten, squeeze, squeeze, pad, softmax, conv, gru],
];
