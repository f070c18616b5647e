import type { Block } from "../core/arena.ts";
import { gather, scatter, writeRows } from "../core/rows.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Network } from "../stacks/network.ts";
import { type Recording, Request } from "../stacks/recording.ts";
import type { Decoder } from "./beam.ts";

/** What the encoder makes of sources: outputs and keys [sources, time, ...], the decoder's first state [sources, units]. */
export interface Encoded {
  readonly outputs: Tensor;
  readonly keys: Tensor;
  readonly state: Tensor;
  /** Steps that count of each source. */
  readonly lengths: readonly number[];
}

/**
 * The decoder one token at a time, several rows for each source. What was
 * encoded lies in the arena once for all steps, the states stay there from
 * step to step; a step runs one program.
 */
export class StepDecoder implements Decoder {
  readonly tokens: number;
  private readonly recording: Recording;
  private readonly block: Block;
  /** Room for a permutation of the rows: states and indices. */
  private readonly room: Block;
  private readonly probabilities: Float32Array;

  /** @param width rows for each source */
  constructor(
    private readonly network: Network,
    { outputs, keys, state, lengths }: Encoded,
    width: number,
  ) {
    const { arena } = network.engine;
    const [sources, steps] = outputs.shape;
    const B = sources * width;
    const request = new Request("stream", [1, steps, steps], B, { masks: [undefined, "lengths", undefined] });
    ({ recording: this.recording, block: this.block } = network.separateRecording(request));
    const place = this.place;
    this.room = network.lend(4 * B * (place.stride + 1));
    this.tokens = network.outputs[0].port.features;
    this.probabilities = new Float32Array(B * this.tokens);

    const rows = Int32Array.from({ length: B }, (_, row) => Math.floor(row / width));
    const [, first, second] = this.recording.inputs;
    for (const [{ value }, { data }] of [[first, outputs], [second, keys]] as const)
      scatter(arena.f32, value.address >>> 2, data, rows, steps, value.port.features, value.stride); // biome-ignore format: one line
    const mask = first.value.mask!.address >>> 2;
    for (let t = 0; t < steps; t++)
      for (let row = 0; row < B; row++) arena.i32[mask + t * B + row] = t < lengths[rows[row]] ? 1 : 0;
    const states = new Float32Array(B * place.units);
    rows.forEach((source, row) => {
      states.set(state.data.subarray(source * place.units, (source + 1) * place.units), row * place.units);
    });
    writeRows(arena, place.final, states, B, place.units, place.stride);
  }

  private get place() {
    return this.recording.states[0];
  }

  step(last: Int32Array): Float32Array {
    const { network, recording, tokens } = this;
    const { arena } = network.engine;
    arena.i32.set(last, recording.inputs[0].value.address >>> 2);
    network.pack(false);
    recording.program.run();
    const { address, stride } = recording.outputs[0].value;
    gather(this.probabilities, 0, arena.f32, address >>> 2, last.length, 1, tokens, stride);
    return this.probabilities;
  }

  reorder(from: Int32Array): void {
    if (from.every((source, row) => source === row)) return;
    const { core, arena } = this.network.engine;
    const { final, stride } = this.place;
    const index = this.room.address + 4 * from.length * stride;
    arena.i32.set(from, index >>> 2);
    core.gatherRows(this.room.address, final, index, from.length, stride);
    core.copyRows(final, this.room.address, 1, from.length * stride, 0, 0);
  }

  /** Gives the memory back. */
  close(): void {
    this.network.release(this.room);
    this.network.release(this.block);
  }
}
