import { bytes, madd } from "./simd";

/**
 * Optimizers: one call updates a flat span of parameters by PyTorch's rules, in
 * its order of operations. All spans are f32[n], whole vectors; where gradient,
 * parameter and state are 0, as in padding, they stay 0 (epsilon > 0 given).
 *
 * Settings lie in memory as consecutive f32, in the order of the classes below,
 * which are never instantiated: they name the fields. The host computes what
 * depends on the step in double precision.
 */

/** Settings of `sgd`. */
@unmanaged class SgdSettings {
  learningRate: f32;
  momentum: f32;
  /** 1 − dampening */
  intake: f32;
  /** 1: Nesterov momentum, 0: classic */
  nesterov: f32;
  weightDecay: f32;
  /** 1: the first step, velocity becomes the gradient, whatever it holds; 0: later */
  first: f32;
}

/** Settings of `adam`, the step counted as t = 1, 2... */
@unmanaged class AdamSettings {
  /** learning rate / (1 − β1^t) */
  stepSize: f32;
  beta1: f32;
  /** 1 − β1 */
  intake1: f32;
  beta2: f32;
  /** 1 − β2 */
  intake2: f32;
  /** √(1 − β2^t) */
  correction: f32;
  epsilon: f32;
  /** L2 penalty: added to the gradient */
  weightDecay: f32;
  /** 1 − learning rate · decoupled decay (AdamW); 1: none */
  keep: f32;
}

/** Settings of `rmsprop`. */
@unmanaged class RmspropSettings {
  learningRate: f32;
  rho: f32;
  /** 1 − ρ */
  intake: f32;
  epsilon: f32;
  momentum: f32;
  weightDecay: f32;
}

/** Settings of `adagrad`. */
@unmanaged class AdagradSettings {
  /** learning rate / (1 + (t − 1) decay) */
  learningRate: f32;
  epsilon: f32;
  weightDecay: f32;
}

/**
 * Stochastic gradient descent.
 *
 *   g ← dp + weightDecay p
 *   b ← momentum b + (1 − dampening) g      b ← g at the first step
 *   p ← p − rate b                          nesterov: p − rate (g + momentum b)
 *
 * @param p        parameters, updated
 * @param velocity b, updated; 0: no momentum
 * @param dp       gradients
 * @param settings an `SgdSettings`
 */
export function sgd(p: usize, velocity: usize, dp: usize, n: i32, settings: usize): void {
  const s = changetype<SgdSettings>(settings);
  const rate = f32x4.splat(-s.learningRate), momentum = f32x4.splat(s.momentum), intake = f32x4.splat(s.intake);
  const decay = f32x4.splat(s.weightDecay), nesterov = s.nesterov != 0, first = s.first != 0;
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    const w = v128.load(p + i);
    let g = madd(decay, w, v128.load(dp + i));
    if (velocity) {
      const b = first ? g : madd(intake, g, f32x4.mul(momentum, v128.load(velocity + i)));
      v128.store(velocity + i, b);
      g = nesterov ? madd(momentum, b, g) : b;
    }
    v128.store(p + i, madd(rate, g, w));
  }
}

/**
 * Adam and AdamW.
 *
 *   p ← p (1 − rate · decay)       AdamW
 *   g ← dp + weightDecay p         Adam's L2 penalty
 *   m ← β1 m + (1 − β1) g          v ← β2 v + (1 − β2) g²
 *   v̂ ← max(v̂, v)                  amsgrad; otherwise v̂ = v
 *   p ← p − rate/(1 − β1^t) m / (√v̂ / √(1 − β2^t) + ε)
 *
 * @param p          parameters, updated
 * @param m, v       moments, updated
 * @param vMax       v̂, updated; 0: no amsgrad
 * @param dp         gradients
 * @param settings   an `AdamSettings`
 * Source: Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017,
 * arXiv:1711.05101; amsgrad: Reddi et al. 2018.
 */
