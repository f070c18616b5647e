import { ShapeError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";
import { reversed } from "./recurrent.ts";

/**
 * The steps of a sequence from the last to the first, padding and masks with
 * them. After a layer with `goBackwards: true`, whose outputs come in reading
 * order, it puts them back in the order of time.
 *
 * @example sequential([gru(64, { goBackwards: true, returnSequences: true }), reverse()], ...)
 * @throws OptionError for unknown options
 * @throws ShapeError  when built on something that is not a sequence
 */
export function reverse(options: { name?: string } = {}): CallableLayer {
  const where = "reverse()";
  checkOptions(where, options, ["name"]);
  return callable({
    type: "reverse",
    name: checkName(where, options.name),
    config: {},
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(`layer "${b.name}": expected input [batch, time, features]`);
      return {
        output: input,
        unstreamable: "it begins with the last step",
        forward(run, [x]) {
          const { port, rows, stride } = x;
          const T = stepsOf(run, x);
          const step = run.B * stride;
          const address = run.saved("y", rows * stride);
          run.k.copyRows(address, x.address + 4 * (T - 1) * step, T, step, step, -step);
          return { port, address, rows, stride, mask: reversed(run, T, x.mask), saved: {} };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          if (!dx) return;
          const T = stepsOf(run, x);
          const step = run.B * x.stride;
          const to = dx.accumulate ? run.scratch("dx", T * step) : dx.address;
          run.k.copyRows(to, y.gradient! + 4 * (T - 1) * step, T, step, step, -step);
          if (dx.accumulate) run.k.addTo(dx.address, to, T * step);
        },
      };
    },
  });
}
