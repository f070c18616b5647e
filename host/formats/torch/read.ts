import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { fromBfloat, fromHalf } from "../half.ts";
import { isZip, readZip, unpack } from "../zip.ts";
import { type Allowed, Global, type Pickled, unpickle } from "./pickle.ts";

/**
 * What `torch.save` wrote: since 1.6 a zip of `<root>/data.pkl` and the
 * storages `<root>/data/<key>`; before, several pickles in a row (a magic
 * number, the version, the system, the object, the keys of storages), then the
 * storages, each behind its length.
 */

/** A tensor in a file. Its numbers are made when they are asked for: a view may be far larger than its storage. */
export interface TorchTensor {
  /** "F32", "I64"..., safetensors' names. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** As f32. */
  read(): Float32Array;
}

/** A kind of storage: bytes of an element, and its elements as numbers. */
interface Kind {
  readonly dtype: string;
  readonly size: number;
  /** Absent for those that no weight is made of. */
  readonly read?: (bytes: Uint8Array) => ArrayLike<number>;
}

const words = (bytes: Uint8Array) => new Uint16Array(bytes.slice().buffer);

/** PyTorch's storage classes. */
const KINDS: Readonly<Record<string, Kind>> = {
  FloatStorage: { dtype: "F32", size: 4, read: (b) => new Float32Array(b.slice().buffer) },
  DoubleStorage: { dtype: "F64", size: 8, read: (b) => new Float64Array(b.slice().buffer) },
  HalfStorage: { dtype: "F16", size: 2, read: (b) => fromHalf(words(b)) },
  BFloat16Storage: { dtype: "BF16", size: 2, read: (b) => fromBfloat(words(b)) },
  LongStorage: { dtype: "I64", size: 8 },
  IntStorage: { dtype: "I32", size: 4 },
  ShortStorage: { dtype: "I16", size: 2 },
  CharStorage: { dtype: "I8", size: 1 },
  ByteStorage: { dtype: "U8", size: 1 },
  BoolStorage: { dtype: "BOOL", size: 1 },
};

/** dtypes as newer files name them beside an untyped storage. */
const DTYPES: Readonly<Record<string, string>> = {
  "torch.float32": "FloatStorage",
  "torch.float64": "DoubleStorage",
  "torch.float16": "HalfStorage",
  "torch.bfloat16": "BFloat16Storage",
  "torch.int64": "LongStorage",
  "torch.int32": "IntStorage",
  "torch.int16": "ShortStorage",
  "torch.int8": "CharStorage",
  "torch.uint8": "ByteStorage",
  "torch.bool": "BoolStorage",
};

/** Numbers that tensors share. The bytes come after the pickle. */
class Storage {
  /** From the file's first element under this key on. */
  bytes?: Uint8Array;

  constructor(
    readonly key: string,
    /** Absent for an untyped storage, whose elements are bytes. */
    readonly kind: Kind | undefined,
    /** Elements. */
    readonly count: number,
    /** The first of them, of those that the file has under this key. */
    readonly first: number,
  ) {}

  /** Elements of a kind that it has room for. */
  room({ size }: Kind): number {
    return this.kind ? this.count : Math.floor(this.count / size);
  }

  /** Elements [from, to). */
  read(kind: Kind, from: number, to: number): ArrayLike<number> {
    const start = this.first * (this.kind?.size ?? 1);
    return kind.read!(this.bytes!.subarray(start + from * kind.size, start + to * kind.size));
  }
}

/** A tensor as the pickle describes it. */
class Tensor implements TorchTensor {
  readonly dtype: string;
  constructor(
    readonly storage: Storage,
    readonly kind: Kind,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
    private readonly where: string,
  ) {
    this.dtype = kind.dtype;
  }

  read(): Float32Array {
    const { shape, stride, offset } = this;
    if (!this.kind.read)
      throw new FormatError(`${this.where}: a tensor of ${this.dtype}; expected F32, F64, F16 or BF16`);
    const out = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (out.length === 0) return out;
    const from = this.storage.read(this.kind, offset, 1 + lastOf(offset, shape, stride));
    const index = shape.map(() => 0);
    for (let i = 0, at = 0; i < out.length; i++) {
      out[i] = from[at];
      // The next index: the last axis fastest, carried as in counting.
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        at += stride[axis];
        if (++index[axis] < shape[axis]) break;
        at -= stride[axis] * shape[axis];
        index[axis] = 0;
      }
    }
    return out;
  }
}

