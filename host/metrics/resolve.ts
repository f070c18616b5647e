import { OptionError } from "../core/errors.ts";
import { shown, suggestion } from "../core/options.ts";
import { accuracy } from "./accuracy.ts";
import { auc } from "./auc.ts";
import { confusionMatrix } from "./confusion-matrix.ts";
import { labelErrorRate } from "./label-error-rate.ts";
import type { Metric } from "./metric.ts";
import { bitsPerCharacter, perplexity } from "./perplexity.ts";
import { f1, precision, recall } from "./precision-recall.ts";
import { meanAbsoluteError, meanSquaredError, rootMeanSquaredError } from "./regression.ts";
import { topKAccuracy } from "./top-k-accuracy.ts";

/** Every metric of what models put out, by its name; a new one is a row here. */
const metrics: Record<string, (options?: never) => Metric<unknown>> = {
  accuracy,
  topKAccuracy,
  precision,
  recall,
  f1,
  confusionMatrix,
  auc,
  meanAbsoluteError,
  meanSquaredError,
  rootMeanSquaredError,
  perplexity,
  bitsPerCharacter,
  labelErrorRate,
};

/** Metrics of texts: names only, so that models do not carry what they cannot call. */
const ofTexts = ["wordErrorRate", "characterErrorRate", "bleu", "rouge"];

/**
 * A metric from its name, from its saved form { name, options }, or as it is.
 * Anything with a name and `create` is a metric, so users can bring their own.
 *
 * @param where named in errors
 * @throws OptionError for an unknown name or bad options
 */
export function resolveMetric(where: string, value: unknown): Metric<unknown> {
  const { name, options, create } = typeof value === "string" ? { name: value } : Object(value);
  if (typeof value === "function" || typeof name !== "string")
    throw new OptionError(`${where}: expected a metric, its name or { name, options }, got ${shown(value)}`);
  if (typeof create === "function") return value as Metric<unknown>;
  if (ofTexts.includes(name))
    throw new OptionError(`${where}: metric "${name}" compares texts; call ${name}(yTrue, yPred) on decoded texts`);
  if (!Object.hasOwn(metrics, name))
    throw new OptionError(
      `${where}: unknown metric ${shown(name)}${suggestion(name, [...Object.keys(metrics), ...ofTexts])}`,
    );
  return metrics[name](options as never);
}
