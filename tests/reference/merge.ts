import type { Vector } from "./gru.ts";

/** Several rows made one, element by element. */
export function mergeRows(type: string, rows: readonly Vector[]): Vector {
  const [first, ...rest] = rows;
  const fold = (combine: (a: number, b: number) => number) =>
    rest.reduce<number[]>((sum, row) => sum.map((v, i) => combine(v, row[i])), [...first]);
  if (type === "add") return fold((a, b) => a + b);
  if (type === "average") return fold((a, b) => a + b).map((v) => v / rows.length);
  if (type === "subtract") return fold((a, b) => a - b);
  if (type === "multiply") return fold((a, b) => a * b);
  if (type === "maximum") return fold(Math.max);
  if (type === "minimum") return fold(Math.min);
  throw new Error(`no reference for ${type}`);
}
