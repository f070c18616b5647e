import { FormatError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import { isSource, type ModelFiles, readSource } from "./source.ts";

/** Models of several files: one is the model's, and names the others. */

/** A file, and where it came from: a model of several files names the others. */
export interface SourceFile {
  readonly bytes: Uint8Array;
  /** Path or URL, where the source has one. */
  readonly place?: string;
  /** Files that came with it, by name. */
  readonly files?: ReadonlyMap<string, unknown>;
}

/** A file next to the model's, which names it; it may not lead elsewhere. */
function beside(place: string, path: string, where: string): string {
  if (/^([a-z]+:|[/\\])|(^|[/\\])\.\.([/\\]|$)/i.test(path))
    throw new FormatError(`${where}: the file ${shown(path)} is not beside the model`);
  // A query may carry a signature that the other files need too; in a path it is part of a name.
  const [base, ...rest] = /^https?:/i.test(place) ? place.split(/(?=[?#])/) : [place];
  const folder = base.slice(0, Math.max(base.lastIndexOf("/"), base.lastIndexOf("\\")) + 1);
  return folder + path + rest.join("");
}

/** Files by their names. */
export function filesByName(files: ModelFiles): Map<string, unknown> {
  const entries = Object.entries(files);
  // A list of a page's own has more to it than the files, and is no array.
  const listed = Array.isArray(files) || Object.prototype.toString.call(files) === "[object FileList]";
  // By values, which passes over holes, however many.
  return new Map(listed ? entries.map(([, file]) => [String((file as File | null)?.name), file]) : entries);
}

/**
 * A file that a model's names: of those that came with it, or beside it.
 *
 * @throws FormatError where there is none
 */
export async function readBeside({ place, files }: SourceFile, path: string, where: string): Promise<Uint8Array> {
  const given = files?.get(path) ?? files?.get(path.split("/").at(-1)!);
  if (isSource(given)) return readSource(given, where);
  if (files)
    throw new FormatError(`${where}: the file ${shown(path)} is missing; there are ${shown([...files.keys()])}`);
  if (place === undefined)
    throw new FormatError(
      `${where}: the model is in the file ${shown(path)} too; pass its path or URL, or all of its files by name`,
    );
  const at = beside(place, path, where);
  try {
    return await readSource(at, where);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`${where}: the file ${shown(path)}, which the model names, is not at ${shown(at)}`);
  }
}
