import { checkOptions, flag, integer } from "../core/options.ts";
import { type Activation, type ActivationName, resolveActivation } from "./activations.ts";
import { type CallableLayer, callable, type GraphNode, type WithStates } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { padded, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";
import {
  ACCUMULATE,
  beginBackward,
  beginForward,
  endForward,
  RECURRENT_OPTIONS,
  type RecurrentOptions,
  recurrence,
  recurrentPorts,
} from "./recurrent.ts";

export interface MinGruOptions extends RecurrentOptions {
  /** Of the candidate. Default "linear" (minGru), "relu" (lightGru), "tanh" (mgu). */
  activation?: Activation;
  /** Default true. */
  useBias?: boolean;
  /** Of the kernel [inputs, 2 units]. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of the bias [2 units]. Default "zeros". */
  biasInitializer?: Initializer;
}

export interface LightGruOptions extends MinGruOptions {
  /** Of the recurrentKernel [units, 2 units]. Default "orthogonal". */
  recurrentInitializer?: Initializer;
}

/**
 * The minimal GRU, whose gate and candidate see the input only: training is
 * one product over all time steps and a scan, about three times as fast as
 * that of `gru`.
 *
 *   z = sigmoid(x Kz + bz)    n = x Kn + bn    h' = z h + (1 - z) n
 *
 * Weights, in the order [z | n]: kernel [features, 2 units], bias [2 units].
 * The paper's gate is 1 - z: its weights come over with their signs turned.
 * Its log-space form has the candidate g(x Kn + bn), which keeps states
 * positive: `activation: "linearSigmoid"`; here no logarithms are needed.
 *
 * Source: Feng et al. 2024, arXiv:2410.01201, section 3.1 and appendix B.
 *
 * @example minGru(128, { returnSequences: true })
 * @param units numbers in the hidden state
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence
 */
export function minGru(units: number, options: MinGruOptions & { returnState: true }): CallableLayer<WithStates>;
export function minGru(units: number, options?: MinGruOptions): CallableLayer;
export function minGru(units: number, options: MinGruOptions = {}): CallableLayer<GraphNode | WithStates> {
  return oneGate("minGru", INPUT_ONLY, "linear", units, options);
}

/**
 * The light GRU: no reset gate, and a candidate of rectified linear units.
 *
 *   z = sigmoid(x Kz + bz + h Rz)    n = relu(x Kn + bn + h Rn)    h' = z h + (1 - z) n
 *
 * Weights, in the order [z | n]: kernel [features, 2 units], recurrentKernel
 * [units, 2 units], bias [2 units]. The paper's batch normalisation of x K is
 * left out; in predictions it is a scale and a shift of the columns of K, so
 * a trained one goes into kernel and bias.
 *
 * Source: Ravanelli et al. 2018, arXiv:1803.10225, eq. 5 to 7.
 *
 * @example lightGru(64)
 * @param units numbers in the hidden state
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence
 */
export function lightGru(units: number, options: LightGruOptions & { returnState: true }): CallableLayer<WithStates>;
export function lightGru(units: number, options?: LightGruOptions): CallableLayer;
export function lightGru(units: number, options: LightGruOptions = {}): CallableLayer<GraphNode | WithStates> {
  return oneGate("lightGru", 0, "relu", units, options);
}

/**
 * The minimal gated unit: one gate both updates and resets.
 *
 *   z = sigmoid(x Kz + bz + h Rz)    n = tanh(x Kn + bn + ((1 - z) h) Rn)    h' = z h + (1 - z) n
 *
 * Weights, in the order [z | n]: kernel [features, 2 units], recurrentKernel
 * [units, 2 units], bias [2 units]. The paper's forget gate is 1 - z: its
 * weights come over with their signs turned.
 *
 * Source: Zhou et al. 2016, arXiv:1603.09420, eq. 6.
 *
 * @example mgu(64)
 * @param units numbers in the hidden state
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence
 */
export function mgu(units: number, options: LightGruOptions & { returnState: true }): CallableLayer<WithStates>;
export function mgu(units: number, options?: LightGruOptions): CallableLayer;
export function mgu(units: number, options: LightGruOptions = {}): CallableLayer<GraphNode | WithStates> {
  return oneGate("mgu", FORGET, "tanh", units, options);
}

/** Bits of the kernels' `flags` (assembly/light-gru.ts). */
const FORGET = 1;
const INPUT_ONLY = 256;
const SUMS = 512;

function oneGate(
  type: "minGru" | "lightGru" | "mgu",
  cell: number,
  defaultActivation: ActivationName,
  units: number,
  options: LightGruOptions,
): CallableLayer<GraphNode | WithStates> {
  const where = `${type}()`;
  const recurrentWeights = cell !== INPUT_ONLY;
  integer(where, "units", units, 1, 65536);
  checkOptions(where, options, [
    ...RECURRENT_OPTIONS,
    "activation",
    "useBias",
    "kernelInitializer",
    ...(recurrentWeights ? ["recurrentInitializer"] : []),
    "biasInitializer",
  ]);
  const common = recurrence(where, options);
  const useBias = flag(where, "useBias", options.useBias ?? true);
  const activation = resolveActivation(where, "activation", options.activation ?? defaultActivation, false);
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const recurrentInitializer = initializerConfig(where, options.recurrentInitializer ?? "orthogonal");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");
  const form = cell | (activation.needsInput ? SUMS : 0);

  return callable({
    type,
    name: checkName(where, options.name),
    returnsStates: common.returnState ? 1 : 0,
    config: {
      units,
      ...common,
      activation: activation.config,
      useBias,
      kernelInitializer,
      ...(recurrentWeights ? { recurrentInitializer } : {}),
      biasInitializer,
    },
    directed: (changed) => oneGate(type, cell, defaultActivation, units, { ...options, ...changed }),
    build(b, [input]) {
      const ports = recurrentPorts(b.name, type, units, common, input);
      const I = input.features;
      const H = units;
      const { core } = b;
      const G = core.lightGruGatesStride(H, form);
      const kernel = b.matrix("kernel", [I, 2 * H], kernelInitializer);
      const recurrent = recurrentWeights ? b.matrix("recurrentKernel", [H, 2 * H], recurrentInitializer) : undefined;
      const bias = useBias ? b.param("bias", [2 * H], biasInitializer) : undefined;
      const packedSize = b.int8 ? core.lightGruPackedSizeInt8(I, H, form) : core.lightGruPackedSize(I, H, form);
      const packed = b.packed("weights", packedSize, (k, at) => {
        const [K, R, c] = [kernel.address, recurrent?.address ?? 0, bias?.address ?? 0];
        if (b.int8) k.lightGruPackInt8(at, K, kernel.scales, R, recurrent?.scales ?? 0, c, I, H, form);
        else k.lightGruPack(at, K, R, c, I, H);
      });
      const packedTransposed = b.packed(
        "weights, transposed",
        core.lightGruPackedTransposedSize(I, H, form),
        (k, at) => k.lightGruPackTransposed(at, kernel.address, recurrent?.address ?? 0, I, H, form),
        true,
      );

      return {
        ...ports,
        forward(run, [x]) {
          const { B } = run;
          const pass = beginForward(run, x, b.name, H, common, G);
          const { T, h, gates, gateSteps, y, mask } = pass;
          const flags = pass.flags | form;
          const f = run.constant("activation", [activation.kind, activation.alpha, activation.beta]);
          const operands = [h, gates, y, x.address, packed.address, mask, f] as const;
          if (b.int8) run.k.lightGruForwardInt8(...operands, T, B, I, H, gateSteps, flags, b.int8.range, 0, B, 0);
          else run.k.lightGruForward(...operands, T, B, I, H, gateSteps, flags, 0, B, 0);
          return endForward(run, x, ports.output, { ...pass, flags }, { f });
        },
        backward(run, [x], y) {
          const { B, threads } = run;
          const T = stepsOf(run, x);
          const { h, gates, flags, written, f } = y.saved;
          const dh = beginBackward(run, y);
          const dx = run.gradient(x);
          run.k.lightGruBackward(
            dx?.address ?? 0,
            dh,
            gates,
            y.gradient ?? 0,
            h,
            packedTransposed.address,
            x.mask?.address ?? 0,
            f,
            run.scratch("backward", 4 * B * padded(H)),
            written,
            T,
            B,
            I,
            H,
            flags | (dx?.accumulate ? ACCUMULATE : 0),
            0,
            B,
            0,
          );
          run.k.lightGruGradients(
            kernel.gradient,
            recurrent?.gradient ?? 0,
            bias?.gradient ?? 0,
            gates,
            h,
            x.address,
            run.scratch("weight gradients", threads * core.lightGruGradientsScratch(I, H)),
            T,
            B,
            I,
            H,
            flags,
            0,
            core.lightGruGradientsPanels(H, form),
            0,
          );
        },
      };
    },
  });
}
