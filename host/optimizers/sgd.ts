import { OptionError } from "../core/errors.ts";
import { checkOptions, flag, real } from "../core/options.ts";
import { COMMON, type CommonOptions, common, type Optimizer } from "./optimizer.ts";

export interface SgdOptions extends CommonOptions {
  /** Default 0. */
  momentum?: number;
  /** Share of the gradient kept out of the momentum, from the second step on. Default 0. */
  dampening?: number;
  /** Look ahead along the momentum. Default false. */
  nesterov?: boolean;
  /** L2 penalty added to the gradient. Default 0. */
  weightDecay?: number;
}

/**
 * Stochastic gradient descent, PyTorch's rule: the momentum is without the
 * learning rate, and begins as the first gradient. Default rate 0.01.
 *
 * @throws OptionError for unknown options and values out of range
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const where = "sgd()";
  checkOptions(where, options, [...COMMON, "momentum", "dampening", "nesterov", "weightDecay"]);
  const momentum = real(where, "momentum", options.momentum ?? 0, "[0, inf)");
  const dampening = real(where, "dampening", options.dampening ?? 0, "[0, 1]");
  const nesterov = flag(where, "nesterov", options.nesterov ?? false);
  const weightDecay = real(where, "weightDecay", options.weightDecay ?? 0, "[0, inf)");
  if (nesterov && (momentum === 0 || dampening !== 0))
    throw new OptionError(`${where}: "nesterov" needs a momentum and no dampening`);
  const shared = common(where, options, 0.01);
  return {
    name: "sgd",
    ...shared,
    config: { ...shared.config, momentum, dampening, nesterov, weightDecay },
    slots: momentum ? ["velocity"] : [],
    update(core, { f32 }, { params, grads, slots, settings, count }, rate, t) {
      f32.set([rate, momentum, 1 - dampening, nesterov ? 1 : 0, weightDecay, t === 1 ? 1 : 0], settings >>> 2);
      core.sgd(params, slots[0] ?? 0, grads, count, settings);
    },
  };
}
