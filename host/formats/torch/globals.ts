import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { type Allowed, Global, Instance, type Pickled } from "./pickle.ts";
import { DTYPES, KINDS, type Kind, lastOf, Storage, TensorView } from "./tensors.ts";

/**
 * Everything that a file of tensors may name. What checkpoints hold besides
 * tensors becomes plain data, or nothing: nobody reads it.
 */

type Make = (args: readonly Pickled[]) => Pickled;

// Nothing is copied: a pickle may ask for a copy of the same list without end.
const listOf: Make = ([values]) => (Array.isArray(values) ? values : []);
const nothing: Make = () => null;
const instance: Make = () => new Instance();

/** OrderedDict(), or of a list of pairs, which it takes over; or Counter of a dictionary. */
const dictionary: Make = ([pairs]) => {
  if (pairs instanceof Map) return pairs;
  const map = new Map<Pickled, Pickled>();
  if (Array.isArray(pairs)) for (const pair of pairs.splice(0)) if (Array.isArray(pair)) map.set(pair[0], pair[1]);
  return map;
};

/** Data that is no tensor; `null` may be named but not called. */
const PLAIN: Readonly<Record<string, Make | null>> = {
  "collections.OrderedDict": dictionary,
  "collections.Counter": dictionary,
  "collections.defaultdict": () => new Map(),
  "collections.deque": listOf,
  "argparse.Namespace": () => new Map(),
  "types.SimpleNamespace": () => new Map(),
  "torch.Size": listOf,
  "torch.device": ([name]) => name,
  "_codecs.encode": ([text]) => text,
  ...each(["builtins", "__builtin__"], ["set", "frozenset"], listOf),
  ...each(["builtins", "__builtin__"], ["bytearray", "complex", "range", "xrange", "slice"], nothing),
  ...each(
    ["builtins", "__builtin__"],
    ["bool", "int", "long", "float", "str", "unicode", "bytes", "list", "tuple", "dict", "object"],
    null,
  ),
  ...each(["datetime"], ["datetime", "date", "time", "timedelta", "timezone"], nothing),
  ...each(["pathlib", "pathlib._local"], ["Path", "PosixPath", "WindowsPath", "PurePosixPath"], nothing),
  ...each(["numpy.core.multiarray", "numpy._core.multiarray"], ["_reconstruct", "scalar"], nothing),
  "numpy.dtype": nothing,
  ...each(["numpy"], ["ndarray", "float16", "float32", "float64", "int32", "int64", "bool_"], null),
  // Scalers of inputs and targets, and settings, that training scripts save beside the weights.
  ...each(
    ["sklearn.preprocessing._data", "sklearn.preprocessing.data"],
    ["StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler"],
    nothing,
  ),
  ...each(["sklearn.preprocessing._label", "sklearn.preprocessing.label"], ["LabelEncoder"], nothing),
  ...each(["omegaconf.dictconfig", "omegaconf.listconfig"], ["DictConfig", "ListConfig"], nothing),
  ...each(["omegaconf.base"], ["ContainerMetadata", "Metadata"], nothing),
  ...each(["omegaconf.nodes"], ["AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode"], nothing),
  "typing.Any": null,
  // TorchScript's.
  ...each(["torch.jit._pickle"], ["build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"], listOf),
  "torch.jit._pickle.restore_type_tag": ([value]) => value,
  // Keys of Lightning's checkpoints before 1.5.
  "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": null,
  "pytorch_lightning.callbacks.early_stopping.EarlyStopping": null,
};

function each<T>(modules: readonly string[], names: readonly string[], make: T): Record<string, T> {
  return Object.fromEntries(modules.flatMap((module) => names.map((name) => [`${module}.${name}`, make])));
}

/** Of names that are not allowed, those of which there is more to say. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/_rebuild_sparse|_get_layout$/, "a sparse tensor; save it with to_dense()"],
  [
    /^torch\.(Q\w+Storage|qu?int\w+|per_\w+)$|_rebuild_qtensor$/,
    "a quantised tensor; save the float model, or the tensor with dequantize()",
  ],
  [/^torch\.ScriptObject$/, "an object of C++, such as the weights of a quantised model; save the float model"],
  [/_rebuild_meta_tensor/, "a tensor of the meta device, which has no numbers"],
];

const isCount = (value: Pickled): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** What a file may name, and the storages that it asked for. */
export function allowed(where: string): { allowed: Allowed; storages: Storage[] } {
  const storages: Storage[] = [];
  const bad = (what: string, value: Pickled) => new FormatError(`${where}: ${what}: got ${shown(value)}`);

  const tensor = (args: readonly Pickled[], kind?: Kind, metadata?: Pickled): TensorView => {
    const [storage, offset, shape, stride] = args;
    if (!(storage instanceof Storage)) throw bad("expected the storage of a tensor", storage);
    const own = kind ?? storage.kind;
    if (!own) throw bad("expected a storage that says what it holds", storage.key);
    if (!isCount(offset)) throw bad("expected a tensor's offset", offset);
    if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount))
      throw bad("expected a tensor's shape", shape);
    if (!Array.isArray(stride) || stride.length !== shape.length || !stride.every(isCount))
      throw bad("expected a tensor's strides", stride);
    // Its storage holds the numbers with the other sign.
    if (metadata instanceof Map && metadata.get("neg"))
      throw new FormatError(`${where}: a lazily negated tensor; save it with resolve_neg()`);
    const last = lastOf(offset, shape, stride);
    const room = storage.room(own);
    if (!shape.includes(0) && !(last < room))
      throw bad(`a tensor of [${shape}] reaches element ${last} of ${room} in storage`, storage.key);
    return new TensorView(storage, own, offset, shape, stride, where);
  };

  const parameter: Make = ([data]) => {
    if (!(data instanceof TensorView)) throw bad("expected the tensor of a parameter", data);
    return data;
  };

  const makers: Readonly<Record<string, Make>> = {
    "torch._utils._rebuild_tensor": (args) => tensor(args),
    "torch._utils._rebuild_tensor_v2": (args) => tensor(args, undefined, args[6]),
    "torch._utils._rebuild_tensor_v3": (args) => {
      const dtype = args[6];
      if (!(dtype instanceof Global) || !Object.hasOwn(DTYPES, dtype.name)) throw bad("expected a dtype", dtype);
      return tensor(args, DTYPES[dtype.name], args[7]);
    },
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_parameter_with_state": parameter,
    "torch.nn.parameter.Parameter": parameter,
  };
  /** A tensor with attributes of its own: (function, type, arguments, attributes). */
  const fromType: Make = ([callee, , args]) => {
    const make = callee instanceof Global && Object.hasOwn(makers, callee.name) && makers[callee.name];
    if (!make || !Array.isArray(args)) throw bad("expected a tensor", callee);
    return make(args);
  };
  const globals = new Map<string, Make | null>([
    ...Object.entries(PLAIN),
    ...Object.entries(makers),
    ["torch._tensor._rebuild_from_type_v2", fromType],
    ["torch.Tensor", null],
    ["torch.storage.UntypedStorage", null],
    ...Object.keys(KINDS).map((name): [string, null] => [`torch.${name}`, null]),
    ...Object.keys(DTYPES).map((name): [string, null] => [name, null]),
  ]);
  // Classes that a TorchScript archive defines, which are modules.
  const get = (name: string) => (name.startsWith("__torch__.") ? instance : globals.get(name));

  const why = (name: string) => REASONS.find(([pattern]) => pattern.test(name))?.[1];

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

  return { allowed: { globals: { get }, why, persistent }, storages };
}
