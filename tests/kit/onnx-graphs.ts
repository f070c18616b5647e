import { uniform } from "./core.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "./onnx.ts";

/** Graphs as exporters and optimisers write them, from x [batch, 7, 4] to y. */

const [T, F, N] = [7, 4, 5];
const GRU: NumbersOf = {
  W: [[1, 3 * F, F], uniform(3 * F * F, 1)],
  R: [[1, 3 * F, F], uniform(3 * F * F, 2)],
  b: [[1, 6 * F], uniform(6 * F, 3)],
};
const scalar = (value: number): [number[], Float32Array] => [[], Float32Array.of(value)];
const list = (...values: number[]): [number[], number[]] => [[values.length], values];

/** y = GRU(x), [batch, time, F], to begin with. */
const gru = (x: string, y: string): NodeOf[] => [
  ["Transpose", [x], [`${y}_t`], { perm: [1, 0, 2] }],
  ["GRU", [`${y}_t`, "W", "R", "b"], [`${y}_d`], { hidden_size: F, linear_before_reset: 1 }],
  ["Squeeze", [`${y}_d`, "axis1"], [`${y}_s`]],
  ["Transpose", [`${y}_s`], [y], { perm: [1, 0, 2] }],
];
export const NUMBERS: NumbersOf = {
  ...GRU,
  K: [[F, F], uniform(F * F, 4)],
  gamma: [[F], uniform(F, 5)],
  beta: [[F], uniform(F, 6)],
  epsilon: scalar(1e-3),
  one: scalar(1),
  two: scalar(2),
  half: scalar(0.5),
  "-half": scalar(-0.5),
  tenth: scalar(0.1),
  root2: scalar(Math.SQRT2),
  three: scalar(3),
  six: scalar(6),
  zero: scalar(0),
  axis0: list(0),
  axis1: list(1),
  axis2: list(2),
  "axis-1": list(-1),
  end: list(2 ** 40),
};

/** A product, so that there is something to be a function of. */
const MAP: NodeOf = ["MatMul", ["x", "K"], ["m"]];
/** μ, x - μ and the variance of m, ε added. */
const MOMENTS: NodeOf[] = [
  MAP,
  ["ReduceMean", ["m"], ["mean"], { axes: [-1] }],
  ["Sub", ["m", "mean"], ["c"]],
  ["Mul", ["c", "c"], ["cc"]],
  ["ReduceMean", ["cc"], ["v"], { axes: [-1] }],
  ["Add", ["epsilon", "v"], ["ve"]],
];
const INVERSE: NodeOf[] = [
  ["Sqrt", ["ve"], ["s"]],
  ["Reciprocal", ["s"], ["i"]],
];
const channels: NodeOf = ["Transpose", ["x"], ["t"], { perm: [0, 2, 1] }];
const back: NodeOf = ["Transpose", ["u"], ["y"], { perm: [0, 2, 1] }];
const kernel = (...shape: number[]): [number[], Float32Array] => [
  shape,
  uniform(
    shape.reduce((a, b) => a * b, 1),
    7,
  ),
];

interface Graph {
  readonly nodes: readonly NodeOf[];
  readonly numbers?: NumbersOf;
  /** The file says how many steps there are. */
  readonly fixed?: boolean;
  readonly opset?: number;
  /** Of the output. */
  readonly rank?: number;
}

