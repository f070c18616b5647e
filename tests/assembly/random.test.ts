import { test } from "uvu";
import * as assert from "uvu/assert";
import { TestCore } from "../kit/core.ts";
import { randomWord, threefry } from "../reference/random.ts";

/** The words of rows 0, 1... of a tensor, as unsigned integers. */
function words(rows: number, stride: number, key: [number, number], firstRow = 0): Uint32Array {
  const core = new TestCore();
  const y = core.alloc(rows * stride);
  core.k.randomWords(y, rows, stride, firstRow, key[0], key[1]);
  core.checkCanaries();
  return new Uint32Array(core.memory.buffer, y, rows * stride).slice();
}

test("known answers of Random123", () => {
  for (const [counter, key, expected] of [
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [-1, -1],
      [-1, -1],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x243f6a88, 0x85a308d3],
      [0x13198a2e, 0x03707344],
      [0xc4923a9c, 0x483df7a0],
    ],
  ] as [number, number][][]) {
    assert.equal(threefry(counter, key), expected);
  }
  assert.equal(words(1, 8, [0, 0])[0], 0x6b200159);
  assert.equal(words(1, 8, [0, 0])[4], 0x99ba4efe);
});

test("every element has the word its position says", () => {
  const key: [number, number] = [0x13198a2e, 0x03707344];
  for (const stride of [8, 16, 72]) {
    const w = words(5, stride, key, 3);
    for (let i = 0; i < w.length; i++)
      assert.is(w[i], randomWord(3 + Math.floor(i / stride), i % stride, key), `element ${i}`);
  }
});

/** Uniform numbers in [0, 1) of one key. */
function uniforms(key: [number, number]): Float64Array {
  return Float64Array.from(words(512, 512, key), (w) => w / 2 ** 32);
}

/** Correlation of two series of uniforms, in standard deviations. */
function correlation(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - 0.5) * (b[i] - 0.5);
  return (sum / a.length) * 12 * Math.sqrt(a.length);
}

test("numbers are uniform: mean, variance, 256 bins of high and of low bits", () => {
  for (const key of [
    [0, 0],
    [1, 0],
    [0, 1],
    [12345, 678],
  ] as [number, number][]) {
    const u = uniforms(key);
    const n = u.length;
    const mean = u.reduce((a, b) => a + b, 0) / n;
    const variance = u.reduce((a, b) => a + (b - 0.5) ** 2, 0) / n;
    // Five standard deviations: of u 1/√12, of (u − ½)² 1/√180.
    assert.ok(Math.abs(mean - 0.5) < 5 / Math.sqrt(12 * n), `mean ${mean}`);
    assert.ok(Math.abs(variance - 1 / 12) < 5 / Math.sqrt(180 * n), `variance ${variance}`);
    for (const scale of [2 ** 8, 2 ** 32]) {
      const bins = new Float64Array(256);
      for (const v of u) bins[Math.floor(v * scale) % 256]++;
      const chi2 = bins.reduce((sum, b) => sum + (b - n / 256) ** 2 / (n / 256), 0);
      // 255 degrees of freedom: mean 255, deviation √510.
      assert.ok(Math.abs(chi2 - 255) < 5 * Math.sqrt(510), `chi² ${chi2}`);
    }
  }
});

test("neighbours do not correlate: elements, words, rows, keys", () => {
  const u = uniforms([7, 9]);
  for (const lag of [1, 2, 3, 4, 8, 512]) {
    const c = correlation(u.subarray(lag), u.subarray(0, u.length - lag));
    assert.ok(Math.abs(c) < 5, `lag ${lag}: ${c}`);
  }
  for (const key of [
    [8, 9],
    [7, 10],
    [6, 9],
    [7, 8],
    [9, 7],
  ] as [number, number][]) {
    const c = correlation(u, uniforms(key));
    assert.ok(Math.abs(c) < 5, `key ${key}: ${c}`);
  }
});

test.run();
