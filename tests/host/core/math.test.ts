import { test } from "uvu";
import * as assert from "uvu/assert";
import { cosPi, exp, log, pow, sinPi } from "../../../host/core/math.ts";
import { random } from "../../kit/core.ts";

/** From |x| to the next double: its unit in the last place. */
function step(x: number): number {
  const [bits] = new BigInt64Array(new Float64Array([Math.abs(x)]).buffer);
  return new Float64Array(BigInt64Array.of(bits + 1n).buffer)[0] - Math.abs(x);
}

/** Distance of two doubles in units of the last place of the expected one. */
function ulps(actual: number, expected: number): number {
  return actual === expected ? 0 : Math.abs(actual - expected) / step(expected);
}

function worst(actual: (x: number) => number, expected: (x: number) => number, points: number[]): [number, number] {
  let [at, most] = [0, 0];
  for (const x of points) {
    const e = ulps(actual(x), expected(x));
    if (!(e <= most)) [at, most] = [x, e];
  }
  return [at, most];
}

/** Fails where `actual` is more than `limit` ulp from `expected`. */
function within(limit: number, actual: (x: number) => number, expected: (x: number) => number, points: number[]): void {
  const [at, most] = worst(actual, expected, points);
  assert.ok(most <= limit, `f(${at}): expected ${expected(at)}, got ${actual(at)}; ${most} ulp`);
}

function spread(low: number, high: number, n = 20000): number[] {
  const next = random(7);
  return Array.from({ length: n }, () => low + (high - low) * next());
}

/** Fixed point with 200 bits after the point: the truth to compare doubles with. */
const ONE = 1n << 200n;
const times = (a: bigint, b: bigint) => (a * b) / ONE;

/** A double as fixed point, exact for |x| > 2^-148. */
function fixed(x: number): bigint {
  const [bits] = new BigInt64Array(new Float64Array([Math.abs(x)]).buffer);
  const shift = (bits >> 52n) - 1075n + 200n;
  const digits = (bits & ((1n << 52n) - 1n)) | (1n << 52n);
  const size = shift >= 0 ? digits << shift : digits >> -shift;
  return x === 0 ? 0n : x < 0 ? -size : size;
}

/** `first` and the terms that `next` makes of their predecessors, until they vanish. */
function series(first: bigint, next: (term: bigint, n: bigint) => bigint): bigint {
  let sum = first;
  for (let n = 1n, term = first; (term = next(term, n)) !== 0n; n++) sum += term;
  return sum;
}

const trueExp = (x: bigint) => series(ONE, (term, n) => times(term, x) / n);
const trueSin = (x: bigint) => series(x, (term, n) => -times(times(term, x), x) / (2n * n * (2n * n + 1n)));
const trueCos = (x: bigint) => series(ONE, (term, n) => -times(times(term, x), x) / (2n * n * (2n * n - 1n)));

/** Newton's steps on e^y = x, from a double's worth of digits. */
function trueLog(x: number): bigint {
  let y = fixed(Math.log(x));
  for (let i = 0; i < 3; i++) y += ((fixed(x) - trueExp(y)) * ONE) / trueExp(y);
  return y;
}

/** Machin's formula. */
function pi(): bigint {
  const arctan = (n: bigint) => {
    let sum = 0n;
    for (let k = 0n, power = ONE / n; power !== 0n; k++, power /= -n * n) sum += power / (2n * k + 1n);
    return sum;
  };
  return 4n * (4n * arctan(5n) - arctan(239n));
}

test("stated errors hold against 200-bit arithmetic", () => {
  const PI = pi();
  const check = (name: string, limit: number, x: number, actual: number, truth: bigint) => {
    const e = Math.abs(Number(fixed(actual) - truth)) / Number(fixed(step(actual)));
    assert.ok(e <= limit, `${name}(${x}) = ${actual}: ${e} ulp`);
  };
  for (const x of spread(-20, 20, 3000)) check("exp", 1.2, x, exp(x), trueExp(fixed(x)));
  for (const x of [...spread(0.5, 2, 2000), ...spread(-20, 20, 1000).map(Math.exp)])
    check("log", 1.9, x, log(x), trueLog(x));
  for (const x of spread(-2, 2, 4000)) {
    check("sinPi", 2.2, x, sinPi(x), trueSin(times(PI, fixed(x))));
    check("cosPi", 2.2, x, cosPi(x), trueCos(times(PI, fixed(x))));
  }
});

