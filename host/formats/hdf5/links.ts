import { readTree } from "./btree.ts";
import { type Cursor, type File, text } from "./cursor.ts";
import { LINK, LINK_INFO, type Message, SYMBOL_TABLE } from "./header.ts";
import { openHeap, type Place } from "./heap.ts";

/** The members of groups, in the ways in which HDF5 has kept them. */

/** Bytes of a name. */
const LONGEST = 2048;

/** Kinds of B-tree records: links and attributes, by name. */
const LINKS = 5;
export const ATTRIBUTES = 8;

/**
 * Messages that are kept apart from their header, as they are where they are
 * many or long.
 *
 * @param at the addresses of their heap and of the index of their names
 */
export function eachApart(file: File, at: Cursor, type: number, found: (message: Place) => void): void {
  const heap = at.address();
  const index = at.address();
  if (heap === undefined || index === undefined) return;
  const placeOf = openHeap(file, heap);
  readTree(file, index, type, (record) => {
    if (type === LINKS) record.skip(4);
    found(placeOf(record));
  });
}

/** The members of a group: addresses, or paths to others. */
export function readLinks(file: File, messages: readonly Message[]): Map<string, number | string> {
  const links = new Map<string, number | string>();
  const add = (name: string, target: number | string | undefined) => {
    if (links.has(name)) throw file.error("a name stands twice in a group");
    if (target !== undefined) links.set(name, target);
  };
  for (const message of messages) {
    const body = file.at(message.position - file.base);
    if (message.type === SYMBOL_TABLE) {
      const tree = body.place("group index");
      const heap = file.at(body.place("group heap")).signature("HEAP").skip(4);
      const size = heap.length();
      const names = heap.skip(file.lengthSize).place("group heap");
      const textAt = (offset: number) => {
        if (offset >= size) throw file.error("a name lies outside its heap");
        return text(upToZero(file, names + offset, size - offset));
      };
      readSymbols(file, tree, (name, address, path) => add(textAt(name), path === undefined ? address : textAt(path)));
    } else if (message.type === LINK) {
      add(...readLink(body));
    } else if (message.type === LINK_INFO) {
      const flags = body.skip(1).u8();
      eachApart(file, body.skip(flags & 1 ? 8 : 0), LINKS, ({ position }) => {
        add(...readLink(file.at(position - file.base)));
      });
    }
  }
  return links;
}

/** At most `most` bytes of the file, which may end before. */
function upToZero(file: File, address: number, most: number): Uint8Array {
  const from = file.base + address;
  return file.at(address).raw(Math.max(0, Math.min(most, file.bytes.length - from, LONGEST)));
}

/** @param found called with places in the heap, of a name and, for a link by path, of that path */
function readSymbols(
  file: File,
  tree: number,
  found: (name: number, address: number | undefined, path?: number) => void,
): void {
  const visit = (address: number, depth: number) => {
    const node = file.at(address).signature("TREE");
    const type = node.u8();
    const level = node.u8();
    const entries = node.u16();
    if (type !== 0 || (depth >= 0 && level !== depth)) throw file.error("the index of a group is damaged");
    node.skip(2 * file.offsetSize);
    for (let i = 0; i < entries; i++) {
      const child = node.skip(file.lengthSize).place("group member");
      if (level > 0) {
        visit(child, level - 1);
        continue;
      }
      const leaf = file.at(child).signature("SNOD").skip(2);
      const symbols = leaf.u16();
      for (let j = 0; j < symbols; j++) {
        const name = leaf.uint(file.offsetSize);
        const object = leaf.address();
        const soft = leaf.u32() === 2;
        const path = leaf.skip(4).u32();
        leaf.skip(12);
        found(name, object, soft ? path : undefined);
      }
    }
  };
  visit(tree, -1);
}

/** A link message: the name, and where it leads; links into other files lead nowhere. */
function readLink(body: Cursor): [name: string, target: number | string | undefined] {
  const version = body.u8();
  if (version !== 1) throw body.file.error(`a link of version ${version}; expected 1`);
  const flags = body.u8();
  const type = flags & 8 ? body.u8() : 0;
  body.skip((flags & 4 ? 8 : 0) + (flags & 16 ? 1 : 0));
  const name = text(body.raw(body.uint(1 << (flags & 3))));
  if (type === 1) return [name, text(body.raw(body.u16()))];
  return [name, type === 0 ? body.place("group member") : undefined];
}
