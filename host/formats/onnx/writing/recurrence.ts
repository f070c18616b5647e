import { type OnnxValue, TYPE } from "../proto.ts";
import type { Body, Call, Weight } from "./call.ts";
import { CELLS, type Cell } from "./cells.ts";
import type { Config, Mask, Wrapped } from "./context.ts";
import { cleared, ofFeatures, reversed } from "./masks.ts";
import type { Scope } from "./scope.ts";

/**
 * Recurrent layers as loops over time (Scan). Masked steps keep the state;
 * what they give is zeros, or the last output again (host/layers/recurrent.ts).
 */

interface Direction extends Wrapped {
  readonly weights: Readonly<Record<string, Weight>>;
  readonly initial?: string;
  /** Outputs are to come in the order of time, rather than of reading. */
  readonly inTime: boolean;
}

interface Run {
  /** [batch, time, units] or [batch, units]. */
  readonly y: string;
  readonly final: string;
}

/** What a direction computes with. */
interface Start {
  readonly cell: Cell;
  /** What of the input goes into each step. */
  readonly projected: string;
  readonly initial: string;
  /** Which steps count, with an axis for features. */
  readonly counts?: string;
  /** Masked steps give zeros rather than the last output. */
  readonly zeroOutput: boolean;
}

function start(scope: Scope, { type, config, weights, initial }: Direction, x: string, mask?: Mask): Start {
  const cell = CELLS[type](scope, config, weights);
  return {
    cell,
    projected: cell.project(scope, x),
    initial: initial ?? zeros(scope, x, config.units as number),
    counts: mask && ofFeatures(scope, mask),
    zeroOutput: mask?.dialect === "lengths" || config.zeroOutputForMask === true,
  };
}

/** One step. Masked ones give the state, unless they give zeros. */
function step(scope: Scope, direction: Direction, x: string, mask?: Mask): Run {
  const { cell, projected, initial, counts, zeroOutput } = start(scope, direction, x, mask);
  const next = cell.step(scope, projected, initial);
  const final = counts ? scope.op("Where", [counts, next, initial]) : next;
  return { y: zeroOutput ? cleared(scope, next, mask) : final, final };
}

/** All steps. */
function overTime(scope: Scope, direction: Direction, x: string, mask?: Mask): Run {
  const { config, inTime } = direction;
  const { cell, projected, initial, counts, zeroOutput } = start(scope, direction, x, mask);
  const loop = scope.inner();
  const float = (name: string): OnnxValue => ({ name: loop.fresh(name), type: TYPE.float });
  const [h, x_t] = [float("h"), float("x_t")];
  const m_t = counts ? { name: loop.fresh("mask_t"), type: TYPE.bool } : undefined;
  const next = cell.step(loop, x_t.name, h.name);
  const result = (name: string): OnnxValue => ({ name: loop.op("Identity", [name]), type: TYPE.float });
  const hOut = result(m_t ? loop.op("Where", [m_t.name, next, h.name]) : next);
  // The last output, which masked steps give again, is not the state: before the first valid step it is zero.
  const last = mask && !zeroOutput ? float("y") : undefined;
  const y = m_t ? loop.op("Where", [m_t.name, next, last?.name ?? loop.float(0)]) : next;
  const lastOut = last && [result(y)];
  const sequences = config.returnSequences === true;
  const backward = config.goBackwards === true;
  const inputs = [h, ...(last ? [last] : []), x_t, ...(m_t ? [m_t] : [])];
  const outputs = [hOut, ...(lastOut ?? []), ...(sequences ? [result(y)] : [])];
  const scanned = counts ? [projected, counts] : [projected];
  const results = outputs.map((_, i) => scope.fresh(`Scan_output_${i}`));
  scope.node("Scan", [initial, ...(last ? [zeros(scope, x, config.units as number)] : []), ...scanned], results, {
    body: { graph: loop.toGraph(inputs, outputs) },
    num_scan_inputs: scanned.length,
    scan_input_axes: scanned.map(() => 1),
    scan_input_directions: scanned.map(() => (backward ? 1 : 0)),
    ...(sequences && { scan_output_axes: [1], scan_output_directions: [backward && inTime ? 1 : 0] }),
  });
  const [final] = results;
  if (sequences || last) return { y: results[results.length - 1], final };
  if (!mask || mask.dialect === "lengths") return { y: final, final };
  // Zeros where the step that was read last is masked.
  const [position, axis] = [scope.int(backward ? 0 : -1), { axis: 1 }];
  const counted = { ...mask, name: scope.op("Gather", [mask.name, position], axis) };
  return { y: cleared(scope, final, counted), final };
}

/** A state of zeros for every row of x. */
function zeros(scope: Scope, x: string, units: number): string {
  const batch = scope.op("Shape", [x], { start: 0, end: 1 });
  return scope.op("ConstantOfShape", [scope.op("Concat", [batch, scope.ints([units])], { axis: 0 })]);
}

/** gru, minGru, lightGru, mgu. */
export const recurrent =
  (type: string): Body =>
  ({ scope, config, inputs: [{ name: x, mask }], weights, initial, streaming }) => {
    const direction = { type, config, weights, initial: initial[0], inTime: false };
    const { y, final } = (streaming ? step : overTime)(scope, direction, x, mask);
    const after = config.goBackwards ? reversed(scope, mask) : mask;
    return { name: y, mask: config.returnSequences ? after : undefined, states: [final] };
  };

export const bidirectional: Body = ({ scope, config, inputs: [{ name: x, mask }], weights, initial }) => {
  const { merge, layer, backwardLayer, zeroOutputForMask } = config as Config & {
    layer: Wrapped;
    backwardLayer: Wrapped | null;
  };
  const zero = zeroOutputForMask ?? layer.config.returnSequences === true;
  const direct = ({ type, config: own }: Wrapped, prefix: string, i: number, goBackwards: boolean): Direction => ({
    type,
    config: { ...own, goBackwards, zeroOutputForMask: zero },
    weights: partOf(weights, prefix),
    initial: initial[i],
    inTime: true,
  });
  const f = overTime(scope, direct(layer, "forward", 0, false), x, mask);
  const b = overTime(scope, direct(backwardLayer ?? layer, "backward", 1, true), x, mask);
  const name = MERGES[merge as string](scope, f.y, b.y);
  return { name, mask: layer.config.returnSequences ? mask : undefined, states: [f.final, b.final] };
};

function partOf(weights: Call["weights"], prefix: string): Call["weights"] {
  const own = Object.entries(weights).filter(([name]) => name.startsWith(`${prefix}.`));
  return Object.fromEntries(own.map(([name, weight]) => [name.slice(prefix.length + 1), weight]));
}

/** What becomes of both directions. */
const MERGES: Readonly<Record<string, (scope: Scope, a: string, b: string) => string>> = {
  concat: (scope, a, b) => scope.op("Concat", [a, b], { axis: -1 }),
  sum: (scope, a, b) => scope.op("Add", [a, b]),
  mul: (scope, a, b) => scope.op("Mul", [a, b]),
  average: (scope, a, b) => scope.op("Mul", [scope.op("Add", [a, b]), scope.float(0.5)]),
};
