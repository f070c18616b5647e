import type { Tensor } from "../../core/tensor.ts";

/**
 * HDF5 files as old as the format: version 0, symbol tables, contiguous data,
 * which every reader since 1998 takes. Numbers are f32; attributes are texts,
 * and texts too long for a header lie in a heap.
 *
 * Source: HDF5 File Format Specification, version 3.0: II.A (superblock), III
 * (B-trees, symbol tables, heaps), IV.A (object headers and messages).
 */

/** What goes into a file: groups, and tensors at the ends. */
export interface TreeNode {
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>;
  readonly members?: Readonly<Record<string, TreeNode | Tensor>>;
}

const UNDEFINED = 0xffffffff_ffffffffn;
/** Entries of a leaf are at most twice this, children of a node twice the other. */
const LEAF = 4;
const INTERNAL = 16;
/** A message has 64 KiB at most, its own fields included. */
const LONGEST = 60_000;

/** Bytes in the making: little-endian, padded to 8 where blocks begin. */
class Bytes {
  private data = new Uint8Array(4096);
  private view = new DataView(this.data.buffer);
  length = 0;

  private room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.data.length) {
      const larger = new Uint8Array(Math.max(2 * this.data.length, this.length));
      larger.set(this.data.subarray(0, at));
      this.data = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  /** Little-endian numbers of a width. */
  private put(bytes: number, values: readonly (number | bigint)[]): this {
    for (const value of values) {
      // The place first: making room may change the view.
      const at = this.room(bytes);
      for (let i = 0, rest = BigInt(value); i < bytes; i++, rest >>= 8n)
        this.view.setUint8(at + i, Number(rest & 255n));
    }
    return this;
  }
  u8(...values: number[]): this {
    return this.put(1, values);
  }
  u16(...values: number[]): this {
    return this.put(2, values);
  }
  u32(...values: number[]): this {
    return this.put(4, values);
  }
  u64(...values: (number | bigint)[]): this {
    return this.put(8, values);
  }
  raw(bytes: Uint8Array): this {
    const at = this.room(bytes.length);
    this.data.set(bytes, at);
    return this;
  }
  ascii(text: string): this {
    return this.raw(new TextEncoder().encode(text));
  }
  /** Zeros up to a length. */
  fill(length: number): this {
    this.room(Math.max(0, length - this.length));
    return this;
  }
  align(): this {
    return this.fill(Math.ceil(this.length / 8) * 8);
  }
  setU64(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt(value), true);
  }
  take(): Uint8Array<ArrayBuffer> {
    return this.data.slice(0, this.length);
  }
}

/** The bytes of an HDF5 file. */
export function writeHdf5(root: TreeNode): Uint8Array<ArrayBuffer> {
  const out = new Bytes();
  out.raw(new Uint8Array([0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]));
  out.u8(0, 0, 0, 0, 0, 8, 8, 0).u16(LEAF, INTERNAL).u32(0);
  const end = out.length + 16;
  out.u64(0, UNDEFINED, 0, UNDEFINED); // base, free space, end of file, driver
  const entry = out.length;
  out.u64(0, 0).u32(0, 0).u64(0, 0); // the root's symbol: address to come
  out.setU64(entry + 8, writeGroup(out, root));
  out.setU64(end, out.length);
  return out.take();
}

interface Message {
  readonly type: number;
  readonly body: Bytes;
}

function writeObject(out: Bytes, messages: readonly Message[]): number {
  const bodies = messages.map(({ type, body }) => ({ type, bytes: body.align().take() }));
  const address = out.align().length;
  const size = bodies.reduce((sum, { bytes }) => sum + 8 + bytes.length, 0);
  out.u8(1, 0).u16(messages.length).u32(1, size, 0);
  for (const { type, bytes } of bodies) out.u16(type, bytes.length).u8(0, 0, 0, 0).raw(bytes);
  return address;
}

function writeGroup(out: Bytes, { members = {}, attributes = {} }: TreeNode): number {
  const names = Object.keys(members).sort();
  const addresses = names.map((name) => {
    const member = members[name];
    return "data" in member ? writeDataset(out, member) : writeGroup(out, member as TreeNode);
  });
  const heap = new Bytes().u64(0); // the empty name is the first
  const offsets = names.map((name) => {
    const at = heap.length;
    heap.ascii(name).u8(0).align();
    return at;
  });
  const heapAddress = writeLocalHeap(out, heap);
  const tree = writeGroupTree(out, offsets, addresses);
  const table: Message = { type: 0x11, body: new Bytes().u64(tree, heapAddress) };
  return writeObject(out, [table, ...Object.entries(attributes).map(([name, value]) => attribute(out, name, value))]);
}

