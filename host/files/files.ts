import { FormatError, StateError } from "../core/errors.ts";
import { builtin } from "../core/host.ts";

/**
 * Files, for runtimes that have them: Node, Deno, Bun. A chunk of its own,
 * loaded when a path is first used; bundlers find no import of a Node module
 * in it.
 */

interface Handle {
  writeFile(data: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

interface Fs {
  open(path: string, flags: string): Promise<Handle>;
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { force: boolean }): Promise<void>;
  appendFile(path: string, text: string): Promise<void>;
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
}

function fs(): Fs {
  const module = builtin<{ promises: Fs }>("fs");
  if (!module)
    throw new StateError(
      "this runtime has no files; use toBytes(), and loadModel() with bytes, a URL, a Response or a File",
    );
  return module.promises;
}

/** Whether this runtime has files. */
export function hasFiles(): boolean {
  return builtin("fs") !== undefined;
}

/** A path from a path or a file: URL. */
function pathOf(place: string): string {
  const url = builtin<{ fileURLToPath(url: string): string }>("url");
  return /^file:/i.test(place) && url ? url.fileURLToPath(place) : place;
}

/** Bytes of a file. @param place a path or a file: URL */
export async function readFile(place: string): Promise<Uint8Array> {
  const bytes = await fs()
    .readFile(pathOf(place))
    .catch((error: Error & { code?: string }) => {
      throw error.code === "EISDIR" ? new FormatError(`${place} is a folder; name the model's file in it`) : error;
    });
  // Node's Buffer may be a window on memory that others use.
  return new Uint8Array(bytes);
}

/** Writes all or nothing: a temporary file beside it, flushed, then renamed. */
export async function writeFile(place: string, data: Uint8Array): Promise<void> {
  const { open, rename, rm } = fs();
  const path = pathOf(place);
  const temporary = `${path}.${Math.random().toString(36).slice(2)}.tmp`;
  try {
    const handle = await open(temporary, "w");
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Makes the folder that a file is to lie in. */
export async function makeFolder(path: string): Promise<void> {
  const folder = path.replace(/[^/\\]*$/, "");
  if (folder) await fs().mkdir(folder, { recursive: true });
}

export function appendFile(path: string, text: string): Promise<void> {
  return fs().appendFile(path, text);
}
