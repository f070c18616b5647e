import { test } from "uvu";
import { FormatError, loadModel } from "../../../../../host/index.ts";
import { uniform } from "../../../../kit/core.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, onnxFile } from "../../../../kit/onnx.ts";

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
        /node "\w+_2": .*(expected the same axes|do not fit)/,
      );
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
