import {
  type Activation,
  activation,
  add,
  affine,
  attention,
  average,
  bidirectional,
  concatenate,
  conv1d,
  dense,
  embedding,
  flatten,
  type GraphNode,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  lightGru,
  type Model,
  masking,
  maximum,
  mgu,
  minGru,
  multiHeadAttention,
  multiply,
  padding1d,
  pooling1d,
  remask,
  repeat,
  reshape,
  reverse,
  sequential,
  subtract,
  type Tensor,
  timeDistributed,
  transpose,
} from "../../host/index.ts";
import { randomLabels, randomTensor } from "./models.ts";

/** Models with layers that ONNX has no operators for, and with masks. */

type Input = Tensor | Tensor<Int32Array>;
type AnyModel = Model<Tensor | Record<string, Tensor>>;

export interface OnnxModel {
  readonly name: string;
  readonly make: () => Promise<AnyModel>;
  /** Inputs of B rows and T steps by name; a single input is "x". */
  readonly inputs: (B: number, T: number) => Record<string, Input>;
  /** It can run step by step. */
  readonly streams?: boolean;
}

const noBias = { useBias: false } as const;
const last = { biasInitializer: "randomNormal" } as const;
const seq = { ...last, returnSequences: true } as const;
const FEATURES = 3;
const TOKENS = 5;

const series = (B: number, T: number, features = FEATURES, seed = 1) => randomTensor([B, T, features], seed);

/** Every third step is zeros, and the first of the second row. */
function holes(B: number, T: number): Tensor {
  const x = series(B, T);
  for (let i = 0; i < B * T; i++) if (i % 3 === 2 || i === T) x.data.fill(0, i * FEATURES, (i + 1) * FEATURES);
  return x;
}

interface Options {
  streams?: boolean;
  tokens?: boolean;
  /** As many as the model says, whatever they are asked to be. */
  steps?: number;
}

/** Of layers one after the other. */
function chain(name: string, layers: () => Layer[], { tokens, steps, ...options }: Options = {}): OnnxModel {
  return {
    name,
    make: () =>
      sequential(layers(), {
        inputShape: tokens ? [null] : [steps ?? null, FEATURES],
        seed: 7,
      }) as Promise<AnyModel>,
    inputs: (B, T) => ({ x: tokens ? randomLabels([B, T], TOKENS, 1) : holes(B, steps ?? T) }),
    ...options,
  };
}

const streams = { streams: true } as const;

// `predict` gives one of two things, as the outputs are one or several.
const made = (model: Promise<unknown>) => model as Promise<AnyModel>;

type CellOptions = { returnSequences?: boolean; goBackwards?: boolean; useBias?: boolean; returnState?: true };

/** Cells that a GRU node is not. */
const CELLS: Readonly<Record<string, (units: number, options: CellOptions) => Layer>> = {
  minGru: (units, options) => minGru(units, { ...last, ...options }),
  "minGru, linearSigmoid": (units, options) => minGru(units, { ...last, ...options, activation: "linearSigmoid" }),
  lightGru: (units, options) => lightGru(units, { ...last, ...options }),
  "mgu, gelu": (units, options) => mgu(units, { ...last, ...options, activation: "gelu" }),
  "gru, layerNorm": (units, options) => gru(units, { ...last, ...options, layerNorm: true }),
  "gru, zoneout": (units, options) => gru(units, { ...last, ...options, zoneout: 0.3 }),
  "gru, reset before, silu": (units, options) =>
    gru(units, { ...last, ...options, resetAfter: false, activation: "silu", recurrentActivation: "hardSigmoid" }),
  "gru, one activation clipped": (units, options) =>
    gru(units, { ...last, ...options, recurrentActivation: { name: "clippedSigmoid", alpha: 0.4 } }),
};

