import { test } from "uvu";
import * as assert from "uvu/assert";
import type { TorchTensor } from "../../../../host/formats/torch/tensors.ts";
import { withoutWeightNorm } from "../../../../host/formats/torch/weight-norm.ts";
import { FormatError } from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { refuses } from "../../../kit/models.ts";

const stored = (shape: number[], data: number[]): TorchTensor => ({
  dtype: "F32",
  shape,
  read: () => Float32Array.from(data),
});

function weights(tensors: Record<string, TorchTensor>): Record<string, number[]> {
  const plain = withoutWeightNorm(new Map(Object.entries(tensors)), "test");
  return Object.fromEntries([...plain].map(([name, tensor]) => [name, [...tensor.read()]]));
}

const v = stored([2, 2], [3, 4, 6, 8]);

test("w = g v / |v|, the norm over the axes along which g has one number", () => {
  assert.equal(weights({ "a.weight_g": stored([2, 1], [5, 20]), "a.weight_v": v }), { "a.weight": [3, 4, 12, 16] });
  const { "a.weight": columns } = weights({ "a.weight_g": stored([1, 2], [1, 1]), "a.weight_v": v });
  close(
    columns,
    [3, 4, 6, 8].map((x, i) => x / Math.sqrt(i % 2 ? 80 : 45)),
    1e-7,
    "columns",
  );
  const { "a.weight": whole } = weights({ "a.weight_g": stored([], [2]), "a.weight_v": v });
  close(
    whole,
    [3, 4, 6, 8].map((x) => (2 * x) / Math.sqrt(125)),
    1e-6,
    "one number",
  );
  const cube = { weight_g: stored([1, 2, 1], [1, 2]), weight_v: stored([2, 2, 2], [1, 2, 0, 0, 2, 4, 3, 4]) };
  close(weights(cube).weight, [1 / 5, 2 / 5, 0, 0, 2 / 5, 4 / 5, 6 / 5, 8 / 5], 1e-6, "the axis between");
});

test("the names of PyTorch 2, also of the weights of an nn.GRU, in the place of the direction", () => {
  const name = (end: number) => `rnn.parametrizations.weight_hh_l0.original${end}`;
  const read = weights({ "rnn.bias": stored([1], [7]), [name(0)]: stored([2, 1], [5, 10]), [name(1)]: v });
  assert.equal(read, { "rnn.bias": [7], "rnn.weight_hh_l0": [3, 4, 6, 8] });
});

test("names that only look so stay, and other computed weights are refused", async () => {
  assert.equal(weights({ "a.w_v": v }), { "a.w_v": [3, 4, 6, 8] });
  assert.equal(Object.keys(weights({ "a.w_g": v, "a.w_v": v })), ["a.w_g", "a.w_v"]);
  for (const name of ["a.weight_orig", "a.parametrizations.weight.original"])
    await refuses(() => weights({ [name]: v }), FormatError, /a weight that PyTorch computes; make it plain there/);
});

test.run();
