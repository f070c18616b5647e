import { test } from "uvu";
import * as assert from "uvu/assert";
import { sameBits, TestCore, uniform } from "../kit/core.ts";
import { checkGradient, checkLoss, runLoss, weightings } from "../kit/losses.ts";
import { GARBAGE, type Shape, shapes, smallShapes } from "../kit/shapes.ts";
import * as reference from "../reference/losses.ts";

function elements({ rows, n }: Shape): (reference.Elements & { what: string })[] {
  const targets = uniform(rows * n, 3, 2);
  const elementWeights = uniform(rows * n, 4).map((v) => v + 1.25);
  return [
    { targets, option: 1, what: "plain" },
    { targets, elementWeights, option: 0.5, what: "weighted elements" },
  ];
}

function run(
  core: TestCore,
  kind: number,
  shape: Shape,
  x: ArrayLike<number>,
  w: reference.Weighting,
  e: reference.Elements,
) {
  const { rows, n, stride } = shape;
  const at = core.putRows(x, rows, n, stride, GARBAGE);
  const targets = core.putRows(e.targets, rows, n, stride, -GARBAGE);
  const valid = w.valid ? core.put(w.valid, "i32") : 0;
  const weights = w.weights ? core.put(w.weights) : 0;
  const elementWeights = e.elementWeights ? core.putRows(e.elementWeights, rows, n, stride, GARBAGE) : 0;
  const call = (x: number, out: number, losses: number, dx: number) =>
    core.k.regressionLoss(
      ...[kind, out, losses, dx, x, targets, valid, weights, elementWeights],
      ...[rows, n, stride, e.option ?? 1, Number(w.mean)],
    );
  const written = runLoss(core, shape, (out, losses, dx) => call(at, out, losses, dx));
  call(at, core.alloc(4), core.alloc(rows), at);
  sameBits(core.rows(at, rows, n, stride), written.dx, "dx in place of x");
  return written;
}

for (const [kind, [name]] of reference.regressions.entries()) {
  test(`${name}: losses and denominators of every shape`, () => {
    for (const shape of shapes()) {
      const core = new TestCore();
      const x = uniform(shape.rows * shape.n, shape.n + 40, 2);
      for (const w of weightings(shape.rows, shape.n))
        for (const e of elements(shape)) {
          const expected = reference.regressionLoss(kind, Float64Array.from(x), w, e);
          const written = run(core, kind, shape, x, w, e);
          checkLoss(written, expected, shape.n, `${shape.rows}x${shape.n}, ${w.what}, ${e.what}`);
        }
    }
  });

  test(`${name}: gradients against central differences`, () => {
    for (const shape of smallShapes()) {
      const core = new TestCore();
      const x = uniform(shape.rows * shape.n, shape.n + 40, 2);
      for (const w of weightings(shape.rows, shape.n))
        for (const e of elements(shape)) {
          const loss = (v: Float64Array) => reference.regressionLoss(kind, v, w, e);
          // A difference, a quotient and three products.
          const what = `${shape.rows}x${shape.n}, ${w.what}, ${e.what}`;
          checkGradient(run(core, kind, shape, x, w, e), x, loss, 5e-7, what);
        }
    }
  });

  test(`${name}: rows do not depend on each other, nor on the stride`, () => {
    const [rows, n] = [5, 17];
    const core = new TestCore();
    const x = uniform(rows * n, 9, 2);
    const w = { rows, n, mean: false };
    const [e] = elements({ rows, n, stride: 24 });
    const all = run(core, kind, { rows, n, stride: 24 }, x, w, e);
    sameBits(run(core, kind, { rows, n, stride: 40 }, x, w, e).dx, all.dx, "stride");
    for (let i = 0; i < rows; i++) {
      const part = { targets: Array.from(e.targets).slice(i * n, (i + 1) * n) };
      const alone = run(core, kind, { rows: 1, n, stride: 24 }, x.slice(i * n, (i + 1) * n), { ...w, rows: 1 }, part);
      sameBits(alone.losses, all.losses.slice(i, i + 1), `row ${i} alone`);
      sameBits(alone.dx, all.dx.slice(i * n, (i + 1) * n), `row ${i} alone`);
    }
  });

  test(`${name}: NaN reaches loss and gradient, but not from rows that do not count`, () => {
    const core = new TestCore();
    const shape = { rows: 2, n: 3, stride: 8 };
    const x = [0, 0, 0, 0, NaN, 0];
    const e = { targets: [1, 2, 3, 4, 5, 6], option: 1 };
    const written = run(core, kind, shape, x, { rows: 2, n: 3, mean: true }, e);
    assert.ok(Number.isNaN(written.sum) && Number.isNaN(written.dx[4]));
    const valid = run(core, kind, shape, x, { rows: 2, n: 3, mean: true, valid: [1, 0] }, e);
    assert.ok(Number.isFinite(valid.sum) && valid.dx.slice(3).every((g) => g === 0));
  });
}

test("at the kinks: no difference, no gradient; smoothL1 with beta 0 is the absolute error", () => {
  const core = new TestCore();
  const shape = { rows: 1, n: 4, stride: 8 };
  const w = { rows: 1, n: 4, mean: false };
  const e = { targets: [1, 1, 1, 1], option: 1 };
  const gradient = (kind: number, option: number) =>
    Array.from(run(core, kind, shape, [0, 1, 2, 4], w, { ...e, option }).dx);
  assert.equal(gradient(0, 1), [-2, 0, 2, 6]);
  assert.equal(gradient(1, 1), [-1, 0, 1, 1]);
  assert.equal(gradient(2, 1), [-1, 0, 1, 1]);
  assert.equal(gradient(3, 2), [-0.5, 0, 0.5, 1]);
  assert.equal(gradient(3, 0), [-1, 0, 1, 1]);
});

test.run();
