import type { Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";

/**
 * Sums of products with matrices, as the steps of a GRU are made of: every
 * tensor of a step is one, whatever pieces a file computes it in.
 */

export type Atom =
  | { readonly kind: "input" | "state" }
  | { readonly kind: "activation"; readonly name: Json; readonly of: Sum }
  | { readonly kind: "product"; readonly factors: readonly [Sum, Sum] };

/** Σ atom · matrix + bias; a number stands for that multiple of the identity. */
export interface Sum {
  readonly width: number;
  readonly parts: ReadonlyMap<Atom, number | Tensor>;
  readonly bias?: Float32Array;
}

/** Numbers of a matrix that a file does not have itself. */
const MOST = 2 ** 26;

/** Multiply-adds that products of two matrices of a file may still take, in all. */
export interface Work {
  left: number;
}

/** What makes a step something else than a GRU's. */
export class NoGru extends Error {}

export const pure = (atom: Atom, width: number): Sum => ({ width, parts: new Map([[atom, 1]]) });

export const constant = (bias: Tensor | undefined): Sum | undefined =>
  bias?.data.some((b) => b !== 0) ? { width: bias.data.length, parts: new Map(), bias: bias.data } : undefined;

export const activated = (name: Json, of: Sum): Sum => pure({ kind: "activation", name, of }, of.width);

/** The atom that a sum is, and nothing else. */
export function only({ parts, bias }: Sum): Atom | undefined {
  const [part] = parts;
  return parts.size === 1 && !bias && part[1] === 1 ? part[0] : undefined;
}

function zeros(rows: number, columns: number): Tensor {
  if (rows * columns > MOST) throw new NoGru(`a matrix of [${rows}, ${columns}]`);
  return { shape: [rows, columns], data: new Float32Array(rows * columns) };
}

/** A part as a matrix. */
export function matrix(part: number | Tensor, rows: number, columns: number): Tensor {
  if (typeof part !== "number") return part;
  if (part !== 0 && rows !== columns) throw new NoGru(`${rows} numbers are taken for ${columns}`);
  const made = zeros(rows, columns);
  for (let i = 0; part !== 0 && i < rows; i++) made.data[i * columns + i] = part;
  return made;
}

/** Numbers of all matrices of a sum. */
export function sizeOf({ parts }: Sum): number {
  return [...parts.values()].reduce<number>((sum, part) => sum + (typeof part === "number" ? 1 : part.data.length), 0);
}

/** Two rows of a tensor. */
export function rows(first: Tensor, second: Tensor): Tensor {
  return { shape: [2, first.data.length], data: Float32Array.from([...first.data, ...second.data]) };
}

export function scaled({ width, parts, bias }: Sum, by: number): Sum {
  const scale = (m: number | Tensor) =>
    typeof m === "number" ? m * by : { shape: m.shape, data: m.data.map((w) => w * by) };
  if (by === 1) return { width, parts, bias };
  return { width, parts: new Map([...parts].map(([atom, m]) => [atom, scale(m)])), bias: bias?.map((b) => b * by) };
}

export function plus(a: Sum, given: Sum | undefined, sign: 1 | -1): Sum {
  if (!given) return a;
  const b = scaled(given, sign);
  if (a.width !== b.width) throw new NoGru(`a sum of ${a.width} and ${b.width} numbers`);
  const parts = new Map(a.parts);
  for (const [atom, m] of b.parts) {
    const old = parts.get(atom);
    if (old === undefined) parts.set(atom, m);
    else if (typeof old === "number" && typeof m === "number") parts.set(atom, old + m);
    else {
      const [N, size] =
        typeof old === "number" ? [(m as Tensor).shape[1], (m as Tensor).shape[0]] : [old.shape[1], old.shape[0]];
      const [p, q] = [matrix(old, size, N), matrix(m, size, N)];
      parts.set(atom, { shape: p.shape, data: p.data.map((w, i) => w + q.data[i]) });
    }
  }
  const bias = a.bias && b.bias ? a.bias.map((v, i) => v + b.bias![i]) : (a.bias ?? b.bias);
  return { width: a.width, parts, bias };
}

/** A product with a matrix; one with numbers down its diagonal alone scales. */
export function times(a: Sum, kernel: Tensor, work: Work): Sum {
  const [I, N] = kernel.shape;
  const scale = scaleOf(kernel);
  if (scale !== undefined && I === N) return scaled(a, scale);
  const apply = (left: number | Tensor): Tensor => {
    if (typeof left === "number")
      return left === 1 ? kernel : { shape: [I, N], data: kernel.data.map((w) => w * left) };
    return multiplied(left, kernel, work);
  };
  const bias = a.bias && multiplied({ shape: [1, I], data: a.bias }, kernel, work).data;
  return { width: N, parts: new Map([...a.parts].map(([atom, m]) => [atom, apply(m)])), bias };
}

/** Every column times a number of its own. */
export function perColumn(a: Sum, by: Float32Array): Sum {
  if (by.every((v) => v === by[0])) return scaled(a, by[0]);
  const N = by.length;
  const scale = (part: number | Tensor): Tensor => {
    const { shape, data } = matrix(part, N, N);
    return { shape, data: data.map((w, i) => w * by[i % N]) };
  };
  const parts = new Map([...a.parts].map(([atom, part]) => [atom, scale(part)]));
  return { width: N, parts, bias: a.bias?.map((b, j) => b * by[j]) };
}

/** The number that a matrix has all down its diagonal, where it has zeros elsewhere. */
function scaleOf({ shape: [I, N], data }: Tensor): number | undefined {
  if (I !== N) return undefined;
  return data.every((w, i) => w === (i % (N + 1) === 0 ? data[0] : 0)) ? data[0] : undefined;
}

function multiplied({ shape: [M, K], data: a }: Tensor, { shape: [, N], data: b }: Tensor, work: Work): Tensor {
  work.left -= M * K * N;
  if (work.left < 0) throw new NoGru("products of large matrices");
  const out = new Float32Array(M * N);
  for (let i = 0; i < M; i++)
    for (let j = 0; j < N; j++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += a[i * K + k] * b[k * N + j];
      out[i * N + j] = sum;
    }
  return { shape: [M, N], data: out };
}

/** Element by element. */
export function product(a: Sum, b: Sum): Sum {
  if (a.width !== b.width) throw new NoGru(`a product of ${a.width} and ${b.width} numbers`);
  return pure({ kind: "product", factors: [a, b] }, a.width);
}

/** Some columns: of what an activation or a product of elements is made of, and of matrices. */
export function columns(a: Sum, list: readonly number[]): Sum {
  const parts = new Map<Atom, number | Tensor>();
  for (const [atom, m] of a.parts) {
    if (typeof m !== "number") parts.set(atom, chosen(m, list));
    else if (atom.kind === "activation")
      parts.set({ kind: "activation", name: atom.name, of: columns(atom.of, list) }, m);
    else if (atom.kind === "product") {
      const [x, y] = atom.factors;
      parts.set({ kind: "product", factors: [columns(x, list), columns(y, list)] }, m);
    } else parts.set(atom, chosen(matrix(m, a.width, a.width), list));
  }
  return { width: list.length, parts, bias: a.bias && Float32Array.from(list, (i) => a.bias![i]) };
}

function chosen({ shape: [I, N], data }: Tensor, list: readonly number[]): Tensor {
  const out = new Float32Array(I * list.length);
  for (let i = 0; i < I; i++) for (const [j, from] of list.entries()) out[i * list.length + j] = data[i * N + from];
  return { shape: [I, list.length], data: out };
}

/** Two sums side by side. */
export function beside(a: Sum, b: Sum): Sum {
  const width = a.width + b.width;
  const parts = new Map<Atom, Tensor>();
  const put = (sum: Sum, from: number) => {
    for (const [atom, part] of sum.parts) {
      const own = matrix(part, typeof part === "number" ? sum.width : part.shape[0], sum.width);
      const [I] = own.shape;
      const old = parts.get(atom) ?? zeros(I, width);
      for (let i = 0; i < I; i++) old.data.set(own.data.subarray(i * sum.width, (i + 1) * sum.width), i * width + from);
      parts.set(atom, old);
    }
  };
  put(a, 0);
  put(b, a.width);
  const bias = a.bias || b.bias ? new Float32Array(width) : undefined;
  if (bias) {
    if (a.bias) bias.set(a.bias);
    if (b.bias) bias.set(b.bias, a.width);
  }
  return { width, parts, bias };
}
