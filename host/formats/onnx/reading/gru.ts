import type { Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";
import { fromOnnxGru } from "../../gates.ts";
import { describe, type Emitted, type Graph, type Read } from "./graph.ts";
import { constantVector } from "./spread.ts";
import { unmasked } from "./steps.ts";
import { Axis, type Data, type Floats, single, type Value } from "./values.ts";

/**
 * ONNX's GRU as a gru or bidirectional layer.
 *
 * Source: onnx/docs/Operators.md, GRU, versions 7, 14, 22 (the same, but that
 * 14 brought `layout`).
 */

/** A function of ONNX by its name in small letters: gruvy's, with what it takes of alpha and beta, and their defaults. */
const ACTIVATIONS: Readonly<Record<string, { name: string; alpha?: number; beta?: number }>> = {
  relu: { name: "relu" },
  tanh: { name: "tanh" },
  sigmoid: { name: "sigmoid" },
  affine: { name: "affine", alpha: 1, beta: 0 },
  leakyrelu: { name: "leakyRelu", alpha: 0.01 },
  thresholdedrelu: { name: "thresholdedRelu", alpha: 1 },
  scaledtanh: { name: "scaledTanh", alpha: 1, beta: 1 },
  hardsigmoid: { name: "hardSigmoid", alpha: 0.2, beta: 0.5 },
  elu: { name: "elu", alpha: 1 },
  softsign: { name: "softsign" },
  softplus: { name: "softplus" },
};

export function gru(graph: Graph): void {
  const { attributes } = graph.node;
  const layout = graph.int("layout", 0);
  if (layout !== 0 && layout !== 1) throw graph.damaged(`layout ${layout}`);
  const direction = attributes.get("direction")?.s?.toLowerCase() ?? "forward";
  if (!["forward", "reverse", "bidirectional"].includes(direction)) throw graph.damaged(`direction "${direction}"`);
  const D = direction === "bidirectional" ? 2 : 1;

  const given = graph.data(0);
  const [W, R] = [graph.floats(1), graph.floats(2)];
  const [, threeH, I] = W.shape;
  const H = R.shape[2];
  const hidden = graph.int("hidden_size", H);
  if (W.shape.length !== 3 || R.shape.length !== 3 || !(H > 0) || hidden !== H)
    throw graph.damaged(`hidden_size ${hidden}, W [${W.shape}], R [${R.shape}]`);
  if (W.shape[0] !== D || R.shape[0] !== D || threeH !== 3 * H || R.shape[1] !== 3 * H)
    throw graph.damaged(
      `expected W [${D}, ${3 * H}, inputs] and R [${D}, ${3 * H}, ${H}], got [${W.shape}] and [${R.shape}]`,
    );
  const B = graph.optional(3) ? graph.floats(3) : undefined;
  if (B && (B.shape.length !== 2 || B.shape[0] !== D || B.shape[1] !== 6 * H))
    throw graph.damaged(`expected B [${D}, ${6 * H}], got [${B.shape}]`);

  if (given.axes.length !== 3) throw graph.damaged(`expected X of 3 axes, got ${describe(given)}`);
  const { data: rows } = graph.rows(given, 2, I);
  const padded = hasLengths(graph, layout ? rows.axes[1][0] : rows.axes[0][0]);
  if (padded && !graph.padded(rows))
    throw graph.unsupported(
      "has lengths after layers that know none",
      "give the layers before it none to mix steps with",
    );
  const data = padded ? rows : unmasked(graph, rows);
  const [time, batch] = layout ? [data.axes[1], data.axes[0]] : [data.axes[0], data.axes[1]];
  if (time.length !== 1 || batch.length !== 1)
    throw graph.unsupported(`X is ${describe(data)}`, "expected time and batch apart");
  // An axis of one step, put in before the node: the graph runs step by step.
  if (time[0].role === "one") graph.stepwise = true;
  graph.assign(time[0], "time");
  graph.assign(batch[0], "batch");

  const states = initialStates(graph, data, graph.optional(5), D, H);
  const resetAfter = graph.int("linear_before_reset", 0) !== 0;
  const activations = activationsOf(graph, D);
  const config = (d: number): Record<string, Json> => ({
    units: H,
    returnSequences: true,
    resetAfter,
    recurrentActivation: activations[2 * d],
    activation: activations[2 * d + 1],
    useBias: B !== undefined,
    goBackwards: direction === "reverse" || d === 1,
  });
  const weightsOf = (d: number): Record<string, Tensor> => {
    const part = ({ shape, data: all }: Floats): Tensor => {
      const n = all.length / D;
      return { shape: shape.slice(1), data: all.subarray(d * n, (d + 1) * n) };
    };
    return { ...fromOnnxGru({ W: part(W), R: part(R), ...(B && { B: part(B) }) }, resetAfter) };
  };
  const weights = (d: number) => graph.once(`gru ${d} ${resetAfter}`, [1, 2, 3], () => weightsOf(d));
  const prefixed = (prefix: string, own: Record<string, Tensor>) =>
    Object.fromEntries(Object.entries(own).map(([name, tensor]) => [`${prefix}.${name}`, tensor]));

  const emitted: Emitted = {
    type: D === 1 ? "gru" : "bidirectional",
    config:
      D === 1
        ? config(0)
        : {
            merge: "concat",
            layer: { type: "gru", config: config(0) },
            backwardLayer: { type: "gru", config: config(1) },
          },
    inputs: [graph.read(data)],
    weights: D === 1 ? { ...weights(0) } : { ...prefixed("forward", weights(0)), ...prefixed("backward", weights(1)) },
    name: graph.node.name || graph.node.outputs[0] || graph.node.outputs[1],
    initialStates: states,
    reads: { outputs: false, state: false },
    padded,
  };
  const node = graph.nodes.push(emitted) - 1;
  // Outputs in the order of time, where a reversed layer gives them in that of its reading.
  const forwards =
    direction === "reverse" && graph.used(0)
      ? graph.nodes.push({
          type: "reverse",
          config: {},
          inputs: [{ node }],
          weights: {},
          name: `${emitted.name}_reverse`,
        }) - 1
      : node;

  // Directions before units, as gruvy joins them.
  const directions = new Axis(D, D === 1 ? "one" : "directions");
  const units = new Axis(H, "features");
  const features = D === 1 ? [units] : [directions, units];
  const made: Data = { kind: "data", node, axes: [], features };
  const d = single(directions);
  const u = single(units);
  graph.set(0, { ...made, node: forwards, axes: layout ? [batch, time, d, u] : [time, d, batch, u] });
  graph.set(1, { ...made, axes: layout ? [batch, d, u] : [d, batch, u], state: true });
}

/** Whether sequences have lengths: an input of the model, which callers pass as `lengths`. */
function hasLengths(graph: Graph, time: Axis): boolean {
  const value = graph.optional(4);
  if (!value) return false;
  if (value.kind === "mask") return true;
  if (value.kind === "data" && value.node < 0) {
    graph.use(-1 - value.node, "lengths");
    return true;
  }
  // Written out, but all of them whole.
  if (value.kind === "ints" && value.entries.every((n) => n === time || (time.size !== null && n === time.size)))
    return false;
  if (value.kind === "fill" && time.size !== null && value.value === time.size) return false;
  throw graph.unsupported(`sequence_lens is ${describe(value)}`, "expected an input of the model");
}

/**
 * Initial states that come from nodes of the graph. Zeros need nothing, and an
 * input of the model is what callers pass as `initialState`.
 */
export function initialStates(
  graph: Graph,
  x: Data,
  value: Value | undefined,
  D: number,
  H: number,
): Read[] | undefined {
  if (!value || isZero(value)) return undefined;
  const constant = constantStates(value, D, H);
  if (constant) return constant.map((state) => constantVector(graph, x, state));
  if (value.kind === "stack" && value.parts.length === D) {
    const parts = value.parts.map((part) => (part.kind === "data" ? initialStates(graph, x, part, 1, H) : undefined));
    if (parts.every((part) => part !== undefined)) return parts.flat();
  }
  if (value.kind === "data" && value.node < 0 && value.features.length === 0) {
    graph.use(-1 - value.node, "state");
    return undefined;
  }
  if (value.kind === "part") {
    graph.use(value.input, "state");
    return undefined;
  }
  const parts = value.kind === "stack" && value.axis === 0 ? value.parts : [value];
  if (parts.length === D && parts.every((part): part is Data => part.kind === "data"))
    return parts.map((part) => {
      const at = part.axes.findIndex((axis) => axis.some((a) => part.features.includes(a)));
      return graph.read(graph.rows(part, at, H).data);
    });
  throw graph.unsupported(
    `initial_h is ${describe(value)}`,
    "expected an input of the model, zeros, or the output of a layer",
  );
}

/** States that the file has, the same for every sample. */
function constantStates(value: Value, D: number, H: number): Float32Array[] | undefined {
  if (value.kind === "fill") return Array.from({ length: D }, () => new Float32Array(H).fill(value.value));
  if (value.kind !== "floats" || value.shape[value.shape.length - 1] !== H || value.data.length % (D * H))
    return undefined;
  const [n, { data }] = [value.data.length / (D * H), value];
  const same = data.every((v, i) => v === data[Math.floor(i / (n * H)) * n * H + (i % H)]);
  return same ? Array.from({ length: D }, (_, d) => data.slice(d * n * H, d * n * H + H)) : undefined;
}

function isZero(value: Value): boolean {
  if (value.kind === "fill") return value.value === 0;
  return value.kind === "floats" && value.data.every((v) => v === 0);
}

/** Gate and candidate of each direction. */
function activationsOf(graph: Graph, D: number): Json[] {
  const { attributes } = graph.node;
  const names = attributes.get("activations")?.strings;
  const list = names?.length ? names : Array.from({ length: D }, () => ["Sigmoid", "Tanh"]).flat();
  if (list.length !== 2 * D) throw graph.damaged(`expected ${2 * D} activations, got ${list.length}`);
  const alphas = [...(attributes.get("activation_alpha")?.floats ?? [])];
  const betas = [...(attributes.get("activation_beta")?.floats ?? [])];
  const clip = attributes.get("clip")?.f;
  return list.map((given) => {
    const known = given.toLowerCase();
    if (!Object.hasOwn(ACTIVATIONS, known))
      throw graph.unsupported(`activation "${given}"`, `expected one of ${Object.keys(ACTIVATIONS).join(", ")}`);
    const { name, alpha, beta } = ACTIVATIONS[known];
    // Values go to those functions alone that take them, one after the other.
    const a = alpha === undefined ? undefined : (alphas.shift() ?? alpha);
    const b = beta === undefined ? undefined : (betas.shift() ?? beta);
    if (clip) return clipped(graph, name, clip);
    if (a === undefined) return name;
    return b === undefined ? { name, alpha: a } : { name, alpha: a, beta: b };
  });
}

/** What goes into an activation is cut to [-clip, clip]. */
function clipped(graph: Graph, name: string, clip: number): Json {
  if (name === "sigmoid") return { name: "clippedSigmoid", alpha: clip };
  if (name === "tanh") return { name: "clippedTanh", alpha: clip };
  if (name === "relu") return { name: "hardtanh", alpha: 0, beta: clip };
  throw graph.unsupported(`clip with the activation ${name}`, "clip works with Sigmoid, Tanh and Relu");
}
