import { ShapeError } from "../core/errors.ts";
import { flag } from "../core/options.ts";
import { type Mask, type Port, padded, type Run, type StatePlace, stepsOf, type Value } from "./layer.ts";

/** What recurrent layers share: their common options, and where the states and outputs of a run lie. */

export interface RecurrentOptions {
  name?: string;
  /** The output of every step, [batch, time, units], rather than the last, [batch, units]. Default false. */
  returnSequences?: boolean;
  /** Called on a node of a graph, give [output, final state] rather than the output alone. Default false. */
  returnState?: boolean;
  /** Read the sequence from its end; outputs come in reading order, as in Keras. Default false. */
  goBackwards?: boolean;
  /** Begin each batch where the batch before ended, row by row; `model.resetStates()` begins anew. Default false. */
  stateful?: boolean;
  /** With a mask: outputs of masked steps are zero rather than the last output repeated. Default false. */
  zeroOutputForMask?: boolean;
}

/** The options above, by name. */
export const RECURRENT_OPTIONS = [
  "name",
  "returnSequences",
  "returnState",
  "goBackwards",
  "stateful",
  "zeroOutputForMask",
] as const;

/** Bits of the kernels' `flags` (assembly/recurrent.ts); bit 0 and those from 256 on are the cell's. */
const REVERSE = 2;
const LAST = 4;
const REPEAT = 8;
const READING_ORDER = 16;
const IN_PLACE = 32;
export const ACCUMULATE = 64;

/** The common options, checked, with their defaults. */
export type Recurrence = { readonly [K in Exclude<keyof RecurrentOptions, "name">]-?: boolean };

/** @throws OptionError for values that are not booleans */
export function recurrence(where: string, options: RecurrentOptions): Recurrence {
  const bool = (name: keyof Recurrence) => flag(where, name, options[name] ?? false);
  return {
    returnSequences: bool("returnSequences"),
    returnState: bool("returnState"),
    goBackwards: bool("goBackwards"),
    stateful: bool("stateful"),
    zeroOutputForMask: bool("zeroOutputForMask"),
  };
}

/** What a built recurrent layer says of itself. */
export function recurrentPorts(name: string, type: string, units: number, recurrence: Recurrence, input: Port) {
  if (!input.sequence || input.type === "tokens")
    throw new ShapeError(
      `layer "${name}": expected input [batch, time, features], got ${input.type === "tokens" ? "tokens; an embedding turns them into vectors" : `[batch, ${input.features}]; a ${type} needs a time axis`}`,
    );
  const { returnSequences, goBackwards, stateful } = recurrence;
  const output: Port = {
    features: units,
    sequence: returnSequences,
    steps: returnSequences ? input.steps : null,
    type: "values",
  };
  return {
    output,
    states: [{ name, units }],
    stateful,
    unstreamable: goBackwards ? "goBackwards reads the sequence from its end" : undefined,
  };
}

/** Where everything of one forward pass lies. */
export interface Pass {
  readonly T: number;
  /** Elements of one step of states. */
  readonly step: number;
  readonly mask: number;
  readonly flags: number;
  readonly h: number;
  readonly gates: number;
  /** Steps of gates; all of them where a backward follows. */
  readonly gateSteps: number;
  /** Outputs of their own, or 0 where they are the states. */
  readonly y: number;
  readonly state: StatePlace;
  /** Where the output lies. */
  readonly address: number;
}

/**
 * Takes the memory of a forward pass, and records how the initial state gets
 * into its place.
 *
 * @param G elements of a row of gates
 */
export function beginForward(run: Run, x: Value, layer: string, units: number, r: Recurrence, G: number): Pass {
  const { returnSequences, goBackwards, zeroOutputForMask } = r;
  const { B } = run;
  const T = stepsOf(run, x);
  const Hp = padded(units);
  const step = B * Hp;
  const holes = x.mask?.dialect === "holes";
  const streamed = run.mode === "stream";
  // Outputs are the states themselves, unless masked steps or the reading order make them differ.
  // In a stream they are the last output that masked steps repeat, too.
  const written = streamed
    ? holes && zeroOutputForMask
    : holes || (returnSequences && (x.mask !== undefined || goBackwards));
  const inPlace = !run.backward && (written || !returnSequences || T === 1);
  const gateSteps = run.backward ? T : Math.min(T, run.core.gruChunk(B));
  const h = streamed ? run.state("h", step) : run.saved("h", inPlace ? step : (T + 1) * step);
  const gates = run.backward ? run.saved("gates", T * B * G) : run.scratch("gates", gateSteps * B * G);
  const y = written ? run.saved("y", (returnSequences ? T : 1) * step) : 0;
  const initial = inPlace || !goBackwards ? h : h + 4 * T * step;
  const final = inPlace || goBackwards ? h : h + 4 * T * step;
  const given = run.initialState(layer);
  if (given !== undefined) run.k.copyRows(initial, given, B, Hp, Hp, Hp);
  else if (!streamed) run.k.zero(initial, step);
  const states = inPlace || goBackwards ? h : h + 4 * step;
  return {
    T,
    step,
    mask: x.mask?.address ?? 0,
    flags:
      (goBackwards ? REVERSE | READING_ORDER : 0) |
      (returnSequences ? 0 : LAST) |
      (holes && !zeroOutputForMask ? REPEAT : 0) |
      (inPlace ? IN_PLACE : 0),
    h,
    gates,
    gateSteps,
    y,
    state: { name: layer, units, stride: Hp, initial, final },
    address: written ? y : returnSequences ? states : final,
  };
}

/** The layer's output, once its kernels are recorded. @param saved what backward needs, beside h, gates and flags */
export function endForward(
  run: Run,
  x: Value,
  port: Port,
  { T, h, gates, flags, y, state, address }: Pass,
  saved: Record<string, number>,
): Value {
  const { sequence } = port;
  return {
    port,
    address,
    rows: sequence ? T * run.B : run.B,
    stride: state.stride,
    mask: sequence ? (flags & REVERSE ? reversed(run, T, x.mask) : x.mask) : undefined,
    saved: { h, gates, flags, written: y ? 1 : 0, ...saved },
    states: [state],
  };
}

/** The gradient of the state, that of the final one to begin with: where backward carries it to the initial one. */
export function beginBackward(run: Run, y: Value): number {
  const [state] = y.states!;
  const { name, stride } = state;
  const count = run.B * stride;
  const dh = run.saved("state gradient", count);
  const dFinal = run.finalStateGradient(name);
  if (dFinal !== undefined) run.k.copyRows(dh, dFinal, run.B, stride, stride, stride);
  else run.k.zero(dh, count);
  state.gradient = dh;
  return dh;
}

/** A mask in reading order, as outputs of goBackwards are: padding at the end has become padding at the beginning. */
export function reversed({ k, B, mask }: Run, T: number, given: Mask | undefined): Mask | undefined {
  if (!given) return undefined;
  const address = mask("mask, reversed", T * B);
  k.copyRows(address, given.address + 4 * (T - 1) * B, T, B, B, -B);
  return { ...given, address };
}
