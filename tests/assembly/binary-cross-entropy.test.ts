import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { checkGradient, checkLoss, runLoss, weightings } from "../kit/losses.ts";
import { GARBAGE, type Shape, shapes, smallShapes } from "../kit/shapes.ts";
import * as reference from "../reference/losses.ts";

const twins = {
  binaryCrossEntropyLogits: reference.binaryCrossEntropyLogits,
  binaryCrossEntropyProbabilities: reference.binaryCrossEntropyProbabilities,
};
type Name = keyof typeof twins;

function elements({ rows, n }: Shape): (reference.Elements & { what: string })[] {
  const targets = uniform(rows * n, 3).map((v) => (v + 1) / 2);
  const elementWeights = uniform(rows * n, 4).map((v) => v + 1.25);
  const positiveWeight = uniform(n, 5).map((v) => v + 1.5);
  return [
    { targets, what: "plain" },
    { targets, option: 0.125, what: "smoothed" },
    { targets, elementWeights, positiveWeight, what: "weighted elements and positives" },
  ];
}

function run(
  core: TestCore,
  name: Name,
  shape: Shape,
  x: ArrayLike<number>,
  w: reference.Weighting,
  e: reference.Elements,
) {
  const { rows, n, stride } = shape;
  const at = core.putRows(x, rows, n, stride, GARBAGE);
  const targets = core.putRows(e.targets, rows, n, stride, GARBAGE);
  const valid = w.valid ? core.put(w.valid, "i32") : 0;
  const weights = w.weights ? core.put(w.weights) : 0;
  const elementWeights = e.elementWeights ? core.putRows(e.elementWeights, rows, n, stride, GARBAGE) : 0;
  const positiveWeight = e.positiveWeight ? core.put(e.positiveWeight) : 0;
  const call = (x: number, out: number, losses: number, dx: number) =>
    core.k[name](
      ...[out, losses, dx, x, targets, valid, weights, elementWeights, positiveWeight],
      ...[rows, n, stride, e.option ?? 0, Number(w.mean)],
    );
  const written = runLoss(core, shape, (out, losses, dx) => call(at, out, losses, dx));
  call(at, core.alloc(4), core.alloc(rows), at);
  sameBits(core.rows(at, rows, n, stride), written.dx, "dx in place of x");
  return written;
}

function inputs(name: Name, { rows, n }: Shape): Float32Array {
  const x = uniform(rows * n, n + rows, 4);
  return name === "binaryCrossEntropyLogits" ? x : x.map((v) => 0.5 + v / 10);
}

for (const name of ["binaryCrossEntropyLogits", "binaryCrossEntropyProbabilities"] as const) {
  test(`${name}: losses and denominators of every shape`, () => {
    for (const shape of shapes()) {
      const core = new TestCore();
      const x = inputs(name, shape);
      for (const w of weightings(shape.rows, shape.n))
        for (const e of elements(shape)) {
          const written = run(core, name, shape, x, w, e);
          const what = `${shape.rows}x${shape.n}, ${w.what}, ${e.what}`;
          checkLoss(written, twins[name](Float64Array.from(x), w, e), shape.n, what);
        }
    }
  });

  test(`${name}: gradients against central differences`, () => {
    for (const shape of smallShapes()) {
      const core = new TestCore();
      const x = inputs(name, shape);
      for (const w of weightings(shape.rows, shape.n))
        for (const e of elements(shape)) {
          const written = run(core, name, shape, x, w, e);
          // Some ten roundings and two sigmoids or quotients.
          checkGradient(
            written,
            x,
            (v) => twins[name](v, w, e),
            2e-6,
            `${shape.rows}x${shape.n}, ${w.what}, ${e.what}`,
          );
        }
    }
  });

  test(`${name}: rows do not depend on each other, nor on the stride`, () => {
    const [rows, n] = [5, 17];
    const core = new TestCore();
    const x = inputs(name, { rows, n, stride: 24 });
    const w = { rows, n, mean: false };
    const [e] = elements({ rows, n, stride: 24 });
    const all = run(core, name, { rows, n, stride: 24 }, x, w, e);
    sameBits(run(core, name, { rows, n, stride: 40 }, x, w, e).dx, all.dx, "stride");
    for (let i = 0; i < rows; i++) {
      const part = { targets: Array.from(e.targets).slice(i * n, (i + 1) * n) };
      const alone = run(core, name, { rows: 1, n, stride: 24 }, x.slice(i * n, (i + 1) * n), { ...w, rows: 1 }, part);
      sameBits(alone.losses, all.losses.slice(i, i + 1), `row ${i} alone`);
      sameBits(alone.dx, all.dx.slice(i * n, (i + 1) * n), `row ${i} alone`);
    }
  });

  test(`${name}: NaN counts only where the row counts`, () => {
    const core = new TestCore();
    const shape = { rows: 2, n: 3, stride: 8 };
    const x = inputs(name, shape).fill(NaN, 4, 5);
    const e = { targets: [1, 0, 1, 0, 1, 0] };
    assert.ok(Number.isFinite(run(core, name, shape, x, { rows: 2, n: 3, mean: true, valid: [1, 0] }, e).sum));
    assert.ok(Number.isNaN(run(core, name, shape, x, { rows: 2, n: 3, mean: true }, e).sum));
  });
}

test("large logits: loss and gradient keep their relative accuracy", () => {
  const core = new TestCore();
  const shape = { rows: 1, n: 4, stride: 8 };
  const e = { targets: [0, 1, 1, 0] };
  const written = run(core, "binaryCrossEntropyLogits", shape, [-50, 50, -300, 300], { rows: 1, n: 4, mean: false }, e);
  assert.is(written.losses[0], 600);
  const tiny = Math.exp(-50);
  close(written.dx.slice(0, 2), [tiny, -tiny], 3e-7, "dx");
  assert.equal(Array.from(written.dx.slice(2)), [-1, 1]);
});

test("clipped probabilities have a finite loss and no gradient", () => {
  const core = new TestCore();
  const shape = { rows: 1, n: 4, stride: 8 };
  const e = { targets: [1, 0, 1, 0] };
  const p = [0, 1, 1, 0.5];
  const written = run(core, "binaryCrossEntropyProbabilities", shape, p, { rows: 1, n: 4, mean: false }, e);
  assert.ok(Math.abs(written.losses[0] - (-Math.log(1e-7) - Math.log(2 ** -23) + Math.LN2)) < 1e-5);
  assert.equal(Array.from(written.dx), [0, 0, 0, 2]);
});

test.run();
