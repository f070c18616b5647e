import type { Cursor, File } from "./cursor.ts";

/** Levels of an index. */
const DEEPEST = 32;

/** Bytes that a number up to `most` takes. */
export function bytesFor(most: number): number {
  return Math.floor(Math.log2(Math.max(1, most)) / 8) + 1;
}

/**
 * The records of a B-tree of version 2, in order.
 *
 * @param type what its records must be
 * @param record called with a cursor at each, and the bytes it has
 */
export function readTree(file: File, address: number, type: number, record: (at: Cursor, size: number) => void): void {
  const header = file.at(address).signature("BTHD").skip(1);
  const found = header.u8();
  const nodeSize = header.u32();
  const size = header.u16();
  const depth = header.u16();
  const root = header.skip(2).address();
  const records = header.u16();
  if (found !== type || size < 1 || depth > DEEPEST) throw file.error("an index of the HDF5 file is damaged");
  // How many records a node of each level can have decides in how many bytes they are counted.
  const counted = bytesFor((nodeSize - 10) / size);
  const below = [Math.floor((nodeSize - 10) / size)];
  const widths = [0];
  for (let level = 1; level <= depth; level++) {
    const pointer = file.offsetSize + counted + widths[level - 1];
    const most = Math.floor((nodeSize - 10 - pointer) / (size + pointer));
    below.push((most + 1) * below[level - 1] + most);
    widths.push(bytesFor(below[level]));
  }
  const visit = (at: number, count: number, level: number): void => {
    const node = file
      .at(at)
      .signature(level > 0 ? "BTIN" : "BTLF")
      .skip(2);
    const first = node.position;
    const pointers = node.position + count * size;
    const next = file.at(pointers - file.base);
    for (let i = 0; i <= count; i++) {
      if (level > 0) {
        const child = next.place("part of an index");
        const inside = next.uint(counted);
        next.skip(widths[level - 1]);
        visit(child, inside, level - 1);
      }
      file.visit();
      if (i < count) record(file.at(first + i * size - file.base), size);
    }
  };
  if (root !== undefined) visit(root, records, depth);
}
