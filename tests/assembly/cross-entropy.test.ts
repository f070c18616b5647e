import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { checkGradient, checkLoss, runLoss, weightings } from "../kit/losses.ts";
import { GARBAGE, type Shape, shapes, smallShapes } from "../kit/shapes.ts";
import * as reference from "../reference/losses.ts";
import { softmax } from "../reference/softmax.ts";

const twins = {
  crossEntropyLogits: reference.crossEntropyLogits,
  crossEntropyProbabilities: reference.crossEntropyProbabilities,
};
type Name = keyof typeof twins;

/** The kinds of targets: labels or distributions, with and without class weights, smoothing and ignored labels. */
function targets({ rows, n }: Shape): (reference.Classes & { what: string })[] {
  const labels = Int32Array.from({ length: rows }, (_, i) => (i * 5 + 2) % n);
  const classWeights = uniform(n, 11).map((v) => v + 1.5);
  const dense = Float32Array.from(
    Array.from({ length: rows }, (_, i) => Array.from(softmax(uniform(n, i + 20, 2)))).flat(),
  );
  return [
    { labels, what: "labels" },
    { labels, smoothing: 0.125, what: "smoothed labels" },
    { labels, classWeights, ignoreIndex: 2 % n, what: "weighted classes, one ignored" },
    { labels, classWeights, smoothing: 0.25, what: "weighted classes, smoothed" },
    { targets: dense, what: "dense" },
    { targets: dense, classWeights, smoothing: 0.125, what: "dense, weighted classes, smoothed" },
  ];
}

function run(
  core: TestCore,
  name: Name,
  shape: Shape,
  x: ArrayLike<number>,
  w: reference.Weighting,
  c: reference.Classes,
) {
  const { rows, n, stride } = shape;
  const at = core.putRows(x, rows, n, stride, GARBAGE);
  const labels = c.labels ? core.put(c.labels, "i32") : 0;
  const dense = c.targets ? core.putRows(c.targets, rows, n, stride, GARBAGE) : 0;
  const valid = w.valid ? core.put(w.valid, "i32") : 0;
  const weights = w.weights ? core.put(w.weights) : 0;
  const classWeights = c.classWeights ? core.put(c.classWeights) : 0;
  const [smoothing, ignore, mean] = [c.smoothing ?? 0, c.ignoreIndex ?? -100, Number(w.mean)];
  const call = (x: number, out: number, losses: number, dx: number) =>
    core.k[name](
      ...[out, losses, dx, x, labels, dense, valid, weights, classWeights],
      ...[rows, n, stride, smoothing, ignore, mean],
    );
  const written = runLoss(core, shape, (out, losses, dx) => call(at, out, losses, dx));
  call(at, core.alloc(4), core.alloc(rows), at);
  sameBits(core.rows(at, rows, n, stride), written.dx, "dx in place of x");
  return written;
}

/** Inputs of [rows, n]: logits, or probabilities that stay clear of the clip. */
function inputs(name: Name, { rows, n }: Shape): Float32Array {
  const x = uniform(rows * n, n + rows, 4);
  return name === "crossEntropyLogits" ? x : x.map((v) => 0.5 + v / 10);
}

