import { checkOptions, real } from "../core/options.ts";
import { COMMON, type CommonOptions, common, type Optimizer } from "./optimizer.ts";

export interface AdagradOptions extends CommonOptions {
  /** The rate falls as 1 / (1 + steps * learningRateDecay). Default 0. */
  learningRateDecay?: number;
  /** What the sums of squares begin with. Default 0. */
  initialAccumulator?: number;
  /** Added to the root. Default 1e-10. */
  epsilon?: number;
  /** L2 penalty added to the gradient. Default 0. */
  weightDecay?: number;
}

/**
 * Adagrad, PyTorch's rule. Default rate 0.01.
 *
 * Source: Duchi, Hazan, Singer 2011.
 * @throws OptionError for unknown options and values out of range
 */
export function adagrad(options: AdagradOptions = {}): Optimizer {
  const where = "adagrad()";
  checkOptions(where, options, [...COMMON, "learningRateDecay", "initialAccumulator", "epsilon", "weightDecay"]);
  const learningRateDecay = real(where, "learningRateDecay", options.learningRateDecay ?? 0, "[0, inf)");
  const initialAccumulator = real(where, "initialAccumulator", options.initialAccumulator ?? 0, "[0, inf)");
  const epsilon = real(where, "epsilon", options.epsilon ?? 1e-10, "(0, inf)");
  const weightDecay = real(where, "weightDecay", options.weightDecay ?? 0, "[0, inf)");
  const shared = common(where, options, 0.01);
  return {
    name: "adagrad",
    ...shared,
    config: { ...shared.config, learningRateDecay, initialAccumulator, epsilon, weightDecay },
    slots: ["sum"],
    initial: { sum: initialAccumulator },
    update(core, { f32 }, { params, grads, slots, settings, count }, rate, t) {
      f32.set([rate / (1 + (t - 1) * learningRateDecay), epsilon, weightDecay], settings >>> 2);
      core.adagrad(params, slots[0], grads, count, settings);
    },
  };
}
