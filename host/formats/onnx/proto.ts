import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { count, shapeText } from "../../core/tensor.ts";
import { concat } from "../concat.ts";
import { fromBfloat, fromHalf } from "../half.ts";
import * as pb from "./protobuf.ts";

/**
 * The messages of ONNX that a model is made of, read and written.
 *
 * Source: onnx/onnx.proto, IR version 10; numbers of fields and of data types.
 */

/** A tensor whose numbers are known. */
export interface Constant {
  readonly shape: readonly number[];
  /** One of `TYPE`, or another number of ONNX's. */
  readonly type: number;
  /** Floats as f32; whole numbers and booleans as doubles. */
  readonly data: Float32Array | Float64Array;
}

export interface Attribute {
  readonly name: string;
  readonly f?: number;
  readonly i?: number;
  readonly s?: string;
  readonly t?: () => Constant;
  /** The graph in a Loop or If. */
  readonly g?: () => OnnxGraph;
  readonly floats: readonly number[];
  readonly ints: readonly number[];
  readonly strings: readonly string[];
}

export interface OnnxNode {
  readonly name: string;
  readonly type: string;
  /** "" is ONNX's own. */
  readonly domain: string;
  /** "" where an optional one is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
}

/** An input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  /** One of `TYPE`, or 0 for what is no tensor. */
  readonly type: number;
  /** A size, the name of one, or null; undefined where not even the number of axes is known. */
  readonly shape?: readonly (number | string | null)[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  /** Read when asked for. */
  readonly initializers: ReadonlyMap<string, () => Constant>;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

export interface OnnxModel extends OnnxGraph {
  readonly opset: number;
  readonly producer: string;
}

/** Numbers of ONNX's data types. */
export const TYPE = { float: 1, int32: 6, int64: 7, bool: 9, float16: 10, double: 11, bfloat16: 16 } as const;

/** How many axes a tensor may have. */
const MOST_AXES = 8;

/** Files beside the model that hold tensors' data. */
export class External {
  /** Which ones the model names. */
  readonly locations = new Set<string>();
  /** Those that are there, to be filled before tensors are read. */
  readonly files = new Map<string, Uint8Array>();
}

/**
 * @param external takes the names of other files, and gives their bytes when tensors are read
 * @throws FormatError for damaged files, and for opsets that are not known
 */
export function readModel(file: Uint8Array, where: string, external: External): OnnxModel {
  let opset = 0;
  let producer = "";
  let graph: Uint8Array | undefined;
  for (const field of pb.fields(file, where)) {
    if (field.number === 2 && field.wire === 2) producer = pb.text(field.bytes);
    else if (field.number === 7 && field.wire === 2) graph = field.bytes;
    else if (field.number === 8 && field.wire === 2) {
      let [domain, version] = ["", 0];
      for (const part of pb.fields(field.bytes, where)) {
        if (part.number === 1 && part.wire === 2) domain = pb.text(part.bytes);
        else if (part.number === 2) version = part.value;
      }
      if (domain === "" || domain === "ai.onnx") opset = version;
    }
  }
  if (!graph)
    throw new FormatError(
      `${where}: an ONNX file without a graph, or a SavedModel of TensorFlow, which begins as one; save that as .keras or .onnx`,
    );
  if (opset < 7) throw new FormatError(`${where}: opset ${opset}; expected 7 or newer`);
  return { opset, producer, ...readGraph(graph, where, external) };
}

function readGraph(graph: Uint8Array, where: string, external: External): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, () => Constant>();
  const inputs: OnnxValue[] = [];
  const outputs: OnnxValue[] = [];
  for (const { number, wire, bytes } of pb.fields(graph, where)) {
    if (wire !== 2) continue;
    if (number === 1) nodes.push(readNode(bytes, where, external));
    else if (number === 5) {
      const { name, read } = tensorReader(bytes, where, external);
      if (initializers.has(name)) throw new FormatError(`${where}: two initializers are called ${shown(name)}`);
      initializers.set(name, read);
    } else if (number === 11) inputs.push(readValue(bytes, where));
    else if (number === 12) outputs.push(readValue(bytes, where));
    else if (number === 15) throw new FormatError(`${where}: a sparse initializer; write it as a dense one`);
  }
  return { nodes, initializers, inputs, outputs };
}

function readNode(message: Uint8Array, where: string, external: External): OnnxNode {
  let [name, type, domain] = ["", "", ""];
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  for (const { number, wire, bytes } of pb.fields(message, where)) {
    if (wire !== 2) continue;
    if (number === 1) inputs.push(pb.text(bytes));
    else if (number === 2) outputs.push(pb.text(bytes));
    else if (number === 3) name = pb.text(bytes);
    else if (number === 4) type = pb.text(bytes);
    else if (number === 5) {
      const attribute = readAttribute(bytes, where, external);
      attributes.set(attribute.name, attribute);
    } else if (number === 7) domain = pb.text(bytes);
  }
  return { name, type, domain: domain === "ai.onnx" ? "" : domain, inputs, outputs, attributes };
}

function readAttribute(message: Uint8Array, where: string, external: External): Attribute {
  const floats: Uint8Array[] = [];
  const ints: number[] = [];
  const strings: string[] = [];
  let [name, f, i, s, t]: [string, number?, number?, string?, (() => Constant)?] = [""];
  let g: (() => OnnxGraph) | undefined;
  for (const field of pb.fields(message, where)) {
    const { number, wire, bytes, value } = field;
    if (number === 1 && wire === 2) name = pb.text(bytes);
    else if (number === 2 && wire === 5) f = f32(bytes)[0];
    else if (number === 3 && wire === 0) i = value;
    else if (number === 4 && wire === 2) s = pb.text(bytes);
    else if (number === 5 && wire === 2) t = tensorReader(bytes, where, external).read;
    else if (number === 6 && wire === 2) g = () => readGraph(bytes, where, external);
    else if (number === 7) floats.push(bytes);
    else if (number === 8) pb.pushVarints(ints, field, where);
    else if (number === 9 && wire === 2) strings.push(pb.text(bytes));
  }
  return { name, f, i, s, t, g, floats: [...f32(concat(floats))], ints, strings };
}

function readValue(message: Uint8Array, where: string): OnnxValue {
  let name = "";
  let type = 0;
  let shape: (number | string | null)[] | undefined;
  for (const { number, wire, bytes } of pb.fields(message, where)) {
    if (wire !== 2) continue;
    if (number === 1) name = pb.text(bytes);
    if (number !== 2) continue;
    for (const kind of pb.fields(bytes, where)) {
      if (kind.number !== 1 || kind.wire !== 2) continue;
      for (const part of pb.fields(kind.bytes, where)) {
        if (part.number === 1 && part.wire === 0) type = part.value;
        if (part.number === 2 && part.wire === 2) shape = readShape(part.bytes, where);
      }
    }
  }
  if (shape && shape.length > MOST_AXES)
    throw new FormatError(`${where}: ${shown(name)}: expected at most ${MOST_AXES} axes, got ${shape.length}`);
  return { name, type, shape };
}

function readShape(message: Uint8Array, where: string): (number | string | null)[] {
  const shape: (number | string | null)[] = [];
  for (const { number, wire, bytes } of pb.fields(message, where)) {
    if (number !== 1 || wire !== 2) continue;
    let size: number | string | null = null;
    for (const part of pb.fields(bytes, where)) {
      if (part.number === 1 && part.wire === 0) size = part.value > 0 ? part.value : null;
      if (part.number === 2 && part.wire === 2) size = pb.text(part.bytes) || null;
    }
    shape.push(size);
  }
  return shape;
}

function f32(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice(0, bytes.length & ~3).buffer);
}

