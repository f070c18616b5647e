import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, TestCore, uniform } from "../kit/core.ts";
import { SIZES } from "../kit/shapes.ts";

test("scale and clipValue", () => {
  for (const n of SIZES) {
    const core = new TestCore();
    const x = uniform(n, n, 2);
    const [a, b] = [core.put(x), core.put(x)];
    core.k.scale(a, n, 0.75);
    close(
      core.f32(a, n),
      x.map((v) => v * 0.75),
      0,
      `scale, n ${n}`,
    );
    core.k.clipValue(b, n, 0.5);
    close(
      core.f32(b, n),
      x.map((v) => Math.min(Math.max(v, -0.5), 0.5)),
      0,
      `clipValue, n ${n}`,
    );
    core.checkCanaries();
  }
});

test("clipValue bounds infinities and leaves NaN", () => {
  const core = new TestCore();
  const x = core.put([Infinity, -Infinity, NaN, 0.25]);
  core.k.clipValue(x, 4, 2);
  assert.equal(Array.from(core.f32(x, 4)), [2, -2, NaN, 0.25]);
});

test("addTo, copyRows, allFinite", () => {
  const core = new TestCore();
  const [y, x] = [core.put([1, 2, 3, 4, 5]), core.put([10, 20, 30, 40, 50])];
  core.k.addTo(y, x, 5);
  assert.equal(Array.from(core.f32(y, 5)), [11, 22, 33, 44, 55]);
  const rows = core.alloc(16);
  core.k.copyRows(rows, x, 2, 3, 8, 0);
  assert.equal(Array.from(core.rows(rows, 2, 3)), [10, 20, 30, 10, 20, 30]);
  assert.is(core.k.allFinite(x, 5), -1);
  core.f32(x, 5)[3] = NaN;
  assert.is(core.k.allFinite(x, 5), 3);
  core.f32(x, 5)[1] = -Infinity;
  assert.is(core.k.allFinite(x, 5), 1);
  core.checkCanaries();
});

test("gatherRows and scatterRows undo each other, and touch no other row", () => {
  const core = new TestCore();
  const x = core.put(uniform(5 * 8, 1, 1));
  const before = Array.from(core.f32(x, 40));
  const index = core.alloc(3);
  core.i32(index, 3).set([4, 0, 3]);
  const y = core.alloc(3 * 8);
  core.k.gatherRows(y, x, index, 3, 8);
  assert.equal(
    Array.from(core.f32(y, 24)),
    [4, 0, 3].flatMap((row) => before.slice(8 * row, 8 * row + 8)),
  );
  core.f32(x, 40).fill(7);
  core.k.scatterRows(x, y, index, 3, 8);
  assert.equal(
    Array.from(core.f32(x, 40)),
    before.map((v, i) => ([1, 2].includes(i >> 3) ? 7 : v)),
  );
  core.k.gatherRows(y, x, index, 0, 8);
  core.checkCanaries();
});

test.run();
