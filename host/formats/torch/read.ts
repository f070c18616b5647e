import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { append } from "../append.ts";
import { isZip, readZip, unpack, unpackedLimit } from "../zip.ts";
import { allowed } from "./globals.ts";
import { type Allowed, Instance, type Pickled, unpickle } from "./pickle.ts";
import { type Storage, TensorView, type TorchTensor } from "./tensors.ts";

/**
 * What `torch.save` wrote: since 1.6 a zip of `<root>/data.pkl` and the
 * storages `<root>/data/<key>`; before, several pickles in a row (a magic
 * number, the version, the system, the object, the keys of storages), then the
 * storages, each behind its length.
 */

/** PyTorch's mark on files from before 1.6, in a pickle of its own. */
const MAGIC = 0x1950a86a20f9469cfc6cn;

/**
 * The object in a file of `torch.save`, with tensors as `TorchTensor`.
 *
 * @throws FormatError for damaged files, and by name for whatever a pickle may not hold
 */
export async function readTorch(bytes: Uint8Array, where: string): Promise<Pickled> {
  return isZip(bytes) ? readArchive(bytes, where) : readLegacy(bytes, where);
}

async function readArchive(bytes: Uint8Array, where: string): Promise<Pickled> {
  const entries = readZip(bytes, where);
  const pickle = [...entries.values()].find(({ name }) => name.endsWith("/data.pkl"));
  if (!pickle) throw new FormatError(`${where}: a zip archive without data.pkl; expected a file of torch.save`);
  const root = pickle.name.slice(0, -"data.pkl".length);
  const order = entries.get(`${root}byteorder`);
  if (order && new TextDecoder().decode((await unpack(order, where, 16)).slice()) !== "little")
    throw new FormatError(`${where}: a file of a big-endian machine; expected little-endian`);
  const reading = allowed(where);
  const { value } = unpickle(await unpack(pickle, where, bytes.length * 8), 0, reading.allowed, where);
  let room = unpackedLimit(bytes.length);
  for (const storage of reading.storages) {
    const entry = entries.get(`${root}data/${storage.key}`);
    if (!entry) throw new FormatError(`${where}: storage ${shown(storage.key)} is missing`);
    storage.bytes = await unpack(entry, where, room);
    if (entry.deflated) room -= entry.size;
    checkLength(storage, where);
  }
  if (!(value instanceof Instance)) return value;
  const tensors = tensorsOf(value);
  if (tensors.size === 0)
    throw new FormatError(
      `${where}: a TorchScript archive without parameters; save model.state_dict() before torch.jit.freeze`,
    );
  return tensors;
}

/** The state dict of a module of TorchScript, whose attributes are its tensors and the modules within it. */
function tensorsOf(module: Instance): Map<string, TensorView> {
  const tensors = new Map<string, TensorView>();
  const seen = new Set([module]);
  const queue: [Instance, string][] = [[module, ""]];
  for (const [{ attributes }, prefix] of queue) {
    if (!(attributes instanceof Map)) continue;
    for (const [name, value] of attributes as Map<Pickled, Pickled>) {
      if (value instanceof TensorView) tensors.set(`${prefix}${name}`, value);
      if (!(value instanceof Instance) || seen.has(value)) continue;
      seen.add(value);
      queue.push([value, `${prefix}${name}.`]);
    }
  }
  return tensors;
}

