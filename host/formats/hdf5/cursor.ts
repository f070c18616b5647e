import { FormatError } from "../../core/errors.ts";

/** Blocks, messages and chunks that may be looked at; what a cycle or an absurd count would exceed. */
const MOST_VISITS = 1_000_000;

/**
 * The bytes of an HDF5 file and what may still be done with them. Every read
 * is checked against the file's end; every block that is visited and every
 * byte that is handed out counts, so that no file costs more than its size
 * allows, whatever its addresses say.
 */
export class File {
  /** Bytes of an address and of a length. */
  offsetSize = 8;
  lengthSize = 8;
  /** Where addresses count from. */
  base = 0;
  private readonly view: DataView;
  private visits = MOST_VISITS;

  /**
   * @param room bytes that may be handed out in all
   * @param where named in errors
   */
  constructor(
    readonly bytes: Uint8Array,
    private room: number,
    readonly where: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  error(problem: string): FormatError {
    return new FormatError(`${this.where}: ${problem}`);
  }

  /** Counts a step through the file's structure. */
  visit(): void {
    if (this.visits-- <= 0) throw this.error("the HDF5 file has more parts than a model, or a cycle");
  }

  /** A cursor at an address. */
  at(address: number): Cursor {
    this.visit();
    return new Cursor(this, this.view, this.base + address);
  }

  /** Counts bytes that are about to be handed out. */
  take(bytes: number): void {
    this.room -= bytes;
    if (!(this.room >= 0)) throw this.error("the HDF5 file claims more data than a file of its size holds");
  }
}

/** Reads forward, little-endian. */
export class Cursor {
  constructor(
    readonly file: File,
    private readonly view: DataView,
    public position: number,
  ) {}

  private step(bytes: number): number {
    const from = this.position;
    if (!(from >= 0 && from + bytes <= this.file.bytes.length))
      throw this.file.error(`the HDF5 file ends before byte ${from + bytes}; it is cut off or damaged`);
    this.position = from + bytes;
    return from;
  }

  u8(): number {
    return this.view.getUint8(this.step(1));
  }
  u16(): number {
    return this.view.getUint16(this.step(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.step(4), true);
  }

  /** A whole number of 1 to 8 bytes; beyond 2^53 it is rounded, and beyond every file. */
  uint(bytes: number): number {
    let value = 0;
    const from = this.step(bytes);
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + this.view.getUint8(from + i);
    return value;
  }

  /** An address; undefined where all its bits are set. */
  address(): number | undefined {
    const { offsetSize } = this.file;
    const value = this.uint(offsetSize);
    return value >= 256 ** offsetSize - 1 ? undefined : value;
  }

  /** An address that must be there. */
  place(what: string): number {
    const address = this.address();
    if (address === undefined) throw this.file.error(`the HDF5 file has no ${what} where one must be`);
    return address;
  }

  length(): number {
    return this.uint(this.file.lengthSize);
  }

  skip(bytes: number): this {
    this.step(bytes);
    return this;
  }

  raw(bytes: number): Uint8Array {
    const from = this.step(bytes);
    return this.file.bytes.subarray(from, from + bytes);
  }

  /** Four letters that a block begins with. */
  signature(expected: string): this {
    const found = String.fromCharCode(...this.raw(4));
    if (found !== expected)
      throw this.file.error(`the HDF5 file is damaged: expected "${expected}" at byte ${this.position - 4}`);
    return this;
  }
}

/** Bytes as text, to the first zero. */
export function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  // A copy, as browsers do not decode shared memory.
  return new TextDecoder().decode(bytes.slice(0, end < 0 ? undefined : end));
}
