import { test } from "uvu";
import * as assert from "uvu/assert";
import { trainTestSplit } from "../../../host/batches/split.ts";
import { OptionError } from "../../../host/core/errors.ts";

test("every sample is in one part, and the parts have their sizes", () => {
  for (const [n, fraction, size] of [
    [10, 0.3, 3],
    [10, 0, 0],
    [10, 1, 10],
    [7, 0.5, 4],
    [0, 0.5, 0],
  ]) {
    const { train, test } = trainTestSplit(n, fraction, 1);
    assert.is(test.length, size);
    assert.equal(
      [...train, ...test].sort((a, b) => a - b),
      Array.from({ length: n }, (_, i) => i),
    );
  }
});

test("the seed decides", () => {
  assert.equal(trainTestSplit(100, 0.2, 3), trainTestSplit(100, 0.2, 3));
  assert.not.equal(trainTestSplit(100, 0.2, 3), trainTestSplit(100, 0.2, 4));
});

test("arguments out of range are refused", () => {
  assert.throws(
    () => trainTestSplit(10, 1.5, 1),
    (e: unknown) => e instanceof OptionError && /"fraction" must be in \[0, 1\], got 1.5/.test(e.message),
  );
  assert.throws(
    () => trainTestSplit(-1, 0.5, 1),
    (e: unknown) => e instanceof OptionError,
  );
});

test.run();
