import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, loadModel, type Model, type Tensor } from "../../../../../host/index.ts";
import { uniform } from "../../../../kit/core.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Tensors whose sizes fit each other, and whose axes do not. */

const N = 3;
const K = [[N, N], uniform(N * N, 1)] as const;
const column = [[N, 1], uniform(N, 2)] as const;

test("batch and time that one of two tensors has exchanged are refused", async () => {
  const turned: NodeOf[] = [
    ["Relu", ["x"], ["r"]],
    ["Transpose", ["r"], ["t"], { perm: [1, 0, 2] }],
  ];
  const both: NodeOf[] = [
    ["Add", ["r", "t"], ["y"]],
    ["Max", ["t", "r", "r"], ["y"]],
    ["Concat", ["r", "t"], ["y"], { axis: 2 }],
    ["Concat", ["r", "t"], ["y"], { axis: 1 }],
  ];
  for (const last of both)
    for (const shape of [
      [N, N, 4],
      ["a", "b", 4],
    ])
      await refuses(
        () => loadModel(onnxFile([...turned, last], {}, shape)),
        FormatError,
        /node "\w+_2": .*(expected the same axes|both axes of rows)/,
      );
});

test("an axis is what it is for all nodes: features, steps, or the batch", async () => {
  const cases: [NodeOf[], RegExp][] = [
    // Features here, and the batch there.
    [[["MatMul", ["x", "K"], ["a"]], ["Transpose", ["x"], ["t"], { perm: [2, 1, 0] }], ["MatMul", ["t", "K"], ["y"]]], /MatMul_2.*another one for the features/],
    // Steps added along one axis, and the largest taken along the other.
    [[["Relu", ["x"], ["r"]], ["Pad", ["r", "pads"], ["p"]], ["ReduceMax", ["p"], ["y"], { axes: [1], keepdims: 0 }]], /ReduceMax_2.*both axes of rows/],
    // The last steps of two sequences, one batch after the other.
    [[["Relu", ["x"], ["r"]], ["Gather", ["r", "last"], ["l"], { axis: 1 }], ["Concat", ["l", "l"], ["y"], { axis: 0 }]], /Concat_2.*features or steps can be joined/],
    // Two sequences of which one has its features first.
    [[["Transpose", ["x"], ["t"], { perm: [2, 1, 0] }], ["Concat", ["x", "t"], ["c"], { axis: 1 }], ["Softmax", ["c"], ["y"], { axis: 2 }]], /Concat_1.*do not fit/],
    // An axis that is there for its own sake has no steps to add to.
    [[["Relu", ["x"], ["r"]], ["Unsqueeze", ["r", "axis1"], ["u"]], ["Pad", ["u", "pads4"], ["y"]]], /Pad_2.*an axis is read as time, and elsewhere as one/],
  ]; // biome-ignore format: a table
  const numbers: NumbersOf = {
    K: [[...K[0]], K[1]],
    pads: [[6], [1, 0, 0, 0, 0, 0]],
    pads4: [[8], [0, 1, 0, 0, 0, 0, 0, 0]],
    last: [[], [-1]],
    axis1: [[1], [1]],
  };
  for (const [nodes, message] of cases)
    await refuses(() => loadModel(onnxFile(nodes, numbers, ["batch", "time", N])), FormatError, message);
});

test("the largest along an axis of one are those that are there", async () => {
  const nodes: NodeOf[] = [
    ["Relu", ["x"], ["r"]],
    ["Gather", ["r", "last"], ["l"], { axis: 1 }],
    ["Unsqueeze", ["l", "axis1"], ["w"]],
    ["ReduceMax", ["w"], ["y"], { axes: [1], keepdims: 0 }],
  ];
  const numbers: NumbersOf = { last: [[], [-1]], axis1: [[1], [1]] };
  const model = (await loadModel(onnxFile(nodes, numbers, ["batch", "time", N], 17, 2))) as Model<Tensor>;
  const x = { shape: [1, 2, N], data: Float32Array.of(1, 2, 3, 4, -5, 6) };
  assert.equal([...(await model.predict(x)).data], [4, 0, 6]);
  model.dispose();
});

test("steps that an output has flattened come flat, in the file's order", async () => {
  const x = { shape: [1, 2, N], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
  for (const [perm, expected] of [
    [
      [0, 1, 2],
      [1, 2, 3, 4, 5, 6],
    ],
    [
      [0, 2, 1],
      [1, 4, 2, 5, 3, 6],
    ],
  ]) {
    const nodes: NodeOf[] = [
      ["Relu", ["x"], ["r"]],
      ["Transpose", ["r"], ["t"], { perm }],
      ["Flatten", ["t"], ["y"], { axis: 1 }],
    ];
    const model = (await loadModel(onnxFile(nodes, {}, ["batch", 2, N], 17, 2))) as Model<Tensor>;
    const y = await model.predict(x);
    assert.equal(y.shape, [1, 2 * N]);
    assert.equal([...y.data], expected);
    model.dispose();
    const any = onnxFile(nodes, {}, ["batch", "time", N], 17, 2);
    await refuses(() => loadModel(any), FormatError, /Flatten_2.*expected a fixed number of steps/);
  }
  const torn: NodeOf[] = [
    ["Relu", ["x"], ["r"]],
    ["Transpose", ["r"], ["t"], { perm: [0, 2, 1] }],
    ["Reshape", ["t", "shape"], ["y"]],
  ];
  const bytes = onnxFile(torn, { shape: [[3], [0, 2, 4]] }, ["batch", 2, 4]);
  await refuses(() => loadModel(bytes), FormatError, /Reshape_2.*flattens data.*their features together/);
});

test("states of two batches one after the other are no layers of states", async () => {
  const nodes: NodeOf[] = [
    ["GRU", ["x", "W", "R"], ["", "h"], { hidden_size: 2 }],
    ["Squeeze", ["h", "axis0"], ["s"]],
    ["Concat", ["s", "s"], ["y"], { axis: 0 }],
  ];
  const numbers: NumbersOf = { W: [[1, 6, N], uniform(6 * N, 1)], R: [[1, 6, 2], uniform(12, 2)], axis0: [[1], [0]] };
  const bytes = onnxFile(nodes, numbers, ["time", "batch", N], 17, 2);
  await refuses(() => loadModel(bytes), FormatError, /Concat_2.*features or steps can be joined/);
});

test("a bias down the rows of a Gemm is refused", async () => {
  const bytes = onnxFile(
    [["Gemm", ["x", "K", "c"], ["y"]]],
    { K: [[...K[0]], K[1]], c: [[...column[0]], column[1]] },
    [N, N],
    17,
    2,
  );
  await refuses(() => loadModel(bytes), FormatError, /Gemm node "Gemm_0": adds numbers \[3,1\]; expected \[3\]/);
});

test.run();
