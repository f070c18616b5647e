import type { Block } from "../core/arena.ts";
import { OptionError, StateError } from "../core/errors.ts";
import { checkOptions, flag, integer, shown } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Model } from "../stacks/model.ts";
import type { Network } from "../stacks/network.ts";
import { Request } from "../stacks/recording.ts";
import { checkStreams, type Frames, FramesDoor, type StepOutput, stepOutput } from "./frame.ts";
import { clearStates, readStates, type StateRows, writeStates } from "./hidden-state.ts";

/**
 * Rows of the largest batch. On one thread 8 are as fast a row as 512 (I = H = 128, Node 20); threads
 * want jobs that last longer than waking up.
 */
const LARGEST = 128;

/** What a slot holds. */
const FREE = 0;
const OPEN = 1;
const WAITING = 2;

/**
 * Many streams of one model that step together.
 *
 * `push` gives a stream its next frame, `flush` runs the frames of all
 * streams that wait, one each, as batches. Outputs are those of single
 * streams, to the bit in the plain binary. Pushing and flushing allocate
 * nothing, once every batch size has been seen.
 *
 * Every stream has a slot, a row in tables of frames and of hidden states.
 * A flush cuts the waiting slots into batches of powers of two, so that few
 * recordings serve any number of them without idle rows; each gathers its
 * rows from the tables, runs in the memory that `predict` uses, and scatters
 * the states back.
 */
export class StreamPool<Outputs = Tensor> {
  private readonly network: Network;
  private readonly block: Block;
  private readonly door: FramesDoor;
  /** For batches of 1, 2, 4... rows. */
  private readonly requests: readonly Request[];
  /** Addresses of [capacity, stride], one an input. */
  private readonly frames: readonly number[];
  /** One a recurrent layer, [capacity, stride]. */
  private readonly tables: readonly StateRows[];
  /** Address of i32 [capacity]: slots that wait, in the order of their pushes. */
  private readonly queue: number;
  private queued = 0;
  /** FREE, OPEN or WAITING, by slot. */
  private readonly status: Uint8Array;
  /**
   * The id of the slot's stream, or of its next one: slot + capacity x the
   * streams that it held before. So an id never comes again, and a closed one
   * cannot reach the stream that came after it.
   */
  private readonly ids: Float64Array;
  private readonly free: number[];
  /** For every output: rows in the order of the pushes, as the arena has them. */
  private readonly results: readonly Float32Array[];
  /** Views of them, as the model gives its outputs. */
  private readonly rows: readonly StepOutput<Outputs>[];
  private readonly outputs = new Map<number, StepOutput<Outputs>>();
  private disposed = false;

  /** Use `model.streamPool()`. */
  constructor(
    model: Model<Outputs>,
    /** Streams that can be open at a time. */
    readonly capacity: number,
    allowNonFinite: boolean,
  ) {
    const network = model.network;
    this.network = network;
    checkStreams("streamPool()", network);
    const sizes = Math.floor(Math.log2(Math.min(capacity, LARGEST))) + 1;
    const steps = network.inputs.map(() => 1);
    this.requests = Array.from({ length: sizes }, (_, i) => new Request("stream", steps, 2 ** i));
    // The largest first: memory that is missing is missed here, not in a flush.
    const { inputs, outputs, states } = network.recording(this.requests[sizes - 1]);
    const strides = inputs.map(({ value }) => value.stride);
    const rowElements = [...strides, ...states.map(({ stride }) => stride)].reduce((sum, stride) => sum + stride, 1);
    this.block = network.lend(4 * capacity * rowElements);
    let next = this.block.address;
    const table = (stride: number) => {
      const address = next;
      next += 4 * capacity * stride;
      return address;
    };
    this.tables = states.map(({ units, stride }) => ({ address: table(stride), units, stride }));
    this.frames = strides.map(table);
    this.queue = table(1);
    this.door = new FramesDoor("streamPool.push()", network, 1, strides, allowNonFinite);
    this.status = new Uint8Array(capacity);
    this.ids = Float64Array.from({ length: capacity }, (_, slot) => slot);
    // From the end, so that ids begin at 0.
    this.free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.results = outputs.map(({ value }) => new Float32Array(capacity * value.stride));
    this.rows = Array.from({ length: capacity }, (_, i) =>
      stepOutput(
        model,
        outputs.map(({ value: { stride, port } }, o) =>
          this.results[o].subarray(i * stride, i * stride + port.features),
        ),
      ),
    );
  }

  /** Streams that are open. */
  get size(): number {
    return this.capacity - this.free.length;
  }

  /** Frames that wait for a flush. */
  get waiting(): number {
    return this.queued;
  }

  /**
   * A new stream, its hidden states zero.
   *
   * @returns its id, a number that no other stream of this pool has or will have
   * @throws StateError when as many are open as the capacity allows
   */
  open(): number {
    this.checkAlive("streamPool.open()");
    const slot = this.free.pop();
    if (slot === undefined)
      throw new StateError(`streamPool.open(): all ${this.capacity} streams are open; close one, or raise "capacity"`);
    this.status[slot] = OPEN;
    this.clear(slot);
    return this.ids[slot];
  }

  /**
   * The next frame of a stream: it waits for `flush`. One at a time; `isWaiting` tells.
   *
   * @param frame [features]; a token for models that read tokens; for several inputs a list in their order, or a record
   *              by name
   * @throws StateError  when the stream is closed, or has a frame that waits
   * @throws ShapeError  for a frame of another length
   * @throws OptionError for unknown ids, numbers that are not finite, unknown tokens; nothing has changed then
   */
  push(id: number, frame: Frames): void {
    const slot = this.slot("streamPool.push()", id);
    if (this.status[slot] === WAITING)
      throw new StateError(`streamPool.push(): stream ${id} has a frame that waits; flush() first`);
    this.door.write(frame, this.frames, slot);
    this.status[slot] = WAITING;
    this.network.engine.arena.i32[(this.queue >>> 2) + this.queued++] = slot;
  }

