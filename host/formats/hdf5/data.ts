import { count } from "../../core/tensor.ts";
import { inflate } from "../zip.ts";
import { type ChunkIndex, eachChunk, readIndex } from "./chunks.ts";
import type { Cursor, File } from "./cursor.ts";

/** Where the bytes of a dataset are, and what was done to them. */
export type Layout =
  | { readonly kind: "compact"; readonly position: number; readonly size: number }
  | { readonly kind: "contiguous"; readonly address: number | undefined; readonly size: number }
  | { readonly kind: "chunked"; readonly index: ChunkIndex; readonly chunk: readonly number[] };

const DEFLATE = 1;
const SHUFFLE = 2;
const FLETCHER32 = 3;
const KNOWN = [DEFLATE, SHUFFLE, FLETCHER32];

/** Others, to say which. */
const NAMES: Readonly<Record<number, string>> = {
  4: "szip",
  5: "nbit",
  6: "scaleoffset",
  307: "bzip2",
  32000: "lzf",
  32001: "blosc",
  32004: "lz4",
  32015: "zstd",
};

/** A layout message, versions 3 and 4. */
export function readLayout(cursor: Cursor): Layout {
  const { file } = cursor;
  const version = cursor.u8();
  if (version !== 3 && version !== 4) throw file.error(`a data layout of version ${version}; expected 3 or 4`);
  const kind = cursor.u8();
  if (kind === 0) {
    const size = cursor.u16();
    return { kind: "compact", position: cursor.position, size };
  }
  if (kind === 1) return { kind: "contiguous", address: cursor.address(), size: cursor.length() };
  if (kind !== 2) throw file.error(`data kept in a way of kind ${kind}; expected compact, contiguous or chunks`);
  const flags = version === 4 ? cursor.u8() : 0;
  const axes = cursor.u8();
  if (axes < 2 || axes > 33) throw file.error(`chunks of ${axes} axes`);
  const address = version === 3 ? cursor.address() : undefined;
  const width = version === 3 ? 4 : cursor.u8();
  if (width < 1 || width > 8) throw file.error(`sizes of chunks in ${width} bytes`);
  // The last one is the size of an element.
  const chunk = Array.from({ length: axes }, () => cursor.uint(width)).slice(0, -1);
  return { kind: "chunked", index: version === 3 ? { kind: "tree", address } : readIndex(cursor, flags), chunk };
}

/** A filter message: the filters of a dataset in the order they were applied. */
export function readFilters(cursor: Cursor): number[] {
  const { file } = cursor;
  const version = cursor.u8();
  if (version !== 1 && version !== 2) throw file.error(`a filter list of version ${version}; expected 1 or 2`);
  const filters = cursor.u8();
  if (version === 1) cursor.skip(6);
  return Array.from({ length: filters }, () => {
    const id = cursor.u16();
    const name = version === 1 || id >= 256 ? cursor.u16() : 0;
    const values = cursor.skip(2).u16();
    cursor.skip(version === 1 ? Math.ceil(name / 8) * 8 : name);
    cursor.skip(4 * (version === 1 ? values + (values & 1) : values));
    if (!KNOWN.includes(id))
      throw file.error(
        `the data is packed by HDF5 filter ${NAMES[id] ?? id}; gzip, shuffle and fletcher32 are known: h5repack -f GZIP=4 writes it so`,
      );
    return id;
  });
}

/** The bytes of a dataset. @param fill bytes of an element that was never written; absent: zeros */
export async function readBytes(
  file: File,
  layout: Layout,
  filters: readonly number[],
  shape: readonly number[],
  size: number,
  fill?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = count(shape) * size;
  file.take(bytes);
  if (layout.kind === "chunked" || (layout.kind === "contiguous" && layout.address === undefined)) {
    const out = new Uint8Array(bytes);
    if (fill?.length === size && fill.some((byte) => byte !== 0))
      for (let at = 0; at < bytes; at += size) out.set(fill, at);
    return layout.kind === "chunked" ? readChunks(file, layout, filters, shape, size, out) : out;
  }
  const at = layout.kind === "compact" ? layout.position - file.base : layout.address!;
  if (layout.size < bytes) throw file.error(`expected ${bytes} bytes of data, got ${layout.size}`);
  return file.at(at).raw(bytes);
}

async function readChunks(
  file: File,
  { index, chunk }: Extract<Layout, { kind: "chunked" }>,
  filters: readonly number[],
  shape: readonly number[],
  size: number,
  out: Uint8Array,
): Promise<Uint8Array> {
  if (chunk.length !== shape.length || chunk.some((n) => n < 1)) throw file.error("chunks that do not fit their data");
  const bytes = count(chunk) * size;
  await eachChunk(file, index, shape, chunk, bytes, filters.length > 0, async ({ address, packed, mask, offset }) => {
    file.take(bytes);
    const data = await unpack(file, file.at(address).raw(packed), filters, mask, bytes, size);
    place(out, data, shape, chunk, offset, size);
  });
  return out;
}

async function unpack(
  file: File,
  packed: Uint8Array,
  filters: readonly number[],
  mask: number,
  bytes: number,
  size: number,
): Promise<Uint8Array> {
  let data = packed;
  for (let i = filters.length - 1; i >= 0; i--) {
    if (mask & (1 << i)) continue;
    if (filters[i] === DEFLATE)
      data = await inflate(data, bytes + (filters.includes(FLETCHER32) ? 4 : 0), "deflate", (why) =>
        file.error(`a chunk of data: ${why}`),
      );
    else if (filters[i] === SHUFFLE) data = unshuffle(data, size);
    else data = data.subarray(0, Math.max(0, data.length - 4));
  }
  if (data.length !== bytes) throw file.error(`a chunk of ${data.length} bytes; expected ${bytes}`);
  return data;
}

/** All first bytes of the elements stood together, then all second ones... */
function unshuffle(data: Uint8Array, size: number): Uint8Array {
  const elements = Math.floor(data.length / size);
  const out = data.slice();
  for (let k = 0; k < size; k++) for (let i = 0; i < elements; i++) out[i * size + k] = data[k * elements + i];
  return out;
}

/** Copies the part of a chunk that lies within the data. */
function place(
  out: Uint8Array,
  data: Uint8Array,
  shape: readonly number[],
  chunk: readonly number[],
  offset: readonly number[],
  size: number,
): void {
  const width = shape.length === 0 ? 1 : Math.min(chunk.at(-1)!, shape.at(-1)! - offset.at(-1)!);
  if (offset.some((n, axis) => n >= shape[axis])) return;
  const index = shape.map(() => 0);
  for (;;) {
    let from = 0;
    let to = 0;
    let inside = true;
    for (let axis = 0; axis < shape.length; axis++) {
      const at = offset[axis] + index[axis];
      inside &&= at < shape[axis];
      from = from * chunk[axis] + index[axis];
      to = to * shape[axis] + at;
    }
    if (inside) out.set(data.subarray(from * size, (from + width) * size), to * size);
    let axis = shape.length - 2;
    while (axis >= 0 && ++index[axis] >= chunk[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}
