import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, checkPadding, GARBAGE, ROUNDING, row, shapes, smallShapes } from "../kit/shapes.ts";
import * as reference from "../reference/layer-norm.ts";

const EPSILON = 1e-3;

test("rows are normalised, whatever the padding and the other rows", () => {
  for (const { rows, n, stride } of shapes()) {
    const core = new TestCore();
    const [x, gamma, beta] = [uniform(rows * n, n, 3).map((v) => v + 1), uniform(n, 1), uniform(n, 2)];
    const [from, y, saved] = [
      core.putRows(x, rows, n, stride, GARBAGE),
      core.alloc(rows * stride),
      core.alloc(rows * 2),
    ];
    const [gammaAt, betaAt] = [core.put(gamma), core.put(beta)];
    core.k.layerNorm(y, saved, from, gammaAt, betaAt, rows, n, stride, EPSILON);
    const all = core.rows(y, rows, n, stride);
    for (let i = 0; i < rows; i++) {
      const { y: expected, mean, rstd } = reference.layerNorm(row(x, i, n), gamma, beta, EPSILON);
      // The mean, up to 4 · n/4 roundings, is divided by the deviation, at least √ε = 0.03 (n = 1).
      const tolerance = (n / 4 + 4) * ROUNDING * 4 * Math.min(rstd, 32);
      close(row(all, i, n), expected, tolerance, `${rows}x${n}, row ${i}`, tolerance);
      close(core.f32(saved, rows * 2).slice(2 * i, 2 * i + 2), [mean, rstd], tolerance, "saved");
      const alone = core.alloc(stride);
      core.k.layerNorm(alone, core.alloc(2), from + i * stride * 4, gammaAt, betaAt, 1, n, stride, EPSILON);
      sameBits(core.rows(alone, 1, n, stride), row(all, i, n), `row ${i} alone`);
    }
    checkPadding(core.f32(y, rows * stride), { rows, n, stride }, "y");
    core.k.layerNorm(from, saved, from, gammaAt, betaAt, rows, n, stride, EPSILON);
    sameBits(core.rows(from, rows, n, stride), all, "in place");
    core.checkCanaries();
  }
});

for (const affine of [true, false]) {
  test(`gradients against central differences, ${affine ? "with" : "without"} gamma and beta`, () => {
    for (const { rows, n, stride } of smallShapes()) {
      const core = new TestCore();
      const [x, dy] = [uniform(rows * n, n, 2), uniform(rows * n, n + 1)];
      const [gamma, beta] = affine ? [uniform(n, 1), uniform(n, 2)] : [];
      const objective = (v: ArrayLike<number>, g = gamma as ArrayLike<number> | undefined, b = beta as typeof g) => {
        let sum = 0;
        for (let i = 0; i < rows; i++) {
          const { y } = reference.layerNorm(Array.from(v).slice(i * n, (i + 1) * n), g, b, EPSILON);
          for (let j = 0; j < n; j++) sum += y[j] * dy[i * n + j];
        }
        return sum;
      };
      const [xAt, dyAt] = [core.putRows(x, rows, n, stride, GARBAGE), core.putRows(dy, rows, n, stride, GARBAGE)];
      const gammaAt = gamma ? core.put(gamma) : 0;
      const saved = core.alloc(rows * 2);
      core.k.layerNorm(core.alloc(rows * stride), saved, xAt, gammaAt, 0, rows, n, stride, EPSILON);
      const before = uniform(rows * n, 9);
      const dx = core.putRows(before, rows, n, stride);
      core.k.layerNormBackward(dx, dyAt, xAt, saved, gammaAt, rows, n, stride, 1);
      const sum = core.rows(dx, rows, n, stride);
      core.k.layerNormBackward(dx, dyAt, xAt, saved, gammaAt, rows, n, stride, 0);
      checkPadding(core.f32(dx, rows * stride), { rows, n, stride }, "dx");
      const expected = centralDifferences(objective, x);
      // Sums of n terms times rstd; central differences of a function with third derivatives up to rstd³.
      const rstd = Math.max(...Array.from({ length: rows }, (_, i) => core.f32(saved, 2 * rows)[2 * i + 1]));
      const tolerance = (n + 8) * 4 * ROUNDING * rstd + 1e-10 * rstd ** 3;
      close(core.rows(dx, rows, n, stride), expected, tolerance, `dx ${rows}x${n}`, tolerance);
      close(
        sum,
        expected.map((v, i) => v + before[i]),
        tolerance,
        `dx ${rows}x${n}, accumulated`,
        tolerance,
      );
      if (gamma && beta) {
        const [start, dGamma, dBeta] = [uniform(n, 5), core.put(uniform(n, 5)), core.put(uniform(n, 5))];
        core.k.layerNormBackwardParameters(dGamma, dBeta, dyAt, xAt, saved, rows, n, stride);
        for (const [at, expectedParameter, what] of [
          [dGamma, centralDifferences((g) => objective(x, g), gamma), "dGamma"],
          [dBeta, centralDifferences((b) => objective(x, gamma, b), beta), "dBeta"],
        ] as const) {
          const exact = expectedParameter.map((v, j) => v + start[j]);
          close(core.f32(at, n), exact, tolerance, `${what} ${rows}x${n}`, tolerance);
          for (const v of core.f32(at, (n + 3) & ~3).slice(n)) assert.is(v, 0, `${what}: padding`);
        }
      }
      core.checkCanaries();
    }
  });
}

test("parameter gradients of a range of columns are those of all", () => {
  const core = new TestCore();
  const [rows, n, stride] = [5, 23, 24];
  const [x, dy] = [core.putRows(uniform(rows * n, 1), rows, n), core.putRows(uniform(rows * n, 2), rows, n)];
  const saved = core.alloc(rows * 2);
  core.k.layerNorm(core.alloc(rows * stride), saved, x, 0, 0, rows, n, stride, EPSILON);
  const [a, b, c, d] = [core.alloc(n), core.alloc(n), core.alloc(n), core.alloc(n)];
  core.k.layerNormBackwardParameters(a, b, dy, x, saved, rows, n, stride);
  core.k.layerNormBackwardParameters(c, d, dy, x, saved, rows, 8, stride);
  core.k.layerNormBackwardParameters(c + 32, d + 32, dy + 32, x + 32, saved, rows, 15, stride);
  sameBits(core.f32(c, n), core.f32(a, n), "dGamma");
  sameBits(core.f32(d, n), core.f32(b, n), "dBeta");
});

test.run();
