import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, shown } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type BuiltLayer, type Port, padded, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";

export interface ReshapeOptions {
  name?: string;
}

/** Numbers in an axis. */
const MOST = 2 ** 24;

/**
 * The numbers of every sample in another shape, in the same order: [features],
 * or [time, features]. One of them may be -1: what is left. With any number of
 * steps, only the time can be. Masks end here.
 *
 * @example reshape([-1, 4]) // [batch, 12] to [batch, 3, 4]
 * @throws OptionError for a shape that is none
 * @throws ShapeError  when there are more or fewer numbers than the shape has
 */
export function reshape(shape: readonly number[], options: ReshapeOptions = {}): CallableLayer {
  const where = "reshape()";
  checkOptions(where, options, ["name"]);
  const list = Array.isArray(shape) && (shape.length === 1 || shape.length === 2);
  if (
    !list ||
    !shape.every((n) => Number.isInteger(n) && n <= MOST && (n > 0 || n === -1)) ||
    shape.filter((n) => n === -1).length > 1
  )
    throw new OptionError(
      `${where}: expected [features] or [time, features], whole numbers above 0, one of them -1 at most, got ${shown(shape)}`,
    );
  const sequence = shape.length === 2;
  return callable({
    type: "reshape",
    name: checkName(where, options.name),
    config: { shape: [...shape] },
    build(b, [input]) {
      const total = sizeOf(b.name, input);
      const [time, features] = sequence ? shape : [1, shape[0]];
      const misfit = (count: number) =>
        new ShapeError(`layer "${b.name}": expected numbers in the shape [${shape}], got ${count} numbers a sample`);
      /** What is left for an axis beside `other`. */
      const rest = (count: number, other: number) => {
        if (count % other !== 0) throw misfit(count);
        return count / other;
      };
      if (total === null && features === -1)
        throw new ShapeError(
          `layer "${b.name}": sequences of any number of steps have no number of features; fix the steps in the model's inputShape`,
        );
      const known = total !== null && time === -1 ? rest(total, features) : time;
      const output: Port = {
        features: features === -1 ? rest(total!, time) : features,
        sequence,
        steps: sequence && known > 0 ? known : null,
        type: "values",
      };
      if (total !== null && total !== known * output.features) throw misfit(total);
      return rearranged(input, output, false, (steps) => {
        const count = steps * input.features;
        const made = known > 0 ? known : rest(count, output.features);
        if (made * output.features !== count) throw misfit(count);
        return made;
      });
    },
  });
}

/** All numbers of a sequence side by side: [batch, time, features] to [batch, time · features]. */
export function flatten(options: ReshapeOptions = {}): CallableLayer {
  return reshape([-1], options);
}

/**
 * Time and features exchanged: [batch, time, features] to [batch, features,
 * time], of sequences whose steps are fixed. Masks end here.
 *
 * @throws OptionError for unknown options
 * @throws ShapeError  when built on what has no time, or any number of steps
 */
export function transpose(options: ReshapeOptions = {}): CallableLayer {
  const where = "transpose()";
  checkOptions(where, options, ["name"]);
  return callable({
    type: "transpose",
    name: checkName(where, options.name),
    config: {},
    build(b, [input]) {
      if (!input.sequence || sizeOf(b.name, input) === null)
        throw new ShapeError(
          `layer "${b.name}": expected sequences of a fixed number of steps, got [batch, ${input.sequence ? "any time, " : ""}${input.features}]`,
        );
      const output: Port = { ...input, features: input.steps!, steps: input.features };
      return rearranged(input, output, true, () => input.features);
    },
  });
}

/** Numbers of a sample; null: any. */
function sizeOf(name: string, { features, sequence, steps, type }: Port): number | null {
  if (type === "tokens") throw new ShapeError(`layer "${name}": expected numbers, got tokens`);
  if (!sequence) return features;
  return steps === null ? null : steps * features;
}

/** @param stepsMade steps of the output, from those of the input */
function rearranged(input: Port, output: Port, transposed: boolean, stepsMade: (steps: number) => number): BuiltLayer {
  const flag = transposed ? 1 : 0;
  const stride = padded(output.features);
  return {
    output,
    unstreamable: "it rearranges whole sequences",
    forward(run, [x]) {
      const [T, made] = [stepsOf(run, x), stepsMade(stepsOf(run, x))];
      const rows = made * run.B;
      const address = run.saved("y", rows * stride);
      run.k.reshape(address, x.address, run.B, T, input.features, made, output.features, flag, 0);
      return { port: output, address, rows, stride, saved: {} };
    },
    backward(run, [x], y) {
      const dx = run.gradient(x);
      if (!dx) return;
      const [T, made] = [stepsOf(run, x), stepsOf(run, y)];
      run.k.reshape(dx.address, y.gradient!, run.B, made, output.features, T, input.features, flag, dx.accumulate);
    },
  };
}
