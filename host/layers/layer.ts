import type { Exports, Recorder } from "../core/kernels.ts";
import type { Initializer } from "./initializers.ts";

/**
 * What a layer is. A description (`gru(64)`) is plain data; `build` gives a
 * built layer, which declares its parameters and records its kernel calls.
 * Built layers hold no activations: everything of one run is in `Value`s.
 */

/** What flows along an edge of the model, for one sample. */
export interface Port {
  /** Numbers per step, or per sample without time. */
  readonly features: number;
  /** With a time axis: [batch, time, features]; without: [batch, features]. */
  readonly sequence: boolean;
  /** Steps of every sequence where the model fixes them; null: any number, or no time axis. */
  readonly steps: number | null;
  /** "tokens" are i32 indices, [batch, time] or [batch]; then `features` is 1. */
  readonly type: "values" | "tokens";
}

/** One tensor of one run: rows of `stride` elements, time-major [T, B, stride] or [B, stride]. */
export interface Value {
  readonly port: Port;
  readonly address: number;
  readonly rows: number;
  readonly stride: number;
  /** Which steps count; absent: all. */
  readonly mask?: Mask;
  /** Where this is a softmax or the like of something: that something, for fused losses. */
  readonly logits?: { readonly address: number; readonly activation: Fusable };
  /** Gradient of the loss with respect to this, once somebody has written it. */
  gradient?: number;
  /** The gradient is that of `logits` already. */
  fused?: boolean;
  /** What the layer's forward left for its backward: addresses by name. */
  saved: Record<string, number>;
  /** Of a layer around others: what those gave. */
  readonly parts?: readonly Value[];
  /** Where the states of a recurrent layer begin and end. */
  readonly states?: readonly StatePlace[];
}

/** Activations that losses know how to take up. */
export type Fusable = "softmax" | "logSoftmax" | "sigmoid";

/** Steps that count, i32 [T, B], 0 or 1. */
export interface Mask {
  readonly address: number;
  /** "lengths": outputs past the end are zero (PyTorch, ONNX); "holes": they repeat the last one (Keras). */
  readonly dialect: "lengths" | "holes";
}

/** A hidden state. Most recurrent layers have one, under the layer's name; a bidirectional one has two. */
export interface State {
  readonly name: string;
  readonly units: number;
}

/** Rows [B, stride] of a hidden state in one run. */
export interface StatePlace extends State {
  readonly stride: number;
  readonly initial: number;
  readonly final: number;
  /** Gradient of the final state coming in, of the initial state going out. */
  gradient?: number;
}

/** A trainable tensor in its Keras layout, dense: f32, or in a quantised model i8 with a scale a column. */
export interface Param {
  /** "gru_1.recurrentKernel" */
  readonly name: string;
  readonly shape: readonly number[];
  readonly initializer: Initializer;
  readonly type: "f32" | "i8";
  /** Address of the scales, f32[last axis of the shape], for i8. */
  scales: number;
  /** Addresses in the params and grads regions; grads exist in training only. */
  address: number;
  gradient: number;
}

/** What `build` may ask for. */
export interface Builder {
  readonly core: Exports;
  /** The layer's name, for messages and parameters. */
  readonly name: string;
  /** The model's. */
  readonly seed: number;
  /** In a quantised model. `range`: the largest input in calibration; 0: every row has its own. */
  readonly int8?: { readonly range: number };
  param(name: string, shape: readonly number[], initializer: Initializer): Param;
  /** A matrix that inputs are multiplied by: i8 in a quantised model. */
  matrix(name: string, shape: readonly number[], initializer: Initializer): Param;
  /**
   * A copy of parameters in another layout, made again whenever they change.
   *
   * @param training needed by backward only
   * @param record   writes the packing call for the address it is given
   */
  packed(
    label: string,
    count: number,
    record: (k: Recorder, address: number) => void,
    training?: boolean,
  ): { readonly address: number };
}

