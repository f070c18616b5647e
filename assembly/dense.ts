import { gemm, gemmTransposed } from "./gemm";
import { addRows, packPanels, packRow } from "./pack";
import { columnSums } from "./reductions";
import { bytes, pad8 } from "./simd";

/**
 * y = x · K + b on any number of rows (one a sample, or one a time step).
 *
 * Legend: I inputs, N units; rows of activations are padded to 8 columns.
 * Packed weights: bias f32[Np], then K as panels [I, Np].
 */

/** Elements of the packed weights of denseForward. */
export function densePackedSize(I: i32, N: i32): i32 {
  return (I + 1) * pad8(N);
}

/** Elements of the packed weights of denseBackward. */
export function densePackedTransposedSize(I: i32, N: i32): i32 {
  return N * pad8(I);
}

/** @param bias f32[N] or 0 */
export function densePack(packed: usize, kernel: usize, bias: usize, I: i32, N: i32): void {
  packRow(packed, bias, N);
  packPanels(packed + bytes(pad8(N)), kernel, I, N, N, 1, I, I << 3);
}

export function densePackTransposed(packed: usize, kernel: usize, I: i32, N: i32): void {
  packPanels(packed, kernel, N, I, 1, N, N, N << 3);
}

/** @param y f32[rows, Np], overwritten   @param x f32[rows, Ip] */
export function denseForward(y: usize, x: usize, packed: usize, rows: i32, I: i32, N: i32): void {
  const Np = pad8(N);
  gemm(y, x, packed + bytes(Np), packed, rows, Np, I, Np, pad8(I), 0);
}

/**
 * dx = dy · Kᵀ, or += with `accumulate`.
 *
 * @param packed from densePackTransposed
 */
export function denseBackward(dx: usize, dy: usize, packed: usize, rows: i32, I: i32, N: i32, accumulate: i32): void {
  const Ip = pad8(I);
  gemm(dx, dy, packed, accumulate ? dx : 0, rows, Ip, N, Ip, pad8(N), Ip);
}

/** Elements of scratch of denseGradients, beside that of the product. */
export function denseGradientsSize(I: i32, N: i32): i32 {
  return ((I + 3) & ~3) * pad8(N);
}

/**
 * dKernel += xᵀ · dy, dBias += column sums of dy.
 *
 * @param dKernel f32[I, N] dense   @param dBias f32[N] or 0
 * @param scratch f32[denseGradientsSize(I, N) + gemmTransposedScratch(I, Np)]
 */
export function denseGradients(dKernel: usize, dBias: usize, x: usize, dy: usize, scratch: usize, rows: i32, I: i32, N: i32): void {
  if (rows == 0) return;
  const Np = pad8(N);
  gemmTransposed(scratch, x, dy, scratch + bytes(denseGradientsSize(I, N)), I, Np, rows, Np, pad8(I), Np);
  addRows(dKernel, scratch, I, N, N, Np);
  if (dBias) columnSums(dBias, dy, rows, N, Np);
}
