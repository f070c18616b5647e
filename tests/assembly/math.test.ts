import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../kit/compile.ts";
import { normal, sigmoid, softplus, ulp } from "../reference/math.ts";

const NAMES = [
  "expNonPositive",
  "expm1NonPositive",
  "sigmoid",
  "tanh",
  "log",
  "log1p",
  "softplus",
  "gelu",
  "geluSlope",
];

const COUNT = 65536;
const memory = new WebAssembly.Memory({ initial: 32 });
const x = new Float32Array(memory.buffer, 1 << 20, COUNT);
const bits = new Uint32Array(memory.buffer, 1 << 20, COUNT);
const y = new Float32Array(memory.buffer, 3 << 19, COUNT);

const k = compile(
  `import * as math from "../assembly/math"
  ${NAMES.map(
    (name) => `export function ${name}(y: usize, x: usize, n: i32): void {
    for (let i: usize = 0, end = <usize>n << 2; i < end; i += 16) v128.store(y + i, math.${name}(v128.load(x + i)))
  }`,
  ).join("\n")}
  export function expParts(mantissa: usize, exponent: usize, x: usize, n: i32): void {
    for (let i: usize = 0, end = <usize>n << 2; i < end; i += 16) {
      const v = v128.load(x + i), whole = math.expWhole(v)
      v128.store(mantissa + i, math.expMantissa(v, whole))
      v128.store(exponent + i, math.expExponent(whole))
    }
  }`,
  memory,
);

/** Largest distance of f(x) from `exact`, absolute and in ulp, over what `fill` writes until it returns false. */
function worst(name: string, exact: (x: number) => number, fill: (block: number) => boolean) {
  let absolute = 0;
  let ulps = 0;
  for (let block = 0; fill(block); block++) {
    k[name](y.byteOffset, x.byteOffset, COUNT);
    for (let i = 0; i < COUNT; i++) {
      const e = exact(x[i]);
      if (Object.is(y[i], e) || y[i] === e) continue;
      const error = Math.abs(y[i] - e);
      if (!(error < Infinity)) assert.unreachable(`${name}(${x[i]}) is ${y[i]}, expected ${e}`);
      if (error > absolute) absolute = error;
      // An ulp is at least |e| 2^-24: spares most of the logarithms.
      if (error > ulps * Math.abs(e) * 2 ** -24 && error > ulps * ulp(e)) ulps = error / ulp(e);
    }
  }
  if (process.env.GRUVY_TEST_VERBOSE) console.log(`${name}: ${absolute.toExponential(2)}, ${ulps.toFixed(2)} ulp`);
  return { absolute, ulps };
}

/** Every 997th of all 2^32 floats, NaNs with payloads and infinities among them. */
function allFloats(block: number): boolean {
  for (let i = 0; i < COUNT; i++) bits[i] = (block * COUNT + i) * 997;
  return block * COUNT * 997 < 2 ** 32;
}

/** A million points, evenly from `from` to `to`. */
function evenly(from: number, to: number) {
  return (block: number) => {
    for (let i = 0; i < COUNT; i++) x[i] = from + (to - from) * ((block * COUNT + i) / (16 * COUNT - 1));
    return block < 16;
  };
}

/** f at a few points. */
function values(name: string, points: number[]): number[] {
  x.fill(0).set(points);
  k[name](y.byteOffset, x.byteOffset, COUNT);
  return Array.from(y.subarray(0, points.length));
}

test("sigmoid is within 3 ulp over all floats, denormal results too", () => {
  for (const fill of [allFloats, evenly(-110, -80), evenly(-20, 20), evenly(-1, 1)])
    assert.ok(worst("sigmoid", sigmoid, fill).ulps < 2.41);
});

test("e^x as mantissa and exponent is within 1.1e-7, far beyond the range of floats", () => {
  const exponents = new Int32Array(memory.buffer, 7 << 18, COUNT);
  const largest = (from: number, to: number) => {
    let error = 0;
    for (let block = 0; evenly(from, to)(block); block++) {
      k.expParts(y.byteOffset, exponents.byteOffset, x.byteOffset, COUNT);
      for (let i = 0; i < COUNT; i++) {
        // x - n ln 2 in two parts, so that nothing of it is lost.
        const exact = Math.exp(x[i] - exponents[i] * 0.693359375 + exponents[i] * 2.1219444005469057e-4);
        error = Math.max(error, Math.abs(y[i] / exact - 1));
        assert.ok(y[i] > 0.7 && y[i] < 1.42, `mantissa ${y[i]} of ${x[i]}`);
      }
    }
    return error;
  };
  assert.ok(largest(-1000, 88) < 1.1e-7);
  assert.ok(largest(-22700, 88) < 3.7e-7);
  x.fill(-2097152);
  k.expParts(y.byteOffset, exponents.byteOffset, x.byteOffset, 4);
  assert.ok(Math.abs(exponents[0] * Math.LN2 + Math.log(y[0]) + 2097152) < 0.25);
});

