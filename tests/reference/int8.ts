/**
 * Quantised numbers as assembly/int8.ts defines them. Scales and quotients
 * round to float32, sums are exact: every integer stays below 2^53.
 */

export const LEVELS = 4095;

/** To the nearest, ties to even. */
export function nearest(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** Weights [rows, n]: whole numbers in [-127, 127] and a scale a column. */
export function quantizeColumns(x: ArrayLike<number>, rows: number, n: number) {
  const q = new Int8Array(rows * n);
  const scales = new Float32Array(n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < rows; i++) scales[j] = Math.max(scales[j], Math.abs(x[i * n + j]));
    scales[j] /= 127;
    if (scales[j] === 0) continue;
    for (let i = 0; i < rows; i++)
      q[i * n + j] = Math.max(-127, Math.min(127, nearest(Math.fround(x[i * n + j] / scales[j]))));
  }
  return { q, scales };
}

/** The weights that those stand for. */
export function dequantized({ q, scales }: ReturnType<typeof quantizeColumns>): Float32Array {
  return Float32Array.from(q, (v, i) => v * scales[i % scales.length]);
}

/** One row of activations. */
export function quantizeRow(x: readonly number[], range: number) {
  const reach = range > 0 ? range : x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const inverse = reach > 1e-30 ? Math.fround(LEVELS / reach) : 0;
  const levels = x.map((v) => nearest(Math.max(-LEVELS, Math.min(LEVELS, Math.fround(v * inverse)))));
  return { levels, scale: Math.fround(reach / LEVELS) };
}

/** C = start + A · B, [m, n]; 4096 steps of k have a scale of their own, then the next. */
export function product(
  a: ArrayLike<number>,
  weights: ReturnType<typeof quantizeColumns>,
  start: (i: number, j: number) => number,
  m: number,
  n: number,
  k: number,
  range: number,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) c[i * n + j] = start(i, j);
    for (let done = 0; done < k; done += 4096) {
      const steps = Math.min(4096, k - done);
      const row = Array.from({ length: steps }, (_, p) => a[i * k + done + p]);
      const { levels, scale } = quantizeRow(row, range);
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < steps; p++) sum += levels[p] * weights.q[(done + p) * n + j];
        c[i * n + j] += scale * weights.scales[j] * sum;
      }
    }
  }
  return c;
}
