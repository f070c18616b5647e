import { checkOptions, flag, real } from "../core/options.ts";
import { COMMON, type CommonOptions, common, type Optimizer } from "./optimizer.ts";

export interface RmspropOptions extends CommonOptions {
  /** Decay of the mean of squares. Default 0.99. */
  rho?: number;
  /** Added to the root, as PyTorch. Default 1e-8. */
  epsilon?: number;
  /** Default 0. */
  momentum?: number;
  /** Divide by the standard deviation rather than the root mean square. Default false. */
  centered?: boolean;
  /** L2 penalty added to the gradient. Default 0. */
  weightDecay?: number;
}

/**
 * RMSprop, PyTorch's rule. Default rate 0.01.
 *
 * Source: Tieleman, Hinton 2012; centred: Graves 2013, arXiv:1308.0850.
 * @throws OptionError for unknown options and values out of range
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  const where = "rmsprop()";
  checkOptions(where, options, [...COMMON, "rho", "epsilon", "momentum", "centered", "weightDecay"]);
  const rho = real(where, "rho", options.rho ?? 0.99, "[0, 1)");
  const epsilon = real(where, "epsilon", options.epsilon ?? 1e-8, "(0, inf)");
  const momentum = real(where, "momentum", options.momentum ?? 0, "[0, inf)");
  const centered = flag(where, "centered", options.centered ?? false);
  const weightDecay = real(where, "weightDecay", options.weightDecay ?? 0, "[0, inf)");
  const shared = common(where, options, 0.01);
  const slots = ["v", ...(centered ? ["average"] : []), ...(momentum ? ["velocity"] : [])];
  return {
    name: "rmsprop",
    ...shared,
    config: { ...shared.config, rho, epsilon, momentum, centered, weightDecay },
    slots,
    update(core, { f32 }, spans, rate) {
      const { params, grads, settings, count } = spans;
      const slot = (name: string) => spans.slots[slots.indexOf(name)] ?? 0;
      f32.set([rate, rho, 1 - rho, epsilon, momentum, weightDecay], settings >>> 2);
      core.rmsprop(params, slot("v"), slot("average"), slot("velocity"), grads, count, settings);
    },
  };
}
