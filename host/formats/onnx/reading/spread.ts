import { describe, type Graph, type Read } from "./graph.ts";
import { retimed, unmasked } from "./steps.ts";
import { Axis, type Data, isOne, type Pairs, type Repeated, rowsOf, single } from "./values.ts";

/** The same for every sample or every step: constants, and vectors beside sequences. */

/** The same vector for every sample of a batch. @param like a sequence of that batch */
export function constantVector(graph: Graph, like: Data, values: Float32Array): Read {
  const F = graph.columns(like);
  const N = values.length;
  graph.checkCount(F * N);
  const some = graph.layer("pooling1d", { kind: "max", global: true }, [graph.read(like)], {});
  const weights = {
    kernel: { shape: [F, N], data: new Float32Array(F * N) },
    bias: { shape: [N], data: values },
  };
  return { node: graph.layer("dense", { units: N, useBias: true }, [{ node: some }], weights) };
}

/** The same sequence for every sample of a batch. @param values [steps, columns] */
export function constantSequence(graph: Graph, like: Data, steps: number, values: Float32Array): Read {
  const N = values.length / steps;
  const repeated = (value: number, n: number): Read => ({
    node: graph.layer("repeat", { n }, [constantVector(graph, like, Float32Array.of(value))], {}),
  });
  // A convolution answers 1, and then zeros, with its kernel, the last step of it first.
  const impulse =
    steps === 1
      ? repeated(1, 1)
      : { node: graph.layer("concatenate", { axis: 1 }, [repeated(1, 1), repeated(0, steps - 1)], {}) };
  const kernel = new Float32Array(values.length);
  for (let t = 0; t < steps; t++) kernel.set(values.subarray((steps - 1 - t) * N, (steps - t) * N), t * N);
  const config = { filters: N, kernelSize: steps, padding: "causal", useBias: false };
  return { node: graph.layer("conv1d", config, [impulse], { kernel: { shape: [steps, 1, N], data: kernel } }) };
}

/** A vector at every step of a sequence: an attention to the one step that there is. */
function spread(graph: Graph, vector: Data, like: Data, axis: number): Data {
  const zeros = (data: Read, F: number): Read => {
    const weights = { kernel: { shape: [F, 1], data: new Float32Array(F) } };
    return { node: graph.layer("dense", { units: 1, useBias: false }, [data], weights) };
  };
  const value = { node: graph.layer("repeat", { n: 1 }, [graph.read(vector)], {}) };
  const query = zeros(graph.read(unmasked(graph, like)), graph.columns(like));
  const inputs = [query, value, zeros(value, graph.columns(vector))];
  const node = graph.layer("attention", { score: "dot", scale: "none" }, inputs, {});
  return { ...vector, node, axes: retimed(vector, axis, like.axes[axis]), state: undefined, exclusive: undefined };
}

/** A vector with an axis of size 1 where other data have their steps, at each of those; else as it is. */
export function spreadLike(graph: Graph, data: Data, like: Data): Data {
  if (data.axes.length !== like.axes.length || rowsOf(data).length !== 1 || rowsOf(like).length !== 2) return data;
  const axis = data.axes.findIndex(
    (own, i) => isOne(own) && like.axes[i].length === 1 && rowsOf(like).includes(like.axes[i][0]),
  );
  if (axis < 0) return data;
  graph.assign(like.axes[axis][0], "time");
  return spread(graph, graph.withFeatures(data), graph.withFeatures(like), axis);
}

/** What was kept apart for an attention that did not come, as data. */
export function settled(graph: Graph, value: Pairs | Repeated): Data {
  if (value.kind === "pairs") {
    const left = spreadLike(graph, value.left, value.right);
    if (left === value.left || value.step === "scored")
      throw graph.unsupported(`reads ${describe(value)}`, "expected the scores of an attention");
    if (value.step === "beside") {
      const [a, b] = value.flipped ? [value.right, left] : [left, value.right];
      return graph.emit("concatenate", { axis: -1 }, [a, b], {}, graph.columns(a) + graph.columns(b));
    }
    const sum = graph.emit("add", {}, [left, value.right], {}, graph.columns(left));
    return value.step === "sum" ? sum : graph.push("activation", { activation: "tanh" }, sum);
  }
  const { of, axes } = value;
  const at = axes.findIndex((own, i) => own !== of.axes[i]);
  const [own] = axes[at];
  if (rowsOf(of).length !== 1) throw graph.unsupported(`repeats ${describe(of)}`, "expected a vector a sample");
  if (own.size !== null) {
    const n = own.size;
    const node = graph.layer("repeat", { n }, [graph.read(graph.withFeatures(of))], {});
    return { ...of, node, axes: retimed(of, at, single(new Axis(n, "time"))), state: undefined, exclusive: undefined };
  }
  const like = graph.sequence(own);
  const rows = like && graph.withFeatures(like);
  if (rows && rowsOf(rows).length === 2) {
    graph.assign(own, "time");
    const turned = { ...rows, axes: of.axes.map((axis, i) => (i === at ? axes[at] : axis)) };
    return spread(graph, graph.withFeatures(of), turned, at);
  }
  throw graph.unsupported(`repeats ${describe(of)}`, "expected as many steps as a sequence has");
}
