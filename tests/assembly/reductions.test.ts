import { test } from "uvu";
import * as assert from "uvu/assert";
import { TestCore, uniform } from "../kit/core.ts";
import { SIZES } from "../kit/shapes.ts";

test("norms in double precision, without what follows n", () => {
  for (const n of [0, ...SIZES, 1001]) {
    const core = new TestCore();
    const x = uniform(n, n, 3);
    const at = core.put([...x, 1e30, 1e30, 1e30]);
    const near = (actual: number, expected: number, what: string) =>
      assert.ok(Math.abs(actual - expected) <= 1e-14 * expected, `${what}, n ${n}: ${actual}, expected ${expected}`);
    near(
      core.k.sumOfSquares(at, n),
      x.reduce((a, v) => a + v * v, 0),
      "sum of squares",
    );
    near(
      core.k.sumOfAbsolutes(at, n),
      x.reduce((a, v) => a + Math.abs(v), 0),
      "sum of absolutes",
    );
    assert.is(
      core.k.maxAbsolute(at, n),
      x.reduce((a, v) => Math.max(a, Math.abs(v)), 0),
    );
  }
});

test("norms do not overflow in float32, and pass NaN and infinity on", () => {
  const core = new TestCore();
  const norms = (values: number[]) => {
    const at = core.put(values);
    const { sumOfSquares, sumOfAbsolutes, maxAbsolute } = core.k;
    return [sumOfSquares, sumOfAbsolutes, maxAbsolute].map((norm) => norm(at, values.length));
  };
  assert.is(norms([2 ** 100, 0, 0, 0, 0])[0], 2 ** 200);
  for (let i = 0; i < 7; i++) {
    const values = [1, -2, 3, Infinity, 5, 6, 7];
    assert.equal(norms(values), [Infinity, Infinity, Infinity]);
    values[i] = NaN;
    assert.equal(norms(values), [NaN, NaN, NaN], `NaN at ${i}`);
  }
});

test.run();