function writeLocalHeap(out: Bytes, names: Bytes): number {
  // The library wants a free block at the end: 16 bytes that say they are the last.
  const free = names.length;
  names.u64(1, 16);
  const address = out.align().length;
  out
    .ascii("HEAP")
    .u8(0, 0, 0, 0)
    .u64(names.length, free, address + 32)
    .raw(names.take());
  return address;
}

/** A B-tree over leaves of sorted names; keys are the last name to the left of each child. */
function writeGroupTree(out: Bytes, offsets: readonly number[], addresses: readonly number[]): number {
  let level: { address: number; last: number }[] = [];
  for (let i = 0; i < offsets.length; i += 2 * LEAF) {
    const here = offsets.slice(i, i + 2 * LEAF);
    const address = out.align().length;
    out.ascii("SNOD").u8(1, 0).u16(here.length);
    here.forEach(
      (offset, j) =>
        void out
          .u64(offset, addresses[i + j])
          .u32(0, 0)
          .u64(0, 0),
    );
    out.fill(address + 8 + 40 * 2 * LEAF);
    level.push({ address, last: here.at(-1)! });
  }
  for (let depth = 0; ; depth++) {
    const above: typeof level = [];
    let first = 0;
    for (let i = 0; i < Math.max(1, level.length); i += 2 * INTERNAL) {
      const here = level.slice(i, i + 2 * INTERNAL);
      const address = out.align().length;
      const nodeSize = 24 + 8 * (2 * (2 * INTERNAL) + 1);
      const [left, right] = [i > 0, i + 2 * INTERNAL < level.length];
      out.ascii("TREE").u8(0, depth).u16(here.length);
      out.u64(left ? address - nodeSize : UNDEFINED, right ? address + nodeSize : UNDEFINED, first);
      for (const child of here) out.u64(child.address, child.last);
      out.fill(address + nodeSize);
      first = here.at(-1)?.last ?? 0;
      above.push({ address, last: first });
    }
    if (above.length === 1) return above[0].address;
    level = above;
  }
}

const float32 = () => new Bytes().u8(0x11, 0x20, 0x1f, 0).u32(4).u16(0, 32).u8(23, 8, 0, 23).u32(127);
const dataspace = (shape: readonly number[]) =>
  new Bytes()
    .u8(1, shape.length, 0, 0)
    .u32(0)
    .u64(...shape);

function writeDataset(out: Bytes, { shape, data }: Tensor): number {
  const address = out.align().length;
  out.raw(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return writeObject(out, [
    { type: 0x01, body: dataspace(shape) },
    { type: 0x03, body: float32() },
    { type: 0x05, body: new Bytes().u8(2, 2, 0, 0) }, // fill value: none
    { type: 0x08, body: new Bytes().u8(3, 1).u64(data.length === 0 ? UNDEFINED : address, data.byteLength) },
  ]);
}

/** An attribute: a text, or texts of one width padded with zeros. */
function attribute(out: Bytes, name: string, value: string | readonly string[]): Message {
  const texts = (typeof value === "string" ? [value] : value).map((text) => new TextEncoder().encode(text));
  const width = Math.max(1, ...texts.map(({ length }) => length));
  const long = typeof value === "string" && width > LONGEST;
  const type = long
    ? new Bytes().u8(0x19, 0x01, 0x01, 0).u32(16).u8(0x13, 0, 0, 0).u32(1)
    : new Bytes().u8(0x13, 0x01, 0, 0).u32(width);
  const space = dataspace(typeof value === "string" ? [] : [texts.length]);
  const label = new TextEncoder().encode(`${name}\0`);
  const body = new Bytes().u8(1, 0).u16(label.length, type.length, space.length);
  body.raw(label).align().raw(type.take()).align().raw(space.take()).align();
  if (long) {
    body.u32(texts[0].length).u64(writeGlobalHeap(out, texts[0])).u32(1);
  } else for (const text of texts) body.raw(text).fill(body.length + width - text.length);
  return { type: 0x0c, body };
}

/** A heap of one object. */
function writeGlobalHeap(out: Bytes, data: Uint8Array): number {
  const address = out.align().length;
  const padded = Math.ceil(data.length / 8) * 8;
  const size = Math.max(4096, 16 + 16 + padded + 16);
  out.ascii("GCOL").u8(1, 0, 0, 0).u64(size);
  out.u16(1, 1).u32(0).u64(data.length).raw(data).align();
  // What is free, as object 0.
  const free = address + size - out.length;
  out
    .u16(0, 0)
    .u32(0)
    .u64(free)
    .fill(address + size);
  return address;
}
