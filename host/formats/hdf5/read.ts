import { count, type Tensor } from "../../core/tensor.ts";
import { type Cursor, File, text } from "./cursor.ts";
import { readBytes, readFilters, readLayout } from "./data.ts";
import {
  ATTRIBUTE,
  ATTRIBUTE_INFO,
  DATASPACE,
  DATATYPE,
  FILTERS,
  LAYOUT,
  LINK,
  LINK_INFO,
  type Message,
  readHeader,
  SYMBOL_TABLE,
} from "./header.ts";
import { type Datatype, decodeNumbers, decodeStrings, readDataspace, readDatatype } from "./values.ts";

/**
 * HDF5, the part of it in which Keras writes: groups (symbol tables and
 * compact links), attributes, datasets of numbers and text, contiguous or in
 * chunks, gzip and shuffle. What else there is, is refused by name.
 *
 * Source: HDF5 File Format Specification, version 3.0.
 */

/** Bytes of a name. */
const LONGEST = 2048;

/** Levels of groups that a model may have. */
const DEEPEST = 64;

/** A group or a dataset. */
export interface Item {
  /** A text, or a list of texts. */
  strings(name: string): string[] | undefined;
  /** Names of the attributes that can be read. */
  readonly attributes: readonly string[];
}

export interface Group extends Item {
  readonly kind: "group";
  /** In the order of the file. */
  readonly names: readonly string[];
  /** A member by its path: "model_weights/gru". */
  get(path: string): Group | Dataset | undefined;
}

export interface Dataset extends Item {
  readonly kind: "dataset";
  readonly shape: readonly number[];
  /** Its numbers as f32, a copy. */
  read(): Promise<Tensor>;
}

/**
 * Opens a file's root group.
 *
 * @param room bytes that may be read out of it in all
 * @param where named in errors
 * @throws FormatError here or later, for whatever is damaged or unknown
 */
export function openHdf5(bytes: Uint8Array, where: string, room: number): Group {
  const file = new File(bytes, room, where);
  const found = [0, 512, 1024, 2048].find((at) => String.fromCharCode(...bytes.subarray(at, at + 4)) === "\x89HDF");
  if (found === undefined) throw file.error("not an HDF5 file");
  const root = open(file, rootAddress(file, found), 0);
  if (root.kind !== "group") throw file.error("the root of the HDF5 file is not a group");
  return root;
}

function rootAddress(file: File, start: number): number {
  file.base = start;
  const cursor = file.at(8);
  const version = cursor.u8();
  if (version > 3) throw file.error(`an HDF5 file of version ${version}; expected 0 to 3`);
  if (version < 2) cursor.skip(4);
  file.offsetSize = cursor.u8();
  file.lengthSize = cursor.u8();
  if (![4, 8].includes(file.offsetSize) || ![4, 8].includes(file.lengthSize))
    throw file.error(`addresses of ${file.offsetSize} and lengths of ${file.lengthSize} bytes`);
  cursor.skip(version < 2 ? 1 + 2 + 2 + 4 + (version === 1 ? 4 : 0) : 1);
  file.base = cursor.place("base address");
  // A file that follows a block of the user's counts from its own beginning.
  if (file.base === 0) file.base = start;
  cursor.skip(2 * file.offsetSize);
  if (version < 2) cursor.skip(2 * file.offsetSize);
  return cursor.place("root group");
}

function open(file: File, address: number, depth: number): Group | Dataset {
  if (depth > DEEPEST) throw file.error(`the groups of the HDF5 file are nested deeper than ${DEEPEST} levels`);
  const messages = readHeader(file, address);
  const item = readItem(file, messages);
  const body = (type: number) => bodyOf(file, messages, type);
  const layout = body(LAYOUT);
  if (!layout) return openGroup(file, messages, item, depth);
  const space = body(DATASPACE);
  const kind = body(DATATYPE);
  if (!space || !kind) throw file.error("a dataset without shape or type");
  const shape = readDataspace(space) ?? [0];
  return {
    ...item,
    kind: "dataset",
    shape,
    async read() {
      const type = readDatatype(bodyOf(file, messages, DATATYPE)!);
      const filters = body(FILTERS);
      const bytes = await readBytes(
        file,
        readLayout(bodyOf(file, messages, LAYOUT)!),
        filters ? readFilters(filters) : [],
        shape,
        type.size,
      );
      file.take(4 * count(shape));
      return { shape: [...shape], data: decodeNumbers(file, type, bytes, item.strings("dtype")?.[0] === "bfloat16") };
    },
  };
}

function bodyOf(file: File, messages: readonly Message[], type: number): Cursor | undefined {
  const message = messages.find((m) => m.type === type);
  if (!message) return undefined;
  if (message.shared) throw file.error("the HDF5 file shares types between objects; Keras does not");
  return file.at(message.position - file.base);
}