const ACTIVATIONS: readonly Activation[] = [
  "logSigmoid",
  "linearSigmoid",
  { name: "affine", alpha: 0.5, beta: -0.25 },
  { name: "scaledTanh", alpha: 1.5, beta: 0.5 },
  { name: "clippedSigmoid", alpha: 0.5 },
  { name: "clippedTanh", alpha: 0.5 },
];

const MERGES = ["concat", "sum", "mul", "average"] as const;

export const ONNX_MODELS: readonly OnnxModel[] = [
  ...Object.entries(CELLS).flatMap(([name, cell]) => [
    chain(`${name}, a stack`, () => [cell(7, { returnSequences: true }), cell(17, noBias), dense(2)], streams),
    chain(`${name}, backwards`, () => [
      cell(3, { returnSequences: true, goBackwards: true }),
      cell(1, { goBackwards: true }),
    ]),
    chain(`${name}, both directions`, () => [
      bidirectional(cell(3, { returnSequences: true })),
      bidirectional(cell(3, {})),
    ]),
  ]),
  ...MERGES.flatMap((merge) => [
    chain(`both directions, ${merge}`, () => [
      bidirectional(gru(3, seq), { merge }),
      bidirectional(gru(7, last), { merge }),
    ]),
  ]),
  chain("directions of which one has a bias", () => [
    bidirectional(gru(3, seq), { backwardLayer: gru(3, { ...seq, ...noBias, goBackwards: true }) }),
  ]),
  chain(
    "layerNorm without scale",
    () => [layerNorm({ scale: false }), gru(3, seq), layerNorm({ scale: false, center: false })],
    streams,
  ),
  chain("directions that differ", () => [
    bidirectional(gru(3, seq), { backwardLayer: minGru(5, { ...seq, goBackwards: true }) }),
    bidirectional(gru(3, last), { backwardLayer: gru(4, { ...last, resetAfter: false, goBackwards: true }) }),
  ]),
  ...ACTIVATIONS.flatMap((of) => [
    chain(`${JSON.stringify(of)}`, () => [gru(4, seq), dense(3, { activation: of }), gru(3, last)], streams),
    chain(`${JSON.stringify(of)} as a layer`, () => [gru(4, seq), activation(of), conv1d(3, 1, { activation: of })]),
  ]),

  // Attention.
  ...(["sqrt", "none", "learned"] as const).map((scale) =>
    chain(`dot attention, scale ${scale}`, () => [
      dense(5),
      attention({ scale, scaleInitializer: { name: "constant", value: 0.7 } }),
    ]),
  ),
  chain("dot attention, causal, units", () => [attention({ causal: true, units: 7 }), gru(3, last)]),
  chain("additive attention", () => [attention({ score: "additive" }), gru(3, last)]),
  chain("additive attention, causal, units, no scale", () => [
    attention({ score: "additive", scale: "none", units: 4, causal: true }),
  ]),
  chain("several heads", () => [multiHeadAttention(3, { ...last })]),
  chain("several heads, causal, sizes of their own", () => [
    multiHeadAttention(2, { ...last, keyUnits: 3, valueUnits: 5, units: 7, causal: true }),
    pooling1d({ kind: "mean", global: true }),
  ]),
  chain("one head without bias", () => [multiHeadAttention(1, { useBias: false }), gru(3, last)]),

  // Numbers that move, and zeros.
  chain("flat", () => [gru(4, seq), flatten(), dense(2)], { steps: 5 }),
  chain("time and features exchanged", () => [gru(4, seq), transpose(), dense(3), transpose(), gru(2, last)], {
    steps: 5,
  }),
  chain("steps taken apart", () => [reshape([-1, 1]), gru(2, seq)]),
  chain("padded and cut off", () => [
    padding1d({ before: 2, after: -1 }),
    gru(2, seq),
    padding1d({ before: -1, after: 1 }),
  ]),
  chain("masking, affine", () => [masking(), affine({ shiftInitializer: "randomNormal" }), gru(2, last)]),

  // Masks that the model makes.
  ...[seq, last].flatMap((options) => [
    chain("masking, gru", () => [masking(), gru(3, { ...seq }), gru(2, options)], streams),
    chain(
      "masking, gru, zeros where masked",
      () => [masking(), gru(3, { ...options, zeroOutputForMask: true })],
      streams,
    ),
    chain("masking, backwards", () => [masking(), gru(3, { ...options, goBackwards: true })]),
    chain("masking, both directions", () => [masking(), bidirectional(gru(3, options))]),
    chain("masking, both directions, outputs repeated", () => [
      masking(),
      bidirectional(minGru(3, options), { zeroOutputForMask: false, merge: "sum" }),
    ]),
    chain("masking, backwards, zeros where masked", () => [
      masking(),
      gru(3, { ...options, goBackwards: true, zeroOutputForMask: true }),
    ]),
  ]),
  chain("masking, remasked", () => [masking(), remask("none"), gru(3, last)], streams),
  chain("masking, mask turned round", () => [masking(), remask("reversed"), gru(3, last)]),
  chain("masking, turned round", () => [masking(), reverse(), lightGru(3, seq), dense(2)]),
  chain("masking, attention", () => [masking(), attention(), pooling1d({ kind: "mean", global: true })]),
  chain("masking, blind attention", () => [masking(), attention({ causal: true, blind: "mean" }), dense(2)]),
  chain("masking, several heads, blind", () => [
    masking(),
    multiHeadAttention(3, { ...last, blind: "mean" }),
    dense(2),
  ]),
  chain("masking, several heads, causal", () => [
    masking(),
    multiHeadAttention(3, { causal: true, ...last }),
    gru(2, last),
  ]),
  chain("tokens, maskZero", () => [embedding(TOKENS, 3, { maskZero: true }), gru(4, last)], {
    tokens: true,
    streams: true,
  }),
  chain("tokens, maskZero, attention", () => [embedding(TOKENS, 3, { maskZero: true }), attention(), mgu(4, last)], {
    tokens: true,
  }),
  ...(["max", "mean"] as const).flatMap((kind) => [
    chain(`masking, ${kind} of all`, () => [masking(), pooling1d({ kind, global: true })]),
    chain(`masking, ${kind} of two`, () => [masking(), pooling1d({ kind }), gru(3, last)]),
    chain(`masking, ${kind} of three, same`, () => [
      masking(),
      pooling1d({ kind, size: 3, strides: 2, padding: "same" }),
      gru(3, last),
    ]),
    chain(`masking, ${kind} of one`, () => [masking(), pooling1d({ kind, size: 1 }), gru(3, last)], streams),
  ]),
  ...(["valid", "same", "causal"] as const).flatMap((padding) =>
    [1, 2].flatMap((strides) => [
      chain(`masking, conv1d, ${padding}, strides ${strides}`, () => [
        masking(),
        conv1d(5, 3, { ...last, padding, strides, activation: "linearSigmoid" }),
        gru(3, last),
      ]),
      chain(`conv1d, ${padding}, strides ${strides}`, () => [
        conv1d(5, 2, { ...last, padding, strides }),
        gru(3, last),
      ]),
    ]),
  ),
  chain("conv1d, same, strides, dilation", () => [
    conv1d(5, 2, { ...last, padding: "same", strides: 2, dilation: 3 }),
    gru(3, last),
  ]),
  ...(["max", "mean"] as const).map((kind) =>
    chain(`${kind} of every third, same`, () => [
      pooling1d({ kind, size: 1, strides: 3, padding: "same" }),
      gru(3, last),
    ]),
  ),
  chain("turned round twice", () => [reverse(), reverse()]),
  chain("both directions of one unit", () => [bidirectional(gru(1, seq)), bidirectional(gru(1, last)), dense(2)]),
  chain("conv1d, same, dilation", () => [conv1d(5, 3, { padding: "same", dilation: 2, useBias: false }), gru(3, last)]),
  chain(
    "conv1d, causal, dilation, in a stream",
    () => [
      conv1d(5, 3, { ...last, padding: "causal", dilation: 2, activation: "relu" }),
      masking(),
      conv1d(2, 2, { padding: "causal", activation: "relu", useBias: false }),
      lightGru(3, last),
    ],
    streams,
  ),

  // What else has no operator of its own.
  chain("repeat", () => [gru(4, last), repeat(3), gru(2, seq)]),
  chain(
    "timeDistributed",
    () => [
      masking(),
      timeDistributed(dense(4, { activation: "logSigmoid" })),
      timeDistributed(activation("tanh")),
      gru(3, last),
    ],
    streams,
  ),
  chain("tokens, timeDistributed", () => [timeDistributed(embedding(TOKENS, 3, { maskZero: true })), gru(4, last)], {
    tokens: true,
    streams: true,
  }),

  // Graphs.
  {
    name: "attention of one sequence to another",
    make() {
      const [q, v] = [input([null, 3], { name: "q" }), input([null, 4], { name: "v" })];
      const own = attention({ units: 5 })([q, masked(v)]);
      const heads = multiHeadAttention(2, { keyUnits: 3, ...last })([own, v, minGru(6, seq)(v)]);
      return made(graph({ inputs: [q, v], outputs: heads, seed: 1 }));
    },
    inputs: (B, T) => ({ q: series(B, T), v: series(B, T + 2, 4) }),
  },
  {
    name: "a decoder that begins with the encoder's states",
    make() {
      const [a, b] = [input([null, 3], { name: "source" }), input([null, 2], { name: "target" })];
      const [encoded, f, r] = bidirectional(minGru(3, { ...seq, returnState: true }))(a);
      const both = concatenate()([f, r]);
      const [decoded, final] = gru(6, { ...seq, layerNorm: true, returnState: true })(b, { initialState: both });
      const again = bidirectional(lightGru(3, seq), { merge: "sum" })(decoded, { initialState: [r, f] });
      return made(
        graph({
          inputs: [a, b],
          outputs: { again, final, encoded: dense(2)(encoded), state: mgu(3)(decoded, { initialState: f }) },
          seed: 3,
        }),
      );
    },
    inputs: (B, T) => ({ source: series(B, T), target: series(B, 4, 2) }),
  },
  {
    name: "states that are inputs of the model",
    make() {
      const [x, a, b] = [input([null, 3], { name: "in" }), input([4], { name: "a" }), input([5], { name: "b" })];
      const y = minGru(5, seq)(gru(4, seq)(x, { initialState: a }), { initialState: b });
      return made(graph({ inputs: [x, a, b], outputs: y, seed: 3 }));
    },
    inputs: (B, T) => ({ in: series(B, T), a: randomTensor([B, 4], 2), b: randomTensor([B, 5], 3) }),
  },
  {
    name: "masks that meet",
    make() {
      const [x, y] = [input([null, 3], { name: "in" }), input([null, 3], { name: "other" })];
      const [m, n] = [masking()(x), masking()(y)];
      const parts = [add()([m, n]), subtract()([m, y]), multiply()([m, n, x]), maximum()([m, n]), average()([m, n, x])];
      const wide = gru(3, last)(concatenate()(parts));
      const long = gru(3, last)(concatenate({ axis: 1 })([m, y, n]));
      return made(graph({ inputs: [x, y], outputs: { wide, long }, seed: 3 }));
    },
    inputs: (B, T) => ({ in: holes(B, T), other: { ...holes(B, T), data: holes(B, T).data.slice().reverse() } }),
  },
  {
    name: "steps after steps, without masks",
    make() {
      const x = input([null, 3]);
      return made(graph({ inputs: x, outputs: concatenate({ axis: 1 })([x, gru(3, seq)(x)]), seed: 3 }));
    },
    inputs: (B, T) => ({ x: series(B, T) }),
  },
  {
    name: "the state alone, of layers of which others read the outputs too",
    make() {
      const x = input([null, 3]);
      const [y, state] = minGru(3, { ...seq, returnState: true })(x);
      const [, only] = lightGru(3, { ...seq, returnState: true })(y);
      return made(graph({ inputs: x, outputs: dense(2)(add()([only, state])), seed: 3 }));
    },
    inputs: (B, T) => ({ x: series(B, T) }),
  },
  {
    name: "a state that is read beside the outputs, in a stream",
    make() {
      const x = input([null, 3]);
      const [y, state] = gru(3, { ...seq, returnState: true })(masking()(x));
      const [z, other] = mgu(3, { ...seq, returnState: true })(y);
      return made(graph({ inputs: x, outputs: dense(2)(add()([gru(3)(z), state, other])), seed: 3 }));
    },
    inputs: (B, T) => ({ x: holes(B, T) }),
    streams: true,
  },
  {
    name: "states of single directions, handed on",
    make() {
      const x = input([null, 3]);
      const [y, f, r] = bidirectional(gru(3, { ...seq, returnState: true }))(x);
      const [again, , last] = bidirectional(gru(3, { ...seq, returnState: true }))(y, { initialState: [r, f] });
      return made(graph({ inputs: x, outputs: { again, both: dense(2)(concatenate()([last, f])) }, seed: 3 }));
    },
    inputs: (B, T) => ({ x: series(B, T) }),
  },
  {
    name: "one gru called twice, once for its state alone",
    make() {
      const x = input([null, 3]);
      const shared = gru(3, { ...seq, returnState: true });
      const [y] = shared(x);
      return made(graph({ inputs: x, outputs: dense(2)(shared(y)[1]), seed: 3 }));
    },
    inputs: (B, T) => ({ x: series(B, T) }),
  },
  {
    name: "one layer called twice",
    make() {
      const x = input([null, 3]);
      const shared = attention({ units: 4 });
      const again: (node: GraphNode) => GraphNode = (node) => shared(node);
      return made(graph({ inputs: x, outputs: mgu(3)(again(again(x))), seed: 3 }));
    },
    inputs: (B, T) => ({ x: series(B, T) }),
  },
];

