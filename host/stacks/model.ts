import { checkExamples, type Door, type Each, type Examples, type Extras } from "../batches/examples.ts";
import type { Targets } from "../batches/sequences.ts";
import { batches } from "../batches/source.ts";
import { OptionError, ShapeError, StateError } from "../core/errors.ts";
import { checkOptions, integer, shown } from "../core/options.ts";
import { gather } from "../core/rows.ts";
import { count, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import { type SaveOptions, save, toBytes } from "../formats/gruvy.ts";
import { openStream, type Stream, type StreamOptions } from "../inference/stream.ts";
import { openStreamPool, type StreamPool, type StreamPoolOptions } from "../inference/stream-pool.ts";
import type { Port } from "../layers/layer.ts";
import { type OptimizerLike, resolveOptimizer } from "../optimizers/index.ts";
import { evaluate } from "../training/evaluate.ts";
import { type FitData, type FitOptions, fit, type History, isBatchSource } from "../training/fit.ts";
import { type GoalOptions, resolveGoals } from "../training/goals.ts";
import { Trainer } from "../training/trainer.ts";
import { checkTruncation } from "../training/truncate.ts";
import { checkStates, execute, finalStates, type States } from "./execution.ts";
import { checkOutputs, type Gradients, readGradients } from "./gradients.ts";
import type { Network, Terminal } from "./network.ts";
import { summary } from "./summary.ts";

export interface CompileOptions extends GoalOptions {
  /** A name or an optimizer with options. Default "adam". */
  optimizer?: OptimizerLike;
}

export interface PredictOptions extends Pick<Extras, "lengths" | "mask"> {
  /** One [batch, units] a recurrent layer, two (forward, backward) a bidirectional one. Default zeros. */
  initialState?: States | TensorLike;
  /** Samples run at a time. Default 256. */
  batchSize?: number;
  allowNonFinite?: boolean;
}

export interface EvaluateOptions extends Extras {
  batchSize?: number;
  /** Run sequences in pieces of so many steps, hidden states carried; the scores are the same. Default: whole. */
  truncatedSteps?: number;
  allowNonFinite?: boolean;
}

export interface GradientOptions extends Extras {
  initialState?: States | TensorLike;
  allowNonFinite?: boolean;
}

/** Gradients arriving at the output and at the final states. */
export interface Cotangents {
  /** For several outputs a list in their order, or a record by name. */
  outputGradient: Each<TensorLike>;
  /** One [batch, units] for each state. Default zeros. */
  stateGradient?: States | TensorLike;
}

/** What a model was made of, enough to make it again. */
export interface Architecture {
  readonly kind: string;
  readonly config: object;
}

/** How a model gives its outputs: a tensor, a list in their order, or a record by name. */
export type OutputForm = "one" | "list" | "record";

/**
 * A model: parameters in the engine's memory, and everything one does with
 * them. Made by `sequential`, `graph` or `loadModel`. Give its memory back
 * with `dispose()`.
 *
 * `Outputs` is what `predict` gives: a tensor, or as many as the graph says.
 */
export class Model<Outputs = Tensor> {
  private trainer?: Trainer;
  private busy = false;

  /** Use `sequential()` or `graph()`. */
  constructor(
    /** @internal */ readonly network: Network,
    /** @internal */ readonly architecture: Architecture,
    /** @internal */ readonly form: OutputForm = "one",
  ) {}

  /** Per sample, of the first input; null is any length. */
  get inputShape(): (number | null)[] {
    return shapeOf(this.network.inputs[0].port);
  }

  /** Per sample, of the first output; null is any length. */
  get outputShape(): (number | null)[] {
    return shapeOf(this.network.outputs[0].port);
  }

  /** Per sample, by name. */
  get inputShapes(): Record<string, (number | null)[]> {
    return shapesOf(this.network.inputs);
  }

  /** Per sample, by name. */
  get outputShapes(): Record<string, (number | null)[]> {
    return shapesOf(this.network.outputs);
  }

  /** @internal What fits through; `targets` where the loss wants them. */
  door(targets: boolean, allowNonFinite = false): Door {
    const { network } = this;
    const goals = targets ? this.compiled("targets").goals : [];
    return {
      inputs: network.inputs,
      outputs: network.outputs.map((output, i) => {
        const loss = goals[i]?.loss;
        return loss ? { ...output, targets: loss } : output;
      }),
      outputSteps: (steps) => network.outputSteps(steps),
      allowNonFinite,
    };
  }

  /** One for each output, as the model gives them. */
  private arranged(outputs: Tensor[]): Outputs {
    const { form, network } = this;
    const given =
      form === "one"
        ? outputs[0]
        : form === "list"
          ? outputs
          : Object.fromEntries(outputs.map((output, i) => [network.outputs[i].name, output]));
    return given as Outputs;
  }

  /** A quantised model only runs. */
  private checkTrains(where: string): void {
    if (this.network.quantization)
      throw new StateError(`${where}: a quantised model cannot train; train the float model, then quantize() it again`);
  }

  private compiled(what: string): Trainer {
    this.network.checkAlive();
    if (!this.trainer) throw new StateError(`${what} needs a loss: call compile({ loss: ... }) first`);
    return this.trainer;
  }

  /** The compiled loss, optimizer and metrics, and how far training is. */
  get training(): Trainer | undefined {
    return this.trainer;
  }

  /** Epochs of training done; `fit({ initialEpoch: model.epoch })` goes on from here. */
  get epoch(): number {
    return this.trainer?.progress.epoch ?? 0;
  }

  /**
   * Chooses what to train for and how, and takes the memory for it. Compiling
   * again begins training anew; weights stay.
   *
   * @example model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: 1e-3 }), metrics: ["accuracy"] })
   * @example model.compile({ loss: { tags: "sparseCategoricalCrossentropy", next: "meanSquaredError" }, lossWeights: { next: 0.1 } })
   * @throws OptionError for unknown names and options
   * @throws ShapeError  for lists and records that do not fit the outputs
   */
  compile(options: CompileOptions): void {
    this.network.checkAlive();
    checkOptions("compile()", options, ["loss", "lossWeights", "optimizer", "metrics"]);
    const goals = resolveGoals("compile()", options, this.network.outputs);
    const optimizer = resolveOptimizer("compile()", options.optimizer ?? "adam");
    this.idle("compile()");
    this.network.forget();
    this.trainer = new Trainer(this.network, goals, optimizer);
  }

  /**
   * Trains.
   *
   * @example await model.fit(x, y, { epochs: 10, batchSize: 32, validationSplit: 0.1 })
   * @param x samples [batch, ...], or an iterable or async iterable of batches { x, y, lengths?, sampleWeight? },
   *          or a function that returns a fresh one each epoch
   * @param y targets; absent where x gives batches
   * @throws ShapeError, OptionError for data and options that do not fit, before anything runs
   * @throws StateError  when the model is not compiled, or training diverges
   */
  async fit(x: FitData, y?: Each<Targets> | FitOptions, options: FitOptions = {}): Promise<History> {
    this.checkTrains("fit()");
    const trainer = this.compiled("fit()");
    if (isBatchSource(x) && isOptions(y)) {
      options = y;
      y = undefined;
    }
    return this.exclusively("fit()", () =>
      fit(this, trainer, (allow) => this.door(true, allow), x, y as Each<Targets> | undefined, options),
    );
  }

  /**
   * One training step on one batch.
   *
   * @returns the loss before the step, the norm of its gradient before clipping, the final states
   */
  async trainOnBatch(
    x: Each<TensorLike>,
    y: Each<Targets>,
    options: GradientOptions = {},
  ): Promise<{ loss: number; gradientNorm: number; state: Tensor[] }> {
    this.checkTrains("trainOnBatch()");
    const trainer = this.compiled("trainOnBatch()");
    checkOptions("trainOnBatch()", options, ["lengths", "mask", "sampleWeight", "initialState", "allowNonFinite"]);
    const examples = checkExamples("trainOnBatch()", this.door(true, options.allowNonFinite), {
      ...extras(options),
      x,
      y,
    });
    const initialState = checkStates(this.network, "trainOnBatch()", options.initialState, examples.count);
    this.idle("trainOnBatch()");
    const { recording, loss, gradientNorm } = trainer.step(examples, all(examples), {
      initialState,
      where: `step ${trainer.progress.step + 1}`,
    });
    return { loss, gradientNorm, state: finalStates(this.network, recording) };
  }

  /**
   * Loss and metrics over a data set.
   *
   * @returns { loss, ...metrics by name }
   */
  async evaluate(
    x: FitData,
    y?: Each<Targets> | EvaluateOptions,
    options: EvaluateOptions = {},
  ): Promise<Record<string, number>> {
    const where = "evaluate()";
    const trainer = this.compiled(where);
    if (isBatchSource(x) && isOptions(y)) {
      options = y;
      y = undefined;
    }
    checkOptions(where, options, ["lengths", "mask", "sampleWeight", "batchSize", "truncatedSteps", "allowNonFinite"]);
    const batchSize = integer(where, "batchSize", options.batchSize ?? 256, 1);
    const truncatedSteps = checkTruncation(where, trainer, options.truncatedSteps);
    const door = this.door(true, options.allowNonFinite);
    return this.exclusively(where, () =>
      evaluate(trainer, where, batches(where, door, x, y as Each<Targets> | undefined, extras(options), batchSize), {
        truncatedSteps,
      }),
    );
  }

  /**
   * Outputs for a batch of any size.
   *
   * @example const probabilities = await model.predict(x) // Tensor [batch, 10]
   * @param x [batch, ...inputShape]; for several inputs a list in their order, or a record by name
   * @returns the output; for several a list in their order, or a record where `graph` was given one
   * @throws ShapeError, OptionError for input that does not fit
   */
  async predict(x: Each<TensorLike>, options: PredictOptions = {}): Promise<Outputs> {
    const { network } = this;
    network.checkAlive();
    checkOptions("predict()", options, ["lengths", "mask", "initialState", "batchSize", "allowNonFinite"]);
    const batchSize = integer("predict()", "batchSize", options.batchSize ?? 256, 1);
    const examples = checkExamples("predict()", this.door(false, options.allowNonFinite), { ...extras(options), x });
    const initialState = checkStates(network, "predict()", options.initialState, examples.count);
    this.idle("predict()");
    if (!initialState) network.checkBatches("predict()", examples.count, batchSize);
    const { arena } = network.engine;
    const outputs = network.outputs.map(({ port: { sequence, features } }, i): Tensor => {
      const shape = [examples.count, ...(sequence ? [examples.outputs[i].steps] : []), features];
      return { shape, data: new Float32Array(count(shape)) };
    });
    for (let from = 0; from < examples.count; from += batchSize) {
      const rows = range(from, Math.min(examples.count, from + batchSize));
      const states = initialState?.map((state) => {
        const units = state.length / examples.count;
        return state.subarray(from * units, (from + rows.length) * units);
      });
      const recording = execute(network, examples, rows, { mode: "predict", initialState: states });
      recording.outputs.forEach(({ value: { address, stride, port } }, i) => {
        const { steps } = examples.outputs[i];
        const { features } = port;
        const at = from * steps * features;
        gather(outputs[i].data, at, arena.f32, address >>> 2, rows.length, steps, features, stride);
      });
    }
    return this.arranged(outputs);
  }

  /**
   * The loss and all its gradients, with dropout off; no parameter moves.
   *
   * @param y targets for the compiled loss; or { outputGradient, stateGradient? }, for the gradients of
   *          sum(output * outputGradient) + sum(state * stateGradient)
   */
  async gradients(
    x: Each<TensorLike>,
    y: Each<Targets> | Cotangents,
    options: GradientOptions = {},
  ): Promise<Gradients<Outputs>> {
    const { network } = this;
    const where = "gradients()";
    network.checkAlive();
    this.checkTrains(where);
    checkOptions(where, options, ["lengths", "mask", "sampleWeight", "initialState", "allowNonFinite"]);
    const cotangents = isCotangents(y) ? y : undefined;
    if (cotangents) checkOptions(`${where}: cotangents`, cotangents, ["outputGradient", "stateGradient"]);
    const examples = checkExamples(where, this.door(!cotangents, options.allowNonFinite), {
      ...extras(options),
      x,
      ...(cotangents ? {} : { y: y as Each<Targets> }),
    });
    const B = examples.count;
    const initialState = checkStates(network, where, options.initialState, B);
    this.idle(where);
    const result = readGradients(network, examples, {
      objectives: cotangents ? undefined : this.compiled(where).goals,
      outputGradients:
        cotangents && checkOutputs(where, network, examples, cotangents.outputGradient, options.allowNonFinite),
      stateGradient: checkStates(network, where, cotangents?.stateGradient, B, network.states),
      initialState,
    });
    return { ...result, outputs: this.arranged(result.outputs) };
  }

  /**
   * The model one time step at a time, hidden states kept between calls.
   *
   * @example const stream = model.stream(); const y = stream.step(frame)
   * @throws StateError when a layer needs the whole sequence first
   */
  stream(options: StreamOptions = {}): Stream<Outputs> {
    this.network.checkAlive();
    return openStream(this, options);
  }

  /**
   * Many streams that step together: the frames that wait in all of them run
   * as one batch, several times the throughput of stepping one by one.
   *
   * @example
   * const pool = model.streamPool({ capacity: 1000 })
   * const id = pool.open()
   * pool.push(id, frame)
   * for (const [id, output] of pool.flush()) send(id, output)
   * @throws StateError when a layer needs the whole sequence first
   */
  streamPool(options: StreamPoolOptions): StreamPool<Outputs> {
    this.network.checkAlive();
    return openStreamPool(this, options);
  }

  /** Stateful layers begin at zero again. */
  resetStates(): void {
    this.network.checkAlive();
    this.network.resetStates();
  }

  /** All parameters by name, copies, in Keras layouts: "gru_1.recurrentKernel", "dense.kernel". */
  weights(): Record<string, Tensor> {
    const { network } = this;
    network.checkAlive();
    return Object.fromEntries(
      network.params.map((param) => [param.name, { shape: [...param.shape], data: network.readParam(param) }]),
    );
  }

  /**
   * Sets all parameters.
   *
   * @throws ShapeError when a name or shape does not fit; then nothing has changed
   */
  setWeights(weights: Record<string, TensorLike>): void {
    const { network } = this;
    network.checkAlive();
    if (weights === null || typeof weights !== "object")
      throw new ShapeError(`setWeights(): expected tensors by name, got ${shown(weights)}`);
    const unknown = Object.keys(weights).find((name) => !network.param(name));
    if (unknown)
      throw new ShapeError(
        `setWeights(): unknown "${unknown}"; the model has ${network.params.map((p) => `"${p.name}"`).join(", ")}`,
      );
    const checked = network.params.map((param) => {
      if (!Object.hasOwn(weights, param.name))
        throw new ShapeError(`setWeights(): "${param.name}" ${shapeText(param.shape)} is missing`);
      const t = toTensor(weights[param.name], `setWeights(): "${param.name}"`);
      if (t.shape.length !== param.shape.length || t.shape.some((n, i) => n !== param.shape[i]))
        throw new ShapeError(
          `setWeights(): "${param.name}": expected ${shapeText(param.shape)}, got ${shapeText(t.shape)}`,
        );
      for (let i = 0; i < t.data.length; i++)
        if (t.data[i] - t.data[i] !== 0)
          throw new OptionError(
            `setWeights(): "${param.name}" has ${t.data[i]} at position ${i}; expected finite numbers`,
          );
      return t.data;
    });
    network.params.forEach((param, i) => {
      network.writeParam(param, checked[i]);
    });
  }

  /** Layers, output shapes and parameters as a table. */
  summary(): string {
    return summary(this.network);
  }

  /** Trainable numbers in all. */
  get parameterCount(): number {
    return this.network.params.reduce((sum, { shape }) => sum + count(shape), 0);
  }

  /** Where the model's memory goes. */
  get plan(): { describe(): string } {
    return { describe: () => this.network.describe() };
  }

  /**
   * Writes the model to one file, through a temporary one: a crash leaves the
   * old file or the new one.
   *
   * @param path a path or file: URL, in Node-like runtimes; elsewhere use `toBytes()`
   * @param options `{ training: true }` adds what `fit` needs to go on: moments, epoch, schedule
   */
  async save(path: string | URL, options: SaveOptions = {}): Promise<void> {
    this.network.checkAlive();
    return save(this, path, options);
  }

  /** The file that `save` writes. */
  toBytes(options: SaveOptions = {}): Uint8Array<ArrayBuffer> {
    this.network.checkAlive();
    return toBytes(this, options);
  }

  /** Gives all memory back; the model and its streams cannot be used any more. */
  dispose(): void {
    this.network.dispose();
    this.trainer = undefined;
  }

  /** One long-running call at a time: they share the model's memory between awaits. */
  private async exclusively<T>(where: string, run: () => Promise<T>): Promise<T> {
    this.idle(where);
    this.busy = true;
    try {
      return await run();
    } finally {
      this.busy = false;
    }
  }

  private idle(where: string): void {
    if (this.busy && !where.startsWith("predict"))
      throw new StateError(`${where}: fit() or evaluate() is still running on this model; await it first`);
  }
}

function extras(options: Extras): Extras {
  return { lengths: options.lengths, mask: options.mask, sampleWeight: options.sampleWeight };
}

function isCotangents(y: unknown): y is Cotangents {
  return typeof y === "object" && y !== null && "outputGradient" in y;
}

/** In place of y, where x gives batches. */
function isOptions<Options extends object>(y: Each<Targets> | Options | undefined): y is Options {
  return typeof y === "object" && y !== null && !ArrayBuffer.isView(y) && !Array.isArray(y) && !("data" in y);
}

function range(from: number, to: number): Int32Array {
  return Int32Array.from({ length: to - from }, (_, i) => from + i);
}

function all(examples: Examples): Int32Array {
  return range(0, examples.count);
}

/** Per sample; null is any length. */
function shapeOf({ sequence, steps, features, type }: Port): (number | null)[] {
  return [...(sequence ? [steps] : []), ...(type === "tokens" ? [] : [features])];
}

function shapesOf(terminals: readonly Terminal[]): Record<string, (number | null)[]> {
  return Object.fromEntries(terminals.map(({ name, port }) => [name, shapeOf(port)]));
}
