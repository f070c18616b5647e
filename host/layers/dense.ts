import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { activate, activateBackward } from "./activation.ts";
import { type Activation, resolveActivation } from "./activations.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { type Port, padded } from "./layer.ts";
import { checkName } from "./name.ts";

export interface DenseOptions {
  name?: string;
  /** Default "linear". "softmax" and "sigmoid" are fused with their cross-entropies. */
  activation?: Activation;
  /** Default true. */
  useBias?: boolean;
  /** Of the kernel [inputs, units]. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of the bias [units]. Default "zeros". */
  biasInitializer?: Initializer;
}

/**
 * y = activation(x · kernel + bias), on every sample [batch, features] or on
 * every step [batch, time, features].
 *
 * @example dense(10, { activation: "softmax" })
 * @param units numbers in the output
 * @throws OptionError for unknown options and values out of range
 */
export function dense(units: number, options: DenseOptions = {}): CallableLayer {
  const where = "dense()";
  integer(where, "units", units, 1, 2 ** 24);
  checkOptions(where, options, ["name", "activation", "useBias", "kernelInitializer", "biasInitializer"]);
  const activation = resolveActivation(where, "activation", options.activation ?? "linear", true);
  const useBias = flag(where, "useBias", options.useBias ?? true);
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");

  return callable({
    type: "dense",
    name: checkName(where, options.name),
    config: { units, activation: activation.config, useBias, kernelInitializer, biasInitializer },
    build(b, [input]) {
      if (input.type === "tokens")
        throw new ShapeError(`layer "${b.name}": expected numbers, got tokens; an embedding turns them into vectors`);
      const I = input.features;
      const N = units;
      const { core } = b;
      const kernel = b.matrix("kernel", [I, N], kernelInitializer);
      const bias = useBias ? b.param("bias", [N], biasInitializer) : undefined;
      const packedSize = b.int8 ? core.densePackedSizeInt8(I, N) : core.densePackedSize(I, N);
      const packed = b.packed("weights", packedSize, (k, at) => {
        if (b.int8) k.densePackInt8(at, kernel.address, kernel.scales, bias?.address ?? 0, I, N);
        else k.densePack(at, kernel.address, bias?.address ?? 0, I, N);
      });
      const packedTransposed = b.packed(
        "weights, transposed",
        core.densePackedTransposedSize(I, N),
        (k, at) => k.densePackTransposed(at, kernel.address, I, N),
        true,
      );
      const output: Port = { features: N, sequence: input.sequence, steps: input.steps, type: "values" };
      return {
        output,
        forward(run, [x]) {
          const sums = run.saved("y", x.rows * padded(N));
          if (b.int8) run.k.denseForwardInt8(sums, x.address, packed.address, I, N, b.int8.range, 0, x.rows, 0);
          else run.k.denseForward(sums, x.address, packed.address, I, N, 0, x.rows, 0);
          const { rows, mask } = x;
          const value = { port: output, address: sums, rows, stride: padded(N), mask, saved: {} };
          return activate(run, activation, value, true);
        },
        backward(run, [x], y) {
          // Gradient of the sums, in place of the gradient of y.
          const dSums = activateBackward(run, activation, y);
          const dx = run.gradient(x);
          if (dx) run.k.denseBackward(dx.address, dSums, packedTransposed.address, I, N, dx.accumulate, 0, x.rows, 0);
          const scratch = run.scratch("weight gradients", run.threads * core.denseGradientsScratch(I, N));
          run.k.denseGradients(
            kernel.gradient,
            bias?.gradient ?? 0,
            x.address,
            dSums,
            scratch,
            x.rows,
            I,
            N,
            0,
            padded(N) / 8,
            0,
          );
        },
      };
    },
  });
}
