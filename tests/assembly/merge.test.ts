import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, sameBits, TestCore, uniform } from "../kit/core.ts";
import { mergeRows } from "../reference/merge.ts";

/** In the order of `Merge` in assembly/merge.ts. */
const HOW = ["add", "subtract", "multiply", "maximum", "minimum"];

test("two values become one, and their gradients are those of the double-precision twin", () => {
  const core = new TestCore();
  for (const n of [4, 8, 12, 68])
    for (const [how, type] of HOW.entries()) {
      const [a, b, dy] = [uniform(n, 1), uniform(n, 2), uniform(n, 3)];
      const [atA, atB, atDy] = [core.put(a), core.put(b), core.put(dy)];
      const y = core.alloc(n);
      core.k.merge(how, y, atA, atB, n);
      // One rounding of one operation: float32 of the double.
      sameBits(core.f32(y, n), Float32Array.from(mergeRows(type, [[...a], [...b]])), type);
      const slopes = (second: boolean) =>
        Float64Array.from(a, (_, i) => {
          const at = (shift: number) =>
            mergeRows(type, [[a[i] + (second ? 0 : shift)], [b[i] + (second ? shift : 0)]])[0];
          return ((at(1e-6) - at(-1e-6)) / 2e-6) * dy[i];
        });
      const before = [uniform(n, 4), uniform(n, 5)];
      for (const accumulate of [0, 1]) {
        const [da, db] = before.map((values) => core.put(accumulate ? values : values.map(() => Number.NaN)));
        core.k.mergeBackward(how, da, db, atDy, atA, atB, n, accumulate, accumulate);
        for (const [i, at] of [da, db].entries()) {
          const expected = slopes(i === 1).map((v, j) => v + (accumulate ? before[i][j] : 0));
          // A product and a sum; central differences of linear functions are good to 1e-9.
          close(core.f32(at, n), expected, 2e-7, `${type}, d${"ab"[i]}`, 1e-8);
        }
        // In place of dy, and only one of them.
        const dyCopy = core.put(dy);
        core.k.mergeBackward(how, dyCopy, 0, dyCopy, atA, atB, n, 0, 0);
        close(core.f32(dyCopy, n), slopes(false), 2e-7, `${type}, in place`, 1e-8);
        core.k.mergeBackward(how, 0, db, atDy, atA, atB, n, 0, 0);
        close(core.f32(db, n), slopes(true), 2e-7, `${type}, db alone`, 1e-8);
      }
    }
  core.checkCanaries();
});

test("the gradient of a value merged with itself has both parts; of equals the first is the extreme", () => {
  const core = new TestCore();
  const [a, dy] = [uniform(8, 1), uniform(8, 2)];
  const expected = [
    (g: number) => 2 * g,
    () => 0,
    (g: number, v: number) => 2 * g * v,
    (g: number) => g,
    (g: number) => g,
  ];
  for (const [how, type] of HOW.entries()) {
    const [at, da] = [core.put(a), core.put(a.map(() => Number.NaN))];
    core.k.mergeBackward(how, da, da, core.put(dy), at, at, 8, 1, 0);
    close(core.f32(da, 8), Array.from(dy, (g, i) => expected[how](g, a[i])), 2e-7, type); // biome-ignore format: one line
  }
  core.checkCanaries();
});

test("columns go into wider rows and come back, whatever the padding holds", () => {
  const core = new TestCore();
  for (const n of [1, 3, 4, 7, 8, 17])
    for (const before of [0, 1, 5, 8]) {
      const [rows, total] = [3, before + n];
      const [stride, wide] = [pad8(n), pad8(total)];
      const x = uniform(rows * n, n);
      const y = core.alloc(rows * wide);
      core.f32(y, rows * wide).fill(7);
      core.k.putColumns(y + 4 * before, core.putRows(x, rows, n), rows, n, wide - total, wide, stride);
      for (let r = 0; r < rows; r++) {
        const row = core.f32(y + 4 * r * wide, wide);
        assert.equal([...row.subarray(0, before)], Array(before).fill(7), "columns before stay");
        sameBits(row.slice(before, total), x.slice(r * n, (r + 1) * n), `row ${r}`);
        assert.equal([...row.subarray(total)], Array(wide - total).fill(0), "padding is zero");
      }
      const old = uniform(rows * n, 9);
      for (const accumulate of [0, 1]) {
        const dx = core.putRows(old, rows, n, stride, accumulate ? 0 : Number.NaN);
        core.k.takeColumns(dx, y + 4 * before, rows, n, stride, wide, accumulate);
        sameBits(
          core.rows(dx, rows, n),
          accumulate ? x.map((v, i) => v + old[i]) : x,
          `n ${n}, accumulate ${accumulate}`,
        );
        for (let r = 0; r < rows; r++)
          assert.ok(
            core.f32(dx + 4 * (r * stride + n), stride - n).every((v) => v === 0),
            "padding is zero",
          );
      }
    }
  core.checkCanaries();
});

test("steps count that count in both masks", () => {
  const core = new TestCore();
  const mask = core.alloc(5);
  core.k.maskAnd(mask, core.put([1, 0, 1, 0, 1], "i32"), core.put([1, 1, 0, 0, 1], "i32"), 5);
  assert.equal([...core.i32(mask, 5)], [1, 0, 0, 0, 1]);
  core.checkCanaries();
});

test.run();
