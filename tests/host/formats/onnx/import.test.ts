import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type AttributeValue, node, TYPE, writeModel } from "../../../../host/formats/onnx/proto.ts";
import * as pb from "../../../../host/formats/onnx/protobuf.ts";
import { FormatError, loadModel, type Tensor } from "../../../../host/index.ts";
import { close, uniform } from "../../../kit/core.ts";
import { randomTensor, refuses } from "../../../kit/models.ts";
import { onnxFile as file, type NodeOf, type NumbersOf } from "../../../kit/onnx.ts";

const K: [number[], Float32Array] = [[3, 2], uniform(6, 1)];

test("an operator that no layer does is named with its node, and what is known", async () => {
  await refuses(
    () => loadModel(file([["Trilu", ["x"], ["y"]]])),
    FormatError,
    /Trilu node "Trilu_0": no layer of gruvy does this; known are .*GRU/,
  );
  await refuses(
    () => loadModel(file([["Erf", ["x"], ["y"]]])),
    FormatError,
    /a function that gruvy has no activation for/,
  );
  await refuses(() => loadModel(file([["toString", ["x"], ["y"]]])), FormatError, /toString node/);
});

test("a graph without outputs is refused", async () => {
  const x = { name: "x", type: TYPE.float, shape: ["batch", "time", 3] };
  const bytes = writeModel("test", 17, [node("Relu", "r", ["x"], ["y"])], [x], []);
  await refuses(() => loadModel(bytes), FormatError, /an ONNX graph without outputs/);
});

test("states of several layers in one output are an output each", async () => {
  const numbers: NumbersOf = {
    W: [[1, 6, 3], uniform(18, 1)],
    R: [[1, 6, 2], uniform(12, 2)],
    V: [[1, 6, 2], uniform(12, 3)],
    first: [[1], [1]],
  };
  const nodes: NodeOf[] = [
    ["Transpose", ["x"], ["t"], { perm: [1, 0, 2] }],
    ["GRU", ["t", "W", "R"], ["a", "h"], { hidden_size: 2 }],
    ["Squeeze", ["a", "first"], ["b"]],
    ["GRU", ["b", "V", "R"], ["", "k"], { hidden_size: 2 }],
  ];
  const x = randomTensor([2, 4, 3], 1);
  const alone = async (output: string) => {
    const model = await loadModel(file([...nodes, ["Identity", [output], ["y"]]], numbers));
    return (await model.predict(x)) as Tensor;
  };
  const model = await loadModel<Tensor[]>(file([...nodes, ["Concat", ["h", "k"], ["y"], { axis: 0 }]], numbers));
  const made = Object.entries(await model.predict(x));
  assert.equal(
    made.map(([name, { shape }]) => [name, shape]),
    [
      ["y_0", [2, 2]],
      ["y_1", [2, 2]],
    ],
  );
  assert.equal(made[0][1].data, (await alone("h")).data);
  assert.equal(made[1][1].data, (await alone("k")).data);
});

test("an output whose features are one axis with the batch is refused", async () => {
  const numbers: NumbersOf = { W: [[2, 6, 3], uniform(36, 1)], R: [[2, 6, 2], uniform(24, 2)], to: [[2], [0, -1]] };
  const nodes: NodeOf[] = [
    ["GRU", ["x", "W", "R"], ["", "h"], { hidden_size: 2, direction: "bidirectional" }],
    ["Reshape", ["h", "to"], ["y"]],
  ];
  await refuses(
    () => loadModel(file(nodes, numbers)),
    FormatError,
    /output "y": its features are one axis with the batch/,
  );
});

test("Max, Sum and Mean take any number of inputs, and all of them", async () => {
  const numbers: Record<string, [number[], Float32Array]> = {
    A: K,
    B: [[3, 2], uniform(6, 2)],
    C: [[3, 2], uniform(6, 3)],
  };
  const x = randomTensor([2, 4, 3], 1);
  const products = await Promise.all(
    Object.values(numbers).map(async (own) => {
      const model = await loadModel(file([["MatMul", ["x", "K"], ["y"]]], { K: own }));
      return ((await model.predict(x)) as Tensor).data;
    }),
  );
  const of: Record<string, (a: number, b: number, c: number) => number> = {
    Max: (a, b, c) => Math.max(a, b, c),
    Sum: (a, b, c) => a + b + c,
    Mean: (a, b, c) => (a + b + c) / 3,
  };
  for (const [type, f] of Object.entries(of)) {
    const nodes: NodeOf[] = ["A", "B", "C"].map((matrix) => ["MatMul", ["x", matrix], [matrix.toLowerCase()]]);
    const model = await loadModel(file([...nodes, [type, ["a", "b", "c"], ["y"]]], numbers));
    const expected = products[0].map((a, i) => f(a, products[1][i], products[2][i]));
    close(((await model.predict(x)) as Tensor).data, expected, 1e-6, type);
    model.dispose();
  }
});