/** Element sizes and conversions from the bytes of a tensor. */
const RAW: Readonly<Record<number, { size: number; read(bytes: Uint8Array): Float32Array | Float64Array }>> = {
  [TYPE.float]: { size: 4, read: (b) => f32(b) },
  [TYPE.double]: { size: 8, read: (b) => Float32Array.from(new Float64Array(b.slice().buffer)) },
  [TYPE.float16]: { size: 2, read: (b) => fromHalf(new Uint16Array(b.slice().buffer)) },
  [TYPE.bfloat16]: { size: 2, read: (b) => fromBfloat(new Uint16Array(b.slice().buffer)) },
  [TYPE.int64]: { size: 8, read: (b) => Float64Array.from(new BigInt64Array(b.slice().buffer), Number) },
  [TYPE.int32]: { size: 4, read: (b) => Float64Array.from(new Int32Array(b.slice().buffer)) },
  [TYPE.bool]: { size: 1, read: (b) => Float64Array.from(b) },
  2: { size: 1, read: (b) => Float64Array.from(b) },
  3: { size: 1, read: (b) => Float64Array.from(new Int8Array(b.slice().buffer)) },
};

const TYPE_NAMES: Readonly<Record<number, string>> = {
  2: "uint8",
  3: "int8",
  4: "uint16",
  5: "int16",
  8: "string",
  12: "uint32",
  13: "uint64",
  14: "complex64",
  15: "complex128",
  17: "float8e4m3fn",
};

