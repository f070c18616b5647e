import { elementLoss } from "./losses";

/** The kinds of regression loss, in the order that the host passes. */
export const enum Regression {
  meanSquaredError,
  meanAbsoluteError,
  huber,
  smoothL1,
}

/** −1, 0 or 1; NaN for NaN. */
// @ts-ignore: decorator
@inline function sign(d: v128): v128 {
  const zero = f32x4.splat(0), one = f32x4.splat(1);
  const s = f32x4.sub(v128.and(one, f32x4.gt(d, zero)), v128.and(one, f32x4.lt(d, zero)));
  return f32x4.add(s, f32x4.sub(d, d));
}

@final class SquaredError {
  // @ts-ignore: decorator
  @inline loss(x: v128, t: v128, _: v128, __: v128): v128 {
    const d = f32x4.sub(x, t);
    return f32x4.mul(d, d);
  }
  // @ts-ignore: decorator
  @inline slope(x: v128, t: v128, _: v128, __: v128): v128 {
    const d = f32x4.sub(x, t);
    return f32x4.add(d, d);
  }
}

@final class AbsoluteError {
  // @ts-ignore: decorator
  @inline loss(x: v128, t: v128, _: v128, __: v128): v128 {
    return f32x4.abs(f32x4.sub(x, t));
  }
  // @ts-ignore: decorator
  @inline slope(x: v128, t: v128, _: v128, __: v128): v128 {
    return sign(f32x4.sub(x, t));
  }
}

/** |d| <= δ ? ½ d² : δ (|d| − ½ δ) */
@final class Huber {
  // @ts-ignore: decorator
  @inline loss(x: v128, t: v128, _: v128, delta: v128): v128 {
    const d = f32x4.abs(f32x4.sub(x, t)), half = f32x4.splat(0.5);
    const square = f32x4.mul(half, f32x4.mul(d, d));
    const line = f32x4.mul(delta, f32x4.sub(d, f32x4.mul(half, delta)));
    return v128.bitselect(square, line, f32x4.le(d, delta));
  }
  // @ts-ignore: decorator
  @inline slope(x: v128, t: v128, _: v128, delta: v128): v128 {
    return f32x4.pmin(f32x4.pmax(f32x4.sub(x, t), f32x4.neg(delta)), delta);
  }
}

/** |d| < β ? ½ d²/β : |d| − ½ β; the absolute error for β = 0. */
@final class SmoothL1 {
  // @ts-ignore: decorator
  @inline loss(x: v128, t: v128, _: v128, beta: v128): v128 {
    const d = f32x4.abs(f32x4.sub(x, t)), half = f32x4.splat(0.5);
    const square = f32x4.div(f32x4.mul(half, f32x4.mul(d, d)), beta);
    return v128.bitselect(square, f32x4.sub(d, f32x4.mul(half, beta)), f32x4.lt(d, beta));
  }
  // @ts-ignore: decorator
  @inline slope(x: v128, t: v128, _: v128, beta: v128): v128 {
    const d = f32x4.sub(x, t);
    return v128.bitselect(f32x4.div(d, beta), sign(d), f32x4.lt(f32x4.abs(d), beta));
  }
}

/**
 * Losses of regression, PyTorch's definitions; d = x − t.
 *
 *   meanSquaredError   d²
 *   meanAbsoluteError  |d|, derivative 0 at 0
 *   huber              |d| <= δ ? ½ d² : δ (|d| − ½ δ)
 *   smoothL1           |d| < β ? ½ d²/β : |d| − ½ β
 *
 * Operands as in losses.ts; D = valid rows · n.
 *
 * @param kind           a `Regression`
 * @param x              f32[rows, n]; dx may be x
 * @param targets        f32[rows, n]
 * @param elementWeights f32[rows, n], factors of the elements; 0: none
 * @param option         δ or β
 */
export function regressionLoss(
  kind: i32, out: usize, losses: usize, dx: usize, x: usize, targets: usize, valid: usize, weights: usize,
  elementWeights: usize, rows: i32, n: i32, stride: i32, option: f32, mean: i32,
): void {
  switch (kind) {
    case Regression.meanSquaredError:
      elementLoss<SquaredError>(
        out, losses, dx, x, targets, valid, weights, elementWeights, 0, rows, n, stride, option, mean,
      );
      break;
    case Regression.meanAbsoluteError:
      elementLoss<AbsoluteError>(
        out, losses, dx, x, targets, valid, weights, elementWeights, 0, rows, n, stride, option, mean,
      );
      break;
    case Regression.huber:
      elementLoss<Huber>(out, losses, dx, x, targets, valid, weights, elementWeights, 0, rows, n, stride, option, mean);
      break;
    case Regression.smoothL1:
      elementLoss<SmoothL1>(
        out, losses, dx, x, targets, valid, weights, elementWeights, 0, rows, n, stride, option, mean,
      );
      break;
  }
}
