import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, real } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { checkName } from "./name.ts";

export interface LayerNormOptions {
  name?: string;
  /** Added to the variance. Default 1e-5 (PyTorch; Keras has 1e-3). */
  epsilon?: number;
  /** Multiply by a learned gamma. Default true. */
  scale?: boolean;
  /** Add a learned beta. Default true. */
  center?: boolean;
  gammaInitializer?: Initializer;
  betaInitializer?: Initializer;
}

/**
 * y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, over the features
 * of every row.
 *
 * Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 3.
 * @throws OptionError for unknown options and values out of range
 */
export function layerNorm(options: LayerNormOptions = {}): CallableLayer {
  const where = "layerNorm()";
  checkOptions(where, options, ["name", "epsilon", "scale", "center", "gammaInitializer", "betaInitializer"]);
  const epsilon = real(where, "epsilon", options.epsilon ?? 1e-5, "(0, inf)");
  const scale = flag(where, "scale", options.scale ?? true);
  const center = flag(where, "center", options.center ?? true);
  const gammaInitializer = initializerConfig(where, options.gammaInitializer ?? "ones");
  const betaInitializer = initializerConfig(where, options.betaInitializer ?? "zeros");
  return callable({
    type: "layerNorm",
    name: checkName(where, options.name),
    config: { epsilon, scale, center, gammaInitializer, betaInitializer },
    build(b, [input]) {
      if (input.type === "tokens") throw new ShapeError(`layer "${b.name}": expected numbers, got tokens`);
      const n = input.features;
      const gamma = scale ? b.param("gamma", [n], gammaInitializer) : undefined;
      const beta = center ? b.param("beta", [n], betaInitializer) : undefined;
      return {
        output: input,
        forward(run, [x]) {
          const y = run.saved("y", x.rows * x.stride);
          const moments = run.saved("moments", x.rows * 2);
          run.k.layerNorm(y, moments, x.address, gamma?.address ?? 0, beta?.address ?? 0, x.rows, n, x.stride, epsilon);
          return { port: input, address: y, rows: x.rows, stride: x.stride, mask: x.mask, saved: { moments } };
        },
        backward(run, [x], y) {
          const dy = y.gradient!;
          const { moments } = y.saved;
          if (gamma || beta) {
            const dGamma = gamma?.gradient ?? run.scratch("unused", n);
            run.k.layerNormBackwardParameters(dGamma, beta?.gradient ?? 0, dy, x.address, moments, x.rows, n, x.stride);
          }
          const dx = run.gradient(x);
          if (dx)
            run.k.layerNormBackward(
              dx.address,
              dy,
              x.address,
              moments,
              gamma?.address ?? 0,
              x.rows,
              n,
              x.stride,
              dx.accumulate,
            );
        },
      };
    },
  });
}