test("what a node asks for and gruvy cannot do is said, with what would do", async () => {
  const cases: [NodeOf[], RegExp][] = [
    [
      [
        ["MatMul", ["x", "K"], ["h"]],
        ["Softmax", ["h"], ["y"], { axis: 1 }],
      ],
      /Softmax node "Softmax_1": works along axis 1 .*only the axis of all features/,
    ],
    [[["Slice", ["x", "one", "three", "one"], ["y"]]], /Slice node .*give the input a fixed number of steps/],
    [
      [
        ["Reshape", ["x", "flat"], ["r"]],
        ["MatMul", ["r", "K"], ["y"]],
      ],
      /MatMul node .*flattens sequences of any length; give the input a fixed number of steps/,
    ],
    [[["MatMul", ["x", "wide"], ["y"]]], /MatMul node "MatMul_0": expected 4 features, got 3/],
    [[["Sum", [], ["y"]]], /Sum node "Sum_0": reads nothing/],
    [[["Concat", [], ["y"], { axis: 1 }]], /Concat node "Concat_0": input 0 is missing/],
    [[["MatMul", ["x", "nothing"], ["y"]]], /reads "nothing", which nothing before it makes/],
    [[["Div", ["x", "x"], ["y"]]], /Div node .*no layer does this with data/],
    [[["MatMul", ["x", "K"], ["h"]]], /output "y": nothing makes it/],
  ];
  for (const [nodes, message] of cases)
    await refuses(
      () =>
        loadModel(
          file(nodes, { K, wide: [[4, 2], uniform(8, 1)], one: [[1], [1]], three: [[1], [3]], flat: [[2], [0, -1]] }),
        ),
      FormatError,
      message,
    );
});

const [I, H] = [3, 4];
const GRU: Record<string, [number[], Float32Array]> = {
  W: [[1, 3 * H, I], uniform(3 * H * I, 1)],
  R: [[1, 3 * H, H], uniform(3 * H * H, 2)],
};

test("a GRU that contradicts itself, or asks for what there is not, is refused", async () => {
  const of = (attributes: Record<string, AttributeValue>, inputs = ["x", "W", "R"]) =>
    loadModel(file([["GRU", inputs, ["y"], attributes]], { ...GRU, B: [[1, 5], uniform(5, 1)] }));
  await refuses(() => of({ hidden_size: 5 }), FormatError, /hidden_size 5, W \[1,12,3\]/);
  await refuses(() => of({ direction: "bidirectional" }), FormatError, /expected W \[2, 12, inputs\]/);
  await refuses(() => of({ direction: "sideways" }), FormatError, /direction "sideways"/);
  await refuses(() => of({ activations: ["Sigmoid", "Sinh"] }), FormatError, /activation "Sinh"; expected one of relu/);
  await refuses(() => of({ activations: ["Sigmoid"] }), FormatError, /expected 2 activations, got 1/);
  await refuses(
    () => of({ activations: ["HardSigmoid", "Tanh"], clip: { float: 1 } }),
    FormatError,
    /clip with the activation hardSigmoid/,
  );
  await refuses(() => of({}, ["x", "W", "R", "B"]), FormatError, /expected B \[1, 24\], got \[1,5\]/);
  await refuses(() => of({}, ["x", "W", "x"]), FormatError, /input 2 is data .*expected numbers that the file has/);
});

test("a layer that takes a single step after one that takes a sequence is refused", async () => {
  const gru = (x: string, outputs: string[], inputs: number): [NodeOf, NumbersOf] => {
    const names = ["W", "R"].map((name) => `${name}_${outputs[1]}`);
    const sizes = [inputs, 2].map((n): [number[], Float32Array] => [[1, 6, n], uniform(6 * n, 1)]);
    return [["GRU", [x, ...names], outputs, { hidden_size: 2 }], { [names[0]]: sizes[0], [names[1]]: sizes[1] }];
  };
  const [[first, own], [second, others]] = [gru("x", ["", "h"], 3), gru("h", ["y", "h2"], 2)];
  await refuses(
    () => loadModel(file([first, second], { ...own, ...others }, ["time", "batch", 3], 17, 4)),
    FormatError,
    /takes a single step, and input "x" has many/,
  );
});

test("numbers that are not finite are refused", async () => {
  const bad: [number[], Float32Array] = [[3, 2], Float32Array.of(1, 2, Number.NaN, 4, 5, 6)];
  await refuses(
    () => loadModel(file([["MatMul", ["x", "K"], ["y"]]], { K: bad })),
    FormatError,
    /has NaN at position 2/,
  );
});

