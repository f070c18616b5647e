import { bytes } from "./simd";
import { expm1NonPositive, gelu, geluSlope, log1p, expNonPositive, sigmoid, softplus, tanh } from "./math";

/** The kinds of activation, in the order that the host passes. */
export const enum Activation {
  linear,
  tanh,
  sigmoid,
  hardSigmoid,
  relu,
  leakyRelu,
  elu,
  selu,
  gelu,
  silu,
  softplus,
  softsign,
  hardtanh,
  logSigmoid,
  linearSigmoid,
  affine,
  scaledTanh,
  thresholdedRelu,
  clippedSigmoid,
  clippedTanh,
}

/** SELU: Klambauer et al. 2017, arXiv:1706.02515, equation 14. */
const SELU_SCALE: f32 = 1.0507009873554805, SELU_SCALE_ALPHA: f32 = 1.7580993408473766;

/** f(x). `kind` is a constant wherever this is inlined, so one line of it remains. */
// @ts-ignore: decorator
@inline function value(kind: i32, x: v128, alpha: v128, beta: v128): v128 {
  const zero = f32x4.splat(0), one = f32x4.splat(1);
  if (kind == Activation.tanh) return tanh(x);
  if (kind == Activation.sigmoid) return sigmoid(x);
  if (kind == Activation.hardSigmoid) return f32x4.pmin(f32x4.pmax(f32x4.add(f32x4.mul(alpha, x), beta), zero), one);
  if (kind == Activation.relu) return f32x4.pmax(x, zero);
  if (kind == Activation.leakyRelu) return v128.bitselect(x, f32x4.mul(alpha, x), f32x4.gt(x, zero));
  if (kind == Activation.elu) return v128.bitselect(x, f32x4.mul(alpha, expm1NonPositive(x)), f32x4.gt(x, zero));
  if (kind == Activation.selu) {
    const negative = f32x4.mul(f32x4.splat(SELU_SCALE_ALPHA), expm1NonPositive(x));
    return v128.bitselect(f32x4.mul(f32x4.splat(SELU_SCALE), x), negative, f32x4.gt(x, zero));
  }
  if (kind == Activation.gelu) return gelu(x);
  if (kind == Activation.silu) return f32x4.mul(x, sigmoid(x));
  if (kind == Activation.softplus) return softplus(x);
  if (kind == Activation.softsign) return f32x4.div(x, f32x4.add(one, f32x4.abs(x)));
  if (kind == Activation.hardtanh) return f32x4.pmin(f32x4.pmax(x, alpha), beta);
  if (kind == Activation.logSigmoid) {
    return f32x4.sub(f32x4.pmin(x, zero), log1p(expNonPositive(f32x4.neg(f32x4.abs(x)))));
  }
  if (kind == Activation.linearSigmoid) {
    return v128.bitselect(f32x4.add(x, f32x4.splat(0.5)), sigmoid(x), f32x4.ge(x, zero));
  }
  if (kind == Activation.affine) return f32x4.add(f32x4.mul(alpha, x), beta);
  if (kind == Activation.scaledTanh) return f32x4.mul(alpha, tanh(f32x4.mul(beta, x)));
  if (kind == Activation.thresholdedRelu) return v128.andnot(x, f32x4.le(x, alpha));
  if (kind == Activation.clippedSigmoid) return sigmoid(clip(x, alpha));
  if (kind == Activation.clippedTanh) return tanh(clip(x, alpha));
  return x;
}

// @ts-ignore: decorator
@inline function clip(x: v128, alpha: v128): v128 { return f32x4.pmin(f32x4.pmax(x, f32x4.neg(alpha)), alpha); }

/**
 * f′ at one vector, from the output at `y` wherever it determines f′, which
 * for gelu and silu it does not: they read the input at `x`. At a kink it is
 * PyTorch's choice, the derivative of the flat side.
 */
