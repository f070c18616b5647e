import { FormatError } from "../core/errors.ts";
import { shown } from "../core/options.ts";

/**
 * Zip archives, read and written: entries stored as they are or deflated,
 * ZIP64 where a writer used it (PyTorch always does).
 *
 * Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.
 */

export interface ZipEntry {
  readonly name: string;
  /** Bytes when unpacked, as the archive says. */
  readonly size: number;
  readonly deflated: boolean;
  /** The bytes as they are stored: a view of the archive. */
  readonly stored: Uint8Array;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;

export function isZip(bytes: Uint8Array): boolean {
  return bytes.length >= 22 && bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/**
 * The entries of an archive, by name. Nothing is unpacked.
 *
 * @throws FormatError for what is damaged, encrypted, packed otherwise, or named twice
 */
export function readZip(bytes: Uint8Array, where: string): Map<string, ZipEntry> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u16 = (at: number) => view.getUint16(at, true);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => u32(at) + u32(at + 4) * 2 ** 32;
  const inside = (at: number, length: number, what: string) => {
    if (!(at >= 0 && at + length <= bytes.length))
      throw new FormatError(`${where}: the zip archive is damaged: ${what} lies outside of its ${bytes.length} bytes`);
  };
  let end = bytes.length - 22;
  for (const least = Math.max(0, end - 65535); end >= least && u32(end) !== END; ) end--;
  if (end < 0 || u32(end) !== END) throw new FormatError(`${where}: a zip archive without its directory: cut off?`);
  let count = u16(end + 10);
  let at = u32(end + 16);
  if (end >= 20 && u32(end - 20) === LOCATOR64) {
    const end64 = u64(end - 12);
    inside(end64, 56, "its directory");
    if (u32(end64) !== END64) throw new FormatError(`${where}: the zip archive's directory is damaged`);
    count = u64(end64 + 32);
    at = u64(end64 + 48);
  }
  const entries = new Map<string, ZipEntry>();
  for (let i = 0; i < count; i++) {
    inside(at, 46, "its directory");
    if (u32(at) !== CENTRAL) throw new FormatError(`${where}: the zip archive's directory is damaged at entry ${i}`);
    const [flags, method] = [u16(at + 8), u16(at + 10)];
    let [packed, size, start] = [u32(at + 20), u32(at + 24), u32(at + 42)];
    const [nameLength, extraLength, commentLength] = [u16(at + 28), u16(at + 30), u16(at + 32)];
    const extra = at + 46 + nameLength;
    inside(extra, extraLength + commentLength, "its directory");
    const name = new TextDecoder().decode(bytes.slice(at + 46, extra));
    const entry = `${where}: ${shown(name)}`;
    for (let field = extra; field + 4 <= extra + extraLength; field += 4 + u16(field + 2)) {
      if (u16(field) !== 1) continue; // ZIP64: those of the three numbers that did not fit, in this order
      let next = field + 4;
      const wide = () => {
        inside(next, 8, "its directory");
        next += 8;
        return u64(next - 8);
      };
      if (size === 0xffffffff) size = wide();
      if (packed === 0xffffffff) packed = wide();
      if (start === 0xffffffff) start = wide();
    }
    if (flags & 1) throw new FormatError(`${entry}: is encrypted`);
    if (method !== 0 && method !== 8)
      throw new FormatError(`${entry}: is packed by method ${method}; expected stored (0) or deflated (8)`);
    if (method === 0 && packed !== size) throw new FormatError(`${entry}: expected ${size} bytes, got ${packed}`);
    inside(start, 30, shown(name));
    if (u32(start) !== LOCAL) throw new FormatError(`${entry}: its header is damaged`);
    const data = start + 30 + u16(start + 26) + u16(start + 28);
    inside(data, packed, shown(name));
    if (entries.has(name)) throw new FormatError(`${entry}: stands twice in the archive`);
    entries.set(name, { name, size, deflated: method === 8, stored: bytes.subarray(data, data + packed) });
    at = extra + extraLength + commentLength;
  }
  return entries;
}

/**
 * An entry's bytes: a view of the archive where they are stored as they are.
 * Deflated ones are unpacked no further than `most`.
 *
 * @throws FormatError for an entry larger than `most` or than it says
 */
export async function unpack(entry: ZipEntry, where: string, most = 2 ** 30): Promise<Uint8Array> {
  const { name, size, deflated, stored } = entry;
  if (size > most) throw new FormatError(`${where}: ${shown(name)}: ${size} bytes; expected at most ${most}`);
  if (!deflated) return stored;
  const damaged = (why: string) => new FormatError(`${where}: ${shown(name)}: ${why}`);
  // No deflate makes more of a byte: a small archive cannot claim much memory.
  if (size > 1032 * (stored.length + 1)) throw damaged(`${stored.length} bytes cannot unpack to ${size}`);
  const out = await inflate(stored, size, "deflate-raw", damaged);
  if (out.length !== size) throw damaged(`unpacks to ${out.length} bytes; expected ${size}`);
  return out;
}

/**
 * Deflated bytes, unpacked.
 *
 * @param format "deflate-raw", or "deflate" with zlib's header and checksum
 * @param most   bytes that may come out
 * @throws what `damaged` makes of the reason
 */
export async function inflate(
  packed: Uint8Array,
  most: number,
  format: "deflate-raw" | "deflate",
  damaged: (why: string) => FormatError,
): Promise<Uint8Array> {
  const out = new Uint8Array(most);
  let at = 0;
  const stream = new Blob([new Uint8Array(packed)]).stream().pipeThrough(new DecompressionStream(format));
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > most) throw damaged(`unpacks to more than the ${most} bytes that it says`);
      out.set(value, at);
      at += value.length;
    }
  } catch (error) {
    void reader.cancel().catch(() => {});
    if (error instanceof FormatError) throw error;
    throw damaged("cannot be unpacked; the archive is damaged");
  }
  return out.subarray(0, at);
}

