import type { Examples } from "../batches/examples.ts";
import { StateError } from "../core/errors.ts";
import { count, type Tensor } from "../core/tensor.ts";
import type { Json } from "../layers/layer.ts";
import { isMean, reduced } from "../losses/loss.ts";
import { type Optimizer, SETTINGS, type Spans } from "../optimizers/optimizer.ts";
import { afterEpoch, findPlateau, type PlateauState, plateauState, scheduleRate } from "../optimizers/schedules.ts";
import { execute } from "../stacks/execution.ts";
import type { Network } from "../stacks/network.ts";
import type { Recording } from "../stacks/recording.ts";
import type { Callback } from "./callbacks.ts";
import type { Goal } from "./goals.ts";
import type { GradientSum } from "./gradient-sum.ts";

/** Where training is; with the parameters and the moments, all there is to resume. */
export interface Progress {
  /** Optimizer steps done. */
  step: number;
  /** Epochs done. */
  epoch: number;
  plateau?: PlateauState;
}

/** By the callback's name; a second one of the same name is "earlyStopping_1". */
export type CallbackStates = ReadonlyMap<string, { state: Json; tensors: Record<string, Tensor> }>;

function byName(callbacks: readonly Callback[]): Map<string, Callback> {
  const named = new Map<string, Callback>();
  for (const callback of callbacks) {
    let name = callback.name;
    for (let i = 1; named.has(name); i++) name = `${callback.name}_${i}`;
    named.set(name, callback);
  }
  return named;
}

function diverged(where: string | undefined, culprit: string): StateError {
  return new StateError(
    `training diverged${where ? ` at ${where}` : ""}: ${culprit}; ` +
      "lower the learning rate or clip the gradients (globalClipNorm)",
  );
}

export interface StepOptions {
  initialState?: readonly Float32Array[];
  where?: string;
  /** Where gradients are added up; every `runs` runs there is an update. */
  sum?: GradientSum;
  runs?: number;
}

export interface Step {
  recording: Recording;
  loss: number;
  gradientNorm: number;
}

/** Parameters, gradients and moments of a network in training, and the rule that moves them. */
export class Trainer {
  progress: Progress = { step: 0, epoch: 0 };
  /** None in a quantised model, which can only be evaluated. */
  private readonly spans: Spans = { params: 0, grads: 0, slots: [], settings: 0, count: 0 };

  constructor(
    readonly network: Network,
    /** By output. */
    readonly goals: readonly (Goal | undefined)[],
    readonly optimizer: Optimizer,
  ) {
    if (network.quantization) return;
    const { slots, settings } = network.enableTraining(optimizer.slots, SETTINGS);
    this.spans = { params: network.paramsAddress, grads: network.gradsAddress, slots, settings, count: network.span };
    const { f32 } = network.engine.arena;
    optimizer.slots.forEach((slot, i) => {
      const value = optimizer.initial?.[slot] ?? 0;
      if (value) f32.fill(value, slots[i] >>> 2, (slots[i] >>> 2) + network.span);
    });
    const plateau = typeof optimizer.learningRate === "object" && findPlateau(optimizer.learningRate);
    if (plateau) this.progress.plateau = plateauState();
  }

  /** The loss of the batch that has just run: the weighted sum over the outputs. */
  loss(recording: Recording): number {
    const { f64 } = this.network.engine.arena;
    return this.goals.reduce((total, goal, i) => {
      const at = recording.outputs[i].loss >>> 3;
      return goal ? total + goal.weight * reduced(goal.loss, f64[at], f64[at + 1]) : total;
    }, 0);
  }

  /** The learning rate of the next step. */
  get rate(): number {
    const { learningRate, baseRate } = this.optimizer;
    if (typeof learningRate === "number") return learningRate;
    const { step, epoch, plateau } = this.progress;
    return scheduleRate(learningRate, baseRate, { step, epoch, state: plateau });
  }

  /** Tells a schedule that listens how the epoch went. */
  endEpoch(metric: number): void {
    this.progress.epoch++;
    const { learningRate } = this.optimizer;
    const plateau = typeof learningRate === "object" && findPlateau(learningRate);
    if (plateau && this.progress.plateau) this.progress.plateau = afterEpoch(plateau, this.progress.plateau, metric);
  }

