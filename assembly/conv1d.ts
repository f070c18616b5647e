import { gemm, gemmTransposed, gemmTransposedScratch, WORK } from "./gemm";
import { INT8, product } from "./int8";
import { counts } from "./mask";
import { workOf } from "./memory";
import { packPanels } from "./pack";
import { bytes, pad8 } from "./simd";

/**
 * Convolution over time: every output step is a window of the input times the
 * kernel.
 *
 *   y[t] = b + Σ_k x[t s + k d − p] · K[k]        x is 0 outside, and where a step is masked
 *
 * A window's taps side by side make one row of k I numbers (im2col), so all
 * of it is one product per block of rows, as in dense.ts; windows are laid
 * out block by block, in room that stays in the cache. Backward is the same
 * with the roles of x and y changed: dx[t] = Σ_k dy[(t + p − k d) / s] · K[k]ᵀ.
 *
 * Legend: T input steps, S output steps, B batch, I inputs, N filters; k taps
 * of the kernel, s stride, d dilation, p steps of padding before the first.
 * Kernel f32[k, I, N], so its packed form is that of a dense [k I, N].
 */

/** Rows of windows at a time: as many as one packed block of a product has. */
// @ts-ignore: decorator
@inline function blockRows(width: i32): i32 { return min(256, max(4, (WORK / width) & ~3)); }

/** Rows of windows at a time in weight gradients, whose blocks are taller (gemm.ts). */
// @ts-ignore: decorator
@inline function tallRows(width: i32): i32 { return max(32, min(256, 4 * WORK / width)); }

/** Elements of scratch of conv1dForward, for one thread; with I and N exchanged, of conv1dBackward. */
export function conv1dScratch(I: i32, taps: i32): i32 {
  const width = pad8(taps * I);
  return blockRows(width) * width + 8;
}

/**
 * Windows as rows, from output row `first` on. Their taps are found by
 *
 *   u · divisor = t · factor + offset + k · step, zeros where there is no such u in [0, U)
 *
 * @param rows  f32[count, pad8(taps n)], and 4 elements after it
 * @param x     f32, element (u, b, j) at u xStep + b xRow + j; up to a multiple of 4 must be readable
 * @param valid i32[U, B], 0 where a source counts as zeros, or 0
 * @param own   i32[., B], 0 where a whole window is zeros, or 0
 */
function layWindows(
  rows: usize, x: usize, valid: usize, own: usize, first: i32, count: i32, U: i32, B: i32, n: i32, taps: i32,
  factor: i32, offset: i32, step: i32, divisor: i32, xStep: i32, xRow: i32,
): void {
  const rowBytes = bytes(pad8(taps * n)), tap = bytes(n), zero = f32x4.splat(0);
  let t = first / B, b = first % B;
  for (const end = rows + <usize>count * rowBytes; rows < end; rows += rowBytes) {
    // The padding; taps overwrite what of this is theirs, and reach up to 3 elements into what follows.
    v128.store(rows + rowBytes - 32, zero);
    v128.store(rows + rowBytes - 16, zero);
    const v = t * factor + offset;
    if (own && load<i32>(own + bytes(t * B + b)) == 0) memory.fill(rows, 0, <usize>taps * tap);
    else if (divisor == 1) {
      // Taps within the sequence: from `begin` to `stop`, the last not included.
      const begin = clamp(step > 0 ? (step - 1 - v) / step : v >= U ? (v - U) / -step + 1 : 0, taps);
      const stop = clamp(step > 0 ? (U - v + step - 1) / step : v < 0 ? 0 : v / -step + 1, taps);
      const u = v + begin * step, from = x + (<usize>(u * xStep + b * xRow) << 2), next = <isize>(step * xStep) << 2;
      zeros(rows, <usize>begin * tap);
      if (begin < stop) {
        const to = rows + <usize>begin * tap, found = stop - begin;
        if (valid) copyValid(to, from, valid + bytes(u * B + b), found, tap, next, <isize>(step * B) << 2);
        else if (next == <isize>tap) copyTaps(to, from, 1, <usize>found * tap, 0);
        else copyTaps(to, from, found, tap, next);
        zeros(rows + <usize>stop * tap, <usize>(taps - stop) * tap);
      } else zeros(rows, <usize>taps * tap);
    } else
      for (let k = 0, to = rows; k < taps; k++, to += tap) {
        const w = v + k * step, u = w / divisor;
        if (w >= 0 && u < U && u * divisor == w) copyTaps(to, x + (<usize>(u * xStep + b * xRow) << 2), 1, tap, 0);
        else zeros(to, tap);
      }
    if (++b == B) {
      b = 0;
      t++;
    }
  }
}