/** Bytes that may come out of an archive of so many: 64 MiB, and 16 times its size. */
export function unpackedLimit(bytes: number): number {
  return 2 ** 26 + 16 * bytes;
}

/** An archive of stored entries in their order; the same files give the same bytes. */
export function writeZip(files: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const names = [...files.keys()].map((name) => new TextEncoder().encode(name));
  const contents = [...files.values()];
  const sums = contents.map(crc32);
  const local = names.reduce((sum, name, i) => sum + 30 + name.length + contents[i].length, 0);
  const directory = names.reduce((sum, name) => sum + 46 + name.length, 0);
  if (local + directory + 22 >= 0xffffffff) throw new FormatError("zip: more than 4 GiB");
  const out = new Uint8Array(local + directory + 22);
  const view = new DataView(out.buffer);
  let at = 0;
  let entry = local;
  names.forEach((name, i) => {
    const { length } = contents[i];
    const common = (place: number) => {
      view.setUint16(place, 20, true); // version needed
      view.setUint16(place + 2, 0x800, true); // names in UTF-8
      view.setUint16(place + 8, 0x21, true); // 1 January 1980
      view.setUint32(place + 10, sums[i], true);
      view.setUint32(place + 14, length, true);
      view.setUint32(place + 18, length, true);
      view.setUint16(place + 22, name.length, true);
    };
    view.setUint32(entry, CENTRAL, true);
    view.setUint16(entry + 4, 20, true);
    common(entry + 6);
    view.setUint32(entry + 42, at, true);
    out.set(name, entry + 46);
    entry += 46 + name.length;
    view.setUint32(at, LOCAL, true);
    common(at + 4);
    out.set(name, at + 30);
    out.set(contents[i], at + 30 + name.length);
    at += 30 + name.length + length;
  });
  view.setUint32(entry, END, true);
  view.setUint16(entry + 8, names.length, true);
  view.setUint16(entry + 10, names.length, true);
  view.setUint32(entry + 12, directory, true);
  view.setUint32(entry + 16, local, true);
  return out;
}

/** CRC-32 of ISO 3309, a byte at a time. */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC[(crc ^ bytes[i]) & 255];
  return ~crc >>> 0;
}

const CRC = Int32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});
