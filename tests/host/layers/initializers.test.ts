import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError, ShapeError } from "../../../host/core/errors.ts";
import { random } from "../../../host/core/random.ts";
import {
  constant,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  type Initializer,
  initializerConfig,
  lecunNormal,
  lecunUniform,
  ones,
  orthogonal,
  randomNormal,
  randomUniform,
  resolveInitializer,
  truncatedNormal,
  zeros,
} from "../../../host/layers/initializers.ts";
import { close } from "../../kit/core.ts";

function draw(initializer: Initializer, shape: number[], seed = 1): Float32Array {
  return resolveInitializer("test", initializer)(shape, random(seed, "test"));
}

function spread(x: Float32Array): { mean: number; variance: number; largest: number } {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
  return { mean, variance, largest: x.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
}

const SHAPE = [100, 300];

for (const [initializer, variance] of [
  [glorotUniform(), 1 / 200],
  [glorotNormal(), 1 / 200],
  [heUniform(), 2 / 100],
  [heNormal(), 2 / 100],
  [lecunUniform(), 1 / 100],
  [lecunNormal(), 1 / 100],
] as const)
  test(`${initializer.name} has zero mean and its variance`, () => {
    const s = spread(draw(initializer, SHAPE));
    // Five standard errors of 30000 numbers.
    assert.ok(Math.abs(s.mean) < 5 * Math.sqrt(variance / 30000), `mean ${s.mean}`);
    assert.ok(Math.abs(s.variance / variance - 1) < 0.04, `variance: expected ${variance}, got ${s.variance}`);
    const bound = initializer.name.endsWith("Uniform")
      ? Math.sqrt(3 * variance)
      : (2 * Math.sqrt(variance)) / 0.8796256;
    assert.ok(s.largest <= bound && s.largest > 0.98 * bound, `largest: expected about ${bound}, got ${s.largest}`);
  });

test("fans of a convolution count its window, a vector is its own fan", () => {
  const limit = (shape: number[]) => spread(draw(heUniform(), shape)).largest;
  assert.ok(Math.abs(limit([5, 20, 400]) / Math.sqrt(6 / 100) - 1) < 0.01);
  assert.ok(Math.abs(limit([1000]) / Math.sqrt(6 / 1000) - 1) < 0.01);
  assert.is(draw(glorotUniform(), []).length, 1);
});

/** Largest entry of |AᵀA - gain² I| for a [rows, columns] with rows >= columns. */
function departure(a: Float32Array, rows: number, columns: number, gain: number): number {
  let most = 0;
  for (let i = 0; i < columns; i++)
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? -gain * gain : 0;
      for (let r = 0; r < rows; r++) sum += a[r * columns + i] * a[r * columns + j];
      most = Math.max(most, Math.abs(sum));
    }
  return most;
}

function transposed(a: Float32Array, rows: number, columns: number): Float32Array {
  return a.map((_, i) => a[(i % rows) * columns + Math.floor(i / rows)]);
}

for (const [rows, columns] of [
  [1, 1],
  [1, 5],
  [5, 1],
  [3, 3],
  [4, 4],
  [17, 5],
  [64, 64],
  [32, 96],
  [65, 195],
])
  test(`orthogonal [${rows}, ${columns}] is orthonormal to float32`, () => {
    for (const gain of [1, 0.5]) {
      const a = draw(orthogonal({ gain }), [rows, columns]);
      const error =
        rows >= columns
          ? departure(a, rows, columns, gain)
          : departure(transposed(a, rows, columns), columns, rows, gain);
      assert.ok(error < 3e-7, `${error}`); // f32 rounding of entries of unit vectors
    }
  });

test("orthogonal is the Q of a QR decomposition with positive diagonal", () => {
  // Q diag(R) > 0 is unique: each column of A has a positive product with its own q.
  const r = random(1, "test");
  const a = Array.from({ length: 6 * 4 }, () => r.normal()); // columns one after the other
  const q = draw(orthogonal(), [6, 4]);
  for (let c = 0; c < 4; c++) {
    const along = (i: number) => [0, 1, 2, 3, 4, 5].reduce((sum, t) => sum + a[c * 6 + t] * q[t * 4 + i], 0);
    assert.ok(along(c) > 0);
    for (let later = c + 1; later < 4; later++) assert.ok(Math.abs(along(later)) < 1e-6);
  }
});

