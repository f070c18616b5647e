/** Gather: dense [tokens, n]. */
export function embedding(table: Float32Array, tokens: number[], n: number): Float32Array {
  return Float32Array.from({ length: tokens.length * n }, (_, at) => table[tokens[Math.floor(at / n)] * n + (at % n)]);
}

/** Scatter-add, float32 like the kernel: the order of the sums is part of its contract. */
export function embeddingBackward(
  dTable: Float32Array,
  dy: Float32Array,
  tokens: number[],
  n: number,
  paddingIndex: number,
): Float32Array {
  const sum = dTable.slice();
  tokens.forEach((token, i) => {
    if (token !== paddingIndex) for (let j = 0; j < n; j++) sum[token * n + j] += dy[i * n + j];
  });
  return sum;
}