for (const name of ["crossEntropyLogits", "crossEntropyProbabilities"] as const) {
  test(`${name}: losses and denominators of every shape`, () => {
    for (const shape of shapes()) {
      const core = new TestCore();
      const x = inputs(name, shape);
      for (const w of weightings(shape.rows, shape.n))
        for (const c of targets(shape)) {
          const written = run(core, name, shape, x, w, c);
          const what = `${shape.rows}x${shape.n}, ${w.what}, ${c.what}`;
          checkLoss(written, twins[name](Float64Array.from(x), w, c), shape.n, what);
        }
    }
  });

  test(`${name}: gradients against central differences`, () => {
    for (const shape of smallShapes()) {
      const core = new TestCore();
      const x = inputs(name, shape);
      for (const w of weightings(shape.rows, shape.n))
        for (const c of targets(shape)) {
          const written = run(core, name, shape, x, w, c);
          // Some ten roundings, an exponential and a sum of n/4 terms.
          checkGradient(
            written,
            x,
            (v) => twins[name](v, w, c),
            2e-6,
            `${shape.rows}x${shape.n}, ${w.what}, ${c.what}`,
          );
        }
    }
  });

  test(`${name}: rows do not depend on each other, nor on the stride`, () => {
    const [rows, n] = [5, 17];
    const core = new TestCore();
    const x = inputs(name, { rows, n, stride: 24 });
    const w = { rows, n, mean: false };
    for (const c of targets({ rows, n, stride: 24 })) {
      const all = run(core, name, { rows, n, stride: 24 }, x, w, c);
      const wide = run(core, name, { rows, n, stride: 40 }, x, w, c);
      sameBits(wide.losses, all.losses, c.what);
      sameBits(wide.dx, all.dx, c.what);
      for (let i = 0; i < rows; i++) {
        const part = {
          ...c,
          labels: c.labels && [c.labels[i]],
          targets: c.targets && Array.from(c.targets).slice(i * n, (i + 1) * n),
        };
        const alone = run(core, name, { rows: 1, n, stride: 24 }, x.slice(i * n, (i + 1) * n), { ...w, rows: 1 }, part);
        sameBits(alone.losses, all.losses.slice(i, i + 1), `${c.what}, row ${i} alone`);
        sameBits(alone.dx, all.dx.slice(i * n, (i + 1) * n), `${c.what}, row ${i} alone`);
      }
    }
  });

  test(`${name}: rows that do not count may hold NaN and any label`, () => {
    const core = new TestCore();
    const shape = { rows: 3, n: 5, stride: 8 };
    const x = inputs(name, shape).fill(NaN, 5, 15);
    const written = run(
      core,
      name,
      shape,
      x,
      { rows: 3, n: 5, mean: true, valid: [1, 0, 1] },
      { labels: [3, 99, -100] },
    );
    assert.is(written.denominator, 1);
    assert.ok(Number.isFinite(written.sum));
    assert.equal(Array.from(written.losses.slice(1)), [0, 0]);
    assert.ok(written.dx.slice(5).every((g) => g === 0));
  });

  test(`${name}: NaN in a row that counts reaches its loss`, () => {
    for (const at of [0, 3, 4]) {
      const core = new TestCore();
      const shape = { rows: 1, n: 5, stride: 8 };
      const x = inputs(name, shape).fill(NaN, at, at + 1);
      const w = { rows: 1, n: 5, mean: true };
      assert.ok(Number.isNaN(run(core, name, shape, x, w, { labels: [at] }).sum));
      assert.ok(Number.isNaN(run(core, name, shape, x, w, { targets: [0.2, 0.2, 0.2, 0.2, 0.2] }).sum));
    }
  });
}

test("logits of hundreds are safe", () => {
  const core = new TestCore();
  const shape = { rows: 2, n: 3, stride: 8 };
  const written = run(
    core,
    "crossEntropyLogits",
    shape,
    [400, -400, 0, -1e30, 0, 1e30],
    { rows: 2, n: 3, mean: false },
    {
      labels: [1, 2],
    },
  );
  assert.equal(Array.from(written.losses), [800, 0]);
  assert.equal(Array.from(written.dx), [1, -1, 0, 0, 0, 0]);
});

test("a masked class, −Infinity, takes no part", () => {
  const core = new TestCore();
  const shape = { rows: 1, n: 3, stride: 8 };
  const written = run(
    core,
    "crossEntropyLogits",
    shape,
    [1, -Infinity, 1],
    { rows: 1, n: 3, mean: true },
    { labels: [0] },
  );
  close(written.losses, [Math.LN2], 2e-7, "loss");
  assert.equal(Array.from(written.dx), [-0.5, 0, 0.5]);
});

test("clipped probabilities have a finite loss and no gradient", () => {
  const core = new TestCore();
  const shape = { rows: 3, n: 2, stride: 8 };
  const p = [0, 1, 1, 0, 0.25, 0.75];
  const w = { rows: 3, n: 2, mean: false };
  for (const c of [{ labels: [0, 0, 0] }, { targets: [1, 0, 1, 0, 1, 0] }]) {
    const written = run(core, "crossEntropyProbabilities", shape, p, w, c);
    close(written.losses, [-Math.log(1e-7), 1.19e-7, Math.log(4)], 1e-6, "losses");
    assert.equal(
      Array.from(written.dx, (g) => g + 0),
      [0, 0, 0, 0, -4, 0],
    );
  }
});

test.run();
