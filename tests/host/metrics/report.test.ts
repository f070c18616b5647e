import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import { classificationReport } from "../../../host/metrics/report.ts";

const rounded = (value: number) => Math.round(value * 100) / 100;

test("gives the report in scikit-learn's documentation of classification_report", () => {
  const report = classificationReport([0, 1, 2, 2, 2], [0, 0, 2, 2, 1], ["class 0", "class 1", "class 2"]);
  assert.equal(
    report.classes.map((c) => [c.label, rounded(c.precision), rounded(c.recall), rounded(c.f1), c.support]),
    [
      ["class 0", 0.5, 1, 0.67, 1],
      ["class 1", 0, 0, 0, 1],
      ["class 2", 1, 0.67, 0.8, 3],
    ],
  );
  const averages = [report.macro, report.weighted].map((s) => [s.precision, s.recall, s.f1, s.support].map(rounded));
  assert.equal(averages, [
    [0.5, 0.56, 0.49, 5],
    [0.7, 0.6, 0.61, 5],
  ]);
  assert.is(report.accuracy, 0.6);
});

test("takes scores, and names classes by number unless told", () => {
  const report = classificationReport(
    [0, 1],
    [
      [0.9, 0.1, 0],
      [0.2, 0.7, 0.1],
    ],
  );
  assert.equal(
    report.classes.map((c) => c.label),
    ["0", "1", "2"],
  );
  assert.is(report.accuracy, 1);
  assert.is(report.macro.f1, 1);
});

test("every class needs a name if any has one", () => {
  assert.throws(
    () => classificationReport([0, 3], [0, 3], ["a", "b"]),
    (e: unknown) => e instanceof OptionError && /"labels" names no class 3, got \["a", "b"\]/.test(e.message),
  );
});

test.run();
