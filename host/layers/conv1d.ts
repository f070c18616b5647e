import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { activate, activateBackward } from "./activation.ts";
import { type Activation, resolveActivation } from "./activations.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { type Port, padded, type Run, stepsOf, type Value } from "./layer.ts";
import { checkName } from "./name.ts";
import {
  checkWindows,
  type Padding,
  span,
  stepsBefore,
  unstreamableWindows,
  windowMask,
  windowSteps,
} from "./windows.ts";

export interface Conv1dOptions {
  name?: string;
  /**
   * "valid": windows lie within the sequence; "same": as many outputs as steps; "causal": as many, and none knows of
   * later steps. Default "valid".
   */
  padding?: Padding;
  /** Steps from window to window. Default 1. */
  strides?: number;
  /** Steps from one step of a window to its next. Default 1. */
  dilation?: number;
  /** Default "linear". */
  activation?: Activation;
  /** Default true. */
  useBias?: boolean;
  /** Of the kernel [kernelSize, features, filters]. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of the bias [filters]. Default "zeros". */
  biasInitializer?: Initializer;
}

/**
 * A convolution over time, [batch, time, features] to [batch, steps, filters]:
 *
 *   y[t] = activation(bias + Σ_k x[t strides + k dilation − before] · kernel[k])
 *
 * with zeros outside of the sequence and where a step is masked, so padding a
 * sequence changes nothing of its outputs; only "same" with strides places
 * its windows by the padded number of steps, as Keras does. With strides of 1
 * the mask passes through, otherwise each output has that of the step it
 * stands for; with "valid" that of the last step of its window.
 *
 * "causal" with strides of 1 streams: the last steps are part of the
 * stream's state.
 *
 * @example conv1d(64, 5, { padding: "causal", activation: "relu" })
 * @param filters    numbers in an output step
 * @param kernelSize steps in a window
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence, or is shorter than a "valid" window
 */
export function conv1d(filters: number, kernelSize: number, options: Conv1dOptions = {}): CallableLayer {
  const where = "conv1d()";
  integer(where, "filters", filters, 1, 65536);
  checkOptions(where, options, [
    "name",
    "padding",
    "strides",
    "dilation",
    "activation",
    "useBias",
    "kernelInitializer",
    "biasInitializer",
  ]);
  const { padding = "valid", strides = 1, dilation = 1 } = options;
  const windows = checkWindows(where, { size: "kernelSize" }, { size: kernelSize, strides, dilation, padding });
  const activation = resolveActivation(where, "activation", options.activation ?? "linear", true);
  const useBias = flag(where, "useBias", options.useBias ?? true);
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");

  return callable({
    type: "conv1d",
    name: checkName(where, options.name),
    config: {
      filters,
      kernelSize,
      padding,
      strides,
      dilation,
      activation: activation.config,
      useBias,
      kernelInitializer,
      biasInitializer,
    },
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(
          `layer "${b.name}": expected input [batch, time, features], got ${input.type === "tokens" ? "tokens; an embedding turns them into vectors" : `[batch, ${input.features}]; a convolution needs a time axis`}`,
        );
      const I = input.features;
      const N = filters;
      const [Ip, Np, taps] = [padded(I), padded(N), kernelSize];
      const { core } = b;
      const kernel = b.matrix("kernel", [taps, I, N], kernelInitializer);
      const bias = useBias ? b.param("bias", [N], biasInitializer) : undefined;
      // A window is one row of taps x I numbers: the kernel is packed as that of a dense layer over it.
      const packedSize = b.int8 ? core.densePackedSizeInt8(taps * I, N) : core.densePackedSize(taps * I, N);
      const packed = b.packed("weights", packedSize, (k, at) => {
        if (b.int8) k.densePackInt8(at, kernel.address, kernel.scales, bias?.address ?? 0, taps * I, N);
        else k.densePack(at, kernel.address, bias?.address ?? 0, taps * I, N);
      });
      const packedTransposed = b.packed(
        "weights, transposed",
        core.conv1dPackedTransposedSize(I, N, taps),
        (k, at) => k.conv1dPackTransposed(at, kernel.address, I, N, taps),
        true,
      );
      const output: Port = {
        features: N,
        sequence: true,
        steps: input.steps === null ? null : windowSteps(b.name, windows, input.steps),
        type: "values",
      };

      /** What a stream has seen last: its windows, [B, [span, I] dense]. */
      const remembered = (run: Run, x: Value) => {
        const length = span(windows);
        const [units, stride] = [length * I, padded(length * I)];
        const address = run.state("window", run.B * stride);
        run.k.pushFrames(address, x.address, x.mask?.address ?? 0, run.B, length, I, stride);
        const state = { name: b.name, units, stride, initial: address, final: address };
        return { address, steps: length, mask: 0, before: 0, xStep: I, xRow: stride, states: [state] };
      };

      return {
        output,
        unstreamable: unstreamableWindows(windows),
        forward(run, [x]) {
          const { B } = run;
          const T = stepsOf(run, x);
          const rows = windowSteps(b.name, windows, T) * B;
          const from =
            run.mode === "stream"
              ? remembered(run, x)
              : {
                  address: x.address,
                  steps: T,
                  mask: x.mask?.address ?? 0,
                  before: stepsBefore(windows, T),
                  xStep: B * Ip,
                  xRow: Ip,
                  states: undefined,
                };
          const sums = run.saved("y", rows * Np);
          const scratch = run.scratch("windows", run.threads * core.conv1dScratch(I, taps));
          const operands = [sums, from.address, packed.address, from.mask, scratch] as const;
          const sizes = [from.steps, B, I, N, taps, strides, dilation, from.before, from.xStep, from.xRow] as const;
          if (b.int8) run.k.conv1dForwardInt8(...operands, ...sizes, b.int8.range, 0, rows, 0);
          else run.k.conv1dForward(...operands, ...sizes, 0, rows, 0);
          const mask = run.mode === "stream" ? x.mask : windowMask(run, windows, x);
          const value = { port: output, address: sums, rows, stride: Np, mask, saved: {} };
          return { ...activate(run, activation, value, true), states: from.states };
        },
        backward(run, [x], y) {
          // Gradient of the sums, in place of the gradient of y.
          const dSums = activateBackward(run, activation, y);
          const { B } = run;
          const T = stepsOf(run, x);
          const mask = x.mask?.address ?? 0;
          const before = stepsBefore(windows, T);
          const dx = run.gradient(x);
          if (dx) {
            const scratch = run.scratch("windows", run.threads * core.conv1dScratch(N, taps));
            run.k.conv1dBackward(
              dx.address,
              dSums,
              packedTransposed.address,
              mask,
              scratch,
              stepsOf(run, y),
              B,
              I,
              N,
              taps,
              strides,
              dilation,
              before,
              dx.accumulate,
              0,
              x.rows,
              0,
            );
          }
          run.k.conv1dGradients(
            kernel.gradient,
            bias?.gradient ?? 0,
            x.address,
            dSums,
            mask,
            run.scratch("weight gradients", run.threads * core.conv1dGradientsScratch(I, N, taps)),
            T,
            stepsOf(run, y),
            B,
            I,
            N,
            taps,
            strides,
            dilation,
            before,
            0,
            Np / 8,
            0,
          );
        },
      };
    },
  });
}
