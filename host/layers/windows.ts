import { ShapeError } from "../core/errors.ts";
import { integer, oneOf } from "../core/options.ts";
import { type Mask, type Run, stepsOf, type Value } from "./layer.ts";

/** Windows over time: where convolution and pooling look for each of their output steps. */
export interface Windows {
  /** Steps in a window. */
  readonly size: number;
  /** Steps from window to window. */
  readonly strides: number;
  /** Steps from one step of a window to its next. */
  readonly dilation: number;
  /**
   * "valid": windows lie within the sequence. "same": as many outputs as steps, divided by the strides and rounded
   * up; half of what a window lacks stands before the sequence, the rest after it. "causal": as many, all of it
   * before, so that an output knows nothing of later steps.
   */
  readonly padding: Padding;
}

export const PADDINGS = ["valid", "same", "causal"] as const;
export type Padding = (typeof PADDINGS)[number];

/** @throws OptionError for values out of range */
export function checkWindows(
  where: string,
  names: { readonly size: string },
  given: { size: unknown; strides: unknown; dilation: unknown; padding: unknown },
  paddings: readonly Padding[] = PADDINGS,
): Windows {
  return {
    size: integer(where, names.size, given.size, 1, 2 ** 16),
    strides: integer(where, "strides", given.strides, 1, 2 ** 16),
    dilation: integer(where, "dilation", given.dilation, 1, 2 ** 16),
    padding: oneOf(where, "padding", given.padding, paddings),
  };
}

/** Steps from the first of a window to its last, both included. */
export function span({ size, dilation }: Windows): number {
  return (size - 1) * dilation + 1;
}

/**
 * Output steps for so many input steps.
 *
 * @throws ShapeError where not one window fits into the sequence
 */
export function windowSteps(layer: string, w: Windows, steps: number): number {
  if (w.padding !== "valid") return Math.ceil(steps / w.strides);
  if (steps < span(w))
    throw new ShapeError(`layer "${layer}": expected at least ${span(w)} steps (padding "valid"), got ${steps}`);
  return Math.floor((steps - span(w)) / w.strides) + 1;
}

/** Steps of the first window that lie before the sequence. */
export function stepsBefore(w: Windows, steps: number): number {
  if (w.padding === "valid") return 0;
  if (w.padding === "causal") return span(w) - 1;
  const lacking = (Math.ceil(steps / w.strides) - 1) * w.strides + span(w) - steps;
  return Math.floor(Math.max(0, lacking) / 2);
}

/**
 * Which output steps count. Every `strides`-th step's mask is that of an
 * output (with strides of 1 the mask passes through, as in Keras); with
 * "valid" it is the last step of the window that decides, so that a padded
 * sequence has the outputs that it would have alone.
 */
export function windowMask(run: Run, w: Windows, x: Value): Mask | undefined {
  const { mask } = x;
  const offset = w.padding === "valid" ? span(w) - 1 : 0;
  if (!mask || (offset === 0 && w.strides === 1)) return mask;
  const { B } = run;
  const T = stepsOf(run, x);
  const steps = Math.floor((T - 1 - offset) / w.strides) + 1;
  const address = run.mask("mask of windows", steps * B);
  run.k.copyRows(address, mask.address + 4 * offset * B, steps, B, B, w.strides * B);
  return { ...mask, address };
}

/** Why windows cannot be looked at one time step at a time; undefined where they can. */
export function unstreamableWindows(w: Windows): string | undefined {
  if (w.strides > 1) return `with strides of ${w.strides} some steps have no output`;
  if (w.padding !== "causal" && span(w) > 1)
    return `padding "${w.padding}" waits for steps that come later; "causal" streams`;
  return undefined;
}
