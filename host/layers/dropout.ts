import { ShapeError } from "../core/errors.ts";
import { checkOptions, real } from "../core/options.ts";
import { random } from "../core/random.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { passGradient } from "./layer.ts";
import { checkName } from "./name.ts";

/**
 * While training, zeroes each number with probability `rate` and scales the
 * others by 1 / (1 - rate); otherwise passes everything through. Which numbers
 * fall is a function of the model's seed, the layer's name and the training
 * step, so a resumed run drops the same ones.
 *
 * @param rate in [0, 1)
 * @throws OptionError for a rate out of range
 */
export function dropout(rate: number, options: { name?: string } = {}): CallableLayer {
  const where = "dropout()";
  real(where, "rate", rate, "[0, 1)");
  checkOptions(where, options, ["name"]);
  return callable({
    type: "dropout",
    name: checkName(where, options.name),
    config: { rate },
    build(b, [input]) {
      if (input.type === "tokens") throw new ShapeError(`layer "${b.name}": expected numbers, got tokens`);
      const key = random(b.seed, b.name).uint32() | 0;
      const n = input.features;
      return {
        output: input,
        forward(run, [x]) {
          // A value of its own, with nothing of what the input is besides: no logits, no states.
          const { port, rows, stride, mask } = x;
          const y = { port, rows, stride, mask };
          if (run.mode !== "train" || rate === 0) return { ...y, address: x.address, saved: { through: 1 } };
          const address = run.saved("y", rows * stride);
          run.k.dropout(address, x.address, rows, n, stride, 0, rate, key, run.step, 0);
          return { ...y, address, saved: { through: 0 } };
        },
        backward(run, [x], y) {
          if (y.saved.through) return passGradient(run, x, y);
          const dx = run.gradient(x);
          if (dx) run.k.dropout(dx.address, y.gradient!, x.rows, n, x.stride, 0, rate, key, run.step, dx.accumulate);
        },
      };
    },
  });
}
