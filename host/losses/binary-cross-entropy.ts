import { checkOptions, flag, real } from "../core/options.ts";
import type { Loss } from "./loss.ts";
import { type CommonLossOptions, checkWidth, reductionOf, weightList } from "./options.ts";

export interface BinaryCrossEntropyOptions extends CommonLossOptions {
  /** The output holds logits, not probabilities. Default false; a sigmoid output is fused all the same. */
  fromLogits?: boolean;
  /** Targets become (1 - labelSmoothing) t + labelSmoothing / 2. Default 0. */
  labelSmoothing?: number;
  /** Weight of the positive class, one an output. Default none. */
  posWeight?: readonly number[] | Float32Array;
}

/**
 * -t log p - (1 - t) log(1 - p), each output on its own; targets in [0, 1] of
 * the output's shape.
 *
 * @throws OptionError for unknown options and values out of range
 */
export function binaryCrossentropy(options: BinaryCrossEntropyOptions = {}): Loss {
  const name = "binaryCrossentropy";
  const where = `${name}()`;
  checkOptions(where, options, ["reduction", "fromLogits", "labelSmoothing", "posWeight"]);
  const reduction = reductionOf(where, options);
  const fromLogits = flag(where, "fromLogits", options.fromLogits ?? false);
  const labelSmoothing = real(where, "labelSmoothing", options.labelSmoothing ?? 0, "[0, 1]");
  const posWeight = weightList(where, "posWeight", options.posWeight);
  return {
    name,
    config: { reduction, fromLogits, labelSmoothing, ...(posWeight ? { posWeight } : {}) },
    targets: "values",
    fuses: ["sigmoid"],
    fromLogits,
    check: ({ features }) => checkWidth(where, "posWeight", posWeight, features),
    record(run, { out, rowLosses, dx, x, logits, targets, valid, weights, elementWeights, rows, n, stride }) {
      const w = posWeight ? run.constant("positive weights", posWeight) : 0;
      const kernel = logits ? run.k.binaryCrossEntropyLogits : run.k.binaryCrossEntropyProbabilities;
      kernel(
        out,
        rowLosses,
        dx,
        x,
        targets,
        valid,
        weights,
        elementWeights,
        w,
        rows,
        n,
        stride,
        labelSmoothing,
        reduction === "mean" ? 1 : 0,
      );
    },
  };
}
