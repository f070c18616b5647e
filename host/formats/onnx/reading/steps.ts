import type { Json } from "../../../layers/layer.ts";
import { besideGates } from "../../gates.ts";
import type { Emitted, Graph, Read } from "./graph.ts";
import { constantVector } from "./spread.ts";
import { Axis, type Data, type MergedAxis, single } from "./values.ts";

/**
 * Steps of a sequence, chosen and added. Single ones gruvy has no layer for: a
 * GRU that keeps nothing gives the last.
 */

/** Data with its axis of time changed, or gone. */
export const retimed = (data: Data, axis: number, own: MergedAxis | undefined): readonly MergedAxis[] =>
  data.axes.flatMap((a, i) => (i !== axis ? [a] : own ? [own] : []));

/** Data as the operators of ONNX see it, which know no lengths: every step counts. */
export function unmasked(graph: Graph, data: Data): Data {
  return graph.padded(data) ? graph.push("remask", { to: "none" }, data) : data;
}

/** Without the first and the last steps, and of the others every `stride`-th. */
export function shorten(graph: Graph, given: Data, axis: number, before: number, after: number, stride: number): Data {
  const [{ size: T }] = given.axes[axis];
  if (T !== null && T <= before + after) throw graph.damaged(`leaves nothing of ${T} steps`);
  const data = padded(graph, given, axis, -before, -after);
  if (stride === 1) return data;
  const config = { kind: "max", global: false, size: 1, strides: stride, padding: "valid" };
  const { node } = graph.push("pooling1d", config, unmasked(graph, graph.withFeatures(data)));
  const left = new Axis(T === null ? null : Math.floor((T - before - after - 1) / stride) + 1, "time");
  return { ...graph.withFeatures(data), node, axes: retimed(data, axis, single(left)), exclusive: undefined };
}

/** So many steps of zeros before and after, or below 0 as many steps less. */
function padded(graph: Graph, given: Data, axis: number, before: number, after: number): Data {
  if (before === 0 && after === 0) return given;
  const data = graph.withFeatures(given);
  const { node } = graph.push("padding1d", { before, after }, data);
  const [{ size: T }] = data.axes[axis];
  const own = new Axis(T === null ? null : T + before + after, "time");
  return { ...data, node, axes: retimed(data, axis, single(own)), exclusive: undefined };
}

/**
 * One step.
 *
 * @param at   from the beginning, or from -1 on from the end
 * @param drop the axis goes
 */
export function pickStep(graph: Graph, input: Data, axis: number, at: number, drop: boolean): Data {
  const given = graph.withFeatures(input);
  const own = drop ? undefined : single(new Axis(1, "one"));
  const state = at === -1 ? lastState(graph, given) : undefined;
  if (state) return { ...state, axes: retimed(state, axis, own) };
  const [before, after] = at < 0 ? [0, -1 - at] : [at, 0];
  const [{ size: T }] = given.axes[axis];
  const step = at < 0 && T !== null ? T + at : at;
  const data = unmasked(graph, shorten(graph, given, axis, before, after, 1));
  const F = graph.columns(data);
  graph.checkCount(3 * F * F);
  const identity = new Float32Array(F * F);
  for (let j = 0; j < F; j++) identity[j * F + j] = 1;
  const square = (values = new Float32Array(F * F)) => ({ shape: [F, F], data: values });
  const vector = (value = 0) => ({ shape: [F], data: new Float32Array(F).fill(value) });
  // z is 0 and n the input, so that h is the step read last.
  const config: Record<string, Json> = {
    units: F,
    returnSequences: false,
    resetAfter: false,
    activation: "linear",
    recurrentActivation: "hardSigmoid",
    useBias: true,
    goBackwards: at >= 0,
  };
  const node = graph.layer("gru", config, [graph.read(data)], {
    kernel: besideGates(square(), square(), square(identity)),
    recurrentKernel: besideGates(square(), square(), square()),
    bias: besideGates(vector(-6), vector(), vector()),
  });
  graph.nodes[node].step = { of: given, axis, at: step };
  return { ...data, node, axes: retimed(data, axis, own), exclusive: undefined };
}

/** Where data are outputs of a forward GRU, also through layers that work on every step: those of its last state. */
function lastState(graph: Graph, data: Data): Data | undefined {
  if (data.state || graph.padded(data)) return undefined;
  const passed: Emitted[] = [];
  for (let { node } = data; node >= 0; node = passed[passed.length - 1].inputs[0].node) {
    const emitted = graph.nodes[node];
    if (emitted.type === "gru" && emitted.reads && !emitted.config.goBackwards) {
      let read: Read = { node, state: "all" };
      // Others may read the layers between: these are made again.
      for (const layer of passed.reverse())
        read = {
          node:
            graph.nodes.push({ ...layer, config: { ...layer.config }, weights: { ...layer.weights }, inputs: [read] }) -
            1,
        };
      return { ...data, node: read.node, state: passed.length ? undefined : true, exclusive: undefined };
    }
    const { type, inputs } = emitted;
    if (
      !["dense", "affine", "activation", "dropout", "layerNorm"].includes(type) ||
      inputs[0].state !== undefined ||
      passed.length > 32
    )
      return undefined;
    passed.push(emitted);
  }
  return undefined;
}

/** A value before and after a sequence, at so many steps. */
export function padSteps(graph: Graph, given: Data, axis: number, before: number, after: number, value: number): Data {
  if (before === 0 && after === 0) return given;
  if (value === 0) {
    const made = padded(graph, given, axis, before, after);
    graph.nodes[made.node].padding = { of: graph.withFeatures(given), before, after, value };
    return made;
  }
  const data = unmasked(graph, graph.withFeatures(given));
  const F = graph.columns(data);
  const constant = constantVector(graph, data, new Float32Array(F).fill(value));
  const repeated = (n: number) => (n ? [{ node: graph.layer("repeat", { n }, [constant], {}) }] : []);
  const parts = [...repeated(before), graph.read(data), ...repeated(after)];
  const node = graph.layer("concatenate", { axis: 1 }, parts, {});
  graph.nodes[node].padding = { of: data, before, after, value };
  const [{ size: T }] = data.axes[axis];
  const own = new Axis(T === null ? null : T + before + after, "time");
  return { ...data, node, axes: retimed(data, axis, single(own)), exclusive: undefined };
}
