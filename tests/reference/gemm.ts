/** Matrix products in double precision: plain loops over rows of numbers. */

export type Matrix = ArrayLike<number>;

/** start + A · B, row-major dense: A [m, k], B [k, n], start [m, n]; zeros without a start. */
export function product(a: Matrix, b: Matrix, m: number, n: number, k: number, start?: Matrix): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = start ? start[i * n + j] : 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
      c[i * n + j] = sum;
    }
  return c;
}

/** The other way round: [rows, n] to [n, rows]. */
export function transpose(x: Matrix, rows: number, n: number): Float64Array {
  return Float64Array.from({ length: rows * n }, (_, i) => x[(i % rows) * n + Math.floor(i / rows)]);
}

/**
 * The same sum as the kernels form it: one float32 accumulator over ascending
 * k, each product and each sum rounded. The plain binary agrees to the bit.
 */
export function productF32(a: Matrix, b: Matrix, m: number, n: number, k: number, start?: Matrix): Float32Array {
  const c = new Float32Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = start ? start[i * n + j] : 0;
      for (let p = 0; p < k; p++) sum = Math.fround(sum + Math.fround(a[i * k + p] * b[p * n + j]));
      c[i * n + j] = sum;
    }
  return c;
}