/** A tensor's name at once, its numbers when they are wanted. */
function tensorReader(message: Uint8Array, where: string, external: External): { name: string; read: () => Constant } {
  const shape: number[] = [];
  let [type, name, location] = [0, "", 0];
  let raw: Uint8Array | undefined;
  const floats: Uint8Array[] = [];
  const doubles: Uint8Array[] = [];
  const whole: number[] = [];
  const outside = new Map<string, string>();
  for (const field of pb.fields(message, where)) {
    const { number, wire, value, bytes } = field;
    if (number === 1) pb.pushVarints(shape, field, where);
    else if (number === 2 && wire === 0) type = value;
    else if (number === 4) floats.push(bytes);
    else if (number === 5 || number === 7) pb.pushVarints(whole, field, where);
    else if (number === 8 && wire === 2) name = pb.text(bytes);
    else if (number === 9 && wire === 2) raw = bytes;
    else if (number === 10) doubles.push(bytes);
    else if (number === 13 && wire === 2) {
      const [key, text] = readPair(bytes, where);
      outside.set(key, text);
    } else if (number === 14 && wire === 0) location = value;
  }
  const tensor = `${where}: tensor ${shown(name)}`;
  const place = outside.get("location") ?? "";
  if (location === 1) external.locations.add(place);
  const read = (): Constant => {
    if (shape.length > MOST_AXES || !shape.every((n) => Number.isSafeInteger(n) && n >= 0))
      throw new FormatError(`${tensor}: expected a shape of at most ${MOST_AXES} sizes, got ${shapeText(shape)}`);
    if (!Object.hasOwn(RAW, type))
      throw new FormatError(`${tensor}: numbers of type ${TYPE_NAMES[type] ?? type}, which no layer here is made of`);
    const { size, read: convert } = RAW[type];
    const n = count(shape);
    let data: Float32Array | Float64Array;
    let bytes = raw;
    if (location === 1) {
      const file = external.files.get(place);
      if (!file) throw new FormatError(`${tensor}: its data is in the file ${shown(place)}, which is not there`);
      const offset = Number(outside.get("offset") ?? 0);
      const length = Number(outside.get("length") ?? n * size);
      if (!(offset >= 0 && length >= 0 && offset + length <= file.length))
        throw new FormatError(
          `${tensor}: bytes ${offset} to ${offset + length} of ${shown(place)}, which has ${file.length}`,
        );
      bytes = file.subarray(offset, offset + length);
    }
    if (bytes) {
      if (bytes.length !== n * size)
        throw new FormatError(`${tensor}: expected ${n * size} bytes for ${shapeText(shape)}, got ${bytes.length}`);
      data = convert(bytes);
    } else if (type === TYPE.float) data = f32(concat(floats));
    else if (type === TYPE.double) {
      const joined = concat(doubles);
      data = Float32Array.from(new Float64Array(joined.slice(0, joined.length & ~7).buffer));
    } else if (type === TYPE.float16 || type === TYPE.bfloat16) {
      const words = Uint16Array.from(whole);
      data = type === TYPE.float16 ? fromHalf(words) : fromBfloat(words);
    } else data = Float64Array.from(whole);
    if (data.length !== n)
      throw new FormatError(`${tensor}: expected ${n} numbers for ${shapeText(shape)}, got ${data.length}`);
    return { shape, type, data };
  };
  return { name, read };
}

function readPair(message: Uint8Array, where: string): [string, string] {
  let [key, value] = ["", ""];
  for (const { number, wire, bytes } of pb.fields(message, where)) {
    if (number === 1 && wire === 2) key = pb.text(bytes);
    if (number === 2 && wire === 2) value = pb.text(bytes);
  }
  return [key, value];
}

// --------------------------------------------------------------- writing

/** A whole number, a text, a list of either; floats are in a Float32Array, a single one in `{ float }`; a graph. */
export type AttributeValue =
  | number
  | string
  | { readonly float: number }
  | { readonly graph: Uint8Array }
  | readonly number[]
  | readonly string[]
  | Float32Array;

