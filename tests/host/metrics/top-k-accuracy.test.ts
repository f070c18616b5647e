import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError, ShapeError } from "../../../host/core/errors.ts";
import { topKAccuracy } from "../../../host/metrics/top-k-accuracy.ts";

// The example in scikit-learn's documentation of top_k_accuracy_score.
const LABELS = [0, 1, 2, 2];
const SCORES = [
  [0.5, 0.2, 0.2],
  [0.3, 0.4, 0.2],
  [0.2, 0.4, 0.3],
  [0.7, 0.2, 0.1],
];

test("counts labels among the k highest scores", () => {
  assert.is(topKAccuracy(LABELS, SCORES, { k: 1 }), 0.5);
  assert.is(topKAccuracy(LABELS, SCORES, { k: 2 }), 0.75);
  assert.is(topKAccuracy(LABELS, SCORES), 1);
});

test("equal scores count in favour, scores that are not numbers never", () => {
  assert.is(
    topKAccuracy(
      [1, 2],
      [
        [0.5, 0.5, 0],
        [0.5, 0.5, 0],
      ],
      { k: 1 },
    ),
    0.5,
  );
  assert.is(topKAccuracy([1], [[0.5, Number.NaN, 0]], { k: 3 }), 0);
});

test("needs k >= 1 and classes to choose from", () => {
  assert.throws(
    () => topKAccuracy({ k: 0 }),
    (e: unknown) => e instanceof OptionError && /"k".*at least 1, got 0/.test(e.message),
  );
  assert.throws(
    () => topKAccuracy([0, 1], [0.5, 0.2]),
    (e: unknown) => e instanceof ShapeError && /two or more classes/.test(e.message),
  );
});

test.run();