/** The element furthest in storage. */
function lastOf(offset: number, shape: readonly number[], stride: readonly number[]): number {
  return shape.reduce((sum, n, axis) => sum + (n - 1) * stride[axis], offset);
}

const isCount = (value: Pickled): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Everything that a file of tensors may name, and the storages that it asked for. */
function allowed(where: string): { allowed: Allowed; storages: Storage[] } {
  const storages: Storage[] = [];
  const bad = (what: string, value: Pickled) => new FormatError(`${where}: ${what}: got ${shown(value)}`);

  const tensor = (args: readonly Pickled[], kind?: Kind): Tensor => {
    const [storage, offset, shape, stride] = args;
    if (!(storage instanceof Storage)) throw bad("expected the storage of a tensor", storage);
    const own = kind ?? storage.kind;
    if (!own) throw bad("expected a storage that says what it holds", storage.key);
    if (!isCount(offset)) throw bad("expected a tensor's offset", offset);
    if (!Array.isArray(shape) || !shape.every(isCount) || shape.length > 8)
      throw bad("expected a tensor's shape", shape);
    if (!Array.isArray(stride) || !stride.every(isCount) || stride.length !== shape.length)
      throw bad("expected a tensor's strides", stride);
    const last = lastOf(offset, shape, stride);
    const room = storage.room(own);
    if (!shape.includes(0) && !(last < room))
      throw bad(`a tensor of [${shape}] reaches element ${last} of ${room} in storage`, storage.key);
    return new Tensor(storage, own, offset, shape, stride, where);
  };

  const parameter = ([data]: readonly Pickled[]): Pickled => {
    if (!(data instanceof Tensor)) throw bad("expected the tensor of a parameter", data);
    return data;
  };

  const globals: [string, ((args: readonly Pickled[]) => Pickled) | null][] = [
    ["collections.OrderedDict", dictionary],
    ["builtins.set", ([values]) => new Set(Array.isArray(values) ? values : [])],
    ["__builtin__.set", ([values]) => new Set(Array.isArray(values) ? values : [])],
    ["torch.Size", ([values]) => (Array.isArray(values) ? values : [])],
    ["torch.device", ([name]) => name],
    ["_codecs.encode", ([text]) => text],
    ["torch._utils._rebuild_tensor", (args) => tensor(args)],
    ["torch._utils._rebuild_tensor_v2", (args) => tensor(args)],
    [
      "torch._utils._rebuild_tensor_v3",
      (args) => {
        const dtype = args[6];
        if (!(dtype instanceof Global) || !Object.hasOwn(DTYPES, dtype.name)) throw bad("expected a dtype", dtype);
        return tensor(args, KINDS[DTYPES[dtype.name]]);
      },
    ],
    ["torch._utils._rebuild_parameter", parameter],
    ["torch._utils._rebuild_parameter_with_state", parameter],
    [
      // A tensor with attributes of its own: (function, type, arguments, attributes).
      "torch._tensor._rebuild_from_type_v2",
      ([callee, , args]) => {
        if (!(callee instanceof Global) || !callee.make || !Array.isArray(args)) throw bad("expected a tensor", callee);
        const made = callee.make(args);
        if (!(made instanceof Tensor)) throw bad("expected a tensor", made);
        return made;
      },
    ],
    ["torch.Tensor", null],
    ["torch.nn.parameter.Parameter", null],
    ["torch.storage.UntypedStorage", null],
    ...Object.keys(KINDS).map((name): [string, null] => [`torch.${name}`, null]),
    ...Object.keys(DTYPES).map((name): [string, null] => [name, null]),
  ];

  const known = new Map<string, Storage>();
  const persistent = (id: Pickled): Pickled => {
    if (!Array.isArray(id) || id[0] !== "storage") throw bad("expected the id of a storage", id);
    const [, type, key, , count, view] = id;
    const kind = type instanceof Global ? KINDS[type.name.replace("torch.", "")] : undefined;
    if (!(type instanceof Global) || (!kind && type.name !== "torch.storage.UntypedStorage"))
      throw bad("expected a class of storage", type);
    if (typeof key !== "string" || !isCount(count)) throw bad("expected the key of a storage and its length", key);
    // Old files: a storage may be part of another, (key, first element, elements).
    const [, first, part] = Array.isArray(view) ? view : [key, 0, count];
    if (!isCount(first) || !isCount(part)) throw bad("expected a part of a storage", view);
    const name = `${type.name} ${key} ${first} ${part}`;
    let storage = known.get(name);
    if (!storage) {
      storage = new Storage(key, kind, part, first);
      known.set(name, storage);
      storages.push(storage);
    }
    return storage;
  };

  return { allowed: { globals: new Map(globals), persistent }, storages };
}

