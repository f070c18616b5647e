import { test } from "uvu";
import * as assert from "uvu/assert";
import { graph, initializer, node, TYPE } from "../../../../../host/formats/onnx/proto.ts";
import { FormatError, gru, loadModel, type Model, sequential, type Tensor } from "../../../../../host/index.ts";
import { close } from "../../../../kit/core.ts";
import { randomTensor, refuses } from "../../../../kit/models.ts";
import { type NodeOf, onnxFile } from "../../../../kit/onnx.ts";
import { BLEND, COUNT, loopFile as file, GATES, H, I, OTHER_BLEND, T, WEIGHTS } from "../../../../kit/onnx-loop.ts";

/** GRUs that are loops in a file, as tf2onnx writes Keras's. */

async function same(bytes: Uint8Array<ArrayBuffer>, weights: Record<string, Tensor>, resetAfter = true, returnSequences = true) {
  const model = (await loadModel(bytes)) as unknown as { predict(x: Tensor): Promise<Tensor>; dispose(): void };
  const twin = await sequential([gru(H, { name: "gru", returnSequences, resetAfter })], { inputShape: [null, I] });
  twin.setWeights(weights);
  const x = randomTensor([2, T, I], 9);
  const [y, expected] = [await model.predict(x), await twin.predict(x)];
  assert.equal(y.shape, expected.shape);
  // The same layer with the same weights.
  close(y.data, expected.data, 0, "y");
  model.dispose();
  twin.dispose();
} // biome-ignore format: one signature

const tensor = (name: string): Tensor => ({ shape: WEIGHTS[name][0], data: WEIGHTS[name][1] });
const KERAS: Record<string, Tensor> = {
  "gru.kernel": tensor("K"),
  "gru.recurrentKernel": tensor("R"),
  "gru.bias": { shape: [2, 3 * H], data: Float32Array.from([...WEIGHTS.b[1], ...WEIGHTS.c[1]]) },
};

test("a loop that is a GRU, reset after, in either way to write its blend", async () => {
  // Which biases of the gates are the input's does not matter, and cannot be told from sums.
  const bias = KERAS["gru.bias"].data.slice();
  for (let j = 0; j < 2 * H; j++) {
    bias[j] = Math.fround(bias[j] + bias[3 * H + j]);
    bias[3 * H + j] = 0;
  }
  const weights = { ...KERAS, "gru.bias": { shape: [2, 3 * H], data: bias } };
  await same(file([...GATES, ...BLEND, ...COUNT]), weights);
  await same(file([...GATES, ...OTHER_BLEND, ...COUNT]), weights);
  await same(file([...GATES, ...BLEND, ...COUNT], { output: "last" }), weights, true, false);
  await same(file([...GATES, ...BLEND, ...COUNT], { outside: [["Identity", ["6"], ["T"]]] }), weights);
});

test("a loop that is a GRU, reset before, its gates computed as one", async () => {
  const body: NodeOf[] = [
    ["Gather", ["steps", "t"], ["x_t"], { axis: 0 }],
    ["MatMul", ["x_t", "K"], ["xK"]],
    ["Split", ["xK"], ["x_z", "x_r", "x_n"], { axis: -1 }],
    ["Split", ["R"], ["R_z", "R_r", "R_n"], { axis: 1 }],
    ["MatMul", ["h", "R_z"], ["h_z"]],
    ["MatMul", ["h", "R_r"], ["h_r"]],
    ["Add", ["x_z", "h_z"], ["s_z"]],
    ["Add", ["x_r", "h_r"], ["s_r"]],
    ["Concat", ["s_z", "s_r"], ["s"], { axis: 1 }],
    ["Sigmoid", ["s"], ["zr"]],
    ["Split", ["zr"], ["z", "r"], { axis: 1 }],
    ["Mul", ["r", "h"], ["rh"]],
    ["MatMul", ["rh", "R_n"], ["rhR"]],
    ["Add", ["rhR", "x_n"], ["s_n"]],
    ["Tanh", ["s_n"], ["n"]],
    ...BLEND,
    ...COUNT,
  ];
  const { "gru.bias": _, ...weights } = KERAS;
  await same(file(body), { ...weights, "gru.bias": { shape: [3 * H], data: new Float32Array(3 * H) } }, false);
});

test("a gate that is one minus z is z with the signs of its sum turned round", async () => {
  const weights = Object.fromEntries(
    Object.entries(KERAS).map(([name, { shape, data }]) => {
      const turned = data.map((w, i) => (i % (3 * H) < H ? -w : w));
      if (name === "gru.bias")
        for (let j = 0; j < 2 * H; j++) {
          turned[j] = Math.fround(turned[j] + turned[3 * H + j]);
          turned[3 * H + j] = 0;
        }
      return [name, { shape, data: turned }];
    }),
  );
  const blend: NodeOf[] = [
    ["Mul", ["z", "n"], ["zn"]],
    ["Sub", ["one", "z"], ["u"]],
    ["Mul", ["u", "h"], ["uh"]],
    ["Add", ["zn", "uh"], ["next"]],
  ];
  await same(file([...GATES, ...blend, ...COUNT]), weights);
});

