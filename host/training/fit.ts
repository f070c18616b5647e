import { withClassWeights } from "../batches/class-weights.ts";
import { checkExamples, type Door, type Each, type Examples, type Extras } from "../batches/examples.ts";
import type { Targets } from "../batches/sequences.ts";
import { type BatchSource, checkBeside, isBatchSource, slices, sourced } from "../batches/source.ts";
import { OptionError, ShapeError, StateError } from "../core/errors.ts";
import { checkOptions, flag, integer, real, shown } from "../core/options.ts";
import { permutation } from "../core/random.ts";
import type { TensorLike } from "../core/tensor.ts";
import type { Model } from "../stacks/model.ts";
import { breathe } from "./breathe.ts";
import { type Callback, type FitContext, type Logs, progress } from "./callbacks.ts";
import { evaluate } from "./evaluate.ts";
import { GradientSum } from "./gradient-sum.ts";
import { Scores } from "./scores.ts";
import type { Trainer } from "./trainer.ts";
import { checkTruncation, pieces, statesAfter } from "./truncate.ts";

export type FitData = Each<TensorLike> | BatchSource;
export { isBatchSource };

/** Samples to validate on: [x, y], a record with lengths or weights, or a source of batches that can be read anew. */
export type ValidationData =
  | readonly [Each<TensorLike>, Each<Targets>]
  | ({ x: Each<TensorLike>; y: Each<Targets> } & Extras)
  | BatchSource;

export interface FitOptions extends Extras {
  /** Passes over the data, counted from the beginning of training. Default 1. */
  epochs?: number;
  /** Epochs already done: `model.epoch` after a checkpoint. Default 0. */
  initialEpoch?: number;
  /** Samples a step. Default 32; the last batch may be smaller. */
  batchSize?: number;
  /** A new order each epoch, drawn from the model's seed, or from this one. Default true. */
  shuffle?: boolean | number;
  validationData?: ValidationData;
  /** The last part of the samples is held out, before shuffling. Default 0. */
  validationSplit?: number;
  /** Weights by class number: multiply the sample weights, as Keras. */
  classWeight?: Readonly<Record<number, number>> | readonly number[];
  callbacks?: readonly Callback[];
  /** Batches whose gradients are averaged for one optimizer step, as one large batch would have it. Default 1. */
  accumulate?: number;
  /**
   * Truncated backpropagation through time, for sequences that are longer than memory: batches run in pieces of so many
   * steps, an optimizer step each (or a part of one, with `accumulate`); hidden states are carried from piece to piece.
   * Default: whole sequences.
   */
  truncatedSteps?: number;
  /** Stops between batches; `fit` rejects with the signal's reason, the model stays usable. */
  signal?: AbortSignal;
  /** 1 prints a line an epoch. Default 0. */
  verbose?: 0 | 1;
  /** Let NaN and infinity through the input checks. Default false. */
  allowNonFinite?: boolean;
}

/** What happened, epoch by epoch. */
export interface History {
  /** Epoch numbers, from 1. */
  epoch: number[];
  /** loss, metrics, learningRate, valLoss...: one number an epoch. */
  history: Record<string, number[]>;
  /** Why training ended before its last epoch. */
  stopped?: string;
}

const OPTIONS = [
  "epochs",
  "initialEpoch",
  "batchSize",
  "shuffle",
  "validationData",
  "validationSplit",
  "classWeight",
  "accumulate",
  "truncatedSteps",
  "callbacks",
  "signal",
  "verbose",
  "allowNonFinite",
  "lengths",
  "mask",
  "sampleWeight",
] as const;

/** What `model.fit` was called with, and what it is called on. */
type Call = [
  model: Model<unknown>,
  trainer: Trainer,
  doorFor: (allowNonFinite?: boolean) => Door,
  x: FitData,
  y: Each<Targets> | undefined,
  options: FitOptions,
];

/** The training loop behind `model.fit`. A call that fails before its first step has changed nothing. */
export async function fit(...call: Call): Promise<History> {
  const [, trainer] = call;
  const unbegun = trainer.begin();
  let sum: GradientSum | undefined;
  const newSum = () => {
    sum = new GradientSum(trainer.network);
    return sum;
  };
  try {
    return await run(newSum, ...call);
  } catch (error) {
    unbegun();
    throw error;
  } finally {
    sum?.release();
  }
}

