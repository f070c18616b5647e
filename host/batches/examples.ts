import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, shown } from "../core/options.ts";
import { count, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import type { Port } from "../layers/layer.ts";
import { type Loss, lossPort } from "../losses/loss.ts";
import type { Input, Terminal } from "../stacks/network.ts";
import { checkSequences, type Targets } from "./sequences.ts";

/** One number a sample, or one a step, or one an output. */
export type Weights = TensorLike;

/** What there is one of for every input or output: alone where there is one, else a list, or a record by name. */
export type Each<T> = T | readonly (T | undefined)[] | Readonly<Record<string, T | undefined>>;

/** Which steps of each sequence count, [batch, time], 0 or 1; may have holes. */
export type StepMask = TensorLike | readonly (readonly boolean[])[];

/** What may come beside x and y wherever a batch goes. */
export interface Extras {
  /**
   * Steps that count in each right-padded sequence, [batch]. In a model with several inputs that are sequences: a list
   * in the order of the inputs, or a record by name.
   */
  lengths?: Each<readonly number[] | Int32Array>;
  /** Steps that count, [batch, time], 0 or 1; may have holes. For several inputs as `lengths`. */
  mask?: Each<StepMask>;
  /**
   * Multiplies the loss: [batch], [batch, time], or the shape of the output. In a model with several outputs: a list in
   * their order, or a record by name; numbers [batch] count for all.
   */
  sampleWeight?: Each<Weights>;
}

/** A batch as users give it; for several inputs or outputs, lists in their order or records by name. */
export interface BatchLike extends Extras {
  x: Each<TensorLike>;
  y?: Each<Targets>;
}

/** What the model expects at its door. */
export interface Door {
  readonly inputs: readonly Input[];
  readonly outputs: readonly OutputDoor[];
  /** @throws ShapeError where a layer cannot take inputs of so many steps */
  outputSteps(steps: readonly number[]): readonly number[];
  /** Let NaN and infinity through. */
  readonly allowNonFinite?: boolean;
}

export interface OutputDoor extends Terminal {
  /** How the loss wants its targets; absent: no targets wanted. */
  readonly targets?: Pick<Loss, "name" | "targets" | "ignoreIndex" | "blank">;
}

/** Checked samples, batch-major, as many as there are: a batch is a selection of their rows. */
export interface Examples {
  readonly count: number;
  readonly inputs: readonly InputExamples[];
  readonly outputs: readonly OutputExamples[];
}

export interface InputExamples {
  /** 1 without time. */
  readonly steps: number;
  readonly data: Float32Array | Int32Array;
  readonly lengths?: Int32Array;
  readonly mask?: Int32Array;
}

export interface OutputExamples {
  /** Of targets and weights: those of the output; 1 without time, and where targets are sequences of labels. */
  readonly steps: number;
  /** Targets, where they are wanted. */
  readonly data?: Float32Array | Int32Array;
  /** Where targets are sequences of labels: numbers in a row, the first being how many labels follow. */
  readonly width?: number;
  /** With `weightsPer` "rows": one a sample or step; "elements": the shape of the output. */
  readonly weights?: Float32Array;
  readonly weightsPer?: "rows" | "elements";
}

/** The shape that a port asks for, with the batch axis. */
export function expectedShape(port: Port): string {
  const axes: (string | number)[] = ["batch"];
  if (port.sequence) axes.push(port.steps ?? "time");
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
  const { inputs: doors, outputs: all } = door;
  const xs = each<TensorLike>(where, "x", batch.x, doors);
  const tensors = doors.map((input, i) => checkInput(where, labelOf("x", doors, input), input, xs[i]));
  const n = tensors[0].shape[0];
  const other = tensors.findIndex(({ shape }) => shape[0] !== n);
  if (other >= 0)
    throw new ShapeError(
      `${where}: ${labelOf("x", doors, doors[0])} has ${n} samples, ${labelOf("x", doors, doors[other])} has ${tensors[other].shape[0]}`,
    );
  const steps = doors.map(({ port }, i) => (port.sequence ? tensors[i].shape[1] : 1));
  const masks = checkMasks(where, doors, batch, n, steps);
  const inputs = tensors.map(({ data }, i): InputExamples => ({ steps: steps[i], data, ...masks[i] }));

  const lengths = door.outputSteps(steps);
  const targeted = all.filter(({ targets }) => targets);
  const ys = targeted.length ? each<Targets>(where, "y", batch.y, targeted) : [];
  const weighted = targeted.length ? targeted : all;
  const ws = each<TensorLike>(where, "sampleWeight", batch.sampleWeight, weighted, isWeights);
  const outputs = all.map((output, i): OutputExamples => {
    const port = lossPort(output.targets, output.port);
    const steps = port.sequence ? lengths[i] : 1;
    const y = ys[targeted.indexOf(output)];
    const targets = output.targets && checkTargets(where, targeted, output, y, n, steps);
    const w = ws[weighted.indexOf(output)];
    const label = labelOf("sampleWeight", weighted, output);
    return { steps, ...targets, ...checkWeights(where, label, port, w, n, steps) };
  });
  if (!door.allowNonFinite) {
    doors.forEach((input, i) => {
      checkFinite(where, labelOf("x", doors, input), inputs[i].data);
    });
    for (const output of targeted)
      checkFinite(where, labelOf("y", targeted, output), outputs[all.indexOf(output)].data!);
  }
  return { count: n, inputs, outputs };
}

/** "x", or where there are several, 'x "source"'. */
function labelOf(what: string, terminals: readonly Terminal[], { name }: Terminal): string {
  return terminals.length === 1 ? what : `${what} "${name}"`;
}

/**
 * One value for each input or output: given alone where there is one, else in
 * a list or in a record by name.
 *
 * @param forAll whether a value given alone counts for each of several
 * @throws ShapeError for a list of another length, and unknown names
 */
export function each<T>(
  where: string,
  what: string,
  value: Each<T> | undefined,
  terminals: readonly Terminal[],
  forAll: (value: Each<T>) => boolean = () => false,
): (T | undefined)[] {
  if (value === undefined) return terminals.map(() => undefined);
  const names = terminals.map(({ name }) => name);
  const known = names.map((name) => `"${name}"`).join(", ");
  const record = isRecord(value) ? (value as Readonly<Record<string, T | undefined>>) : undefined;
  if (record && (names.length > 1 || Object.hasOwn(record, names[0]))) {
    const unknown = Object.keys(record).find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new ShapeError(`${where}: unknown ${what} ${shown(unknown)}; the model has ${known}`);
    return names.map((name) => (Object.hasOwn(record, name) ? record[name] : undefined));
  }
  if (names.length === 1) return [value as T];
  if (forAll(value)) return names.map(() => value as T);
  if (!Array.isArray(value) || value.length !== names.length)
    throw new ShapeError(
      `${where}: expected a list or a record of ${what}, one for each of ${known}, got ${Array.isArray(value) ? `a list of ${value.length}` : shown(value)}`,
    );
  return Array.from(value as readonly (T | undefined)[]);
}

function isRecord(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !ArrayBuffer.isView(value) &&
    !("shape" in value && "data" in value)
  );
}