export const GRAPHS: Readonly<Record<string, Graph>> = {
  // Layer normalisation.
  "normalised, divided by √": { nodes: [...MOMENTS, ["Sqrt", ["ve"], ["s"]], ["Div", ["c", "s"], ["d"]], ["Mul", ["gamma", "d"], ["g"]], ["Add", ["g", "beta"], ["y"]]] },
  "normalised, multiplied by 1/√": { nodes: [...MOMENTS, ...INVERSE, ["Mul", ["i", "gamma"], ["ig"]], ["Mul", ["c", "ig"], ["g"]], ["Add", ["g", "beta"], ["y"]]] },
  "normalised by a power": { nodes: [...MOMENTS, ["Pow", ["ve", "-half"], ["i"]], ["Mul", ["c", "i"], ["y"]]] },
  "normalised as Keras 2 does": { nodes: [...MOMENTS, ...INVERSE, ["Mul", ["i", "gamma"], ["ig"]], ["Mul", ["m", "ig"], ["a"]], ["Mul", ["mean", "ig"], ["b0"]], ["Sub", ["beta", "b0"], ["r"]], ["Add", ["a", "r"], ["y"]]] },
  "normalised as Keras 3 does": { nodes: [...MOMENTS, ...INVERSE, ["Mul", ["i", "gamma"], ["ig"]], ["Neg", ["mean"], ["-mean"]], ["Mul", ["-mean", "ig"], ["b0"]], ["Add", ["b0", "beta"], ["r"]], ["Mul", ["m", "ig"], ["a"]], ["Add", ["a", "r"], ["y"]]] },
  // Functions.
  "gelu, the half at the end": { nodes: [MAP, ["Div", ["m", "root2"], ["a"]], ["Erf", ["a"], ["e"]], ["Add", ["e", "one"], ["f"]], ["Mul", ["m", "f"], ["g"]], ["Mul", ["g", "half"], ["y"]]] },
  "gelu, the half at the beginning": { nodes: [MAP, ["Mul", ["half", "m"], ["h"]], ["Div", ["m", "root2"], ["a"]], ["Erf", ["a"], ["e"]], ["Add", ["one", "e"], ["f"]], ["Mul", ["f", "h"], ["y"]]] },
  "silu as a quotient": { nodes: [MAP, ["Neg", ["m"], ["n"]], ["Exp", ["n"], ["e"]], ["Add", ["e", "one"], ["f"]], ["Div", ["m", "f"], ["y"]]] },
  "softplus as a logarithm": { nodes: [MAP, ["Exp", ["m"], ["e"]], ["Add", ["e", "one"], ["f"]], ["Log", ["f"], ["y"]]] },
  "softsign as a quotient": { nodes: [MAP, ["Abs", ["m"], ["e"]], ["Add", ["e", "one"], ["f"]], ["Div", ["m", "f"], ["y"]]] },
  "leaky relu as a maximum": { nodes: [MAP, ["Mul", ["m", "tenth"], ["l"]], ["Max", ["m", "l"], ["y"]]] },
  "bounds by Min and Max": { nodes: [MAP, ["Max", ["m", "-half"], ["l"]], ["Min", ["l", "half"], ["y"]]] },
  "hard swish by a Clip": { nodes: [MAP, ["Add", ["m", "three"], ["a"]], ["Clip", ["a", "zero", "six"], ["c"]], ["Div", ["c", "six"], ["d"]], ["Mul", ["m", "d"], ["y"]]] },
  "HardSwish, PRelu": { nodes: [MAP, ["HardSwish", ["m"], ["h"]], ["PRelu", ["h", "gamma"], ["y"]]] },
  "a cube": { nodes: [MAP, ["Pow", ["m", "three"], ["y"]]] },
  "sums and means of three": { nodes: [MAP, ["Tanh", ["m"], ["a"]], ["Sigmoid", ["m"], ["c"]], ["Sum", ["m", "a", "c"], ["s"]], ["Mean", ["s", "a", "m"], ["y"]]] },
  "numbers that are computed": { nodes: [["Div", ["gamma", "three"], ["g"]], ["Sqrt", ["two"], ["s"]], ["Mul", ["g", "s"], ["w"]], MAP, ["Mul", ["m", "w"], ["y"]]] },
  // Parts of features, joined again after a function.
  "halves of features, each its function": { nodes: [...gru("x", "g"), ["Split", ["g", "two2"], ["p", "q"], { axis: -1 }], ["Tanh", ["p"], ["pt"]], ["Mul", ["q", "half"], ["qh"]], ["Concat", ["pt", "qh"], ["y"], { axis: 2 }]], numbers: { two2: list(2, 2) } },
  "the state of one direction through a function": {
    nodes: [
      ["Transpose", ["x"], ["t"], { perm: [1, 0, 2] }],
      ["GRU", ["t", "W2", "R2"], ["", "h"], { hidden_size: F, direction: "bidirectional" }],
      ["Gather", ["h", "zeroth"], ["a"], { axis: 0 }],
      ["Gather", ["h", "first"], ["b1"], { axis: 0 }],
      ["Relu", ["b1"], ["br"]],
      ["Concat", ["a", "br"], ["y"], { axis: 1 }],
    ],
    numbers: { W2: kernel(2, 3 * F, F), R2: kernel(2, 3 * F, F), zeroth: [[], [0]], first: [[], [1]] },
    rank: 2,
  },
  // Steps.
  "without the first steps": { nodes: [["Slice", ["x", "axis2", "end", "axis1"], ["y"]]] },
  "without the last step": { nodes: [...gru("x", "g"), ["Slice", ["g", "axis0", "axis-1", "axis1"], ["y"]]] },
  "turned round and back":
    { nodes: [["Shape", ["x"], ["s"]], ["Slice", ["s", "axis0", "axis1"], ["sb"]], ["Slice", ["s", "axis1", "axis2"], ["st"]], ["Expand", ["st", "sb"], ["n"]], ["ReverseSequence", ["x", "n"], ["r"], { batch_axis: 0, time_axis: 1 }], ...gru("r", "g"), ["ReverseSequence", ["g", "n"], ["y"], { batch_axis: 0, time_axis: 1 }]] },
  "every second step": { nodes: [["Slice", ["x", "axis1", "end", "axis1", "axis2"], ["y"]]] },
  "the last two steps": { nodes: [["Slice", ["x", "last2", "end", "axis1"], ["y"]]], numbers: { last2: list(-2) }, fixed: true },
  "one step": { nodes: [...gru("x", "g"), ["Gather", ["g", "i3"], ["y"], { axis: 1 }]], numbers: { i3: [[], [3]] }, rank: 2 },
  "the last step but one": { nodes: [["Gather", ["x", "i"], ["y"], { axis: 1 }]], numbers: { i: [[], [-2]] }, rank: 2 },
  "steps after steps": { nodes: [...gru("x", "g"), ["Concat", ["x", "g"], ["y"], { axis: 1 }]] },
  "steps of a number before and after": { nodes: [...gru("x", "g"), ["Pad", ["g", "pads", "half"], ["y"]]], numbers: { pads: list(0, 2, 0, 0, 1, 0) } },
  "every step by itself, joined": { nodes: [...gru("x", "g"), ...Array.from({ length: T }, (_, t): NodeOf[] => [["Gather", ["g", `i${t}`], [`s${t}`], { axis: 1 }], ["MatMul", [`s${t}`, "K"], [`k${t}`]], ["Tanh", [`k${t}`], [`h${t}`]], ["Unsqueeze", [`h${t}`, "axis1"], [`u${t}`]]]).flat(), ["Concat", Array.from({ length: T }, (_, t) => `u${t}`), ["y"], { axis: 1 }]], numbers: Object.fromEntries(Array.from({ length: T }, (_, t) => [`i${t}`, [[], [t]] as [number[], number[]]])), fixed: true },
  "all steps in one product": { nodes: [channels, ["Flatten", ["t"], ["f"]], ["Gemm", ["f", "M"], ["y"]]], numbers: { M: [[T * F, N], uniform(T * F * N, 8)] }, fixed: true, rank: 2 },
  // Windows.
  "strides with padding": { nodes: [channels, ["Conv", ["t", "C"], ["u"], { pads: [2, 2], strides: [2], kernel_shape: [5] }], back], numbers: { C: kernel(N, F, 5) } },
  "groups, dilation": { nodes: [channels, ["Conv", ["t", "C"], ["u"], { group: 2, dilations: [2], pads: [2, 2], kernel_shape: [3] }], back], numbers: { C: kernel(6, F / 2, 3) } },
  "a Pad before a causal convolution": { nodes: [channels, ["Pad", ["t", "pads"], ["p"]], ["Conv", ["p", "C"], ["u"], { kernel_shape: [3] }], back], numbers: { C: kernel(N, F, 3), pads: list(0, 0, 2, 0, 0, 0) } },
  "windows over two axes, one of them of size 1": { nodes: [channels, ["Unsqueeze", ["t", "axis2"], ["q"]], ["Conv", ["q", "C"], ["c"], { pads: [0, 1, 0, 1], kernel_shape: [1, 3] }], ["MaxPool", ["c"], ["p"], { kernel_shape: [1, 2], strides: [1, 2] }], ["Squeeze", ["p", "axis2"], ["u"]], back], numbers: { C: kernel(N, F, 1, 3) } },
  "pooling with padding": { nodes: [channels, ["MaxPool", ["t"], ["p"], { kernel_shape: [3], strides: [2], pads: [1, 1] }], ["AveragePool", ["p"], ["u"], { kernel_shape: [3], pads: [1, 1], count_include_pad: 1 }], back] },
  "ceil_mode without a rest": { nodes: [channels, ["MaxPool", ["t"], ["u"], { kernel_shape: [3], strides: [2], ceil_mode: 1 }], back], fixed: true },
  // Attention.
  "a product of queries and keys, scaled": { nodes: [...gru("x", "g"), ["Transpose", ["g"], ["k"], { perm: [0, 2, 1] }], ["MatMul", ["x", "k"], ["s"]], ["Div", ["s", "two"], ["r"]], ["Softmax", ["r"], ["w"], { axis: -1 }], ["MatMul", ["w", "g"], ["y"]]] },
  "the operator Attention, heads, causal": { nodes: [...gru("x", "g"), ["Attention", ["g", "g", "g"], ["y"], { q_num_heads: 2, kv_num_heads: 2, is_causal: 1 }]], opset: 23 },
  "the operator Attention, heads apart": {
    nodes: [
      ...gru("x", "g"),
      ...["q", "k", "v"].flatMap((name): NodeOf[] => [
        ["MatMul", ["g", "K"], [`${name}0`]],
        ["Reshape", [`${name}0`, "split"], [`${name}1`]],
        ["Transpose", [`${name}1`], [name], { perm: [0, 2, 1, 3] }],
      ]),
      ["Attention", ["q", "k", "v"], ["a"], { is_causal: 1 }],
      ["Transpose", ["a"], ["b1"], { perm: [0, 2, 1, 3] }],
      ["Reshape", ["b1", "joined"], ["y"]],
    ],
    numbers: { split: list(0, 0, 2, F / 2), joined: list(0, 0, F) },
    opset: 23,
  },
  "the operator Attention, one head, a scale": { nodes: [...gru("x", "g"), ["Attention", ["x", "g", "g"], ["y"], { q_num_heads: 1, kv_num_heads: 1, scale: { float: 0.3 } }]], opset: 23 },
  "heads by Einsum, as Keras has them": {
    nodes: [
      ...gru("x", "g"),
      ["Einsum", ["x", "H"], ["q0"], { equation: "abc,cde->abde" }],
      ["Add", ["q0", "hb"], ["q1"]],
      ["Mul", ["q1", "half"], ["q"]],
      ["Einsum", ["g", "H2"], ["k0"], { equation: "abc,cde->abde" }],
      ["Add", ["k0", "hb"], ["k"]],
      ["Einsum", ["g", "H"], ["v"], { equation: "abc,cde->abde" }],
      ["Einsum", ["k", "q"], ["s"], { equation: "aecd,abcd->acbe" }],
      ["Softmax", ["s"], ["w"], { axis: -1 }],
      ["Einsum", ["w", "v"], ["m"], { equation: "acbe,aecd->abcd" }],
      ["Einsum", ["m", "O"], ["y"], { equation: "abcd,cde->abe" }],
    ],
    numbers: { H: [[F, 2, 3], uniform(6 * F, 11)], H2: [[F, 2, 3], uniform(6 * F, 12)], hb: [[2, 3], uniform(6, 13)], O: [[2, 3, N], uniform(6 * N, 14)] },
  },
  "one query by Einsum": {
    nodes: [
      ...gru("x", "g"),
      ["Gather", ["g", "lastStep"], ["q"], { axis: 1 }],
      ["Einsum", ["g", "q"], ["s"], { equation: "btf, bf -> bt" }],
      ["Softmax", ["s"], ["w"], { axis: 1 }],
      ["Einsum", ["w", "g"], ["y"], { equation: "bt,btf->bf" }],
    ],
    numbers: { lastStep: [[], [-1]] },
    rank: 2,
  },
  // Weights in 8 bits.
  "weights of int8, one scale": { nodes: [["DequantizeLinear", ["Q", "tenth"], ["D"]], ["MatMul", ["x", "D"], ["y"]]], numbers: { Q: [[F, F], Int8Array.from(uniform(F * F, 9), (v) => v * 127)] } },
  "weights of uint8, a scale and zero point a column": { nodes: [["DequantizeLinear", ["Q", "gamma", "Z"], ["D"], { axis: 1 }], ["MatMul", ["x", "D"], ["y"]]], numbers: { Q: [[F, F], Uint8Array.from(uniform(F * F, 9), (v) => 128 + v * 127)], Z: [[F], Uint8Array.of(120, 128, 130, 7)] } },
  "weights quantised by the graph": { nodes: [["QuantizeLinear", ["K", "tenth", "Z"], ["Q"]], ["DequantizeLinear", ["Q", "tenth", "Z"], ["D"]], ["MatMul", ["x", "D"], ["y"]]], numbers: { Z: [[], Int8Array.of(-3)] } },
}; // biome-ignore format: a table

/** The file of a graph, and the shape that its x may have. */
export function graphFile({ nodes, numbers, fixed, opset = 17, rank = 3 }: Graph): Uint8Array<ArrayBuffer> {
  const shape = fixed ? ["batch", T, F] : ["batch", "time", F];
  return onnxFile(nodes, { ...NUMBERS, ...numbers }, shape, opset, rank);
}
