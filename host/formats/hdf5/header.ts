import type { Cursor, File } from "./cursor.ts";

/** One message of an object's header: its kind and where its body lies. */
export interface Message {
  readonly type: number;
  /** The body stands elsewhere, shared with other objects. */
  readonly shared: boolean;
  readonly position: number;
  readonly size: number;
}

/** Kinds of messages. */
export const DATASPACE = 0x01;
export const LINK_INFO = 0x02;
export const DATATYPE = 0x03;
export const FILL_OLD = 0x04;
export const FILL = 0x05;
export const LINK = 0x06;
export const LAYOUT = 0x08;
export const FILTERS = 0x0b;
export const ATTRIBUTE = 0x0c;
const CONTINUATION = 0x10;
export const SYMBOL_TABLE = 0x11;
export const ATTRIBUTE_INFO = 0x15;

/** The messages of the object at an address, versions 1 and 2 of the header. */
export function readHeader(file: File, address: number): Message[] {
  const cursor = file.at(address);
  const first = cursor.u8();
  const messages: Message[] = [];
  const blocks: { from: number; size: number }[] = [];
  let tracked = false;
  const version2 = first === 0x4f;
  if (version2) {
    cursor.position--;
    cursor.signature("OHDR");
    const version = cursor.u8();
    if (version !== 2) throw file.error(`an object header of version ${version}; expected 1 or 2`);
    const flags = cursor.u8();
    tracked = (flags & 4) !== 0;
    cursor.skip((flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0));
    const size = cursor.uint(1 << (flags & 3));
    blocks.push({ from: cursor.position, size });
  } else {
    if (first !== 1) throw file.error(`an object header of version ${first}; expected 1 or 2`);
    const size = cursor.skip(1 + 2 + 4).u32();
    blocks.push({ from: cursor.skip(4).position, size });
  }
  // Grows while it is read: a continuation adds a block.
  for (let i = 0; i < blocks.length; i++) {
    const { from, size } = blocks[i];
    const block = file.at(from - file.base);
    const end = from + size;
    if (end > file.bytes.length) throw file.error("an object header runs past the end of the HDF5 file");
    const prefix = version2 ? (tracked ? 6 : 4) : 8;
    while (block.position + prefix <= end) {
      const message = readMessage(block, version2, tracked);
      if (message.position + message.size > end) throw file.error("a message runs past the end of its header");
      block.position = message.position + message.size;
      if (message.type === CONTINUATION) {
        const body = file.at(message.position - file.base);
        const next = body.place("continuation of a header");
        const length = body.length();
        if (version2) {
          file.at(next).signature("OCHK");
          blocks.push({ from: file.base + next + 4, size: length - 8 });
        } else blocks.push({ from: file.base + next, size: length });
      } else if (message.type !== 0) messages.push(message);
    }
  }
  return messages;
}

function readMessage(block: Cursor, version2: boolean, tracked: boolean): Message {
  block.file.visit();
  const type = version2 ? block.u8() : block.u16();
  const size = block.u16();
  const shared = (block.u8() & 2) !== 0;
  block.skip(version2 ? (tracked ? 2 : 0) : 3);
  return { type, shared, position: block.position, size };
}
