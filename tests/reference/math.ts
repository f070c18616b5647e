/** Elementary functions in double precision. */

export function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}

export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Φ(x): Taylor series near 0, continued fraction of the tail. */
export function normal(x: number): number {
  const a = Math.abs(x);
  const density = Math.exp(-0.5 * a * a) / Math.sqrt(2 * Math.PI);
  if (a > 3) {
    let f = a;
    for (let k = 100; k > 0; k--) f = a + k / f;
    return x < 0 ? density / f : 1 - density / f;
  }
  let sum = 0;
  for (let term = x, k = 1; k < 120; k += 2) {
    sum += term;
    term *= (x * x) / (k + 2);
  }
  return 0.5 + density * sum;
}

/** Distance between neighbouring float32 numbers at |x|. */
export function ulp(x: number): number {
  return 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 23);
}
