import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { type Activation, resolveActivation } from "./activations.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { type Layer, type Mask, type Port, padded, type Run, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";

export interface GruOptions {
  name?: string;
  /** The output of every step, [batch, time, units], rather than the last, [batch, units]. Default false. */
  returnSequences?: boolean;
  /** The reset gate acts after the recurrent product (PyTorch, cuDNN, Keras's default) rather than before (the papers' formula). Default true. */
  resetAfter?: boolean;
  /** Of the candidate. Default "tanh". */
  activation?: Activation;
  /** Of the update and reset gates. Default "sigmoid". */
  recurrentActivation?: Activation;
  /** Default true. */
  useBias?: boolean;
  /** Read the sequence from its end; outputs come in reading order, as in Keras. Default false. */
  goBackwards?: boolean;
  /** Begin each batch where the batch before ended, row by row; `model.resetStates()` begins anew. Default false. */
  stateful?: boolean;
  /** With a mask: outputs of masked steps are zero rather than the last output repeated. Default false. */
  zeroOutputForMask?: boolean;
  /** Of the kernel [inputs, 3 units]. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of the recurrentKernel [units, 3 units]. Default "orthogonal". */
  recurrentInitializer?: Initializer;
  /** Of the bias, [2, 3 units], or [3 units] with `resetAfter: false`. Default "zeros". */
  biasInitializer?: Initializer;
}

/** Bits of the kernels' `flags` (assembly/gru.ts). */
const RESET_BEFORE = 1;
const REVERSE = 2;
const LAST = 4;
const REPEAT = 8;
const READING_ORDER = 16;
const IN_PLACE = 32;
const ACCUMULATE = 64;

/**
 * A gated recurrent unit over sequences [batch, time, features].
 *
 *   h' = z h + (1 - z) n, with update gate z, reset gate r, candidate n
 *
 * Weights, in Keras's layouts, gates in the order [z | r | n]: kernel
 * [features, 3 units], recurrentKernel [units, 3 units], bias [2, 3 units]
 * (input and recurrent) or [3 units] with `resetAfter: false`.
 *
 * @example gru(64, { returnSequences: true })
 * @param units numbers in the hidden state
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on something that is not a sequence
 */
