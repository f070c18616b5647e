import type { Arena } from "../core/arena.ts";
import { Program } from "../core/kernels.ts";
import { Region } from "../core/plan.ts";
import { type Mask, padded, type Run, type StatePlace, type Value } from "../layers/layer.ts";
import { lossPort, type Objective } from "../losses/loss.ts";
import type { Network, Source } from "./network.ts";

/** What is to be run, and on which sizes: everything that a recording depends on. */
export class Request {
  readonly key: string;
  constructor(
    readonly mode: Run["mode"],
    /** Steps of every input, 1 without a time axis. */
    readonly steps: readonly number[],
    readonly B: number,
    readonly options: {
      /** Which steps of each input count, where the caller says so. */
      readonly masks?: readonly (Mask["dialect"] | undefined)[];
      /** Initial states are given. */
      readonly initialState?: boolean;
      /** The loss of every output that has one; without any, gradients are those of given cotangents. */
      readonly objectives?: readonly (Objective | undefined)[];
      /** For every output, one weight a row, or one an element. */
      readonly weights?: readonly ("rows" | "elements" | undefined)[];
      /** For every output, numbers in a row of targets that are sequences of labels. */
      readonly widths?: readonly (number | undefined)[];
      /** A backward pass follows. */
      readonly backward?: boolean;
      /** Gradients of the final states are given. */
      readonly stateGradient?: boolean;
      /** The gradients of the inputs are wanted. */
      readonly inputGradient?: boolean;
      /** Final states are read when all is done; otherwise only those of stateful layers. */
      readonly keepStates?: boolean;
      /** The outputs of all layers stay where they are until the end. */
      readonly keep?: boolean;
    } = {},
  ) {
    const { objectives, ...rest } = options;
    this.key = JSON.stringify([mode, steps, B, rest, objectives?.map((objective) => objective !== undefined)]);
  }
}

/** Where the host writes a batch. */
export interface InputPlace {
  readonly value: Value;
  /** Address of the gradient; 0: not wanted. */
  readonly gradient: number;
}

/** Where the host reads what comes out, and writes what it is held against. Addresses in io, 0 where absent. */
export interface OutputPlace {
  readonly value: Value;
  readonly targets: number;
  readonly weights: number;
  /** f64[2]: summed loss, divisor. */
  readonly loss: number;
  readonly rowLosses: number;
  /** A gradient given by the caller. */
  readonly gradient: number;
}

/** A program and the places of what goes in and comes out. */
export interface Recording {
  readonly request: Request;
  readonly program: Program;
  readonly regions: readonly Region[];
  readonly bytes: number;
  readonly inputs: readonly InputPlace[];
  readonly outputs: readonly OutputPlace[];
  /** Every node's output, in order, to find where numbers went wrong. */
  readonly values: readonly { readonly layer: string; readonly value: Value }[];
  readonly states: readonly StatePlace[];
  readonly stateGradients: ReadonlyMap<string, number>;
  readonly initialStates: ReadonlyMap<string, number>;
  /** The i32 step counter of random kernels. */
  readonly step: number;
  /** The value of a source. */
  at(source: Source): Value;
  writeConstants(arena: Arena): void;
}

/** Where regions are measured: apart from each other, and none at 0, which stands for "absent". */
const APART = [1, 2, 3, 4].map((i) => i * 2 ** 40);

/** Bytes that a request needs. */
export function measure(network: Network, request: Request): number {
  return lay(network, request, APART).bytes;
}

/** Steps of every output for so many of every input: what the layers make of them. */
export function outputSteps(network: Network, steps: readonly number[]): readonly number[] {
  return lay(network, new Request("predict", steps, 1), APART).outputs.map(({ value }) => value.rows);
}

