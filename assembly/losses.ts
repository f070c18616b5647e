import { counts } from "./mask";
import { bytes, clearFrom, lastLanes, lastVector, sumLanes } from "./simd";

/**
 * What the losses share. Every loss kernel writes, in one call,
 *
 *   out    f64[2]: the sum of the losses and the denominator D; the loss is
 *          sum / D, or 0 if D is 0
 *   losses f32[rows]: the loss of every row with all weights, before division
 *   dx     f32[rows, n]: the gradient of sum / D, padding 0; 0: not wanted
 *
 * and takes, besides its own operands,
 *
 *   valid   i32[rows]: 0 for rows that do not count, whatever they hold (their
 *           loss and gradient are 0, the denominator leaves them out); 0: all count
 *   weights f32[rows]: factors of the rows' losses, which leave the denominator
 *           alone; 0: none
 *   mean    1: D as the kernel says; 0: D is 1
 */

/** Weight of row i. */
// @ts-ignore: decorator
@inline export function rowWeight(weights: usize, i: i32): f32 {
  return weights == 0 ? 1 : load<f32>(weights + bytes(i));
}

export function countValid(valid: usize, rows: i32): i32 {
  let count = 0;
  for (let i = 0; i < rows; i++) count += <i32>counts(valid, i);
  return count;
}

/** 1/D, the factor of all gradients; 0 if no row counts. */
// @ts-ignore: decorator
@inline export function reciprocal(denominator: f64): f32 {
  return denominator == 0 ? 0 : <f32>(1 / denominator);
}

/** The row's last vector without its padding. */
// @ts-ignore: decorator
@inline function keepLanes(v: v128, isLast: bool, lanes: v128): v128 {
  return isLast ? v128.and(v, lanes) : v;
}

/**
 * A loss that is a sum over elements, loss(x, t) with derivative slope(x, t):
 * the loop of binary-cross-entropy.ts and regression.ts. `Op` has these two as
 * inlined methods. D is valid rows · n.
 *
 * @param x              f32[rows, n]; dx may be x
 * @param targets        f32[rows, n]
 * @param elementWeights f32[rows, n], factors of the elements; 0: none
 * @param columnWeights  f32[n], passed on to Op; 0: all 1
 * @param option         passed on to Op
 */
// @ts-ignore: decorator
@inline export function elementLoss<Op>(
  out: usize, losses: usize, dx: usize, x: usize, targets: usize, valid: usize, weights: usize,
  elementWeights: usize, columnWeights: usize, rows: i32, n: i32, stride: i32, option: f32, mean: i32,
): void {
  const op = changetype<Op>(0), a = f32x4.splat(option);
  const last = lastVector(n), lanes = lastLanes(n), row = bytes(stride);
  const denominator: f64 = mean ? <f64>countValid(valid, rows) * <f64>n : 1;
  const factor = reciprocal(denominator);
  let total: f64 = 0;
  for (let i = 0; i < rows; i++) {
    let loss: f32 = 0;
    if (counts(valid, i)) {
      const weight = rowWeight(weights, i), scale = f32x4.splat(weight * factor);
      let sum = f32x4.splat(0);
      for (let j: usize = 0; j <= last; j += 16) {
        const v = v128.load(x + j), t = v128.load(targets + j);
        const c = columnWeights ? v128.load(columnWeights + j) : f32x4.splat(1);
        const e = elementWeights ? v128.load(elementWeights + j) : f32x4.splat(1);
        sum = f32x4.add(sum, keepLanes(f32x4.mul(op.loss(v, t, c, a), e), j == last, lanes));
        if (dx) {
          const g = f32x4.mul(f32x4.mul(op.slope(v, t, c, a), e), scale);
          v128.store(dx + j, keepLanes(g, j == last, lanes));
        }
      }
      if (dx) clearFrom(dx, last + 16, stride);
      loss = sumLanes(sum) * weight;
    } else if (dx) clearFrom(dx, 0, stride);
    store<f32>(losses + bytes(i), loss);
    total += loss;
    if (dx) dx += row;
    if (elementWeights) elementWeights += row;
    x += row;
    targets += row;
  }
  store<f64>(out, total);
  store<f64>(out, denominator, 8);
}
