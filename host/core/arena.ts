import { StateError } from "./errors.ts";

/** A piece of linear memory, in bytes. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
}

/** A view of one place, for those who look at it at every step: made again when the memory has grown. */
export class Window {
  private memory?: Float32Array;
  private view!: Float32Array;

  constructor(
    private readonly arena: Arena,
    private readonly address: number,
    private readonly count: number,
  ) {}

  get f32(): Float32Array {
    const { f32 } = this.arena;
    if (this.memory !== f32) {
      this.memory = f32;
      this.view = f32.subarray(this.address >>> 2, (this.address >>> 2) + this.count);
    }
    return this.view;
  }
}

const PAGE = 65536;
/** Blocks start on a cache line. */
const LINE = 64;

/**
 * The linear memory of one engine: blocks are taken and given back, views
 * exist only here. Growing the memory detaches views, so nobody keeps one
 * across a call that may take a block.
 */
export class Arena {
  f32!: Float32Array;
  i32!: Int32Array;
  f64!: Float64Array;
  u8!: Uint8Array;
  /** Free pieces by address; neighbours are always merged. */
  private free: { address: number; bytes: number }[] = [];
  private end: number;
  /** Bytes in blocks that are taken now. */
  taken = 0;

  constructor(
    readonly memory: WebAssembly.Memory,
    start: number,
    readonly maximumBytes: number,
  ) {
    this.end = Math.ceil(start / LINE) * LINE;
    this.refresh();
  }

  private refresh(): void {
    const { buffer } = this.memory;
    this.f32 = new Float32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }

  /**
   * A zeroed block.
   *
   * @throws StateError when the memory would pass its maximum
   */
  take(bytes: number): Block {
    const size = Math.max(LINE, Math.ceil(bytes / LINE) * LINE);
    let block: Block | undefined;
    // Best fit: the smallest hole that holds it, so that large holes stay large.
    let best = -1;
    for (let i = 0; i < this.free.length; i++)
      if (this.free[i].bytes >= size && (best < 0 || this.free[i].bytes < this.free[best].bytes)) best = i;
    if (best >= 0) {
      const hole = this.free[best];
      block = { address: hole.address, bytes: size };
      if (hole.bytes === size) this.free.splice(best, 1);
      else this.free[best] = { address: hole.address + size, bytes: hole.bytes - size };
    } else {
      const last = this.free.at(-1);
      const address = last && last.address + last.bytes === this.end ? last.address : this.end;
      this.grow(address + size);
      if (address !== this.end) this.free.pop();
      this.end = address + size;
      block = { address, bytes: size };
    }
    this.taken += size;
    this.u8.fill(0, block.address, block.address + size);
    return block;
  }

  private grow(end: number): void {
    const have = this.memory.buffer.byteLength;
    if (end <= have) return;
    const refuse = (): never => {
      throw new StateError(
        `out of memory: ${Math.ceil(end / 2 ** 20)} MiB needed, ${Math.floor(this.maximumBytes / 2 ** 20)} MiB allowed; ` +
          "dispose of models, use smaller batches, or configure({ maximumMemory })",
      );
    };
    if (end > this.maximumBytes) refuse();
    // A quarter more than asked for, so that a series of small blocks does not grow it each time.
    const wanted = Math.min(this.maximumBytes, Math.max(end, Math.ceil(have * 1.25)));
    try {
      this.memory.grow(Math.ceil((wanted - have) / PAGE));
    } catch {
      try {
        this.memory.grow(Math.ceil((end - have) / PAGE));
      } catch {
        refuse();
      }
    }
    this.refresh();
  }

  /** Gives a block back. */
  give(block: Block): void {
    this.taken -= block.bytes;
    let i = this.free.findIndex((hole) => hole.address > block.address);
    if (i < 0) i = this.free.length;
    this.free.splice(i, 0, { address: block.address, bytes: block.bytes });
    const merge = (j: number) => {
      const a = this.free[j];
      const b = this.free[j + 1];
      if (a && b && a.address + a.bytes === b.address)
        this.free.splice(j, 2, { address: a.address, bytes: a.bytes + b.bytes });
    };
    merge(i);
    merge(i - 1);
  }
}