/** One recording: what runs, on which sizes, in which memory. */
export interface Run {
  readonly core: Exports;
  readonly k: Recorder;
  readonly B: number;
  /** "train": dropout and everything kept for backward; "gradients": without dropout. */
  readonly mode: "train" | "gradients" | "predict" | "stream";
  /** Threads that may run a call together: scratch of gradient products is one a thread. */
  readonly threads: number;
  /** True where a backward follows. */
  readonly backward: boolean;
  /** Activations that the loss of this layer's output would take up: a layer with one keeps what stands before. */
  readonly fuses?: readonly Fusable[];
  /** Address of the i32 step counter that random kernels mix into their keys. */
  readonly step: number;
  /** Kept until backward has used it; without backward, until the last reader of the layer's output is done. */
  saved(label: string, count: number): number;
  /** A mask of `rows` steps: kept to the end of the run, as later layers, the loss and metrics read it. */
  mask(label: string, rows: number): number;
  /** Free again when the layer's turn ends. */
  scratch(label: string, count: number): number;
  /** Kept from call to call of a stream. */
  state(label: string, count: number): number;
  /** Where the gradient of `value` goes: written by the first, added to by the others; undefined where nobody asks. */
  gradient(value: Value): { readonly address: number; readonly accumulate: 0 | 1 } | undefined;
  /** Address of a few numbers that stay as they are. */
  constant(label: string, values: readonly number[]): number;
  /** The initial value of a state, given by the caller or by another layer, [B, padded(units)]; undefined: zeros. */
  initialState(state: string): number | undefined;
  /** The gradient of its final value, from the caller and from layers that read it; undefined: zeros. */
  finalStateGradient(state: string): number | undefined;
}

/** A layer in a model: parameters declared, ready to record. */
export interface BuiltLayer {
  readonly output: Port;
  /** Records the forward calls; at most 4 a layer. */
  forward(run: Run, inputs: readonly Value[]): Value;
  /** Records the backward calls, at most 8: reads y.gradient, writes gradients of inputs and parameters. */
  backward(run: Run, inputs: readonly Value[], y: Value): void;
  /** Hidden states of a recurrent layer, in the order in which models list them. */
  readonly states?: readonly State[];
  /** Tokens it knows, for layers that read tokens. */
  readonly tokens?: number;
  /** Keeps its state from batch to batch. */
  readonly stateful?: boolean;
  /** Needs the whole sequence before its first output. */
  readonly unstreamable?: string;
}

/** JSON values, as options are saved. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A layer as the user describes it: what `gru(64)` returns. */
export interface Layer {
  /** "gru", "dense": the default name, and the key under which a saved model finds it. */
  readonly type: string;
  readonly name?: string;
  /** Every option with its default filled in, enough to make the layer again. */
  readonly config: { readonly [option: string]: Json };
  /** It reads tokens rather than numbers. */
  readonly readsTokens?: boolean;
  /** Of recurrent layers: the same as a direction of `bidirectional`, these options changed. */
  directed?(options: { readonly goBackwards: boolean; readonly zeroOutputForMask: boolean }): Layer;
  /** The fewest and the most inputs that it takes. Default one. */
  readonly arity?: readonly [least: number, most: number];
  /** Final states that a call on nodes gives besides the output. */
  readonly returnsStates?: number;
  build(builder: Builder, inputs: readonly Port[]): BuiltLayer;
}

/** Time steps of a value in a run; 1 without a time axis. */
export function stepsOf(run: Run, { rows }: Value): number {
  return rows / run.B;
}

/** Columns of a row of activations: 8, the width of a packed panel, so that no product has a column tail. */
export function padded(features: number): number {
  return (features + 7) & ~7;
}

/** Backward of a layer that passes its input through: dx is dy, or gets it added. */
export function passGradient(run: Run, x: Value, y: Value): void {
  const dx = run.gradient(x);
  if (!dx) return;
  const count = x.rows * x.stride;
  if (dx.accumulate) run.k.addTo(dx.address, y.gradient!, count);
  else run.k.copyRows(dx.address, y.gradient!, 1, count, 0, 0);
}
