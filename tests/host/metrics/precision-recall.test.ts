import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import { type Average, f1, precision, recall } from "../../../host/metrics/precision-recall.ts";
import { random } from "../../kit/core.ts";

function near(actual: number, expected: number, what = ""): void {
  assert.ok(Math.abs(actual - expected) < 1e-12, `${what}: expected ${expected}, got ${actual}`);
}

test("binary: hand-counted", () => {
  const yTrue = [0, 1, 1, 0, 1, 1];
  const yPred = [0.1, 0.9, 0.8, 0.7, 0.2, 0.6]; // 3 right, 1 false alarm, 1 missed
  assert.is(precision(yTrue, yPred), 3 / 4);
  assert.is(recall(yTrue, yPred), 3 / 4);
  assert.is(f1(yTrue, yPred), 3 / 4);
  assert.is(precision(yTrue, yPred, { positive: 0 }), 1 / 2);
  assert.is(recall(yTrue, yPred, { positive: 0 }), 1 / 2);
  assert.is(recall(yTrue, yPred, { threshold: 0.15 }), 1);
});

test("averages of scikit-learn's documented example", () => {
  const yTrue = [0, 1, 2, 0, 1, 2];
  const yPred = [0, 2, 1, 0, 0, 1];
  const expected: [typeof precision, Average, number][] = [
    [precision, "macro", 2 / 9],
    [precision, "micro", 1 / 3],
    [precision, "weighted", 2 / 9],
    [recall, "macro", 1 / 3],
    [recall, "micro", 1 / 3],
    [recall, "weighted", 1 / 3],
    [f1, "macro", 4 / 15],
    [f1, "micro", 1 / 3],
    [f1, "weighted", 4 / 15],
  ];
  for (const [metric, average, value] of expected)
    near(metric(yTrue, yPred, { average }), value, `${metric().name} ${average}`);
});

test("averages by their definitions, on random labels", () => {
  const next = random(3);
  const draw = () => Array.from({ length: 200 }, () => Math.floor(next() ** 2 * 5));
  const [yTrue, yPred] = [draw(), draw()];
  const classes = [0, 1, 2, 3, 4].map((c) => {
    const support = yTrue.filter((t) => t === c).length;
    const hits = yTrue.filter((t, i) => t === c && yPred[i] === c).length;
    const predicted = yPred.filter((x) => x === c).length;
    return { support, p: hits / predicted, r: hits / support, f: (2 * hits) / (predicted + support) };
  });
  const mean = (score: (c: (typeof classes)[0]) => number, weight: (c: (typeof classes)[0]) => number) =>
    classes.reduce((sum, c) => sum + score(c) * weight(c), 0) / classes.reduce((sum, c) => sum + weight(c), 0);
  const one = () => 1;
  const support = (c: { support: number }) => c.support;
  near(
    precision(yTrue, yPred, { average: "macro" }),
    mean((c) => c.p, one),
  );
  near(
    recall(yTrue, yPred, { average: "macro" }),
    mean((c) => c.r, one),
  );
  near(
    f1(yTrue, yPred, { average: "macro" }),
    mean((c) => c.f, one),
  );
  near(
    precision(yTrue, yPred, { average: "weighted" }),
    mean((c) => c.p, support),
  );
  near(
    f1(yTrue, yPred, { average: "weighted" }),
    mean((c) => c.f, support),
  );
  near(recall(yTrue, yPred, { average: "weighted" }), yTrue.filter((t, i) => t === yPred[i]).length / 200);
});

test("a denominator of 0 gives 0", () => {
  assert.is(precision([1, 1], [0, 0]), 0);
  assert.is(recall([0, 0], [1, 0]), 0);
  assert.is(f1([0, 0], [0, 0]), 0);
  for (const average of ["binary", "macro", "micro", "weighted"] as const)
    assert.is(f1({ average }).create().result(), 0);
});

test("a class that neither occurs nor is predicted is in no average", () => {
  // Columns 0 and 2 only: two classes, one right, one wrong.
  const yPred = [
    [0.9, 0, 0.1],
    [0.8, 0, 0.2],
  ];
  assert.is(recall([0, 2], yPred, { average: "macro" }), 1 / 2);
});

test("binary needs two classes", () => {
  const refused = (run: () => unknown) =>
    assert.throws(
      run,
      (e: unknown) => e instanceof OptionError && /"binary" needs two classes.*choose "macro"/.test(e.message),
    );
  refused(() => precision([0, 1, 2], [0, 1, 1]));
  refused(() => precision([0, 2], [0, 2]));
  assert.is(precision([0, 2], [0, 2], { positive: 2 }), 1);
  assert.throws(
    () => recall({ average: "none" as never }),
    (e: unknown) => e instanceof OptionError && /"average" must be one of/.test(e.message),
  );
});

test.run();
