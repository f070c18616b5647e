import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import { accuracy } from "../../../host/metrics/accuracy.ts";

const PROBABILITIES = [
  [0.1, 0.6, 0.3],
  [0.8, 0.1, 0.1],
  [0.2, 0.3, 0.5],
  [0.4, 0.4, 0.2],
];

test("sparse: the label against the largest column, the first of equals", () => {
  assert.is(accuracy([1, 0, 1, 0], PROBABILITIES), 3 / 4);
  assert.is(accuracy([1, 0, 1, 1], PROBABILITIES), 2 / 4);
});

test("categorical: the largest target against the largest column", () => {
  assert.is(
    accuracy(
      [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0.9, 0.1],
        [0, 0, 1],
      ],
      PROBABILITIES,
    ),
    2 / 4,
  );
});

test("binary: one column against 0.5, against 0 for logits, or against the threshold", () => {
  const scores = [[0.2], [0.9], [0.4], [0.5]];
  assert.is(accuracy([0, 1, 1, 0], scores), 3 / 4); // 0.5 is not above 0.5
  assert.is(accuracy([0, 1, 1, 0], scores, { threshold: 0.3 }), 3 / 4);
  assert.is(accuracy([0, 1, 1, 0], scores, { fromLogits: true }), 2 / 4);
  assert.is(accuracy([0, 1], [-0.5, 0.25], { fromLogits: true }), 1);
});

test("a bad threshold is refused", () => {
  assert.throws(
    () => accuracy({ threshold: Number.NaN }),
    (e: unknown) => e instanceof OptionError && /"threshold"/.test(e.message),
  );
  assert.throws(
    () => accuracy({ fromLogits: 1 as never }),
    (e: unknown) => e instanceof OptionError && /true or false/.test(e.message),
  );
});

test.run();
