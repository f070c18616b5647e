/**
 * Elementary functions that give the same bits in every JavaScript engine.
 *
 * The language fixes every bit of + - × / and Math.sqrt, but leaves Math.exp,
 * Math.log, Math.cos and Math.pow to the engine. Whatever reaches weights
 * (initialisers, random numbers, learning rates) comes through here instead:
 * an exact reduction of the argument, then a series long enough that its rest
 * is far below half an ulp. The stated errors are the largest that the test
 * finds against 200-bit arithmetic, rounded up.
 */

// ln 2 in two parts; the first ends in 21 zero bits, so its product with an exponent is exact.
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
const SQRT_HALF = Math.SQRT1_2;

/** Exact powers of two that halve an exponent's range one after the other: 2^512, 2^256, ..., 2. */
const POWERS = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1].map((e) => ({ e, up: twoTo(e), down: twoTo(-e) }));

/** 2^e for |e| <= 1022, exact. */
function twoTo(e: number): number {
  let result = 1;
  for (let base = e < 0 ? 0.5 : 2, left = Math.abs(e); left > 0; left >>= 1, base *= base) if (left & 1) result *= base;
  return result;
}

/**
 * Natural logarithm, within 1.9 ulp.
 *
 * x = 2^k m with m in [√½, √2), then with s = (m - 1) / (m + 1), |s| < 0.172:
 * log x = k ln 2 + 2 (s + s³/3 + s⁵/5 + ...).
 */
export function log(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : Number.NaN;
  if (x === Infinity) return x;
  let k = 0;
  if (x < 1e-300) {
    x *= 18014398509481984; // 2^54 lifts subnormals into the range of POWERS
    k = -54;
  }
  if (x >= 2 || x < 0.5)
    for (const { e, up, down } of POWERS)
      if (x >= up) {
        x *= down;
        k += e;
      } else if (x < down) {
        x *= up;
        k -= e;
      }
  if (x < SQRT_HALF) {
    x *= 2;
    k -= 1;
  } else if (x > 2 * SQRT_HALF) {
    x *= 0.5;
    k += 1;
  }
  const s = (x - 1) / (x + 1);
  const q = s * s;
  let series = 1 / 23; // the next term is below 2^-60
  for (let n = 21; n >= 3; n -= 2) series = series * q + 1 / n;
  return k * LN2_HIGH + (2 * s + (2 * s * q * series + k * LN2_LOW));
}

/**
 * e^x, within 1.2 ulp; below the normal range within one subnormal step.
 *
 * x = k ln 2 + r with |r| <= ln 2 / 2, then the Taylor series of e^r.
 */
export function exp(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x > 709.79) return Infinity;
  if (x < -745.14) return 0;
  const k = Math.floor(x / (LN2_HIGH + LN2_LOW) + 0.5);
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  let series = 1;
  for (let n = 14; n >= 2; n--) series = 1 + (r / n) * series; // the next term is below 2^-60
  // Two factors: 2^k alone leaves the normal range before the result does.
  const half = Math.floor(k / 2);
  return (1 + r * series) * twoTo(half) * twoTo(k - half);
}

/** sin(πx), within 2.2 ulp. In half turns, so that reducing the argument is exact. */
export function sinPi(x: number): number {
  return x < 0 ? -circle(-x, 0) : circle(x, 0);
}

/** cos(πx), within 2.2 ulp. */
export function cosPi(x: number): number {
  return circle(Math.abs(x), 1);
}

/** sin(π (x + quarter / 2)) for x >= 0: x is t half turns from the nearest quarter, |t| <= 1/4. */
function circle(x: number, quarter: number): number {
  const turn = x - 2 * Math.floor(x / 2);
  const q = Math.floor(2 * turn + 0.5);
  const angle = Math.PI * (turn - q / 2);
  const square = angle * angle;
  const odd = ((q + quarter) & 1) === 1;
  // Taylor: cos with terms up to θ^18, sin with terms up to θ^17.
  let series = 1;
  for (let n = odd ? 18 : 17; n >= 2; n -= 2) series = 1 - (square / (n * (n - 1))) * series;
  const value = odd ? series : angle * series;
  return (q + quarter) & 2 ? -value : value;
}

/**
 * x^y. Whole exponents by repeated squaring (an error of about |y| / 2 ulp),
 * others as e^(y log x) (about |y log x| ulp). As Math.pow, except that a
 * negative whole power is 1 / x^|y|, hence 0 where x^|y| overflows, and that
 * 1^(±Infinity) is 1.
 */
export function pow(x: number, y: number): number {
  if (!Number.isInteger(y)) return x === 1 ? 1 : exp(y * log(x));
  if (y < 0) return 1 / pow(x, -y);
  let result = 1;
  for (let left = y, base = x; left > 0; left = Math.floor(left / 2), base *= base) if (left % 2 === 1) result *= base;
  return result;
}
