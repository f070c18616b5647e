import { FormatError, OptionError } from "../core/errors.ts";
import { shown } from "../core/options.ts";

/** Where a model may come from: a path (Node-like runtimes), a URL, bytes, a Response, a File or Blob. */
export type ModelSource = string | URL | Uint8Array | ArrayBuffer | Response | Blob;

/** A model of several files, by their names. */
export type ModelFiles = Readonly<Record<string, unknown>>;

/** Whether it is one file; by what it can do, not by instanceof: Node loads all of fetch at the first mention of Response. */
export function isSource(source: unknown): source is ModelSource {
  if (typeof source === "string" || source instanceof Uint8Array || source instanceof ArrayBuffer) return true;
  return source instanceof URL || typeof (source as Blob | null | undefined)?.arrayBuffer === "function";
}

/** Whether it may be several. */
export function isFiles(source: unknown): source is ModelFiles {
  return typeof source === "object" && source !== null && !ArrayBuffer.isView(source);
}

/** Bytes without a subclass's habits: the slice of Node's Buffer is a view, and not a copy. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** All bytes of a source. @param where named in errors */
export async function readSource(source: ModelSource, where: string): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return plainBytes(source);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (typeof source === "string" || source instanceof URL) {
    const place = String(source);
    if (!/^(https?|data|blob):/i.test(place)) {
      const { hasFiles, readFile } = await import("../files/files.ts");
      if (hasFiles()) return readFile(place);
    }
    source = await fetch(place);
  }
  if (!isSource(source))
    throw new OptionError(`${where}: expected a path, URL, bytes, Response or File, got ${shown(source)}`);
  if ("ok" in source && !source.ok)
    throw new FormatError(`${where}: ${source.url} answered ${source.status} ${source.statusText}`);
  return new Uint8Array(await source.arrayBuffer());
}

/** A file next to the model's, which names it; it may not lead elsewhere. */
export function beside(place: string, path: string, where: string): string {
  if (/^([a-z]+:|[/\\])|(^|[/\\])\.\.([/\\]|$)/i.test(path))
    throw new FormatError(`${where}: the file ${shown(path)} is not beside the model`);
  const [base, ...rest] = place.split(/(?=[?#])/);
  const folder = base.slice(0, Math.max(base.lastIndexOf("/"), base.lastIndexOf("\\")) + 1);
  // A query may carry a signature that the other files need too.
  return folder + path + (/^https?:/i.test(base) ? rest.join("") : "");
}
