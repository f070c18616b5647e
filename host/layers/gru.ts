import { OptionError } from "../core/errors.ts";
import { checkOptions, flag, integer, real } from "../core/options.ts";
import { random } from "../core/random.ts";
import { type Activation, resolveActivation } from "./activations.ts";
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

export interface GruOptions extends RecurrentOptions {
  /** The reset gate acts after the recurrent product (PyTorch, cuDNN, Keras's default) rather than before (the papers' formula). Default true. */
  resetAfter?: boolean;
  /** Of the candidate. Default "tanh". */
  activation?: Activation;
  /** Of the update and reset gates. Default "sigmoid". */
  recurrentActivation?: Activation;
  /** Default true. */
  useBias?: boolean;
  /**
   * Normalise both products, x · kernel and h · recurrentKernel, over their 3 units numbers (epsilon 1e-5), then scale
   * by a learned gamma [2, 3 units]; the bias shifts. Needs `resetAfter`. Default false.
   */
  layerNorm?: boolean;
  /** While training, share of the inputs that are zero: the same ones at all steps of a sequence. Default 0. */
  dropout?: number;
  /** While training, share of the state that the products see as zero: the same at all steps of a sequence. Default 0. */
  recurrentDropout?: number;
  /**
   * While training, probability that a number of the state stays as it was, drawn at each step; otherwise the share of
   * the old state in the new one. Default 0.
   */
  zoneout?: number;
  /** Of the kernel [inputs, 3 units]. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of the recurrentKernel [units, 3 units]. Default "orthogonal". */
  recurrentInitializer?: Initializer;
  /** Of the bias, [2, 3 units], or [3 units] with `resetAfter: false`. Default "zeros". */
  biasInitializer?: Initializer;
}

/** Bits of the kernels' `flags` that are the GRU's own (assembly/gru.ts). */
const RESET_BEFORE = 1;
const LAYER_NORM = 256;
const ZONES = 512;

/**
 * A gated recurrent unit over sequences [batch, time, features].
 *
 *   h' = z h + (1 - z) n, with update gate z, reset gate r, candidate n
 *
 * Weights, in Keras's layouts, gates in the order [z | r | n]: kernel
 * [features, 3 units], recurrentKernel [units, 3 units], bias [2, 3 units]
 * (input and recurrent) or [3 units] with `resetAfter: false`; with
 * `layerNorm` gamma [2, 3 units].
 *
 * Sources: assembly/gru.ts; of layerNorm Ba et al. 2016, arXiv:1607.06450; of
 * dropout and recurrentDropout Gal and Ghahramani 2016, arXiv:1512.05287, as
 * in Keras; of zoneout Krueger et al. 2017, arXiv:1606.01305. What falls is a
 * function of the model's seed, the layer's name and the training step.
 *
 * @example gru(64, { returnSequences: true })
 * @example const [sequence, state] = gru(64, { returnSequences: true, returnState: true })(node)
 * @example gru(64)(node, { initialState: state })
 * @param units numbers in the hidden state
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence
 */
