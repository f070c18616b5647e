import { each } from "../batches/examples.ts";
import { OptionError } from "../core/errors.ts";
import { real, shown } from "../core/options.ts";
import { type LossLike, resolveLoss } from "../losses/index.ts";
import type { Loss, Objective } from "../losses/loss.ts";
import type { Metric } from "../metrics/metric.ts";
import { resolveMetric } from "../metrics/resolve.ts";
import type { Terminal } from "../stacks/network.ts";

export type MetricLike = string | Metric<unknown>;

/** What one output is trained for, and what is told about it. */
export interface Goal extends Objective {
  readonly metrics: readonly Metric<unknown>[];
}

/** The part of `compile`'s options that says what outputs are for. */
export interface GoalOptions {
  /**
   * A name ("categoricalCrossentropy") or a loss with options. In a model with several outputs: one for all of them, a
   * list in their order, or a record by name; an output without a loss only predicts.
   */
  loss: LossLike | readonly (LossLike | null)[] | Readonly<Record<string, LossLike>>;
  /** How much the loss of each output counts in the sum, as a list or a record. Default 1. */
  lossWeights?: readonly number[] | Readonly<Record<string, number>>;
  /**
   * Names or metrics with options; "accuracy" is the one that fits the loss. In a model with several outputs: a list
   * for all of them, a list of lists, or a record of lists by name.
   */
  metrics?:
    | readonly MetricLike[]
    | readonly (readonly MetricLike[])[]
    | Readonly<Record<string, readonly MetricLike[]>>;
}

/** @throws OptionError for unknown names and options, ShapeError for lists that do not fit the outputs */
export function resolveGoals(where: string, options: GoalOptions, outputs: readonly Terminal[]): (Goal | undefined)[] {
  if (options?.loss === undefined) throw new OptionError(`${where}: "loss" is missing`);
  const losses = each<unknown>(where, "loss", options.loss, outputs, isLoss);
  const trained = outputs.filter((_, i) => losses[i] !== undefined && (losses[i] !== null || outputs.length === 1));
  if (!trained.length) throw new OptionError(`${where}: "loss" is missing`);
  const weights = each<unknown>(where, "lossWeights", options.lossWeights, trained);
  const metrics = each<unknown>(where, "metrics", options.metrics, trained, isMetrics);
  return outputs.map((output, i) => {
    const at = trained.indexOf(output);
    if (at < 0) return undefined;
    const loss = resolveLoss(where, losses[i]);
    loss.check?.(output.port);
    const weight = weights[at];
    return {
      loss,
      weight: weight === undefined ? 1 : real(where, `lossWeights of "${output.name}"`, weight, "[0, inf)"),
      metrics: resolveMetrics(where, metrics[at], loss),
    };
  });
}

function resolveMetrics(where: string, list: unknown, loss: Loss): Metric<unknown>[] {
  if (list === undefined) return [];
  if (!Array.isArray(list)) throw new OptionError(`${where}: "metrics" must be an array, got ${shown(list)}`);
  const metrics = list.map((metric: unknown) =>
    resolveMetric(
      where,
      metric === "accuracy" || metric === "perplexity" || metric === "bitsPerCharacter"
        ? { name: metric, options: { fromLogits: loss.fromLogits } }
        : metric,
    ),
  );
  for (const metric of metrics) {
    if (metric.reads !== (loss.targets === "sequences" ? "sequences" : undefined))
      throw new OptionError(
        `${where}: metric "${metric.name}" compares ${metric.reads ?? "rows"}, the loss "${loss.name}" ${loss.targets}; ` +
          `call ${metric.name}(yTrue, yPred) on ${metric.reads === "texts" ? "texts" : "predictions"} instead`,
      );
    if (typeof metric.create().result() !== "number")
      throw new OptionError(
        `${where}: metric "${metric.name}" is not one number; call ${metric.name}(yTrue, yPred) on predictions instead`,
      );
  }
  return metrics;
}

/** One loss, rather than a list or a record of them. */
function isLoss(value: unknown): boolean {
  return typeof value === "string" || typeof value === "function" || typeof Object(value).name === "string";
}

/** Metrics for every output, rather than a list for each. */
function isMetrics(value: unknown): boolean {
  return Array.isArray(value) && !value.some(Array.isArray);
}

/** The options that give these goals again. */
export function goalOptions(goals: readonly (Goal | undefined)[], outputs: readonly Terminal[]) {
  const by = <T>(part: (goal: Goal) => T) =>
    Object.fromEntries(outputs.flatMap(({ name }, i) => (goals[i] ? [[name, part(goals[i])]] : []))) as Record<
      string,
      T
    >;
  return { loss: by((goal) => goal.loss), lossWeights: by((goal) => goal.weight), metrics: by((goal) => goal.metrics) };
}
