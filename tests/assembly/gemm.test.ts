import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, sameBits, TestCore, uniform } from "../kit/core.ts";
import { product, productF32, transpose } from "../reference/gemm.ts";

/** Float32 sums of k products stay within k roundings of each partial sum. */
const tolerance = (k: number) => (k + 2) * 2 ** -24 * 2;

/** The float32 sums, which only the plain binary forms: the relaxed one rounds products and sums together. */
function sameSums(core: TestCore, actual: Float32Array, expected: Float32Array, what: string): void {
  if (core.k.fuses()) close(actual, expected, 1e-5, what);
  else sameBits(actual, expected, what);
}

/** B [k, n] as panels of 8 columns, by hand, so that gemm is tested without pack. */
function panels(b: ArrayLike<number>, k: number, n: number): Float32Array {
  const out = new Float32Array(k * pad8(n));
  for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) out[(Math.floor(j / 8) * k + p) * 8 + (j % 8)] = b[p * n + j];
  return out;
}

test("gemm is one float32 accumulator a number, over ascending k, at every size", () => {
  const core = new TestCore();
  let seed = 1;
  for (const m of [0, 1, 3, 4, 5, 7, 8, 9, 17, 33])
    for (const n of [1, 7, 8, 9, 16, 17, 24, 25, 33, 65])
      for (const k of [1, 3, 4, 5, 16, 33]) {
        const N = pad8(n);
        const a = uniform(m * k, seed++);
        const b = uniform(k * n, seed++);
        const start = uniform(m * N, seed++);
        const aStride = k + 3;
        const cStride = N + 8;
        const c = core.alloc(m * cStride);
        core.f32(c, m * cStride).fill(55);
        const pa = core.putRows(a, m, k, aStride, Number.NaN);
        const pb = core.put(panels(b, k, n));
        for (const started of [false, true]) {
          const ps = started ? core.putRows(start, m, N, N + 4, Number.NaN) : 0;
          core.k.gemm(c, pa, pb, ps, m, N, k, cStride, aStride, started ? N + 4 : 0, core.work);
          const rows = core.rows(c, m, N, cStride);
          const own = (x: ArrayLike<number>) =>
            Float32Array.from({ length: m * n }, (_, i) => x[Math.floor(i / n) * N + (i % n)]);
          const what = `gemm ${m} x ${n} x ${k}${started ? " + start" : ""}`;
          const s = started ? own(start) : undefined;
          sameSums(core, own(rows), productF32(a, b, m, n, k, s), what);
          close(own(rows), product(a, b, m, n, k, s), tolerance(k), what);
          for (let i = 0; i < m; i++)
            for (let j = N; j < cStride; j++)
              assert.is(core.f32(c, m * cStride)[i * cStride + j], 55, `${what}: column ${j} is not the product's`);
        }
      }
  core.checkCanaries();
});

test("gemm begins at one row for all, or at what it adds to", () => {
  const core = new TestCore();
  for (const m of [1, 3, 4, 9]) {
    const [n, k] = [16, 5];
    const a = uniform(m * k, 3);
    const b = uniform(k * n, 4);
    const bias = uniform(n, 5);
    const pa = core.putRows(a, m, k);
    const pb = core.put(panels(b, k, n));
    const c = core.alloc(m * n);
    core.k.gemm(c, pa, pb, core.put(bias), m, n, k, n, 8, 0, core.work);
    const once = productF32(
      a,
      b,
      m,
      n,
      k,
      Float32Array.from({ length: m * n }, (_, i) => bias[i % n]),
    );
    sameSums(core, core.f32(c, m * n), once, "a bias");
    core.k.gemm(c, pa, pb, c, m, n, k, n, 8, n, core.work);
    sameSums(core, core.f32(c, m * n), productF32(a, b, m, n, k, once), "accumulated");
  }
  core.checkCanaries();
});

test("rows of a batch, alone or together, beyond the block of rows: the same bits", () => {
  const core = new TestCore();
  // 32768 / k rows a block: 131 rows of k = 301 are more than one.
  const [m, n, k] = [131, 24, 301];
  const a = uniform(m * k, 7);
  const pb = core.put(panels(uniform(k * n, 8), k, n));
  const pa = core.putRows(a, m, k);
  const together = core.alloc(m * n);
  core.k.gemm(together, pa, pb, 0, m, n, k, n, pad8(k), 0, core.work);
  const alone = core.alloc(m * n);
  for (let i = 0; i < m; i++)
    core.k.gemm(alone + 4 * i * n, pa + 4 * i * pad8(k), pb, 0, 1, n, k, n, pad8(k), 0, core.work);
  sameBits(core.f32(together, m * n), core.f32(alone, m * n), "batch and rows");
  core.checkCanaries();
});

test("gemmTransposed sums over rows in order, across its blocks of 256", () => {
  const core = new TestCore();
  let seed = 50;
  for (const [m, n] of [
    [1, 8],
    [3, 15],
    [4, 8],
    [5, 24],
    [17, 37],
    [33, 1],
  ])
    for (const k of [1, 3, 8, 255, 256, 257, 513]) {
      const a = uniform(k * m, seed++);
      const b = uniform(k * n, seed++);
      const [aStride, bStride, cStride] = [pad8(m) + 8, pad8(n) + 4, n + 12];
      const c = core.alloc(m * cStride);
      const sums = core.alloc(n);
      const scratch = core.alloc(core.k.gemmTransposedScratch(m, n));
      core.f32(scratch, core.k.gemmTransposedScratch(m, n)).fill(Number.NaN);
      core.k.gemmTransposed(
        c,
        sums,
        core.putRows(a, k, m, aStride),
        core.putRows(b, k, n, bStride, Number.NaN),
        scratch,
        m,
        n,
        k,
        cStride,
        aStride,
        bStride,
      );
      const what = `gemmTransposed ${m} x ${n} x ${k}`;
      const at = transpose(a, k, m);
      sameSums(core, core.rows(c, m, n, cStride), productF32(at, b, m, n, k), what);
      close(core.rows(c, m, n, cStride), product(at, b, m, n, k), tolerance(k), what);
      const columns = Float64Array.from({ length: n }, (_, j) => {
        let sum = 0;
        for (let r = 0; r < k; r++) sum += b[r * n + j];
        return sum;
      });
      close(core.f32(sums, n), columns, tolerance(k), `${what}: column sums`, tolerance(k));
    }
  core.checkCanaries();
});

test("gemmTransposed gives the same bits for any range of columns", () => {
  const core = new TestCore();
  const [m, n, k] = [9, 40, 300];
  const a = core.putRows(uniform(k * m, 1), k, m);
  const b = core.putRows(uniform(k * n, 2), k, n);
  const scratch = core.alloc(core.k.gemmTransposedScratch(m, n));
  const run = (ranges: number[][]) => {
    const [c, sums] = [core.alloc(m * n), core.alloc(n)];
    for (const [from, to] of ranges)
      core.k.gemmTransposed(c + 4 * from, sums + 4 * from, a, b + 4 * from, scratch, m, to - from, k, n, pad8(m), n);
    return [core.f32(c, m * n), core.f32(sums, n)];
  };
  const [whole, wholeSums] = run([[0, n]]);
  const [parts, partSums] = run([
    [24, 40],
    [0, 8],
    [8, 24],
  ]);
  sameBits(parts, whole, "columns");
  sameBits(partSums, wholeSums, "sums");
  core.checkCanaries();
});

test.run();