const masked = (node: GraphNode) => masking()(node);

/** What `predict` takes, and the names that the file has for lengths. */
export function examples(one: OnnxModel, B: number, T: number, padded: boolean) {
  const inputs = one.inputs(B, T);
  const alone = "x" in inputs;
  const lengths: Record<string, Int32Array> = {};
  for (const [name, { shape, data }] of Object.entries(inputs)) {
    const steps = shape[1];
    // From whole to a single step.
    const own = Int32Array.from({ length: B }, (_, b) => steps - ((2 * b) % steps));
    if (padded && (shape.length === 3 || data instanceof Int32Array)) lengths[name] = own;
  }
  const each = Object.values(lengths);
  return {
    inputs,
    x: alone ? inputs.x : inputs,
    lengths: padded ? (each.length === 1 ? each[0] : lengths) : undefined,
    lengthsByInput: Object.fromEntries(
      Object.entries(lengths).map(([name, own]) => [alone ? "lengths" : `${name}_lengths`, own]),
    ),
  };
}

/** The steps of a model's only input, [batch, features] or tokens [batch]. */
export function frames(one: OnnxModel, B: number, T: number): (Float32Array | Int32Array)[] {
  const { shape, data } = one.inputs(B, T).x;
  const n = shape[2] ?? 1;
  return Array.from({ length: T }, (_, t) => {
    const rows = Array.from({ length: B }, (_, b) => data.subarray((b * T + t) * n, (b * T + t + 1) * n));
    const numbers = rows.flatMap((row) => [...row]);
    return data instanceof Int32Array ? Int32Array.from(numbers) : Float32Array.from(numbers);
  });
}
