import { ShapeError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { checkName } from "./name.ts";

export interface AffineOptions {
  name?: string;
  /** Of the scale [features]. Default "ones". */
  scaleInitializer?: Initializer;
  /** Of the shift [features]. Default "zeros". */
  shiftInitializer?: Initializer;
}

/**
 * y = x ⊙ scale + shift, a number a feature, on every sample [batch, features]
 * or every step [batch, time, features]: what a batch normalisation computes
 * once its statistics are known, and what imported ones become. Training
 * moves scale and shift; there are no statistics that follow the data.
 *
 * @example affine({ shiftInitializer: { name: "constant", value: 1 } })
 * @throws OptionError for unknown options and values out of range
 */
export function affine(options: AffineOptions = {}): CallableLayer {
  const where = "affine()";
  checkOptions(where, options, ["name", "scaleInitializer", "shiftInitializer"]);
  const scaleInitializer = initializerConfig(where, options.scaleInitializer ?? "ones");
  const shiftInitializer = initializerConfig(where, options.shiftInitializer ?? "zeros");
  return callable({
    type: "affine",
    name: checkName(where, options.name),
    config: { scaleInitializer, shiftInitializer },
    build(b, [input]) {
      if (input.type === "tokens") throw new ShapeError(`layer "${b.name}": expected numbers, got tokens`);
      const n = input.features;
      const scale = b.param("scale", [n], scaleInitializer);
      const shift = b.param("shift", [n], shiftInitializer);
      return {
        output: input,
        forward(run, [{ address: x, rows, stride, mask }]) {
          const y = run.saved("y", rows * stride);
          run.k.affine(y, x, scale.address, shift.address, rows, n, stride);
          return { port: input, address: y, rows, stride, mask, saved: {} };
        },
        backward(run, [x], y) {
          const dx = run.gradient(x);
          run.k.affineBackward(
            dx?.address ?? 0,
            ...([scale.gradient, shift.gradient, y.gradient!, x.address, scale.address] as const),
            ...([x.rows, n, x.stride, dx?.accumulate ?? 0] as const),
          );
        },
      };
    },
  });
}
