import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  attention,
  dense,
  FormatError,
  graph,
  input,
  loadModel,
  type Model,
  multiHeadAttention,
  type Tensor,
} from "../../../../../host/index.ts";
import { close, uniform } from "../../../../kit/core.ts";
import { randomTensor, refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Attention in pieces: what becomes of it, and what is none. */

const F = 4;
const NUMBERS: NumbersOf = {
  Q: [[F, F], uniform(F * F, 1)],
  K: [[F, F], uniform(F * F, 2)],
  V: [[F, F], uniform(F * F, 3)],
  v: [[F, 1], uniform(F, 4)],
  scale: [[], Float32Array.of(0.3)],
  half: [[], Float32Array.of(0.5)],
  minus: [[], Float32Array.of(-1)],
  tiny: [[], Float32Array.of(1e-9)],
  heads: [[4], [0, 0, 2, 2]],
  flat: [[3], [0, 0, 4]],
  causal: [[3, 3], Float32Array.of(0, -1e9, -1e9, 0, 0, -1e9, 0, 0, 0)],
  strange: [[3, 3], Float32Array.of(0, 0, -1e9, 0, 0, -1e9, 0, 0, 0)],
  axis1: [[1], [1]],
};
const MAPS: NodeOf[] = ["Q", "K", "V"].map((name) => ["MatMul", ["x", name], [name.toLowerCase()]]);
const scores = (...between: NodeOf[]): NodeOf[] => [
  ...MAPS,
  ["Transpose", ["k"], ["kt"], { perm: [0, 2, 1] }],
  ["MatMul", ["q", "kt"], ["s"]],
  ...between,
];
const ATTEND: NodeOf[] = [
  ["Softmax", ["t"], ["w"], { axis: -1 }],
  ["MatMul", ["w", "v"], ["y"]],
];
const file = (nodes: readonly NodeOf[]) => onnxFile(nodes, { ...NUMBERS, v: NUMBERS.v }, ["batch", "time", F]);

const x = randomTensor([2, 3, F], 5);
const types = (model: Model) =>
  (model.architecture.config as { layers: { type: string }[] }).layers.map(({ type }) => type).sort();
const maps = (): Record<string, Tensor> =>
  Object.fromEntries(
    ["Q", "K", "V"].map((name) => [`${name}.kernel`, { shape: [F, F], data: NUMBERS[name][1] as Float32Array }]),
  );

test("products, a factor, a Softmax and a sum are one layer, causal where the mask says so", async () => {
  for (const [between, options] of [
    [[["Identity", ["s"], ["t"]]], { scale: "none" }],
    [[["Mul", ["half", "s"], ["t"]]], { scale: "sqrt" }],
    [[["Mul", ["s", "scale"], ["t"]]], { scale: "learned" }],
    [[["Mul", ["s", "half"], ["u"]], ["Add", ["u", "causal"], ["t"]]], { scale: "sqrt", causal: true }],
    [[["Add", ["s", "causal"], ["u"]], ["Mul", ["u", "half"], ["t"]]], { scale: "sqrt", causal: true }],
  ] as [NodeOf[], object][]) {
    const model = (await loadModel(file([...scores(...between), ...ATTEND]))) as Model<Tensor>;
    assert.equal(types(model as Model), ["attention", "dense", "dense", "dense"]);
    const given = input([null, F]);
    const map = (name: string) => dense(F, { name, useBias: false })(given);
    const own = attention({ name: "a", ...options })([map("Q"), map("V"), map("K")]);
    const twin = await graph({ inputs: given, outputs: own });
    const learned: Record<string, Tensor> = "a.scale" in twin.weights() ? { "a.scale": { shape: [1], data: Float32Array.of(0.3) } } : {};
    twin.setWeights({ ...maps(), ...learned });
    close((await model.predict(x)).data, ((await twin.predict(x)) as Tensor).data, 0, JSON.stringify(options));
    model.dispose();
    twin.dispose();
  } // biome-ignore format: a table
});

test("heads, split off and joined again, are multiHeadAttention on the maps before them", async () => {
  const head = (name: string, perm: number[]): NodeOf[] => [
    ["Reshape", [name, "heads"], [`${name}4`]],
    ["Transpose", [`${name}4`], [`${name}h`], { perm }],
  ];
  const nodes: NodeOf[] = [
    ...MAPS,
    ...head("q", [0, 2, 1, 3]),
    ...head("k", [0, 2, 3, 1]),
    ...head("v", [0, 2, 1, 3]),
    ["MatMul", ["qh", "kh"], ["s"]],
    ["Mul", ["s", "half"], ["t"]],
    ["Softmax", ["t"], ["w"], { axis: -1 }],
    ["MatMul", ["w", "vh"], ["m"]],
    ["Transpose", ["m"], ["n"], { perm: [0, 2, 1, 3] }],
    ["Reshape", ["n", "flat"], ["y"]],
  ];
  const model = (await loadModel(file(nodes))) as Model<Tensor>;
  assert.equal(types(model as Model), ["multiHeadAttention"]);
  const given = input([null, F]);
  const twin = await graph({ inputs: given, outputs: multiHeadAttention(2, { name: "a", useBias: false })(given) });
  // The file's factor is 1/2, the layer's 1/√2: its queries are scaled by the rest.
  const rest = 0.5 * Math.SQRT2;
  const identity = Float32Array.from({ length: F * F }, (_, i) => Number(i % (F + 1) === 0));
  const weight = (name: string) => NUMBERS[name][1] as Float32Array;
  twin.setWeights({
    "a.queryKernel": { shape: [F, F], data: weight("Q").map((w) => w * rest) },
    "a.keyKernel": { shape: [F, F], data: weight("K") },
    "a.valueKernel": { shape: [F, F], data: weight("V") },
    "a.outputKernel": { shape: [F, F], data: identity },
  });
  // The factor in double precision here and there.
  close((await model.predict(x)).data, ((await twin.predict(x)) as Tensor).data, 1e-7, "heads");
  model.dispose();
  twin.dispose();
});

test("what is no attention is refused, with the node", async () => {
  const cases: [NodeOf[], RegExp][] = [
    [[...scores(["Softmax", ["s"], ["w"], { axis: 1 }]), ["MatMul", ["w", "v"], ["y"]]], /MatMul node "MatMul_6".*expected an attention/],
    [[...scores(["Add", ["s", "strange"], ["t"]]), ...ATTEND], /Add node .*expected a factor, or a mask that is causal/],
    [[...scores(["Add", ["s", "causal"], ["u"]], ["Mul", ["u", "minus"], ["t"]]), ...ATTEND], /Mul node .*expected a factor/],
    [[...scores(["Add", ["s", "causal"], ["u"]], ["Mul", ["u", "tiny"], ["t"]]), ...ATTEND], /Mul node .*expected a factor/],
    [[...scores(["Tanh", ["s"], ["y"]])], /Tanh node .*scores of an attention/],
    [[...scores(["Identity", ["s"], ["y"]])], /output "y": expected the output of a layer, got scores of an attention/],
    [[...scores(["Softmax", ["s"], ["t"], { axis: -1 }], ["Softmax", ["t"], ["w"], { axis: -1 }], ["MatMul", ["w", "v"], ["y"]])], /Softmax node/],
    [[...MAPS, ["MatMul", ["q", "k"], ["y"]]], /MatMul node "MatMul_3": multiplies data/],
    [[["Attention", ["x", "x", "x", "strange"], ["y"], { q_num_heads: 1, kv_num_heads: 1 }]], /has attn_mask/],
    [[["Attention", ["x", "x", "x"], ["y"], { q_num_heads: 4, kv_num_heads: 2 }]], /multiplies data/],
    [[["Attention", ["x", "x", "x"], ["y"], { q_num_heads: 3, kv_num_heads: 3 }]], /3 heads of 4 features/],
  ]; // biome-ignore format: a table
  for (const [nodes, message] of cases) await refuses(() => loadModel(file(nodes)), FormatError, message);
});

test.run();