// @ts-ignore: decorator
@inline function clamp(k: i32, taps: i32): i32 { return min(max(k, 0), taps); }

/** Zeros up to a whole vector. */
// @ts-ignore: decorator
@inline function zeros(to: usize, n: usize): void {
  for (const end = to + n, zero = f32x4.splat(0); to < end; to += 16) v128.store(to, zero);
}

/** Taps side by side, in whole vectors; sizes in bytes. @param next from a tap's source to the next one's */
// @ts-ignore: decorator
@inline function copyTaps(to: usize, from: usize, taps: i32, tap: usize, next: isize): void {
  if (tap <= 16)
    for (; taps > 0; taps--) {
      v128.store(to, v128.load(from));
      to += tap; from += next;
    }
  else
    for (; taps > 0; taps--) {
      for (let j: usize = 0; j < tap; j += 16) v128.store(to + j, v128.load(from + j));
      to += tap; from += next;
    }
}

/** copyTaps, zeros where a step is masked. @param mark bytes from a tap's mask to the next one's */
function copyValid(to: usize, from: usize, valid: usize, taps: i32, tap: usize, next: isize, mark: isize): void {
  for (; taps > 0; taps--) {
    if (load<i32>(valid)) copyTaps(to, from, 1, tap, 0);
    else zeros(to, tap);
    to += tap; from += next; valid += mark;
  }
}

/**
 * @param y       f32[S, B, Np], overwritten
 * @param x       f32, element (t, b, i) at t xStep + b xRow + i: [T, B, Ip], or of streams [B, T, I]
 * @param packed  from densePack(kernel as [taps I, N])
 * @param mask    i32[T, B], 0 where a step counts as zeros, or 0
 * @param scratch f32[threads, conv1dScratch(I, taps)]
 * @param from, to rows of [S, B] to compute, by one thread
 */
export function conv1dForward(
  y: usize, x: usize, packed: usize, mask: usize, scratch: usize, T: i32, B: i32, I: i32, N: i32,
  taps: i32, stride: i32, dilation: i32, pad: i32, xStep: i32, xRow: i32, from: i32, to: i32, thread: i32,
): void {
  forward(y, x, packed, mask, scratch, T, B, I, N, taps, stride, dilation, pad, xStep, xRow, 0, 0, from, to, thread);
}

/** conv1dForward with weights in int8, from densePackInt8. @param range |x| of the largest level; 0: the largest of each window */
export function conv1dForwardInt8(
  y: usize, x: usize, packed: usize, mask: usize, scratch: usize, T: i32, B: i32, I: i32, N: i32,
  taps: i32, stride: i32, dilation: i32, pad: i32, xStep: i32, xRow: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  forward(y, x, packed, mask, scratch, T, B, I, N, taps, stride, dilation, pad, xStep, xRow, INT8, range, from, to, thread);
}

function forward(
  y: usize, x: usize, packed: usize, mask: usize, scratch: usize, T: i32, B: i32, I: i32, N: i32,
  taps: i32, stride: i32, dilation: i32, pad: i32, xStep: i32, xRow: i32, flags: i32, range: f32, from: i32, to: i32, thread: i32,
): void {
  const Np = pad8(N), width = pad8(taps * I), block = blockRows(width);
  scratch += bytes(thread * conv1dScratch(I, taps));
  for (let row = from; row < to; row += block) {
    const count = min(block, to - row);
    layWindows(scratch, x, mask, 0, row, count, T, B, I, taps, stride, -pad, dilation, 1, xStep, xRow);
    product(y + bytes(row * Np), scratch, packed + bytes(Np), packed, count, Np, taps * I, Np, width, 0, flags, range, workOf(thread));
  }
}

/**
 * The windows of streams, moved on by a frame: the oldest goes, x comes.
 *
 * @param windows f32[B, stride], each [length, n] dense
 * @param x       f32[B, n]
 * @param mask    i32[B], 0 where the frame counts as zeros, or 0
 */
