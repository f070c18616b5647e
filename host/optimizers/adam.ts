import { pow } from "../core/math.ts";
import { checkOptions, flag, real } from "../core/options.ts";
import { COMMON, type CommonOptions, common, type Optimizer } from "./optimizer.ts";

export interface AdamOptions extends CommonOptions {
  /** Decay of the mean of gradients. Default 0.9. */
  beta1?: number;
  /** Decay of the mean of squared gradients. Default 0.999. */
  beta2?: number;
  /** Added after the bias correction, as PyTorch. Default 1e-8. */
  epsilon?: number;
  /** adam: L2 penalty added to the gradient, default 0; adamW: decay of the weights themselves, default 0.01. */
  weightDecay?: number;
  /** Use the largest mean of squares so far. Default false. */
  amsgrad?: boolean;
}

function make(name: "adam" | "adamW", options: AdamOptions): Optimizer {
  const where = `${name}()`;
  checkOptions(where, options, [...COMMON, "beta1", "beta2", "epsilon", "weightDecay", "amsgrad"]);
  const beta1 = real(where, "beta1", options.beta1 ?? 0.9, "[0, 1)");
  const beta2 = real(where, "beta2", options.beta2 ?? 0.999, "[0, 1)");
  const epsilon = real(where, "epsilon", options.epsilon ?? 1e-8, "(0, inf)");
  const weightDecay = real(where, "weightDecay", options.weightDecay ?? (name === "adamW" ? 0.01 : 0), "[0, inf)");
  const amsgrad = flag(where, "amsgrad", options.amsgrad ?? false);
  const shared = common(where, options, 1e-3);
  const decoupled = name === "adamW";
  return {
    name,
    ...shared,
    config: { ...shared.config, beta1, beta2, epsilon, weightDecay, amsgrad },
    slots: amsgrad ? ["m", "v", "vMax"] : ["m", "v"],
    update(core, { f32 }, { params, grads, slots, settings, count }, rate, t) {
      const at = settings >>> 2;
      f32[at] = rate / (1 - pow(beta1, t));
      f32[at + 1] = beta1;
      f32[at + 2] = 1 - beta1;
      f32[at + 3] = beta2;
      f32[at + 4] = 1 - beta2;
      f32[at + 5] = Math.sqrt(1 - pow(beta2, t));
      f32[at + 6] = epsilon;
      f32[at + 7] = decoupled ? 0 : weightDecay;
      f32[at + 8] = decoupled ? 1 - rate * weightDecay : 1;
      core.adam(params, slots[0], slots[1], slots[2] ?? 0, grads, count, settings);
    },
  };
}

/**
 * Adam, PyTorch's rule under Keras's names.
 *
 * Source: Kingma, Ba 2014, arXiv:1412.6980; amsgrad: Reddi et al. 2018.
 * @throws OptionError for unknown options and values out of range
 */
export function adam(options: AdamOptions = {}): Optimizer {
  return make("adam", options);
}

/**
 * Adam with decoupled weight decay.
 *
 * Source: Loshchilov, Hutter 2017, arXiv:1711.05101.
 * @throws OptionError for unknown options and values out of range
 */
export function adamW(options: AdamOptions = {}): Optimizer {
  return make("adamW", options);
}
