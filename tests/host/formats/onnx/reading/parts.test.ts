import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, loadModel, type Model, type Tensor } from "../../../../../host/index.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Parts of tensors that a file takes. */

const x = { shape: [1, 2, 4], data: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7) };
const file = (nodes: NodeOf[], numbers: NumbersOf = {}, time: number | string = "time") =>
  onnxFile([["Relu", ["x"], ["r"]], ...nodes], numbers, ["batch", time, 4]);

test("features in any order, some of them twice", async () => {
  const cases: [NodeOf[], NumbersOf, number[]][] = [
    [[["Gather", ["r", "at"], ["y"], { axis: 2 }]], { at: [[5], [3, 0, 0, -3, 3]] }, [3, 0, 0, 1, 3, 7, 4, 4, 5, 7]],
    [
      [
        ["Reshape", ["r", "apart"], ["a"]],
        ["Gather", ["a", "at"], ["b"], { axis: 3 }],
        ["Reshape", ["b", "flat"], ["y"]],
      ],
      { at: [[3], [1, 0, 1]], apart: [[4], [0, 0, 2, 2]], flat: [[3], [0, 0, 6]] },
      [1, 0, 1, 3, 2, 3, 5, 4, 5, 7, 6, 7],
    ],
  ];
  for (const [nodes, numbers, expected] of cases) {
    const model = (await loadModel(file(nodes, numbers))) as Model<Tensor>;
    assert.equal([...(await model.predict(x)).data], expected);
    model.dispose();
  }
});

test("features that the outputs have in another order are refused", async () => {
  const nodes: NodeOf[] = [
    ["Reshape", ["r", "apart"], ["a"]],
    ["Transpose", ["a"], ["t"], { perm: [0, 1, 3, 2] }],
    ["Reshape", ["t", "flat"], ["y"]],
  ];
  const bytes = file(nodes, { apart: [[4], [0, 0, 2, 2]], flat: [[3], [0, 0, 4]] });
  await refuses(() => loadModel(bytes), FormatError, /output "y": its features are those of a layer in another order/);
});

test("a small file that would become large is refused before it does", async () => {
  const twice = Array.from({ length: 40 }, (_, i): NodeOf => {
    const before = i ? `c${i - 1}` : "K";
    return ["Concat", [before, before], [`c${i}`], { axis: 1 }];
  });
  const K = [[4, 64], new Float32Array(256)] as const;
  const cases: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [file([["Split", ["r"], ["a", "b"], { axis: 1 }], ["Add", ["a", "b"], ["y"]]], {}, 2 ** 32), /splits 4294967296/],
    [file([...twice, ["MatMul", ["r", "c39"], ["y"]]], { K: [[...K[0]], K[1]] }), /Concat node "Concat_\d+": would make/],
    [
      file([["Gather", ["L", "at"], ["g"], { axis: 0 }], ["MatMul", ["r", "g"], ["y"]]], {
        L: [[1, 1e5], new Float32Array(1e5)],
        at: [[1e5], new Array(1e5).fill(0)],
      }),
      /would make 10000000000 numbers more/,
    ],
  ]; // biome-ignore format: a table
  for (const [bytes, message] of cases) await refuses(() => loadModel(bytes), FormatError, message);
});

test.run();