async function run(newSum: () => GradientSum, ...call: Call): Promise<History> {
  const [model, trainer, doorFor, x, y, options] = call;
  const where = "fit()";
  checkOptions(where, options, OPTIONS);
  const epochs = integer(where, "epochs", options.epochs ?? 1, 0);
  const initialEpoch = integer(where, "initialEpoch", options.initialEpoch ?? 0, 0);
  const batchSize = integer(where, "batchSize", options.batchSize ?? 32, 1);
  const shuffle = options.shuffle ?? true;
  if (typeof shuffle !== "number") flag(where, "shuffle", shuffle);
  else integer(where, "shuffle", shuffle, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const runs = integer(where, "accumulate", options.accumulate ?? 1, 1);
  const truncatedSteps = checkTruncation(where, trainer, options.truncatedSteps);
  const split = real(where, "validationSplit", options.validationSplit ?? 0, "[0, 1)");
  const { signal, verbose = 0, classWeight } = options;
  if (verbose !== 0 && verbose !== 1)
    throw new OptionError(`${where}: "verbose" must be 0 or 1, got ${shown(verbose)}`);
  if (options.callbacks !== undefined && !Array.isArray(options.callbacks))
    throw new OptionError(`${where}: "callbacks" must be an array, got ${shown(options.callbacks)}`);
  for (const callback of options.callbacks ?? [])
    if (typeof callback !== "object" || callback === null)
      throw new OptionError(`${where}: "callbacks" must be objects with hooks, got ${shown(callback)}`);
  if (signal !== undefined && typeof Object(signal).throwIfAborted !== "function")
    throw new OptionError(`${where}: "signal" must be an AbortSignal, got ${shown(signal)}`);
  if (classWeight !== undefined && (typeof classWeight !== "object" || classWeight === null))
    throw new OptionError(`${where}: "classWeight" must be weights by class number, got ${shown(classWeight)}`);
  signal?.throwIfAborted();
  const door = doorFor(options.allowNonFinite);
  const extras: Extras = { lengths: options.lengths, mask: options.mask, sampleWeight: options.sampleWeight };
  const weighted = (examples: Examples) =>
    classWeight ? withClassWeights(where, examples, door, classWeight) : examples;

  // Everything is checked before anything runs.
  let examples: Examples | undefined;
  let validation: (() => Promise<Record<string, number>>) | undefined;
  if (!isBatchSource(x)) examples = checkExamples(where, door, { ...extras, x, y });
  else {
    checkBeside(where, { y, ...extras });
    if (split > 0)
      throw new OptionError(`${where}: "validationSplit" needs arrays; give "validationData" with a source of batches`);
  }
  let order = examples && Int32Array.from({ length: examples.count }, (_, i) => i);
  if (options.validationData !== undefined) {
    if (split > 0) throw new OptionError(`${where}: give "validationData" or "validationSplit", not both`);
    validation = validator(trainer, door, options.validationData, Math.max(batchSize, 256), { signal, truncatedSteps });
  } else if (split > 0 && examples && order) {
    const kept = examples.count - Math.max(1, Math.floor(examples.count * split));
    if (kept < 1)
      throw new ShapeError(`${where}: "validationSplit" ${split} of ${examples.count} samples leaves none to train on`);
    const held = order.subarray(kept);
    order = order.subarray(0, kept);
    // As they were given: class weights are for training.
    const all = examples;
    trainer.network.checkBatches(where, held.length, Math.max(batchSize, 256));
    validation = () =>
      evaluate(trainer, where, slices(all, Math.max(batchSize, 256), held), { signal, truncatedSteps });
  }
  examples &&= weighted(examples);
  if (order) trainer.network.checkBatches(where, order.length, batchSize);

  const callbacks = [...(verbose ? [progress()] : []), ...(options.callbacks ?? [])];
  callbacks.sort((a, b) => Number(a.last ?? false) - Number(b.last ?? false));
  const history: History = { epoch: [], history: {} };
  const context: { -readonly [K in keyof FitContext]: FitContext[K] } = {
    model: model as Model,
    initialEpoch,
    epochs,
    batches: order && Math.ceil(order.length / batchSize),
    stop: (reason) => {
      history.stopped ??= reason;
    },
  };
  trainer.progress.epoch = initialEpoch;
  trainer.resume(callbacks, initialEpoch > 0);
  const seed = typeof shuffle === "number" ? shuffle : model.network.seed;
  const pause = breathe();
  const sum = runs > 1 ? newSum() : undefined;
  for (const callback of callbacks) await callback.onTrainBegin?.(context);
  let goBack = trainer.snapshot();
  for (let epoch = initialEpoch + 1; epoch <= epochs && history.stopped === undefined; epoch++) {
    for (const callback of callbacks) await callback.onEpochBegin?.(epoch, context);
    const begun = trainer.snapshot();
    const scores = new Scores(trainer);
    const rate = trainer.rate;
    model.resetStates();
    const turn = order && shuffle !== false ? permutation(seed, epoch, order.length).map((i) => order![i]) : order;
    const source = examples ? slices(examples, batchSize, turn) : sourced(where, door, x as BatchSource, epoch);
    let batch = 0;
    for await (const { examples: given, rows } of source) {
      signal?.throwIfAborted();
      batch++;
      const own = examples ? given : weighted(given);
      const told = { loss: 0, gradientNorm: 0 };
      let steps = 0;
      let initialState: Float32Array[] | undefined;
      for (const piece of pieces(where, { examples: own, rows }, truncatedSteps)) {
        if (steps) {
          await pause();
          signal?.throwIfAborted();
        }
        const at = `epoch ${epoch}, step ${batch}`;
        const { recording, loss, gradientNorm } = orBack(goBack, () =>
          trainer.step(piece.examples, piece.rows, { where: at, initialState, sum, runs }),
        );
        if (truncatedSteps) initialState = statesAfter(trainer.network, recording);
        // Finite weights may still have blown up: they are good once a step from them has found finite numbers.
        if (batch === 1) goBack = begun;
        scores.add(recording, piece.examples, piece.rows);
        const length = piece.examples.inputs[0].steps;
        steps += length;
        told.loss += (loss - told.loss) * (length / steps);
        told.gradientNorm = gradientNorm;
      }
      for (const callback of callbacks) await callback.onBatchEnd?.(batch, told, context);
      await pause();
    }
    // Less than was to be added up is a step, too: the epoch ends with weights that have seen all of it.
    if (sum?.runs) trainer.flush(sum);
    if (batch === 0)
      throw new ShapeError(
        `${where}: the source gave no batches in epoch ${epoch}${epoch > initialEpoch + 1 ? "; give a function that returns a fresh iterable each epoch" : ""}`,
      );
    // The last step's update has had no forward to show what it did; checkpoints must not have it either.
    orBack(goBack, () => trainer.checkFinite(`the end of epoch ${epoch}, after step ${batch}`));
    const logs: Logs = { ...scores.result(), learningRate: rate };
    if (validation) {
      model.resetStates();
      for (const [name, value] of Object.entries(await validation()))
        logs[`val${name[0].toUpperCase()}${name.slice(1)}`] = value;
    }
    context.batches = batch;
    trainer.endEpoch(logs.valLoss ?? logs.loss);
    history.epoch.push(epoch);
    for (const [name, value] of Object.entries(logs)) (history.history[name] ??= []).push(value);
    for (const callback of callbacks) await callback.onEpochEnd?.(epoch, logs, context);
  }
  for (const callback of callbacks) await callback.onTrainEnd?.(context);
  return history;
}

/** Where `run` finds that training has diverged, the model goes back to the begin of an epoch, where its numbers were good. */
function orBack<T>(goBack: () => void, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof StateError && error.message.startsWith("training diverged")) goBack();
    throw error;
  }
}

function validator(
  trainer: Trainer,
  door: Door,
  data: ValidationData,
  batchSize: number,
  run: { signal?: AbortSignal; truncatedSteps?: number },
): () => Promise<Record<string, number>> {
  const where = "fit(): validationData";
  if (typeof data !== "function" && (typeof data !== "object" || data === null))
    throw new OptionError(`${where}: expected [x, y], { x, y } or a source of batches, got ${shown(data)}`);
  if (!isBatchSource(data)) {
    if (!Array.isArray(data)) checkOptions(where, data, ["x", "y", "lengths", "mask", "sampleWeight"]);
    const { x, y, ...extras } = Array.isArray(data)
      ? { x: data[0] as Each<TensorLike>, y: data[1] as Each<Targets> }
      : (data as { x: Each<TensorLike>; y: Each<Targets> } & Extras);
    const examples = checkExamples(where, door, { ...extras, x, y });
    trainer.network.checkBatches(where, examples.count, batchSize);
    return () => evaluate(trainer, where, slices(examples, batchSize), run);
  }
  return () => evaluate(trainer, where, sourced(where, door, data), run);
}