// @ts-ignore: decorator
@inline function slope(kind: i32, x: usize, y: usize, alpha: v128, beta: v128): v128 {
  const zero = f32x4.splat(0), one = f32x4.splat(1);
  if (kind == Activation.gelu) return geluSlope(v128.load(x));
  if (kind == Activation.silu) {
    const v = v128.load(x), s = sigmoid(v);
    return f32x4.mul(s, f32x4.add(one, f32x4.mul(v, f32x4.sub(one, s))));
  }
  if (kind == Activation.scaledTanh) {
    const t = tanh(f32x4.mul(beta, v128.load(x)));
    return f32x4.mul(f32x4.mul(alpha, beta), f32x4.sub(one, f32x4.mul(t, t)));
  }
  if (kind == Activation.linear) return one;
  if (kind == Activation.affine) return alpha;
  const v = v128.load(y);
  if (kind == Activation.tanh) return f32x4.sub(one, f32x4.mul(v, v));
  if (kind == Activation.sigmoid) return f32x4.mul(v, f32x4.sub(one, v));
  if (kind == Activation.hardSigmoid) return v128.and(alpha, v128.and(f32x4.gt(v, zero), f32x4.lt(v, one)));
  if (kind == Activation.relu) return v128.and(one, f32x4.gt(v, zero));
  if (kind == Activation.leakyRelu) return v128.bitselect(one, alpha, f32x4.gt(v, zero));
  // α e^x = y + α on the negative side.
  if (kind == Activation.elu) return v128.bitselect(one, f32x4.add(v, alpha), f32x4.gt(v, zero));
  if (kind == Activation.selu) {
    return v128.bitselect(f32x4.splat(SELU_SCALE), f32x4.add(v, f32x4.splat(SELU_SCALE_ALPHA)), f32x4.gt(v, zero));
  }
  // σ(x) = 1 − e^−y
  if (kind == Activation.softplus) return f32x4.neg(expm1NonPositive(f32x4.neg(v)));
  if (kind == Activation.softsign) {
    const s = f32x4.sub(one, f32x4.abs(v));
    return f32x4.mul(s, s);
  }
  if (kind == Activation.hardtanh) return v128.and(one, v128.and(f32x4.gt(v, alpha), f32x4.lt(v, beta)));
  // σ(x) reaches 0.5 at 0.
  if (kind == Activation.linearSigmoid) {
    return v128.bitselect(one, f32x4.mul(v, f32x4.sub(one, v)), f32x4.ge(v, f32x4.splat(0.5)));
  }
  if (kind == Activation.thresholdedRelu) return v128.and(one, f32x4.ne(v, zero));
  // Where it was clipped, y is f(α) or f(−α).
  if (kind == Activation.clippedSigmoid) {
    const inside = v128.and(f32x4.gt(v, sigmoid(f32x4.neg(alpha))), f32x4.lt(v, sigmoid(alpha)));
    return v128.and(f32x4.mul(v, f32x4.sub(one, v)), inside);
  }
  if (kind == Activation.clippedTanh) {
    return v128.and(f32x4.sub(one, f32x4.mul(v, v)), f32x4.lt(f32x4.abs(v), tanh(alpha)));
  }
  // logSigmoid: σ(−x) = 1 − e^y
  return f32x4.neg(expm1NonPositive(v));
}

// @ts-ignore: decorator
@inline function forward(kind: i32, y: usize, x: usize, n: i32, alpha: f32, beta: f32): void {
  const a = f32x4.splat(alpha), b = f32x4.splat(beta);
  for (let end = x + bytes(n); x < end; x += 16, y += 16) v128.store(y, value(kind, v128.load(x), a, b));
}

// @ts-ignore: decorator
@inline function backward(
  kind: i32, dx: usize, dy: usize, x: usize, y: usize, n: i32, alpha: f32, beta: f32, accumulate: i32,
): void {
  const a = f32x4.splat(alpha), b = f32x4.splat(beta);
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    let g = f32x4.mul(v128.load(dy + i), slope(kind, x + i, y + i, a, b));
    if (accumulate) g = f32x4.add(g, v128.load(dx + i));
    v128.store(dx + i, g);
  }
}

/**
 * y = f(x), element by element, PyTorch's definitions.
 *
 *   hardSigmoid  clip(α x + β, 0, 1)        leakyRelu  x > 0 ? x : α x
 *   elu          x > 0 ? x : α (e^x − 1)    hardtanh   clip(x, α, β)
 *   gelu         x Φ(x)                     silu       x σ(x)
 *   softplus     ln(1 + e^x)                softsign   x / (1 + |x|)
 *   logSigmoid   −ln(1 + e^−x)           linearSigmoid  x >= 0 ? x + 0.5 : σ(x)
 *   affine       α x + β                 thresholdedRelu  x > α ? x : 0
 *   scaledTanh   α tanh(β x)
 *   clippedSigmoid, clippedTanh          of clip(x, −α, α)
 *
 * @param kind an `Activation`
 * @param y    f32[n], whole vectors; may be x
 * @param x    f32[n]
 * @param alpha, beta as above; the other kinds ignore them
 */