  /**
   * Forward, backward, clip, update.
   *
   * @returns the loss, and the norm of the gradient before clipping: the run's own, or where an update was made the sum's
   * @throws StateError where the loss or a gradient is not finite; then nothing has been updated
   */
  step(examples: Examples, rows: Int32Array, options: StepOptions = {}): Step {
    const { network } = this;
    const { sum, runs = 1 } = options;
    const recording = execute(network, examples, rows, {
      mode: "train",
      objectives: this.goals,
      backward: true,
      initialState: options.initialState,
      // Runs that share an update drop other numbers.
      step: this.progress.step * runs + (sum?.runs ?? 0),
    });
    const value = this.loss(recording);
    let gradientNorm = this.norm();
    if (value === Infinity && Number.isFinite(gradientNorm)) this.refuseInfinite(recording, rows, options.where);
    if (!(Number.isFinite(value) && Number.isFinite(gradientNorm))) {
      network.resetStates(); // stateful layers would go on from numbers that are not finite
      throw diverged(options.where, this.culprit(recording, value));
    }
    if (!sum) this.update(gradientNorm);
    else {
      sum.add(this.weight(recording));
      if (sum.runs === runs) gradientNorm = this.flush(sum);
    }
    return { recording, loss: value, gradientNorm };
  }

  /** An update with what has been added up. @returns the norm of the gradient before clipping */
  flush(sum: GradientSum): number {
    sum.take(this.averages);
    const norm = this.norm();
    this.update(norm);
    return norm;
  }

  private update(norm: number): void {
    const { core, arena } = this.network.engine;
    this.clip(norm);
    this.optimizer.update(core, arena, this.spans, this.rate, this.progress.step + 1);
    this.network.paramsChanged();
    this.progress.step++;
  }

  /**
   * What the gradient of a run counts in the mean of several: the divisor of its loss; samples, where several losses
   * have divisors of their own.
   */
  private weight(recording: Recording): number {
    const trained = recording.outputs.filter((_, i) => this.goals[i]);
    if (!this.averages) return 1;
    return trained.length > 1 ? recording.request.B : this.network.engine.arena.f64[(trained[0].loss >>> 3) + 1];
  }

  private get averages(): boolean {
    return this.goals.some((goal) => goal && isMean(goal.loss));
  }

  /** @throws StateError where an update has left parameters that are not finite */
  checkFinite(where: string): void {
    const culprit = this.badParameter();
    if (culprit) throw diverged(where, culprit);
  }

  /** Forward and loss only. */
  test(
    examples: Examples,
    rows: Int32Array,
    options: { initialState?: readonly Float32Array[]; keepStates?: boolean } = {},
  ): Recording {
    return execute(this.network, examples, rows, { mode: "predict", objectives: this.goals, ...options });
  }

  private norm(): number {
    const { core } = this.network.engine;
    const { grads, count: n } = this.spans;
    const type = this.optimizer.clipping.clipNormType;
    return type === 1
      ? core.sumOfAbsolutes(grads, n)
      : type === 2
        ? Math.sqrt(core.sumOfSquares(grads, n))
        : core.maxAbsolute(grads, n);
  }

  private clip(norm: number): void {
    const { core } = this.network.engine;
    const { clipNorm, globalClipNorm, clipValue } = this.optimizer.clipping;
    const { grads, count: n } = this.spans;
    if (globalClipNorm !== undefined) {
      // As PyTorch: the 1e-6 is part of the definition.
      const factor = globalClipNorm / (norm + 1e-6);
      if (factor < 1) core.scale(grads, n, factor);
    }
    if (clipNorm !== undefined)
      for (const { gradient, shape } of this.network.params) {
        const size = (count(shape) + 3) & ~3;
        const own = Math.sqrt(core.sumOfSquares(gradient, size));
        if (own > clipNorm) core.scale(gradient, size, clipNorm / own);
      }
    if (clipValue !== undefined) core.clipValue(grads, n, clipValue);
  }

  /** @throws StateError for a loss of Infinity that is a sample's fault and not the numbers' */
  private refuseInfinite(recording: Recording, rows: Int32Array, where: string | undefined): void {
    this.goals.forEach((goal, i) => {
      const losses = this.network.engine.arena.f32.subarray(recording.outputs[i].rowLosses >>> 2);
      const row = losses.subarray(0, rows.length).indexOf(Infinity);
      if (!goal?.loss.infinite || row < 0) return;
      this.network.resetStates();
      throw new StateError(
        `${where ? `${where}: ` : ""}the loss "${goal.loss.name}" of sample ${rows[row]} is Infinity: ${goal.loss.infinite}`,
      );
    });
  }

