import type { Arena } from "../core/arena.ts";
import { Program } from "../core/kernels.ts";
import { Region } from "../core/plan.ts";
import { type Mask, padded, type Run, type StatePlace, type Value } from "../layers/layer.ts";
import { type Loss, lossPort } from "../losses/loss.ts";
import type { Network } from "./network.ts";

/** What is to be run, and on which sizes: everything that a recording depends on. */
export class Request {
  readonly key: string;
  constructor(
    readonly mode: Run["mode"],
    readonly T: number,
    readonly B: number,
    readonly options: {
      /** Which steps count, given by the caller. */
      readonly mask?: Mask["dialect"];
      /** Initial states are given. */
      readonly initialState?: boolean;
      /** The loss of the output; without it, gradients are those of given cotangents. */
      readonly loss?: Loss;
      /** One weight a row, or one an element of the output. */
      readonly weights?: "rows" | "elements";
      /** Numbers in a row of targets that are sequences of labels. */
      readonly width?: number;
      /** A backward pass follows. */
      readonly backward?: boolean;
      /** Gradients of the final states are given. */
      readonly stateGradient?: boolean;
      /** The gradient of the input is wanted. */
      readonly inputGradient?: boolean;
      /** The outputs of all layers stay where they are until the end. */
      readonly keep?: boolean;
    } = {},
  ) {
    const { loss, ...rest } = options;
    this.key = JSON.stringify([mode, T, B, rest, loss !== undefined]);
  }
}

/** A program and the places of what goes in and comes out. */
export interface Recording {
  readonly request: Request;
  readonly program: Program;
  readonly regions: readonly Region[];
  readonly bytes: number;
  readonly input: Value;
  readonly output: Value;
  /** Every node's output, in order, to find where numbers went wrong. */
  readonly values: readonly { readonly layer: string; readonly value: Value }[];
  readonly states: readonly StatePlace[];
  /** Addresses in io, 0 where absent. */
  readonly targets: number;
  readonly weights: number;
  /** f64[2]: summed loss, divisor. */
  readonly loss: number;
  readonly rowLosses: number;
  readonly outputGradient: number;
  readonly stateGradients: ReadonlyMap<string, number>;
  readonly initialStates: ReadonlyMap<string, number>;
  readonly inputGradient: number;
  /** The i32 step counter of random kernels. */
  readonly step: number;
  writeConstants(arena: Arena): void;
}

/** Where regions are measured: apart from each other, and none at 0, which stands for "absent". */
const APART = [1, 2, 3, 4].map((i) => i * 2 ** 40);

/** Bytes that a request needs. */
export function measure(network: Network, request: Request): number {
  return lay(network, request, APART).bytes;
}

/**
 * Writes down all kernel calls of a request, with memory laid out from `base`:
 * io | state | saved | scratch. The same request gives the same layout at any
 * base, so a first pass tells how much is needed.
 */
export function record(network: Network, request: Request, base: number): Recording {
  const measured = lay(network, request, APART);
  const bases: number[] = [];
  let next = base;
  for (const region of measured.regions) {
    bases.push(next);
    next += align(region.high);
  }
  return lay(network, request, bases);
}

const align = (bytes: number) => Math.ceil(bytes / 64) * 64;

