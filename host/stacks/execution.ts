import { copyIn } from "../batches/copy.ts";
import type { Examples } from "../batches/examples.ts";
import { OptionError, ShapeError, StateError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import { readRows, scatter, writeRows } from "../core/rows.ts";
import { shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import { padded, type State } from "../layers/layer.ts";
import type { Network } from "./network.ts";
import { type Recording, Request } from "./recording.ts";

/** One for each hidden state of the model in order, each [batch, units]: one a recurrent layer, two a bidirectional one. */
export type States = readonly TensorLike[];

/** What one run may be given besides its batch. */
export interface RunOptions {
  readonly mode: Request["mode"];
  readonly objectives?: Request["options"]["objectives"];
  readonly backward?: boolean;
  readonly inputGradient?: boolean;
  readonly stateGradient?: readonly Float32Array[];
  /** One for every output. */
  readonly outputGradients?: readonly Float32Array[];
  readonly initialState?: readonly Float32Array[];
  /** The final states will be read. */
  readonly keepStates?: boolean;
  /** The optimizer step, for dropout. */
  readonly step?: number;
}

/**
 * Copies a batch in, runs its program, and leaves everything to be read in the
 * recording's places. Stateful layers begin where they ended.
 *
 * @param rows the samples of the batch
 */
export function execute(network: Network, examples: Examples, rows: Int32Array, options: RunOptions): Recording {
  const B = rows.length;
  const { arena } = network.engine;
  const carried = options.initialState ?? network.carriedStates(B);
  const recording = network.recording(
    new Request(
      options.mode,
      examples.inputs.map(({ steps }) => steps),
      B,
      {
        masks: examples.inputs.map(({ lengths, mask }) => (mask ? "holes" : lengths ? "lengths" : undefined)),
        initialState: carried !== undefined || undefined,
        objectives: options.objectives,
        weights: options.objectives && examples.outputs.map(({ weightsPer }) => weightsPer),
        widths: options.objectives && examples.outputs.map(({ width }) => width),
        backward: options.backward || undefined,
        stateGradient: options.stateGradient !== undefined || undefined,
        inputGradient: options.inputGradient || undefined,
        keepStates: options.keepStates || undefined,
      },
    ),
  );
  copyIn(arena, recording, examples, rows);
  const put = (
    states: readonly State[],
    places: ReadonlyMap<string, number>,
    values: readonly Float32Array[] | undefined,
  ) =>
    states.forEach(({ name, units }, i) => {
      const at = places.get(name);
      if (at !== undefined && values) writeRows(arena, at, values[i], B, units, padded(units));
    });
  put(network.initialStates, recording.initialStates, carried);
  put(network.states, recording.stateGradients, options.stateGradient);
  options.outputGradients?.forEach((values, i) => {
    const { value, gradient } = recording.outputs[i];
    const { port, rows: count, stride } = value;
    // Layers multiply whole padded rows: what stood in the padding before, NaN at worst, would reach everything.
    arena.f32.fill(0, gradient >>> 2, (gradient >>> 2) + count * stride);
    const identity = Int32Array.from({ length: B }, (_, b) => b);
    scatter(arena.f32, gradient >>> 2, values, identity, count / B, port.features, stride);
  });
  arena.i32[recording.step >>> 2] = options.step ?? 0;
  network.pack(options.backward ?? false);
  if (options.backward) arena.u8.fill(0, network.gradsAddress, network.gradsAddress + 4 * network.span);
  recording.program.run();
  network.carry(recording);
  return recording;
}

/** The final states of a run, dense. */
export function finalStates(network: Network, recording: Recording): Tensor[] {
  const { B } = recording.request;
  return recording.states.map(({ final, units, stride }) => ({
    shape: [B, units],
    data: readRows(network.engine.arena, final, B, units, stride),
  }));
}

/** Gradients with respect to the initial states. */
export function initialStateGradients(network: Network, recording: Recording): Tensor[] {
  const { B } = recording.request;
  const begins = new Set(network.initialStates.map(({ name }) => name));
  const places = recording.states.filter(({ name }) => begins.has(name));
  return places.map(({ gradient, units, stride }) => ({
    shape: [B, units],
    data: gradient ? readRows(network.engine.arena, gradient, B, units, stride) : new Float32Array(B * units),
  }));
}

/**
 * States as users give them: a list with one [batch, units] for each of the
 * model's, or, where there is only one, that tensor alone.
 *
 * @param own which states; default those that begin where the caller says
 * @throws ShapeError  when they do not fit the model
 * @throws OptionError for numbers that are not finite
 */
export function checkStates(
  network: Network,
  where: string,
  states: States | TensorLike | undefined,
  B: number,
  own = network.initialStates,
): Float32Array[] | undefined {
  if (states === undefined) return undefined;
  if (!own.length) throw new StateError(`${where}: the model has no recurrent layer to take a state`);
  const expected = own.map(({ name, units }) => `"${name}" ${shapeText([B, units])}`).join(", ");
  const list =
    Array.isArray(states) && states.length === own.length && (own.length > 1 || isState(states[0])) ? states : [states];
  if (list.length !== own.length)
    throw new ShapeError(
      `${where}: expected the states ${expected}, got ${Array.isArray(states) ? states.length : shown(states)}`,
    );
  return own.map(({ name, units }, i) => {
    const t = toTensor(list[i] as TensorLike, `${where}: state of "${name}"`);
    if (t.shape.length !== 2 || t.shape[0] !== B || t.shape[1] !== units)
      throw new ShapeError(
        `${where}: state of "${name}": expected ${shapeText([B, units])}, got ${shapeText(t.shape)}`,
      );
    for (const v of t.data)
      if (v - v !== 0) throw new OptionError(`${where}: state of "${name}" has ${v}; expected finite numbers`);
    return t.data;
  });
}

/** A [batch, units] of its own, rather than a row of one. */
function isState(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    ("shape" in value || (Array.isArray(value) && typeof value[0] === "object"))
  );
}