/** OrderedDict(), or of a list of pairs. */
function dictionary([pairs]: readonly Pickled[]): Map<Pickled, Pickled> {
  const map = new Map<Pickled, Pickled>();
  if (Array.isArray(pairs)) for (const pair of pairs) if (Array.isArray(pair)) map.set(pair[0], pair[1]);
  return map;
}

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
  for (const storage of reading.storages) {
    const entry = entries.get(`${root}data/${storage.key}`);
    if (!entry) throw new FormatError(`${where}: storage ${shown(storage.key)} is missing`);
    storage.bytes = await unpack(entry, where);
    checkLength(storage, where);
  }
  return value;
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
  for (const storage of reading.storages) {
    const own = byKey.get(storage.key);
    if (own) own.push(storage);
    else byKey.set(storage.key, [storage]);
  }
  let at = keys.end;
  for (const key of keys.value) {
    if (at + 8 > bytes.length) throw new FormatError(`${where}: storage ${shown(key)} is missing: cut off?`);
    const count = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
    at += 8;
    const own = byKey.get(key) ?? [];
    byKey.delete(key);
    const size = own[0]?.kind?.size;
    if (size === undefined) throw new FormatError(`${where}: storage ${shown(key)} belongs to no tensor`);
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

function checkLength({ key, bytes, kind, first, count }: Storage, where: string): void {
  // The length of an untyped storage is in bytes.
  const expected = (first + count) * (kind?.size ?? 1);
  if (!bytes || bytes.length < expected)
    throw new FormatError(`${where}: storage ${shown(key)}: expected ${expected} bytes, got ${bytes?.length ?? 0}`);
}

/**
 * The state dict in what a file holds: the object itself, or the dictionary of
 * tensors under a key of a checkpoint.
 *
 * @param key which one, "ema.model" for nested ones; default the only one that there is
 * @throws FormatError when there is none, or several and no key
 */
export function stateDict(value: Pickled, key: string | undefined, where: string): Map<string, TorchTensor> {
  const found = new Map<string, Map<string, TorchTensor>>();
  const seen = new Set<Pickled>();
  const visit = (at: Pickled, path: string, depth: number) => {
    if (!(at instanceof Map) || seen.has(at)) return;
    seen.add(at);
    const tensors = [...at].filter(
      (pair): pair is [string, Tensor] => typeof pair[0] === "string" && pair[1] instanceof Tensor,
    );
    if (tensors.length) found.set(path, new Map(tensors));
    else if (depth < 3)
      for (const [name, inner] of at)
        if (typeof name === "string") visit(inner, path ? `${path}.${name}` : name, depth + 1);
  };
  visit(value, "", 0);
  const names = [...found.keys()].slice(0, 8).map((name) => shown(name));
  if (key !== undefined) {
    const chosen = found.get(key);
    if (!chosen)
      throw new FormatError(
        `${where}: no tensors under ${shown(key)}; the file has them under ${names.join(", ") || "no key"}`,
      );
    return chosen;
  }
  // Moments of an optimizer are dictionaries of tensors, but under numbers, which are not searched.
  if (found.size === 1) return [...found.values()][0];
  if (found.size === 0) throw new FormatError(`${where}: the file has no dictionary of tensors`);
  throw new FormatError(`${where}: several dictionaries of tensors: ${names.join(", ")}; choose one with { key }`);
}
