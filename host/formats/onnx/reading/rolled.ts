import type { Json } from "../../../layers/layer.ts";
import { type Cell, MOST_WORK, readCell } from "./cell.ts";
import type { Emitted, Graph, Read } from "./graph.ts";
import { equal } from "./unrolled.ts";
import type { Data } from "./values.ts";

/**
 * A GRU whose steps a file has one after the other, as a cell that a network
 * calls in a loop is exported: once all layers are there, the GRU takes the
 * place of its last step.
 */

/** A layer that makes the state after a step. */
interface Step {
  readonly at: number;
  readonly of: Data;
  /** The layer that makes the state before; undefined for the zeros that it begins with. */
  readonly before?: number;
  readonly cell: Cell;
  readonly units: number;
}

/** Layers that a step may have. */
const MOST = 64;

/** @returns what has to be read instead of a layer */
export function roll(graph: Graph): ReadonlyMap<number, Read> {
  const steps = new Map<number, Step>();
  const cells = new Cells();
  // The states of a file come in their order.
  graph.nodes.forEach(({ type }, node) => {
    const step = type === "add" ? stepOf(graph, node, steps, cells) : undefined;
    if (step) steps.set(node, step);
  });
  const instead = new Map<number, Read>();
  const rolled = new Map<number, readonly number[]>();
  for (const [node, { at, of, cell, units }] of steps) {
    const time = timeOf(of);
    const all = time === at + 1 ? statesOf(steps, node) : [];
    if (all.length !== time) continue;
    const { kernel, recurrentKernel, bias, ...config } = cell;
    graph.nodes[node] = {
      type: "gru",
      config: { units, returnSequences: true, useBias: bias !== undefined, ...config },
      inputs: [graph.read(of)],
      weights: { kernel, recurrentKernel, ...(bias && { bias }) },
      name: graph.nodes[node].name,
      reads: { outputs: false, state: false },
    };
    instead.set(node, { node, state: "all" });
    rolled.set(node, all);
  }
  redirect(graph, instead);
  const joined = new Map<number, Read>();
  for (const [node, all] of rolled) sequences(graph, node, all, joined);
  redirect(graph, joined);
  return new Map([...instead, ...joined]);
}

function redirect(graph: Graph, instead: ReadonlyMap<number, Read>): void {
  const other = (read: Read) => (read.state === undefined && instead.get(read.node)) || read;
  if (instead.size === 0) return;
  for (const node of graph.nodes) {
    node.inputs = node.inputs.map(other);
    node.initialStates = node.initialStates?.map(other);
  }
}

const timeOf = ({ axes, features }: Data): number | undefined =>
  axes.flat().find((axis) => axis.role === "time" && !features.includes(axis))?.size ?? undefined;

/** The layers that make the states up to one, the first first. */
function statesOf(steps: ReadonlyMap<number, Step>, node: number): number[] {
  const all = [node];
  for (let before = steps.get(node)!.before; before !== undefined; before = steps.get(before)!.before) all.push(before);
  return all.reverse();
}

/** What a layer is a state of: its step reads one step of a sequence, and the state before. */
function stepOf(graph: Graph, result: number, steps: ReadonlyMap<number, Step>, cells: Cells): Step | undefined {
  const inner = new Set<number>([result]);
  const [taken, before] = [new Set<number>(), new Set<number>()];
  for (const node of inner) {
    for (const read of graph.nodes[node].inputs) {
      if (read.node < 0 || read.state !== undefined) return undefined;
      const { step, zeros } = graph.nodes[read.node];
      (zeros || steps.has(read.node) ? before : step ? taken : inner).add(read.node);
    }
    if (inner.size > MOST || taken.size > 1 || before.size > 1) return undefined;
  }
  const [[x], [h]] = [[...taken], [...before]];
  if (x === undefined || h === undefined) return undefined;
  const { of, at } = graph.nodes[x].step!;
  // Steps taken one by one all count, those of a layer do up to the length.
  if (graph.padded(of)) return undefined;
  const last = steps.get(h);
  if (at !== (last ? last.at + 1 : 0) || (last && last.of.node !== of.node)) return undefined;
  const units = last?.units ?? (graph.nodes[h].config.units as number);
  const inputs = graph.nodes[x].config.units as number;
  const order = [...inner].sort((a, b) => a - b);
  const local = (read: Read): Read => ({
    node: read.node === x ? -1 : read.node === h ? -2 : order.indexOf(read.node),
  });
  const layers = order.map((node): Emitted => ({ ...graph.nodes[node], inputs: graph.nodes[node].inputs.map(local) }));
  const cell = cells.read(layers, inputs, units, !last);
  if (typeof cell === "string" || (last && !sameCell(last.cell, cell))) return undefined;
  return { at, of, before: last && h, cell, units };
}