export function adam(p: usize, m: usize, v: usize, vMax: usize, dp: usize, n: i32, settings: usize): void {
  const s = changetype<AdamSettings>(settings);
  const rate = f32x4.splat(-s.stepSize), beta1 = f32x4.splat(s.beta1), intake1 = f32x4.splat(s.intake1);
  const beta2 = f32x4.splat(s.beta2), intake2 = f32x4.splat(s.intake2), correction = f32x4.splat(s.correction);
  const epsilon = f32x4.splat(s.epsilon), decay = f32x4.splat(s.weightDecay), keep = f32x4.splat(s.keep);
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    const w = f32x4.mul(v128.load(p + i), keep), g = madd(decay, w, v128.load(dp + i));
    const m_t = madd(intake1, g, f32x4.mul(beta1, v128.load(m + i)));
    let v_t = madd(f32x4.mul(intake2, g), g, f32x4.mul(beta2, v128.load(v + i)));
    v128.store(m + i, m_t);
    v128.store(v + i, v_t);
    if (vMax) {
      v_t = f32x4.pmax(v_t, v128.load(vMax + i));
      v128.store(vMax + i, v_t);
    }
    const root = f32x4.add(f32x4.div(f32x4.sqrt(v_t), correction), epsilon);
    v128.store(p + i, madd(rate, f32x4.div(m_t, root), w));
  }
}

/**
 * RMSprop.
 *
 *   g ← dp + weightDecay p
 *   v ← ρ v + (1 − ρ) g²
 *   a ← ρ a + (1 − ρ) g                       centered; otherwise a = 0
 *   u = g / (√(v − a²) + ε)
 *   b ← momentum b + u,  p ← p − rate b       without momentum: p − rate u
 *
 * @param p        parameters, updated
 * @param v        mean of squares, updated
 * @param average  a, updated; 0: not centered
 * @param velocity b, updated; 0: no momentum
 * @param dp       gradients
 * @param settings an `RmspropSettings`
 */
export function rmsprop(
  p: usize, v: usize, average: usize, velocity: usize, dp: usize, n: i32, settings: usize,
): void {
  const s = changetype<RmspropSettings>(settings);
  const rate = f32x4.splat(-s.learningRate), rho = f32x4.splat(s.rho), intake = f32x4.splat(s.intake);
  const epsilon = f32x4.splat(s.epsilon), momentum = f32x4.splat(s.momentum), decay = f32x4.splat(s.weightDecay);
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    const w = v128.load(p + i), g = madd(decay, w, v128.load(dp + i));
    let variance = madd(f32x4.mul(intake, g), g, f32x4.mul(rho, v128.load(v + i)));
    v128.store(v + i, variance);
    if (average) {
      const a = madd(intake, g, f32x4.mul(rho, v128.load(average + i)));
      v128.store(average + i, a);
      // Rounding can make it negative where the gradient hardly changes; PyTorch gives NaN there.
      variance = f32x4.pmax(f32x4.sub(variance, f32x4.mul(a, a)), f32x4.splat(0));
    }
    let u = f32x4.div(g, f32x4.add(f32x4.sqrt(variance), epsilon));
    if (velocity) {
      u = madd(momentum, v128.load(velocity + i), u);
      v128.store(velocity + i, u);
    }
    v128.store(p + i, madd(rate, u, w));
  }
}

/**
 * Adagrad.
 *
 *   g ← dp + weightDecay p
 *   v ← v + g²
 *   p ← p − rate g / (√v + ε)
 *
 * @param p        parameters, updated
 * @param v        sum of squares, updated
 * @param dp       gradients
 * @param settings an `AdagradSettings`
 */
export function adagrad(p: usize, v: usize, dp: usize, n: i32, settings: usize): void {
  const s = changetype<AdagradSettings>(settings);
  const rate = f32x4.splat(-s.learningRate), epsilon = f32x4.splat(s.epsilon), decay = f32x4.splat(s.weightDecay);
  for (let i: usize = 0, end = bytes(n); i < end; i += 16) {
    const w = v128.load(p + i), g = madd(decay, w, v128.load(dp + i));
    const sum = madd(g, g, v128.load(v + i));
    v128.store(v + i, sum);
    v128.store(p + i, madd(rate, f32x4.div(g, f32x4.add(f32x4.sqrt(sum), epsilon)), w));
  }
}
