import type { TensorLike } from "../core/tensor.ts";
import { type CtcDecodeOptions, checkPosteriors, type Decoded } from "./posteriors.ts";

export type { CtcDecodeOptions, Decoded };

/**
 * The labels of the most likely class at each step, repeats merged and blanks
 * dropped: the best path. Other paths may spell another sequence with more
 * probability together; `ctcBeamSearch` adds them up.
 *
 * @example const [{ labels }] = ctcGreedy(await model.predict(x), { lengths })
 * @param posteriors [batch, time, classes], what a model with the loss `ctc` puts out
 * @param options    `blank` 0; `lengths`; `fromLogits` false
 * @returns for each sequence its labels and ln of the path's probability
 * @throws ShapeError, OptionError for posteriors and options that do not fit
 */
export function ctcGreedy(posteriors: TensorLike, options: CtcDecodeOptions = {}): Decoded[] {
  const given = checkPosteriors("ctcGreedy()", posteriors, options);
  const row = new Float64Array(given.classes);
  return Array.from({ length: given.batch }, (_, b) => {
    const labels: number[] = [];
    let score = 0;
    let before = given.blank;
    for (let t = 0; t < given.steps(b); t++) {
      given.read(b, t, row);
      let best = 0;
      for (let c = 1; c < row.length; c++) if (row[c] > row[best]) best = c;
      score += row[best];
      if (best !== before && best !== given.blank) labels.push(best);
      before = best;
    }
    return { labels, score };
  });
}
