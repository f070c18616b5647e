import { test } from "uvu";
import * as assert from "uvu/assert";
import { confusionMatrix } from "../../../host/metrics/confusion-matrix.ts";

test("rows are true classes, columns predictions", () => {
  // The example in scikit-learn's documentation of confusion_matrix.
  assert.equal(confusionMatrix([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2]), {
    matrix: [
      [2, 0, 0],
      [0, 0, 1],
      [1, 0, 2],
    ],
    labels: [0, 1, 2],
  });
});

test("labels may be any whole numbers, and come in ascending order", () => {
  assert.equal(confusionMatrix([1000000, -7, 10], [10, -7, 10]), {
    matrix: [
      [1, 0, 0],
      [0, 1, 0],
      [0, 1, 0],
    ],
    labels: [-7, 10, 1000000],
  });
});

test("columns are classes, whether they occur or not", () => {
  assert.equal(confusionMatrix([1], [[0.1, 0.8, 0.1]]), {
    matrix: [
      [0, 0, 0],
      [0, 1, 0],
      [0, 0, 0],
    ],
    labels: [0, 1, 2],
  });
  assert.equal(confusionMatrix([1, 1], [[0.8], [0.1]]), {
    matrix: [
      [0, 0],
      [1, 1],
    ],
    labels: [0, 1],
  });
});

test("counts are weights", () => {
  const sums = confusionMatrix().create();
  sums.update({ shape: [2], data: Int32Array.of(0, 1) }, { shape: [2, 1], data: Float32Array.of(0.1, 0.2) }, [0.5, 3]);
  assert.equal(sums.result().matrix, [
    [0.5, 0],
    [3, 0],
  ]);
  sums.reset();
  assert.equal(sums.result(), { matrix: [], labels: [] });
});

test.run();
