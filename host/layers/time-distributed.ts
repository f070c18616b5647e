import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, shown } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import type { Layer, Port } from "./layer.ts";
import { checkName } from "./name.ts";

/**
 * A layer for [batch, features] at every step of [batch, time, features], as
 * Keras has it. `dense` and others work so by themselves; the wrapper says so,
 * and refuses layers that look at more than their own step.
 *
 * @example timeDistributed(dense(10))
 * @throws OptionError for unknown options
 * @throws ShapeError  for a layer that needs a time axis or makes one
 */
export function timeDistributed(layer: Layer, options: { name?: string } = {}): CallableLayer {
  const where = "timeDistributed()";
  if (typeof Object(layer).build !== "function")
    throw new OptionError(`${where}: expected a layer such as dense(10), got ${shown(layer)}`);
  checkOptions(where, options, ["name"]);
  return callable({
    type: "timeDistributed",
    name: checkName(where, options.name),
    readsTokens: layer.readsTokens,
    config: { layer: { type: layer.type, config: layer.config } },
    build(b, [input]) {
      if (!input.sequence)
        throw new ShapeError(`layer "${b.name}": expected input [batch, time, features], got no time axis`);
      const inner = layer.build(b, [{ ...input, sequence: false, steps: null }]);
      if (inner.output.sequence)
        throw new ShapeError(`layer "${b.name}": a ${layer.type} makes a sequence of every step`);
      const output: Port = { ...inner.output, sequence: true, steps: input.steps };
      return {
        ...inner,
        output,
        forward: (run, inputs) => ({ ...inner.forward(run, inputs), port: output }),
      };
    },
  });
}