test("opset 7 to the newest, and none older", async () => {
  for (const opset of [7, 13, 24])
    (await loadModel(file([["MatMul", ["x", "K"], ["y"]]], { K }, undefined, opset))).dispose();
  await refuses(
    () => loadModel(file([["MatMul", ["x", "K"], ["y"]]], { K }, undefined, 6)),
    FormatError,
    /opset 6; expected 7 or newer/,
  );
});

test("a scale, a shift and a batch normalisation become part of the product before them", async () => {
  const numbers: Record<string, [number[], Float32Array]> = {
    K,
    scale: [[2], Float32Array.of(2, -3)],
    shift: [[1], Float32Array.of(0.5)],
  };
  const model = await loadModel(
    file(
      [
        ["MatMul", ["x", "K"], ["a"]],
        ["Mul", ["a", "scale"], ["b"]],
        ["Sub", ["shift", "b"], ["c"]],
        ["Relu", ["c"], ["y"]],
      ],
      numbers,
    ),
  );
  assert.equal(Object.keys(model.weights()), ["MatMul_0.kernel", "MatMul_0.bias"]);
  const x = randomTensor([2, 2, 3], 1);
  const expected: number[] = [];
  for (let row = 0; row < 4; row++)
    for (let j = 0; j < 2; j++) {
      let sum = 0;
      for (let i = 0; i < 3; i++) sum += x.data[row * 3 + i] * K[1][i * 2 + j];
      expected.push(Math.max(0, 0.5 - sum * numbers.scale[1][j]));
    }
  close(((await model.predict(x)) as Tensor).data, expected, 1e-6, "y");
  model.dispose();
});

test("data of tensors may stand in a file beside the model, and nowhere else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "gruvy-onnx-"));
  const outside = (location: string, offset = "8") => {
    const entry = (key: string, value: string) => pb.bytes(13, pb.string(1, key), pb.string(2, value));
    const tensor = pb.bytes(
      5,
      ...[3, 2].map((n) => pb.int(1, n)),
      pb.int(2, TYPE.float),
      pb.string(8, "K"),
      entry("location", location),
      entry("offset", offset),
      entry("length", "24"),
      pb.int(14, 1),
    );
    return writeModel(
      "test",
      17,
      [node("MatMul", "dense", ["x", "K"], ["y"]), tensor],
      [{ name: "x", type: TYPE.float, shape: ["batch", 3] }],
      [{ name: "y", type: TYPE.float, shape: ["batch", 2] }],
    );
  };
  const at = (bytes: Uint8Array) => {
    writeFileSync(join(folder, "model.onnx"), bytes);
    return loadModel(join(folder, "model.onnx"));
  };
  writeFileSync(join(folder, "weights.bin"), Buffer.concat([Buffer.alloc(8), Buffer.from(K[1].buffer)]));
  const model = await at(outside("weights.bin"));
  assert.equal(model.weights()["dense.kernel"].data, K[1]);
  model.dispose();
  await refuses(() => at(outside("weights.bin", "16")), FormatError, /bytes 16 to 40 of "weights.bin", which has 32/);
  await refuses(
    () => loadModel(outside("weights.bin")),
    FormatError,
    /in the file "weights.bin" too; pass its path or URL, or all of its files by name/,
  );
  const beside = new File([Buffer.concat([Buffer.alloc(8), Buffer.from(K[1].buffer)])], "weights.bin");
  const given = await loadModel({ "a.onnx": outside("some/weights.bin"), "weights.bin": beside });
  assert.equal(given.weights()["dense.kernel"].data, K[1]);
  given.dispose();
  await refuses(
    () => loadModel({ "a.onnx": outside("w.bin"), "weights.bin": beside }),
    FormatError,
    /the file "w.bin" is missing; there are \["a.onnx", "weights.bin"\]/,
  );
  for (const path of ["../weights.bin", "/etc/passwd", "file:///etc/passwd", "a/../../b"])
    await refuses(() => at(outside(path)), FormatError, /is not beside the model/);
  rmSync(folder, { recursive: true });
});

test("numbers of protobuf: negative ones, and those of all lengths", () => {
  for (const value of [
    0,
    1,
    127,
    128,
    300,
    2 ** 28 - 1,
    2 ** 28,
    2 ** 31,
    2 ** 32,
    2 ** 35 + 5,
    2 ** 53 - 1,
    -1,
    -2,
    -(2 ** 31),
    -(2 ** 40),
  ]) {
    const [field] = [...pb.fields(pb.int(3, value), "test")];
    assert.equal([field.number, field.value], [3, value]);
  }
});

test("a file cut anywhere is refused", async () => {
  const bytes = file([["GRU", ["x", "W", "R"], ["y"]]], GRU);
  for (let n = 0; n < bytes.length; n += 7)
    await refuses(() => loadModel(bytes.slice(0, n)), FormatError, /^loadModel\(\): /, `${n}`);
});

test.run();
