import { FormatError } from "../../core/errors.ts";
import { fromBfloat, fromHalf } from "../half.ts";

/** Tensors as PyTorch's files keep them: views, by offset and strides, of storages that they may share. */

/** A tensor in a file. Its numbers are made when they are asked for: a view may be far larger than its storage. */
export interface TorchTensor {
  /** "F32", "I64"..., safetensors' names. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** As f32. */
  read(): Float32Array;
}

/** A kind of storage: bytes of an element, and its elements as numbers. */
export interface Kind {
  readonly dtype: string;
  readonly size: number;
  /** Absent for those that no weight is made of. */
  readonly read?: (bytes: Uint8Array) => ArrayLike<number>;
}

const words = (bytes: Uint8Array) => new Uint16Array(bytes.slice().buffer);

/** PyTorch's storage classes. */
export const KINDS: Readonly<Record<string, Kind>> = {
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
  ComplexFloatStorage: { dtype: "C64", size: 8 },
  ComplexDoubleStorage: { dtype: "C128", size: 16 },
};

/** dtypes as newer files name them beside an untyped storage. */
export const DTYPES: Readonly<Record<string, Kind>> = {
  "torch.float32": KINDS.FloatStorage,
  "torch.float64": KINDS.DoubleStorage,
  "torch.float16": KINDS.HalfStorage,
  "torch.bfloat16": KINDS.BFloat16Storage,
  "torch.int64": KINDS.LongStorage,
  "torch.int32": KINDS.IntStorage,
  "torch.int16": KINDS.ShortStorage,
  "torch.int8": KINDS.CharStorage,
  "torch.uint8": KINDS.ByteStorage,
  "torch.uint16": { dtype: "U16", size: 2 },
  "torch.uint32": { dtype: "U32", size: 4 },
  "torch.uint64": { dtype: "U64", size: 8 },
  "torch.bool": KINDS.BoolStorage,
  "torch.complex64": KINDS.ComplexFloatStorage,
  "torch.complex128": KINDS.ComplexDoubleStorage,
  "torch.float8_e4m3fn": { dtype: "F8_E4M3", size: 1 },
  "torch.float8_e5m2": { dtype: "F8_E5M2", size: 1 },
};

/** Numbers that tensors share. The bytes come after the pickle. */
export class Storage {
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

  /** Bytes of an element. */
  get size(): number {
    return this.kind?.size ?? 1;
  }

  /** Elements of a kind that it has room for. */
  room({ size }: Kind): number {
    return this.kind ? this.count : Math.floor(this.count / size);
  }

  /** Elements [from, to). */
  read(kind: Kind, from: number, to: number): ArrayLike<number> {
    const start = this.first * this.size;
    return kind.read!(this.bytes!.subarray(start + from * kind.size, start + to * kind.size));
  }
}

/** A tensor as the pickle describes it. */
export class TensorView implements TorchTensor {
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
export function lastOf(offset: number, shape: readonly number[], stride: readonly number[]): number {
  return shape.reduce((sum, n, axis) => sum + (n - 1) * stride[axis], offset);
}
