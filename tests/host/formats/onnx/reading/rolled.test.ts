import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, gru, loadModel, type Model, sequential, type Tensor } from "../../../../../host/index.ts";
import { close, uniform } from "../../../../kit/core.ts";
import { randomTensor } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** A cell that a network calls step by step is a GRU again. */

const [I, H, T] = [3, 4, 5];
const NUMBERS: NumbersOf = {
  K: [[I, 3 * H], uniform(3 * H * I, 1)],
  R: [[H, 3 * H], uniform(3 * H * H, 2)],
  other: [[H, 3 * H], uniform(3 * H * H, 5)],
  b: [[3 * H], uniform(3 * H, 3)],
  c: [[3 * H], uniform(3 * H, 4)],
  D: [[H, 2], uniform(2 * H, 6)],
  h0: [[1, H], new Float32Array(H)],
  axis1: [[1], [1]],
  ...Object.fromEntries(Array.from({ length: T }, (_, t) => [`t${t}`, [[], [t]]])),
};

/** One step as PyTorch's cell is exported: r, z and n beside one another, h' = n + z · (h - n). */
const step = (t: number, recurrent = "R"): NodeOf[] => [
  ["Gather", ["x", `t${t}`], [`x${t}`], { axis: 1 }],
  ["Gemm", [`x${t}`, "K", "b"], [`i${t}`]],
  ["Gemm", [t ? `h${t}` : "h0", recurrent, "c"], [`j${t}`]],
  ["Split", [`i${t}`], [`ir${t}`, `iz${t}`, `in${t}`], { axis: 1, num_outputs: 3 }],
  ["Split", [`j${t}`], [`jr${t}`, `jz${t}`, `jn${t}`], { axis: 1, num_outputs: 3 }],
  ["Add", [`ir${t}`, `jr${t}`], [`sr${t}`]],
  ["Sigmoid", [`sr${t}`], [`r${t}`]],
  ["Add", [`iz${t}`, `jz${t}`], [`sz${t}`]],
  ["Sigmoid", [`sz${t}`], [`z${t}`]],
  ["Mul", [`r${t}`, `jn${t}`], [`rn${t}`]],
  ["Add", [`in${t}`, `rn${t}`], [`sn${t}`]],
  ["Tanh", [`sn${t}`], [`n${t}`]],
  ["Sub", [t ? `h${t}` : "h0", `n${t}`], [`d${t}`]],
  ["Mul", [`z${t}`, `d${t}`], [`zd${t}`]],
  ["Add", [`n${t}`, `zd${t}`], [`h${t + 1}`]],
];
const STEPS = Array.from({ length: T }, (_, t) => step(t)).flat();
const outputs = (name: string): NodeOf[] => [
  ...Array.from({ length: T }, (_, t): NodeOf => ["MatMul", [`h${t + 1}`, "D"], [`o${t}`]]),
  ...Array.from({ length: T }, (_, t): NodeOf => ["Unsqueeze", [`o${t}`, "axis1"], [`u${t}`]]),
  ["Concat", Array.from({ length: T }, (_, t) => `u${t}`), [name], { axis: 1 }],
];
const load = (nodes: readonly NodeOf[], rank = 3) =>
  loadModel(onnxFile(nodes, NUMBERS, ["batch", T, I], 18, rank)) as Promise<Model<Tensor>>;
const types = (model: Model<Tensor>) =>
  (model.architecture.config as { layers: { type: string }[] }).layers.map(({ type }) => type);

/** The same by a layer: gates in its order, biases of z and r in one place. */
async function twin(returnSequences: boolean) {
  const model = await sequential(
    [gru(H, { name: "g", returnSequences }), ...(returnSequences ? [dense(2, { name: "d", useBias: false })] : [])],
    { inputShape: [null, I] },
  );
  const swapped = ({ data }: { data: Float32Array }) =>
    data.map((_, i) => data[i - (i % (3 * H)) + [H, 0, 2 * H][Math.floor((i % (3 * H)) / H)] + (i % H)]);
  const of = (name: string) => ({ shape: NUMBERS[name][0], data: swapped({ data: NUMBERS[name][1] as Float32Array }) });
  model.setWeights({
    "g.kernel": of("K"),
    "g.recurrentKernel": of("R"),
    "g.bias": { shape: [2, 3 * H], data: Float32Array.from([...of("b").data, ...of("c").data]) },
    ...(returnSequences && { "d.kernel": { shape: [H, 2], data: NUMBERS.D[1] as Float32Array } }),
  });
  return model;
}

const x = randomTensor([2, T, I], 7);

test("all states, each through the same layer", async () => {
  const model = await load([...STEPS, ...outputs("y")]);
  assert.equal(types(model), ["gru", "dense"]);
  assert.equal(model.inputShape, [T, I]);
  const own = await twin(true);
  // The two biases of a gate are added before the products instead of after them.
  close((await model.predict(x)).data, (await own.predict(x)).data, 1e-6, "all states");
  model.dispose();
  own.dispose();
});

test("the last state", async () => {
  const model = await load([...STEPS, ["Identity", [`h${T}`], ["y"]]], 2);
  assert.equal(types(model), ["gru"]);
  const own = await twin(false);
  close((await model.predict(x)).data, (await own.predict(x)).data, 1e-6, "last state");
  model.dispose();
  own.dispose();
});

test("a cell that is another one at one step stays as it is, and gives its numbers", async () => {
  const steps = Array.from({ length: T }, (_, t) => step(t, t === 3 ? "other" : "R")).flat();
  const model = await load([...steps, ...outputs("y")]);
  assert.ok(types(model).length > 20);
  const own = await twin(true);
  const [y, expected] = [(await model.predict(x)).data, (await own.predict(x)).data];
  // Up to that step the cells are the same.
  for (const b of [0, 1])
    close(y.slice(b * 2 * T, b * 2 * T + 6), expected.slice(b * 2 * T, b * 2 * T + 6), 1e-6, "before");
  assert.ok(Math.abs(y[6] - expected[6]) > 1e-3);
  model.dispose();
  own.dispose();
});

test.run();
