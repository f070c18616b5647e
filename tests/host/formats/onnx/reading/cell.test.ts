import { test } from "uvu";
import * as assert from "uvu/assert";
import { readCell } from "../../../../../host/formats/onnx/reading/cell.ts";
import type { Emitted } from "../../../../../host/formats/onnx/reading/graph.ts";
import { uniform } from "../../../../kit/core.ts";

/** What a step may take before it is given up. */

const node = (type: string, inputs: number[], weights: Emitted["weights"] = {}): Emitted => ({
  type,
  config: {},
  inputs: inputs.map((read) => ({ node: read })),
  weights,
  name: type,
});
const kernel = { shape: [8, 8], data: uniform(64, 1) };

test("products of matrices are counted, over all cells of a graph", () => {
  const twice = [node("dense", [-2], { kernel }), node("dense", [0], { kernel })];
  const work = { left: 2 * 8 ** 3 };
  assert.match(String(readCell(twice, 4, 8, 1, work)), /next state is a product/);
  assert.is(work.left, 8 ** 3);
  readCell(twice, 4, 8, 1, work);
  assert.is(readCell(twice, 4, 8, 1, work), "products of large matrices");
});

test("tensors that are joined with themselves again and again are given up", () => {
  const joined = Array.from({ length: 40 }, (_, i) => node("concatenate", [i - 1, i - 1]));
  joined[0] = node("concatenate", [-2, -2]);
  assert.match(String(readCell(joined, 4, 8, 39, { left: 0 })), /a matrix of \[8, \d+\]|a step of 40 layers/);
});

test.run();