export function gru(units: number, options: GruOptions = {}): Layer {
  const where = "gru()";
  integer(where, "units", units, 1, 65536);
  checkOptions(where, options, [
    "name",
    "returnSequences",
    "resetAfter",
    "activation",
    "recurrentActivation",
    "useBias",
    "goBackwards",
    "stateful",
    "zeroOutputForMask",
    "kernelInitializer",
    "recurrentInitializer",
    "biasInitializer",
  ]);
  const bool = (name: keyof GruOptions, fallback: boolean) => flag(where, name, options[name] ?? fallback);
  const returnSequences = bool("returnSequences", false);
  const resetAfter = bool("resetAfter", true);
  const useBias = bool("useBias", true);
  const goBackwards = bool("goBackwards", false);
  const stateful = bool("stateful", false);
  const zeroOutputForMask = bool("zeroOutputForMask", false);
  const candidate = resolveActivation(where, "activation", options.activation ?? "tanh", false);
  const gate = resolveActivation(where, "recurrentActivation", options.recurrentActivation ?? "sigmoid", false);
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const recurrentInitializer = initializerConfig(where, options.recurrentInitializer ?? "orthogonal");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");
  const custom = candidate.name !== "tanh" || gate.name !== "sigmoid";
  const form =
    (resetAfter ? 0 : RESET_BEFORE) | (goBackwards ? REVERSE | READING_ORDER : 0) | (returnSequences ? 0 : LAST);

  return {
    type: "gru",
    name: checkName(where, options.name),
    config: {
      units,
      returnSequences,
      resetAfter,
      activation: candidate.config,
      recurrentActivation: gate.config,
      useBias,
      goBackwards,
      stateful,
      zeroOutputForMask,
      kernelInitializer,
      recurrentInitializer,
      biasInitializer,
    },
    directed: (changed) => gru(units, { ...options, ...changed }),
    build(b, [input]) {
      if (!input.sequence || input.type === "tokens")
        throw new ShapeError(
          `layer "${b.name}": expected input [batch, time, features], got ${input.type === "tokens" ? "tokens; an embedding turns them into vectors" : `[batch, ${input.features}]; a gru needs a time axis`}`,
        );
      const I = input.features;
      const H = units;
      const Hp = padded(H);
      const { core } = b;
      const G = core.gruGatesStride(H, custom ? 1 : 0);
      const kernel = b.matrix("kernel", [I, 3 * H], kernelInitializer);
      const recurrent = b.matrix("recurrentKernel", [H, 3 * H], recurrentInitializer);
      const bias = useBias ? b.param("bias", resetAfter ? [2, 3 * H] : [3 * H], biasInitializer) : undefined;
      const packedSize = b.int8 ? core.gruPackedSizeInt8(I, H) : core.gruPackedSize(I, H);
      const packed = b.packed("weights", packedSize, (k, at) => {
        const [K, R, c] = [kernel.address, recurrent.address, bias?.address ?? 0];
        if (b.int8) k.gruPackInt8(at, K, kernel.scales, R, recurrent.scales, c, I, H, form);
        else k.gruPack(at, K, R, c, I, H, form);
      });
      const packedTransposed = b.packed(
        "weights, transposed",
        core.gruPackedTransposedSize(I, H),
        (k, at) => k.gruPackTransposed(at, kernel.address, recurrent.address, I, H, form),
        true,
      );
      const output: Port = {
        features: H,
        sequence: returnSequences,
        steps: returnSequences ? input.steps : null,
        type: "values",
      };

      return {
        output,
        states: [{ name: b.name, units: H }],
        stateful,
        unstreamable: goBackwards ? "goBackwards reads the sequence from its end" : undefined,
        forward(run, [x]) {
          const { B } = run;
          const T = stepsOf(run, x);
          const step = B * Hp;
          const mask = x.mask?.address ?? 0;
          const holes = x.mask?.dialect === "holes";
          const streamed = run.mode === "stream";
          // Outputs are the states themselves, unless masked steps or the reading order make them differ.
          // In a stream they are the last output that masked steps repeat, too.
          const written = streamed
            ? holes && zeroOutputForMask
            : holes || (returnSequences && (x.mask !== undefined || goBackwards));
          const inPlace = !run.backward && (written || !returnSequences || T === 1);
          const flags = form | (holes && !zeroOutputForMask ? REPEAT : 0) | (inPlace ? IN_PLACE : 0);
          const gateSteps = run.backward ? T : Math.min(T, core.gruChunk(B));
          const h = streamed ? run.state("h", step) : run.saved("h", inPlace ? step : (T + 1) * step);
          const gates = run.backward ? run.saved("gates", T * B * G) : run.scratch("gates", gateSteps * B * G);
          const y = written ? run.saved("y", (returnSequences ? T : 1) * step) : 0;
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
          const initial = inPlace || !goBackwards ? h : h + 4 * T * step;
          const final = inPlace || goBackwards ? h : h + 4 * T * step;
          const given = run.initialState(b.name);
          if (given !== undefined) run.k.copyRows(initial, given, B, Hp, Hp, Hp);
          else if (!streamed) run.k.zero(initial, step);
          const operands = [h, gates, y, x.address, packed.address, mask, activations] as const;
          if (b.int8) run.k.gruForwardInt8(...operands, T, B, I, H, gateSteps, flags, b.int8.range, 0, B, 0);
          else run.k.gruForward(...operands, T, B, I, H, gateSteps, flags, 0, B, 0);
          const states = inPlace || goBackwards ? h : h + 4 * step;
          return {
            port: output,
            address: written ? y : returnSequences ? states : final,
            rows: returnSequences ? T * B : B,
            stride: Hp,
            mask: returnSequences ? (goBackwards ? reversed(run, T, x.mask) : x.mask) : undefined,
            saved: { h, gates, activations, flags, written: written ? 1 : 0 },
            states: [{ name: b.name, units: H, stride: Hp, initial, final }],
          };
        },
        backward(run, [x], y) {
          const { B } = run;
          const T = stepsOf(run, x);
          const { h, gates, activations, flags, written } = y.saved;
          const step = B * Hp;
          const dh = run.saved("state gradient", step);
          const dFinal = run.finalStateGradient(b.name);
          if (dFinal !== undefined) run.k.copyRows(dh, dFinal, B, Hp, Hp, Hp);
          else run.k.zero(dh, step);
          const dx = run.gradient(x);
          const scratch = run.scratch("backward", (custom ? 5 : 2) * step);
          run.k.gruBackward(
            dx?.address ?? 0,
            dh,
            gates,
            y.gradient ?? 0,
            h,
            packedTransposed.address,
            x.mask?.address ?? 0,
            activations,
            scratch,
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
          const products = run.scratch("weight gradients", run.threads * core.gruGradientsScratch(I, H));
          run.k.gruGradients(
            kernel.gradient,
            recurrent.gradient,
            bias?.gradient ?? 0,
            gates,
            h,
            x.address,
            products,
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
          y.states![0].gradient = dh;
        },
      };
    },
  };
}

/** A mask in reading order, as outputs of goBackwards are: padding at the end has become padding at the beginning. */
export function reversed({ k, B, mask }: Run, T: number, given: Mask | undefined): Mask | undefined {
  if (!given) return undefined;
  const address = mask("mask, reversed", T * B);
  k.copyRows(address, given.address + 4 * (T - 1) * B, T, B, B, -B);
  return { ...given, address };
}
