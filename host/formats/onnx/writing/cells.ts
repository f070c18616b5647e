import type { Json } from "../../../layers/layer.ts";
import { applyActivation } from "./activations.ts";
import type { Weight } from "./call.ts";
import type { Config } from "./context.ts";
import type { Scope } from "./scope.ts";

/**
 * Recurrent cells as operators. Equations: assembly/gru.ts, light-gru.ts,
 * gru-layer-norm.ts; gates are [z | r | n], those of one gate [z | n].
 */

export interface Cell {
  /** What of the input goes into every step, [batch, time, gates] from [batch, time, features], or both without time. */
  project(scope: Scope, x: string): string;
  /** One step: the state [batch, units] after it, from `project`'s of the step and the state before. */
  step(scope: Scope, projected: string, h: string): string;
}

type Weights = Readonly<Record<string, Weight>>;

/** h ← n + z ⊙ (h − n). */
function blend(scope: Scope, z: string, h: string, n: string): string {
  return scope.op("Add", [n, scope.op("Mul", [z, scope.op("Sub", [h, n])])]);
}

/** Row i of a matrix. */
const row = (scope: Scope, { name }: Weight, i: number) => scope.op("Gather", [name, scope.int(i)], { axis: 0 });

const plus = (scope: Scope, x: string, bias: string | undefined) => (bias ? scope.op("Add", [x, bias]) : x);

function gru(outer: Scope, config: Config, { kernel, recurrentKernel, bias, gamma }: Weights): Cell {
  const { resetAfter, activation, recurrentActivation, zoneout } = config;
  const H = config.units as number;
  const [zr, candidates] = resetAfter ? [recurrentKernel.name] : outer.split(recurrentKernel.name, [2 * H, H]);
  const gate = (scope: Scope, a: string, b: string) =>
    applyActivation(scope, scope.op("Add", [a, b]), recurrentActivation);
  const shifts = [0, 1].map((i) => bias && (resetAfter ? row(outer, bias, i) : i === 0 ? bias.name : undefined));
  const scales = [0, 1].map((i) => gamma && row(outer, gamma, i));
  /** A product, its bias, and what normalises it. */
  const product = (scope: Scope, x: string, matrix: string, i: number) => {
    const y = scope.op("MatMul", [x, matrix]);
    const [scale, shift] = [scales[i], shifts[i]];
    if (!scale) return plus(scope, y, shift);
    return scope.op("LayerNormalization", shift ? [y, scale, shift] : [y, scale], { axis: -1, epsilon: EPSILON });
  };
  return {
    project: (scope, x) => product(scope, x, kernel.name, 0),
    step(scope, projected, h) {
      const [xz, xr, xn] = scope.split(projected, [H, H, H]);
      const [hz, hr, q] = scope.split(product(scope, h, zr, 1), resetAfter ? [H, H, H] : [H, H]);
      const [z, r] = [gate(scope, xz, hz), gate(scope, xr, hr)];
      const recurrent = resetAfter
        ? scope.op("Mul", [r, q])
        : scope.op("MatMul", [scope.op("Mul", [r, h]), candidates]);
      const n = applyActivation(scope, scope.op("Add", [xn, recurrent]), activation);
      const next = blend(scope, z, h, n);
      return zoneout ? blend(scope, scope.float(zoneout as number), h, next) : next;
    },
  };
}

/** Of gru-layer-norm.ts. */
const EPSILON = { float: 1e-5 };

/** @param recurrence what h gives to the sums of gate and candidate */
function oneGate(
  config: Config,
  { kernel, bias }: Weights,
  recurrence?: (scope: Scope, h: string) => { gate: string; candidate: (z: string) => string },
): Cell {
  const H = config.units as number;
  return {
    project: (scope, x) => plus(scope, scope.op("MatMul", [x, kernel.name]), bias?.name),
    step(scope, projected, h) {
      const [xz, xn] = scope.split(projected, [H, H]);
      const own = recurrence?.(scope, h);
      const z = scope.op("Sigmoid", [plus(scope, xz, own?.gate)]);
      return blend(scope, z, h, applyActivation(scope, plus(scope, xn, own?.candidate(z)), config.activation as Json));
    },
  };
}

/** By the layer's type; `outer` is where weights are made ready, once for all steps. */
export const CELLS: Readonly<Record<string, (outer: Scope, config: Config, weights: Weights) => Cell>> = {
  gru,
  minGru: (_, config, weights) => oneGate(config, weights),
  lightGru: (_, config, weights) =>
    oneGate(config, weights, (scope, h) => {
      const H = config.units as number;
      const [gate, candidate] = scope.split(scope.op("MatMul", [h, weights.recurrentKernel.name]), [H, H]);
      return { gate, candidate: () => candidate };
    }),
  mgu(outer, config, weights) {
    const H = config.units as number;
    const [Rz, Rn] = outer.split(weights.recurrentKernel.name, [H, H]);
    return oneGate(config, weights, (scope, h) => ({
      gate: scope.op("MatMul", [h, Rz]),
      candidate: (z) => scope.op("MatMul", [scope.op("Mul", [scope.op("Sub", [scope.float(1), z]), h]), Rn]),
    }));
  },
};