function lay(network: Network, request: Request, bases: readonly number[]): Recording {
  const { T, B, mode, options } = request;
  const { core } = network.engine;
  const io = new Region("io", bases[0]);
  const state = new Region("state", bases[1]);
  const saved = new Region("saved", bases[2]);
  const scratch = new Region("scratch", bases[3]);
  const program = new Program(core, network.engine.pool);
  const { k } = program;
  const backward = options.backward ?? false;
  const constants: { address: number; values: readonly number[] }[] = [];
  const initialStates = new Map<string, number>();
  const stateGradients = new Map<string, number>();

  // What the host writes and reads.
  const port = network.inputs[0];
  const rows = port.sequence ? T * B : B;
  const stride = port.type === "tokens" ? 1 : padded(port.features);
  const mask: Mask | undefined =
    options.mask && port.sequence ? { address: io.take("mask", rows), dialect: options.mask } : undefined;
  const input: Value = { port, address: io.take("input", rows * stride), rows, stride, mask, saved: {} };
  if (options.initialState)
    for (const { name, units } of network.states)
      initialStates.set(name, io.take(`${name}.initial state`, B * padded(units)));
  if (options.stateGradient)
    for (const { name, units } of network.states)
      stateGradients.set(name, io.take(`${name}.final state gradient`, B * padded(units)));
  const inputGradient = options.inputGradient && port.type === "values" ? io.take("input gradient", rows * stride) : 0;
  const step = io.take("step", 1);

  // Which values somebody wants the gradient of.
  const wanted = new Set<Value>();
  if (inputGradient) wanted.add(input);

  let node = "";
  let owned: number[] = [];
  let temporary: number[] = [];
  const run: Run = {
    core,
    k,
    B,
    mode,
    threads: network.engine.info.threads,
    backward,
    fuses: options.loss?.fuses,
    step,
    saved(label, count) {
      const address = saved.take(`${node}.${label}`, count);
      owned.push(address);
      return address;
    },
    mask: (label, rows) => io.take(`${node}.${label}`, rows),
    scratch(label, count) {
      const address = scratch.take(`${node}.${label}`, count);
      temporary.push(address);
      return address;
    },
    state: (label, count) => state.take(`${node}.${label}`, count),
    constant(label, values) {
      const address = io.take(`${node}.${label}`, values.length);
      constants.push({ address, values });
      return address;
    },
    gradient(value) {
      if (!wanted.has(value)) return undefined;
      if (value.gradient !== undefined) return { address: value.gradient, accumulate: 1 };
      value.gradient =
        value === input ? inputGradient : saved.take("gradient of an activation", value.rows * value.stride);
      return { address: value.gradient, accumulate: 0 };
    },
    initialState: (state) => initialStates.get(state),
    finalStateGradient: (state) => stateGradients.get(state),
  };
  const endTurn = () => {
    for (const address of temporary) scratch.give(address);
    temporary = [];
  };

  // Forward, in order. Without a backward, memory goes back after its last reader.
  const values: Value[] = [];
  const takenBy: number[][] = [];
  const source = (i: number) => (i < 0 ? input : values[i]);
  const lastReader = network.nodes.map((_, i) => network.nodes.findLastIndex((n) => n.inputs.includes(i)));
  network.nodes.forEach(({ name, built, inputs, params }, i) => {
    node = name;
    owned = [];
    const sources = inputs.map(source);
    const value = built.forward(run, sources);
    values.push(value);
    takenBy.push(owned);
    if (params.length || sources.some((s) => wanted.has(s))) wanted.add(value);
    endTurn();
    if (!backward && !options.keep)
      for (const j of new Set(inputs)) {
        // A stateful layer's last state is read when all is done.
        if (j < 0 || lastReader[j] !== i || network.nodes[j].built.stateful) continue;
        if (shares(values[j], value)) takenBy[i].push(...takenBy[j]);
        else for (const a of takenBy[j]) saved.give(a);
      }
  });

  // The loss, or a given gradient, at the output.
  const output = values[network.topology.output];
  const { loss } = options;
  node = "loss";
  let targets = 0;
  let weights = 0;
  let lossAt = 0;
  let rowLosses = 0;
  let outputGradient = 0;
  const elements = output.rows * output.stride;
  if (loss) {
    lossAt = io.take("loss", 4);
    const rows = lossPort(loss, output.port).sequence ? output.rows : B;
    const { width = 0 } = options;
    const numbers = { labels: rows, values: elements, sequences: rows * width };
    rowLosses = io.take("row losses", rows);
    targets = io.take("targets", numbers[loss.targets]);
    if (options.weights) weights = io.take("weights", options.weights === "rows" ? rows : elements);
    const { logits } = output;
    const fused = !loss.fromLogits && logits !== undefined && (loss.fuses?.includes(logits.activation) ?? false);
    if (backward && wanted.has(output)) {
      output.gradient = saved.take("gradient of the output", elements);
      output.fused = fused;
    }
    loss.record(run, {
      out: lossAt,
      rowLosses,
      dx: output.gradient ?? 0,
      x: fused ? logits.address : output.address,
      logits: fused || loss.fromLogits,
      targets,
      width,
      valid: output.mask?.address ?? 0,
      weights: options.weights === "rows" ? weights : 0,
      elementWeights: options.weights === "elements" ? weights : 0,
      rows,
      steps: output.rows / B,
      n: output.port.features,
      stride: output.stride,
    });
    endTurn();
  } else if (backward) {
    outputGradient = io.take("output gradient", elements);
    if (wanted.has(output)) {
      // A copy: layers use the gradient of their output as room to work in.
      output.gradient = saved.take("gradient of the output", elements);
      k.copyRows(output.gradient, outputGradient, 1, elements, 0, 0);
    }
  }

  if (backward)
    for (let i = network.nodes.length - 1; i >= 0; i--) {
      const { name, built, inputs } = network.nodes[i];
      const value = values[i];
      if (!wanted.has(value) || (value.gradient === undefined && !(value.states && options.stateGradient))) continue;
      node = name;
      built.backward(run, inputs.map(source), value);
      endTurn();
      if (value.gradient !== undefined) saved.give(value.gradient);
    }

  const regions = [io, state, saved, scratch];
  return {
    request,
    program: program.seal(),
    regions,
    bytes: regions.reduce((sum, region) => sum + align(region.high), 0),
    input,
    output,
    values: values.map((value, i) => ({ layer: network.nodes[i].name, value })),
    states: values.flatMap((value) => value.states ?? []),
    targets,
    weights,
    loss: lossAt,
    rowLosses,
    outputGradient,
    stateGradients,
    initialStates,
    inputGradient,
    step,
    writeConstants(arena) {
      for (const { address, values: numbers } of constants) arena.f32.set(numbers, address >>> 2);
    },
  };
}

/** Two values in the same memory: a layer that passes its input through. */
function shares(a: Value, b: Value): boolean {
  return a.address === b.address;
}