  /** The first tensor with a number that is not finite, in the order of computation. */
  private culprit(recording: Recording, loss: number): string {
    const { core, arena } = this.network.engine;
    const parameter = this.badParameter();
    if (parameter) return parameter;
    for (const { layer, value } of recording.values) {
      const at = core.allFinite(value.address, value.rows * value.stride);
      if (at >= 0) return `layer "${layer}" put out ${arena.f32[(value.address >>> 2) + at]}`;
    }
    if (!Number.isFinite(loss))
      return `the loss is ${loss} although layer "${recording.values.at(-1)?.layer}" put out finite numbers`;
    // Backward runs from the last layer to the first.
    for (const { name, gradient, shape } of [...this.network.params].reverse())
      if (core.allFinite(gradient, count(shape)) >= 0)
        return `the gradient of "${name}" (layer "${name.split(".")[0]}") is not finite`;
    return "the gradients overflow";
  }

  private badParameter(): string | undefined {
    const { core } = this.network.engine;
    for (const { name, address, shape } of this.network.params)
      if (core.allFinite(address, count(shape)) >= 0)
        return `"${name}" (layer "${name.split(".")[0]}") holds a number that is not finite`;
    return undefined;
  }

  /** Moments by slot and parameter name, for checkpoints. */
  moments(): Map<string, { shape: readonly number[]; data: Float32Array }> {
    const { f32 } = this.network.engine.arena;
    const out = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    this.optimizer.slots.forEach((slot, i) => {
      for (const { name, shape, address } of this.network.params) {
        const at = (this.spans.slots[i] + address - this.spans.params) >>> 2;
        out.set(`optimizer.${slot}.${name}`, { shape, data: f32.slice(at, at + count(shape)) });
      }
    });
    return out;
  }

  restoreMoments(tensors: ReadonlyMap<string, { data: Float32Array }>): void {
    const { f32 } = this.network.engine.arena;
    this.optimizer.slots.forEach((slot, i) => {
      for (const { name, address } of this.network.params) {
        const t = tensors.get(`optimizer.${slot}.${name}`);
        if (t) f32.set(t.data, (this.spans.slots[i] + address - this.spans.params) >>> 2);
      }
    });
  }

  /** Callbacks of a running or finished fit, whose states go into checkpoints. */
  private callbacks: readonly Callback[] = [];
  /** States of callbacks found in a checkpoint, until a fit has taken them up. */
  resumed: CallbackStates = new Map();

  /** Gives callbacks the state that their namesakes had, where training goes on. */
  resume(callbacks: readonly Callback[], goesOn: boolean): void {
    this.callbacks = callbacks;
    if (goesOn)
      for (const [name, callback] of byName(callbacks)) {
        const kept = this.resumed.get(name);
        if (kept) callback.restore?.(kept.state, kept.tensors);
      }
    this.resumed = new Map();
  }

  /** What callbacks need to go on, for checkpoints. */
  callbackStates(): CallbackStates {
    const states = new Map(this.resumed);
    for (const [name, callback] of byName(this.callbacks)) {
      const saved = callback.save?.();
      if (saved) states.set(name, { state: saved.state, tensors: saved.tensors ?? {} });
    }
    return states;
  }

  /** Before a fit: what to call when it fails, so that one without a step leaves progress and callbacks as they were. */
  begin(): () => void {
    const { callbacks, progress } = this;
    const { step, epoch } = progress;
    return () => {
      if (this.progress.step !== step) return;
      this.progress.epoch = epoch;
      this.callbacks = callbacks;
    };
  }

  /** Parameters and moments as they are now, to go back to. */
  snapshot(): () => void {
    const { arena } = this.network.engine;
    const { params, slots, count: n } = this.spans;
    const spans = [params, ...slots];
    const kept = spans.map((at) => arena.f32.slice(at >>> 2, (at >>> 2) + n));
    const progress = structuredClone(this.progress);
    return () => {
      spans.forEach((at, i) => {
        arena.f32.set(kept[i], at >>> 2);
      });
      this.progress = structuredClone(progress);
      this.network.paramsChanged();
    };
  }
}
