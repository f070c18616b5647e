type Numbers = ArrayLike<number>;

/** Layer normalisation of one row; also its mean and 1/√(variance + ε). */
export function layerNorm(x: Numbers, gamma: Numbers | undefined, beta: Numbers | undefined, epsilon: number) {
  const n = x.length;
  let mean = 0;
  for (let j = 0; j < n; j++) mean += x[j] / n;
  let variance = 0;
  for (let j = 0; j < n; j++) variance += (x[j] - mean) ** 2 / n;
  const rstd = 1 / Math.sqrt(variance + epsilon);
  const y = Float64Array.from(x, (v, j) => (v - mean) * rstd * (gamma ? gamma[j] : 1) + (beta ? beta[j] : 0));
  return { y, mean, rstd };
}
