import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, checkPadding, GARBAGE, ROUNDING, row, shapes, smallShapes } from "../kit/shapes.ts";
import { logSoftmax, softmax } from "../reference/softmax.ts";

const twins = { softmax, logSoftmax };

for (const name of ["softmax", "logSoftmax"] as const) {
  test(`${name} of every shape, whatever the padding and the other rows`, () => {
    for (const { rows, n, stride } of shapes()) {
      const core = new TestCore();
      const x = uniform(rows * n, 7 + n, 6);
      const [from, y] = [core.putRows(x, rows, n, stride, GARBAGE), core.alloc(rows * stride)];
      core.k[name](y, from, rows, n, stride);
      const all = core.rows(y, rows, n, stride);
      for (let i = 0; i < rows; i++) {
        // e^x 1.2 ulp, a sum of n/4 + 2 terms, a product; for the logarithm also x − max, up to 12.
        close(row(all, i, n), twins[name](row(x, i, n)), (n / 4 + 10) * ROUNDING, `${name} ${rows}x${n}, row ${i}`);
        const alone = core.alloc(stride);
        core.k[name](alone, from + i * stride * 4, 1, n, stride);
        sameBits(core.rows(alone, 1, n, stride), row(all, i, n), `row ${i} alone`);
      }
      checkPadding(core.f32(y, rows * stride), { rows, n, stride }, name);
      core.k[name](from, from, rows, n, stride);
      sameBits(core.rows(from, rows, n, stride), all, "in place");
      core.checkCanaries();
    }
  });

  test(`${name} does not depend on the stride`, () => {
    const core = new TestCore();
    const x = uniform(5 * 17, 3, 4);
    const [a, b] = [24, 40].map((stride) => {
      const y = core.alloc(5 * stride);
      core.k[name](y, core.putRows(x, 5, 17, stride, GARBAGE), 5, 17, stride);
      return core.rows(y, 5, 17, stride);
    });
    sameBits(a, b, name);
  });

  test(`${name}, backward, against central differences`, () => {
    for (const { rows, n, stride } of smallShapes()) {
      const core = new TestCore();
      const [x, dy, before] = [uniform(rows * n, n, 3), uniform(rows * n, n + 1), uniform(rows * n, n + 2)];
      const clean = core.alloc(rows * stride);
      core.k[name](clean, core.putRows(x, rows, n, stride), rows, n, stride);
      const y = core.putRows(core.rows(clean, rows, n, stride), rows, n, stride, GARBAGE);
      const dyAt = core.putRows(dy, rows, n, stride, GARBAGE);
      const expected: number[] = [];
      for (let i = 0; i < rows; i++) {
        const g = row(dy, i, n);
        const dot = (v: Float64Array) => twins[name](v).reduce((sum, p, j) => sum + p * g[j], 0);
        expected.push(...centralDifferences(dot, row(x, i, n)));
      }
      const dx = core.putRows(before, rows, n, stride);
      core.k[`${name}Backward`](dx, dyAt, y, rows, n, stride, 1);
      const sum = core.rows(dx, rows, n, stride);
      core.k[`${name}Backward`](dx, dyAt, y, rows, n, stride, 0);
      // Terms up to n in logSoftmax's sum, each rounded; central differences are good to 1e-9.
      const tolerance = (n + 8) * 2 * ROUNDING;
      close(core.rows(dx, rows, n, stride), expected, tolerance, `${name} ${rows}x${n}`, tolerance);
      close(
        sum,
        expected.map((v, i) => v + before[i]),
        tolerance,
        `${name} ${rows}x${n}, accumulated`,
        tolerance,
      );
      checkPadding(core.f32(dx, rows * stride), { rows, n, stride }, `${name}Backward`);
      core.k[`${name}Backward`](dyAt, dyAt, y, rows, n, stride, 0);
      sameBits(core.rows(dyAt, rows, n, stride), core.rows(dx, rows, n, stride), "in place");
      core.checkCanaries();
    }
  });
}

test("masked classes get probability 0, NaN makes its row NaN", () => {
  const core = new TestCore();
  const x = core.putRows([1, -Infinity, 1, NaN, 1, 2, 300, -300, 0], 3, 3);
  const y = core.alloc(3 * 8);
  core.k.softmax(y, x, 3, 3, 8);
  assert.equal(Array.from(core.rows(y, 3, 3)), [0.5, 0, 0.5, NaN, NaN, NaN, 1, 0, 0]);
});

test.run();
