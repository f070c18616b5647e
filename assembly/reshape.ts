import { bytes, pad8 } from "./simd";

/**
 * The numbers of every sample in another shape: in the order [time, features]
 * has them, or with time and features exchanged. Its own backward, with the
 * shapes exchanged.
 *
 * @param y f32[Ty, B, Fy], Ty · Fy = T · F; the padding becomes 0; not x
 * @param x f32[T, B, F]
 * @param transposed 1: y[f, b, t] = x[t, b, f], Ty = F and Fy = T
 * @param accumulate 1: y += instead, the padding stays; 0: y is not read
 */
export function reshape(
  y: usize, x: usize, B: i32, T: i32, F: i32, Ty: i32, Fy: i32, transposed: i32, accumulate: i32,
): void {
  assert(T * F == Ty * Fy);
  const stride = pad8(F), yStride = pad8(Fy);
  for (let b = 0; b < B; b++) {
    let t = 0, f = 0;
    for (let i = 0; i < Ty; i++) {
      const row = y + bytes((i * B + b) * yStride);
      for (let j = 0; j < Fy; j++) {
        const v = load<f32>(x + bytes(transposed ? (j * B + b) * stride + i : (t * B + b) * stride + f));
        const at = row + bytes(j);
        store<f32>(at, accumulate ? load<f32>(at) + v : v);
        if (++f == F) {
          f = 0;
          t++;
        }
      }
      if (!accumulate) memory.fill(row + bytes(Fy), 0, bytes(yStride - Fy));
    }
  }
}
