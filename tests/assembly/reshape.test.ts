import { test } from "uvu";
import * as assert from "uvu/assert";
import { pad8, sameBits, TestCore, uniform } from "../kit/core.ts";

/** [T, B, F] as samples [T · F], and back. */
const samples = (x: Float32Array, B: number, F: number) =>
  Array.from({ length: B }, (_, b) => x.filter((_, i) => Math.floor(i / F) % B === b));

const SHAPES = [
  [1, 12, 12, 1],
  [1, 12, 4, 3],
  [4, 3, 1, 12],
  [4, 3, 6, 2],
  [2, 17, 17, 2],
  [9, 1, 1, 9],
  [5, 8, 8, 5],
  [0, 3, 0, 5],
];

for (const transposed of [0, 1])
  test(`numbers in another shape${transposed ? ", time and features exchanged" : ""}, and back`, () => {
    for (const B of [1, 3])
      for (const [T, F, ...other] of SHAPES) {
        const [Ty, Fy] = transposed ? [F, T] : other;
        if (Fy === 0) continue;
        const core = new TestCore();
        const x = uniform(T * B * F, 1);
        const from = core.putRows(x, T * B, F, pad8(F), Number.NaN);
        const y = core.putRows(new Float32Array(Ty * B * Fy), Ty * B, Fy, pad8(Fy), Number.NaN);
        core.k.reshape(y, from, B, T, F, Ty, Fy, transposed, 0);
        const made = samples(core.rows(y, Ty * B, Fy), B, Fy);
        for (const [b, sample] of samples(x, B, F).entries()) {
          const expected = sample.map((v, i) => (transposed ? sample[(i % T) * F + Math.floor(i / T)] : v));
          sameBits(made[b], expected, `${B} x ${T} x ${F} to ${Ty} x ${Fy}`);
        }
        for (let r = 0; r < Ty * B; r++)
          assert.ok(
            core.f32(y + 4 * (r * pad8(Fy) + Fy), pad8(Fy) - Fy).every((v) => v === 0),
            "padding is zero",
          );
        const before = uniform(T * B * F, 2);
        const back = core.putRows(before, T * B, F);
        core.k.reshape(back, y, B, Ty, Fy, T, F, transposed, 1);
        sameBits(
          core.rows(back, T * B, F),
          before.map((v, i) => v + x[i]),
          "added",
        );
        core.checkCanaries();
      }
  });

test.run();
