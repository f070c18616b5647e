import { type Arena, type Block, Window } from "../core/arena.ts";
import { StateError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { gather } from "../core/rows.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Value } from "../layers/layer.ts";
import type { Model } from "../stacks/model.ts";
import type { Network } from "../stacks/network.ts";
import { type Recording, Request } from "../stacks/recording.ts";
import { checkStreams, type Frames, FramesDoor, type StepOutput, stepOutput } from "./frame.ts";
import { clearStates, readStates, type StateRows, writeStates } from "./hidden-state.ts";

/**
 * A model run one time step at a time: the hidden states stay in the arena
 * from step to step. A step allocates nothing.
 */
export class Stream<Outputs = Tensor> {
  private readonly network: Network;
  private readonly recording: Recording;
  private readonly block: Block;
  private readonly door: FramesDoor;
  private readonly inputs: readonly number[];
  private readonly states: readonly StateRows[];
  private readonly outputs: readonly StepCopy[];
  private readonly result: StepOutput<Outputs>;
  private closed = false;

  /** Use `model.stream()`. */
  constructor(
    model: Model<Outputs>,
    private readonly batch: number,
    allowNonFinite: boolean,
  ) {
    const network = model.network;
    this.network = network;
    checkStreams("stream()", network);
    const steps = network.inputs.map(() => 1);
    ({ recording: this.recording, block: this.block } = network.separateRecording(new Request("stream", steps, batch)));
    const { inputs, outputs, states } = this.recording;
    const strides = inputs.map(({ value }) => value.stride);
    this.inputs = inputs.map(({ value }) => value.address);
    this.door = new FramesDoor("stream.step()", network, batch, strides, allowNonFinite);
    this.states = states.map(({ final, units, stride }) => ({ address: final, units, stride }));
    this.outputs = outputs.map(({ value }) => new StepCopy(network.engine.arena, value, batch));
    this.result = stepOutput(
      model,
      this.outputs.map(({ result }) => result),
    );
  }

  /**
   * The next time step.
   *
   * @param frame [features], or [batch, features] flat; tokens for models that read tokens; for several inputs a list
   *              in their order, or a record by name
   * @returns the output [units], or [batch, units] flat: the stream's own array, overwritten by the next step; for
   *          several outputs as many, in a list or a record as `predict` gives them
   * @throws ShapeError  for a frame of another length
   * @throws OptionError for numbers that are not finite, or unknown tokens; the state stays as it was
   */
  step(frame: Frames): StepOutput<Outputs> {
    this.checkOpen("stream.step()");
    this.door.write(frame, this.inputs, 0);
    this.network.pack(false);
    this.recording.program.run();
    const { outputs } = this;
    for (let i = 0; i < outputs.length; i++) outputs[i].copy();
    return this.result;
  }

  /** Back to zero hidden states. */
  reset(): void {
    this.checkOpen("stream.reset()");
    clearStates(this.network.engine.arena, this.states, this.batch);
  }

  /** All hidden states, layer after layer, [batch, units] each: a copy to store, and to set again. */
  get state(): Float32Array {
    this.checkOpen("stream.state");
    return readStates(this.network.engine.arena, this.states, this.batch);
  }

  set state(values: Float32Array) {
    this.checkOpen("stream.state");
    writeStates("stream.state", this.network.engine.arena, this.states, this.batch, values);
  }

  /** Gives the stream's memory back. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.network.release(this.block);
  }

  /** After `close` the memory may be somebody else's. */
  private checkOpen(where: string): void {
    if (this.closed) throw new StateError(`${where}: the stream is closed`);
    this.network.checkAlive();
  }
}

/** An output's way out of the arena. */
class StepCopy {
  readonly result: Float32Array;
  private readonly window: Window;
  /** Rows lie in the arena as `result` has them. */
  private readonly dense: boolean;

  constructor(
    private readonly arena: Arena,
    private readonly value: Value,
    private readonly batch: number,
  ) {
    const { features } = value.port;
    this.result = new Float32Array(batch * features);
    this.window = new Window(arena, value.address, batch * features);
    this.dense = batch === 1 || value.stride === features;
  }

  copy(): void {
    const { address, stride, port } = this.value;
    if (this.dense) this.result.set(this.window.f32);
    else gather(this.result, 0, this.arena.f32, address >>> 2, this.batch, 1, port.features, stride);
  }
}

export interface StreamOptions {
  /** Sequences that step together. Default 1. */
  batch?: number;
  /** Let NaN and infinity through. Default false. */
  allowNonFinite?: boolean;
}

export function openStream<Outputs>(model: Model<Outputs>, options: StreamOptions): Stream<Outputs> {
  checkOptions("stream()", options, ["batch", "allowNonFinite"]);
  return new Stream(
    model,
    integer("stream()", "batch", options.batch ?? 1, 1),
    flag("stream()", "allowNonFinite", options.allowNonFinite ?? false),
  );
}
