import { FormatError } from "../core/errors.ts";
import { isRecord, shown } from "../core/options.ts";
import { shapeText } from "../core/tensor.ts";
import { fromBfloat, fromHalf } from "./half.ts";
import { plainBytes } from "./source.ts";

/**
 * safetensors: u64 length of the header, the header as JSON
 * `{ name: { dtype, shape, data_offsets: [begin, end] } }` with strings under
 * `__metadata__`, then the tensors' bytes, offsets counted from the end of the
 * header, without gaps. Everything little-endian, as is every engine we run in.
 *
 * Source: https://github.com/huggingface/safetensors#format
 */

/** Typed arrays that hold a file's numbers as they are. */
export type StoredArray =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

export interface StoredTensor {
  /** The file's name for the type, "F32", "I64"... */
  dtype: string;
  shape: number[];
  /** F16 and BF16 are widened to f32, BOOL is 0 or 1 in u8, all others as they are. */
  data: StoredArray;
}

export interface Safetensors {
  /** In the order of their bytes. */
  tensors: Map<string, StoredTensor>;
  metadata: Map<string, string>;
}

interface ArrayType {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, offset?: number, length?: number): StoredArray;
}

interface Dtype {
  type: ArrayType;
  /** From the stored numbers to those we hand out. */
  widen?(stored: Uint16Array): Float32Array;
}

const dtypes: Record<string, Dtype> = {
  F64: { type: Float64Array },
  F32: { type: Float32Array },
  F16: { type: Uint16Array, widen: fromHalf },
  BF16: { type: Uint16Array, widen: fromBfloat },
  I64: { type: BigInt64Array },
  U64: { type: BigUint64Array },
  I32: { type: Int32Array },
  U32: { type: Uint32Array },
  I16: { type: Int16Array },
  U16: { type: Uint16Array },
  I8: { type: Int8Array },
  U8: { type: Uint8Array },
  BOOL: { type: Uint8Array },
};

const METADATA = "__metadata__";

/** One entry of the header, checked. */
interface Entry {
  name: string;
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

/** Whether a file may be one: a header of less than 4 GiB, which begins with a brace. */
export function isSafetensors(bytes: Uint8Array): boolean {
  return bytes[8] === 0x7b && (bytes[4] | bytes[5] | bytes[6] | bytes[7]) === 0;
}

/**
 * Reads a safetensors file. Everything is checked before anything is
 * allocated for it.
 *
 * @example readSafetensors(bytes).tensors.get("gru.kernel") // { dtype: "F32", shape: [8, 96], data }
 * @param file its bytes. Tensors that lie on a multiple of their element are views of them, the others copies
 * @param where named in errors
 * @throws FormatError for whatever the format does not allow, naming the tensor and what was expected
 */
export function readSafetensors(file: Uint8Array | ArrayBuffer, where = "safetensors"): Safetensors {
  const bytes = file instanceof Uint8Array ? plainBytes(file) : new Uint8Array(file);
  const { header, start } = readHeader(bytes, where);
  const metadata = readMetadata(header, where);
  const entries = Object.entries(header)
    .filter(([name]) => name !== METADATA)
    .map(([name, value]) => readEntry(name, value, bytes.length - start, where))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCover(entries, bytes.length - start, where);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape, begin, end } of entries)
    tensors.set(name, { dtype, shape, data: readData(dtypes[dtype], bytes, start + begin, end - begin) });
  return { tensors, metadata };
}

