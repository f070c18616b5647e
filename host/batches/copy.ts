import type { Arena } from "../core/arena.ts";
import { scatter } from "../core/rows.ts";
import { padded } from "../layers/layer.ts";
import type { InputPlace, OutputPlace, Recording } from "../stacks/recording.ts";
import type { Examples, InputExamples, OutputExamples } from "./examples.ts";

/**
 * The one bulk copy in. `rows` selects the samples of a batch, so that
 * shuffling copies nothing.
 */

/** Writes inputs, masks, targets and weights of the selected samples. */
export function copyIn(arena: Arena, recording: Recording, examples: Examples, rows: Int32Array): void {
  recording.inputs.forEach((place, i) => {
    copyInput(arena, place, examples.inputs[i], rows);
  });
  recording.outputs.forEach((place, i) => {
    copyTargets(arena, place, examples.outputs[i], rows);
  });
}

function copyInput(arena: Arena, { value }: InputPlace, examples: InputExamples, rows: Int32Array): void {
  const { port, address, stride } = value;
  const { steps: T, lengths, mask } = examples;
  const numbers = port.type === "tokens" ? arena.i32 : arena.f32;
  scatter(numbers, address >>> 2, examples.data, rows, T, port.features, stride);
  if (!value.mask) return;
  const B = rows.length;
  const at = value.mask.address >>> 2;
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) {
      const valid = mask ? mask[rows[b] * T + t] : t < lengths![rows[b]] ? 1 : 0;
      arena.i32[at + t * B + b] = valid;
      // Whatever the padding holds, it must not reach the weight gradients.
      const row = (address >>> 2) + (t * B + b) * stride;
      if (!valid && port.type === "values") arena.f32.fill(0, row, row + stride);
    }
}

function copyTargets(arena: Arena, place: OutputPlace, examples: OutputExamples, rows: Int32Array): void {
  const { features } = place.value.port;
  const { steps, data, weights, weightsPer } = examples;
  if (place.targets && data) {
    const labels = data instanceof Int32Array;
    const width = examples.width ?? (labels ? 1 : features);
    const numbers = labels ? arena.i32 : arena.f32;
    scatter(numbers, place.targets >>> 2, data, rows, steps, width, labels ? width : padded(width));
  }
  if (place.weights && weights) {
    const [width, stride] = weightsPer === "rows" ? [1, 1] : [features, padded(features)];
    scatter(arena.f32, place.weights >>> 2, weights, rows, steps, width, stride);
  }
}
