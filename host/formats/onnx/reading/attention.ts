import type { Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";
import { describe, type Graph, type Read } from "./graph.ts";
import { columnsOf, headsOf, matMul, NEEDED, scoresOf, steps } from "./scores.ts";
import { constantVector } from "./spread.ts";
import { unmasked } from "./steps.ts";
import {
  Axis,
  type Data,
  type MergedAxis,
  type Pairs,
  rowsOf,
  type Scores,
  single,
  sizeOf,
  type Weighted,
} from "./values.ts";

/** The layers that scores with their values are, and the operator Attention. */

/** The sum of weighted data over its steps. */
export function sumOf(graph: Graph, value: Weighted | Pairs, axis: number, keep: boolean): Data | Scores {
  const kept = keep ? [single(new Axis(1, "one"))] : [];
  if (value.kind === "pairs") {
    if (value.step !== "scored" || axis !== value.axes.length - 1)
      throw graph.unsupported(`a sum over axis ${axis} of ${describe(value)}`, NEEDED);
    return scoresOf(graph, value, value.scale!, [...value.axes.slice(0, -1), ...kept]);
  }
  const { scores, of } = value;
  const at = scores.axes.findIndex((own) => own.length === 1 && own[0] === scores.over);
  const others = scores.axes.filter((own, i) => i !== at && sizeOf(own) !== 1);
  if (at !== axis || others.length > 1) throw graph.unsupported(`a sum over axis ${axis}`, NEEDED);
  const made = emit(graph, scores, of, of.axes[axis]);
  const axes = of.axes.flatMap((own, i) => (i !== axis ? [own] : kept));
  return { ...made, axes: renamed(axes, of, made) };
}

/** The product of weights with values, summed over the keys. */
export function attend(graph: Graph, scores: Scores, value: Data, keys: number, steps: number): Data {
  const rank = scores.axes.length;
  const [own] = scores.axes[keys];
  if (rank !== value.axes.length || scores.axes[keys].length !== 1 || scores.over !== own)
    throw graph.unsupported(`multiplies ${describe(scores)} by ${describe(value)}`, NEEDED);
  const queries = scores.axes[2 * rank - 3 - keys];
  const columns = 2 * rank - 3 - steps;
  const rows = value.features.length === 0 ? graph.rows(value, columns).data : value;
  if (rows.axes[columns].length !== 1 || rows.axes[columns][0] !== columnsOf(rows))
    throw graph.unsupported(`multiplies ${describe(scores)} by ${describe(value)}`, NEEDED);
  if (!scores.left ? headsOf(rows) : !sameHeads(scores, rows))
    throw graph.unsupported("heads in another place", NEEDED);
  const made = emit(graph, scores, rows, rows.axes[steps]);
  return { ...made, axes: [...renamed(rows.axes.slice(0, -2), rows, made), queries, single(columnsOf(made))] };
}

/** Whether heads stand at the same place in scores and values. */
function sameHeads({ axes, left }: Scores, value: Data): boolean {
  const place = (all: readonly MergedAxis[], heads: Axis | undefined) =>
    all
      .slice(0, -2)
      .map((axis) => axis.map((own) => (own === heads ? "h" : "b")).join(""))
      .join();
  return (
    headsOf(left!)?.size === headsOf(value)?.size && place(axes, headsOf(left!)) === place(value.axes, headsOf(value))
  );
}

/** Axes of some data with the features of what was made of it. */
function renamed(axes: readonly MergedAxis[], of: Data, made: Data): MergedAxis[] {
  return axes.map((axis) => axis.map((own) => made.features[of.features.indexOf(own)] ?? own));
}

// ------------------------------------------------------------------ layers

/** The layer that scores and values are. @param axis of the values' steps */
function emit(graph: Graph, scores: Scores, value: Data, axis: MergedAxis): Data {
  const { left, right, over, leftAxis, causal } = scores;
  steps(graph, value, axis);
  const asked = over === scores.rightAxis;
  const key = asked ? right : left!;
  const query = asked ? left : right;
  const queryAxis = asked ? leftAxis : scores.rightAxis;
  const once = !query || queryAxis.role === "one";
  for (const data of [key, value, ...(once ? [] : [query!])]) checkSteps(graph, data, true);
  if (query && once) checkSteps(graph, query, false);
  const features = value.features.map(({ size }) => new Axis(size, "features"));
  const heads = query && headsOf(query);
  let node: number;
  if (heads?.size && typeof scores.scale === "number")
    node = multiHead(graph, scores.scale, causal, query!, key, value, once);
  else {
    if (value.features.length !== 1 || key.features.length !== 1)
      throw graph.unsupported(`attends to ${describe(value)}`, NEEDED);
    const [keys, values] = [unmasked(graph, key), unmasked(graph, value)];
    // Without a query all keys are multiplied by 1.
    const asks = query
      ? steps1(graph, graph.read(once ? query : unmasked(graph, query)), once)
      : steps1(graph, constantVector(graph, keys, Float32Array.of(1)), true);
    const D = key.features[0].size ?? 1;
    const { config, weights } = scored(scores.scale, D);
    node = graph.layer("attention", { ...config, causal }, [asks, graph.read(values), graph.read(keys)], weights);
  }
  if (once) node = graph.layer("pooling1d", { kind: "max", global: true }, [{ node }], {});
  return { kind: "data", node, axes: [], features };
}

/** Whether data are sequences, or single vectors. */
function checkSteps(graph: Graph, data: Data, sequence: boolean): void {
  if (rowsOf(data).length !== (sequence ? 2 : 1)) throw graph.unsupported(`attends to ${describe(data)}`, NEEDED);
}

/** A vector as a sequence of one step. */
function steps1(graph: Graph, read: Read, once: boolean): Read {
  return once ? { node: graph.layer("repeat", { n: 1 }, [read], {}) } : read;
}

/** How a layer of one head has its scores. */
function scored(
  scale: number | Float32Array,
  D: number,
): { config: Record<string, Json>; weights: Record<string, Tensor> } {
  if (typeof scale !== "number")
    return {
      config: { score: "additive", scale: "learned" },
      weights: { scale: { shape: [scale.length], data: scale } },
    };
  if (scale === 1) return { config: { score: "dot", scale: "none" }, weights: {} };
  if (isRoot(scale, D)) return { config: { score: "dot", scale: "sqrt" }, weights: {} };
  return {
    config: { score: "dot", scale: "learned" },
    weights: { scale: { shape: [1], data: Float32Array.of(scale) } },
  };
}

/** Whether a factor is 1 / √D, to float32 rounding of its steps. */
const isRoot = (scale: number, D: number) => Math.abs(scale * Math.sqrt(D) - 1) < 4e-7;

/** Several heads: multiHeadAttention, whose maps are those of the layers before it where they are nothing else. */
function multiHead(
  graph: Graph,
  scale: number,
  causal: boolean,
  query: Data,
  key: Data,
  value: Data,
  once: boolean,
): number {
  const [heads, D, Dv] = [headsOf(query)!.size!, columnsOf(query).size!, columnsOf(value).size!];
  const maps = [query, value, key].map((data) => linearMap(graph, data));
  const reads = maps.map(({ read }) =>
    graph.padded(read) ? { node: graph.layer("remask", { to: "none" }, [read], {}) } : read,
  );
  const factor = isRoot(scale, D) ? 1 : scale * Math.sqrt(D);
  const [q, v, k] = maps.map(({ kernel, bias }, i) => ({
    kernel: i === 0 && factor !== 1 ? { ...kernel, data: kernel.data.map((w) => w * factor) } : kernel,
    bias: {
      shape: [kernel.shape[1]],
      data: (bias ?? new Float32Array(kernel.shape[1])).map((b) => (i === 0 ? b * factor : b)),
    },
  }));
  const useBias = maps.some(({ bias }) => bias);
  const N = heads * Dv;
  graph.checkCount(N * N);
  const output = new Float32Array(N * N);
  for (let j = 0; j < N; j++) output[j * N + j] = 1;
  return graph.layer(
    "multiHeadAttention",
    { heads, keyUnits: D, valueUnits: Dv, units: N, useBias, causal },
    [steps1(graph, reads[0], once), reads[1], reads[2]],
    {
      queryKernel: q.kernel,
      keyKernel: k.kernel,
      valueKernel: v.kernel,
      outputKernel: { shape: [N, N], data: output },
      ...(useBias && {
        queryBias: q.bias,
        keyBias: k.bias,
        valueBias: v.bias,
        outputBias: { shape: [N], data: new Float32Array(N) },
      }),
    },
  );
}

/** The linear map that data are of something, with its columns chosen and scaled; else the identity. */
function linearMap(graph: Graph, data: Data): { read: Read; kernel: Tensor; bias?: Float32Array } {
  const N = graph.columns(data);
  graph.checkCount(N * N);
  const columns = Array.from({ length: N }, (_, j) => j);
  const factors = new Float32Array(N).fill(1);
  const shifts = new Float32Array(N);
  let shifted = false;
  for (let read = data.state ? { node: -1 } : { node: data.node }; read.node >= 0; ) {
    const { type, config, weights, inputs, pick } = graph.nodes[read.node];
    if (inputs[0].state !== undefined) break;
    if (type === "affine") {
      shifted = true;
      for (const [j, from] of columns.entries()) {
        shifts[j] += factors[j] * weights.shift.data[from];
        factors[j] *= weights.scale.data[from];
      }
    } else if (type !== "dense" || (config.activation ?? "linear") !== "linear") break;
    else if (pick) for (const [j, from] of columns.entries()) columns[j] = pick.columns[from];
    else {
      const bias = weights.bias?.data;
      if (bias) for (const [j, from] of columns.entries()) shifts[j] += factors[j] * bias[from];
      const [I, M] = weights.kernel.shape;
      const kernel = new Float32Array(I * N);
      for (let i = 0; i < I; i++)
        for (let j = 0; j < N; j++) kernel[i * N + j] = weights.kernel.data[i * M + columns[j]] * factors[j];
      const own = shifted || bias ? { bias: shifts } : {};
      return { read: inputs[0], kernel: { shape: [I, N], data: kernel }, ...own };
    }
    read = inputs[0];
  }
  const identity = new Float32Array(N * N);
  for (let j = 0; j < N; j++) identity[j * N + j] = 1;
  return { read: graph.read(data), kernel: { shape: [N, N], data: identity } };
}

// --------------------------------------------------- the operator Attention

/**
 * ONNX's own, of opset 23: queries, keys and values [batch, steps, heads ·
 * columns], or [batch, heads, steps, columns].
 */
export function attentionOperator(graph: Graph) {
  const given = [0, 1, 2].map((i) => graph.data(i));
  for (const [i, what] of [
    [3, "attn_mask"],
    [4, "past_key"],
    [5, "past_value"],
    [6, "nonpad_kv_seqlen"],
  ] as const)
    if (graph.optional(i)) throw graph.unsupported(`has ${what}`, "expected none; is_causal is known");
  for (const i of [1, 2, 3])
    if (graph.used(i)) throw graph.unsupported("gives its keys, values or scores", "no layer does");
  if (graph.float("softcap", 0) !== 0) throw graph.unsupported("a softcap", "expected none");
  const heads = ["q_num_heads", "kv_num_heads", "kv_num_heads"].map((name) => graph.int(name, 0));
  const parts = given.map((data, i): Data => {
    if (data.axes.length === 4 && data.node >= 0) return data;
    if (data.axes.length !== 3)
      throw graph.unsupported(`attends to ${describe(data)}`, "expected [batch, steps, features]");
    const { data: rows, size } = graph.rows(data, 2);
    if (!(heads[i] >= 1) || size % heads[i]) throw graph.damaged(`${heads[i]} heads of ${size} features`);
    if (heads[i] === 1) return rows;
    const features = [new Axis(heads[i], "features"), new Axis(size / heads[i], "features")];
    return { ...rows, features, axes: [rows.axes[0], [features[0]], rows.axes[1], [features[1]]] };
  });
  const [q, k, v] = parts;
  const turned = { ...k, axes: [...k.axes.slice(0, -2), k.axes[k.axes.length - 1], k.axes[k.axes.length - 2]] };
  const scores = matMul(graph, q, turned);
  if (scores.kind !== "scores") throw graph.unsupported(`attends to ${describe(q)}`, NEEDED);
  const D = columnsOf(q).size ?? 1;
  const scale = graph.node.attributes.get("scale")?.f ?? 1 / Math.sqrt(D);
  const causal = graph.int("is_causal", 0) === 1;
  const made = attend(
    graph,
    { ...scores, scale, causal, over: scores.rightAxis },
    v,
    scores.axes.length - 1,
    v.axes.length - 2,
  );
  if (given[0].axes.length === 4 || made.axes.length === 3) return graph.set(0, made);
  // Heads and columns side by side again.
  graph.set(0, { ...made, axes: [made.axes[0], made.axes[2], made.features] });
}