function readHeader(bytes: Uint8Array, where: string): { header: object; start: number } {
  if (bytes.length < 8)
    throw new FormatError(`${where}: expected 8 bytes with the length of the header, got a file of ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > bytes.length - 8)
    throw new FormatError(`${where}: expected a header of ${length} bytes, got ${bytes.length - 8} in all`);
  const start = 8 + length;
  if (bytes[8] !== 0x7b || length === 0)
    throw new FormatError(
      `${where}: expected a header that starts with "{", got ${length ? `byte ${bytes[8]}` : "none"}`,
    );
  let text: string;
  let header: unknown;
  try {
    // A copy, as browsers do not decode shared memory.
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(8, start));
    header = JSON.parse(text);
  } catch (error) {
    throw new FormatError(
      `${where}: the header is not JSON in UTF-8: ${error instanceof Error ? error.message : error}`,
    );
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new FormatError(`${where}: ${shown(twice)} stands twice in the header`);
  return { header: header as object, start };
}

/**
 * The first key that some object in a JSON text has twice. JSON.parse keeps
 * the last without a word, so two readers could see two different models.
 *
 * @param text valid JSON
 */
function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = []; // keys of the objects around position i; arrays have a set too, and no keys
  let last = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{" || c === "[") open.push(new Set());
    else if (c === "}" || c === "]") open.pop();
    else if (c === '"') {
      const begin = i;
      while (text[++i] !== '"') if (text[i] === "\\") i++;
      last = text.slice(begin, i + 1);
    } else if (c === ":") {
      const key: string = JSON.parse(last);
      const keys = open[open.length - 1];
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** A value of the header in a message. Not `shown`: a file may nest as deep as it likes. */
function told(value: unknown): string {
  if (Array.isArray(value)) return value.every((x) => typeof x === "number") ? shown(value) : "an array";
  return typeof value === "object" && value !== null ? "an object" : shown(value);
}

function readMetadata(header: object, where: string): Map<string, string> {
  const metadata: unknown = Object.hasOwn(header, METADATA) ? Reflect.get(header, METADATA) : {};
  if (!isRecord(metadata))
    throw new FormatError(`${where}: "${METADATA}": expected an object of strings, got ${told(metadata)}`);
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== "string")
      throw new FormatError(`${where}: "${METADATA}": ${shown(key)}: expected a string, got ${told(value)}`);
  return new Map(Object.entries(metadata) as [string, string][]);
}

/** A whole number that a double holds exactly. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function readEntry(name: string, value: unknown, available: number, where: string): Entry {
  const tensor = `${where}: ${shown(name)}`;
  if (!isRecord(value)) throw new FormatError(`${tensor}: expected { dtype, shape, data_offsets }, got ${told(value)}`);
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(dtypes, dtype))
    throw new FormatError(`${tensor}: expected a dtype of ${Object.keys(dtypes).join(", ")}, got ${told(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new FormatError(`${tensor}: expected a shape of whole numbers from 0 to 2^53 - 1, got ${told(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw new FormatError(`${tensor}: expected data_offsets [begin, end], got ${told(offsets)}`);
  const [begin, end]: number[] = offsets;
  if (begin > end || end > available)
    throw new FormatError(`${tensor}: expected data_offsets within ${available} bytes, got ${told(offsets)}`);
  // A product past 2^53 is rounded, but never down to the length of a file.
  const expected = shape.reduce((product, n) => product * n, dtypes[dtype].type.BYTES_PER_ELEMENT);
  if (expected !== end - begin)
    throw new FormatError(`${tensor}: expected ${expected} bytes for ${dtype} ${shapeText(shape)}, got ${end - begin}`);
  return { name, dtype, shape, begin, end };
}

/** Entries in order of their bytes must cover all of them, each once. */
function checkCover(entries: Entry[], available: number, where: string): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at)
      throw new FormatError(
        `${where}: ${shown(name)}: expected data from byte ${at}, got ${begin}: ${begin < at ? "an overlap" : "a gap"}`,
      );
    at = end;
  }
  if (at !== available) throw new FormatError(`${where}: expected ${at} bytes of tensors, got ${available}`);
}

function readData({ type: Type, widen }: Dtype, bytes: Uint8Array, offset: number, length: number): StoredArray {
  const size = Type.BYTES_PER_ELEMENT;
  const at = bytes.byteOffset + offset;
  const data =
    at % size === 0
      ? new Type(bytes.buffer, at, length / size)
      : new Type(bytes.slice(offset, offset + length).buffer, 0, length / size);
  return widen ? widen(data as Uint16Array) : data;
}

/** What can be written: numbers whose type says how. */
export interface WritableTensor {
  shape: readonly number[];
  /** A Uint16Array holds the bits of f16 numbers (`toHalf`). */
  data: Float32Array | Float64Array | Int32Array | Uint16Array | Int8Array | Uint8Array;
}

function writtenType({ data }: WritableTensor): "F64" | "F32" | "F16" | "I32" | "I8" | "U8" {
  if (data instanceof Float64Array) return "F64";
  if (data instanceof Float32Array) return "F32";
  if (data instanceof Int32Array) return "I32";
  if (data instanceof Uint16Array) return "F16";
  return data instanceof Int8Array ? "I8" : "U8";
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Writes a safetensors file. The same tensors and metadata give the same
 * bytes, whatever order they come in: wide elements first, as the data starts
 * on 8 bytes and every tensor then lies on a multiple of its element, and
 * names in order of their UTF-16 units.
 *
 * @example writeSafetensors({ "dense.bias": { shape: [2], data: new Float32Array(2) } }, { format: "gruvy" })
 * @param tensors  by name; a record or a map
 * @param metadata strings by name
 * @throws FormatError when a shape does not hold its data, or a tensor is called "__metadata__"
 */
export function writeSafetensors(
  tensors: Record<string, WritableTensor> | Map<string, WritableTensor>,
  metadata: Record<string, string> | Map<string, string> = {},
): Uint8Array<ArrayBuffer> {
  const entries = [...(tensors instanceof Map ? tensors : Object.entries(tensors))]
    .sort(byName)
    .sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const strings = [...(metadata instanceof Map ? metadata : Object.entries(metadata))].sort(byName);

  // Pieces of text, not an object: keys such as "7" or "__proto__" keep their place and their meaning.
  const fields: string[] = [];
  if (strings.length > 0)
    fields.push(
      `"${METADATA}":{${strings.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`,
    );
  let end = 0;
  for (const [name, tensor] of entries) {
    checkWritable(name, tensor);
    const begin = end;
    end += tensor.data.byteLength;
    const info = { dtype: writtenType(tensor), shape: tensor.shape, data_offsets: [begin, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
  }
  const header = new TextEncoder().encode(`{${fields.join()}}`);
  const start = 8 + Math.ceil(header.length / 8) * 8;

  const file = new Uint8Array(start + end).fill(0x20, 0, start); // spaces pad the header
  new DataView(file.buffer).setBigUint64(0, BigInt(start - 8), true);
  file.set(header, 8);
  let at = start;
  for (const [, { data }] of entries) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}

function checkWritable(name: string, { shape, data }: WritableTensor): void {
  if (name === METADATA) throw new FormatError(`safetensors: "${METADATA}" is no name for a tensor`);
  if (!shape.every(isCount) || shape.reduce((product, n) => product * n, 1) !== data.length)
    throw new FormatError(
      `safetensors: ${JSON.stringify(name)}: expected ${data.length} numbers in its shape, got ${shapeText(shape)}`,
    );
}
