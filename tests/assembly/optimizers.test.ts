import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, TestCore, uniform } from "../kit/core.ts";
import { ROUNDING, SIZES } from "../kit/shapes.ts";
import type { Options, Rule, State } from "../reference/optimizers.ts";
import * as reference from "../reference/optimizers.ts";

type Kernel = (core: TestCore, p: number, states: number[], dp: number, n: number, step: number) => void;
type Case = [name: string, rule: Rule, options: Options, kernel: (options: Options) => Kernel];

const sgd =
  (o: Options): Kernel =>
  (core, p, [velocity], dp, n, step) => {
    const { learningRate, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = o;
    const settings = [learningRate, momentum, 1 - dampening, Number(nesterov), weightDecay, Number(step === 1)];
    core.k.sgd(p, momentum ? velocity : 0, dp, n, core.put(settings));
  };

const adam =
  (o: Options): Kernel =>
  (core, p, [m, v, vMax], dp, n, step) => {
    const { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupledDecay = 0 } = o;
    const settings = [learningRate / (1 - beta1 ** step), beta1, 1 - beta1, beta2, 1 - beta2];
    settings.push(Math.sqrt(1 - beta2 ** step), epsilon, weightDecay, 1 - learningRate * decoupledDecay);
    core.k.adam(p, m, v, o.amsgrad ? vMax : 0, dp, n, core.put(settings));
  };

const rmsprop =
  (o: Options): Kernel =>
  (core, p, [v, average, velocity], dp, n) => {
    const { learningRate, rho = 0.99, epsilon = 1e-8, momentum = 0, weightDecay = 0 } = o;
    const settings = core.put([learningRate, rho, 1 - rho, epsilon, momentum, weightDecay]);
    core.k.rmsprop(p, v, o.centered ? average : 0, momentum ? velocity : 0, dp, n, settings);
  };

const adagrad =
  (o: Options): Kernel =>
  (core, p, [v], dp, n) => {
    core.k.adagrad(p, v, dp, n, core.put([o.learningRate, o.epsilon ?? 1e-10, o.weightDecay ?? 0]));
  };

const learningRate = 0.05;
const cases: Case[] = [
  ["sgd", reference.sgd, { learningRate }, sgd],
  ["sgd, weight decay", reference.sgd, { learningRate, weightDecay: 0.1 }, sgd],
  ["sgd, momentum", reference.sgd, { learningRate, momentum: 0.9 }, sgd],
  ["sgd, dampening", reference.sgd, { learningRate, momentum: 0.9, dampening: 0.3, weightDecay: 0.1 }, sgd],
  ["sgd, nesterov", reference.sgd, { learningRate, momentum: 0.8, nesterov: true, weightDecay: 0.02 }, sgd],
  ["adam", reference.adam, { learningRate }, adam],
  ["adam, L2", reference.adam, { learningRate, weightDecay: 0.1, epsilon: 1e-3 }, adam],
  ["adam, amsgrad", reference.adam, { learningRate, amsgrad: true, beta1: 0.7, beta2: 0.6 }, adam],
  ["adamW", reference.adam, { learningRate, decoupledDecay: 0.2, beta1: 0.85, beta2: 0.9 }, adam],
  ["rmsprop", reference.rmsprop, { learningRate }, rmsprop],
  ["rmsprop, momentum", reference.rmsprop, { learningRate, momentum: 0.7, weightDecay: 0.05 }, rmsprop],
  ["rmsprop, centered", reference.rmsprop, { learningRate, centered: true, rho: 0.9, momentum: 0.7 }, rmsprop],
  ["adagrad", reference.adagrad, { learningRate, weightDecay: 0.1 }, adagrad],
];

const STEPS = 5;

for (const [name, rule, options, kernel] of cases) {
  test(`${name}: ${STEPS} steps, padding stays 0`, () => {
    const step = kernel(options);
    for (const n of SIZES) {
      const core = new TestCore();
      const p = core.put(uniform(n, n));
      const states = [core.alloc(n), core.alloc(n), core.alloc(n)];
      const exact = Float64Array.from(uniform(n, n));
      const exactStates: State[] = Array.from(exact, () => ({ velocity: 0, m: 0, v: 0, vMax: 0, average: 0 }));
      const dp = core.alloc(n);
      for (let t = 1; t <= STEPS; t++) {
        const gradients = uniform(n, 100 * t + n, 0.5);
        core.f32(dp, n).set(gradients);
        step(core, p, states, dp, n, t);
        exact.forEach((v, i) => {
          exact[i] = rule(v, gradients[i], exactStates[i], t, options);
        });
      }
      // A dozen roundings a step of updates below 5 learning rates, and of p itself, at most 2.
      close(core.f32(p, n), exact, 0, `n ${n}`, STEPS * (12 * 5 * learningRate + 2) * ROUNDING);
      for (const at of [p, ...states])
        for (const v of core.f32(at, (n + 3) & ~3).slice(n)) assert.is(v, 0, `n ${n}: padding`);
      core.checkCanaries();
    }
  });
}

test("the first momentum step replaces whatever the velocity holds", () => {
  const core = new TestCore();
  const [p, velocity, dp] = [core.alloc(4), core.put([NaN, NaN, NaN, NaN]), core.put([1, 2, 3, 4])];
  core.k.sgd(p, velocity, dp, 4, core.put([0.5, 0.9, 1, 0, 0, 1]));
  assert.equal(Array.from(core.f32(velocity, 4)), [1, 2, 3, 4]);
  assert.equal(Array.from(core.f32(p, 4)), [-0.5, -1, -1.5, -2]);
});

test("centered rmsprop stays finite when the gradient never changes", () => {
  const core = new TestCore();
  const [p, v, average, dp] = [core.alloc(4), core.alloc(4), core.alloc(4), core.put([0.1, 1, 3, 0.7])];
  const settings = core.put([0.01, 0.9, 1 - 0.9, 1e-3, 0, 0]);
  for (let t = 0; t < 500; t++) core.k.rmsprop(p, v, average, 0, dp, 4, settings);
  for (const value of core.f32(p, 4)) assert.ok(Number.isFinite(value));
});

test.run();
