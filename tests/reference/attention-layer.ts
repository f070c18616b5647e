import { additive, attend, dotProduct } from "./attention.ts";
import type { Rows, Vector } from "./gru.ts";

/** What a sample of an input is: its steps, and which of them count. */
interface Steps {
  readonly rows: Rows;
  readonly mask?: Vector;
}

/** x · kernel + bias; without a kernel x as it is. */
function map(x: Rows, kernel?: ArrayLike<number>, bias?: ArrayLike<number>): Rows {
  if (!kernel) return x;
  return x.map((row) => {
    const n = kernel.length / row.length;
    return Array.from({ length: n }, (_, j) => row.reduce((sum, v, i) => sum + v * kernel[i * n + j], bias?.[j] ?? 0));
  });
}

/**
 * The layers `attention` and `multiHeadAttention` of one sample, from their
 * config and weights.
 *
 * @param inputs query, value, key; without a key the value, without a value the query
 */
export function attentionLayer(
  // biome-ignore lint/suspicious/noExplicitAny: options of two layers
  config: any,
  weight: (name: string) => ArrayLike<number> | undefined,
  [query, value = query, key = value]: readonly Steps[],
): number[][] {
  const heads: number = config.heads ?? 1;
  const part = (of: string, x: Steps) => map(x.rows, weight(`${of}Kernel`), weight(`${of}Bias`));
  const [q, k, v] = [part("query", query), part("key", key), part("value", value)];
  const columns = (rows: Rows, h: number) => {
    const width = (rows[0]?.length ?? 0) / heads;
    return rows.map((row) => row.slice(h * width, (h + 1) * width));
  };
  const D = (q[0]?.length ?? 0) / heads;
  const scale = weight("scale");
  const score =
    config.score === "additive"
      ? additive(scale ?? new Float64Array(D).fill(1))
      : dotProduct(scale?.[0] ?? (config.scale === "none" ? 1 : 1 / Math.sqrt(D)));
  const counts = (i: number, j: number) =>
    !(config.causal && j > i) && (query.mask?.[i] ?? 1) === 1 && (value.mask?.[j] ?? 1) === 1;
  // In one head masked queries give zeros whatever others do.
  const blind = (i: number) => config.blind === "mean" && (config.heads !== undefined || (query.mask?.[i] ?? 1) === 1);
  const outputs = Array.from(
    { length: heads },
    (_, h) => attend(columns(q, h), columns(k, h), columns(v, h), score, counts, undefined, blind).outputs,
  );
  const means = q.map((_row, i) => outputs.flatMap((head) => head[i]));
  return map(means, weight("outputKernel"), weight("outputBias")) as number[][];
}