export function pushFrames(windows: usize, x: usize, mask: usize, B: i32, length: i32, n: i32, stride: i32): void {
  const kept = bytes((length - 1) * n), frame = bytes(n);
  for (let b = 0; b < B; b++) {
    memory.copy(windows, windows + frame, kept);
    if (counts(mask, b)) memory.copy(windows + kept, x, frame);
    else memory.fill(windows + kept, 0, frame);
    windows += bytes(stride); x += bytes(pad8(n));
  }
}

// ---------------------------------------------------------------- backward

/** Elements of the packed weights of conv1dBackward: Kᵀ as [taps N, Ip]. */
export function conv1dPackedTransposedSize(I: i32, N: i32, taps: i32): i32 {
  return taps * N * pad8(I);
}

/** @param kernel f32[taps, I, N] */
export function conv1dPackTransposed(packed: usize, kernel: usize, I: i32, N: i32, taps: i32): void {
  for (let k = 0; k < taps; k++)
    packPanels(packed + (<usize>(k * N) << 5), kernel + bytes(k * I * N), N, I, 1, N, N, (taps * N) << 3);
}

/**
 * dx, overwritten or added to (`accumulate`); zeros, or nothing, where a step is masked.
 *
 * @param dx      f32[T, B, Ip]   @param dy f32[S, B, Np]
 * @param packed  from conv1dPackTransposed
 * @param scratch f32[threads, conv1dScratch(N, taps)]
 * @param from, to rows of [T, B] to compute, by one thread
 */
export function conv1dBackward(
  dx: usize, dy: usize, packed: usize, mask: usize, scratch: usize, S: i32, B: i32, I: i32, N: i32,
  taps: i32, stride: i32, dilation: i32, pad: i32, accumulate: i32, from: i32, to: i32, thread: i32,
): void {
  const Ip = pad8(I), Np = pad8(N), width = pad8(taps * N), block = blockRows(width);
  scratch += bytes(thread * conv1dScratch(N, taps));
  for (let row = from; row < to; row += block) {
    const count = min(block, to - row), d = dx + bytes(row * Ip);
    layWindows(scratch, dy, 0, mask, row, count, S, B, N, taps, 1, pad, -dilation, stride, B * Np, Np);
    gemm(d, scratch, packed, accumulate ? d : 0, count, Ip, taps * N, Ip, width, Ip, workOf(thread));
  }
}

/** Elements of scratch of conv1dGradients, for one thread. */
export function conv1dGradientsScratch(I: i32, N: i32, taps: i32): i32 {
  const width = pad8(taps * I);
  return tallRows(width) * width + 8 + gemmTransposedScratch(taps * I, N);
}

/**
 * dKernel += windowsᵀ · dy, dBias += column sums of dy.
 *
 * @param dKernel f32[taps, I, N] dense   @param dBias f32[N] or 0
 * @param x       f32[T, B, Ip]           @param dy f32[S, B, Np]
 * @param scratch f32[threads, conv1dGradientsScratch(I, N, taps)]
 * @param from, to panels of 8 columns to compute
 */
export function conv1dGradients(
  dKernel: usize, dBias: usize, x: usize, dy: usize, mask: usize, scratch: usize, T: i32, S: i32, B: i32, I: i32, N: i32,
  taps: i32, stride: i32, dilation: i32, pad: i32, from: i32, to: i32, thread: i32,
): void {
  const Ip = pad8(I), Np = pad8(N), width = pad8(taps * I), block = tallRows(width);
  const column = bytes(from << 3), n = min(N, to << 3) - (from << 3);
  scratch += bytes(thread * conv1dGradientsScratch(I, N, taps));
  const products = scratch + bytes(block * width + 8);
  for (let row = 0, rows = S * B; row < rows; row += block) {
    const count = min(block, rows - row);
    layWindows(scratch, x, mask, 0, row, count, T, B, I, taps, stride, -pad, dilation, 1, B * Ip, Ip);
    gemmTransposed(
      dKernel + column, dBias ? dBias + column : 0, scratch, dy + bytes(row * Np) + column, products, taps * I, n, count, N, width, Np,
    );
  }
}