/** Weights [batch], or a tensor, rather than a list of them. */
function isWeights(value: unknown): boolean {
  return !Array.isArray(value) || typeof value[0] === "number";
}

function checkInput(
  where: string,
  label: string,
  { port, tokens }: Input,
  value: TensorLike | undefined,
): Tensor<Float32Array | Int32Array> {
  const expected = expectedShape(port);
  if (value === undefined) throw new ShapeError(`${where}: ${label} is missing; expected ${expected}`);
  const what = `${where}: ${label}`;
  const x = port.type === "tokens" ? toTensor(value, what, "int32") : toTensor(value, what);
  const rank = 1 + (port.sequence ? 1 : 0) + (port.type === "values" ? 1 : 0);
  const { shape } = x;
  const fits =
    shape.length === rank &&
    (!port.sequence || port.steps === null || shape[1] === port.steps) &&
    // Nested arrays without samples or steps do not show how many features they have.
    (port.type === "tokens" || shape[rank - 1] === port.features || shape.slice(0, rank - 1).includes(0));
  if (!fits) {
    const hint = shape.length === rank - 1 ? "; a single sample needs a batch axis" : "";
    throw new ShapeError(`${where}: expected ${label} ${expected}, got ${shapeText(shape)}${hint}`);
  }
  if (shape[0] === 0) throw new ShapeError(`${what} has no samples, shape ${shapeText(shape)}`);
  if (port.sequence && shape[1] === 0) throw new ShapeError(`${what} has no time steps, shape ${shapeText(shape)}`);
  if (tokens !== undefined) {
    const { data } = x;
    for (let i = 0; i < data.length; i++)
      if (data[i] < 0 || data[i] >= tokens)
        throw new OptionError(`${where}: token ${data[i]} at position ${i} of ${label}; expected 0 to ${tokens - 1}`);
  }
  return x;
}

