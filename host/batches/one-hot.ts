import { ShapeError } from "../core/errors.ts";
import { integer } from "../core/options.ts";
import { type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";

/**
 * Labels as rows with a 1 in the label's column.
 *
 * @example oneHot([2, 0], 3) // [[0, 0, 1], [1, 0, 0]]
 * @param labels  [...], whole numbers in [0, classes)
 * @param classes columns
 * @returns [..., classes]
 * @throws ShapeError for a label that is no class; OptionError unless `classes` is a whole number of at least 1
 */
export function oneHot(labels: TensorLike, classes: number): Tensor {
  integer("oneHot()", "classes", classes, 1);
  const { shape, data } = toTensor(labels, "oneHot(): labels", "int32");
  const hot = new Float32Array(data.length * classes);
  data.forEach((label, i) => {
    if (label < 0 || label >= classes)
      throw new ShapeError(`oneHot(): expected labels from 0 to ${classes - 1}, got ${label} at position ${i}`);
    hot[i * classes + label] = 1;
  });
  return { shape: [...shape, classes], data: hot };
}
