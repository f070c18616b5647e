import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { GARBAGE, SIZES } from "../kit/shapes.ts";
import { activations } from "../reference/activations.ts";

/** Points all over, the kinks of every kind, and where things saturate. */
const POINTS = [
  ...uniform(200, 1, 12),
  ...uniform(50, 2, 1),
  0,
  -0,
  1,
  -1,
  2,
  -2,
  3,
  -3,
  20,
  21,
  -20,
  100,
  -100,
  1e-30,
];

for (const [kind, { name, value, slope, alpha = 0, beta = 0 }] of activations.entries()) {
  const run = (core: TestCore, values: ArrayLike<number>, accumulate = 0) => {
    const n = values.length;
    const [x, y, dy, dx] = [core.put(values), core.alloc(n), core.put(uniform(n, 3)), core.put(uniform(n, 4))];
    core.k.activate(kind, y, x, n, alpha, beta);
    core.k.activateBackward(kind, dx, dy, x, y, n, alpha, beta, accumulate);
    core.checkCanaries();
    return { y: core.f32(y, n), dx: core.f32(dx, n), dy: core.f32(dy, n) };
  };

  test(`${name} is its definition, backward its slope`, () => {
    const x = Float32Array.from(POINTS);
    const { y, dx, dy } = run(new TestCore(), x);
    for (let i = 0; i < x.length; i++) {
      // gelu's 2.5e-7 · max(1, |x|) is the loosest of assembly/math.ts; slopes from y inherit y's error.
      const scale = Math.max(1, Math.abs(x[i]));
      const [v, s] = [value(x[i], alpha, beta), slope(x[i], alpha, beta)];
      assert.ok(Math.abs(y[i] - v) <= 5e-7 * scale, `f(${x[i]}) is ${y[i]}, expected ${v}`);
      assert.ok(Math.abs(dx[i] - s * dy[i]) <= 1e-6, `f'(${x[i]}) is ${dx[i] / dy[i]}, expected ${s}`);
    }
  });

  test(`${name}: the twin's slope is that of its value`, () => {
    for (const x of uniform(50, 5, 6)) {
      const numeric = (value(x + 1e-6, alpha, beta) - value(x - 1e-6, alpha, beta)) / 2e-6;
      assert.ok(Math.abs(numeric - slope(x, alpha, beta)) < 1e-8, `at ${x}`);
    }
  });

  test(`${name} works in place, accumulates, and passes NaN on`, () => {
    for (const n of SIZES) {
      const core = new TestCore();
      const values = uniform(n, n, 4);
      const { y, dx } = run(core, values);
      const sum = run(core, values, 1).dx;
      close(
        sum,
        dx.map((d, i) => Math.fround(d + uniform(n, 4)[i])),
        0,
        `n ${n}, accumulated`,
      );
      const x = core.put(values);
      core.k.activate(kind, x, x, n, alpha, beta);
      sameBits(core.f32(x, n), y, `n ${n}, in place`);
    }
    assert.ok(Number.isNaN(run(new TestCore(), [NaN, 1, 2, 3]).y[0]));
  });

  test(`${name} leaves large padding finite`, () => {
    for (const v of run(new TestCore(), [GARBAGE, -GARBAGE, 0, 0]).y) assert.ok(Number.isFinite(v));
  });
}

test("x is read by gelu, silu and scaledTanh only", () => {
  const core = new TestCore();
  const n = 8;
  const [x, y, dy, dx] = [core.put(uniform(n, 1)), core.alloc(n), core.put(uniform(n, 2)), core.alloc(n)];
  for (const [kind, { name, alpha = 0, beta = 0 }] of activations.entries()) {
    if (name === "gelu" || name === "silu" || name === "scaledTanh") continue;
    core.k.activate(kind, y, x, n, alpha, beta);
    core.k.activateBackward(kind, dx, dy, x, y, n, alpha, beta, 0);
    const expected = core.f32(dx, n).slice();
    core.k.activateBackward(kind, dx, dy, 0, y, n, alpha, beta, 0);
    sameBits(core.f32(dx, n), expected, name);
  }
});

test.run();
