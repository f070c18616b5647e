import { test } from "uvu";
import { close, pad8, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences } from "../kit/shapes.ts";
import { conv1d, type Windows, windowsOf } from "../reference/windows.ts";

/** [T, B, I, N, taps, strides, dilation, padding] */
const CASES = [
  [1, 1, 1, 1, 1, 1, 1, "valid"],
  [7, 1, 1, 3, 3, 1, 1, "same"],
  [7, 3, 3, 7, 3, 1, 2, "causal"],
  [17, 1, 3, 9, 7, 1, 1, "valid"],
  [3, 17, 7, 1, 3, 1, 1, "same"],
  [17, 3, 1, 7, 7, 2, 1, "causal"],
  [9, 3, 8, 8, 3, 2, 2, "valid"],
  [10, 2, 5, 9, 4, 3, 1, "same"],
  [3, 1, 17, 3, 7, 1, 3, "causal"],
  [8, 2, 3, 3, 1, 3, 1, "same"],
  [90, 3, 1, 3, 3, 1, 1, "same"],
] as const;

const before = (w: Windows, T: number) => -windowsOf(w, T)[0][0];

/** [T, B, n] as one [T][n] a sample. */
function sequences(x: ArrayLike<number>, B: number, n: number): number[][][] {
  const T = x.length / (B * n);
  return Array.from({ length: B }, (_, b) =>
    Array.from({ length: T }, (_, t) => Array.from({ length: n }, (_, j) => x[(t * B + b) * n + j])),
  );
}

for (const masked of [false, true])
  test(`forward, backward and gradients follow the reference${masked ? ", with a mask" : ""}`, () => {
    CASES.forEach(([T, B, I, N, size, strides, dilation, padding], i) => {
      const core = new TestCore();
      const w: Windows = { size, strides, dilation, padding };
      const what = `${T} x ${B} x ${I} to ${N}, ${size} taps, strides ${strides}, dilation ${dilation}, ${padding}`;
      const S = windowsOf(w, T).length;
      const [Ip, Np, p] = [pad8(I), pad8(N), before(w, T)];
      const [x, kernel, bias, dy] = [
        uniform(T * B * I, i),
        uniform(size * I * N, i + 100),
        uniform(N, i + 200),
        uniform(S * B * N, i + 300),
      ];
      const mask = Array.from({ length: T * B }, (_, r) => ((r * 7 + i) % 3 ? 1 : 0));
      const maskOf = (b: number) => (masked ? Array.from({ length: T }, (_, t) => mask[t * B + b]) : undefined);
      const outputs = (xs: ArrayLike<number>, weights: ArrayLike<number>, biases: ArrayLike<number>) => {
        const all = sequences(xs, B, I).map((rows, b) => conv1d(rows, weights, biases, N, w, maskOf(b)));
        return Array.from({ length: S }, (_, t) => all.flatMap((rows) => rows[t])).flat();
      };
      const value = (xs: ArrayLike<number>, weights: ArrayLike<number>, biases: ArrayLike<number>) =>
        outputs(xs, weights, biases).reduce((sum, v, j) => sum + v * dy[j], 0);

      const valid = masked ? core.put(mask, "i32") : 0;
      const [px, pk, pdy] = [core.putRows(x, T * B, I), core.put(kernel), core.putRows(dy, S * B, N)];
      const packed = core.alloc(core.k.densePackedSize(size * I, N));
      core.k.densePack(packed, pk, core.put(bias), size * I, N);
      const room = (count: number) => {
        const at = core.alloc(count);
        core.f32(at, count).fill(Number.NaN);
        return at;
      };
      const y = room(S * B * Np);
      const windows = room(core.k.conv1dScratch(I, size));
      // In two parts of the rows, as two threads would have them.
      const forward = (from: number, to: number) =>
        core.k.conv1dForward(
          y, px, packed, valid, windows, T, B, I, N, size, strides, dilation, p, B * Ip, Ip, from, to, 0,
        ); // biome-ignore format: one call
      forward(0, (S * B) >> 1);
      forward((S * B) >> 1, S * B);
      // Sums of size x I products and a bias, each rounded.
      close(core.rows(y, S * B, N), outputs(x, kernel, bias), (size * I + 2) * 2 ** -23, what);

      const transposed = core.alloc(core.k.conv1dPackedTransposedSize(I, N, size));
      core.k.conv1dPackTransposed(transposed, pk, I, N, size);
      const dx = room(T * B * Ip);
      const taps = room(core.k.conv1dScratch(N, size));
      const backward = (accumulate: number, from: number, to: number) =>
        core.k.conv1dBackward(
          dx, pdy, transposed, valid, taps, S, B, I, N, size, strides, dilation, p, accumulate, from, to, 0,
        ); // biome-ignore format: one call
      const expected = centralDifferences((xs) => value(xs, kernel, bias), x);
      // Central differences of a linear function have rounding alone: 1e-16 / 1e-5 of the value.
      const tolerance = (size * N + 2) * 2 ** -23;
      backward(0, 0, T * B);
      close(core.rows(dx, T * B, I), expected, tolerance, `${what}: dx`, 1e-8);
      backward(1, 0, (T * B) >> 1);
      backward(1, (T * B) >> 1, T * B);
      close(
        core.rows(dx, T * B, I),
        expected.map((v) => 2 * v),
        2 * tolerance,
        `${what}: dx twice`,
        1e-8,
      );

      const [dKernel, dBias] = [core.put(uniform(size * I * N, 9)), core.put(uniform(N, 10))];
      const scratch = room(2 * core.k.conv1dGradientsScratch(I, N, size));
      const gradients = (from: number, to: number, thread: number) =>
        core.k.conv1dGradients(
          dKernel, dBias, px, pdy, valid, scratch, T, S, B, I, N, size, strides, dilation, p, from, to, thread,
        ); // biome-ignore format: one call
      gradients(0, Np >> 4, 0);
      gradients(Np >> 4, Np >> 3, 1);
      const sum = (S * B + 3) * 2 ** -23;
      const added = (given: Float32Array, own: Float64Array) => own.map((v, j) => v + given[j]);
      const dK = centralDifferences((weights) => value(x, weights, bias), kernel);
      close(core.f32(dKernel, size * I * N), added(uniform(size * I * N, 9), dK), sum, `${what}: dKernel`, 1e-7);
      const db = centralDifferences((biases) => value(x, kernel, biases), bias);
      close(core.f32(dBias, N), added(uniform(N, 10), db), sum, `${what}: dBias`, 1e-7);
      core.checkCanaries();
    });
  });

