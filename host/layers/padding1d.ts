import { ShapeError } from "../core/errors.ts";
import { checkOptions, integer } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Port, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";

export interface Padding1dOptions {
  name?: string;
  /** Steps of zeros before the first; below 0: as many of the first are cut off. Default 1. */
  before?: number;
  /** The same after the last. Default 1. */
  after?: number;
}

/** Steps in a sequence. */
const MOST = 2 ** 24;

/**
 * Steps of zeros at both ends of a sequence, or steps cut off: [batch, time,
 * features] to [batch, before + time + after, features]. Masks end here.
 *
 * @example padding1d({ before: 2, after: 0 })
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on what has no time, or where nothing is left
 */
export function padding1d(options: Padding1dOptions = {}): CallableLayer {
  const where = "padding1d()";
  checkOptions(where, options, ["name", "before", "after"]);
  const before = integer(where, "before", options.before ?? 1, -MOST, MOST);
  const after = integer(where, "after", options.after ?? 1, -MOST, MOST);
  const cut = Math.max(0, -before) + Math.max(0, -after);
  return callable({
    type: "padding1d",
    name: checkName(where, options.name),
    config: { before, after },
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(
          `layer "${b.name}": expected numbers [batch, time, features], got ${input.sequence ? "tokens" : `[batch, ${input.features}]`}`,
        );
      const stepsAfter = (steps: number) => {
        if (steps > cut) return steps + before + after;
        throw new ShapeError(`layer "${b.name}": expected more than the ${cut} steps that are cut off, got ${steps}`);
      };
      const output: Port = { ...input, steps: input.steps === null ? null : stepsAfter(input.steps) };
      return {
        output,
        unstreamable: "it adds steps to whole sequences",
        forward(run, [x]) {
          const T = stepsOf(run, x);
          const step = run.B * x.stride;
          const rows = stepsAfter(T) * run.B;
          const y = run.saved("y", rows * x.stride);
          const [from, to] = [4 * step * Math.max(0, -before), 4 * step * Math.max(0, before)];
          const kept = (T - cut) * step;
          if (before > 0) run.k.zero(y, before * step);
          run.k.copyRows(y + to, x.address + from, 1, kept, 0, 0);
          if (after > 0) run.k.zero(y + to + 4 * kept, after * step);
          return { port: output, address: y, rows, stride: x.stride, saved: {} };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          if (!dx) return;
          const step = run.B * x.stride;
          const [from, to] = [4 * step * Math.max(0, -before), 4 * step * Math.max(0, before)];
          const kept = (stepsOf(run, x) - cut) * step;
          if (dx.accumulate) run.k.addTo(dx.address + from, y.gradient! + to, kept);
          else {
            if (cut > 0) run.k.zero(dx.address, x.rows * x.stride);
            run.k.copyRows(dx.address + from, y.gradient! + to, 1, kept, 0, 0);
          }
        },
      };
    },
  });
}
