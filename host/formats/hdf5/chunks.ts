import { count } from "../../core/tensor.ts";
import { readTree } from "./btree.ts";
import type { Cursor, File } from "./cursor.ts";

/** A part of a dataset: where it is kept, and where it belongs. */
export interface Chunk {
  readonly address: number;
  /** Bytes as they are kept. */
  readonly packed: number;
  /** Filters that were left out, a bit each. */
  readonly mask: number;
  /** Its first element. */
  readonly offset: readonly number[];
}

/** How the chunks of a dataset are found. */
export type ChunkIndex =
  | { readonly kind: "tree" | "fixed" | "tree 2"; readonly address: number | undefined }
  | { readonly kind: "single"; readonly address: number | undefined; readonly packed?: number; readonly mask?: number }
  | { readonly kind: "implicit"; readonly address: number | undefined };

/** Kinds of B-tree records: chunks that are kept as they are, and those that are packed. */
const PLAIN = 10;
const PACKED = 11;

/** The index in a layout message of version 4. @param flags of the message */
export function readIndex(cursor: Cursor, flags: number): ChunkIndex {
  const { file } = cursor;
  const kind = cursor.u8();
  switch (kind) {
    case 1: {
      const packed = flags & 2 ? cursor.length() : undefined;
      const mask = flags & 2 ? cursor.u32() : undefined;
      return { kind: "single", packed, mask, address: cursor.address() };
    }
    case 2:
      return { kind: "implicit", address: cursor.address() };
    case 3:
      return { kind: "fixed", address: cursor.skip(1).address() };
    case 5:
      return { kind: "tree 2", address: cursor.skip(6).address() };
  }
  throw file.error(
    kind === 4
      ? "the data is kept so that it may grow; weights do not, write it without maxshape"
      : `an index of chunks of kind ${kind}`,
  );
}

/** Calls `found` with every chunk that is there. @param bytes of a chunk that is not packed */
export async function eachChunk(
  file: File,
  index: ChunkIndex,
  shape: readonly number[],
  chunk: readonly number[],
  bytes: number,
  filtered: boolean,
  found: (chunk: Chunk) => Promise<void>,
): Promise<void> {
  const { address } = index;
  if (address === undefined) return;
  if (index.kind === "tree") return eachInTree(file, address, shape.length, found);
  const grid = shape.map((n, axis) => Math.ceil(n / chunk[axis]));
  /** The n-th of all chunks. */
  const nth = (n: number) => {
    const offset: number[] = [];
    for (let axis = shape.length - 1, rest = n; axis >= 0; axis--) {
      offset[axis] = (rest % grid[axis]) * chunk[axis];
      rest = Math.floor(rest / grid[axis]);
    }
    return offset;
  };
  if (index.kind === "single")
    return found({ address, packed: index.packed ?? bytes, mask: index.mask ?? 0, offset: shape.map(() => 0) });
  if (index.kind === "implicit") {
    for (let n = 0; n < count(grid); n++) {
      file.visit();
      await found({ address: address + n * bytes, packed: bytes, mask: 0, offset: nth(n) });
    }
    return;
  }
  const chunks: Chunk[] = [];
  if (index.kind === "tree 2")
    readTree(file, address, filtered ? PACKED : PLAIN, (at, size) => {
      const place = at.place("chunk");
      const packed = filtered ? at.uint(sizeBytes(file, size - file.offsetSize - 4 - 8 * shape.length)) : bytes;
      const mask = filtered ? at.u32() : 0;
      chunks.push({ address: place, packed, mask, offset: chunk.map((n) => n * at.uint(8)) });
    });
  else fixedArray(file, address, count(grid), bytes, (n, one) => chunks.push({ ...one, offset: nth(n) }));
  for (const one of chunks) await found(one);
}

function sizeBytes(file: File, bytes: number): number {
  if (!(bytes >= 1 && bytes <= 8)) throw file.error("the index of a dataset's chunks is damaged");
  return bytes;
}

/** The index of older files. */
async function eachInTree(
  file: File,
  root: number,
  rank: number,
  found: (chunk: Chunk) => Promise<void>,
): Promise<void> {
  const visit = async (address: number, depth: number): Promise<void> => {
    const node = file.at(address).signature("TREE");
    const type = node.u8();
    const level = node.u8();
    const entries = node.u16();
    if (type !== 1 || (depth >= 0 && level !== depth)) throw file.error("the index of a dataset's chunks is damaged");
    node.skip(2 * file.offsetSize);
    for (let i = 0; i < entries; i++) {
      const packed = node.u32();
      const mask = node.u32();
      const offset = Array.from({ length: rank }, () => node.uint(8));
      const child = node.skip(8).place("chunk");
      if (level > 0) await visit(child, level - 1);
      else await found({ address: child, packed, mask, offset });
    }
  };
  await visit(root, -1);
}

/** An array of as many chunks as there are, in pages where they are many. */
function fixedArray(
  file: File,
  address: number,
  expected: number,
  bytes: number,
  found: (n: number, chunk: Omit<Chunk, "offset">) => void,
): void {
  const header = file.at(address).signature("FAHD").skip(1);
  const packed = header.u8() === 1;
  const size = header.u8();
  const page = 2 ** header.u8();
  const entries = header.length();
  const data = header.address();
  if (entries !== expected) throw file.error(`${entries} chunks; expected ${expected}`);
  if (data === undefined) return;
  const block = file
    .at(data)
    .signature("FADB")
    .skip(2 + file.offsetSize);
  const pages = entries > page ? Math.ceil(entries / page) : 0;
  const written = pages > 0 ? block.raw(Math.ceil(pages / 8)) : undefined;
  if (pages > 0) block.skip(4);
  for (let n = 0; n < entries; n++) {
    file.visit();
    // Pages in which nothing was written hold nothing; each ends in a checksum.
    const at = Math.floor(n / page);
    if (pages > 0 && n > 0 && n % page === 0) block.skip(4);
    if (written && !(written[at >> 3] & (0x80 >> (at & 7)))) {
      block.skip(size);
      continue;
    }
    const place = block.address();
    const length = packed ? block.uint(sizeBytes(file, size - file.offsetSize - 4)) : bytes;
    const mask = packed ? block.u32() : 0;
    if (place !== undefined) found(n, { address: place, packed: length, mask });
  }
}
