import { bytes, clearFrom, lastLanes, lastVector, madd } from "./simd";

/**
 * Rows scaled and shifted, a number a column: y = x ⊙ s + b.
 *
 * @param y     f32[rows, n], the padding becomes 0; may be x
 * @param x     f32[rows, n]
 * @param scale f32[n]      @param shift f32[n]
 */
export function affine(y: usize, x: usize, scale: usize, shift: usize, rows: i32, n: i32, stride: i32): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    for (let j: usize = 0; j <= last; j += 16) {
      const v = madd(v128.load(x + j), v128.load(scale + j), v128.load(shift + j));
      v128.store(y + j, j == last ? v128.and(v, lanes) : v);
    }
    clearFrom(y, last + 16, stride);
    x += bytes(stride);
    y += bytes(stride);
  }
}

/**
 * Backward of `affine`: dx = dy ⊙ s, ds += Σ dy ⊙ x, db += Σ dy, sums over
 * ascending rows.
 *
 * @param dx     f32[rows, n], the padding becomes 0; may be dy; 0: not wanted
 * @param dScale f32[n], accumulated into      @param dShift f32[n], accumulated into
 * @param dy     f32[rows, n]      @param x f32[rows, n]      @param scale f32[n]
 * @param accumulate 1: dx += instead, the padding stays; 0: dx is not read
 */
export function affineBackward(
  dx: usize, dScale: usize, dShift: usize, dy: usize, x: usize, scale: usize, rows: i32, n: i32, stride: i32, accumulate: i32,
): void {
  const last = lastVector(n), lanes = lastLanes(n);
  for (let i = 0; i < rows; i++) {
    for (let j: usize = 0; j <= last; j += 16) {
      let g = v128.load(dy + j), gx = f32x4.mul(g, v128.load(x + j));
      if (j == last) {
        g = v128.and(g, lanes);
        gx = v128.and(gx, lanes);
      }
      v128.store(dScale + j, f32x4.add(v128.load(dScale + j), gx));
      v128.store(dShift + j, f32x4.add(v128.load(dShift + j), g));
      if (!dx) continue;
      const d = f32x4.mul(g, v128.load(scale + j));
      v128.store(dx + j, accumulate ? f32x4.add(v128.load(dx + j), d) : d);
    }
    if (dx) {
      if (!accumulate) clearFrom(dx, last + 16, stride);
      dx += bytes(stride);
    }
    dy += bytes(stride);
    x += bytes(stride);
  }
}
