import { bytes, clearFrom, lastLanes, lastVector, sumLanes } from "./simd";
import { counts } from "./mask";
import { countValid, reciprocal, rowWeight } from "./losses";
import { expNonPositive, log } from "./math";
import { rowMax } from "./softmax";

/**
 * Cross-entropy between classes: of a row with weighted targets u,
 *
 *   u_c  = w_c ((1 − ε) t_c + ε/n)     t one-hot (labels) or given (dense)
 *   loss = −Σ u_c ln p_c
 *
 * The label's own share (1 − ε) w_label of a one-hot row is added as a scalar;
 * the rest of u is one of three kinds, a constant in every inlined loop.
 */
const NOTHING = 0, SMOOTHED = 1, DENSE = 2;

/** The vector of u at `targets` and `classWeights`, without the label's share. */
// @ts-ignore: decorator
@inline function share(kind: i32, targets: usize, classWeights: usize, j: usize, keep: v128, spread: v128): v128 {
  const u = kind == DENSE ? f32x4.add(f32x4.mul(v128.load(targets + j), keep), spread) : spread;
  return classWeights ? f32x4.mul(u, v128.load(classWeights + j)) : u;
}

// @ts-ignore: decorator
@inline function classWeight(classWeights: usize, label: i32): f32 {
  return classWeights == 0 ? 1 : load<f32>(classWeights + bytes(label));
}

// @ts-ignore: decorator
@inline function isIgnored(labels: usize, i: i32, ignoreIndex: i32): bool {
  return labels != 0 && load<i32>(labels + bytes(i)) == ignoreIndex;
}

/** PyTorch's denominator: the class weights of the labels that count; with dense targets the rows that count. */
function denominatorOf(labels: usize, valid: usize, classWeights: usize, rows: i32, ignoreIndex: i32): f64 {
  if (!labels) return <f64>countValid(valid, rows);
  let sum: f64 = 0;
  for (let i = 0; i < rows; i++) {
    if (counts(valid, i) && !isIgnored(labels, i, ignoreIndex)) {
      sum += classWeight(classWeights, load<i32>(labels + bytes(i)));
    }
  }
  return sum;
}

/** Lane 0 of ln x. */
// @ts-ignore: decorator
@inline function logOf(x: f32): f32 {
  return f32x4.extract_lane(log(f32x4.splat(x)), 0);
}

/**
 * One row of `crossEntropyLogits`; returns its loss without the row's weight.
 *
 *   d_c  = x_c − max      e_c = e^(d_c)
 *   loss = S ln Σ e_c − Σ u_c d_c,   S = Σ u_c        both terms >= 0
 *   dx_c = factor (S e_c / Σ e_c − u_c)
 *
 * dx holds e between the two passes.
 */
// @ts-ignore: decorator
@inline function logitsRow(
  kind: i32, dx: usize, x: usize, label: i32, targets: usize, classWeights: usize, n: i32,
  keep: f32, spread: f32, factor: f32,
): f32 {
  const last = lastVector(n), lanes = lastLanes(n), k = f32x4.splat(keep), s = f32x4.splat(spread);
  const m = rowMax(x, last, lanes);
  let weight: f32 = 0, dot: f32 = 0;
  if (kind != DENSE) {
    weight = keep * classWeight(classWeights, label);
    dot = weight * (load<f32>(x + bytes(label)) - f32x4.extract_lane(m, 0));
  }
  let sum = f32x4.splat(0), sumU = f32x4.splat(0), sumUD = f32x4.splat(0);
  for (let j: usize = 0; j <= last; j += 16) {
    const d = f32x4.sub(v128.load(x + j), m);
    let e = expNonPositive(d);
    if (j == last) e = v128.and(e, lanes);
    if (dx) v128.store(dx + j, e);
    sum = f32x4.add(sum, e);
    if (kind != NOTHING) {
      let u = share(kind, targets, classWeights, j, k, s), ud = f32x4.mul(u, d);
      if (j == last) {
        u = v128.and(u, lanes);
        ud = v128.and(ud, lanes);
      }
      sumU = f32x4.add(sumU, u);
      sumUD = f32x4.add(sumUD, ud);
    }
  }
  const total = sumLanes(sum), mass = weight + sumLanes(sumU);
  if (dx) {
    const p = f32x4.splat(mass * factor / total), f = f32x4.splat(factor);
    for (let j: usize = 0; j <= last; j += 16) {
      let g = f32x4.mul(v128.load(dx + j), p);
      if (kind != NOTHING) g = f32x4.sub(g, f32x4.mul(share(kind, targets, classWeights, j, k, s), f));
      if (j == last) g = v128.and(g, lanes);
      v128.store(dx + j, g);
    }
    if (kind != DENSE) store<f32>(dx + bytes(label), load<f32>(dx + bytes(label)) - weight * factor);
  }
  return mass * logOf(total) - (dot + sumLanes(sumUD));
}

