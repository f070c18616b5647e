import { elementLoss } from "./losses";
import { log, sigmoid, softplus } from "./math";

/** Targets after label smoothing: t (1 − ε) + ε/2, as Keras. */
// @ts-ignore: decorator
@inline function smooth(t: v128, epsilon: v128): v128 {
  return f32x4.add(f32x4.mul(t, f32x4.sub(f32x4.splat(1), epsilon)), f32x4.mul(f32x4.splat(0.5), epsilon));
}

/** Two terms that are never negative, so that nothing cancels, and x and −x are treated alike. */
@final class FromLogits {
  // @ts-ignore: decorator
  @inline loss(x: v128, t: v128, positive: v128, epsilon: v128): v128 {
    t = smooth(t, epsilon);
    return f32x4.add(
      f32x4.mul(f32x4.mul(positive, t), softplus(f32x4.neg(x))),
      f32x4.mul(f32x4.sub(f32x4.splat(1), t), softplus(x)),
    );
  }
  // @ts-ignore: decorator
  @inline slope(x: v128, t: v128, positive: v128, epsilon: v128): v128 {
    t = smooth(t, epsilon);
    return f32x4.sub(
      f32x4.mul(f32x4.sub(f32x4.splat(1), t), sigmoid(x)),
      f32x4.mul(f32x4.mul(positive, t), sigmoid(f32x4.neg(x))),
    );
  }
}

/** Keras's clip of probabilities, to [1e-7, 1 − 1e-7]. */
// @ts-ignore: decorator
@inline function clip(p: v128): v128 {
  return f32x4.pmin(f32x4.pmax(p, f32x4.splat(1e-7)), f32x4.splat(1 - 1e-7));
}

@final class FromProbabilities {
  // @ts-ignore: decorator
  @inline loss(p: v128, t: v128, positive: v128, epsilon: v128): v128 {
    const one = f32x4.splat(1), q = clip(p);
    t = smooth(t, epsilon);
    return f32x4.neg(f32x4.add(
      f32x4.mul(f32x4.mul(positive, t), log(q)),
      f32x4.mul(f32x4.sub(one, t), log(f32x4.sub(one, q))),
    ));
  }
  // @ts-ignore: decorator
  @inline slope(p: v128, t: v128, positive: v128, epsilon: v128): v128 {
    const one = f32x4.splat(1), q = clip(p);
    t = smooth(t, epsilon);
    const g = f32x4.sub(
      f32x4.div(f32x4.sub(one, t), f32x4.sub(one, q)),
      f32x4.div(f32x4.mul(positive, t), q),
    );
    // Clipped is what differs in order from p; NaN does not, and passes.
    return v128.andnot(g, v128.or(f32x4.lt(p, q), f32x4.gt(p, q)));
  }
}

/**
 * Binary cross-entropy of logits x, against targets t smoothed to
 * t (1 − ε) + ε/2, with the weight w of the positive class.
 *
 *   loss = w t ln(1 + e^−x) + (1 − t) ln(1 + e^x)
 *   d    = (1 − t) σ(x) − w t σ(−x)
 *
 * Operands as in losses.ts; D = valid rows · n. Equal to PyTorch's
 * binary_cross_entropy_with_logits for ε = 0.
 *
 * @param x              f32[rows, n]; dx may be x
 * @param targets        f32[rows, n] in [0, 1]
 * @param elementWeights f32[rows, n], factors of the elements; 0: none
 * @param positiveWeight f32[n], w; 0: all 1
 * @param smoothing      ε
 */
export function binaryCrossEntropyLogits(
  out: usize, losses: usize, dx: usize, x: usize, targets: usize, valid: usize, weights: usize,
  elementWeights: usize, positiveWeight: usize, rows: i32, n: i32, stride: i32, smoothing: f32, mean: i32,
): void {
  elementLoss<FromLogits>(
    out, losses, dx, x, targets, valid, weights, elementWeights, positiveWeight, rows, n, stride, smoothing, mean,
  );
}

/**
 * Binary cross-entropy of probabilities p clipped to [1e-7, 1 − 1e-7], as
 * Keras; operands as in `binaryCrossEntropyLogits`.
 *
 *   loss = −w t ln p − (1 − t) ln(1 − p)
 *   d    = (1 − t)/(1 − p) − w t/p, 0 where p was clipped
 *
 * @param p f32[rows, n]; dx may be p
 */
export function binaryCrossEntropyProbabilities(
  out: usize, losses: usize, dx: usize, p: usize, targets: usize, valid: usize, weights: usize,
  elementWeights: usize, positiveWeight: usize, rows: i32, n: i32, stride: i32, smoothing: f32, mean: i32,
): void {
  elementLoss<FromProbabilities>(
    out, losses, dx, p, targets, valid, weights, elementWeights, positiveWeight, rows, n, stride, smoothing, mean,
  );
}