test("tanh is within 4e-7 over all floats, within 4 ulp near 0", () => {
  for (const fill of [allFloats, evenly(3, 10), evenly(-10, 0)])
    assert.ok(worst("tanh", Math.tanh, fill).absolute < 3.7e-7);
  assert.ok(worst("tanh", Math.tanh, evenly(-1, 1)).ulps < 3.6);
});

test("tanh is odd and never beyond ±1", () => {
  const points = evenly(0, 12);
  for (let block = 0; points(block); block++) {
    k.tanh(y.byteOffset, x.byteOffset, COUNT);
    const positive = y.slice();
    for (let i = 0; i < COUNT; i++) x[i] = -x[i];
    k.tanh(y.byteOffset, x.byteOffset, COUNT);
    for (let i = 0; i < COUNT; i++) if (y[i] !== -positive[i] || positive[i] > 1) assert.unreachable(`at ${x[i]}`);
  }
});

test("limits are exact", () => {
  const points = [-Infinity, -3e38, -1e-45, -0, 0, 1e-45, 3e38, Infinity];
  assert.equal(values("sigmoid", points), [0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1]);
  assert.equal(values("tanh", points), [-1, -1, Math.fround(-1e-45), -0, 0, Math.fround(1e-45), 1, 1]);
  assert.equal(values("expNonPositive", [-Infinity, -3e38, -104, -0, 0]), [0, 0, 0, 1, 1]);
  assert.equal(values("expm1NonPositive", [-Infinity, -3e38, -20, -1e-45, 0]), [-1, -1, -1, Math.fround(-1e-45), 0]);
  assert.equal(values("softplus", [-Infinity, -200, 200, Infinity]), [0, 0, 200, Infinity]);
  assert.equal(values("log", [1]), [0]);
  assert.equal(values("log1p", [0]), [0]);
});

test("exponentials of x <= 0", () => {
  const negative = (block: number) => allFloats(block + 33) && block < 33; // sign bit set
  for (const fill of [negative, evenly(-110, -80), evenly(-20, 0), evenly(-0.7, 0)]) {
    assert.ok(worst("expNonPositive", Math.exp, fill).ulps < 1.2);
    assert.ok(worst("expm1NonPositive", Math.expm1, fill).ulps < 1.6);
  }
});

test("logarithms", () => {
  const normals = (block: number) => {
    for (let i = 0; i < COUNT; i++) bits[i] = 0x00800000 + (block * COUNT + i) * 997;
    return (block + 1) * COUNT * 997 < 0x7f000000;
  };
  for (const fill of [normals, evenly(0.5, 2), evenly(0.99, 1.01)]) assert.ok(worst("log", Math.log, fill).ulps < 2);
  for (const fill of [evenly(0, 1), evenly(0, 1e-6)]) assert.ok(worst("log1p", Math.log1p, fill).ulps < 2);
  assert.ok(Number.isNaN(values("log", [NaN])[0]));
});

test("softplus and gelu", () => {
  for (const fill of [evenly(-110, 110), evenly(-4, 4)]) {
    assert.ok(worst("softplus", softplus, fill).ulps < 3);
    for (const [name, exact] of [
      ["gelu", (v: number) => v * normal(v)],
      ["geluSlope", (v: number) => normal(v) + (v * Math.exp(-0.5 * v * v)) / Math.sqrt(2 * Math.PI)],
    ] as const) {
      for (let block = 0; fill(block); block++) {
        k[name](y.byteOffset, x.byteOffset, COUNT);
        for (let i = 0; i < COUNT; i += 17) {
          const error = Math.abs(y[i] - exact(x[i])) / Math.max(1, Math.abs(x[i]));
          if (!(error < 2.5e-7)) assert.unreachable(`${name}(${x[i]}) is off by ${error}`);
        }
      }
    }
  }
});

test.run();
