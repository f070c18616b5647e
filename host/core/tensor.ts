import { ShapeError } from "./errors.ts";
import { shown } from "./options.ts";

/** Row-major numbers and their shape: f32 values, or i32 tokens and labels. */
export interface Tensor<Data extends Float32Array | Int32Array = Float32Array> {
  readonly shape: number[];
  readonly data: Data;
}

/** Numbers nested in arrays, every level of one length. */
export type Nested = number | readonly Nested[] | Float32Array | Int32Array | Float64Array | Uint8Array;

/** Whatever may stand where a tensor is asked for. */
export type TensorLike =
  | Tensor<Float32Array | Int32Array>
  | readonly Nested[]
  | Float32Array
  | Int32Array
  | Float64Array
  | Uint8Array;

/** Elements of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** A shape as it stands in messages; null is any length. */
export function shapeText(shape: readonly (number | null)[]): string {
  const axes = Array.from(shape.slice(0, 2 * MOST_AXES), (n) => (n === null ? "any" : shown(n)));
  return `[${axes.join(", ")}${shape.length > axes.length ? ", ..." : ""}]`;
}

export function isTensor(value: unknown): value is Tensor<Float32Array | Int32Array> {
  return (
    typeof value === "object" &&
    value !== null &&
    Array.isArray((value as Tensor).shape) &&
    ((value as Tensor).data instanceof Float32Array || (value as { data: unknown }).data instanceof Int32Array)
  );
}

function isLeaf(value: unknown): value is ArrayLike<number> {
  return (
    ArrayBuffer.isView(value) &&
    !(value instanceof DataView || value instanceof BigInt64Array || value instanceof BigUint64Array)
  );
}

/** The first entry that an array lacks, or -1. Methods such as `map` skip holes, and take forever over many. */
export function firstHole(values: readonly unknown[]): number {
  for (let i = 0; i < values.length; i++) if (!(i in values)) return i;
  return -1;
}

function isShape(value: unknown): value is readonly number[] {
  return (
    Array.isArray(value) && firstHole(value) < 0 && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0)
  );
}

/** Axes that a tensor may have: arrays nested deeper, or in themselves, are a mistake. */
const MOST_AXES = 8;

function shapeOf(value: unknown, where: string): number[] {
  const shape: number[] = [];
  while (Array.isArray(value)) {
    shape.push(value.length);
    if (shape.length > MOST_AXES)
      throw new ShapeError(`${where}: expected at most ${MOST_AXES} axes, got arrays nested deeper`);
    if (value.length === 0) return shape;
    value = value[0];
  }
  if (isLeaf(value)) shape.push(value.length);
  else if (typeof value !== "number")
    throw new ShapeError(`${where}: expected numbers in nested arrays, got ${shown(value)}`);
  return shape;
}

function fill(
  data: Float32Array | Int32Array,
  at: number,
  value: unknown,
  shape: number[],
  axis: number,
  where: string,
): number {
  if (axis === shape.length) {
    if (typeof value !== "number")
      throw new ShapeError(`${where}: ragged array: expected a number, got ${shown(value)}`);
    data[at] = value;
    return at + 1;
  }
  if (!(Array.isArray(value) || isLeaf(value)) || value.length !== shape[axis])
    throw new ShapeError(
      `${where}: ragged array: expected ${shape[axis]} entries on axis ${axis}, got ${
        Array.isArray(value) || isLeaf(value) ? value.length : shown(value)
      }`,
    );
  for (let i = 0; i < value.length; i++) at = fill(data, at, value[i], shape, axis + 1, where);
  return at;
}

/**
 * Any tensor-like value as a tensor. Typed arrays of the right type are taken
 * as they are, everything else is copied.
 *
 * @param value numbers, nested arrays, typed arrays or a tensor
 * @param where named in errors
 * @param type  "int32" for tokens and labels, which must be whole numbers
 * @throws ShapeError for ragged arrays and for data that does not fill its shape
 */
export function toTensor(
  value: TensorLike,
  where: string,
  type: "int32",
  shape?: readonly number[],
): Tensor<Int32Array>;
export function toTensor(value: TensorLike, where: string, type?: "float32", shape?: readonly number[]): Tensor;
export function toTensor(
  value: TensorLike,
  where: string,
  type: "float32" | "int32" = "float32",
  shape?: readonly number[],
): Tensor<Float32Array | Int32Array> {
  const Data = type === "int32" ? Int32Array : Float32Array;
  let own: number[];
  let data: Float32Array | Int32Array;
  if (isTensor(value)) {
    own = value.shape;
    data = value.data instanceof Data ? value.data : cast(value.data, Data, where);
  } else if (isLeaf(value)) {
    own = shape ? [...shape] : [value.length];
    data = value instanceof Data ? value : cast(value, Data, where);
  } else if (Array.isArray(value)) {
    own = shapeOf(value, where);
    const exact = numbers(count(own), where);
    fill(exact as unknown as Float32Array, 0, value, own, 0, where);
    data = cast(exact, Data, where);
  } else throw new ShapeError(`${where}: expected a tensor, a typed array or nested arrays, got ${shown(value)}`);
  if (!isShape(own) || count(own) !== data.length)
    throw new ShapeError(`${where}: shape ${shapeText(own)} does not hold ${data.length} numbers`);
  return { shape: shape && count(shape) === data.length ? [...shape] : own, data };
}

/** Room for `n` numbers; ragged and sparse arrays may claim any length. */
function numbers(n: number, where: string): Float64Array {
  try {
    return new Float64Array(n);
  } catch {
    throw new ShapeError(`${where}: cannot hold ${n} numbers`);
  }
}

function cast(
  values: ArrayLike<number>,
  Data: Float32ArrayConstructor | Int32ArrayConstructor,
  where: string,
): Float32Array | Int32Array {
  if (Data === Int32Array)
    for (let i = 0; i < values.length; i++)
      if (values[i] !== (values[i] | 0))
        throw new ShapeError(`${where}: expected whole numbers (tokens or labels), got ${values[i]} at position ${i}`);
  return Data.from(values);
}

/**
 * A tensor from data and a shape.
 *
 * @example tensor([1, 2, 3, 4], [2, 2])
 * @param data  numbers, nested or flat; an Int32Array stays one (tokens and labels)
 * @param shape taken from the nesting unless given
 * @throws ShapeError when the shape does not hold the data
 */
export function tensor(data: Int32Array, shape?: readonly number[]): Tensor<Int32Array>;
export function tensor(data: TensorLike, shape?: readonly number[]): Tensor;
export function tensor(data: TensorLike, shape?: readonly number[]): Tensor<Float32Array | Int32Array> {
  if (shape !== undefined && !isShape(shape))
    throw new ShapeError(`tensor(): expected a shape such as [2, 3], got ${shown(shape)}`);
  const made =
    data instanceof Int32Array
      ? toTensor(data, "tensor()", "int32", shape)
      : toTensor(data, "tensor()", "float32", shape);
  if (shape && (shape.length !== made.shape.length || shape.some((n, i) => n !== made.shape[i])))
    throw new ShapeError(`tensor(): shape ${shapeText(shape)} does not hold ${made.data.length} numbers`);
  return made;
}
