import { test } from "uvu";
import * as assert from "uvu/assert";
import { pad8, sameBits, TestCore, uniform } from "../kit/core.ts";

test("a row is masked when all its features equal the value, or when it was masked before", () => {
  const core = new TestCore();
  for (const n of [1, 3, 4, 5, 7, 8, 9, 17])
    for (const value of [0, -1]) {
      const rows = 6;
      const stride = pad8(n);
      const x = uniform(rows * n, n);
      x.fill(value, 0, n); // row 0: all equal
      x.fill(value, 2 * n, 3 * n - 1); // row 2: all but the last
      const given = [1, 1, 1, 0, 1, 1];
      const at = core.putRows(x, rows, n);
      for (const masked of [false, true]) {
        const y = core.alloc(rows * stride);
        core.f32(y, rows * stride).fill(Number.NaN);
        const mask = core.alloc(rows);
        core.k.maskRows(y, mask, at, masked ? core.put(given, "i32") : 0, rows, n, stride, value);
        const expected = [0, 1, 1, masked ? 0 : 1, 1, 1];
        assert.equal([...core.i32(mask, rows)], expected, `features ${n}, value ${value}`);
        const out = core.rows(y, rows, n);
        for (let r = 0; r < rows; r++)
          sameBits(
            out.slice(r * n, (r + 1) * n),
            expected[r] ? x.slice(r * n, (r + 1) * n) : new Float32Array(n),
            `row ${r}`,
          );
      }
    }
  core.checkCanaries();
});

test("gradients pass where a step counts", () => {
  const core = new TestCore();
  for (const n of [1, 4, 5, 9]) {
    const [rows, stride] = [3, pad8(n)];
    const dy = uniform(rows * n, 1);
    const mask = core.put([1, 0, 1], "i32");
    const before = uniform(rows * n, 2);
    for (const accumulate of [0, 1]) {
      const dx = core.putRows(before, rows, n, stride, 0);
      core.k.maskRowsBackward(dx, core.putRows(dy, rows, n, stride, 0), mask, rows, stride, accumulate);
      const expected = dy.map((v, i) => (Math.floor(i / n) === 1 ? 0 : v) + (accumulate ? before[i] : 0));
      sameBits(core.rows(dx, rows, n), expected, `accumulate ${accumulate}`);
    }
  }
  core.checkCanaries();
});

test("token 0 is masked", () => {
  const core = new TestCore();
  const tokens = core.put([0, 3, 1, 0, 7], "i32");
  const mask = core.alloc(5);
  core.k.maskTokens(mask, tokens, 0, 5);
  assert.equal([...core.i32(mask, 5)], [0, 1, 1, 0, 1]);
  core.k.maskTokens(mask, tokens, core.put([1, 0, 1, 1, 1], "i32"), 5);
  assert.equal([...core.i32(mask, 5)], [0, 0, 1, 0, 1]);
  core.checkCanaries();
});

test.run();
