import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, ROUNDING } from "../kit/shapes.ts";
import { pooling1d, type Windows, windowsOf } from "../reference/windows.ts";

/** [T, B, n, size, strides, padding]; the last are global. */
const CASES = [
  [1, 1, 1, 1, 1, "valid"],
  [7, 3, 3, 2, 2, "valid"],
  [7, 3, 7, 3, 1, "same"],
  [17, 1, 17, 3, 2, "same"],
  [8, 17, 3, 3, 4, "same"],
  [10, 2, 9, 4, 3, "valid"],
  [3, 2, 5, 7, 2, "same"],
  [7, 3, 3, 7, 7, "valid"],
  [17, 2, 8, 17, 17, "valid"],
] as const;

for (const kind of ["max", "mean"] as const)
  for (const masked of [false, true])
    test(`${kind} in windows and its gradient${masked ? ", masked" : ""}`, () => {
      CASES.forEach(([T, B, n, size, strides, padding], i) => {
        const core = new TestCore();
        const w: Windows = { size, strides, dilation: 1, padding };
        const what = `${kind} ${T} x ${B} x ${n}, ${size} by ${strides}, ${padding}`;
        const all = windowsOf(w, T);
        const S = all.length;
        const p = -all[0][0];
        const x = uniform(T * B * n, i);
        const dy = uniform(S * B * n, i + 50);
        // Some sequences have no step that counts.
        const mask = Array.from({ length: T * B }, (_, r) => (r % B === 1 ? 0 : (r * 5 + i) % 3 ? 1 : 0));
        const outputs = (values: ArrayLike<number>) => {
          const samples = Array.from({ length: B }, (_, b) =>
            pooling1d(
              Array.from({ length: T }, (_, t) => Array.from({ length: n }, (_, j) => values[(t * B + b) * n + j])),
              kind,
              w,
              masked ? Array.from({ length: T }, (_, t) => mask[t * B + b]) : undefined,
            ),
          );
          return Array.from({ length: S }, (_, t) => samples.flatMap((rows) => rows[t])).flat();
        };
        const np = pad8(n);
        const valid = masked ? core.put(mask, "i32") : 0;
        const px = core.putRows(x, T * B, n);
        const y = core.alloc(S * B * np);
        const index = kind === "max" ? core.alloc(S * B * np) : 0;
        const op = kind === "max" ? 0 : 1;
        core.k.pooling1d(y, index, px, valid, T, S, B, n, size, strides, p, op);
        // A mean: its sum and one division, rounded.
        close(core.rows(y, S * B, n), outputs(x), kind === "max" ? 0 : (size + 1) * ROUNDING, what);
        if (kind === "max") {
          const alone = core.alloc(S * B * np);
          core.k.pooling1d(alone, 0, px, valid, T, S, B, n, size, strides, p, op);
          assert.equal(core.rows(alone, S * B, n), core.rows(y, S * B, n));
        }
        const dx = core.put(new Float32Array(T * B * np).fill(1));
        core.k.pooling1dBackward(dx, core.putRows(dy, S * B, n), index, valid, T, S, B, n, size, strides, p, op);
        const expected = centralDifferences((v) => outputs(v).reduce((sum, o, j) => sum + o * dy[j], 0), x);
        close(
          core.rows(dx, T * B, n),
          expected.map((v) => v + 1),
          (size + 2) * ROUNDING,
          `${what}: dx`,
          1e-8,
        );
        core.checkCanaries();
      });
    });

test("of equal numbers the first gets the gradient; a NaN stays", () => {
  const core = new TestCore();
  const x = core.putRows([1, 1, 1, Number.NaN, 5, 2], 6, 1);
  const [y, index, dx] = [core.alloc(16), core.alloc(16), core.alloc(48)];
  core.k.pooling1d(y, index, x, 0, 6, 2, 1, 1, 3, 3, 0, 0);
  assert.equal(Array.from(core.rows(y, 2, 1)), [1, Number.NaN]);
  core.k.pooling1dBackward(dx, core.putRows([3, 4], 2, 1), index, 0, 6, 2, 1, 1, 3, 3, 0, 0);
  assert.equal(Array.from(core.rows(dx, 6, 1)), [3, 0, 0, 4, 0, 0]);
});

test.run();