test("other loops are refused, with the reason and what would do", async () => {
  const swapped = (from: NodeOf, to: NodeOf) => GATES.map((own) => (own[2][0] === from[2][0] ? to : own));
  const less = (n: string): NodeOf[] => [COUNT[0], ["Less", ["t_next", n], ["goes"]]];
  const halves: NodeOf[] = [
    ["Add", ["one", "one"], ["two"]],
    ["Mul", ["z", "h"], ["zh"]],
    ["Mul", ["h", "h"], ["hh"]],
    ["Add", ["zh", "hh"], ["kept2"]],
    ["Div", ["kept2", "two"], ["kept"]],
    ...BLEND.slice(1, 3),
    ["Add", ["kept", "un"], ["next"]],
  ];
  const exchanged: NodeOf[] = [
    ...BLEND.slice(0, 3),
    ["Add", ["zh", "un"], ["own"]],
    ["Constant", [], ["pairs"], { value_ints: [0, 2, 2] }],
    ["Constant", [], ["flat"], { value_ints: [0, H] }],
    ["Reshape", ["own", "pairs"], ["apart"]],
    ["Transpose", ["apart"], ["turned"], { perm: [0, 2, 1] }],
    ["Reshape", ["turned", "flat"], ["next"]],
  ];
  const fixed = { outside: [["Identity", ["6"], ["T"]]] as NodeOf[] };
  const cases: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [file([...GATES, ...BLEND, ...less("5")], fixed), /may end before the last step, or never/],
    [file([...GATES, ...BLEND, ...less("7")], fixed), /may end before the last step, or never/],
    [file([...GATES, ...BLEND, ...less("6")]), /may end before the last step, or never/],
    [file([...GATES, ["Mul", ["z", "h"], ["zh"]], ["Add", ["zh", "n"], ["next"]], ...COUNT]), /is not z · h/],
    [file([...GATES, ...halves, ...COUNT]), /is not z · h/],
    [file([...GATES, ...exchanged, ...COUNT]), /features apart, or merged/],
    [file([...swapped(GATES[10], ["Tanh", ["s_r"], ["r"]]), ...BLEND, ...COUNT]), /two gates have different activations/],
    [file([...swapped(GATES[11], ["Mul", ["r", "x_n"], ["rh"]]), ...BLEND, ...COUNT]), /no product with the state|no state that a gate/],
    [file([...swapped(GATES[13], ["LSTM", ["s_n"], ["n"]]), ...BLEND, ...COUNT]), /LSTM node "n": no layer/],
    [file([...swapped(GATES[1], ["MatMul", ["x", "K"], ["xK"]]), ...BLEND, ...COUNT]), /goes through no sequence|of the graph around it/],
    [file([...GATES, ...BLEND, ["Add", ["t", "5"], ["t_next"]], COUNT[1]]), /does not count steps/],
  ]; // biome-ignore format: a table
  for (const [bytes, message] of cases) await refuses(() => loadModel(bytes), FormatError, message);
});

test("numbers of two branches that have the same name are refused", async () => {
  const branch = (n: number) =>
    graph(
      "branch",
      [node("Mul", `own/${n}`, ["x", "factor"], [`b${n}`]), initializer("factor", [], Float32Array.of(n))],
      [],
      [{ name: `b${n}`, type: TYPE.float }],
    );
  const both = (n: number) => ({ then_branch: { graph: branch(n) }, else_branch: { graph: branch(n) } });
  const bytes = onnxFile(
    [
      ["If", ["yes"], ["p"], both(2)],
      ["If", ["yes"], ["q"], both(3)],
      ["Add", ["p", "q"], ["y"]],
    ],
    { yes: [[], [1]] },
  );
  await refuses(() => loadModel(bytes), FormatError, /If node "If_1": a branch with numbers "factor"/);
});

test("a condition that sizes decide is its branch; another one is refused", async () => {
  const branch = (type: string) =>
    graph("branch", [node(type, `own/${type}`, ["x"], ["b"])], [], [{ name: "b", type: TYPE.float }]);
  const of = (axis: number) =>
    onnxFile(
      [
        ["Shape", ["x"], ["s"]],
        ["Gather", ["s", "at"], ["n"], { axis: 0 }],
        ["Equal", ["n", "three"], ["is3"]],
        ["If", ["is3"], ["c"], { then_branch: { graph: branch("Tanh") }, else_branch: { graph: branch("Relu") } }],
        ["Identity", ["c"], ["y"]],
      ],
      { at: [[], [axis]], three: [[], [3]] },
      ["batch", "time", 3],
    );
  const model = (await loadModel(of(2))) as Model<Tensor>;
  const x = randomTensor([1, 2, 3], 1);
  close((await model.predict(x)).data, x.data.map(Math.tanh), 1e-6, "tanh");
  model.dispose();
  await refuses(() => loadModel(of(1)), FormatError, /If node "If_3": a condition that depends on the input/);
});

test.run();
