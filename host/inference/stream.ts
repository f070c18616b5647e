import { readRows, writeRows } from "../batches/copy.ts";
import type { Block } from "../core/arena.ts";
import { OptionError, ShapeError, StateError } from "../core/errors.ts";
import { checkOptions, flag, integer, shown } from "../core/options.ts";
import type { Network } from "../stacks/network.ts";
import { type Recording, Request } from "../stacks/recording.ts";

/**
 * A model run one time step at a time: the hidden states stay in the arena
 * from step to step. A step allocates nothing.
 */
export class Stream {
  private readonly recording: Recording;
  private readonly block: Block;
  private readonly width: number;
  private readonly result: Float32Array;
  private readonly finite: number;
  private closed = false;

  /** Use `model.stream()`. */
  constructor(
    private readonly network: Network,
    private readonly batch: number,
    private readonly allowNonFinite: boolean,
    private readonly tokens: number | undefined,
  ) {
    const blocked = network.nodes.find((node) => node.built.unstreamable);
    if (blocked) throw new StateError(`layer "${blocked.name}" cannot stream: ${blocked.built.unstreamable}`);
    if (!network.inputs[0].sequence) throw new StateError("stream(): the model's input has no time axis");
    ({ recording: this.recording, block: this.block } = network.separateRecording(new Request("stream", 1, batch)));
    this.width = network.inputs[0].features;
    this.result = new Float32Array(batch * network.output.features);
    this.finite = batch * this.recording.input.stride;
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
    const { network, recording, width, batch, result } = this;
    const { arena, core } = network.engine;
    this.checkOpen("step()");
    if (typeof frame !== "object" || frame === null || frame.length !== batch * width) this.refuse(frame);
    const { address, stride, port } = recording.input;
    const at = address >> 2;
    if (port.type === "tokens") {
      const { i32 } = arena;
      for (let b = 0; b < batch; b++) {
        const token = frame[b];
        if (!(Number.isInteger(token) && token >= 0 && token < this.tokens!))
          throw new OptionError(`stream.step(): token ${shown(token)}; expected 0 to ${this.tokens! - 1}`);
        i32[at + b] = token;
      }
    } else {
      const { f32 } = arena;
      if (batch === 1 && frame instanceof Float32Array) f32.set(frame, at);
      else
        for (let b = 0, i = 0; b < batch; b++)
          for (let j = 0; j < width; j++) {
            const v = frame[i++];
            if (typeof v !== "number")
              throw new OptionError(`stream.step(): the frame has ${shown(v)} at position ${i - 1}; expected numbers`);
            f32[at + b * stride + j] = v;
          }
      if (!this.allowNonFinite) {
        const bad = core.allFinite(address, this.finite);
        if (bad >= 0)
          throw new OptionError(
            `stream.step(): the frame has ${f32[at + bad]} at position ${bad}; expected finite numbers`,
          );
      }
    }
    network.pack(false);
    recording.program.run();
    const { f32 } = arena;
    const { address: out, stride: outStride, port: outPort } = recording.output;
    const n = outPort.features;
    for (let b = 0, i = 0; b < batch; b++) {
      const row = (out >> 2) + b * outStride;
      for (let j = 0; j < n; j++) result[i++] = f32[row + j];
    }
    return result;
  }

  private checkOpen(what: string): void {
    if (this.closed) throw new StateError(`stream.${what}: the stream is closed`);
    this.network.checkAlive();
  }

  private refuse(frame: ArrayLike<number>): never {
    const { batch, width } = this;
    throw new ShapeError(
      `stream.step(): expected ${batch === 1 ? `[${width}]` : `[${batch}, ${width}] flat, ${batch * width} numbers`}, got ${frame?.length === undefined ? shown(frame) : `[${frame.length}]`}`,
    );
  }

  /** Back to zero hidden states. */
  reset(): void {
    this.checkOpen("reset()");
    const { arena } = this.network.engine;
    for (const { final, stride } of this.recording.states)
      arena.f32.fill(0, final >> 2, (final >> 2) + this.batch * stride);
  }

  /** All hidden states, layer after layer, [batch, units] each: a copy to store, and to set again. */
  get state(): Float32Array {
    this.checkOpen("state");
    const parts = this.recording.states.map(({ final, units, stride }) =>
      readRows(this.network.engine.arena, final, this.batch, units, stride),
    );
    const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  set state(values: Float32Array) {
    this.checkOpen("state");
    const sizes = this.recording.states.map(({ units }) => units * this.batch);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (!(values instanceof Float32Array) || values.length !== total)
      throw new ShapeError(
        `stream.state: expected a Float32Array of ${total} numbers, got ${values instanceof Float32Array ? values.length : shown(values)}`,
      );
    for (const v of values) if (v - v !== 0) throw new OptionError(`stream.state: has ${v}; expected finite numbers`);
    let at = 0;
    this.recording.states.forEach(({ final, units, stride }, i) => {
      writeRows(this.network.engine.arena, final, values.subarray(at, at + sizes[i]), this.batch, units, stride);
      at += sizes[i];
    });
  }

  /** Gives the stream's memory back. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.network.release(this.block);
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
