import { test } from "uvu";
import * as assert from "uvu/assert";
import { activationOf, erf } from "../../../../../host/formats/onnx/reading/curves.ts";
import { FormatError, loadModel } from "../../../../../host/index.ts";
import { uniform } from "../../../../kit/core.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, onnxFile } from "../../../../kit/onnx.ts";

test("the error function agrees with its tables to 1e-13", () => {
  // Abramowitz and Stegun, table 7.1, and for the tail erfc: computed to 17 digits.
  const table: [number, number][] = [
    [0, 0],
    [1e-8, 1.1283791670955125e-8],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.9, 0.9999589021219005],
    [3.1, 0.9999883513426328],
    [3.5, 0.9999992569016276],
    [5, 0.9999999999984626],
    [20, 1],
  ];
  for (const [x, y] of table)
    for (const sign of [1, -1]) assert.ok(Math.abs(erf(sign * x) - sign * y) < 1e-13, `erf(${sign * x})`);
});

test("a function is the activation that it agrees with, in whatever form it is written", () => {
  const f = Math.fround;
  const root2 = f(Math.SQRT2);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const cases: [(x: number) => number, unknown][] = [
    [(x) => 0.5 * x * (1 + erf(x / root2)), "gelu"],
    [(x) => (x * (1 + erf(x * f(Math.SQRT1_2)))) / 2, "gelu"],
    [(x) => x / (1 + Math.exp(-x)), "silu"],
    [(x) => 2 * sigmoid(2 * x) - 1, "tanh"],
    [(x) => Math.log(1 + Math.exp(x)), "softplus"],
    [(x) => Math.log(sigmoid(x)), "logSigmoid"],
    [(x) => x / (1 + Math.abs(x)), "softsign"],
    [(x) => (x + Math.abs(x)) / 2, "relu"],
    [(x) => Math.max(x, f(0.1) * x), { name: "leakyRelu", alpha: f(0.1) }],
    [(x) => Math.max(x, 0) + Math.min(0, Math.exp(x) - 1), { name: "elu", alpha: 1 }],
    [(x) => Math.max(-0.5, Math.min(x, 2)), { name: "hardtanh", alpha: -0.5, beta: 2 }],
    // Cut off further out than most numbers are.
    [(x) => Math.min(Math.max(x, 0), 100), { name: "hardtanh", alpha: 0, beta: 100 }],
    [(x) => Math.min(x, 2e6), { name: "hardtanh", alpha: f(-3.4e38), beta: 2e6 }],
    [(x) => Math.min(Math.max(x + 3, 0), 6) / 6, { name: "hardSigmoid", alpha: f(1 / 6), beta: 0.5 }],
  ];
  for (const [own, expected] of cases) assert.equal(activationOf(own), expected, String(own));
});

test("a function that is nearly one is none", () => {
  const tanhGelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const others: ((x: number) => number)[] = [
    (x) => x / (1 + Math.exp(-1.702 * x)),
    (x) => x * x,
    () => 1,
    (x) => (x > 5e-4 ? x : 0),
    (x) => Math.min(Math.max(x, 0.1 * x), 1000),
  ];
  for (const f of [tanhGelu, Math.exp, ...others]) assert.is(activationOf(f), undefined, String(f));
});

test("a function that becomes none is refused where a layer reads it", async () => {
  const file = (nodes: NodeOf[]) => onnxFile(nodes, { K: [[3, 3], uniform(9, 1)], one: [[], Float32Array.of(1)] });
  await refuses(
    () =>
      loadModel(
        file([
          ["Exp", ["x"], ["e"]],
          ["MatMul", ["e", "K"], ["y"]],
        ]),
      ),
    FormatError,
    /MatMul node "MatMul_1": input 0 is a function that gruvy has no activation for/,
  );
  // The exponentials of one tensor beside another.
  await refuses(
    () =>
      loadModel(
        file([
          ["MatMul", ["x", "K"], ["k"]],
          ["Exp", ["x"], ["e"]],
          ["Mul", ["k", "e"], ["y"]],
        ]),
      ),
    FormatError,
    /Mul node "Mul_2": data .* with a function that gruvy has no activation for/,
  );
});

test.run();