function attribute(name: string, value: AttributeValue): Uint8Array {
  const own = pb.string(1, name);
  // Last, the numbers of AttributeProto.AttributeType.
  if (typeof value === "number") return pb.bytes(5, own, pb.int(3, value), pb.int(20, 2));
  if (typeof value === "string") return pb.bytes(5, own, pb.string(4, value), pb.int(20, 3));
  if (value instanceof Float32Array) return pb.bytes(5, own, ...[...value].map((v) => pb.float(7, v)), pb.int(20, 6));
  if ("float" in value) return pb.bytes(5, own, pb.float(2, value.float), pb.int(20, 1));
  if ("graph" in value) return pb.bytes(5, own, pb.bytes(6, value.graph), pb.int(20, 5));
  const parts = value.map((v) => (typeof v === "number" ? pb.int(8, v) : pb.string(9, v)));
  return pb.bytes(5, own, ...parts, pb.int(20, typeof value[0] === "number" ? 7 : 8));
}

/** What nodes are in, as the number of the field that holds them. */
export type NodesOf = typeof IN_GRAPH | typeof IN_FUNCTION;
export const IN_GRAPH = 1;
export const IN_FUNCTION = 7;

/** A node, as its bytes. @param domain "" is ONNX's own */
export function node(
  type: string,
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  domain = "",
  within: NodesOf = IN_GRAPH,
): Uint8Array {
  return pb.bytes(
    within,
    ...inputs.map((input) => pb.string(1, input)),
    ...outputs.map((output) => pb.string(2, output)),
    pb.string(3, name),
    pb.string(4, type),
    ...Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    domain ? pb.string(7, domain) : [],
  );
}

/** Floats, or whole numbers as int64. */
export function initializer(
  name: string,
  shape: readonly number[],
  data: Float32Array | readonly number[],
): Uint8Array {
  const raw = data instanceof Float32Array ? data : BigInt64Array.from(data, BigInt);
  return pb.bytes(
    5,
    ...shape.map((n) => pb.int(1, n)),
    pb.int(2, data instanceof Float32Array ? TYPE.float : TYPE.int64),
    pb.string(8, name),
    pb.bytes(9, new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength)),
  );
}

/** An input (11) or output (12) of a graph: sizes, or their names. */
function value(field: 11 | 12, { name, type, shape }: OnnxValue): Uint8Array {
  const axes = shape?.map((n) => pb.bytes(1, n === null ? [] : typeof n === "number" ? pb.int(1, n) : pb.string(2, n)));
  const tensor = pb.bytes(1, pb.int(1, type), axes ? pb.bytes(2, ...axes) : []);
  return pb.bytes(field, pb.string(1, name), pb.bytes(2, tensor));
}

/** A graph, as its bytes: a model's, or the body of a loop. @param parts nodes and initializers, as their bytes */
export function graph(
  name: string,
  parts: readonly Uint8Array[],
  inputs: readonly OnnxValue[],
  outputs: readonly OnnxValue[],
): Uint8Array {
  return pb.message(
    ...parts,
    pb.string(2, name),
    ...inputs.map((input) => value(11, input)),
    ...outputs.map((output) => value(12, output)),
  );
}

const opsetImport = (field: 8 | 9, domain: string, version: number) =>
  pb.bytes(field, pb.string(1, domain), pb.int(2, version));

/** A function of the model's own: nodes under a name, which nodes of this type and domain call. */
export interface OnnxFunction {
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Names of the attributes that a call may have. */
  readonly attributes: readonly string[];
  /** As their bytes, made with `IN_FUNCTION`. */
  readonly nodes: readonly Uint8Array[];
}

function functionBytes(opset: number, { name, domain, inputs, outputs, attributes, nodes }: OnnxFunction): Uint8Array {
  return pb.bytes(
    25,
    pb.string(1, name),
    ...inputs.map((input) => pb.string(4, input)),
    ...outputs.map((output) => pb.string(5, output)),
    ...attributes.map((key) => pb.string(6, key)),
    ...nodes,
    opsetImport(9, "", opset),
    pb.string(10, domain),
  );
}

/** A model of one graph. @param parts nodes and initializers, as their bytes */
export function writeModel(
  name: string,
  opset: number,
  parts: readonly Uint8Array[],
  inputs: readonly OnnxValue[],
  outputs: readonly OnnxValue[],
  functions: readonly OnnxFunction[] = [],
): Uint8Array<ArrayBuffer> {
  return pb.message(
    pb.int(1, 8), // IR version of opset 17, and the first with functions
    pb.string(2, "gruvy"),
    pb.bytes(7, graph(name, parts, inputs, outputs)),
    opsetImport(8, "", opset),
    ...[...new Set(functions.map(({ domain }) => domain))].map((domain) => opsetImport(8, domain, 1)),
    ...functions.map((own) => functionBytes(opset, own)),
  );
}
