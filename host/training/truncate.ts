import type { InputExamples, OutputExamples } from "../batches/examples.ts";
import type { Batch } from "../batches/source.ts";
import { OptionError, ShapeError } from "../core/errors.ts";
import { integer } from "../core/options.ts";
import { checkStreams } from "../inference/frame.ts";
import { finalStates } from "../stacks/execution.ts";
import type { Network } from "../stacks/network.ts";
import { type Recording, streamStates } from "../stacks/recording.ts";
import type { Trainer } from "./trainer.ts";

/**
 * Truncated backpropagation through time: sequences run in pieces, hidden
 * states are carried from piece to piece, gradients are not.
 *
 * Source: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for
 * On-Line Training of Recurrent Network Trajectories": BPTT(h; h').
 */

/**
 * The option `truncatedSteps`, checked against the model: it must be one that
 * gives an output for every step and remembers nothing but hidden states.
 *
 * @throws OptionError, StateError, ShapeError naming the layer or output that stands against it
 */
export function checkTruncation(where: string, trainer: Trainer, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const steps = integer(where, "truncatedSteps", value, 1);
  const { network, goals } = trainer;
  checkStreams(`${where}: "truncatedSteps"`, network);
  const known = new Set(network.states.map(({ name }) => name));
  const other = streamStates(network).find(({ name }) => !known.has(name));
  if (other)
    throw new OptionError(`${where}: "truncatedSteps": layer "${other.name}" looks back at steps of the piece before`);
  network.outputs.forEach(({ name, port }, i) => {
    if (!goals[i]) return;
    if (!port.sequence)
      throw new ShapeError(
        `${where}: "truncatedSteps" needs an output for every step; "${name}" is [batch, ${port.features}]`,
      );
    if (goals[i].loss.targets === "sequences")
      throw new OptionError(`${where}: "truncatedSteps": the loss "${goals[i].loss.name}" needs whole sequences`);
  });
  return steps;
}

/**
 * A batch in pieces of so many steps, one after the other; pieces in which no
 * step counts are left out. Undefined: the batch as it is.
 *
 * @throws ShapeError where the inputs have different numbers of steps
 */
export function* pieces(where: string, { examples, rows }: Batch, steps: number | undefined): Generator<Batch> {
  const [longest, ...others] = new Set(examples.inputs.map((input) => input.steps));
  if (steps !== undefined && others.length)
    throw new ShapeError(
      `${where}: "truncatedSteps" needs inputs of as many steps, got ${longest} and ${others.join(" and ")}`,
    );
  if (steps === undefined || longest <= steps) {
    yield { examples, rows };
    return;
  }
  const identity = Int32Array.from(rows, (_, i) => i);
  for (let from = 0; from < longest; from += steps) {
    const to = Math.min(from + steps, longest);
    const inputs = examples.inputs.map((input) => inputPiece(input, examples.count, rows, from, to));
    if (inputs.every(({ lengths, mask }) => (lengths ?? mask)?.every((v) => v === 0))) continue;
    const outputs = examples.outputs.map((output) => outputPiece(output, examples.count, rows, from, to));
    yield { examples: { count: rows.length, inputs, outputs }, rows: identity };
  }
}

function inputPiece(input: InputExamples, count: number, rows: Int32Array, from: number, to: number): InputExamples {
  const { data, lengths, mask } = input;
  const cut = <Data extends Float32Array | Int32Array>(all: Data) => piece(all, count, rows, input.steps, from, to);
  return {
    steps: to - from,
    data: cut(data),
    ...(lengths && { lengths: Int32Array.from(rows, (r) => Math.min(Math.max(lengths[r] - from, 0), to - from)) }),
    ...(mask && { mask: cut(mask) }),
  };
}

function outputPiece(
  output: OutputExamples,
  count: number,
  rows: Int32Array,
  from: number,
  to: number,
): OutputExamples {
  const { steps, data, weights, weightsPer } = output;
  const cut = <Data extends Float32Array | Int32Array>(all: Data) => piece(all, count, rows, steps, from, to);
  return { steps: to - from, data: data && cut(data), weights: weights && cut(weights), weightsPer };
}

/** Steps from `from` to `to` of some rows of [count, steps, ...]. */
function piece<Data extends Float32Array | Int32Array>(
  all: Data,
  count: number,
  rows: Int32Array,
  steps: number,
  from: number,
  to: number,
): Data {
  const n = all.length / (count * steps);
  const size = (to - from) * n;
  const out = new (all.constructor as new (length: number) => Data)(rows.length * size);
  rows.forEach((r, i) => {
    out.set(all.subarray((r * steps + from) * n, (r * steps + to) * n), i * size);
  });
  return out;
}

/** Where the next piece begins. */
export function statesAfter(network: Network, recording: Recording): Float32Array[] {
  return finalStates(network, recording).map(({ data }) => data);
}
