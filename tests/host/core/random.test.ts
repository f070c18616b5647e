import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import { permutation, random, threefry } from "../../../host/core/random.ts";

function threefryHex(...words: [number, number, number, number]): string {
  const out = new Int32Array(2);
  threefry(out, ...words);
  return Array.from(out, (w) => (w >>> 0).toString(16).padStart(8, "0")).join(" ");
}

// Random123, examples/kat_vectors.
test("threefry gives the published answers", () => {
  assert.is(threefryHex(0, 0, 0, 0), "6b200159 99ba4efe");
  assert.is(threefryHex(-1, -1, -1, -1), "1cb996fc bb002be7");
  assert.is(threefryHex(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3), "c4923a9c 483df7a0");
});

test("a stream is fixed for all time by its seed and name", () => {
  const r = random(1, "gru_1.kernel");
  const drawn = [r.uint32(), r.uniform(), r.normal(), r.truncatedNormal(), r.below(1000)];
  assert.equal(drawn, [3415181769, 0.4453165847206063, -0.37122182129841513, -1.9063438818221583, 89]);
  assert.equal([...permutation(1, 0, 10)], [6, 7, 9, 4, 1, 3, 0, 5, 2, 8]);
});

test("streams differ by seed and by name, and numbers name streams too", () => {
  const first = new Set<number>();
  const names = [
    "",
    "\0",
    "\0\0",
    "a",
    "b",
    "ab",
    "ba",
    "abcd",
    "abcde",
    "abcd\0",
    "gru.kernel",
    "gru_1.kernel",
    "é",
    0,
    1,
  ];
  const seeds = [0, 1, -1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, 1 - 2 ** 53];
  for (const seed of seeds) for (const name of names) first.add(random(seed, name).uint32());
  assert.is(first.size, seeds.length * names.length);
  assert.is(random(3, 5).uint32(), random(3, "5").uint32());
});

test("a stream continues from its saved position", () => {
  const r = random(4, "x");
  for (let i = 0; i < 10; i++) r.truncatedNormal();
  const again = random(4, "x");
  again.position = r.position;
  assert.is(again.normal(), r.normal());
});

/** Mean, variance, skewness and kurtosis of n draws. */
function moments(draw: () => number, n: number): number[] {
  const x = Float64Array.from({ length: n }, draw);
  const mean = x.reduce((a, b) => a + b) / n;
  const central = (p: number) => x.reduce((a, b) => a + (b - mean) ** p, 0) / n;
  return [mean, central(2), central(3) / central(2) ** 1.5, central(4) / central(2) ** 2];
}

/** Limits are 5 standard errors of the moments at n = 200000, rounded up. */
function near(actual: number[], expected: number[], limits: number[], what: string): void {
  expected.forEach((value, i) => {
    assert.ok(Math.abs(actual[i] - value) < limits[i], `${what}, moment ${i + 1}: expected ${value}, got ${actual[i]}`);
  });
}

test("uniform has the moments of U(0, 1) and stays below 1", () => {
  const r = random(2, "uniform");
  near(
    moments(() => r.uniform(), 200000),
    [1 / 2, 1 / 12, 0, 1.8],
    [0.004, 0.001, 0.02, 0.02],
    "uniform",
  );
  for (let i = 0; i < 1000; i++) {
    const x = r.uniform();
    assert.ok(x >= 0 && x < 1);
  }
});

test("normal has the moments of N(0, 1) and its tails", () => {
  const r = random(2, "normal");
  near(
    moments(() => r.normal(), 200000),
    [0, 1, 0, 3],
    [0.012, 0.016, 0.03, 0.06],
    "normal",
  );
  let beyond = 0;
  for (let i = 0; i < 200000; i++) if (Math.abs(r.normal()) > 3) beyond++;
  assert.ok(Math.abs(beyond - 540) < 5 * Math.sqrt(540), `|x| > 3: expected 540 of 200000, got ${beyond}`);
});

test("truncatedNormal stays within two deviations", () => {
  const r = random(2, "truncated");
  near(
    moments(() => r.truncatedNormal(), 200000),
    [0, 0.8796256610342398 ** 2],
    [0.01, 0.01],
    "truncatedNormal",
  );
  for (let i = 0; i < 10000; i++) assert.ok(Math.abs(r.truncatedNormal()) <= 2);
});

test("below is even over its range", () => {
  const r = random(3, "below");
  const counts = new Array(7).fill(0);
  for (let i = 0; i < 70000; i++) counts[r.below(7)]++;
  const chi2 = counts.reduce((sum, c) => sum + (c - 10000) ** 2 / 10000, 0);
  assert.ok(chi2 < 22.5, `chi² ${chi2} of 6 degrees of freedom`); // p = 0.001
  assert.is(r.below(1), 0);
  assert.ok(r.below(2 ** 32) < 2 ** 32);
  // Three quarters of all words are below 3 · 2^30: a plain remainder would favour the first 2^30.
  let low = 0;
  for (let i = 0; i < 30000; i++) if (r.below(3 * 2 ** 30) < 2 ** 30) low++;
  assert.ok(Math.abs(low - 10000) < 5 * 82, `${low} of 30000 in the first third`);
});

test("permutation holds every number once, and every order is as likely", () => {
  const order = permutation(5, 0, 1000);
  assert.equal(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  );
  const r = random(6, "orders");
  const seen = new Map<string, number>();
  for (let i = 0; i < 24000; i++) {
    const key = r.permutation(4).join();
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  assert.is(seen.size, 24);
  const chi2 = [...seen.values()].reduce((sum, c) => sum + (c - 1000) ** 2 / 1000, 0);
  assert.ok(chi2 < 49.7, `chi² ${chi2} of 23 degrees of freedom`); // p = 0.001
  assert.equal([...permutation(5, 0, 0)], []);
});

test("permutation depends on seed and epoch only", () => {
  assert.equal(permutation(5, 3, 50), permutation(5, 3, 50));
  assert.not.equal(permutation(5, 3, 50), permutation(5, 4, 50));
  assert.not.equal(permutation(5, 3, 50), permutation(6, 3, 50));
});

test("arguments out of range are refused", () => {
  const r = random(1);
  for (const bad of [
    () => random(0.5),
    () => random(2 ** 53),
    () => r.below(0),
    () => r.below(1.5),
    () => r.permutation(-1),
  ])
    assert.throws(bad, (e: unknown) => e instanceof OptionError);
});

test.run();
