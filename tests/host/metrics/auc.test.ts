import { test } from "uvu";
import * as assert from "uvu/assert";
import { ShapeError } from "../../../host/core/errors.ts";
import { auc } from "../../../host/metrics/auc.ts";
import { random } from "../../kit/core.ts";

/** The definition: over all pairs of a positive and a negative, 1 if ordered, ½ if tied; pairs by weight. */
function pairs(positive: boolean[], scores: number[], weights = scores.map(() => 1)): number {
  let [area, total] = [0, 0];
  for (let i = 0; i < scores.length; i++)
    for (let j = 0; j < scores.length; j++)
      if (positive[i] && !positive[j]) {
        const w = weights[i] * weights[j];
        total += w;
        area += scores[i] > scores[j] ? w : scores[i] === scores[j] ? w / 2 : 0;
      }
  return area / total;
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-12, `expected ${expected}, got ${actual}`);
}

test("is 0.75 in scikit-learn's documented example, 1 and 0 at the extremes, 0.5 for a constant", () => {
  assert.is(auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 0.75);
  assert.is(auc([0, 1], [0.1, 0.2]), 1);
  assert.is(auc([1, 0], [0.1, 0.2]), 0);
  assert.is(auc([1, 0, 1], [7, 7, 7]), 0.5);
});

test("binary agrees with counting pairs, with ties and weights", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const next = random(seed);
    const rows = 60;
    const labels = Array.from({ length: rows }, () => (next() < 0.3 ? 1 : 0));
    const scores = Array.from({ length: rows }, () => Math.floor(next() * 12) / 16); // exact in f32, many ties
    const weights = Array.from({ length: rows }, () => Math.floor(next() * 4));
    near(
      auc(
        labels,
        scores.map((s) => [s]),
      ),
      pairs(
        labels.map((l) => l === 1),
        scores,
      ),
    );
    const sums = auc().create();
    sums.update(
      { shape: [rows], data: Int32Array.from(labels) },
      { shape: [rows, 1], data: Float32Array.from(scores) },
      weights,
    );
    near(
      sums.result(),
      pairs(
        labels.map((l) => l === 1),
        scores,
        weights,
      ),
    );
  }
});

test("several columns: the mean of each class against the rest, over classes that occur", () => {
  const next = random(5);
  const labels = Array.from({ length: 50 }, () => Math.floor(next() * 3));
  const scores = labels.map(() => Array.from({ length: 4 }, () => Math.floor(next() * 16) / 16));
  const areas = [0, 1, 2].map((c) =>
    pairs(
      labels.map((l) => l === c),
      scores.map((s) => s[c]),
    ),
  );
  near(auc(labels, scores), (areas[0] + areas[1] + areas[2]) / 3);
});

test("logits of several classes are compared as probabilities", () => {
  const next = random(6);
  const labels = Array.from({ length: 30 }, () => Math.floor(next() * 3));
  const logits = labels.map(() => Array.from({ length: 3 }, () => Math.fround(next() * 8 - 4)));
  const probabilities = logits.map((row) => {
    const powers = row.map(Math.exp);
    return powers.map((p) => p / powers.reduce((a, b) => a + b));
  });
  const areas = [0, 1, 2].map((c) =>
    pairs(
      labels.map((l) => l === c),
      probabilities.map((p) => p[c]),
    ),
  );
  near(auc(labels, logits, { fromLogits: true }), (areas[0] + areas[1] + areas[2]) / 3);
});

test("is not a number where it is not defined", () => {
  assert.ok(Number.isNaN(auc([1, 1], [0.1, 0.2])));
  assert.ok(Number.isNaN(auc([0, 1], [0.1, Number.NaN])));
  assert.ok(
    Number.isNaN(
      auc(
        [0, 1],
        [
          [0.1, Number.NaN],
          [0.5, 0.5],
        ],
      ),
    ),
  );
});

test("refuses labels and columns that do not fit", () => {
  const refused = (run: () => unknown, message: RegExp) =>
    assert.throws(run, (e: unknown) => e instanceof ShapeError && message.test(e.message));
  refused(() => auc([0, 2], [0.1, 0.2]), /labels 0 and 1 for a single score, got 2 in row 1/);
  const sums = auc().create();
  sums.update({ shape: [1], data: Int32Array.of(0) }, { shape: [1, 2], data: new Float32Array(2) });
  refused(
    () => sums.update({ shape: [1], data: Int32Array.of(0) }, { shape: [1, 3], data: new Float32Array(3) }),
    /expected 2 scores a row as before, got 3/,
  );
});

test.run();
