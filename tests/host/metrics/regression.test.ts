import { test } from "uvu";
import * as assert from "uvu/assert";
import { ShapeError } from "../../../host/core/errors.ts";
import { meanAbsoluteError, meanSquaredError, rootMeanSquaredError } from "../../../host/metrics/regression.ts";

const TRUE = [
  [1, 2],
  [3, 4],
  [5, 6],
];
const PREDICTED = [
  [1.5, 2],
  [3, 2],
  [5, 5],
];

test("hand-computed over rows and columns", () => {
  assert.is(meanAbsoluteError(TRUE, PREDICTED), 3.5 / 6);
  assert.is(meanSquaredError(TRUE, PREDICTED), 5.25 / 6);
  assert.is(rootMeanSquaredError(TRUE, PREDICTED), Math.sqrt(5.25 / 6));
});

test("the root comes after the mean over all batches", () => {
  const sums = rootMeanSquaredError().create();
  for (let r = 0; r < 3; r++)
    sums.update(
      { shape: [1, 2], data: Float32Array.from(TRUE[r]) },
      { shape: [1, 2], data: Float32Array.from(PREDICTED[r]) },
    );
  assert.is(sums.result(), Math.sqrt(5.25 / 6));
});

test("weights are a row's, for all its columns", () => {
  const sums = meanAbsoluteError().create();
  const yPred = Float32Array.from(PREDICTED.flat());
  yPred[4] = Number.NaN;
  sums.update({ shape: [3, 2], data: Float32Array.from(TRUE.flat()) }, { shape: [3, 2], data: yPred }, [3, 1, 0]);
  assert.is(sums.result(), (3 * 0.5 + 2) / 8);
});

test("labels are no targets for several columns", () => {
  assert.throws(
    () => meanSquaredError([1, 2, 3], PREDICTED),
    (e: unknown) => e instanceof ShapeError && /expected targets \[3, 2\], got \[3\]/.test(e.message),
  );
});

test.run();
