/** Softmax of one row. */
export function softmax(x: ArrayLike<number>): Float64Array {
  const max = Math.max(...Array.from(x));
  const e = Float64Array.from(x, (v) => Math.exp(v - max));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

/** ln(softmax) of one row. */
export function logSoftmax(x: ArrayLike<number>): Float64Array {
  const max = Math.max(...Array.from(x));
  const sum = Array.from(x).reduce((a, v) => a + Math.exp(v - max), 0);
  return Float64Array.from(x, (v) => v - max - Math.log(sum));
}
