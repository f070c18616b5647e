import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, oneOf } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Port, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";
import { checkWindows, type Padding, stepsBefore, type Windows, windowMask, windowSteps } from "./windows.ts";

/** In the order of the kernels (assembly/pooling1d.ts). */
const KINDS = ["max", "mean"] as const;

export interface Pooling1dOptions {
  name?: string;
  /** The largest or the mean of each feature. Default "max". */
  kind?: (typeof KINDS)[number];
  /** Over the whole sequence: [batch, features]. Default false. */
  global?: boolean;
  /** Steps in a window. Default 2. */
  size?: number;
  /** Steps from window to window. Default: the size. */
  strides?: number;
  /** "valid": windows lie within the sequence; "same": one window for every `strides` steps. Default "valid". */
  padding?: Exclude<Padding, "causal">;
}

/**
 * The largest or the mean of every feature, in windows over time or, with
 * `global`, over all of it. Padding and masked steps do not count; a window
 * without any step that counts gives 0.
 *
 * With `lengths` or a mask an output counts as in `conv1d`: where its
 * `strides`-th step does, with "valid" the last step of its window.
 *
 * @example pooling1d({ size: 2 }); pooling1d({ kind: "mean", global: true })
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence, or is shorter than a "valid" window
 */
export function pooling1d(options: Pooling1dOptions = {}): CallableLayer {
  const where = "pooling1d()";
  checkOptions(where, options, ["name", "kind", "global", "size", "strides", "padding"]);
  const kind = oneOf(where, "kind", options.kind ?? "max", KINDS);
  const global = flag(where, "global", options.global ?? false);
  if (global)
    for (const name of ["size", "strides", "padding"] as const)
      if (options[name] !== undefined)
        throw new OptionError(
          `${where}: "${name}" means nothing with global: true, which is one window over all steps`,
        );
  const { size = 2, strides = size, padding = "valid" } = options;
  const given = { size, strides, dilation: 1, padding };
  const local = checkWindows(where, { size: "size" }, given, ["valid", "same"]);

  return callable({
    type: "pooling1d",
    name: checkName(where, options.name),
    config: global ? { kind, global } : { kind, global, size, strides, padding },
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(
          `layer "${b.name}": expected input [batch, time, features], got ${input.type === "tokens" ? "tokens" : `[batch, ${input.features}]`}`,
        );
      const n = input.features;
      const windowsFor = (T: number): Windows => (global ? { ...local, size: T, strides: T } : local);
      const stepsFor = (T: number) => (global ? 1 : windowSteps(b.name, local, T));
      const steps = global || input.steps === null ? null : stepsFor(input.steps);
      const output: Port = { features: n, sequence: !global, steps, type: "values" };
      const op = KINDS.indexOf(kind);

      return {
        output,
        unstreamable: global || size > 1 || strides > 1 ? "its windows need more than one step" : undefined,
        forward(run, [x]) {
          const T = stepsOf(run, x);
          const w = windowsFor(T);
          const S = stepsFor(T);
          const rows = S * run.B;
          const address = run.saved("y", rows * x.stride);
          const index = run.backward && kind === "max" ? run.saved("index", rows * x.stride) : 0;
          const mask = x.mask?.address ?? 0;
          run.k.pooling1d(address, index, x.address, mask, T, S, run.B, n, w.size, w.strides, stepsBefore(w, T), op);
          const counting = global ? undefined : windowMask(run, w, x);
          return { port: output, address, rows, stride: x.stride, mask: counting, saved: { index } };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          if (!dx) return;
          const T = stepsOf(run, x);
          const w = windowsFor(T);
          if (!dx.accumulate) run.k.zero(dx.address, x.rows * x.stride);
          run.k.pooling1dBackward(
            dx.address,
            y.gradient!,
            y.saved.index,
            x.mask?.address ?? 0,
            T,
            stepsOf(run, y),
            run.B,
            n,
            w.size,
            w.strides,
            stepsBefore(w, T),
            op,
          );
        },
      };
    },
  });
}