test("windows that are pushed frame by frame give the bits of the whole sequence", () => {
  for (const [T, B, I, N, size, dilation] of [
    [5, 1, 1, 3, 3, 1],
    [9, 3, 7, 9, 3, 2],
    [4, 5, 8, 8, 4, 1],
  ] as const) {
    const core = new TestCore();
    const [Ip, Np] = [pad8(I), pad8(N)];
    const length = (size - 1) * dilation + 1;
    const stride = pad8(length * I);
    const x = core.putRows(uniform(T * B * I, 1), T * B, I);
    const mask = core.put(
      Array.from({ length: T * B }, (_, i) => (i % 3 ? 1 : 0)),
      "i32",
    );
    const packed = core.alloc(core.k.densePackedSize(size * I, N));
    core.k.densePack(packed, core.put(uniform(size * I * N, 2)), core.put(uniform(N, 3)), size * I, N);
    const scratch = core.alloc(core.k.conv1dScratch(I, size));
    const whole = core.alloc(T * B * Np);
    core.k.conv1dForward(
      whole, x, packed, mask, scratch, T, B, I, N, size, 1, dilation, length - 1, B * Ip, Ip, 0, T * B, 0,
    ); // biome-ignore format: one call
    const windows = core.alloc(B * stride);
    const y = core.alloc(B * Np);
    for (let t = 0; t < T; t++) {
      core.k.pushFrames(windows, x + 4 * t * B * Ip, mask + 4 * t * B, B, length, I, stride);
      core.k.conv1dForward(
        y, windows, packed, 0, scratch, length, B, I, N, size, 1, dilation, 0, I, stride, 0, B, 0,
      ); // biome-ignore format: one call
      sameBits(core.f32(y, B * Np), core.f32(whole + 4 * t * B * Np, B * Np), `step ${t}`);
    }
    core.checkCanaries();
  }
});

test.run();
