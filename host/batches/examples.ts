import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, shown } from "../core/options.ts";
import { count, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import type { Port } from "../layers/layer.ts";
import { type Loss, lossPort } from "../losses/loss.ts";
import { checkSequences, type Targets } from "./sequences.ts";

/** One number a sample, or one a step, or one an output. */
export type Weights = TensorLike;

/** What may come beside x and y wherever a batch goes. */
export interface Extras {
  /** Steps that count in each right-padded sequence, [batch]. */
  lengths?: readonly number[] | Int32Array;
  /** Steps that count, [batch, time], 0 or 1; may have holes. */
  mask?: TensorLike | readonly (readonly boolean[])[];
  /** Multiplies the loss: [batch], [batch, time], or the shape of the output. */
  sampleWeight?: Weights;
}

/** A batch as users give it. */
export interface BatchLike extends Extras {
  x: TensorLike;
  y?: Targets;
}

/** What the model expects at its door. */
export interface Door {
  readonly input: Port;
  /** Steps, where the input shape fixes them. */
  readonly steps: number | null;
  readonly output: Port;
  /** Tokens that the embedding knows. */
  readonly tokens?: number;
  /** How the loss wants its targets; absent: no targets wanted. */
  readonly targets?: Pick<Loss, "name" | "targets" | "ignoreIndex" | "blank">;
  /** Let NaN and infinity through. */
  readonly allowNonFinite?: boolean;
}

/** Checked samples, batch-major, as many as there are: a batch is a selection of their rows. */
export interface Examples {
  readonly count: number;
  /** Steps of x, 1 without time. */
  readonly steps: number;
  readonly x: Float32Array | Int32Array;
  readonly y?: Float32Array | Int32Array;
  /** Where y is sequences of labels: numbers in a row of y, the first being how many labels follow. */
  readonly width?: number;
  readonly lengths?: Int32Array;
  readonly mask?: Int32Array;
  /** With `weightsPer` "rows": one a sample or step; "elements": the shape of the output. */
  readonly weights?: Float32Array;
  readonly weightsPer?: "rows" | "elements";
}

/** The shape that a port asks for, with the batch axis. */
export function expectedShape(port: Port, steps: number | null): string {
  const axes: (string | number)[] = ["batch"];
  if (port.sequence) axes.push(steps ?? "time");
  if (port.type === "values") axes.push(port.features);
  return `[${axes.join(", ")}]`;
}

function firstNonFinite(data: Float32Array | Int32Array): number {
  // v - v is 0 for finite numbers and NaN for the others.
  for (let i = 0; i < data.length; i++) if (data[i] - data[i] !== 0) return i;
  return -1;
}

/** @throws OptionError naming the first number that is not finite */
export function checkFinite(where: string, what: string, data: Float32Array | Int32Array): void {
  const i = firstNonFinite(data);
  if (i >= 0)
    throw new OptionError(
      `${where}: ${what} has ${data[i]} at position ${i}; expected finite numbers (allowNonFinite: true lets them through)`,
    );
}

/**
 * Refuses whatever does not fit, before anything runs.
 *
 * @param where the call, for messages: "fit()"
 * @throws ShapeError  for shapes and lengths that do not fit
 * @throws OptionError for values out of range
 */
export function checkExamples(where: string, door: Door, batch: BatchLike): Examples {
  if (door.allowNonFinite !== undefined) flag(where, "allowNonFinite", door.allowNonFinite);
  const { input } = door;
  const x = checkInput(where, door, batch.x);
  const steps = input.sequence ? x.shape[1] : 1;
  const n = x.shape[0];
  if (n === 0) throw new ShapeError(`${where}: x has no samples, shape ${shapeText(x.shape)}`);
  if (steps === 0) throw new ShapeError(`${where}: x has no time steps, shape ${shapeText(x.shape)}`);
  const targets = door.targets ? checkTargets(where, door, batch.y, n, steps) : {};
  const masked = checkMask(where, input, batch, n, steps);
  const weights = checkWeights(where, lossPort(door.targets, door.output), batch.sampleWeight, n, steps);
  if (!door.allowNonFinite) {
    checkFinite(where, "x", x.data);
    if (targets.y) checkFinite(where, "y", targets.y);
  }
  return { count: n, steps, x: x.data, ...targets, ...masked, ...weights };
}

function checkInput(where: string, door: Door, value: TensorLike): Tensor<Float32Array | Int32Array> {
  const { input, steps } = door;
  const expected = expectedShape(input, steps);
  if (value === undefined) throw new ShapeError(`${where}: x is missing; expected ${expected}`);
  const x = input.type === "tokens" ? toTensor(value, `${where}: x`, "int32") : toTensor(value, `${where}: x`);
  const rank = 1 + (input.sequence ? 1 : 0) + (input.type === "values" ? 1 : 0);
  const { shape } = x;
  const fits =
    shape.length === rank &&
    (!input.sequence || steps === null || shape[1] === steps) &&
    // Nested arrays without samples or steps do not show how many features they have.
    (input.type === "tokens" || shape[rank - 1] === input.features || shape.slice(0, rank - 1).includes(0));
  if (!fits) {
    const hint = shape.length === rank - 1 ? "; a single sample needs a batch axis" : "";
    throw new ShapeError(`${where}: expected x ${expected}, got ${shapeText(shape)}${hint}`);
  }
  if (input.type === "tokens" && door.tokens !== undefined) {
    const { data } = x;
    for (let i = 0; i < data.length; i++)
      if (data[i] < 0 || data[i] >= door.tokens)
        throw new OptionError(`${where}: token ${data[i]} at position ${i} of x; expected 0 to ${door.tokens - 1}`);
  }
  return x;
}

function checkTargets(
  where: string,
  door: Door,
  given: Targets | undefined,
  n: number,
  steps: number,
): Pick<Examples, "y" | "width"> {
  const { output } = door;
  const { name: loss, targets: kind, ignoreIndex, blank } = door.targets!;
  if (kind === "sequences") return checkSequences(where, loss, given, n, { classes: output.features, blank });
  const value = given as TensorLike | undefined;
  const labels = kind === "labels";
  const shape = [n, ...(output.sequence ? [steps] : []), ...(labels ? [] : [output.features])];
  if (value === undefined) throw new ShapeError(`${where}: y is missing; "${loss}" expects ${shapeText(shape)}`);
  const y = labels ? toTensor(value, `${where}: y`, "int32") : toTensor(value, `${where}: y`);
  // A last axis of 1 may be there or not.
  const trim = (s: readonly number[]) => (s.length > 1 && s[s.length - 1] === 1 ? s.slice(0, -1) : s);
  const same = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((v, i) => v === b[i]);
  const flexible = labels || output.features === 1;
  if (!(same(y.shape, shape) || (flexible && same(trim(y.shape), trim(shape))))) {
    const hint =
      !labels && loss === "categoricalCrossentropy" && same(y.shape, shape.slice(0, -1))
        ? '; for class numbers use "sparseCategoricalCrossentropy"'
        : labels && same(y.shape, [...shape, output.features])
          ? '; for one-hot targets use "categoricalCrossentropy"'
          : "";
    throw new ShapeError(`${where}: "${loss}" expects y ${shapeText(shape)}, got ${shapeText(y.shape)}${hint}`);
  }
  if (labels)
    for (let i = 0; i < y.data.length; i++)
      if ((y.data[i] < 0 || y.data[i] >= output.features) && y.data[i] !== ignoreIndex)
        throw new OptionError(
          `${where}: label ${y.data[i]} at position ${i} of y; expected 0 to ${output.features - 1}${ignoreIndex === undefined ? "" : ` or ${ignoreIndex}`}`,
        );
  return { y: y.data };
}

function checkMask(
  where: string,
  input: Port,
  { lengths, mask }: Extras,
  n: number,
  steps: number,
): Pick<Examples, "lengths" | "mask"> {
  if (lengths === undefined && mask === undefined) return {};
  if (!input.sequence)
    throw new ShapeError(`${where}: ${lengths ? "lengths" : "mask"} given, but the model's input has no time axis`);
  if (lengths !== undefined && mask !== undefined) throw new OptionError(`${where}: give lengths or mask, not both`);
  if (lengths !== undefined) {
    if (!(Array.isArray(lengths) || ArrayBuffer.isView(lengths)) || lengths.length !== n)
      throw new ShapeError(
        `${where}: expected one length for each of ${n} sequences, got ${Array.isArray(lengths) || ArrayBuffer.isView(lengths) ? lengths.length : shown(lengths)}`,
      );
    for (let i = 0; i < n; i++)
      if (!Number.isInteger(lengths[i]) || lengths[i] < 0 || lengths[i] > steps)
        throw new OptionError(
          `${where}: length ${shown(lengths[i])} of sequence ${i}; expected a whole number from 0 to ${steps}`,
        );
    return { lengths: Int32Array.from(lengths) };
  }
  if (Array.isArray(mask) && mask.length !== n)
    throw new ShapeError(`${where}: expected mask ${shapeText([n, steps])}, got an array of ${mask.length}`);
  const numbers = Array.isArray(mask)
    ? mask.map((row) =>
        Array.isArray(row) && row.length === steps ? row.map((v) => (typeof v === "boolean" ? (v ? 1 : 0) : v)) : row,
      )
    : mask;
  const m = toTensor(numbers as TensorLike, `${where}: mask`, "int32");
  if (m.shape.length !== 2 || m.shape[0] !== n || m.shape[1] !== steps)
    throw new ShapeError(`${where}: expected mask ${shapeText([n, steps])}, got ${shapeText(m.shape)}`);
  for (let i = 0; i < m.data.length; i++)
    if (m.data[i] !== 0 && m.data[i] !== 1)
      throw new OptionError(`${where}: mask has ${m.data[i]} at position ${i}; expected 0 or 1`);
  return { mask: m.data as Int32Array };
}

function checkWeights(
  where: string,
  output: Port,
  value: Weights | undefined,
  n: number,
  steps: number,
): Pick<Examples, "weights" | "weightsPer"> {
  if (value === undefined) return {};
  const w = toTensor(value, `${where}: sampleWeight`);
  checkFinite(where, "sampleWeight", w.data);
  const full = [n, ...(output.sequence ? [steps] : []), output.features];
  const size = count(w.shape);
  const is = (shape: number[]) => w.shape.length === shape.length && shape.every((v, i) => v === w.shape[i]);
  if (output.sequence && is([n, steps])) return { weights: w.data, weightsPer: "rows" };
  if (is([n])) {
    if (!output.sequence) return { weights: w.data, weightsPer: "rows" };
    return {
      weights: Float32Array.from({ length: n * steps }, (_, i) => w.data[Math.floor(i / steps)]),
      weightsPer: "rows",
    };
  }
  if (is(full) && size === count(full)) return { weights: w.data, weightsPer: "elements" };
  throw new ShapeError(
    `${where}: expected sampleWeight [${n}]${output.sequence ? `, ${shapeText([n, steps])}` : ""} or ${shapeText(full)}, got ${shapeText(w.shape)}`,
  );
}

/** A batch object of an iterable. */
export function checkBatch(where: string, door: Door, batch: unknown): Examples {
  if (batch === null || typeof batch !== "object" || !("x" in batch))
    throw new ShapeError(`${where}: expected batches { x, y, lengths?, mask?, sampleWeight? }, got ${shown(batch)}`);
  checkOptions(`${where}: batch`, batch, ["x", "y", "lengths", "mask", "sampleWeight"]);
  return checkExamples(where, door, batch as BatchLike);
}
