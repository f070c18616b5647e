import { test } from "uvu";
import * as assert from "uvu/assert";
import { oneHot } from "../../../host/batches/one-hot.ts";
import { ShapeError } from "../../../host/core/errors.ts";

test("adds an axis of classes", () => {
  assert.equal(oneHot([2, 0], 3), { shape: [2, 3], data: Float32Array.of(0, 0, 1, 1, 0, 0) });
  assert.equal(oneHot([[1], [0]], 2), { shape: [2, 1, 2], data: Float32Array.of(0, 1, 1, 0) });
  assert.equal(oneHot([], 2).shape, [0, 2]);
});

test("refuses labels that are no class", () => {
  for (const label of [-1, 3, 0.5])
    assert.throws(
      () => oneHot([0, label], 3),
      (e: unknown) => e instanceof ShapeError && /at position 1/.test(e.message),
    );
});

test.run();
