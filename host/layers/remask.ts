import { ShapeError } from "../core/errors.ts";
import { checkOptions, oneOf } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { passGradient, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";
import { reversed } from "./recurrent.ts";

/**
 * The numbers of a sequence as they are, with another mask: "none", or the
 * one it has "reversed". For models of Keras, whose convolutions and poolings
 * see no masks, and whose masks stay as they were where `goBackwards` has
 * turned the steps round.
 *
 * @example remask("none")
 * @throws OptionError for unknown options
 * @throws ShapeError  when built on something that is not a sequence
 */
export function remask(to: "none" | "reversed", options: { name?: string } = {}): CallableLayer {
  const where = "remask()";
  oneOf(where, "to", to, ["none", "reversed"]);
  checkOptions(where, options, ["name"]);
  return callable({
    type: "remask",
    name: checkName(where, options.name),
    config: { to },
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(`layer "${b.name}": expected input [batch, time, features]`);
      return {
        output: input,
        unstreamable: to === "reversed" ? "it turns a mask round" : undefined,
        forward(run, [x]) {
          const mask = to === "none" ? undefined : reversed(run, stepsOf(run, x), x.mask);
          return { port: x.port, address: x.address, rows: x.rows, stride: x.stride, mask, saved: {} };
        },
        backward: (run, [x], y) => passGradient(run, x, y),
      };
    },
  });
}
