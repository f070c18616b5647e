import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromOnnxGru } from "../../../../../host/formats/gates.ts";
import { TYPE } from "../../../../../host/formats/onnx/proto.ts";
import {
  type CallableLayer,
  dense,
  gru,
  loadModel,
  type Model,
  remask,
  sequential,
  type Tensor,
} from "../../../../../host/index.ts";
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
async function twin(returnSequences: boolean, before: readonly CallableLayer[] = []) {
  const after = returnSequences ? [dense(2, { name: "d", useBias: false })] : [];
  const model = await sequential([...before, gru(H, { name: "g", returnSequences }), ...after], {
    inputShape: [null, I],
  });
  const rest = Object.fromEntries(Object.entries(model.weights()).filter(([name]) => !/^[gd]\./.test(name)));
  const swapped = ({ data }: { data: Float32Array }) =>
    data.map((_, i) => data[i - (i % (3 * H)) + [H, 0, 2 * H][Math.floor((i % (3 * H)) / H)] + (i % H)]);
  const of = (name: string) => ({ shape: NUMBERS[name][0], data: swapped({ data: NUMBERS[name][1] as Float32Array }) });
  model.setWeights({
    ...rest,
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

test("a cell over outputs that have lengths stays as it is: it takes all steps", async () => {
  const layer: NodeOf[] = [
    ["Transpose", ["x"], ["xt"], { perm: [1, 0, 2] }],
    ["GRU", ["xt", "W", "U", "", "lengths"], ["yt"], { hidden_size: I }],
    ["Squeeze", ["yt", "axis1"], ["ys"]],
    ["Transpose", ["ys"], ["g"], { perm: [1, 0, 2] }],
  ];
  const steps = STEPS.map(
    ([type, inputs, ...rest]): NodeOf => [type, inputs.map((name) => (name === "x" ? "g" : name)), ...rest],
  );
  const numbers: NumbersOf = {
    ...NUMBERS,
    W: [[1, 3 * I, I], uniform(3 * I * I, 8)],
    U: [[1, 3 * I, I], uniform(3 * I * I, 9)],
  };
  const nodes = [...layer, ...steps, ["Identity", [`h${T}`], ["y"]] as NodeOf];
  const lengths = { name: "lengths", type: TYPE.int32, shape: ["batch"] };
  const model = (await loadModel(onnxFile(nodes, numbers, ["batch", T, I], 18, 2, [lengths]))) as Model<Tensor>;
  const own = await twin(false, [
    gru(I, { name: "first", returnSequences: true, resetAfter: false, zeroOutputForMask: true, useBias: false }),
    remask("none", { name: "all" }),
  ]);
  const first = fromOnnxGru(
    {
      W: { shape: [3 * I, I], data: numbers.W[1] as Float32Array },
      R: { shape: [3 * I, I], data: numbers.U[1] as Float32Array },
    },
    false,
  );
  own.setWeights({ ...own.weights(), "first.kernel": first.kernel, "first.recurrentKernel": first.recurrentKernel });
  for (const given of [
    [T, T],
    [T, 2],
  ])
    close(
      (await model.predict(x, { lengths: given })).data,
      (await own.predict(x, { lengths: given })).data,
      1e-6,
      `${given}`,
    );
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
