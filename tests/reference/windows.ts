import type { Rows, Vector } from "./gru.ts";

/**
 * Convolution and pooling in double precision, one sequence at a time.
 * A step that does not exist, or is masked, counts as zeros in a convolution
 * and not at all in pooling.
 */

export interface Windows {
  size: number;
  strides: number;
  dilation: number;
  padding: "valid" | "same" | "causal";
}

/** Steps of every window; those outside of [0, T) do not exist. */
export function windowsOf({ size, strides, dilation, padding }: Windows, T: number): number[][] {
  const length = (size - 1) * dilation + 1;
  const count = padding === "valid" ? Math.floor((T - length) / strides) + 1 : Math.ceil(T / strides);
  const lacking = Math.max(0, (count - 1) * strides + length - T);
  const before = padding === "valid" ? 0 : padding === "causal" ? length - 1 : Math.floor(lacking / 2);
  return Array.from({ length: count }, (_, t) =>
    Array.from({ length: size }, (_, k) => t * strides - before + k * dilation),
  );
}

/** Which outputs count: with "valid" as the last step of their window, otherwise as every `strides`-th step. */
export function windowMaskOf(w: Windows, mask: Vector): number[] {
  return windowsOf(w, mask.length).map(
    (steps, t) => mask[w.padding === "valid" ? steps[steps.length - 1] : t * w.strides],
  );
}

/** @param kernel flat [size, I, N] @returns [steps, N] */
export function conv1d(
  xs: Rows,
  kernel: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  N: number,
  windows: Windows,
  mask?: Vector,
): number[][] {
  return windowsOf(windows, xs.length).map((steps) =>
    Array.from({ length: N }, (_, j) => {
      let sum = bias?.[j] ?? 0;
      steps.forEach((u, k) => {
        if (mask?.[u] === 0) return;
        xs[u]?.forEach((x, i) => {
          sum += x * kernel[(k * xs[u].length + i) * N + j];
        });
      });
      return sum;
    }),
  );
}

export function pooling1d(xs: Rows, kind: "max" | "mean", windows: Windows, mask?: Vector): number[][] {
  return windowsOf(windows, xs.length).map((steps) => {
    const rows = steps.filter((u) => xs[u] && mask?.[u] !== 0).map((u) => xs[u]);
    return Array.from(xs[0], (_, j) => {
      const column = rows.map((row) => row[j]);
      if (!column.length) return 0;
      return kind === "max" ? Math.max(...column) : column.reduce((a, b) => a + b) / column.length;
    });
  });
}
