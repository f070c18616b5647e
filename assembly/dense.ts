import { gemm, gemmTransposed, gemmTransposedScratch } from "./gemm";
import { gemmInt8, int8Pack, int8PanelBytes } from "./int8";
import { workOf } from "./memory";
import { packPanels, packRow } from "./pack";
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

/**
 * @param y f32[rows, Np], overwritten   @param x f32[rows, Ip]
 * @param from, to rows to compute, by one thread
 */
export function denseForward(y: usize, x: usize, packed: usize, I: i32, N: i32, from: i32, to: i32, thread: i32): void {
  const Np = pad8(N), Ip = pad8(I);
  gemm(y + bytes(from * Np), x + bytes(from * Ip), packed + bytes(Np), packed, to - from, Np, I, Np, Ip, 0, workOf(thread));
}

/** Elements of the packed weights of denseForwardInt8: the bias, then K as int8.ts has it. */
export function densePackedSizeInt8(I: i32, N: i32): i32 {
  return pad8(N) + <i32>((<usize>(pad8(N) >> 3) * int8PanelBytes(I)) >> 2);
}

/** @param kernel i8[I, N] @param scales f32[N] @param bias f32[N] or 0 */
export function densePackInt8(packed: usize, kernel: usize, scales: usize, bias: usize, I: i32, N: i32): void {
  packRow(packed, bias, N);
  int8Pack(packed + bytes(pad8(N)), kernel, scales, I, N, N, 0, pad8(N) >> 3);
}

/** denseForward with weights in int8. @param range |x| of the largest level; 0: the largest of each row */
export function denseForwardInt8(
  y: usize, x: usize, packed: usize, I: i32, N: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  const Np = pad8(N), Ip = pad8(I);
  gemmInt8(y + bytes(from * Np), x + bytes(from * Ip), packed + bytes(Np), packed, to - from, Np, I, Np, Ip, 0, range, workOf(thread));
}

/**
 * dx = dy · Kᵀ, or += with `accumulate`.
 *
 * @param packed   from densePackTransposed
 * @param from, to rows to compute, by one thread
 */
export function denseBackward(
  dx: usize, dy: usize, packed: usize, I: i32, N: i32, accumulate: i32, from: i32, to: i32, thread: i32,
): void {
  const Ip = pad8(I), Np = pad8(N);
  dx += bytes(from * Ip);
  gemm(dx, dy + bytes(from * Np), packed, accumulate ? dx : 0, to - from, Ip, N, Ip, Np, Ip, workOf(thread));
}

/**
 * dKernel += xᵀ · dy, dBias += column sums of dy.
 *
 * @param dKernel  f32[I, N] dense   @param dBias f32[N] or 0
 * @param scratch  f32[threads, denseGradientsScratch(I, N)]
 * @param from, to panels of 8 columns to compute
 * @param thread   whose part of the scratch to use
 */
export function denseGradients(
  dKernel: usize, dBias: usize, x: usize, dy: usize, scratch: usize, rows: i32, I: i32, N: i32, from: i32, to: i32, thread: i32,
): void {
  const column = bytes(from << 3), n = min(N, to << 3) - (from << 3);
  gemmTransposed(
    dKernel + column, dBias ? dBias + column : 0, x, dy + column, scratch + bytes(thread * denseGradientsScratch(I, N)),
    I, n, rows, N, pad8(I), pad8(N),
  );
}

export function denseGradientsScratch(I: i32, N: i32): i32 {
  return gemmTransposedScratch(I, N);
}
