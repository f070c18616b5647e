import { count } from "../../../core/tensor.ts";
import type { Floats, Ints, Size } from "./values.ts";

/** Tensors whose numbers are known: what moves do to them is done at once. */

/** Entries of a known tensor at positions. */
function gathered<V extends Floats | Ints>(value: V, shape: readonly number[], index: (i: number) => number): V {
  const n = count(shape);
  if (value.kind === "floats") {
    const data = new Float32Array(n);
    for (let i = 0; i < n; i++) data[i] = value.data[index(i)];
    return { ...value, shape, data };
  }
  const entries: Size[] = [];
  for (let i = 0; i < n; i++) entries.push((value as Ints).entries[index(i)]);
  return { ...value, shape, entries };
}

/** A known tensor with its axes in another order. */
export function permuted(value: Floats | Ints, order: readonly number[]): Floats | Ints {
  const shape = order.map((axis) => value.shape[axis]);
  const strides = value.shape.map((_, axis) => count(value.shape.slice(axis + 1)));
  return gathered(value, shape, (i) => {
    let at = 0;
    for (let k = order.length - 1, rest = i; k >= 0; k--) {
      at += (rest % shape[k]) * strides[order[k]];
      rest = Math.floor(rest / shape[k]);
    }
    return at;
  });
}

/** The entries [from, to) of a known tensor along an axis, or those at positions. */
export function chosen<V extends Floats | Ints>(value: V, axis: number, positions: readonly number[], drop = false): V {
  const { shape } = value;
  const inner = count(shape.slice(axis + 1));
  const full = [...shape.slice(0, axis), positions.length, ...shape.slice(axis + 1)];
  const taken = gathered(value, full, (i) => {
    const [before, at, after] = [
      Math.floor(i / (inner * positions.length)),
      Math.floor(i / inner) % positions.length,
      i % inner,
    ];
    return (before * shape[axis] + positions[at]) * inner + after;
  });
  return drop ? { ...taken, shape: full.filter((_, i) => i !== axis) } : taken;
}

/** Longest list of positions that a file may ask for. */
export const MOST = 2 ** 24;

export function range(from: number, to: number, step: number): number[] {
  const out: number[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(i);
  return out;
}
