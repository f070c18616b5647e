import { FormatError, OptionError } from "../core/errors.ts";
import { shown } from "../core/options.ts";

/** Where a model may come from: a path (Node-like runtimes), a URL, bytes, a Response, a File or Blob. */
export type ModelSource = string | URL | Uint8Array | ArrayBufferLike | Response | Blob;

/** A model of several files: by their names, or a list of File objects. */
export type ModelFiles = Readonly<Record<string, unknown>> | ArrayLike<Blob>;

/** Whether it is one file; by what it can do, not by instanceof: Node loads all of fetch at the first mention of Response. */
export function isSource(source: unknown): source is ModelSource {
  if (typeof source === "string" || isBytes(source)) return true;
  return source instanceof URL || typeof (source as Blob | null | undefined)?.arrayBuffer === "function";
}

/** Bytes; not by instanceof, as frames and test runners have an ArrayBuffer of their own. */
function isBytes(source: unknown): source is Uint8Array | ArrayBufferLike {
  const name = classOf(source);
  return ArrayBuffer.isView(source) ? name === "Uint8Array" : /^(Shared)?ArrayBuffer$/.test(name);
}

function classOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Whether it may be several. */
export function isFiles(source: unknown): source is ModelFiles {
  return typeof source === "object" && source !== null && !ArrayBuffer.isView(source);
}

/** Bytes without a subclass's habits: the slice of Node's Buffer is a view, and not a copy. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A view of bytes; of memory that threads share a copy, which nobody changes and browsers decode. */
function bytesOf(source: Uint8Array | ArrayBufferLike): Uint8Array {
  const [buffer, at] = ArrayBuffer.isView(source) ? [source.buffer, source.byteOffset] : [source, 0];
  const bytes = new Uint8Array(buffer, at, source.byteLength);
  return classOf(buffer) === "SharedArrayBuffer" ? bytes.slice() : bytes;
}

/** All bytes of a source. @param where named in errors */
export async function readSource(source: ModelSource, where: string): Promise<Uint8Array> {
  if (isBytes(source)) return bytesOf(source);
  if (typeof source === "string" || source instanceof URL) {
    const place = String(source);
    if (!/^(https?|data|blob):/i.test(place)) {
      const { hasFiles, readFile } = await import("../files/files.ts");
      if (hasFiles()) return readFile(place);
    }
    source = await fetch(place).catch((error: Error & { cause?: Error }) => {
      // Browsers do not say why.
      const why = error.cause?.message || `${error.message}; is it there, and may this page read it (CORS)?`;
      throw new FormatError(`${where}: cannot fetch ${shown(place)}: ${why}`);
    });
  }
  if (!isSource(source))
    throw new OptionError(`${where}: expected a path, URL, bytes, Response or File, got ${shown(source)}`);
  if ("ok" in source && !source.ok)
    throw new FormatError(`${where}: ${source.url || "the server"} answered ${source.status} ${source.statusText}`);
  return new Uint8Array(await source.arrayBuffer());
}
