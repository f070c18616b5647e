import type { Arena } from "../core/arena.ts";
import { scatter } from "../core/rows.ts";
import { type Port, padded } from "../layers/layer.ts";
import type { Recording } from "../stacks/recording.ts";
import type { Examples } from "./examples.ts";

/**
 * The one bulk copy in. `rows` selects the samples of a batch, so that
 * shuffling copies nothing.
 */

/** Writes x, mask, targets and weights of the selected samples. */
export function copyIn(arena: Arena, recording: Recording, examples: Examples, rows: Int32Array, targets: Port): void {
  const { input } = recording;
  const { T, B } = recording.request;
  const { sequence, features, type } = input.port;
  const steps = sequence ? T : 1;
  scatter(
    type === "tokens" ? arena.i32 : arena.f32,
    input.address >>> 2,
    examples.x,
    rows,
    steps,
    features,
    input.stride,
  );
  if (input.mask) {
    const at = input.mask.address >>> 2;
    const { lengths, mask } = examples;
    for (let b = 0; b < B; b++)
      for (let t = 0; t < T; t++) {
        const valid = mask ? mask[rows[b] * T + t] : t < lengths![rows[b]] ? 1 : 0;
        arena.i32[at + t * B + b] = valid;
        // Whatever the padding holds, it must not reach the weight gradients.
        if (!valid && type === "values")
          arena.f32.fill(
            0,
            (input.address >>> 2) + (t * B + b) * input.stride,
            (input.address >>> 2) + (t * B + b + 1) * input.stride,
          );
      }
  }
  const outputSteps = targets.sequence ? T : 1;
  if (recording.targets && examples.y) {
    const labels = examples.y instanceof Int32Array;
    const width = examples.width ?? (labels ? 1 : targets.features);
    scatter(
      labels ? arena.i32 : arena.f32,
      recording.targets >>> 2,
      examples.y,
      rows,
      outputSteps,
      width,
      labels ? width : padded(width),
    );
  }
  if (recording.weights && examples.weights) {
    const width = examples.weightsPer === "rows" ? 1 : targets.features;
    scatter(
      arena.f32,
      recording.weights >>> 2,
      examples.weights,
      rows,
      outputSteps,
      width,
      width === 1 && examples.weightsPer === "rows" ? 1 : padded(width),
    );
  }
}