export function gru(units: number, options: GruOptions & { returnState: true }): CallableLayer<WithStates>;
export function gru(units: number, options?: GruOptions): CallableLayer;
export function gru(units: number, options: GruOptions = {}): CallableLayer<GraphNode | WithStates> {
  const where = "gru()";
  integer(where, "units", units, 1, 65536);
  checkOptions(where, options, [
    ...RECURRENT_OPTIONS,
    "resetAfter",
    "activation",
    "recurrentActivation",
    "useBias",
    "layerNorm",
    "dropout",
    "recurrentDropout",
    "zoneout",
    "kernelInitializer",
    "recurrentInitializer",
    "biasInitializer",
  ]);
  const common = recurrence(where, options);
  const resetAfter = flag(where, "resetAfter", options.resetAfter ?? true);
  const useBias = flag(where, "useBias", options.useBias ?? true);
  const layerNorm = flag(where, "layerNorm", options.layerNorm ?? false);
  const dropout = real(where, "dropout", options.dropout ?? 0, "[0, 1)");
  const recurrentDropout = real(where, "recurrentDropout", options.recurrentDropout ?? 0, "[0, 1)");
  const zoneout = real(where, "zoneout", options.zoneout ?? 0, "[0, 1)");
  const candidate = resolveActivation(where, "activation", options.activation ?? "tanh", false);
  const gate = resolveActivation(where, "recurrentActivation", options.recurrentActivation ?? "sigmoid", false);
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const recurrentInitializer = initializerConfig(where, options.recurrentInitializer ?? "orthogonal");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");
  if (layerNorm && !resetAfter)
    throw new OptionError(
      `${where}: "layerNorm" needs "resetAfter" true: reset before, r scales what is about to be normalised`,
    );
  const custom = candidate.name !== "tanh" || gate.name !== "sigmoid";
  const form = (resetAfter ? 0 : RESET_BEFORE) | (layerNorm ? LAYER_NORM : 0);

  return callable({
    type: "gru",
    name: checkName(where, options.name),
    returnsStates: common.returnState ? 1 : 0,
    config: {
      units,
      ...common,
      resetAfter,
      activation: candidate.config,
      recurrentActivation: gate.config,
      useBias,
      layerNorm,
      dropout,
      recurrentDropout,
      zoneout,
      kernelInitializer,
      recurrentInitializer,
      biasInitializer,
    },
    directed: (changed) => gru(units, { ...options, ...changed }),
    build(b, [input]) {
      const ports = recurrentPorts(b.name, "gru", units, common, input);
      const I = input.features;
      const H = units;
      const Hp = padded(H);
      const { core } = b;
      const G = core.gruGatesStride(H, custom ? 1 : 0, form);
      const key = random(b.seed, b.name).uint32() | 0;
      const kernel = b.matrix("kernel", [I, 3 * H], kernelInitializer);
      const recurrent = b.matrix("recurrentKernel", [H, 3 * H], recurrentInitializer);
      const bias = useBias ? b.param("bias", resetAfter ? [2, 3 * H] : [3 * H], biasInitializer) : undefined;
      const gamma = layerNorm ? b.param("gamma", [2, 3 * H], initializerConfig(where, "ones")) : undefined;
      const packedSize = b.int8 ? core.gruPackedSizeInt8(I, H, form) : core.gruPackedSize(I, H, form);
      const packed = b.packed("weights", packedSize, (k, at) => {
        const [K, R, c, g] = [kernel.address, recurrent.address, bias?.address ?? 0, gamma?.address ?? 0];
        if (b.int8) k.gruPackInt8(at, K, kernel.scales, R, recurrent.scales, c, g, I, H, form);
        else k.gruPack(at, K, R, c, g, I, H, form);
      });
      const packedTransposed = b.packed(
        "weights, transposed",
        core.gruPackedTransposedSize(I, H),
        (k, at) => k.gruPackTransposed(at, kernel.address, recurrent.address, I, H, form),
        true,
      );

      return {
        ...ports,
        forward(run, [x]) {
          const { B, mode } = run;
          const pass = beginForward(run, x, b.name, H, common, G);
          const { T, step, h, gates, gateSteps, y, mask } = pass;
          const activations = custom
            ? run.constant("activations", [
                gate.kind,
                gate.alpha,
                gate.beta,
                candidate.kind,
                candidate.alpha,
                candidate.beta,
              ])
            : 0;
          const training = mode === "train";
          const inputs = training && dropout ? run.saved("inputs, dropped", (T + 1) * B * x.stride) : 0;
          const dropped = training && recurrentDropout ? run.saved("states, dropped", (T + 2) * step) : 0;
          const zones = training && zoneout ? run.saved("zoneout", T * step) : 0;
          const zone = zones || !zoneout ? zones : run.constant("zoneout", new Array(Hp).fill(zoneout));
          if (inputs || dropped || zones) {
            const rates = [dropout, recurrentDropout, zoneout] as const;
            run.k.recurrentDropout(inputs, dropped, zones, x.address, T, B, I, H, ...rates, key, run.step);
          }
          const flags = pass.flags | form | (zones ? ZONES : 0);
          const from = inputs ? inputs + 4 * B * x.stride : x.address;
          const operands = [h, gates, y, from, packed.address, mask, activations, dropped, zone] as const;
          if (b.int8) run.k.gruForwardInt8(...operands, T, B, I, H, gateSteps, flags, b.int8.range, 0, B, 0);
          else run.k.gruForward(...operands, T, B, I, H, gateSteps, flags, 0, B, 0);
          return endForward(run, x, ports.output, { ...pass, flags }, { activations, dropped, zone, inputs });
        },
        backward(run, [x], y) {
          const { B, threads } = run;
          const T = stepsOf(run, x);
          const { h, gates, activations, flags, written, dropped, zone, inputs } = y.saved;
          const dh = beginBackward(run, y);
          const dx = run.gradient(x);
          // The gradient of dropped inputs goes through their mask once more.
          const direct = dx && !inputs ? dx : undefined;
          const dInputs = dx && inputs ? run.scratch("inputs' gradient", x.rows * x.stride) : 0;
          const scratch = run.scratch("backward", core.gruBackwardScratch(B, H, custom ? 1 : 0, form));
          run.k.gruBackward(
            direct?.address ?? dInputs,
            dh,
            gates,
            y.gradient ?? 0,
            h,
            packedTransposed.address,
            gamma ? packed.address + 4 * (packedSize - 6 * Hp) : 0,
            x.mask?.address ?? 0,
            activations,
            dropped,
            zone,
            scratch,
            written,
            T,
            B,
            I,
            H,
            flags | (direct?.accumulate ? ACCUMULATE : 0),
            0,
            B,
            0,
          );
          run.k.gruGradients(
            kernel.gradient,
            recurrent.gradient,
            gamma ? 0 : (bias?.gradient ?? 0),
            gates,
            dropped ? dropped + 4 * B * Hp : h,
            inputs ? inputs + 4 * B * x.stride : x.address,
            run.scratch("weight gradients", threads * core.gruGradientsScratch(I, H)),
            custom ? 1 : 0,
            T,
            B,
            I,
            H,
            flags,
            0,
            core.gruGradientsPanels(H),
            0,
          );
          if (gamma) {
            const sums = scratch + 4 * core.gruBackwardSums(B, H, custom ? 1 : 0);
            run.k.gruLayerNormGradients(gamma.gradient, bias?.gradient ?? 0, sums, B, H);
          }
          if (dx && dInputs) run.k.inputDropout(dx.address, dInputs, inputs, T, B * x.stride, dx.accumulate);
        },
      };
    },
  });
}
