import { ShapeError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Builder, type Mask, type Port, type Run, stepsOf, type Value } from "./layer.ts";
import { checkName } from "./name.ts";

/** Numbers of `Merge` in assembly/merge.ts. */
const MERGE = { add: 0, subtract: 1, multiply: 2, maximum: 3, minimum: 4, average: 0 } as const;

export interface MergeOptions {
  name?: string;
}

/**
 * The sum of several inputs of one shape, element by element.
 *
 * All merge layers are for graphs. Steps count where they count in all inputs.
 *
 * @example add()([a, b])
 * @example const residual = (layer) => (x) => add()([x, layer(x)]) // He et al. 2015, arXiv:1512.03385
 * @throws OptionError for unknown options
 * @throws ShapeError  when the inputs differ
 */
export function add(options: MergeOptions = {}): CallableLayer {
  return elementwise("add", options);
}

/** The mean of several inputs of one shape, element by element. @example average()([a, b]) */
export function average(options: MergeOptions = {}): CallableLayer {
  return elementwise("average", options);
}

/** The first input minus the second. @example subtract()([a, b]) */
export function subtract(options: MergeOptions = {}): CallableLayer {
  return elementwise("subtract", options);
}

/**
 * The product of several inputs of one shape, element by element.
 *
 * @example
 * // A highway layer: y = t h + (1 - t) x (Srivastava et al. 2015, arXiv:1505.00387, eq. 3).
 * const highway = (layer, gate) => (x) => add()([x, multiply()([gate(x), subtract()([layer(x), x])])])
 * const y = highway(dense(32, { activation: "relu" }), dense(32, { activation: "sigmoid" }))(x)
 */
export function multiply(options: MergeOptions = {}): CallableLayer {
  return elementwise("multiply", options);
}

/** The largest of several inputs of one shape, element by element. @example maximum()([a, b]) */
export function maximum(options: MergeOptions = {}): CallableLayer {
  return elementwise("maximum", options);
}

/** The smallest of several inputs of one shape, element by element. @example minimum()([a, b]) */
export function minimum(options: MergeOptions = {}): CallableLayer {
  return elementwise("minimum", options);
}

function elementwise(type: keyof typeof MERGE, options: MergeOptions): CallableLayer {
  const where = `${type}()`;
  checkOptions(where, options, ["name"]);
  const how = MERGE[type];
  return callable({
    type,
    name: checkName(where, options.name),
    arity: type === "subtract" ? [2, 2] : [2, Infinity],
    config: {},
    build(b, inputs) {
      const output = commonPort(b, inputs);
      const differs = inputs.findIndex(({ features }) => features !== output.features);
      if (differs > 0)
        throw new ShapeError(
          `layer "${b.name}": expected inputs of one shape, got ${output.features} and ${inputs[differs].features} features`,
        );
      // Sums do not need what they were made of.
      const partials = how !== MERGE.add && how !== MERGE.subtract;
      return {
        output,
        forward(run, values) {
          checkSteps(b.name, run, values);
          const [{ rows, stride, address: first }] = values;
          const n = rows * stride;
          const saved: Record<string, number> = {};
          let address = first;
          for (let i = 1; i < values.length; i++) {
            const y = i === 1 || (partials && run.backward) ? run.saved(`y${i}`, n) : address;
            run.k.merge(how, y, address, values[i].address, n);
            address = saved[i] = y;
          }
          if (type === "average") run.k.scale(address, n, 1 / values.length);
          return { port: output, address, rows, stride, mask: bothMasks(run, values), saved };
        },
        backward(run, values, y) {
          const dy = y.gradient!;
          const n = y.rows * y.stride;
          if (type === "average") run.k.scale(dy, n, 1 / values.length);
          // From the last input to the first: dy becomes the gradient of what the inputs before it came to.
          for (let i = values.length - 1; i > 0; i--) {
            const db = run.gradient(values[i]);
            const da = i === 1 ? run.gradient(values[0]) : partials ? { address: dy, accumulate: 0 } : undefined;
            if (!da && !db) continue;
            run.k.mergeBackward(
              how,
              da?.address ?? 0,
              db?.address ?? 0,
              dy,
              i === 1 ? values[0].address : (y.saved[i - 1] ?? 0),
              values[i].address,
              n,
              da?.accumulate ?? 0,
              db?.accumulate ?? 0,
            );
          }
        },
      };
    },
  });
}

/** What all inputs have in common: numbers, with or without a time axis. */
export function commonPort({ name }: Builder, inputs: readonly Port[]): Port {
  const [{ features, sequence }] = inputs;
  for (const port of inputs) {
    if (port.type === "tokens") throw new ShapeError(`layer "${name}": expected numbers, got tokens`);
    if (port.sequence !== sequence)
      throw new ShapeError(
        `layer "${name}": expected inputs that all have a time axis, or none, got both; repeat() gives one`,
      );
  }
  const fixed = [...new Set(inputs.flatMap(({ steps }) => steps ?? []))];
  if (fixed.length > 1)
    throw new ShapeError(`layer "${name}": expected inputs of as many time steps, got ${fixed.join(" and ")}`);
  return { features, sequence, steps: fixed[0] ?? null, type: "values" };
}

/** @throws ShapeError for inputs that turn out to have different numbers of time steps */
export function checkSteps(name: string, run: Run, values: readonly Value[]): void {
  const steps = [...new Set(values.map((value) => stepsOf(run, value)))];
  if (steps.length > 1)
    throw new ShapeError(`layer "${name}": expected inputs of as many time steps, got ${steps.join(" and ")}`);
}

/** The steps that count in all values; undefined: all. */
export function bothMasks(run: Run, values: readonly Value[]): Mask | undefined {
  const masks = [...new Map(values.flatMap(({ mask }) => (mask ? [[mask.address, mask]] : []))).values()];
  if (masks.length < 2) return masks[0];
  const { rows } = values[0];
  const address = run.mask("mask", rows);
  for (let i = 1; i < masks.length; i++)
    run.k.maskAnd(address, i === 1 ? masks[0].address : address, masks[i].address, rows);
  return { address, dialect: masks.every(({ dialect }) => dialect === "lengths") ? "lengths" : "holes" };
}
