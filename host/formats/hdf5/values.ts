import { fromBfloat, fromHalf } from "../half.ts";
import { type Cursor, type File, text } from "./cursor.ts";

/** What the elements of a dataset or an attribute are. */
export type Datatype =
  | { readonly kind: "float"; readonly size: number; readonly big: boolean; readonly brain: boolean }
  | { readonly kind: "integer"; readonly size: number; readonly big: boolean; readonly signed: boolean }
  | { readonly kind: "string"; readonly size: number; readonly spaces: boolean }
  | { readonly kind: "long string"; readonly size: number }
  | { readonly kind: "opaque"; readonly size: number };

/** A datatype message; what a model does not use is refused by its name. */
export function readDatatype(cursor: Cursor): Datatype {
  const { file } = cursor;
  const head = cursor.u8();
  const bits = cursor.u8();
  cursor.skip(2);
  const size = cursor.u32();
  if (size < 1) throw file.error("elements of no bytes");
  switch (head & 15) {
    case 0:
      if (![1, 2, 4, 8].includes(size)) throw file.error(`whole numbers of ${size} bytes`);
      return { kind: "integer", size, big: (bits & 1) !== 0, signed: (bits & 8) !== 0 };
    case 1: {
      const precision = cursor.skip(2).u16();
      const exponent = cursor.skip(1).u8();
      if (precision !== 8 * size || ![2, 4, 8].includes(size) || bits & 64)
        throw file.error(`floating-point numbers of ${precision} bits in ${size} bytes`);
      if (size === 2 && exponent !== 5 && exponent !== 8) throw file.error(`exponents of ${exponent} bits`);
      return { kind: "float", size, big: (bits & 1) !== 0, brain: size === 2 && exponent === 8 };
    }
    case 3:
      return { kind: "string", size, spaces: (bits & 15) === 2 };
    case 5:
      return { kind: "opaque", size };
    case 8: // an enumeration, such as false and true: the numbers beneath
      return readDatatype(cursor);
    case 9:
      if ((bits & 15) === 1) return { kind: "long string", size };
  }
  const names = [
    "",
    "",
    "times",
    "",
    "bit fields",
    "",
    "records",
    "references",
    "",
    "lists of varying length",
    "arrays",
  ];
  throw file.error(`the HDF5 file holds ${names[head & 15] || "an unknown type"}; a model has numbers and text`);
}

/** A dataspace message: the shape; [] for a single value, undefined for none. */
export function readDataspace(cursor: Cursor): number[] | undefined {
  const { file } = cursor;
  const version = cursor.u8();
  const rank = cursor.u8();
  cursor.u8(); // whether there are largest sizes too, which do not matter here
  const kind = cursor.u8();
  if (version === 1) cursor.skip(4);
  else if (version !== 2) throw file.error(`a dataspace of version ${version}; expected 1 or 2`);
  else if (kind === 2) return undefined;
  if (rank > 32) throw file.error(`a shape of ${rank} axes`);
  return Array.from({ length: rank }, () => cursor.length());
}

/** Numbers as they are stored, as f32. */
export function decodeNumbers(file: File, type: Datatype, bytes: Uint8Array, brain: boolean): Float32Array {
  const { size } = type;
  if (type.kind === "string" || type.kind === "long string") throw file.error("expected numbers, got text");
  if (type.kind === "opaque" && !(brain && size === 2))
    throw file.error(`expected numbers, got ${size} opaque bytes each`);
  // A copy that lies on a multiple of eight, turned round where it is stored the other way.
  const own = bytes.slice();
  if ("big" in type && type.big && size > 1)
    for (let i = 0; i + size <= own.length; i += size) own.subarray(i, i + size).reverse();
  const { buffer } = own;
  if (type.kind === "opaque") return fromBfloat(new Uint16Array(buffer));
  if (type.kind === "float") {
    if (size === 2) return (type.brain ? fromBfloat : fromHalf)(new Uint16Array(buffer));
    return size === 4 ? new Float32Array(buffer) : Float32Array.from(new Float64Array(buffer));
  }
  if (size === 2 && brain) return fromBfloat(new Uint16Array(buffer));
  if (size === 8)
    return Float32Array.from(type.signed ? new BigInt64Array(buffer) : new BigUint64Array(buffer), Number);
  const arrays = type.signed ? [Int8Array, Int16Array, Int32Array] : [Uint8Array, Uint16Array, Uint32Array];
  return Float32Array.from(new arrays[size >> 1](buffer));
}

/** Texts as they are stored: in place, or each as a reference into a heap of the file. */
export function decodeStrings(file: File, type: Datatype, bytes: Uint8Array, count: number): string[] {
  if (count === 0) return []; // an empty list has the type of numbers
  if (type.kind === "string")
    return Array.from({ length: count }, (_, i) => {
      const found = text(bytes.subarray(i * type.size, (i + 1) * type.size));
      return type.spaces ? found.trimEnd() : found;
    });
  if (type.kind !== "long string") throw file.error("expected text, got numbers");
  return Array.from({ length: count }, (_, i) => {
    const at = file.at(bytes.byteOffset - file.bytes.byteOffset + i * type.size - file.base);
    const length = at.u32();
    const heap = at.address();
    return heap === undefined || length === 0 ? "" : fromHeap(file, heap, at.u32(), length);
  });
}

/** An object of a global heap collection. */
function fromHeap(file: File, address: number, index: number, length: number): string {
  const cursor = file.at(address).signature("GCOL").skip(4);
  const end = cursor.position - 8 + cursor.length();
  while (cursor.position + 8 + file.lengthSize <= end) {
    file.visit();
    const found = cursor.u16();
    const size = cursor.skip(6).length();
    if (found === index) {
      file.take(length);
      if (length > size) throw file.error("a text runs past the end of its place in the HDF5 file");
      return text(cursor.raw(length));
    }
    if (found === 0) break;
    cursor.skip(Math.ceil(size / 8) * 8);
  }
  throw file.error("a text of the HDF5 file is missing from its heap");
}
