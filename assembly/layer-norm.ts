import { bytes, clearFrom, lastLanes, lastVector, madd, sumLanes } from "./simd";

/**
 * Layer normalisation of rows, the variance from a second pass.
 *
 *   mean = Σ x / n      rstd = 1 / √(Σ (x − mean)² / n + ε)
 *   y    = (x − mean) rstd ⊙ γ + β
 *
 * @param y     f32[rows, n], the padding becomes 0; may be x
 * @param saved f32[rows, 2]: mean, rstd
 * @param x     f32[rows, n]
 * @param gamma f32[n]; 0: all 1      @param beta f32[n]; 0: all 0
 * Source: Ba et al. 2016, arXiv:1607.06450. Equal to PyTorch's layer_norm.
 */
export function layerNorm(
  y: usize, saved: usize, x: usize, gamma: usize, beta: usize, rows: i32, n: i32, stride: i32, epsilon: f32,
): void {
  const last = lastVector(n), lanes = lastLanes(n), count = <f32>n;
  for (let i = 0; i < rows; i++) {
    let sum = v128.and(v128.load(x + last), lanes);
    for (let j: usize = 0; j < last; j += 16) sum = f32x4.add(sum, v128.load(x + j));
    const mean = sumLanes(sum) / count, m = f32x4.splat(mean);

    let d = v128.and(f32x4.sub(v128.load(x + last), m), lanes), squares = f32x4.mul(d, d);
    for (let j: usize = 0; j < last; j += 16) {
      d = f32x4.sub(v128.load(x + j), m);
      squares = madd(d, d, squares);
    }
    const rstd = <f32>1 / sqrt<f32>(sumLanes(squares) / count + epsilon), r = f32x4.splat(rstd);

    for (let j: usize = 0; j <= last; j += 16) {
      let v = f32x4.mul(f32x4.sub(v128.load(x + j), m), r);
      if (gamma) v = f32x4.mul(v, v128.load(gamma + j));
      if (beta) v = f32x4.add(v, v128.load(beta + j));
      if (j == last) v = v128.and(v, lanes);
      v128.store(y + j, v);
    }
    clearFrom(y, last + 16, stride);
    store<f32>(saved, mean);
    store<f32>(saved, rstd, 4);
    saved += 8;
    x += bytes(stride);
    y += bytes(stride);
  }
}

/**
 * Backward of `layerNorm` to its input.
 *
 *   x̂  = (x − mean) rstd      g = dy ⊙ γ
 *   dx = rstd (g − Σ g / n − x̂ Σ (g ⊙ x̂) / n)
 *
 * @param dx    f32[rows, n], the padding becomes 0; may be dy
 * @param dy    f32[rows, n]
 * @param x     f32[rows, n]
 * @param saved f32[rows, 2], from the forward pass
 * @param gamma f32[n]; 0: all 1
 * @param accumulate 1: dx += instead, the padding stays; 0: dx is not read
 */
export function layerNormBackward(
  dx: usize, dy: usize, x: usize, saved: usize, gamma: usize, rows: i32, n: i32, stride: i32, accumulate: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n), count = f32x4.splat(<f32>n), one = f32x4.splat(1);
  for (let i = 0; i < rows; i++) {
    const mean = v128.load32_splat(saved), rstd = v128.load32_splat(saved, 4);
    let sum = f32x4.splat(0), dot = f32x4.splat(0);
    for (let j: usize = 0; j <= last; j += 16) {
      let g = f32x4.mul(v128.load(dy + j), gamma ? v128.load(gamma + j) : one);
      let gx = f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x + j), mean), rstd));
      if (j == last) {
        g = v128.and(g, lanes);
        gx = v128.and(gx, lanes);
      }
      sum = f32x4.add(sum, g);
      dot = f32x4.add(dot, gx);
    }
    const meanG = f32x4.div(f32x4.splat(sumLanes(sum)), count), meanGx = f32x4.div(f32x4.splat(sumLanes(dot)), count);
    for (let j: usize = 0; j <= last; j += 16) {
      const g = f32x4.mul(v128.load(dy + j), gamma ? v128.load(gamma + j) : one);
      const xHat = f32x4.mul(f32x4.sub(v128.load(x + j), mean), rstd);
      let d = f32x4.mul(rstd, f32x4.sub(f32x4.sub(g, meanG), f32x4.mul(xHat, meanGx)));
      if (j == last) d = v128.and(d, lanes);
      if (accumulate) d = f32x4.add(d, v128.load(dx + j));
      v128.store(dx + j, d);
    }
    if (!accumulate) clearFrom(dx, last + 16, stride);
    saved += 8;
    dx += bytes(stride);
    dy += bytes(stride);
    x += bytes(stride);
  }
}

/**
 * Backward of `layerNorm` to its parameters: dγ += Σ dy ⊙ x̂, dβ += Σ dy, sums
 * over ascending rows. Columns are independent: a range of them is computed
 * alone by offsetting dGamma, dBeta, dy and x by a multiple of 4 columns.
 *
 * @param dGamma f32[n], accumulated into
 * @param dBeta  f32[n], accumulated into; 0: not wanted
 * @param dy     f32[rows, n]
 * @param x      f32[rows, n]
 * @param saved  f32[rows, 2], from the forward pass
 */
export function layerNormBackwardParameters(
  dGamma: usize, dBeta: usize, dy: usize, x: usize, saved: usize, rows: i32, n: i32, stride: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    const mean = v128.load32_splat(saved), rstd = v128.load32_splat(saved, 4);
    for (let j: usize = 0; j <= last; j += 16) {
      let g = v128.load(dy + j), gx = f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x + j), mean), rstd));
      if (j == last) {
        g = v128.and(g, lanes);
        gx = v128.and(gx, lanes);
      }
      v128.store(dGamma + j, f32x4.add(v128.load(dGamma + j), gx));
      if (dBeta) v128.store(dBeta + j, f32x4.add(v128.load(dBeta + j), g));
    }
    saved += 8;
    dy += bytes(stride);
    x += bytes(stride);
  }
}