function openGroup(file: File, messages: readonly Message[], item: Item, depth: number): Group {
  let links: Map<string, number> | undefined;
  const members = () => {
    links ??= readLinks(file, messages);
    return links;
  };
  const opened = new Map<string, Group | Dataset>();
  const child = (name: string) => {
    const address = members().get(name);
    if (address === undefined) return undefined;
    if (!opened.has(name)) opened.set(name, open(file, address, depth + 1));
    return opened.get(name);
  };
  return {
    ...item,
    kind: "group",
    get names() {
      return [...members().keys()];
    },
    get(path) {
      const [first, ...rest] = path.split("/").filter((part) => part);
      const found = first === undefined ? undefined : child(first);
      return rest.length === 0 ? found : found?.kind === "group" ? found.get(rest.join("/")) : undefined;
    },
  };
}

/** Addresses of the members of a group. */
function readLinks(file: File, messages: readonly Message[]): Map<string, number> {
  const links = new Map<string, number>();
  const add = (name: string, address: number | undefined) => {
    if (links.has(name)) throw file.error("a name stands twice in a group");
    if (address !== undefined) links.set(name, address);
  };
  for (const message of messages) {
    const body = file.at(message.position - file.base);
    if (message.type === SYMBOL_TABLE) {
      const tree = body.place("group index");
      const heap = file.at(body.place("group heap")).signature("HEAP").skip(4);
      const size = heap.length();
      const names = heap.skip(file.lengthSize).place("group heap");
      readSymbols(file, tree, (offset, address) => {
        if (offset >= size) throw file.error("a name lies outside its heap");
        add(text(upToZero(file, names + offset, size - offset)), address);
      });
    } else if (message.type === LINK) {
      const { name, address } = readLink(body);
      add(name, address);
    } else if (message.type === LINK_INFO) {
      const flags = body.skip(1).u8();
      if (body.skip(flags & 1 ? 8 : 0).address() !== undefined)
        throw file.error(
          "a group of newer HDF5 versions with many members; write it with libver='earliest', as Keras does",
        );
    }
  }
  return links;
}

/** At most `most` bytes of the file, which may end before. */
function upToZero(file: File, address: number, most: number): Uint8Array {
  const from = file.base + address;
  return file.at(address).raw(Math.max(0, Math.min(most, file.bytes.length - from, LONGEST)));
}

function readSymbols(file: File, tree: number, found: (name: number, address: number) => void): void {
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
        const object = leaf.place("group member");
        const soft = leaf.u32() === 2;
        leaf.skip(20);
        if (!soft) found(name, object);
      }
    }
  };
  visit(tree, -1);
}

/** A link message: soft and external links lead nowhere. */
function readLink(body: Cursor): { name: string; address?: number } {
  const version = body.u8();
  if (version !== 1) throw body.file.error(`a link of version ${version}; expected 1`);
  const flags = body.u8();
  const type = flags & 8 ? body.u8() : 0;
  body.skip((flags & 4 ? 8 : 0) + (flags & 16 ? 1 : 0));
  const name = text(body.raw(body.uint(1 << (flags & 3))));
  return { name, address: type === 0 ? body.place("group member") : undefined };
}

/** Attributes, read when asked for: those of unknown types stop nobody who does not ask. */
function readItem(file: File, messages: readonly Message[]): Item {
  const places = new Map<string, () => string[]>();
  for (const message of messages) {
    if (message.type === ATTRIBUTE && !message.shared) {
      const { name, strings } = readAttribute(file.at(message.position - file.base), message.size);
      places.set(name, strings);
    } else if (message.type === ATTRIBUTE_INFO) {
      const info = file.at(message.position - file.base);
      const flags = info.skip(1).u8();
      if (info.skip(flags & 1 ? 2 : 0).address() !== undefined)
        throw file.error("attributes of newer HDF5 versions; write the file with libver='earliest', as Keras does");
    }
  }
  return { attributes: [...places.keys()], strings: (name) => places.get(name)?.() };
}

function readAttribute(cursor: Cursor, most: number): { name: string; strings: () => string[] } {
  const { file } = cursor;
  const begin = cursor.position;
  const version = cursor.u8();
  if (version < 1 || version > 3) throw file.error(`an attribute of version ${version}; expected 1 to 3`);
  const shared = cursor.u8() & 3;
  const [nameSize, typeSize, spaceSize] = [cursor.u16(), cursor.u16(), cursor.u16()];
  if (version === 3) cursor.skip(1);
  const room = (size: number) => (version === 1 ? Math.ceil(size / 8) * 8 : size);
  const name = text(cursor.raw(nameSize));
  const typeAt = cursor.position - nameSize + room(nameSize);
  const spaceAt = typeAt + room(typeSize);
  const dataAt = spaceAt + room(spaceSize);
  return {
    name,
    strings() {
      if (version > 1 && shared) throw file.error(`the attribute ${JSON.stringify(name)} has a type of another object`);
      const type: Datatype = readDatatype(file.at(typeAt - file.base));
      const shape = readDataspace(file.at(spaceAt - file.base)) ?? [0];
      const elements = count(shape);
      const bytes = elements * type.size;
      if (!(bytes <= begin + most - dataAt)) throw file.error(`the attribute ${JSON.stringify(name)} is cut off`);
      file.take(bytes);
      return decodeStrings(file, type, file.at(dataAt - file.base).raw(bytes), elements);
    },
  };
}
