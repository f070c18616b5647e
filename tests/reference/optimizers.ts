/** PyTorch's update rules for one parameter; `step` counts from 1. */

export type Options = {
  learningRate: number;
  momentum?: number;
  dampening?: number;
  nesterov?: boolean;
  weightDecay?: number;
  decoupledDecay?: number;
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  amsgrad?: boolean;
  rho?: number;
  centered?: boolean;
};

export type State = { velocity: number; m: number; v: number; vMax: number; average: number };

export type Rule = (p: number, dp: number, state: State, step: number, options: Options) => number;

export const sgd: Rule = (p, dp, state, step, o) => {
  const { momentum = 0, dampening = 0 } = o;
  let g = dp + (o.weightDecay ?? 0) * p;
  if (momentum !== 0) {
    state.velocity = step === 1 ? g : momentum * state.velocity + (1 - dampening) * g;
    g = o.nesterov ? g + momentum * state.velocity : state.velocity;
  }
  return p - o.learningRate * g;
};

export const adam: Rule = (p, dp, state, step, o) => {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = o;
  p *= 1 - o.learningRate * (o.decoupledDecay ?? 0);
  const g = dp + (o.weightDecay ?? 0) * p;
  state.m = beta1 * state.m + (1 - beta1) * g;
  state.v = beta2 * state.v + (1 - beta2) * g * g;
  state.vMax = Math.max(state.vMax, state.v);
  const root = Math.sqrt(o.amsgrad ? state.vMax : state.v) / Math.sqrt(1 - beta2 ** step) + epsilon;
  return p - ((o.learningRate / (1 - beta1 ** step)) * state.m) / root;
};

export const rmsprop: Rule = (p, dp, state, _step, o) => {
  const { rho = 0.99, epsilon = 1e-8, momentum = 0 } = o;
  const g = dp + (o.weightDecay ?? 0) * p;
  state.v = rho * state.v + (1 - rho) * g * g;
  if (o.centered) state.average = rho * state.average + (1 - rho) * g;
  let u = g / (Math.sqrt(state.v - state.average ** 2) + epsilon);
  if (momentum !== 0) u = state.velocity = momentum * state.velocity + u;
  return p - o.learningRate * u;
};

export const adagrad: Rule = (p, dp, state, _step, o) => {
  const g = dp + (o.weightDecay ?? 0) * p;
  state.v += g * g;
  return p - (o.learningRate * g) / (Math.sqrt(state.v) + (o.epsilon ?? 1e-10));
};
