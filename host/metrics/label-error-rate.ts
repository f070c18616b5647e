import { editDistance } from "../core/edit-distance.ts";
import { ShapeError } from "../core/errors.ts";
import { integer, withDefaults } from "../core/options.ts";
import { shapeText } from "../core/tensor.ts";
import { argmax } from "./classes.ts";
import type { Metric } from "./metric.ts";

/**
 * Label error rate of models with the loss `ctc`: edits that turn the labels of
 * the best path into the targets, over the number of labels in the targets.
 * For `compile`; of decoded texts see `wordErrorRate` and `characterErrorRate`.
 *
 * Graves et al. 2006, "Connectionist Temporal Classification", 2.1, with both
 * parts summed over all samples.
 *
 * @example model.compile({ loss: ctc(), metrics: ["labelErrorRate"] })
 * @param options `blank` 0, the loss's
 * @throws OptionError for an unknown or bad option
 */
export function labelErrorRate(options?: { blank?: number }): Metric {
  const where = "labelErrorRate()";
  const all = withDefaults<{ blank: number }>(where, options, { blank: 0 });
  const blank = integer(where, "blank", all.blank, 0);
  const create = () => {
    let edits = 0;
    let length = 0;
    return {
      update(yTrue: { shape: number[]; data: ArrayLike<number> }, yPred: typeof yTrue, weights?: ArrayLike<number>) {
        if (yTrue.shape.length !== 2 || yPred.shape.length !== 3 || yTrue.shape[0] !== yPred.shape[0])
          throw new ShapeError(
            `${where}: expected labels [batch, most] and posteriors [batch, time, classes], ` +
              `got ${shapeText(yTrue.shape)} and ${shapeText(yPred.shape)}`,
          );
        const [batch, most] = yTrue.shape;
        const [, time, classes] = yPred.shape;
        for (let b = 0; b < batch; b++) {
          const path: number[] = [];
          let weight = weights ? 0 : 1;
          let before = blank;
          for (let row = b * time; row < (b + 1) * time; row++) {
            if (weights && !weights[row]) continue;
            if (weights) weight = weights[row];
            const label = argmax(yPred.data, row, classes);
            if (label !== before && label !== blank) path.push(label);
            before = label;
          }
          const labels = Array.from({ length: most }, (_, i) => yTrue.data[b * most + i]).filter((label) => label >= 0);
          edits += weight * editDistance(labels, path);
          length += weight * labels.length;
        }
      },
      result: () => edits / length,
      reset() {
        edits = 0;
        length = 0;
      },
    };
  };
  return { name: "labelErrorRate", options: all, reads: "sequences", create };
}
