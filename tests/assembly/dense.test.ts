import { test } from "uvu";
import { close, pad8, sameBits, TestCore, uniform } from "../kit/core.ts";
import { dense, denseGradients } from "../reference/dense.ts";

const SHAPES = [
  [0, 3, 5],
  [1, 1, 1],
  [3, 4, 5],
  [4, 5, 3],
  [5, 7, 8],
  [7, 8, 9],
  [8, 9, 7],
  [9, 15, 16],
  [15, 16, 17],
  [16, 17, 15],
  [17, 31, 33],
  [33, 64, 65],
  [64, 65, 31],
  [65, 33, 64],
  [300, 3, 5],
] as const;

test("forward, backward and gradients follow the reference, whatever the padding holds", () => {
  const core = new TestCore();
  SHAPES.forEach(([rows, I, N], i) => {
    const [Ip, Np] = [pad8(I), pad8(N)];
    const x = uniform(rows * I, i);
    const kernel = uniform(I * N, i + 100);
    const bias = uniform(N, i + 200);
    const dy = uniform(rows * N, i + 300);
    const pk = core.put(kernel);
    const px = core.putRows(x, rows, I);
    const pdy = core.putRows(dy, rows, N);
    for (const biased of [true, false]) {
      const what = `dense ${rows} x ${I} x ${N}${biased ? " + bias" : ""}`;
      const packed = core.alloc(core.k.densePackedSize(I, N));
      core.k.densePack(packed, pk, biased ? core.put(bias) : 0, I, N);
      const y = core.alloc(rows * Np);
      core.f32(y, rows * Np).fill(Number.NaN);
      core.k.denseForward(y, px, packed, I, N, 0, rows);
      // I products and a bias, each sum rounded.
      const tolerance = (I + 2) * 2 ** -23;
      close(core.rows(y, rows, N), dense(x, kernel, biased ? bias : undefined, rows, I, N), tolerance, what);

      const expected = denseGradients(x, kernel, dy, rows, I, N);
      const packedT = core.alloc(core.k.densePackedTransposedSize(I, N));
      core.k.densePackTransposed(packedT, pk, I, N);
      const dx = core.alloc(rows * Ip);
      core.f32(dx, rows * Ip).fill(Number.NaN);
      core.k.denseBackward(dx, pdy, packedT, I, N, 0, 0, rows);
      const once = core.rows(dx, rows, I);
      close(once, expected.dx, (N + 2) * 2 ** -23, `${what}: dx`);
      // In two parts of the rows.
      for (const [from, to] of [
        [0, rows >> 1],
        [rows >> 1, rows],
      ])
        core.k.denseBackward(dx, pdy, packedT, I, N, 1, from, to);
      close(
        core.rows(dx, rows, I),
        expected.dx.map((v) => 2 * v),
        (N + 2) * 2 ** -22,
        `${what}: dx twice`,
      );

      const before = { kernel: uniform(I * N, 9), bias: uniform(N, 10) };
      const dKernel = core.put(before.kernel);
      const dBias = biased ? core.put(before.bias) : 0;
      const size = 2 * core.k.denseGradientsScratch(I, N);
      const scratch = core.alloc(size);
      core.f32(scratch, size).fill(Number.NaN);
      // In two parts of the panels, as two threads would.
      const half = Np >> 4;
      core.k.denseGradients(dKernel, dBias, px, pdy, scratch, rows, I, N, 0, half, 0);
      core.k.denseGradients(dKernel, dBias, px, pdy, scratch, rows, I, N, half, Np / 8, 1);
      const sum = (rows + 3) * 2 ** -23;
      close(
        core.f32(dKernel, I * N),
        expected.dKernel.map((v, j) => v + before.kernel[j]),
        sum,
        `${what}: dKernel`,
        sum,
      );
      if (biased)
        close(
          core.f32(dBias, N),
          expected.dBias.map((v, j) => v + before.bias[j]),
          sum,
          `${what}: dBias`,
          sum,
        );
    }
  });
  core.checkCanaries();
});

test("a batch is a loop of rows", () => {
  const core = new TestCore();
  const [rows, I, N] = [13, 11, 19];
  const packed = core.alloc(core.k.densePackedSize(I, N));
  core.k.densePack(packed, core.put(uniform(I * N, 1)), core.put(uniform(N, 2)), I, N);
  const x = core.putRows(uniform(rows * I, 3), rows, I);
  const together = core.alloc(rows * pad8(N));
  core.k.denseForward(together, x, packed, I, N, 0, rows);
  const alone = core.alloc(rows * pad8(N));
  for (let r = 0; r < rows; r++) core.k.denseForward(alone, x, packed, I, N, r, r + 1);
  sameBits(core.f32(together, rows * pad8(N)), core.f32(alone, rows * pad8(N)), "rows");
  core.checkCanaries();
});

test.run();