test("orthogonal counts leading axes as rows and draws a 512-unit recurrent kernel within a second", () => {
  assert.ok(departure(draw(orthogonal(), [4, 5, 3]), 20, 3, 1) < 3e-7);
  const before = process.cpuUsage();
  draw(orthogonal(), [512, 1536]);
  const seconds = process.cpuUsage(before).user / 1e6;
  assert.ok(seconds < 1, `${seconds} s`);
  assert.throws(
    () => draw(orthogonal(), [8]),
    (e: unknown) => e instanceof ShapeError && /two axes, got \[8\]/.test(e.message),
  );
});

test("constants and plain distributions", () => {
  assert.equal([...draw(zeros(), [2, 2])], [0, 0, 0, 0]);
  assert.equal([...draw(ones(), [3])], [1, 1, 1]);
  assert.equal([...draw(constant(-2.5), [2])], [-2.5, -2.5]);
  const u = draw(randomUniform({ min: 1, max: 3 }), SHAPE);
  assert.ok(u.every((x) => x >= 1 && x <= 3) && Math.abs(spread(u).mean - 2) < 0.02);
  const n = spread(draw(randomNormal({ mean: 5, stddev: 2 }), SHAPE));
  assert.ok(Math.abs(n.mean - 5) < 0.06 && Math.abs(n.variance - 4) < 0.2);
  assert.ok(draw(truncatedNormal({ stddev: 0.1 }), SHAPE).every((x) => Math.abs(x) <= 0.2000001));
  assert.equal(randomNormal({ mean: undefined }), { name: "randomNormal", mean: 0, stddev: 0.05 });
});

test("names go in our spelling and in Keras's", () => {
  for (const name of ["glorotUniform", "glorot_uniform", "GlorotUniform"])
    assert.equal(draw(name, [3, 4]), draw(glorotUniform(), [3, 4]));
  assert.equal(initializerConfig("test", "orthogonal"), { name: "orthogonal", gain: 1 });
});

test("the JSON form draws the same numbers", () => {
  for (const initializer of [
    orthogonal({ gain: 2 }),
    constant(3),
    randomUniform({ max: 2 }),
    heNormal(),
    truncatedNormal(),
  ]) {
    const saved = JSON.parse(JSON.stringify(initializerConfig("test", initializer)));
    assert.equal(draw(saved, [4, 4]), draw(initializer, [4, 4]));
  }
});

test("drawn numbers are fixed for all time", () => {
  close(
    draw("glorotUniform", [1, 3]),
    [-0.3018638491630554, -0.6316277384757996, 0.47108709812164307],
    0,
    "glorotUniform",
  );
  close(
    draw("orthogonal", [2, 2]),
    [-0.9905011057853699, 0.13750478625297546, 0.13750478625297546, 0.9905011057853699],
    0,
    "orthogonal",
  );
});

test("mistakes are named", () => {
  const refused = (make: () => unknown, message: RegExp) =>
    assert.throws(make, (e: unknown) => e instanceof OptionError && message.test(e.message), String(message));
  refused(
    () => initializerConfig('gru(): "kernelInitializer"', "glorotUnifrom"),
    /gru\(\): "kernelInitializer".*did you mean "glorotUniform"/,
  );
  refused(() => initializerConfig("dense()", 3), /expected an initializer.*got 3/);
  refused(() => initializerConfig("dense()", null), /got null/);
  refused(() => initializerConfig("dense()", { name: "toString" }), /unknown initializer/);
  refused(() => initializerConfig("dense()", { name: "orthogonal", gian: 2 }), /did you mean "gain"/);
  refused(() => initializerConfig("dense()", { name: "zeros", value: 2 }), /unknown option "value"/);
  refused(() => randomNormal({ stddev: -1 }), /"stddev" must be in \[0, inf\), got -1/);
  refused(() => randomUniform({ min: 1, max: 0 }), /"min" must not be above "max"/);
  refused(() => constant(Number.NaN), /"value"/);
  refused(() => constant(undefined as never), /"value"/);
});

test.run();