/** Keras's clip of probabilities, to [1e-7, 1 − 1e-7]. */
const LOWEST: f32 = 1e-7, HIGHEST: f32 = 1 - 1e-7;

/**
 * One row of `crossEntropyProbabilities`; returns its loss without the row's weight.
 *
 *   loss = −Σ u_c ln p_c      dx_c = −factor u_c / p_c, 0 where p was clipped
 */
// @ts-ignore: decorator
@inline function probabilitiesRow(
  kind: i32, dx: usize, x: usize, label: i32, targets: usize, classWeights: usize, n: i32,
  keep: f32, spread: f32, factor: f32,
): f32 {
  const last = lastVector(n), lanes = lastLanes(n), k = f32x4.splat(keep), s = f32x4.splat(spread);
  let loss: f32 = 0, slope: f32 = 0;
  if (kind != DENSE) {
    const p = load<f32>(x + bytes(label)), weight = keep * classWeight(classWeights, label);
    loss = weight * logOf(p < LOWEST ? LOWEST : p > HIGHEST ? HIGHEST : p);
    slope = p < LOWEST || p > HIGHEST ? 0 : weight * factor / p;
  }
  let sum = f32x4.splat(0);
  for (let j: usize = 0; j <= last; j += 16) {
    let g = f32x4.splat(0);
    if (kind != NOTHING) {
      const u = share(kind, targets, classWeights, j, k, s), p = v128.load(x + j);
      const q = f32x4.pmin(f32x4.pmax(p, f32x4.splat(LOWEST)), f32x4.splat(HIGHEST));
      let l = f32x4.mul(u, log(q));
      g = f32x4.div(f32x4.mul(u, f32x4.splat(-factor)), q);
      g = v128.andnot(g, v128.or(f32x4.lt(p, q), f32x4.gt(p, q)));
      if (j == last) {
        l = v128.and(l, lanes);
        g = v128.and(g, lanes);
      }
      sum = f32x4.add(sum, l);
    }
    if (dx) v128.store(dx + j, g);
  }
  if (dx && kind != DENSE) store<f32>(dx + bytes(label), load<f32>(dx + bytes(label)) - slope);
  return -(loss + sumLanes(sum));
}