// Math.* are within 1 ulp of the truth, so 3 here is 2 for ours.
test("log holds over all magnitudes", () => {
  within(3, log, Math.log, spread(0, 4));
  within(3, log, Math.log, spread(0.99, 1.01));
  within(
    3,
    log,
    Math.log,
    spread(-1074, 1023.9).map((e) => 2 ** e),
  );
  within(3, log, Math.log, [Number.MIN_VALUE, Number.MAX_VALUE, 2 ** -1022, 1, 2, 0.5, Math.SQRT2, Math.SQRT1_2]);
});

test("log at the ends of its range", () => {
  assert.is(log(0), -Infinity);
  assert.is(log(Infinity), Infinity);
  assert.is(log(1), 0);
  assert.ok(Number.isNaN(log(-1)));
  assert.ok(Number.isNaN(log(Number.NaN)));
});

test("exp holds over its range", () => {
  within(3, exp, Math.exp, spread(-708, 709.7));
  within(3, exp, Math.exp, spread(-1, 1));
  within(3, exp, Math.exp, spread(-1e-9, 1e-9));
});

test("exp at the ends of its range", () => {
  assert.is(exp(0), 1);
  assert.is(exp(-Infinity), 0);
  assert.is(exp(Infinity), Infinity);
  assert.is(exp(710), Infinity);
  assert.ok(Number.isNaN(exp(Number.NaN)));
  within(1, exp, Math.exp, spread(-745, -709));
});

test("sinPi and cosPi are exact at quarters of a turn, and close between", () => {
  for (let q = -9; q <= 9; q++) {
    assert.equal(sinPi(q / 2) + 0, [0, 1, 0, -1][(q + 16) % 4], `sinPi(${q / 2})`);
    assert.equal(cosPi(q / 2) + 0, [1, 0, -1, 0][(q + 16) % 4], `cosPi(${q / 2})`);
  }
  // |x| < 1/4 needs no reduction in either implementation, so the arguments agree to an ulp.
  within(3, sinPi, (x) => Math.sin(Math.PI * x), spread(-0.25, 0.25));
  within(3, cosPi, (x) => Math.cos(Math.PI * x), spread(-0.25, 0.25));
  for (const x of spread(-8, 8)) {
    // π·8 as a double is off by up to 2^-49, which Math.* faithfully turns into an error of that size.
    assert.ok(Math.abs(sinPi(x) - Math.sin(Math.PI * x)) < 6e-15, `sinPi(${x})`);
    assert.ok(Math.abs(cosPi(x) - Math.cos(Math.PI * x)) < 6e-15, `cosPi(${x})`);
  }
  assert.is(sinPi(1e15 + 0.5), 1);
  assert.is(sinPi(-1e-20), -Math.PI * 1e-20);
});

test("pow of whole exponents is exact where the result is", () => {
  for (let n = -1022; n <= 1023; n++) assert.is(pow(2, n), 2 ** n);
  for (let n = 0; n <= 22; n++) assert.is(pow(10, n), Number(`1e${n}`));
  assert.is(pow(-3, 3), -27);
  assert.is(pow(0, 0), 1);
  assert.is(pow(0, -1), Infinity);
});

test("pow is within |y| ulp of Math.pow", () => {
  for (const x of spread(0.1, 10, 500))
    for (const y of [1, 2, 3, 10, 33, -2, 0.5, -0.5, 1.7, 12.25, -20.1]) {
      const e = ulps(pow(x, y), x ** y);
      assert.ok(e <= 4 + 3 * Math.abs(y), `${x}^${y}: expected ${x ** y}, got ${pow(x, y)}; ${e} ulp`);
    }
  assert.ok(Number.isNaN(pow(-2, 0.5)));
});

test.run();
