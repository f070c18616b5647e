import { bytesFor, readTree } from "./btree.ts";
import type { Cursor, File } from "./cursor.ts";

/** Kinds of B-tree records. */
const HUGE = 1;

/** Levels of blocks. */
const DEEPEST = 32;

/** Where an object lies, and how long it is. */
export interface Place {
  readonly position: number;
  readonly size: number;
}

/**
 * A fractal heap: objects without an order, by identifiers. Small ones stand
 * in the identifier, most in blocks of a table whose rows double, large ones
 * by themselves.
 *
 * @returns where the object of the identifier at a cursor lies
 */
export function openHeap(file: File, address: number): (id: Cursor) => Place {
  const header = file.at(address).signature("FRHP").skip(1);
  const idSize = header.u16();
  if (header.u16() !== 0) throw file.error("the HDF5 file packs its own structure, which no model needs");
  const checked = (header.u8() & 2) !== 0;
  const largest = header.u32();
  const huge = header.skip(file.lengthSize).address();
  header.skip(9 * file.lengthSize + file.offsetSize);
  const width = header.u16();
  const start = header.length();
  const largestDirect = header.length();
  const offsetBytes = (header.u16() + 7) >> 3;
  const root = header.skip(2).address();
  const rows = header.u16();
  const lengthBytes = Math.min((Math.ceil(Math.log2(largestDirect)) + 7) >> 3, bytesFor(largest));
  if (!(start >= 1 && width >= 1 && width <= 1024 && largestDirect >= start && offsetBytes <= 8))
    throw file.error("a heap of the HDF5 file is damaged");
  const directRows = Math.log2(largestDirect / start) + 2;
  const prefix = 4 + 1 + file.offsetSize + offsetBytes;

  /** The position of an offset of the heap, in a block that begins at another. */
  const locate = (block: number, begin: number, rowsHere: number, offset: number, depth: number): number => {
    if (depth > DEEPEST) throw file.error("a heap of the HDF5 file is nested too deep");
    if (rowsHere === 0) {
      const direct = file.at(block).signature("FHDB");
      if (offset - begin < prefix + (checked ? 4 : 0)) throw file.error("an object overlaps its heap in the HDF5 file");
      return direct.position - 4 + offset - begin;
    }
    const children = file
      .at(block)
      .signature("FHIB")
      .skip(prefix - 4);
    let at = begin;
    for (let row = 0; row < rowsHere; row++) {
      const size = start * 2 ** Math.max(0, row - 1);
      const column = Math.floor((offset - at) / size);
      if (column < width) {
        const child = children.skip(column * file.offsetSize).place("part of a heap");
        const rowsBelow = row < directRows ? 0 : Math.log2(size / (start * width)) + 1;
        return locate(child, at + column * size, rowsBelow, offset, depth + 1);
      }
      children.skip(width * file.offsetSize);
      at += width * size;
    }
    throw file.error("an object lies outside its heap in the HDF5 file");
  };

  return (id) => {
    const flags = id.u8();
    const kind = (flags >> 4) & 3;
    if (kind === 2) return { position: id.position, size: (flags & 15) + 1 };
    if (kind === 1) return findHuge(file, huge, id.uint(Math.min(file.lengthSize, idSize - 1)));
    if (kind !== 0 || root === undefined) throw file.error("an object of a heap is missing in the HDF5 file");
    const offset = id.uint(offsetBytes);
    const size = id.uint(lengthBytes);
    return { position: locate(root, 0, rows, offset, 0), size };
  };
}

function findHuge(file: File, tree: number | undefined, key: number): Place {
  let found: Place | undefined;
  if (tree !== undefined)
    readTree(file, tree, HUGE, (at) => {
      const [address, size] = [at.place("object"), at.length()];
      if (at.length() === key) found = { position: file.base + address, size };
    });
  if (!found) throw file.error("an object of a heap is missing in the HDF5 file");
  return found;
}
