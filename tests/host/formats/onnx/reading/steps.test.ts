import { test } from "uvu";
import * as assert from "uvu/assert";
import { initializer, node, TYPE, writeModel } from "../../../../../host/formats/onnx/proto.ts";
import { FormatError, loadModel, type Model, type Tensor } from "../../../../../host/index.ts";
import { sameBits, uniform } from "../../../../kit/core.ts";
import { randomTensor, refuses, steps } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Steps that are taken and added are moved, to the bit. */

const [B, T, F] = [2, 5, 3];
const x = randomTensor([B, T, F], 1);
const NUMBERS: NumbersOf = {
  "-2": [[1], [-2]],
  "-1": [[1], [-1]],
  "0": [[1], [0]],
  "1": [[1], [1]],
  "2": [[1], [2]],
  "4": [[1], [4]],
  end: [[1], [2 ** 40]],
  third: [[], [2]],
  before: [[], [-2]],
  last: [[], [-1]],
  pads: [[6], [0, 2, 0, 0, 1, 0]],
  value: [[], Float32Array.of(0.1)],
};

async function made(nodes: readonly NodeOf[], fixed = false): Promise<Tensor> {
  const model = (await loadModel(onnxFile(nodes, NUMBERS, ["batch", fixed ? T : "time", F]))) as Model<Tensor>;
  const y = await model.predict(x);
  model.dispose();
  return y;
}

/** Some steps of x, one after the other. */
const picked = (...at: number[]) => at.map((t) => steps(x, t, t + 1));

function same(y: Tensor, parts: readonly Tensor[], what: string): void {
  const expected = new Float32Array(B * parts.length * F);
  parts.forEach(({ data }, k) => {
    for (let b = 0; b < B; b++) expected.set(data.subarray(b * F, (b + 1) * F), (b * parts.length + k) * F);
  });
  sameBits(y.data, expected, what);
}

test("ranges of steps, of any number of steps and of a fixed one", async () => {
  const slice = (from: string, to: string, by = "1"): NodeOf[] => [["Slice", ["x", from, to, "1", by], ["y"]]];
  same(await made(slice("1", "end")), picked(1, 2, 3, 4), "from the second on");
  same(await made(slice("0", "-2")), picked(0, 1, 2), "up to the last but two");
  same(await made(slice("1", "-1")), picked(1, 2, 3), "the inner ones");
  same(await made(slice("0", "end", "2")), picked(0, 2, 4), "every second");
  same(await made(slice("1", "4"), true), picked(1, 2, 3), "three of five");
  same(await made(slice("-2", "end"), true), picked(3, 4), "the last two");
});

test("one step", async () => {
  const gather = (at: string): NodeOf[] => [["Gather", ["x", at], ["y"], { axis: 1 }]];
  for (const [at, t] of [["third", 2], ["before", 3], ["last", 4]] as const) {
    const y = await made(gather(at));
    assert.equal(y.shape, [B, F]);
    same(y, picked(t), at);
  } // biome-ignore format: a table
});

test("steps of a number before and after", async () => {
  const y = await made([["Pad", ["x", "pads", "value"], ["y"]]]);
  const full: Tensor = { shape: [B, 1, F], data: new Float32Array(B * F).fill(0.1) };
  same(y, [full, full, ...picked(0, 1, 2, 3, 4), full], "padded");
});

test("a file that says how many steps there are takes no others, where layers depend on it", async () => {
  const nodes: NodeOf[] = [["Slice", ["x", "1", "4", "1"], ["y"]]];
  const model = (await loadModel(onnxFile(nodes, NUMBERS, ["batch", T, F]))) as Model<Tensor>;
  assert.equal(model.inputShape, [T, F]);
  model.dispose();
  await refuses(
    () => loadModel(onnxFile(nodes, NUMBERS, ["batch", "time", F])),
    FormatError,
    /give the input a fixed number of steps/,
  );
});

test("a step taken beside states that callers give is refused: it would be a state too", async () => {
  const H = 2;
  const gru = node("GRU", "gru", ["t", "W", "R", "", "", "h0"], ["s"], { hidden_size: H, direction: "bidirectional" });
  const file = writeModel(
    "test",
    17,
    [
      node("Transpose", "in", ["x"], ["t"], { perm: [1, 0, 2] }),
      gru,
      node("Transpose", "out", ["s"], ["u"], { perm: [2, 0, 1, 3] }),
      node("Reshape", "both", ["u", "flat"], ["v"]),
      node("Gather", "last", ["v", "-1"], ["y"], { axis: 1 }),
      initializer("W", [2, 3 * H, F], uniform(6 * H * F, 1)),
      initializer("R", [2, 3 * H, H], uniform(6 * H * H, 2)),
      initializer("flat", [3], [0, 0, 2 * H]),
      initializer("-1", [], [-1]),
    ],
    [
      { name: "x", type: TYPE.float, shape: ["batch", "time", F] },
      { name: "h0", type: TYPE.float, shape: [2, "batch", H] },
    ],
    [{ name: "y", type: TYPE.float }],
  );
  await refuses(() => loadModel(file), FormatError, /node "last": takes a step beside states that callers give/);
});

test.run();
