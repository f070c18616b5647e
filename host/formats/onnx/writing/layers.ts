import type { Json } from "../../../layers/layer.ts";
import { reverseAxes } from "../../gates.ts";
import type { AttributeValue } from "../proto.ts";
import { applyActivation, isPlain } from "./activations.ts";
import { BODIES, JOINS, type Join } from "./bodies.ts";
import { call } from "./call.ts";
import { type Context, inOrder, type Native, refused, type Value, type Wrapped } from "./context.ts";
import { bidirectional, gru } from "./gru.ts";
import { backwards, masksOf } from "./masks.ts";
import { attributesOf, isPaddedAlike, turned, windowsOf } from "./windows.ts";

/**
 * Layers as ONNX's own operators. A row gives undefined where those cannot
 * say all that the layer does: then it becomes a function (bodies.ts).
 */

/** Writes a layer into the graph. @throws FormatError in a streaming export, for a layer that wants whole sequences */
export function write(context: Context, inputs: readonly Value[]): Value {
  const { type, config, streaming } = context;
  const { unstreamable } = context.layer.built;
  if (streaming && unstreamable) throw refused(context, `in one step: ${unstreamable}`, "export whole sequences");
  const { layer, backwardLayer } = config as unknown as { layer?: Wrapped; backwardLayer?: Wrapped | null };
  for (const own of [type, layer?.type, backwardLayer?.type])
    if (own !== undefined && own !== WRAPPER && !Object.hasOwn(LAYERS, own) && !Object.hasOwn(BODIES, own))
      throw refused(context, `a layer of type "${own}"`, "it can hold those that gruvy has");
  if (type === WRAPPER) return write({ ...context, ...layer!, steps: false }, inputs);
  return LAYERS[type]?.(context, inputs) ?? call(context, inputs, BODIES[type]);
}

const WRAPPER = "timeDistributed";

/** A layer's activation, which is one of its own where ONNX has no operator that an importer would know it by. */
function activated(context: Context, x: Value, activation: Json): Value {
  if (isPlain(activation)) return { ...x, name: applyActivation(context.scope, x.name, activation) };
  return call({ ...context, type: "activation", config: { activation }, weights: {} }, [x], BODIES.activation);
}

/** Several inputs of one shape. With different masks they need a function. */
const merged =
  (join: Join): Native =>
  ({ scope }, inputs) => {
    const masks = masksOf(inputs);
    if (masks.length > 1) return undefined;
    const read = inputs.map((value) => inOrder(scope, value));
    const names = read.map(({ name }) => name);
    return { ...read[0], name: join(scope, names), mask: masks[0] };
  };

/** An operator with windows over time. */
function windowed(
  { scope, streaming }: Context,
  given: Value,
  type: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  weights: readonly string[] = [],
): Value | undefined {
  if (streaming || given.mask) return undefined;
  const x = inOrder(scope, given);
  return { ...x, name: scope.op(type, [turned(scope, x.name), ...weights], attributes) };
}

const LAYERS: Readonly<Record<string, Native>> = {
  gru,
  bidirectional,

  dense(context, [x]) {
    const { scope, owner, weights, config } = context;
    let name = scope.op("MatMul", [x.name, scope.weight(`${owner}.kernel`, weights.kernel)]);
    if (weights.bias) name = scope.op("Add", [name, scope.weight(`${owner}.bias`, weights.bias)]);
    return activated(context, { ...x, name, features: config.units as number }, config.activation);
  },

  activation(context, [x]) {
    const { activation } = context.config;
    // "linear" would be no node at all.
    return isPlain(activation) && activation !== "linear" ? activated(context, x, activation) : undefined;
  },

  embedding({ scope, owner, weights, config, steps }, [x]) {
    if (config.maskZero && steps) return undefined;
    const table = scope.weight(`${owner}.embeddings`, weights.embeddings);
    return { ...x, name: scope.op("Gather", [table, x.name]), features: config.units as number };
  },

  dropout: ({ scope, config }, [x]) => ({
    ...x,
    name: scope.op("Dropout", [x.name, scope.float(config.rate as number)]),
  }),

  layerNorm({ scope, owner, weights, config }, [x]) {
    // The operator's scale is not optional.
    if (!weights.gamma) return undefined;
    const inputs = [x.name, scope.weight(`${owner}.gamma`, weights.gamma)];
    if (weights.beta) inputs.push(scope.weight(`${owner}.beta`, weights.beta));
    const epsilon = { float: config.epsilon as number };
    return { ...x, name: scope.op("LayerNormalization", inputs, { axis: -1, epsilon }) };
  },

  affine({ scope, owner, weights }, [x]) {
    const scaled = scope.op("Mul", [x.name, scope.weight(`${owner}.scale`, weights.scale)]);
    return { ...x, name: scope.op("Add", [scaled, scope.weight(`${owner}.shift`, weights.shift)]) };
  },

  conv1d(context, [given]) {
    const { scope, owner, weights, config } = context;
    const windows = windowsOf(config);
    if (context.streaming || given.mask || !isPaddedAlike(windows)) return undefined;
    const inputs = [scope.weight(`${owner}.W`, reverseAxes(weights.kernel))];
    if (weights.bias) inputs.push(scope.weight(`${owner}.bias`, weights.bias));
    const y = windowed(context, given, "Conv", attributesOf(windows), inputs)!;
    const value = { ...y, name: turned(scope, y.name), features: config.filters as number };
    return activated(context, value, config.activation);
  },

  pooling1d(context, [given]) {
    const { scope, config } = context;
    const type = `${config.global ? "Global" : ""}${config.kind === "max" ? "Max" : "Average"}Pool`;
    const windows = windowsOf(config);
    if (!config.global && !isPaddedAlike(windows)) return undefined;
    const y = windowed(context, given, type, config.global ? {} : attributesOf(windows));
    if (!y) return undefined;
    if (config.global) return { ...y, name: scope.op("Squeeze", [y.name, scope.ints([2])]), sequence: false };
    return { ...y, name: turned(scope, y.name) };
  },

  ...Object.fromEntries(Object.entries(JOINS).map(([type, join]) => [type, merged(join)])),

  concatenate({ scope, config }, inputs) {
    const masks = masksOf(inputs);
    if (masks.length > 1 || (config.axis === 1 && inputs[0].sequence)) return undefined;
    const read = inputs.map((value) => inOrder(scope, value));
    const names = read.map(({ name }) => name);
    const features = read.reduce((sum, value) => sum + value.features, 0);
    return { ...read[0], name: scope.op("Concat", names, { axis: -1 }), features, mask: masks[0] };
  },

  reverse: ({ scope }, [x]) => (x.mask ? undefined : { ...x, name: backwards(scope, x.name, x.timeFirst ? 0 : 1) }),
};