function readLegacy(bytes: Uint8Array, where: string): Pickled {
  const nothing: Allowed = { globals: new Map() };
  const magic = unpickle(bytes, 0, nothing, where);
  if (magic.value !== MAGIC) throw new FormatError(`${where}: not a file of torch.save`);
  const version = unpickle(bytes, magic.end, nothing, where);
  if (version.value !== 1001) throw new FormatError(`${where}: version ${shown(version.value)}; expected 1001`);
  const system = unpickle(bytes, version.end, nothing, where);
  if (!(system.value instanceof Map) || system.value.get("little_endian") !== true)
    throw new FormatError(`${where}: a file of a big-endian machine; expected little-endian`);
  const reading = allowed(where);
  const object = unpickle(bytes, system.end, reading.allowed, where);
  const keys = unpickle(bytes, object.end, nothing, where);
  if (!Array.isArray(keys.value)) throw new FormatError(`${where}: expected the keys of storages`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const byKey = new Map<Pickled, Storage[]>();
  for (const storage of reading.storages) append(byKey, storage.key, storage);
  let at = keys.end;
  for (const key of keys.value) {
    if (at + 8 > bytes.length) throw new FormatError(`${where}: storage ${shown(key)} is missing: cut off?`);
    const count = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
    at += 8;
    const own = byKey.get(key) ?? [];
    byKey.delete(key);
    if (own.length === 0) throw new FormatError(`${where}: storage ${shown(key)} belongs to no tensor`);
    const { size } = own[0];
    if (own.some((storage) => storage.size !== size))
      throw new FormatError(`${where}: storage ${shown(key)}: numbers of several types`);
    if (count * size > bytes.length - at)
      throw new FormatError(
        `${where}: storage ${shown(key)}: expected ${count * size} bytes, got ${bytes.length - at}`,
      );
    for (const storage of own) storage.bytes = bytes.subarray(at, at + count * size);
    at += count * size;
  }
  for (const storage of reading.storages) checkLength(storage, where);
  return object.value;
}

function checkLength({ key, bytes, size, first, count }: Storage, where: string): void {
  // The length of an untyped storage is in bytes.
  const expected = (first + count) * size;
  if (!bytes || bytes.length < expected)
    throw new FormatError(`${where}: storage ${shown(key)}: expected ${expected} bytes, got ${bytes?.length ?? 0}`);
}

/**
 * The dictionaries of tensors in what a file holds, by their keys: "" for the
 * object itself, "ema.model" for one within another, "0" for the first of a
 * list. Single numbers, such as a best score, make no dictionary of tensors.
 */
export function stateDicts(value: Pickled): Map<string, Map<string, TorchTensor>> {
  const found = new Map<string, Map<string, TorchTensor>>();
  const seen = new Set<Pickled>([value]);
  const queue: [Pickled, string][] = [[value, ""]];
  for (const [object, path] of queue) {
    // Moments of an optimizer are dictionaries of tensors too, but under numbers, which are not searched.
    const names = object instanceof Map ? [...object.keys()].filter((key) => typeof key === "string") : [];
    const entries: [string, Pickled][] = names.map((name) => [name, (object as Map<string, Pickled>).get(name)]);
    const tensors = entries.filter((entry): entry is [string, TensorView] => entry[1] instanceof TensorView);
    if (tensors.some(([, { shape }]) => shape.length)) found.set(path, new Map(tensors));
    const inside = Array.isArray(object) ? object.map((inner, i): [string, Pickled] => [`${i}`, inner]) : entries;
    for (const [key, inner] of inside) {
      if (!(inner instanceof Map || Array.isArray(inner)) || seen.has(inner)) continue;
      seen.add(inner);
      queue.push([inner, path ? `${path}.${key}` : key]);
    }
  }
  return found;
}

/**
 * The state dict in what a file holds: the only one that there is, or what the
 * keys say, several as one with the keys before their names.
 *
 * @throws FormatError when there is none, or several and no key
 */
export function stateDict(
  value: Pickled,
  keys: string | readonly string[] | undefined,
  where: string,
): Map<string, TorchTensor> {
  const found = stateDicts(value);
  const names = listed([...found.keys()]);
  if (keys === undefined) {
    if (found.size === 1) return [...found.values()][0];
    if (found.size === 0)
      throw new FormatError(`${where}: the file has no dictionary of tensors; save model.state_dict()`);
    throw new FormatError(`${where}: several dictionaries of tensors: ${names}; choose one with { key }`);
  }
  const dictionary = (key: string) => {
    const chosen = found.get(key);
    if (chosen) return chosen;
    const there = found.has("") ? "has them at its top: leave { key } out" : `has them under ${names || "no key"}`;
    throw new FormatError(`${where}: no tensors under ${shown(key)}; the file ${there}`);
  };
  if (typeof keys === "string") return dictionary(keys);
  return new Map(
    keys.flatMap((key) => [...dictionary(key)].map(([name, tensor]) => [`${key}.${name}`, tensor] as const)),
  );
}

function listed(names: readonly string[]): string {
  return `${names
    .slice(0, 8)
    .map((name) => shown(name))
    .join(", ")}${names.length > 8 ? ", ..." : ""}`;
}