/** What layers keep from step to step of a stream: hidden states, and whatever else they look back at. */
export function streamStates(network: Network): readonly StatePlace[] {
  const steps = network.inputs.map(() => 1);
  return lay(network, new Request("stream", steps, 1), APART).states;
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
  const { B, mode, options } = request;
  const { nodes, topology } = network;
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
  const inputs: InputPlace[] = network.inputs.map(({ port }, i) => {
    const rows = port.sequence ? request.steps[i] * B : B;
    const stride = port.type === "tokens" ? 1 : padded(port.features);
    const dialect = port.sequence && options.masks?.[i];
    const mask: Mask | undefined = dialect ? { address: io.take("mask", rows), dialect } : undefined;
    const value: Value = { port, address: io.take("input", rows * stride), rows, stride, mask, saved: {} };
    const wanted = options.inputGradient && port.type === "values";
    return { value, gradient: wanted ? io.take("input gradient", rows * stride) : 0 };
  });
  if (options.initialState)
    for (const { name, units } of network.initialStates)
      initialStates.set(name, io.take(`${name}.initial state`, B * padded(units)));
  if (options.stateGradient)
    for (const { name, units } of network.states)
      stateGradients.set(name, io.take(`${name}.final state gradient`, B * padded(units)));
  const step = io.take("step", 1);

  // Which values somebody wants the gradient of.
  const wanted = new Set<Value>();
  for (const { value, gradient } of inputs) if (gradient) wanted.add(value);

  // Outputs of the nodes so far, and their final states as values that other nodes read.
  const values: Value[] = [];
  const finals: Value[][] = [];
  const at = ({ node, state }: Source) =>
    node < 0 ? inputs[-1 - node].value : state === undefined ? values[node] : finals[node][state];
  const sourcesOf = (i: number) => [...nodes[i].inputs, ...(nodes[i].initialStates ?? [])];
  const lastReader = nodes.map(() => -1);
  nodes.forEach((_, i) => {
    for (const { node } of sourcesOf(i)) if (node >= 0) lastReader[node] = i;
  });

  let current = 0;
  let label = "";
  let owned: number[] = [];
  let temporary: number[] = [];
  const givenStates = () => nodes[current].initialStates ?? [];
  const stateIndex = (name: string) => nodes[current].built.states!.findIndex((own) => own.name === name);
  const run: Run = {
    core,
    k,
    B,
    mode,
    threads: network.engine.info.threads,
    backward,
    get fuses() {
      // Whoever else reads the output wants its gradient, not that of what stands before.
      if (lastReader[current] >= 0) return undefined;
      const output = topology.outputs.findIndex(({ source }) => source.node === current && source.state === undefined);
      return options.objectives?.[output]?.loss.fuses;
    },
    step,
    saved(part, count) {
      const address = saved.take(`${label}.${part}`, count);
      owned.push(address);
      return address;
    },
    mask: (part, rows) => io.take(`${label}.${part}`, rows),
    scratch(part, count) {
      const address = scratch.take(`${label}.${part}`, count);
      temporary.push(address);
      return address;
    },
    state: (part, count) => state.take(`${label}.${part}`, count),
    constant(part, values) {
      const address = io.take(`${label}.${part}`, values.length);
      constants.push({ address, values });
      return address;
    },
    gradient(value) {
      if (!wanted.has(value)) return undefined;
      if (value.gradient !== undefined) return { address: value.gradient, accumulate: 1 };
      value.gradient =
        inputs.find((input) => input.value === value)?.gradient ??
        saved.take("gradient of an activation", value.rows * value.stride);
      return { address: value.gradient, accumulate: 0 };
    },
    initialState: (name) =>
      givenStates().length ? at(givenStates()[stateIndex(name)]).address : initialStates.get(name),
    finalStateGradient: (name) => finals[current][stateIndex(name)].gradient ?? stateGradients.get(name),
  };
  const endTurn = () => {
    for (const address of temporary) scratch.give(address);
    temporary = [];
  };

  // Forward, in order. Without a backward, memory goes back after its last reader.
  const takenBy: number[][] = [];
  /** For every node the first one whose memory its output is in: a layer may pass its input through. */
  const holder: number[] = [];
  /** For these, the last reader of anything that is in their memory. */
  const until: number[] = [];
  const given = new Set(topology.outputs.map(({ source }) => source.node));
  const needed = (i: number) => {
    const { stateful, states } = nodes[i].built;
    return given.has(i) || stateful || (options.keepStates && states) ? Infinity : lastReader[i];
  };
  nodes.forEach(({ name, built, inputs: sources, params }, i) => {
    current = i;
    label = name;
    owned = [];
    const read = sourcesOf(i);
    const value = built.forward(run, sources.map(at));
    values.push(value);
    finals.push((value.states ?? []).map((place) => finalState(place, B)));
    takenBy.push(owned);
    if (params.length || read.some((source) => wanted.has(at(source))))
      for (const own of [value, ...finals[i]]) wanted.add(own);
    const through = read.find((source) => source.node >= 0 && at(source).address === value.address);
    holder.push(through ? holder[through.node] : i);
    until.push(-1);
    until[holder[i]] = Math.max(until[holder[i]], needed(i));
    endTurn();
    if (!backward && !options.keep)
      for (const j of new Set(read.filter(({ node }) => node >= 0).map(({ node }) => holder[node])))
        if (until[j] <= i) for (const address of takenBy[j].splice(0)) saved.give(address);
  });

  // The losses, or given gradients, at the outputs.
  const outputs = topology.outputs.map(({ name, source }, i): OutputPlace => {
    const value = at(source);
    const { stride, port, logits } = value;
    const objective = options.objectives?.[i];
    const elements = value.rows * stride;
    label = `loss of ${name}`;
    let [targets, weights, loss, rowLosses, gradient] = [0, 0, 0, 0, 0];
    if (objective) {
      const { loss: of, weight } = objective;
      const rows = lossPort(of, port).sequence ? value.rows : B;
      const width = options.widths?.[i] ?? 0;
      const numbers = { labels: rows, values: elements, sequences: rows * width };
      loss = io.take("loss", 4);
      rowLosses = io.take("row losses", rows);
      targets = io.take("targets", numbers[of.targets]);
      const weighted = options.weights?.[i];
      if (weighted) weights = io.take("weights", weighted === "rows" ? rows : elements);
      const fused = !of.fromLogits && logits !== undefined && (of.fuses?.includes(logits.activation) ?? false);
      if (backward && wanted.has(value)) {
        value.gradient = saved.take("gradient of the output", elements);
        value.fused = fused;
      }
      of.record(run, {
        out: loss,
        rowLosses,
        dx: value.gradient ?? 0,
        x: fused ? logits.address : value.address,
        logits: fused || of.fromLogits,
        targets,
        width,
        valid: value.mask?.address ?? 0,
        weights: weighted === "rows" ? weights : 0,
        elementWeights: weighted === "elements" ? weights : 0,
        rows,
        steps: value.rows / B,
        n: port.features,
        stride,
      });
      if (value.gradient !== undefined && weight !== 1) k.scale(value.gradient, elements, weight);
      endTurn();
    } else if (backward && !options.objectives) {
      gradient = io.take("output gradient", elements);
      if (wanted.has(value)) {
        // A copy: layers use the gradient of their output as room to work in.
        value.gradient = saved.take("gradient of the output", elements);
        k.copyRows(value.gradient, gradient, 1, elements, 0, 0);
      }
    }
    return { value, targets, weights, loss, rowLosses, gradient };
  });

  if (backward)
    for (let i = nodes.length - 1; i >= 0; i--) {
      const { name, built, inputs: sources } = nodes[i];
      const value = values[i];
      const own = [value, ...finals[i]];
      const reached = own.some(({ gradient }) => gradient !== undefined) || (value.states && options.stateGradient);
      if (!wanted.has(value) || !reached) continue;
      current = i;
      label = name;
      value.states?.forEach((place, s) => {
        const [read, given] = [finals[i][s].gradient, stateGradients.get(place.name)];
        if (read !== undefined && given !== undefined) k.addTo(read, given, B * place.stride);
      });
      built.backward(run, sources.map(at), value);
      givenStates().forEach((source, s) => {
        const dInitial = run.gradient(at(source));
        const place = value.states![s];
        if (dInitial?.accumulate) k.addTo(dInitial.address, place.gradient!, B * place.stride);
        else if (dInitial) k.copyRows(dInitial.address, place.gradient!, 1, B * place.stride, 0, 0);
      });
      endTurn();
      for (const { gradient } of own) if (gradient !== undefined) saved.give(gradient);
    }

  const regions = [io, state, saved, scratch];
  return {
    request,
    program: program.seal(),
    regions,
    bytes: regions.reduce((sum, region) => sum + align(region.high), 0),
    inputs,
    outputs,
    values: values.map((value, i) => ({ layer: nodes[i].name, value })),
    states: values.flatMap((value) => value.states ?? []),
    stateGradients,
    initialStates,
    step,
    at,
    writeConstants(arena) {
      for (const { address, values: numbers } of constants) arena.f32.set(numbers, address >>> 2);
    },
  };
}

/** The end of a state as a value that other layers read. */
function finalState({ final, units, stride }: StatePlace, B: number): Value {
  const port = { features: units, sequence: false, steps: null, type: "values" } as const;
  return { port, address: final, rows: B, stride, saved: {} };
}
