import { test } from "uvu";
import { close, pad8, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, checkPadding, ROUNDING } from "../kit/shapes.ts";
import { mergedSequence } from "../reference/bidirectional.ts";

const MERGES = ["concat", "sum", "mul", "average"] as const;

/** [T, B, forward units, reversed units] */
const SHAPES = [
  [1, 1, 1, 1],
  [1, 3, 7, 8],
  [3, 1, 3, 3],
  [7, 3, 5, 17],
  [2, 17, 16, 16],
  [0, 3, 4, 4],
] as const;

/** Step t of sample b of a dense [T, B, n]. */
function sequence(x: ArrayLike<number>, B: number, n: number, b: number): number[][] {
  return Array.from({ length: x.length / (B * n) }, (_, t) =>
    Array.from({ length: n }, (_, j) => x[(t * B + b) * n + j]),
  );
}

for (const merge of MERGES)
  test(`${merge} of two directions, and its gradients`, () => {
    for (const [T, B, F, own] of SHAPES) {
      const R = merge === "concat" ? own : F;
      const n = merge === "concat" ? F + R : F;
      const what = `${merge} ${T} x ${B} x ${F} and ${R}`;
      const core = new TestCore();
      const [f, r, dy] = [uniform(T * B * F, 1), uniform(T * B * R, 2), uniform(T * B * n, 3)];
      const [fAt, rAt] = [core.putRows(f, T * B, F), core.putRows(r, T * B, R)];
      const y = core.alloc(T * B * pad8(n));
      const kind = MERGES.indexOf(merge);
      core.k.mergeDirections(y, fAt, rAt, T, B, F, R, kind);
      const outputs = (forward: ArrayLike<number>, reversed: ArrayLike<number>) => {
        const samples = Array.from({ length: B }, (_, b) =>
          mergedSequence(merge, sequence(forward, B, F, b), sequence(reversed, B, R, b)),
        );
        return Array.from({ length: T }, (_, t) => samples.flatMap((rows) => rows[t])).flat();
      };
      close(core.rows(y, T * B, n), outputs(f, r), 2 * ROUNDING, what);
      if (merge === "concat") checkPadding(core.f32(y, T * B * pad8(n)), { rows: T * B, n, stride: pad8(n) }, what);

      const [df, dr] = [core.alloc(T * B * pad8(F)), core.alloc(T * B * pad8(R))];
      core.k.mergeDirectionsBackward(df, dr, core.putRows(dy, T * B, n), fAt, rAt, T, B, F, R, kind);
      const value = (forward: ArrayLike<number>, reversed: ArrayLike<number>) =>
        outputs(forward, reversed).reduce((sum, v, i) => sum + v * dy[i], 0);
      // Central differences of a bilinear function are exact but for rounding, 1e-16 / 1e-5.
      close(
        core.rows(df, T * B, F),
        centralDifferences((x) => value(x, r), f),
        2 * ROUNDING,
        `${what}: d forward`,
        1e-9,
      );
      close(
        core.rows(dr, T * B, R),
        centralDifferences((x) => value(f, x), r),
        2 * ROUNDING,
        `${what}: d reversed`,
        1e-9,
      );
      core.checkCanaries();
    }
  });

test.run();
