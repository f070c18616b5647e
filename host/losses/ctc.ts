import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import type { Loss } from "./loss.ts";
import { type CommonLossOptions, reductionOf } from "./options.ts";

export interface CtcOptions extends CommonLossOptions {
  /** The class that stands for no label. Default 0. */
  blank?: number;
  /** Sequences whose labels cannot be aligned with their steps lose 0 instead of Infinity. Default false. */
  zeroInfinity?: boolean;
  /** The output holds logits or log-probabilities, not probabilities. Default false; softmax and logSoftmax outputs are fused all the same. */
  fromLogits?: boolean;
}

/**
 * Connectionist temporal classification: -ln of the probability that the
 * steps of the output spell the labels, repeats merged and blanks dropped, over
 * all alignments. Steps count as `lengths` or `mask` say.
 *
 * y has a sequence of labels for each sample: arrays of any lengths, or a
 * tensor [batch, most labels] padded by `padSequences`, with its lengths. Labels
 * may be none; they need as many steps as there are labels, and one more
 * between two that are equal.
 *
 * The mean divides each loss by its number of labels (at least 1), then by the
 * batch, as PyTorch. The gradient of a loss of Infinity is 0. A path less
 * likely than e^-1.8e8 counts as impossible.
 *
 * Graves et al. 2006, "Connectionist Temporal Classification: Labelling
 * Unsegmented Sequence Data with Recurrent Neural Networks".
 *
 * @example
 * model.compile({ loss: ctc({ blank: 0 }) })
 * await model.fit(x, [[3, 1, 20], [4, 15, 7]], { lengths: [120, 96] })
 * @throws OptionError for unknown options and values out of range
 */
export function ctc(options: CtcOptions = {}): Loss {
  const where = "ctc()";
  checkOptions(where, options, ["reduction", "blank", "zeroInfinity", "fromLogits"]);
  const reduction = reductionOf(where, options);
  const blank = integer(where, "blank", options.blank ?? 0, 0);
  const zeroInfinity = flag(where, "zeroInfinity", options.zeroInfinity ?? false);
  const fromLogits = flag(where, "fromLogits", options.fromLogits ?? false);
  const mean = reduction === "mean" ? 1 : 0;
  return {
    name: "ctc",
    config: { reduction, blank, zeroInfinity, fromLogits },
    targets: "sequences",
    fuses: ["softmax", "logSoftmax"],
    fromLogits,
    blank,
    infinite: "its labels cannot be aligned with its steps; give it more steps, or use ctc({ zeroInfinity: true })",
    check({ sequence, features }) {
      if (!sequence)
        throw new ShapeError(`${where}: expected an output [batch, time, classes], got [batch, ${features}]`);
      if (blank >= features)
        throw new OptionError(`${where}: "blank" must be one of the output's ${features} classes, got ${blank}`);
    },
    record(
      run,
      { out, rowLosses, dx, x, logits, targets, width, valid, weights, elementWeights, rows, steps, n, stride },
    ) {
      if (elementWeights) throw new OptionError(`${where}: sampleWeight must be one a sample`);
      const scratch = run.threads * run.core.ctcScratch(steps, n, width - 1, dx ? 1 : 0);
      run.k.ctc(
        rowLosses,
        dx,
        x,
        targets,
        valid,
        weights,
        run.scratch("alignments", scratch),
        steps,
        rows,
        n,
        stride,
        width,
        blank,
        logits ? 1 : 0,
        zeroInfinity ? 1 : 0,
        mean,
        0,
        rows,
        0,
      );
      run.k.ctcTotal(out, rowLosses, targets, rows, width, mean);
    },
  };
}
