import { ShapeError } from "../core/errors.ts";
import { checkOptions, integer } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import type { Port } from "./layer.ts";
import { checkName } from "./name.ts";

/**
 * A vector at every step of a sequence: [batch, features] to
 * [batch, n, features].
 *
 * @example repeat(10)(encoded)
 * @param n steps
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on a sequence
 */
export function repeat(n: number, options: { name?: string } = {}): CallableLayer {
  const where = "repeat()";
  integer(where, "n", n, 1, 2 ** 24);
  checkOptions(where, options, ["name"]);
  return callable({
    type: "repeat",
    name: checkName(where, options.name),
    config: { n },
    build(b, [input]) {
      if (input.sequence || input.type === "tokens")
        throw new ShapeError(
          `layer "${b.name}": expected numbers [batch, features], got ${input.sequence ? "a sequence" : "tokens"}`,
        );
      const output: Port = { ...input, sequence: true, steps: n };
      return {
        output,
        unstreamable: `it makes ${n} steps of one`,
        forward(run, [x]) {
          const size = x.rows * x.stride;
          const address = run.saved("y", n * size);
          run.k.copyRows(address, x.address, n, size, size, 0);
          return { port: output, address, rows: n * x.rows, stride: x.stride, saved: {} };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          if (!dx) return;
          const size = x.rows * x.stride;
          if (!dx.accumulate) run.k.zero(dx.address, size);
          run.k.addRows(dx.address, y.gradient!, n, size, 0, size);
        },
      };
    },
  });
}