function checkTargets(
  where: string,
  targeted: readonly OutputDoor[],
  output: OutputDoor,
  given: Targets | undefined,
  n: number,
  steps: number,
): Pick<OutputExamples, "data" | "width"> {
  const { port, targets } = output;
  const { name: loss, targets: kind, ignoreIndex, blank } = targets!;
  const label = labelOf("y", targeted, output);
  if (kind === "sequences") {
    const { y, width } = checkSequences(where, loss, given, n, { classes: port.features, blank });
    return { data: y, width };
  }
  const value = given as TensorLike | undefined;
  const labels = kind === "labels";
  const shape = [n, ...(port.sequence ? [steps] : []), ...(labels ? [] : [port.features])];
  if (value === undefined) throw new ShapeError(`${where}: ${label} is missing; "${loss}" expects ${shapeText(shape)}`);
  const y = labels ? toTensor(value, `${where}: ${label}`, "int32") : toTensor(value, `${where}: ${label}`);
  // A last axis of 1 may be there or not.
  const trim = (s: readonly number[]) => (s.length > 1 && s[s.length - 1] === 1 ? s.slice(0, -1) : s);
  const same = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((v, i) => v === b[i]);
  const flexible = labels || port.features === 1;
  if (!(same(y.shape, shape) || (flexible && same(trim(y.shape), trim(shape))))) {
    const hint =
      !labels && loss === "categoricalCrossentropy" && same(y.shape, shape.slice(0, -1))
        ? '; for class numbers use "sparseCategoricalCrossentropy"'
        : labels && same(y.shape, [...shape, port.features])
          ? '; for one-hot targets use "categoricalCrossentropy"'
          : "";
    throw new ShapeError(`${where}: "${loss}" expects ${label} ${shapeText(shape)}, got ${shapeText(y.shape)}${hint}`);
  }
  if (labels)
    for (let i = 0; i < y.data.length; i++)
      if ((y.data[i] < 0 || y.data[i] >= port.features) && y.data[i] !== ignoreIndex)
        throw new OptionError(
          `${where}: label ${y.data[i]} at position ${i} of ${label}; expected 0 to ${port.features - 1}${ignoreIndex === undefined ? "" : ` or ${ignoreIndex}`}`,
        );
  return { data: y.data };
}

/** Lengths or a mask for every input; none for those that have no time axis. */
function checkMasks(
  where: string,
  inputs: readonly Input[],
  { lengths, mask }: Extras,
  n: number,
  steps: readonly number[],
): Pick<InputExamples, "lengths" | "mask">[] {
  if (lengths === undefined && mask === undefined) return inputs.map(() => ({}));
  const sequences = inputs.filter(({ port }) => port.sequence);
  if (!sequences.length)
    throw new ShapeError(`${where}: ${lengths ? "lengths" : "mask"} given, but the model's input has no time axis`);
  if (lengths !== undefined && mask !== undefined) throw new OptionError(`${where}: give lengths or mask, not both`);
  const what = lengths !== undefined ? "lengths" : "mask";
  const all = each<unknown>(where, what, what === "lengths" ? lengths : mask, sequences);
  return inputs.map((input, i) => {
    const value = all[sequences.indexOf(input)];
    if (value === undefined) return {};
    return what === "lengths"
      ? { lengths: checkLengths(where, value, n, steps[i]) }
      : { mask: checkMask(where, value, n, steps[i]) };
  });
}

function checkLengths(where: string, lengths: unknown, n: number, steps: number): Int32Array {
  if (!isList(lengths) || lengths.length !== n)
    throw new ShapeError(
      `${where}: expected one length for each of ${n} sequences, got ${isList(lengths) ? lengths.length : shown(lengths)}`,
    );
  for (let i = 0; i < n; i++)
    if (!Number.isInteger(lengths[i]) || lengths[i] < 0 || lengths[i] > steps)
      throw new OptionError(
        `${where}: length ${shown(lengths[i])} of sequence ${i}; expected a whole number from 0 to ${steps}`,
      );
  return Int32Array.from(lengths);
}

function isList(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

function checkMask(where: string, mask: unknown, n: number, steps: number): Int32Array {
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
  return m.data;
}

function checkWeights(
  where: string,
  label: string,
  output: Port,
  value: Weights | undefined,
  n: number,
  steps: number,
): Pick<OutputExamples, "weights" | "weightsPer"> {
  if (value === undefined) return {};
  const w = toTensor(value, `${where}: ${label}`);
  checkFinite(where, label, w.data);
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
    `${where}: expected ${label} [${n}]${output.sequence ? `, ${shapeText([n, steps])}` : ""} or ${shapeText(full)}, got ${shapeText(w.shape)}`,
  );
}

/** A batch object of an iterable. */
export function checkBatch(where: string, door: Door, batch: unknown): Examples {
  if (batch === null || typeof batch !== "object" || !("x" in batch))
    throw new ShapeError(`${where}: expected batches { x, y, lengths?, mask?, sampleWeight? }, got ${shown(batch)}`);
  checkOptions(`${where}: batch`, batch, ["x", "y", "lengths", "mask", "sampleWeight"]);
  return checkExamples(where, door, batch as BatchLike);
}