export function activate(kind: i32, y: usize, x: usize, n: i32, alpha: f32, beta: f32): void {
  switch (kind) {
    case Activation.linear: forward(Activation.linear, y, x, n, alpha, beta); break;
    case Activation.tanh: forward(Activation.tanh, y, x, n, alpha, beta); break;
    case Activation.sigmoid: forward(Activation.sigmoid, y, x, n, alpha, beta); break;
    case Activation.hardSigmoid: forward(Activation.hardSigmoid, y, x, n, alpha, beta); break;
    case Activation.relu: forward(Activation.relu, y, x, n, alpha, beta); break;
    case Activation.leakyRelu: forward(Activation.leakyRelu, y, x, n, alpha, beta); break;
    case Activation.elu: forward(Activation.elu, y, x, n, alpha, beta); break;
    case Activation.selu: forward(Activation.selu, y, x, n, alpha, beta); break;
    case Activation.gelu: forward(Activation.gelu, y, x, n, alpha, beta); break;
    case Activation.silu: forward(Activation.silu, y, x, n, alpha, beta); break;
    case Activation.softplus: forward(Activation.softplus, y, x, n, alpha, beta); break;
    case Activation.softsign: forward(Activation.softsign, y, x, n, alpha, beta); break;
    case Activation.hardtanh: forward(Activation.hardtanh, y, x, n, alpha, beta); break;
    case Activation.logSigmoid: forward(Activation.logSigmoid, y, x, n, alpha, beta); break;
    case Activation.linearSigmoid: forward(Activation.linearSigmoid, y, x, n, alpha, beta); break;
    case Activation.affine: forward(Activation.affine, y, x, n, alpha, beta); break;
    case Activation.scaledTanh: forward(Activation.scaledTanh, y, x, n, alpha, beta); break;
    case Activation.thresholdedRelu: forward(Activation.thresholdedRelu, y, x, n, alpha, beta); break;
    case Activation.clippedSigmoid: forward(Activation.clippedSigmoid, y, x, n, alpha, beta); break;
    case Activation.clippedTanh: forward(Activation.clippedTanh, y, x, n, alpha, beta); break;
  }
}

/**
 * Backward of `activate`: dx = dy ⊙ f′.
 *
 * @param kind an `Activation`
 * @param dx   f32[n], whole vectors; may be dy
 * @param dy   f32[n]
 * @param x    f32[n], the input; read by gelu, silu and scaledTanh only, 0 for the others
 * @param y    f32[n], the output; not read by those, linear and affine
 * @param alpha, beta as in `activate`; leakyRelu and elu need alpha >= 0, so
 *   that the sign of y is that of x
 * @param accumulate 1: dx += instead; 0: dx is not read
 */
export function activateBackward(
  kind: i32, dx: usize, dy: usize, x: usize, y: usize, n: i32, alpha: f32, beta: f32, accumulate: i32,
): void {
  switch (kind) {
    case Activation.linear: backward(Activation.linear, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.tanh: backward(Activation.tanh, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.sigmoid: backward(Activation.sigmoid, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.hardSigmoid: backward(Activation.hardSigmoid, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.relu: backward(Activation.relu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.leakyRelu: backward(Activation.leakyRelu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.elu: backward(Activation.elu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.selu: backward(Activation.selu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.gelu: backward(Activation.gelu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.silu: backward(Activation.silu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.softplus: backward(Activation.softplus, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.softsign: backward(Activation.softsign, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.hardtanh: backward(Activation.hardtanh, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.logSigmoid: backward(Activation.logSigmoid, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.linearSigmoid: backward(Activation.linearSigmoid, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.affine: backward(Activation.affine, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.scaledTanh: backward(Activation.scaledTanh, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.thresholdedRelu: backward(Activation.thresholdedRelu, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.clippedSigmoid: backward(Activation.clippedSigmoid, dx, dy, x, y, n, alpha, beta, accumulate); break;
    case Activation.clippedTanh: backward(Activation.clippedTanh, dx, dy, x, y, n, alpha, beta, accumulate); break;
  }
}
