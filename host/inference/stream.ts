import { type Block, Window } from "../core/arena.ts";
import { StateError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { gather } from "../core/rows.ts";
import type { Network } from "../stacks/network.ts";
import { type Recording, Request } from "../stacks/recording.ts";
import { checkStreams, FrameDoor } from "./frame.ts";
import { clearStates, readStates, type StateRows, writeStates } from "./hidden-state.ts";

/**
 * A model run one time step at a time: the hidden states stay in the arena
 * from step to step. A step allocates nothing.
 */
export class Stream {
  private readonly recording: Recording;
  private readonly block: Block;
  private readonly door: FrameDoor;
  private readonly states: readonly StateRows[];
  private readonly output: Window;
  private readonly result: Float32Array;
  /** Rows of the output lie as `result` has them. */
  private readonly dense: boolean;
  private closed = false;

  /** Use `model.stream()`. */
  constructor(
    private readonly network: Network,
    private readonly batch: number,
    allowNonFinite: boolean,
    tokens: number | undefined,
  ) {
    checkStreams("stream()", network);
    ({ recording: this.recording, block: this.block } = network.separateRecording(new Request("stream", 1, batch)));
    const { input, output, states } = this.recording;
    const { features } = network.output;
    this.door = new FrameDoor("stream.step()", network, batch, input.stride, allowNonFinite, tokens);
    this.states = states.map(({ final, units, stride }) => ({ address: final, units, stride }));
    this.output = new Window(network.engine.arena, output.address, batch * features);
    this.result = new Float32Array(batch * features);
    this.dense = batch === 1 || output.stride === features;
  }

  /**
   * The next time step.
   *
   * @param frame [features], or [batch, features] flat; tokens for models that read tokens
   * @returns the output [units], or [batch, units] flat: the stream's own array, overwritten by the next step
   * @throws ShapeError  for a frame of another length
   * @throws OptionError for numbers that are not finite, or unknown tokens; the state stays as it was
   */
  step(frame: ArrayLike<number>): Float32Array {
    const { network, recording, result } = this;
    this.checkOpen("stream.step()");
    this.door.write(frame, recording.input.address);
    network.pack(false);
    recording.program.run();
    if (this.dense) result.set(this.output.f32);
    else {
      const { address, stride } = recording.output;
      gather(result, 0, network.engine.arena.f32, address >>> 2, this.batch, 1, network.output.features, stride);
    }
    return result;
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

export interface StreamOptions {
  /** Sequences that step together. Default 1. */
  batch?: number;
  /** Let NaN and infinity through. Default false. */
  allowNonFinite?: boolean;
}

export function openStream(network: Network, options: StreamOptions, tokens: number | undefined): Stream {
  checkOptions("stream()", options, ["batch", "allowNonFinite"]);
  return new Stream(
    network,
    integer("stream()", "batch", options.batch ?? 1, 1),
    flag("stream()", "allowNonFinite", options.allowNonFinite ?? false),
    tokens,
  );
}