  /** Whether a stream has a frame that waits for a flush. */
  isWaiting(id: number): boolean {
    return this.status[this.slot("streamPool.isWaiting()", id)] === WAITING;
  }

  /**
   * Steps every stream that has a frame.
   *
   * @returns the outputs [units] by id, in the order of the pushes: the pool's own map and arrays, overwritten by the
   *          next flush
   */
  flush(): ReadonlyMap<number, StepOutput<Outputs>> {
    this.checkAlive("streamPool.flush()");
    const { network, outputs, queued, queue, status, ids, rows } = this;
    outputs.clear();
    network.pack(false);
    for (let from = 0; from < queued; ) {
      const size = Math.min(31 - Math.clz32(queued - from), this.requests.length - 1);
      this.run(from, size);
      from += 1 << size;
    }
    const { i32 } = network.engine.arena;
    for (let i = 0; i < queued; i++) {
      const slot = i32[(queue >>> 2) + i];
      status[slot] = OPEN;
      outputs.set(ids[slot], rows[i]);
    }
    this.queued = 0;
    return outputs;
  }

  /** Steps the 2^size slots from position `from` of the queue. */
  private run(from: number, size: number): void {
    const { network, tables, results } = this;
    const { core, arena } = network.engine;
    const { request, program, inputs, outputs, states } = network.recording(this.requests[size]);
    const { B } = request;
    const index = this.queue + 4 * from;
    for (let i = 0; i < inputs.length; i++) {
      const { address, stride } = inputs[i].value;
      core.gatherRows(address, this.frames[i], index, B, stride);
    }
    for (let i = 0; i < tables.length; i++)
      core.gatherRows(states[i].initial, tables[i].address, index, B, tables[i].stride);
    program.run();
    for (let i = 0; i < tables.length; i++)
      core.scatterRows(tables[i].address, states[i].final, index, B, tables[i].stride);
    for (let i = 0; i < outputs.length; i++) {
      const { address, stride } = outputs[i].value;
      results[i].set(arena.f32.subarray(address >>> 2, (address >>> 2) + B * stride), from * stride);
    }
  }

  /** Back to zero hidden states; a frame that waits is dropped. */
  reset(id: number): void {
    const slot = this.slot("streamPool.reset()", id);
    this.drop(slot);
    this.clear(slot);
  }

  /** A stream's hidden states as `stream.state` has them, after the last flush: a copy to store, and to set again. */
  state(id: number): Float32Array {
    const slot = this.slot("streamPool.state()", id);
    return readStates(this.network.engine.arena, this.places(slot), 1);
  }

  /**
   * Sets a stream's hidden states, those of this pool, another one, or a `stream`; a frame that waits is dropped.
   *
   * @throws ShapeError, OptionError for values that do not fit; nothing has changed then
   */
  setState(id: number, values: Float32Array): void {
    const slot = this.slot("streamPool.setState()", id);
    writeStates("streamPool.setState()", this.network.engine.arena, this.places(slot), 1, values);
    this.drop(slot);
  }

  /** Ends a stream; a frame that waits is dropped. The place is free for another. */
  close(id: number): void {
    const slot = this.slot("streamPool.close()", id);
    this.drop(slot);
    this.status[slot] = FREE;
    this.ids[slot] += this.capacity;
    this.free.push(slot);
  }

  /** Closes all streams and gives the pool's memory back. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.network.release(this.block);
  }

  private checkAlive(where: string): void {
    if (this.disposed) throw new StateError(`${where}: the pool has been disposed of`);
    this.network.checkAlive();
  }

  /** The slot of an open stream. */
  private slot(where: string, id: number): number {
    this.checkAlive(where);
    const slot = id % this.capacity;
    // Not `!== FREE`: undefined, as an id, would find an undefined id with an undefined status.
    if (this.ids[slot] === id && this.status[slot] > FREE) return slot;
    if (id >= 0 && id < this.ids[slot]) throw new StateError(`${where}: stream ${id} is closed`);
    throw new OptionError(`${where}: unknown id ${shown(id)}; ids come from open()`);
  }

  private places(slot: number): StateRows[] {
    return this.tables.map(({ address, units, stride }) => ({ address: address + 4 * slot * stride, units, stride }));
  }

  private clear(slot: number): void {
    clearStates(this.network.engine.arena, this.places(slot), 1);
  }

  /** Takes a slot out of the queue. */
  private drop(slot: number): void {
    if (this.status[slot] !== WAITING) return;
    const { i32 } = this.network.engine.arena;
    const first = this.queue >>> 2;
    const at = i32.indexOf(slot, first);
    i32.copyWithin(at, at + 1, first + this.queued--);
    this.status[slot] = OPEN;
  }
}

export interface StreamPoolOptions {
  /** Streams that can be open at a time. */
  capacity: number;
  /** Let NaN and infinity through. Default false. */
  allowNonFinite?: boolean;
}

export function openStreamPool<Outputs>(model: Model<Outputs>, options: StreamPoolOptions): StreamPool<Outputs> {
  checkOptions("streamPool()", options, ["capacity", "allowNonFinite"]);
  return new StreamPool(
    model,
    integer("streamPool()", "capacity", options?.capacity, 1),
    flag("streamPool()", "allowNonFinite", options?.allowNonFinite ?? false),
  );
}
