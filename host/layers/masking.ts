import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, shown } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import type { Mask } from "./layer.ts";
import { checkName } from "./name.ts";

/**
 * Masks the steps whose features all equal `maskValue`: later layers skip
 * them, losses do not count them.
 *
 * @example masking({ maskValue: -1 })
 * @throws OptionError for unknown options
 */
export function masking(options: { name?: string; maskValue?: number } = {}): CallableLayer {
  const where = "masking()";
  checkOptions(where, options, ["name", "maskValue"]);
  const maskValue = options.maskValue ?? 0;
  if (!Number.isFinite(maskValue))
    throw new OptionError(`${where}: "maskValue" must be a finite number, got ${shown(maskValue)}`);
  return callable({
    type: "masking",
    name: checkName(where, options.name),
    config: { maskValue },
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(`layer "${b.name}": expected input [batch, time, features]`);
      return {
        output: input,
        forward(run, [x]) {
          const y = run.saved("y", x.rows * x.stride);
          const mask: Mask = { address: run.mask("mask", x.rows), dialect: "holes" };
          run.k.maskRows(
            y,
            mask.address,
            x.address,
            x.mask?.address ?? 0,
            x.rows,
            input.features,
            x.stride,
            Math.fround(maskValue),
          );
          return { port: input, address: y, rows: x.rows, stride: x.stride, mask, saved: {} };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          if (dx) run.k.maskRowsBackward(dx.address, y.gradient!, y.mask!.address, x.rows, x.stride, dx.accumulate);
        },
      };
    },
  });
}
