import type { Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";
import { toOnnxGru } from "../../gates.ts";
import { gruActivations } from "./activations.ts";
import {
  type Config,
  type Context,
  checkInitial,
  type Native,
  stateIn,
  stateOut,
  type Value,
  type Wrapped,
} from "./context.ts";
import { backwards, lengthsOf } from "./masks.ts";

/** gru and bidirectional(gru) as ONNX's GRU, where that can say all that they do. */

export const gru: Native = (context, [x]) =>
  write(context, x, context.config, [{ config: context.config, weights: context.weights }]);

export const bidirectional: Native = (context, [x]) => {
  const { merge, layer, backwardLayer } = context.config as unknown as {
    merge: string;
    layer: Wrapped;
    backwardLayer: Wrapped | null;
  };
  const second = backwardLayer ?? layer;
  if (layer.type !== "gru" || second.type !== "gru" || merge !== "concat") return undefined;
  for (const option of ["units", "resetAfter", "useBias"])
    if (second.config[option] !== layer.config[option]) return undefined;
  const part = (prefix: string): Context["weights"] => {
    const own = Object.entries(context.weights).filter(([name]) => name.startsWith(prefix));
    return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
  };
  return write(context, x, layer.config, [
    { config: layer.config, weights: part("forward.") },
    { config: second.config, weights: part("backward.") },
  ]);
};

interface Direction {
  readonly config: Config;
  readonly weights: Context["weights"];
}

/** One GRU node, of one direction or two. */
function write(context: Context, given: Value, options: Config, directions: readonly Direction[]): Value | undefined {
  const { scope, owner, streaming, initial, wantsStates } = context;
  const { mask } = given;
  const [{ config }] = directions;
  const D = directions.length;
  const H = config.units as number;
  const goBackwards = config.goBackwards === true;
  const returnSequences = options.returnSequences === true;
  const activations = gruActivations(
    directions.flatMap((d): Json[] => [d.config.recurrentActivation, d.config.activation]),
  );
  if (!activations || directions.some((d) => d.config.layerNorm || d.config.zoneout)) return undefined;
  // Nobody but gruvy carries states from batch to batch, and it has to know.
  if (!streaming && directions.some((d) => d.config.stateful)) return undefined;
  // Lengths are all that it knows of masks, and the mask of outputs in reading order is that of none.
  if (mask && (streaming || !mask.right || mask.dialect === "holes" || (goBackwards && returnSequences)))
    return undefined;
  // An importer takes a state that is an input of the model for one that callers may give or not.
  if (context.layer.initialStates?.some(({ node }) => node < 0)) return undefined;
  checkInitial(context);

  // Time first, with a time axis of one where there is none.
  let x = given.name;
  if (streaming) x = scope.op("Unsqueeze", [x, scope.ints([0])]);
  else if (!given.timeFirst) x = scope.op("Transpose", [x], { perm: [1, 0, 2] });

  const parts = directions.map(({ weights: { kernel, recurrentKernel, bias } }) =>
    toOnnxGru({ kernel, recurrentKernel, bias }),
  );
  const biases = parts.flatMap(({ B }) => B ?? []);
  const inputs = [
    x,
    scope.weight(`${owner}.W`, stacked(parts.map(({ W }) => W))),
    scope.weight(`${owner}.R`, stacked(parts.map(({ R }) => R))),
    biases.length ? scope.weight(`${owner}.B`, stacked(biases)) : "",
    mask ? lengthsOf(scope, mask) : "",
  ];
  if (initial) {
    const states = initial.map(({ name }) => scope.op("Unsqueeze", [name, scope.ints([0])]));
    inputs.push(D === 1 ? states[0] : scope.op("Concat", states, { axis: 0 }));
  } else if (streaming) inputs.push(scope.op("Unsqueeze", [stateIn(context, H), scope.ints([0])]));
  while (inputs.at(-1) === "") inputs.pop();

  const [y, last] = [scope.fresh(`${context.layer.name}/Y`), scope.fresh(`${context.layer.name}/Y_h`)];
  const sequences = returnSequences && !streaming;
  scope.node("GRU", inputs, sequences ? (wantsStates ? [y, last] : [y]) : ["", last], {
    hidden_size: H,
    direction: D === 2 ? "bidirectional" : goBackwards ? "reverse" : "forward",
    linear_before_reset: config.resetAfter ? 1 : 0,
    ...activations,
  });
  const features = D * H;
  const vector = { sequence: false, timeFirst: false };
  if (streaming) {
    const name = scope.op("Squeeze", [last, scope.ints([0])]);
    stateOut(context, name, H);
    context.states.push({ ...vector, name, features: H });
    return { ...vector, name, features };
  }
  if (wantsStates)
    for (let d = 0; d < D; d++) {
      const part = [d, d + 1, 0].map((n) => scope.ints([n]));
      const own = D === 1 ? last : scope.op("Slice", [last, ...part]);
      context.states.push({ ...vector, name: scope.op("Squeeze", [own, scope.ints([0])]), features: H });
    }
  if (sequences) {
    // [time, directions, batch, units]
    const name =
      D === 1
        ? scope.op("Squeeze", [y, scope.ints([1])])
        : scope.op("Reshape", [scope.op("Transpose", [y], { perm: [0, 2, 1, 3] }), scope.ints([0, 0, features])]);
    // gruvy gives them in reading order.
    const ordered = goBackwards ? backwards(scope, name, 0) : name;
    return { name: ordered, sequence: true, timeFirst: true, features, mask };
  }
  // [directions, batch, units]
  const name =
    D === 1
      ? scope.op("Squeeze", [last, scope.ints([0])])
      : scope.op("Reshape", [scope.op("Transpose", [last], { perm: [1, 0, 2] }), scope.ints([0, features])]);
  return { ...vector, name, features };
}

/** Tensors of one shape, one above the other. */
function stacked(tensors: readonly Tensor[]): Tensor {
  const data = new Float32Array(tensors.reduce((sum, t) => sum + t.data.length, 0));
  let at = 0;
  for (const t of tensors) {
    data.set(t.data, at);
    at += t.data.length;
  }
  return { shape: [tensors.length, ...tensors[0].shape], data };
}
