import { OptionError } from "../core/errors.ts";
import { checkOptions, flag, integer, real } from "../core/options.ts";
import type { Loss } from "./loss.ts";
import { type CommonLossOptions, checkWidth, reductionOf, weightList } from "./options.ts";

export interface CrossEntropyOptions extends CommonLossOptions {
  /** The output holds logits, not probabilities. Default false; a softmax output is fused all the same. */
  fromLogits?: boolean;
  /** Targets become (1 - labelSmoothing) t + labelSmoothing / classes. Default 0. */
  labelSmoothing?: number;
  /** One weight a class; the mean divides by the weights of the targets, as PyTorch. Default none. */
  classWeight?: readonly number[] | Float32Array;
}

export interface SparseCrossEntropyOptions extends CrossEntropyOptions {
  /** A label whose rows do not count. Default none. */
  ignoreIndex?: number;
}

/** No row has this label. */
const NO_LABEL = -(2 ** 31);

function crossEntropy(name: string, sparse: boolean, options: SparseCrossEntropyOptions): Loss {
  const where = `${name}()`;
  checkOptions(where, options, [
    "reduction",
    "fromLogits",
    "labelSmoothing",
    "classWeight",
    ...(sparse ? ["ignoreIndex"] : []),
  ]);
  const reduction = reductionOf(where, options);
  const fromLogits = flag(where, "fromLogits", options.fromLogits ?? false);
  const labelSmoothing = real(where, "labelSmoothing", options.labelSmoothing ?? 0, "[0, 1]");
  const classWeight = weightList(where, "classWeight", options.classWeight);
  const ignoreIndex =
    options.ignoreIndex === undefined ? undefined : integer(where, "ignoreIndex", options.ignoreIndex, -(2 ** 31));
  return {
    name,
    config: {
      reduction,
      fromLogits,
      labelSmoothing,
      ...(classWeight ? { classWeight } : {}),
      ...(ignoreIndex === undefined ? {} : { ignoreIndex }),
    },
    targets: sparse ? "labels" : "values",
    fuses: ["softmax"],
    fromLogits,
    ignoreIndex,
    check: ({ features }) => checkWidth(where, "classWeight", classWeight, features),
    record(run, { out, rowLosses, dx, x, logits, targets, valid, weights, elementWeights, rows, n, stride }) {
      if (elementWeights)
        throw new OptionError(`${where}: sampleWeight must be one a sample or step, not one an output`);
      const w = classWeight ? run.constant("class weights", classWeight) : 0;
      const kernel = logits ? run.k.crossEntropyLogits : run.k.crossEntropyProbabilities;
      kernel(
        out,
        rowLosses,
        dx,
        x,
        sparse ? targets : 0,
        sparse ? 0 : targets,
        valid,
        weights,
        w,
        rows,
        n,
        stride,
        labelSmoothing,
        ignoreIndex ?? NO_LABEL,
        reduction === "mean" ? 1 : 0,
      );
    },
  };
}

/**
 * -sum(t log p) over classes, for one-hot or probability targets [batch, classes]
 * or [batch, time, classes].
 *
 * @throws OptionError for unknown options and values out of range
 */
export function categoricalCrossentropy(options: CrossEntropyOptions = {}): Loss {
  return crossEntropy("categoricalCrossentropy", false, options);
}

/**
 * -log p[label], for class numbers [batch] or [batch, time].
 *
 * @throws OptionError for unknown options and values out of range
 */
export function sparseCategoricalCrossentropy(options: SparseCrossEntropyOptions = {}): Loss {
  return crossEntropy("sparseCategoricalCrossentropy", true, options);
}
