import { count, type Tensor } from "../../core/tensor.ts";
import { type Cursor, File, text } from "./cursor.ts";
import { readBytes, readFilters, readLayout } from "./data.ts";
import {
  ATTRIBUTE,
  ATTRIBUTE_INFO,
  DATASPACE,
  DATATYPE,
  FILL,
  FILL_OLD,
  FILTERS,
  LAYOUT,
  type Message,
  readHeader,
} from "./header.ts";
import { ATTRIBUTES, eachApart, readLinks } from "./links.ts";
import { type Datatype, decodeNumbers, decodeStrings, readDataspace, readDatatype } from "./values.ts";

/**
 * HDF5, the part of it that holds models: groups, attributes and datasets of
 * numbers and text, contiguous or in chunks, gzip and shuffle, in the layouts
 * of old and of new versions. What else there is, is refused by name.
 *
 * Source: HDF5 File Format Specification, version 3.0.
 */

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
  /** What it holds: "float32", "integer64". */
  readonly dtype: string;
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
  if (found === undefined)
    throw file.error("expected an HDF5 file, such as .h5 or .keras of Keras, got something else");
  const links: Links = { root: () => root, followed: 0 };
  const root = open(file, links, rootAddress(file, found), 0);
  if (root.kind !== "group") throw file.error("the root of the HDF5 file is not a group");
  return root;
}

/** Where links by path begin, and how many are being followed. */
interface Links {
  readonly root: () => Group | Dataset;
  followed: number;
}

/** Links that lead to links. */
const MOST_FOLLOWED = 16;

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

function open(file: File, links: Links, address: number, depth: number): Group | Dataset {
  if (depth > DEEPEST) throw file.error(`the groups of the HDF5 file are nested deeper than ${DEEPEST} levels`);
  const messages = readHeader(file, address);
  const item = readItem(file, messages);
  const body = (type: number) => bodyOf(file, messages, type);
  const layout = body(LAYOUT);
  if (!layout) return openGroup(file, links, messages, item, depth);
  const space = body(DATASPACE);
  const kind = body(DATATYPE);
  if (!space || !kind) throw file.error("a dataset without shape or type");
  const shape = readDataspace(space) ?? [0];
  return {
    ...item,
    kind: "dataset",
    shape,
    get dtype() {
      const { kind, size } = readDatatype(bodyOf(file, messages, DATATYPE)!);
      return `${kind}${8 * size}`;
    },
    async read() {
      const type = readDatatype(bodyOf(file, messages, DATATYPE)!);
      const filters = body(FILTERS);
      const bytes = await readBytes(
        file,
        readLayout(bodyOf(file, messages, LAYOUT)!),
        filters ? readFilters(filters) : [],
        shape,
        type.size,
        readFill(body(FILL), body(FILL_OLD)),
      );
      file.take(4 * count(shape));
      return { shape: [...shape], data: decodeNumbers(file, type, bytes, item.strings("dtype")?.[0] === "bfloat16") };
    },
  };
}

/** What stands where nothing was written, undefined for zeros. */
function readFill(message: Cursor | undefined, old: Cursor | undefined): Uint8Array | undefined {
  if (!message) return old?.raw(old.u32());
  const version = message.u8();
  if (version < 1 || version > 3) throw message.file.error(`a fill value of version ${version}; expected 1 to 3`);
  const flags = version === 3 ? message.u8() : message.skip(2).u8() << 5;
  return flags & 0x20 || version === 1 ? message.raw(message.u32()) : undefined;
}

function bodyOf(file: File, messages: readonly Message[], type: number): Cursor | undefined {
  const message = messages.find((m) => m.type === type);
  if (!message) return undefined;
  if (message.shared) throw file.error("the HDF5 file shares types between objects; Keras does not");
  return file.at(message.position - file.base);
}

function openGroup(file: File, links: Links, messages: readonly Message[], item: Item, depth: number): Group {
  let found: Map<string, number | string> | undefined;
  const members = () => {
    found ??= readLinks(file, messages);
    return found;
  };
  const opened = new Map<string, Group | Dataset>();
  const child = (name: string) => {
    const target = members().get(name);
    if (typeof target === "string") return follow(target);
    if (target === undefined) return undefined;
    if (!opened.has(name)) opened.set(name, open(file, links, target, depth + 1));
    return opened.get(name);
  };
  /** What a path leads to, from here or from the root. */
  const follow = (path: string) => {
    const start = path.startsWith("/") ? links.root() : group;
    if (++links.followed > MOST_FOLLOWED) throw file.error("a link of the HDF5 file leads to itself");
    const target = start.kind === "group" ? start.get(path) : undefined;
    links.followed--;
    return target;
  };
  const group: Group = {
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
  return group;
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
      eachApart(file, info.skip(flags & 1 ? 2 : 0), ATTRIBUTES, ({ position, size }) => {
        const { name, strings } = readAttribute(file.at(position - file.base), size);
        places.set(name, strings);
      });
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
