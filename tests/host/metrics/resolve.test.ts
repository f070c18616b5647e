import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import { accuracy, precision } from "../../../host/metrics/index.ts";
import { resolveMetric } from "../../../host/metrics/resolve.ts";

test("takes a name, a metric, its JSON and a metric of the user's own", () => {
  assert.is(resolveMetric("test", "accuracy").name, "accuracy");
  const metric = precision({ average: "macro" });
  assert.is(resolveMetric("test", metric), metric);
  assert.equal(resolveMetric("test", JSON.parse(JSON.stringify(metric))).options, metric.options);
  const own = { name: "steps", options: {}, create: () => ({ update() {}, result: () => 1, reset() {} }) };
  assert.is(resolveMetric("test", own).create().result(), 1);
});

test("mistakes are named", () => {
  const refused = (value: unknown, message: RegExp) =>
    assert.throws(
      () => resolveMetric('compile(): "metrics"', value),
      (e: unknown) => e instanceof OptionError && message.test(e.message),
      String(message),
    );
  refused("acuracy", /compile\(\): "metrics": unknown metric "acuracy"; did you mean "accuracy"/);
  refused("toString", /unknown metric/);
  refused("bleu", /metric "bleu" compares texts; call bleu\(yTrue, yPred\)/);
  refused("blue", /did you mean "bleu"/);
  refused({ name: "wordErrorRate", options: {} }, /compares texts/);
  refused(3, /expected a metric, its name or \{ name, options \}, got 3/);
  refused(accuracy, /got a function/);
  refused(null, /got null/);
});

test.run();
