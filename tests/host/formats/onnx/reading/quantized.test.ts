import { test } from "uvu";
import { FormatError, loadModel } from "../../../../../host/index.ts";
import { sameBits, uniform } from "../../../../kit/core.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Weights of 8 bits are floats; activations of 8 bits are refused. */

const Q = Int8Array.of(-128, 127, 3, -4, 0, 64);
const NUMBERS: NumbersOf = {
  Q: [[3, 2], Q],
  one: [[], Float32Array.of(0.5)],
  columns: [[2], Float32Array.of(0.5, 0.25)],
  zeros: [[2], Int8Array.of(3, -1)],
  blocks: [[2, 2], Float32Array.of(0.5, 0.25, 2, 4)],
  three: [[3], Float32Array.of(1, 2, 3)],
  zero: [[], Int8Array.of(0)],
  K: [[3, 2], uniform(6, 1)],
};
const product: NodeOf = ["MatMul", ["x", "D"], ["y"]];

async function weights(nodes: readonly NodeOf[]): Promise<Float32Array> {
  const model = await loadModel(onnxFile([...nodes, product], NUMBERS, ["batch", "time", 3], 21));
  const [{ data }] = Object.values(model.weights());
  model.dispose();
  return data;
}

test("one scale, one for each column with a zero point, one for each block of rows", async () => {
  const expected = (f: (q: number, i: number) => number) => Float32Array.from(Q, f);
  sameBits(
    await weights([["DequantizeLinear", ["Q", "one"], ["D"]]]),
    expected((q) => q * 0.5),
    "one",
  );
  sameBits(
    await weights([["DequantizeLinear", ["Q", "columns", "zeros"], ["D"], { axis: -1 }]]),
    expected((q, i) => (q - [3, -1][i % 2]) * [0.5, 0.25][i % 2]),
    "columns",
  );
  sameBits(
    await weights([["DequantizeLinear", ["Q", "blocks"], ["D"], { axis: 0, block_size: 2 }]]),
    expected((q, i) => q * [0.5, 0.25, 0.5, 0.25, 2, 4][i]),
    "blocks",
  );
});

test("what cannot be floats without other numbers is refused, with what to do", async () => {
  const cases: [NodeOf[], RegExp][] = [
    [[["QuantizeLinear", ["x", "one", "zero"], ["y"]]], /quantises data .*save the model before it is quantised/],
    [[["DynamicQuantizeLinear", ["x"], ["y"]]], /DynamicQuantizeLinear node .*no layer of gruvy does this; save the model before/],
    [[["MatMulInteger", ["x", "Q"], ["y"]]], /MatMulInteger node .*quantize\(\) of gruvy makes int8 of it/],
    [[["QLinearMatMul", ["x", "Q"], ["y"]]], /QLinearMatMul node .*quantize\(\)/],
    [[["DequantizeLinear", ["Q", "three"], ["D"], { axis: 1 }], product], /3 scales for 2 positions of axis 1/],
    [[["DequantizeLinear", ["Q", "one", "zeros"], ["D"]], product], /1 scales and 2 zero points/],
    [[["DequantizeLinear", ["Q", "blocks"], ["D"], { axis: 0, block_size: 1 }], product], /4 scales for blocks of 1/],
  ]; // biome-ignore format: a table
  for (const [nodes, message] of cases)
    await refuses(() => loadModel(onnxFile(nodes, NUMBERS, ["batch", "time", 3], 21)), FormatError, message);
});

test.run();
