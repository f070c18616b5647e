import { type Matrix, product, transpose } from "./gemm.ts";

/** x · K + b: x [rows, I], K [I, N], b [N]. */
export function dense(x: Matrix, kernel: Matrix, bias: Matrix | undefined, rows: number, I: number, N: number) {
  const start = bias && Float64Array.from({ length: rows * N }, (_, i) => bias[i % N]);
  return product(x, kernel, rows, N, I, start);
}

/** Gradients of sum(y ⊙ dy). */
export function denseGradients(x: Matrix, kernel: Matrix, dy: Matrix, rows: number, I: number, N: number) {
  const dBias = new Float64Array(N);
  for (let r = 0; r < rows; r++) for (let j = 0; j < N; j++) dBias[j] += dy[r * N + j];
  return {
    dx: product(dy, transpose(kernel, I, N), rows, I, N),
    dKernel: product(transpose(x, rows, I), dy, I, N, rows),
    dBias,
  };
}
