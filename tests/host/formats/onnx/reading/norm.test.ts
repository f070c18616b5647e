import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, layerNorm, loadModel, type Model, sequential, type Tensor } from "../../../../../host/index.ts";
import { close, uniform } from "../../../../kit/core.ts";
import { randomTensor, refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Layer normalisation in pieces is the layer, whatever the pieces are. */

const F = 3;
const NUMBERS: NumbersOf = {
  gamma: [[F], uniform(F, 1)],
  beta: [[F], uniform(F, 2)],
  steps: [[F, 1], uniform(F, 2)],
  epsilon: [[], Float32Array.of(1e-3)],
  two: [[], Float32Array.of(2)],
  three: [[], Float32Array.of(3)],
  "-half": [[], Float32Array.of(-0.5)],
};
const MEAN: NodeOf[] = [
  ["ReduceMean", ["x"], ["mean"], { axes: [-1] }],
  ["Sub", ["x", "mean"], ["c"]],
];
const VARIANCE: NodeOf[] = [
  ...MEAN,
  ["Pow", ["c", "two"], ["cc"]],
  ["ReduceMean", ["cc"], ["v"], { axes: [2] }],
  ["Add", ["v", "epsilon"], ["ve"]],
];
const INVERSE: NodeOf[] = [
  ["Pow", ["ve", "-half"], ["i"]],
  ["Mul", ["gamma", "i"], ["ig"]],
];

const FORMS: Record<string, NodeOf[]> = {
  quotient: [...VARIANCE, ["Sqrt", ["ve"], ["s"]], ["Div", ["c", "s"], ["d"]], ["Mul", ["d", "gamma"], ["g"]], ["Add", ["beta", "g"], ["y"]]],
  product: [...VARIANCE, ["Sqrt", ["ve"], ["s"]], ["Reciprocal", ["s"], ["i"]], ["Mul", ["i", "gamma"], ["ig"]], ["Mul", ["ig", "c"], ["g"]], ["Add", ["g", "beta"], ["y"]]],
  "what is left of the bias": [...VARIANCE, ...INVERSE, ["Mul", ["x", "ig"], ["a"]], ["Mul", ["ig", "mean"], ["m"]], ["Sub", ["beta", "m"], ["r"]], ["Add", ["r", "a"], ["y"]]],
  "a negative mean": [...VARIANCE, ...INVERSE, ["Neg", ["mean"], ["n"]], ["Mul", ["n", "ig"], ["m"]], ["Add", ["m", "beta"], ["r"]], ["Mul", ["x", "ig"], ["a"]], ["Add", ["a", "r"], ["y"]]],
}; // biome-ignore format: a table

const file = (nodes: readonly NodeOf[]) => onnxFile(nodes, NUMBERS, ["batch", "time", F]);

for (const [name, nodes] of Object.entries(FORMS))
  test(`${name}: one layer`, async () => {
    const model = (await loadModel(file(nodes))) as Model<Tensor>;
    assert.equal(
      Object.keys(model.weights()).map((key) => key.split(".")[1]),
      ["gamma", "beta"],
    );
    const twin = await sequential([layerNorm({ name: "n", epsilon: Math.fround(1e-3) })], { inputShape: [null, F] });
    const [gamma, beta] = ["gamma", "beta"].map((key) => NUMBERS[key][1] as Float32Array);
    twin.setWeights({ "n.gamma": { shape: [F], data: gamma }, "n.beta": { shape: [F], data: beta } });
    const x = randomTensor([2, 4, F], 3);
    close((await model.predict(x)).data, (await twin.predict(x)).data, 0, name);
    model.dispose();
    twin.dispose();
  });

test("what is nearly a normalisation is refused", async () => {
  const cases: [NodeOf[], RegExp][] = [
    [[...MEAN, ["Pow", ["c", "three"], ["y"]]], /Pow node .*the centered of a layer normalisation/],
    [[["ReduceMean", ["x"], ["m"], { axes: [-1] }], ["Neg", ["m"], ["n"]], ["Sub", ["x", "n"], ["y"]]], /Sub node .*the mean of a layer normalisation/],
    [[...VARIANCE, ["Sqrt", ["v"], ["y"]]], /Sqrt node .*the variance of a layer normalisation/],
    [[["ReduceMean", ["x"], ["y"], { axes: [-1] }]], /output "y": .*the mean of a layer normalisation/],
    [[["ReduceMean", ["x"], ["m"], { axes: [-1], keepdims: 0 }], ["Sub", ["x", "m"], ["y"]]], /a mean over axes \[-1\]/],
    [[...VARIANCE, ["Pow", ["ve", "-half"], ["i"]], ["Mul", ["steps", "i"], ["ig"]], ["Mul", ["ig", "c"], ["y"]]], /Mul node/],
    [[...VARIANCE, ...INVERSE, ["Mul", ["x", "ig"], ["a"]], ["Mul", ["ig", "mean"], ["m"]], ["Sub", ["steps", "m"], ["r"]], ["Add", ["r", "a"], ["y"]]], /Sub node/],
  ]; // biome-ignore format: a table
  for (const [nodes, message] of cases) await refuses(() => loadModel(file(nodes)), FormatError, message);
});

test.run();