/** All rows of one of the two kernels; `fromLogits` and `kind` are constants. */
// @ts-ignore: decorator
@inline function crossEntropyRows(
  fromLogits: bool, kind: i32, out: usize, losses: usize, dx: usize, x: usize, labels: usize, targets: usize,
  valid: usize, weights: usize, classWeights: usize, rows: i32, n: i32, stride: i32,
  smoothing: f32, ignoreIndex: i32, mean: i32,
): void {
  const keep: f32 = 1 - smoothing, spread = smoothing / <f32>n;
  const denominator = mean ? denominatorOf(labels, valid, classWeights, rows, ignoreIndex) : 1;
  const factor = reciprocal(denominator);
  let total: f64 = 0;
  for (let i = 0; i < rows; i++) {
    let loss: f32 = 0;
    if (counts(valid, i) && !isIgnored(labels, i, ignoreIndex)) {
      const weight = rowWeight(weights, i), label = kind == DENSE ? 0 : load<i32>(labels + bytes(i));
      loss = weight * (fromLogits
        ? logitsRow(kind, dx, x, label, targets, classWeights, n, keep, spread, weight * factor)
        : probabilitiesRow(kind, dx, x, label, targets, classWeights, n, keep, spread, weight * factor));
      if (dx) clearFrom(dx, lastVector(n) + 16, stride);
    } else if (dx) clearFrom(dx, 0, stride);
    store<f32>(losses + bytes(i), loss);
    total += loss;
    x += bytes(stride);
    if (dx) dx += bytes(stride);
    if (kind == DENSE) targets += bytes(stride);
  }
  store<f64>(out, total);
  store<f64>(out, denominator, 8);
}

/**
 * Cross-entropy of logits, softmax fused in.
 *
 *   u_c  = w_c ((1 − ε) t_c + ε/n)
 *   loss = −Σ u_c ln softmax(x)_c
 *   d    = softmax(x) Σ u_c − u
 *
 * Operands as in losses.ts. D is the sum of w_label over the rows that count,
 * with dense targets their number. Equal to PyTorch's cross_entropy.
 *
 * @param x            f32[rows, n]; dx may be x
 * @param labels       i32[rows] in [0, n), or ignoreIndex (the row does not count); 0: dense
 * @param targets      f32[rows, n], read if labels is 0
 * @param classWeights f32[n], w; 0: all 1
 * @param smoothing    ε
 */
export function crossEntropyLogits(
  out: usize, losses: usize, dx: usize, x: usize, labels: usize, targets: usize, valid: usize, weights: usize,
  classWeights: usize, rows: i32, n: i32, stride: i32, smoothing: f32, ignoreIndex: i32, mean: i32,
): void {
  if (!labels) {
    crossEntropyRows(
      true, DENSE, out, losses, dx, x, labels, targets, valid, weights, classWeights, rows, n, stride, smoothing,
      ignoreIndex, mean,
    );
  } else if (smoothing != 0) {
    crossEntropyRows(
      true, SMOOTHED, out, losses, dx, x, labels, targets, valid, weights, classWeights, rows, n, stride, smoothing,
      ignoreIndex, mean,
    );
  } else {
    crossEntropyRows(
      true, NOTHING, out, losses, dx, x, labels, targets, valid, weights, classWeights, rows, n, stride, smoothing,
      ignoreIndex, mean,
    );
  }
}

/**
 * Cross-entropy of probabilities p clipped to [1e-7, 1 − 1e-7], as Keras; not
 * normalised. Operands as in `crossEntropyLogits`.
 *
 *   loss = −Σ u_c ln p_c
 *   d    = −u/p, 0 where p was clipped
 *
 * @param p f32[rows, n]; dx may be p
 */
export function crossEntropyProbabilities(
  out: usize, losses: usize, dx: usize, p: usize, labels: usize, targets: usize, valid: usize, weights: usize,
  classWeights: usize, rows: i32, n: i32, stride: i32, smoothing: f32, ignoreIndex: i32, mean: i32,
): void {
  if (!labels) {
    crossEntropyRows(
      false, DENSE, out, losses, dx, p, labels, targets, valid, weights, classWeights, rows, n, stride, smoothing,
      ignoreIndex, mean,
    );
  } else if (smoothing != 0) {
    crossEntropyRows(
      false, SMOOTHED, out, losses, dx, p, labels, targets, valid, weights, classWeights, rows, n, stride,
      smoothing, ignoreIndex, mean,
    );
  } else {
    crossEntropyRows(
      false, NOTHING, out, losses, dx, p, labels, targets, valid, weights, classWeights, rows, n, stride, smoothing,
      ignoreIndex, mean,
    );
  }
}
