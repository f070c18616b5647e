import { test } from "uvu";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, checkPadding, GARBAGE, ROUNDING, shapes, smallShapes } from "../kit/shapes.ts";

const twin = (x: ArrayLike<number>, scale: ArrayLike<number>, shift: ArrayLike<number>) =>
  Float64Array.from(x, (v, i) => v * scale[i % scale.length] + shift[i % scale.length]);

test("rows are scaled and shifted, whatever their padding holds", () => {
  for (const { rows, n, stride } of shapes()) {
    const core = new TestCore();
    const [x, scale, shift] = [uniform(rows * n, n), uniform(n, 1), uniform(n, 2)];
    const [from, y] = [core.putRows(x, rows, n, stride, GARBAGE), core.alloc(rows * stride)];
    const [scaleAt, shiftAt] = [core.put(scale), core.put(shift)];
    core.k.affine(y, from, scaleAt, shiftAt, rows, n, stride);
    const all = core.rows(y, rows, n, stride);
    // A product and a sum, of numbers below 1.
    close(all, twin(x, scale, shift), 4 * ROUNDING, `${rows}x${n}`, 2 * ROUNDING);
    checkPadding(core.f32(y, rows * stride), { rows, n, stride }, "y");
    core.k.affine(from, from, scaleAt, shiftAt, rows, n, stride);
    sameBits(core.rows(from, rows, n, stride), all, "in place");
    core.checkCanaries();
  }
});

test("gradients against central differences", () => {
  for (const { rows, n, stride } of smallShapes()) {
    const core = new TestCore();
    const [x, dy, scale, shift] = [uniform(rows * n, n), uniform(rows * n, 3), uniform(n, 1), uniform(n, 2)];
    const objective = (v: ArrayLike<number>, s: ArrayLike<number>, b: ArrayLike<number>) =>
      twin(v, s, b).reduce((sum, y, i) => sum + y * dy[i], 0);
    const expected = {
      dx: centralDifferences((v) => objective(v, scale, shift), x),
      dScale: centralDifferences((s) => objective(x, s, shift), scale),
      dShift: centralDifferences((b) => objective(x, scale, b), shift),
    };
    const before = uniform(rows * n, 9);
    const [xAt, dyAt, scaleAt] = [
      core.putRows(x, rows, n, stride, GARBAGE),
      core.putRows(dy, rows, n, stride, GARBAGE),
      core.put(scale),
    ];
    for (const accumulate of [0, 1]) {
      const dx = core.putRows(before, rows, n, stride, accumulate ? 0 : Number.NaN);
      const [dScale, dShift] = [core.put(uniform(n, 4)), core.put(uniform(n, 5))];
      core.k.affineBackward(dx, dScale, dShift, dyAt, xAt, scaleAt, rows, n, stride, accumulate);
      // Sums of up to 4 products; differences of a linear function are good to 1e-9.
      const added = expected.dx.map((v, i) => v + (accumulate ? before[i] : 0));
      close(core.rows(dx, rows, n, stride), added, 8 * ROUNDING, "dx", 1e-8);
      checkPadding(core.f32(dx, rows * stride), { rows, n, stride }, "dx");
      const sum = (a: Float64Array, b: Float32Array) => a.map((v, i) => v + b[i]);
      close(core.f32(dScale, n), sum(expected.dScale, uniform(n, 4)), 8 * ROUNDING, "dScale", 1e-7);
      close(core.f32(dShift, n), sum(expected.dShift, uniform(n, 5)), 8 * ROUNDING, "dShift", 1e-7);
      // Of the parameters alone.
      const [alone, other] = [core.put(uniform(n, 4)), core.put(uniform(n, 5))];
      core.k.affineBackward(0, alone, other, dyAt, xAt, scaleAt, rows, n, stride, 0);
      sameBits(core.f32(alone, n), core.f32(dScale, n), "dScale alone");
    }
    core.checkCanaries();
  }
});

test.run();
