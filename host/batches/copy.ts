import type { Arena } from "../core/arena.ts";
import { type Port, padded } from "../layers/layer.ts";
import type { Recording } from "../stacks/recording.ts";
import type { Examples } from "./examples.ts";

/**
 * The one bulk copy in and out: batch-major [B, T, F] in JavaScript,
 * time-major [T, B, stride] in the arena. `rows` selects the samples of a
 * batch, so that shuffling copies nothing.
 */

/** Writes x, mask, targets and weights of the selected samples. */
export function copyIn(arena: Arena, recording: Recording, examples: Examples, rows: Int32Array, targets: Port): void {
  const { input } = recording;
  const { T, B } = recording.request;
  const { sequence, features, type } = input.port;
  const steps = sequence ? T : 1;
  scatter(
    type === "tokens" ? arena.i32 : arena.f32,
    input.address >> 2,
    examples.x,
    rows,
    steps,
    features,
    input.stride,
  );
  if (input.mask) {
    const at = input.mask.address >> 2;
    const { lengths, mask } = examples;
    for (let b = 0; b < B; b++)
      for (let t = 0; t < T; t++) {
        const valid = mask ? mask[rows[b] * T + t] : t < lengths![rows[b]] ? 1 : 0;
        arena.i32[at + t * B + b] = valid;
        // Whatever the padding holds, it must not reach the weight gradients.
        if (!valid && type === "values")
          arena.f32.fill(
            0,
            (input.address >> 2) + (t * B + b) * input.stride,
            (input.address >> 2) + (t * B + b + 1) * input.stride,
          );
      }
  }
  const outputSteps = targets.sequence ? T : 1;
  if (recording.targets && examples.y) {
    const labels = examples.y instanceof Int32Array;
    const width = labels ? 1 : targets.features;
    scatter(
      labels ? arena.i32 : arena.f32,
      recording.targets >> 2,
      examples.y,
      rows,
      outputSteps,
      width,
      labels ? 1 : padded(width),
    );
  }
  if (recording.weights && examples.weights) {
    const width = examples.weightsPer === "rows" ? 1 : targets.features;
    scatter(
      arena.f32,
      recording.weights >> 2,
      examples.weights,
      rows,
      outputSteps,
      width,
      width === 1 && examples.weightsPer === "rows" ? 1 : padded(width),
    );
  }
}

/** to[t, b, 0..n) = from[rows[b], t, 0..n). */
export function scatter(
  to: Float32Array | Int32Array,
  at: number,
  from: Float32Array | Int32Array,
  rows: Int32Array,
  steps: number,
  n: number,
  stride: number,
): void {
  const B = rows.length;
  for (let b = 0; b < B; b++) {
    let source = rows[b] * steps * n;
    for (let t = 0; t < steps; t++) {
      const target = at + (t * B + b) * stride;
      // A plain loop: for rows this short, faster than subarray and set.
      for (let i = 0; i < n; i++) to[target + i] = from[source + i];
      source += n;
    }
  }
}

/** to[b, t, 0..n) = from[t, b, 0..n): the inverse. */
export function gather(
  to: Float32Array,
  offset: number,
  from: Float32Array,
  at: number,
  B: number,
  steps: number,
  n: number,
  stride: number,
): void {
  for (let b = 0; b < B; b++)
    for (let t = 0; t < steps; t++) {
      const source = at + (t * B + b) * stride;
      const target = offset + (b * steps + t) * n;
      for (let i = 0; i < n; i++) to[target + i] = from[source + i];
    }
}

/** Dense rows from padded ones. */
export function readRows(arena: Arena, address: number, rows: number, n: number, stride: number): Float32Array {
  const out = new Float32Array(rows * n);
  gather(out, 0, arena.f32, address >> 2, rows, 1, n, stride);
  return out;
}

/** Padded rows from dense ones. */
export function writeRows(
  arena: Arena,
  address: number,
  values: Float32Array,
  rows: number,
  n: number,
  stride: number,
): void {
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < stride; i++) arena.f32[(address >> 2) + r * stride + i] = i < n ? values[r * n + i] : 0;
}
