import * as assert from "uvu/assert";
import { pad8 } from "./core.ts";

/** Columns around the widths of a vector, a panel and a block of vectors. */
export const SIZES = [1, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 65];
export const ROWS = [0, 1, 2, 3, 5, 17];

/** Garbage for padding: finite, and so large that it shows in any sum it leaks into. */
export const GARBAGE = 1e30;

/** Rounding error of one float32 operation, relative. */
export const ROUNDING = 2 ** -24;

export type Shape = { rows: number; n: number; stride: number };

/** Every shape that kernels over rows are tested at: [rows, n] tight and with a spare panel. */
export function shapes(): Shape[] {
  return ROWS.flatMap((rows) =>
    SIZES.flatMap((n) => [
      { rows, n, stride: pad8(n) },
      { rows, n, stride: pad8(n) + 8 },
    ]),
  );
}

/** A sample of shapes for what costs n² : up to 3 rows, up to 17 columns. */
export function smallShapes(): Shape[] {
  return shapes().filter(({ rows, n }) => rows > 0 && rows <= 3 && n <= 17);
}

/** Gradient of `f` at `x` by central differences. */
export function centralDifferences(f: (x: Float64Array) => number, x: ArrayLike<number>, h = 1e-5): Float64Array {
  const at = Float64Array.from(x);
  return at.map((v, i) => {
    at[i] = v + h;
    const above = f(at);
    at[i] = v - h;
    const below = f(at);
    at[i] = v;
    return (above - below) / (2 * h);
  });
}

/** Row i of a dense [rows, n]. */
export function row<T extends { slice(from: number, to: number): T }>(x: T, i: number, n: number): T {
  return x.slice(i * n, (i + 1) * n);
}

/** Fails unless the padding of a [rows, n] is zero. */
export function checkPadding(view: Float32Array, { rows, n, stride }: Shape, what: string): void {
  for (let i = 0; i < rows; i++)
    for (let j = n; j < stride; j++)
      if (view[i * stride + j] !== 0) assert.unreachable(`${what}: padding of row ${i} holds ${view[i * stride + j]}`);
}
