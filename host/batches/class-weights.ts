import { OptionError } from "../core/errors.ts";
import { integer, real } from "../core/options.ts";
import type { Door, Examples } from "./examples.ts";

/**
 * Sample weights multiplied by the weight of each row's class.
 *
 * @throws OptionError for labels that are no class, and in models with several outputs
 */
export function withClassWeights(
  where: string,
  examples: Examples,
  door: Door,
  classWeight: Readonly<Record<number, number>> | readonly number[],
): Examples {
  const [{ port }, ...others] = door.outputs;
  if (others.length)
    throw new OptionError(
      `${where}: "classWeight" needs a model with one output; give "sampleWeight" for each instead`,
    );
  const { features } = port;
  if (examples.outputs[0].width)
    throw new OptionError(
      `${where}: "classWeight" needs one label a sample or step; "${door.outputs[0].targets?.name}" has sequences`,
    );
  const classes = features === 1 ? 2 : features;
  const weights = new Float32Array(classes).fill(1);
  for (const [label, weight] of Object.entries(classWeight)) {
    integer(where, `classWeight label ${label}`, Number(label), 0, classes - 1);
    weights[Number(label)] = real(where, `classWeight of ${label}`, weight, "[0, inf)");
  }
  const [output] = examples.outputs;
  const rows = examples.count * output.steps;
  const y = output.data!;
  if (output.weightsPer === "elements")
    throw new OptionError(`${where}: "classWeight" needs sampleWeight to be one a sample or step`);
  const labelOf = (row: number) => {
    if (y instanceof Int32Array) return y[row];
    if (features === 1) return y[row] >= 0.5 ? 1 : 0;
    let best = 0;
    for (let j = 1; j < features; j++) if (y[row * features + j] > y[row * features + best]) best = j;
    return best;
  };
  // An ignored label has no class and no loss.
  const out = Float32Array.from(
    { length: rows },
    (_, row) => (output.weights?.[row] ?? 1) * (weights[labelOf(row)] ?? 1),
  );
  return { ...examples, outputs: [{ ...output, weights: out, weightsPer: "rows" }] };
}
