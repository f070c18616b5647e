import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError, ShapeError } from "../../../host/core/errors.ts";
import { tensor } from "../../../host/core/tensor.ts";
import { accuracy, auc, f1, meanSquaredError, perplexity, precision } from "../../../host/metrics/index.ts";
import type { MetricFunction, Values } from "../../../host/metrics/metric.ts";
import { random } from "../../kit/core.ts";

const next = random(11);
const n = 3;
const rows = 40;
const labels = Int32Array.from({ length: rows }, () => Math.floor(next() * n));
const scores = Float32Array.from({ length: rows * n }, () => Math.round(next() * 8) / 8 + 0.125);

function slice(from: number, to: number): [Values, Values] {
  return [tensor(labels.slice(from, to)), { shape: [to - from, n], data: scores.slice(from * n, to * n) }];
}

const metrics: [string, MetricFunction<object>, object?][] = [
  ["accuracy", accuracy],
  ["precision", precision, { average: "macro" }],
  ["f1", f1, { average: "weighted" }],
  ["auc", auc],
  ["perplexity", perplexity],
];

for (const [name, metric, options] of metrics) {
  test(`${name}: batches of any size, one call and two orders agree`, () => {
    const whole = metric(...slice(0, rows), options);
    const sums = metric(options).create();
    for (const [from, to] of [
      [0, 7],
      [7, 7],
      [7, 8],
      [8, 40],
    ])
      sums.update(...slice(from, to));
    assert.ok(Math.abs(sums.result() - whole) < 1e-12, `${sums.result()} ${whole}`);
    sums.reset();
    sums.update(...slice(20, 40));
    sums.update(...slice(0, 20));
    assert.ok(Math.abs(sums.result() - whole) < 1e-12);
  });

  test(`${name}: a weight of 2 is a row twice, a weight of 0 is no row, whatever is in it`, () => {
    const sums = metric(options).create();
    sums.update(...slice(0, 10));
    sums.update(...slice(5, 10));
    const weighted = metric(options).create();
    const [yTrue, yPred] = slice(0, 12);
    yTrue.data[10] = -100;
    yPred.data.fill(Number.NaN, 11 * n);
    weighted.update(yTrue, yPred, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0]);
    assert.ok(Math.abs(sums.result() - weighted.result()) < 1e-12, `${sums.result()} ${weighted.result()}`);
  });

  test(`${name}: one-hot targets are labels, and leading axes are rows`, () => {
    const [yTrue, yPred] = slice(0, 12);
    const hot = Float32Array.from({ length: 12 * n }, (_, i) => (yTrue.data[Math.floor(i / n)] === i % n ? 1 : 0));
    const expected = metric(yTrue, yPred, options);
    assert.is(metric({ shape: [12, n], data: hot }, yPred, options), expected);
    assert.is(metric({ shape: [3, 4], data: yTrue.data }, { shape: [3, 4, n], data: yPred.data }, options), expected);
  });
}

test("a metric knows its name and its options, all of them", () => {
  const { name, options } = precision({ average: "macro" });
  assert.is(name, "precision");
  assert.equal(options, { average: "macro", positive: 1, fromLogits: false, threshold: null });
});

test("means of no rows are not a number", () => {
  assert.ok(Number.isNaN(accuracy().create().result()));
  assert.ok(Number.isNaN(auc().create().result()));
  assert.ok(Number.isNaN(meanSquaredError([], [])));
});

test("whole numbers on one axis are labels, unless options speak of scores", () => {
  assert.is(accuracy([0, 1, 2], [0, 1, 1]), 2 / 3);
  assert.is(accuracy(tensor([0, 1, 2]), tensor([0, 1, 2])), 1);
  assert.is(accuracy([0, 1], [-2, 3], { fromLogits: true }), 1);
  assert.is(accuracy([0, 1], [2, 3], { threshold: 2 }), 1);
  assert.is(meanSquaredError([0, 0], [3e10, 0]), Math.fround(3e10) ** 2 / 2);
});

test("what does not fit is refused", () => {
  const refused = (run: () => unknown, Kind: typeof ShapeError | typeof OptionError, message: RegExp) =>
    assert.throws(run, (e: unknown) => e instanceof Kind && message.test(e.message), String(message));
  const p = { shape: [4, 3], data: new Float32Array(12) };
  refused(
    () => accuracy([0, 1], p),
    ShapeError,
    /accuracy\(\): expected labels \[4\] or values \[4, 3\] for predictions \[4, 3\], got \[2\]/,
  );
  refused(() => accuracy([0, 1, 1], [0.5, 0.1]), ShapeError, /expected 2 targets/);
  refused(() => accuracy([0, 1, 2, 3], p), ShapeError, /labels from 0 to 2, got 3 in row 3/);
  refused(() => accuracy([0, 1, 2, 0.5], p), ShapeError, /got 0.5 in row 3/);
  refused(
    () =>
      accuracy()
        .create()
        .update(tensor([0, 1, 2, 0]), p, [1]),
    ShapeError,
    /expected 4 weights, one a row, got 1/,
  );
  refused(() => accuracy([0, 1] as never), OptionError, /accuracy\(\): expected \(yTrue, yPred\), got targets only/);
  refused(() => accuracy("a" as never, p), ShapeError, /yTrue: expected a tensor or an array, got "a"/);
  refused(
    () => precision({ averge: "macro" } as never),
    OptionError,
    /precision\(\): unknown option "averge"; did you mean "average"/,
  );
});

test.run();