/** Cells by their layers: steps that have the same ones are read once. */
class Cells {
  private readonly known = new Map<string, Cell | string>();
  private readonly work = { left: MOST_WORK };
  private readonly numbers = new Map<Float32Array | string, number>();

  read(layers: readonly Emitted[], inputs: number, units: number, begins: boolean): Cell | string {
    const key = JSON.stringify([inputs, units, begins, layers.map((layer) => this.describe(layer))]);
    const cell = this.known.get(key) ?? readCell(layers, inputs, units, layers.length - 1, this.work, begins);
    this.known.set(key, cell);
    return cell;
  }

  private describe({ type, config, inputs, weights, pick }: Emitted): Json {
    const own = pick
      ? [...pick.columns]
      : Object.entries(weights).map(([name, { shape, data }]) => [name, ...shape, this.numberOf(data)]);
    return [type, config, inputs.map(({ node }) => node), own];
  }

  /** A number for numbers: short ones, which may have been computed, go by their values. */
  private numberOf(data: Float32Array): number {
    const key = data.length > 4096 ? data : data.join();
    const number = this.numbers.get(key) ?? this.numbers.size;
    this.numbers.set(key, number);
    return number;
  }
}

function sameCell(a: Cell, b: Cell): boolean {
  if (a === b) return true;
  const numbers = (cell: Cell) => [cell.kernel, cell.recurrentKernel, cell.bias].map((tensor) => tensor?.data ?? []);
  const rest = ({ resetAfter, activation, recurrentActivation }: Cell) =>
    JSON.stringify([resetAfter, activation, recurrentActivation]);
  const [p, q] = [numbers(a), numbers(b)];
  return (
    rest(a) === rest(b) && p.every((data, i) => data.length === q[i].length && data.every((w, k) => w === q[i][k]))
  );
}

/** Where all states, each through the same layers, are joined: the outputs of the GRU through those layers. */
function sequences(graph: Graph, gru: number, states: readonly number[], instead: Map<number, Read>): void {
  graph.nodes.forEach(({ type, config, inputs }, node) => {
    if (type !== "concatenate" || config.axis !== 1 || inputs.length !== states.length) return;
    const chains = inputs.map(({ node: once }, i) => {
      const {
        type: own,
        config: { n },
        inputs: [read],
      } = graph.nodes[once];
      return own === "repeat" && n === 1 ? chainTo(graph, read, states[i]) : undefined;
    });
    const first = chains[0];
    if (!first || first.length > inputs.length) return;
    const same = chains.every(
      (chain) =>
        chain?.length === first.length && chain.every((layer, k) => equal(graph.nodes[layer], graph.nodes[first[k]])),
    );
    if (!same) return;
    // The layers that made single steps of states are of no use any more: theirs are the places.
    let read: Read = { node: gru };
    first.forEach((layer, k) => {
      const place = inputs[k].node;
      graph.nodes[place] = { ...graph.nodes[layer], inputs: [read], padded: false };
      read = { node: place };
    });
    instead.set(node, read);
  });
}

/** The layers from a state to some data, the first first. */
function chainTo(graph: Graph, end: Read, state: number): number[] | undefined {
  const layers: number[] = [];
  for (let read = end; read.node !== state; [read] = graph.nodes[read.node].inputs) {
    const known =
      read.node >= 0 && ["dense", "affine", "activation", "dropout", "layerNorm"].includes(graph.nodes[read.node].type);
    if (!known || read.state !== undefined || layers.length > 16) return undefined;
    layers.push(read.node);
  }
  return layers.reverse();
}
