import { checkOptions, real } from "../core/options.ts";
import type { Loss } from "./loss.ts";
import { type CommonLossOptions, reductionOf } from "./options.ts";

/** Numbers of the losses in assembly/regression.ts. */
const KINDS = { meanSquaredError: 0, meanAbsoluteError: 1, huber: 2, smoothL1: 3 } as const;

function regression(
  name: keyof typeof KINDS,
  options: CommonLossOptions,
  parameter?: { name: string; value: number },
): Loss {
  const where = `${name}()`;
  checkOptions(where, options, ["reduction", ...(parameter ? [parameter.name] : [])]);
  const reduction = reductionOf(where, options);
  if (parameter) real(where, parameter.name, parameter.value, "(0, inf)");
  return {
    name,
    config: { reduction, ...(parameter ? { [parameter.name]: parameter.value } : {}) },
    targets: "values",
    fromLogits: false,
    record(run, { out, rowLosses, dx, x, targets, valid, weights, elementWeights, rows, n, stride }) {
      run.k.regressionLoss(
        KINDS[name],
        out,
        rowLosses,
        dx,
        x,
        targets,
        valid,
        weights,
        elementWeights,
        rows,
        n,
        stride,
        parameter?.value ?? 0,
        reduction === "mean" ? 1 : 0,
      );
    },
  };
}

/** (y - t)², averaged over all outputs. */
export function meanSquaredError(options: CommonLossOptions = {}): Loss {
  return regression("meanSquaredError", options);
}

/** |y - t|, averaged over all outputs. */
export function meanAbsoluteError(options: CommonLossOptions = {}): Loss {
  return regression("meanAbsoluteError", options);
}

/** d²/2 where |d| is at most `delta`, delta (|d| - delta/2) beyond. Default delta 1. */
export function huber(options: CommonLossOptions & { delta?: number } = {}): Loss {
  return regression("huber", options, { name: "delta", value: options?.delta ?? 1 });
}

/** d²/(2 beta) where |d| is below `beta`, |d| - beta/2 beyond. Default beta 1. */
export function smoothL1(options: CommonLossOptions & { beta?: number } = {}): Loss {
  return regression("smoothL1", options, { name: "beta", value: options?.beta ?? 1 });
}
