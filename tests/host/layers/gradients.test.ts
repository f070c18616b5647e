import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  activation,
  affine,
  attention,
  bidirectional,
  binaryCrossentropy,
  categoricalCrossentropy,
  conv1d,
  dense,
  dropout,
  embedding,
  flatten,
  type GruOptions,
  gru,
  huber,
  type Layer,
  type LightGruOptions,
  type Loss,
  layerNorm,
  lightGru,
  type Model,
  masking,
  meanAbsoluteError,
  meanSquaredError,
  mgu,
  minGru,
  multiHeadAttention,
  padding1d,
  pooling1d,
  remask,
  reshape,
  reverse,
  sequential,
  smoothL1,
  sparseCategoricalCrossentropy,
  type Tensor,
  transpose,
} from "../../../host/index.ts";
import type { RecurrentOptions } from "../../../host/layers/recurrent.ts";

import { close, random } from "../../kit/core.ts";
import { randomLabels, randomTensor } from "../../kit/models.ts";
import { lossOf, type ModelSpec, runModel } from "../../reference/model.ts";

/**
 * `model.gradients` against central differences of the same model in double
 * precision: every parameter, the input and the initial states.
 */

interface Problem {
  layers: Layer[];
  /** Of one sample, without time where `steps` is absent. */
  features?: number;
  tokens?: number;
  batch: number;
  steps?: number;
  /** The model says how many steps. */
  fixed?: boolean;
  loss: Loss;
  lengths?: number[];
  mask?: number[][];
  weights?: "sample" | "step" | "element";
  initialState?: boolean;
  seed?: number;
}

/** Targets that suit the loss: labels, distributions, probabilities or anything. */
function targetsFor(loss: Loss, shape: number[], seed: number): Tensor<Float32Array | Int32Array> {
  const n = shape[shape.length - 1];
  if (loss.targets === "labels") {
    const labels = randomLabels(shape.slice(0, -1), n, seed);
    if (loss.ignoreIndex !== undefined) labels.data[0] = loss.ignoreIndex;
    return labels;
  }
  const y = randomTensor(shape, seed);
  if (loss.name === "categoricalCrossentropy")
    for (let r = 0; r < y.data.length; r += n) {
      const row = y.data.subarray(r, r + n).map((v) => Math.abs(v) + 0.01);
      const sum = row.reduce((a, b) => a + b, 0);
      y.data.set(
        row.map((v) => v / sum),
        r,
      );
    }
  else if (loss.name === "binaryCrossentropy") for (let i = 0; i < y.data.length; i++) y.data[i] = (y.data[i] + 1) / 2;
  return y;
}

async function check(what: string, problem: Problem): Promise<void> {
  const { layers, batch, steps, loss, lengths, mask, seed = 1 } = problem;
  const inputShape = problem.tokens !== undefined ? [] : [problem.features!];
  const model: Model = await sequential(layers, {
    inputShape: steps === undefined ? inputShape : [problem.fixed ? steps : null, ...inputShape],
    seed,
  });
  // Weights of order 1 everywhere, biases and gammas too, so that nothing hides behind a zero.
  const weights = Object.fromEntries(
    Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, 31 * seed + i, 0.8)]),
  );
  model.setWeights(weights);
  model.compile({ loss });
  const time = steps === undefined ? [] : [steps];
  const x =
    problem.tokens !== undefined
      ? randomLabels([batch, ...time], problem.tokens, seed + 1)
      : randomTensor([batch, ...time, problem.features!], seed + 1);
  // A step of zeros for masking to find.
  if (steps && problem.tokens === undefined) x.data.fill(0, problem.features!, 2 * problem.features!);
  const outputSteps = model.outputShape.length > 1 ? model.network.outputSteps([steps!]) : [];
  const outputShape = [batch, ...outputSteps, model.outputShape.at(-1)!];
  const n = outputShape.at(-1)!;
  const y = targetsFor(loss, outputShape, seed + 2);
  const next = random(seed + 3);
  const weightShape =
    problem.weights === "sample" ? [batch] : problem.weights === "step" ? outputShape.slice(0, -1) : outputShape;
  const sampleWeight = problem.weights && {
    shape: weightShape,
    data: Float32Array.from({ length: weightShape.reduce((a, b) => a * b, 1) }, () => 0.1 + next()),
  };
  const { states } = model.network;
  const initialState = problem.initialState
    ? states.map(({ units }, i) => randomTensor([batch, units], seed + 10 + i))
    : undefined;
  const got = await model.gradients(x, y, { lengths, mask, sampleWeight, initialState });

  const spec = model.architecture.config as ModelSpec;
  const rows = outputShape.slice(0, -1).reduce((a, b) => a * b, 1);
  const point = {
    parameters: Object.fromEntries(Object.entries(weights).map(([k, t]) => [k, Float64Array.from(t.data)])),
    x: Float64Array.from(x.data),
    states: states.map(({ units }, i) =>
      initialState ? Float64Array.from(initialState[i].data) : new Float64Array(batch * units),
    ),
  };
  const run = () =>
    runModel(spec, point.parameters, {
      x: point.x,
      batch,
      steps,
      lengths,
      mask: mask?.flat(),
      initialState: point.states,
    });
  const value = () => {
    const { outputs, valid } = run();
    const rowWeights =
      sampleWeight &&
      (problem.weights === "element"
        ? undefined
        : Array.from({ length: rows }, (_, r) => sampleWeight.data[Math.floor((r * sampleWeight.data.length) / rows)]));
    const elementWeights = problem.weights === "element" ? sampleWeight!.data : undefined;
    return lossOf(loss, outputs, n, valid, { y: y.data, rowWeights, elementWeights });
  };
  const differences = (values: Float64Array) => {
    // Layer normalisation of a state of zeros bends within √ε = 3e-3: the differences are good to (1e-6 / 3e-3)².
    const step = 1e-6;
    return values.map((v, i) => {
      const at = (shift: number) => {
        values[i] = v + shift;
        const l = value();
        values[i] = v;
        return l;
      };
      return (at(step) - at(-step)) / (2 * step);
    });
  };

  const expected = run();
  close(got.outputs.data, expected.outputs, 3e-6, `${what}: outputs`);
  close([got.loss], [value()], 3e-6, `${what}: loss`, 1e-6);
  assert.equal(got.state.length, states.length, `${what}: states`);
  for (const [i, state] of got.state.entries()) close(state.data, expected.states[i], 3e-6, `${what}: state ${i}`);
  // Of sums of a few dozen float32 products through a few layers; central differences are good to 1e-9.
  const tolerance = 2e-5;
  assert.equal(Object.keys(got.gradients), Object.keys(weights));
  for (const [name, { shape, data }] of Object.entries(got.gradients)) {
    assert.equal(shape, weights[name].shape);
    close(data, differences(point.parameters[name]), tolerance, `${what}: d ${name}`, 1e-7);
  }
  if (problem.tokens === undefined) {
    const expected = differences(point.x);
    // Masking has a jump where a step is all zeros; there its gradient is 0.
    if (layers[0].type === "masking") for (let i = 0; i < expected.length; i++) expected[i] *= point.x[i] === 0 ? 0 : 1;
    close(got.inputGradient!.data, expected, tolerance, `${what}: dx`, 1e-7);
  } else assert.is(got.inputGradient, undefined);
  for (const [i, gradient] of got.stateGradient.entries())
    close(gradient.data, differences(point.states[i]), tolerance, `${what}: d state ${i}`, 1e-7);
  model.dispose();
}

const MASK = [
  [1, 0, 1, 1],
  [0, 0, 0, 0],
  [0, 1, 1, 0],
];
const LENGTHS = [4, 0, 2];

const GRUS: Record<string, GruOptions> = {
  "reset after": {},
  "reset before": { resetAfter: false },
  "without bias": { useBias: false },
  "reset before, without bias": { resetAfter: false, useBias: false },
  backwards: { goBackwards: true },
  "backwards, reset before": { goBackwards: true, resetAfter: false },
  "relu and hardSigmoid": { activation: "relu", recurrentActivation: "hardSigmoid" },
  "gelu and silu, reset before": { activation: "gelu", recurrentActivation: "silu", resetAfter: false },
  "softsign and hardSigmoid02": { activation: "softsign", recurrentActivation: "hardSigmoid02" },
  "linear and sigmoid": { activation: "linear" },
  "zero outputs": { zeroOutputForMask: true },
  "layer normalisation": { layerNorm: true },
  "layer normalisation, backwards, without bias": { layerNorm: true, goBackwards: true, useBias: false },
  "layer normalisation, softsign and silu": { layerNorm: true, activation: "softsign", recurrentActivation: "silu" },
  zoneout: { zoneout: 0.3 },
  "zoneout, reset before, backwards": { zoneout: 0.2, resetAfter: false, goBackwards: true },
  "zoneout, layer normalisation, hardSigmoid": { zoneout: 0.5, layerNorm: true, recurrentActivation: "hardSigmoid" },
  // Nothing falls outside training.
  dropout: { dropout: 0.5, recurrentDropout: 0.5 },
};

/** The cells by name: how a layer of so many units is made. */
type Cell = (units: number, options: RecurrentOptions) => Layer;
const CELLS: Record<string, Cell> = Object.fromEntries(
  Object.entries(GRUS).map(([name, form]): [string, Cell] => [
    `gru: ${name}`,
    (units, options) => gru(units, { ...form, ...options }),
  ]),
);
for (const [name, make] of Object.entries({ minGru, lightGru, mgu }))
  for (const [how, form] of Object.entries<LightGruOptions>({
    "": {},
    // Not relu: a step of zeros would be at its kink.
    ", without bias": { useBias: false, activation: "tanh" },
    ", backwards": { goBackwards: true },
    // The one keeps its input for backward, the other does not.
    ", gelu": { activation: "gelu" },
    ", softsign": { activation: "softsign" },
    ", zero outputs": { zeroOutputForMask: true },
  }))
    CELLS[name + how] = (units, options) => make(units, { ...form, ...options });
CELLS["minGru, positive"] = (units, options) => minGru(units, { activation: "linearSigmoid", ...options });

for (const [name, cell] of Object.entries(CELLS))
  test(`gradients of ${name}`, async () => {
    const base = { features: 3, batch: 3, steps: 4, loss: meanSquaredError() };
    for (const [how, extra] of Object.entries({
      plain: {},
      lengths: { lengths: LENGTHS },
      holes: { mask: MASK },
      "initial state": { initialState: true, lengths: LENGTHS },
    })) {
      await check(`${name}, ${how}, last`, { ...base, ...extra, layers: [cell(5, {}), dense(2)] });
      await check(`${name}, ${how}, sequence`, {
        ...base,
        ...extra,
        layers: [cell(4, { returnSequences: true }), cell(3, { returnSequences: true })],
      });
    }
  });

for (const merge of ["concat", "sum", "mul", "average"] as const)
  test(`gradients of a bidirectional gru: ${merge}`, async () => {
    const base = { features: 3, batch: 3, steps: 4, loss: meanSquaredError() };
    const two = (units: number, options: GruOptions) => bidirectional(gru(units, options), { merge });
    for (const [how, extra] of Object.entries({
      "initial states, lengths": { initialState: true, lengths: LENGTHS },
      "initial states, holes": { initialState: true, mask: MASK },
    })) {
      await check(`${merge}, ${how}, last`, { ...base, ...extra, layers: [two(3, {}), dense(2)] });
      await check(`${merge}, ${how}, sequence`, {
        ...base,
        ...extra,
        layers: [two(3, { returnSequences: true }), two(2, { returnSequences: true, resetAfter: false })],
      });
    }
    const backwardLayer = gru(merge === "concat" ? 2 : 3, { goBackwards: true, resetAfter: false, useBias: false });
    await check(`${merge}, two kinds`, { ...base, layers: [bidirectional(gru(3), { merge, backwardLayer })] });
    for (const layer of [minGru(3), mgu(3), lightGru(3), gru(3, { layerNorm: true, zoneout: 0.2 })])
      await check(`${merge}, ${layer.type}`, { ...base, lengths: LENGTHS, layers: [bidirectional(layer, { merge })] });
  });

test("gradients of convolutions and pooling", async () => {
  const base = { features: 3, batch: 3, steps: 4, loss: meanSquaredError() };
  const last = [gru(2), dense(1)];
  for (const [how, extra] of Object.entries({ plain: {}, lengths: { lengths: LENGTHS }, holes: { mask: MASK } })) {
    const own = { ...base, ...extra };
    for (const padding of ["same", "causal"] as const)
      await check(`conv1d ${padding}, ${how}`, {
        ...own,
        layers: [
          conv1d(5, 3, { padding, activation: "tanh" }),
          conv1d(2, 2, { padding, dilation: 2, activation: "gelu" }),
        ],
      });
    for (const padding of ["same", "causal", "valid"] as const)
      await check(`conv1d ${padding} with strides, ${how}`, {
        ...own,
        layers: [dense(4), conv1d(3, 2, { padding, strides: 2, useBias: false }), dense(2)],
      });
    await check(`conv1d valid, ${how}`, {
      ...own,
      layers: [conv1d(3, 2, { activation: "relu" }), conv1d(2, 2)],
    });
    for (const kind of ["max", "mean"] as const) {
      await check(`${kind}, ${how}`, { ...own, layers: [dense(4), pooling1d({ kind }), ...last] });
      await check(`${kind}, overlapping, ${how}`, {
        ...own,
        layers: [dense(4), pooling1d({ kind, size: 3, strides: 1, padding: "same" }), dense(2)],
      });
      await check(`${kind}, global, ${how}`, {
        ...own,
        layers: [gru(4, { returnSequences: true }), pooling1d({ kind, global: true }), dense(2)],
      });
    }
  }
});

test("gradients of scaled features and of other shapes", async () => {
  const base = { features: 3, batch: 3, steps: 4, loss: meanSquaredError() };
  for (const extra of [{}, { lengths: LENGTHS }, { mask: MASK }])
    await check("affine", { ...base, ...extra, layers: [affine(), gru(9, { returnSequences: true }), affine()] });
  const fixed = { ...base, fixed: true };
  await check("flat", { ...fixed, layers: [gru(5, { returnSequences: true }), flatten(), dense(2)] });
  await check("steps in pairs", { ...base, layers: [reshape([-1, 6]), gru(2)] });
  await check("finer", { ...fixed, layers: [dense(6), reshape([8, 3]), gru(2, { returnSequences: true })] });
  await check("steps of one", { features: 12, batch: 2, loss: meanSquaredError(), layers: [reshape([-1, 3]), gru(2)] });
  for (const [before, after] of [[2, 0], [1, 3], [-1, 1], [0, -2]]) // biome-ignore format: short
    await check(`padded ${before}, ${after}`, { ...base, layers: [dense(3), padding1d({ before, after }), gru(2)] });
  await check("exchanged", { ...fixed, layers: [transpose(), dense(9), transpose(), gru(2)] });
});

test("gradients at odd sizes, one step, one sample", async () => {
  const loss = meanSquaredError();
  for (const [batch, steps, features, units] of [
    [1, 1, 1, 1],
    [1, 5, 7, 8],
    [5, 1, 8, 9],
    [2, 3, 9, 7],
    [9, 2, 3, 3],
  ])
    for (const resetAfter of [true, false])
      await check(`${batch} x ${steps} x ${features} x ${units}`, {
        layers: [gru(units, { returnSequences: true, resetAfter }), gru(2), dense(1)],
        features,
        batch,
        steps,
        loss,
      });
  for (const [batch, steps, features, units] of [
    [1, 1, 1, 1],
    [3, 7, 1, 9],
    [17, 3, 7, 3],
  ])
    for (const returnSequences of [true, false])
      await check(`bidirectional ${batch} x ${steps} x ${features} x ${units}`, {
        layers: [bidirectional(gru(units, { returnSequences })), dense(1)],
        features,
        batch,
        steps,
        loss,
      });
});

test("gradients of every other layer", async () => {
  const base = { features: 3, batch: 3, steps: 4, loss: meanSquaredError() };
  const sequence = gru(4, { returnSequences: true });
  const backwards = gru(3, { goBackwards: true, returnSequences: true });
  await check("reverse", { ...base, layers: [sequence, reverse(), gru(3)] });
  await check("remask", { ...base, layers: [backwards, remask("reversed"), gru(3), dense(2)] });
  await check("no mask", { ...base, layers: [sequence, remask("none"), dense(2)] });
  await check("reverse, sequence", { ...base, layers: [backwards, reverse(), dense(2)] });
  await check("masking", { ...base, layers: [masking(), sequence, gru(3)] });
  await check("masking, sequence", { ...base, layers: [masking(), sequence, gru(3, { returnSequences: true })] });
  await check("layerNorm", { ...base, layers: [layerNorm(), sequence, layerNorm({ epsilon: 1e-2 }), gru(3)] });
  await check("layerNorm without scale", { ...base, layers: [sequence, layerNorm({ scale: false }), gru(2)] });
  await check("layerNorm without center", { ...base, layers: [sequence, layerNorm({ center: false }), gru(2)] });
  await check("layerNorm alone", { ...base, layers: [layerNorm({ scale: false, center: false })] });
  await check("dropout is off", { ...base, layers: [dropout(0.5), sequence, dropout(0.5), gru(2), dropout(0.9)] });
  await check("dense over steps", { ...base, lengths: LENGTHS, layers: [dense(5, { activation: "tanh" }), sequence] });
  await check("dense, no time", { ...base, steps: undefined, layers: [dense(5, { activation: "gelu" }), dense(1)] });
  await check("dense without bias", { ...base, steps: undefined, layers: [dense(5, { useBias: false })] });
  for (const maskZero of [false, true]) {
    const tokens = { ...base, features: undefined, tokens: 3 };
    await check("embedding", { ...tokens, layers: [embedding(3, 5, { maskZero }), gru(4), dense(2)] });
    await check("embedding, sequence", { ...tokens, mask: MASK, layers: [embedding(3, 5, { maskZero }), sequence] });
  }
  await check("embedding, no time", {
    ...base,
    features: undefined,
    steps: undefined,
    tokens: 4,
    layers: [embedding(4, 3), dense(2)],
  });
});

test("gradients of self-attention", async () => {
  const base = { features: 6, batch: 3, steps: 4, loss: meanSquaredError() };
  const forms: [string, Layer][] = [
    ["dot", attention()],
    ["dot, unscaled", attention({ scale: "none" })],
    ["dot, learned scale", attention({ scale: "learned", causal: true })],
    ["dot, mapped", attention({ units: 3 })],
    ["additive", attention({ score: "additive", causal: true })],
    ["additive, without weights", attention({ score: "additive", scale: "none" })],
    ["additive, mapped", attention({ score: "additive", units: 5 })],
    ["one head", multiHeadAttention(1)],
    ["two heads", multiHeadAttention(2, { causal: true })],
    ["three heads, odd columns", multiHeadAttention(3, { keyUnits: 5, valueUnits: 3, units: 7 })],
    ["two heads, without bias, dropout is off", multiHeadAttention(2, { keyUnits: 8, useBias: false, dropout: 0.5 })],
  ];
  for (const [name, layer] of forms)
    for (const [how, extra] of Object.entries({ plain: {}, lengths: { lengths: LENGTHS }, holes: { mask: MASK } })) {
      await check(`${name}, ${how}`, { ...base, ...extra, layers: [layer, dense(2)] });
      await check(`${name}, ${how}, in the middle`, { ...base, ...extra, layers: [dense(6), layer, gru(3)] });
    }
});

test("gradients of every activation, in a dense layer and as a layer", async () => {
  const names = [
    "linear", "tanh", "sigmoid", "hardSigmoid", "hardSigmoid02", "relu", "leakyRelu", "elu", "selu", "gelu", "silu",
    "softplus", "softsign", "hardtanh", "logSigmoid", "linearSigmoid", "affine", "scaledTanh", "thresholdedRelu",
    "clippedSigmoid", "clippedTanh", "softmax", "logSoftmax",
  ] as const; // biome-ignore format: a list
  for (const name of names) {
    const base = { features: 3, batch: 4, loss: meanSquaredError() };
    await check(`dense ${name}`, { ...base, layers: [dense(5, { activation: name }), dense(2)] });
    await check(`${name} at the end`, { ...base, layers: [dense(5, { activation: name })] });
    await check(`layer ${name}`, { ...base, layers: [activation(name), dense(3), activation(name)] });
  }
  const leaky = { name: "leakyRelu", alpha: 0.3 } as const;
  await check("leakyRelu 0.3", {
    features: 3,
    batch: 4,
    loss: meanSquaredError(),
    layers: [dense(5, { activation: leaky })],
  });
});

test("gradients of every loss, with weights, options and lengths", async () => {
  const output = (activation: "linear" | "softmax" | "sigmoid" | "softplus") => (n: number) => dense(n, { activation });
  const softplus = output("softplus");
  const [linear, softmaxed, sigmoided] = [output("linear"), output("softmax"), output("sigmoid")];
  const cases: [string, (n: number) => Layer, (reduction: "mean" | "sum") => Loss, boolean][] = [
    ["mse", linear, (reduction) => meanSquaredError({ reduction }), true],
    ["mae", linear, (reduction) => meanAbsoluteError({ reduction }), true],
    ["huber", linear, (reduction) => huber({ reduction, delta: 0.4 }), true],
    ["smoothL1", linear, (reduction) => smoothL1({ reduction, beta: 0.3 }), true],
    ["bce fused", sigmoided, (reduction) => binaryCrossentropy({ reduction, posWeight: [2, 0.5, 1] }), true],
    ["bce logits", linear, (reduction) => binaryCrossentropy({ reduction, fromLogits: true, labelSmoothing: 0.2 }), true],
    ["bce probabilities", softmaxed, (reduction) => binaryCrossentropy({ reduction, posWeight: [1, 3, 1] }), true],
    ["cce fused", softmaxed, (reduction) => categoricalCrossentropy({ reduction, labelSmoothing: 0.1 }), false],
    ["cce logits", linear, (reduction) => categoricalCrossentropy({ reduction, fromLogits: true, classWeight: [1, 2, 0.3] }), false],
    ["cce probabilities", sigmoided, (reduction) => categoricalCrossentropy({ reduction }), false],
    ["scce fused", softmaxed, (reduction) => sparseCategoricalCrossentropy({ reduction, classWeight: [1, 2, 0.3], labelSmoothing: 0.1 }), false],
    ["scce logits", linear, (reduction) => sparseCategoricalCrossentropy({ reduction, fromLogits: true, ignoreIndex: -1 }), false],
    ["scce ignoring a class", softmaxed, (reduction) => sparseCategoricalCrossentropy({ reduction, ignoreIndex: 2 }), false],
    ["scce probabilities", softplus, (reduction) => sparseCategoricalCrossentropy({ reduction, ignoreIndex: -5 }), false],
  ]; // biome-ignore format: a table
  for (const [name, head, make, elements] of cases)
    for (const reduction of ["mean", "sum"] as const)
      for (const weights of [undefined, "sample", "step", ...(elements ? ["element" as const] : [])] as const) {
        const base = { features: 2, batch: 3, loss: make(reduction), weights, seed: 5 };
        const what = `${name}, ${reduction}, ${weights} weights`;
        await check(`${what}, lengths`, { ...base, steps: 4, lengths: LENGTHS, layers: [head(3)] });
        await check(`${what}, holes`, { ...base, steps: 4, mask: MASK, layers: [head(3)] });
        if (weights !== "step") await check(what, { ...base, layers: [head(3)] });
      }
});

test("a loss takes up the activation of the last layer only", async () => {
  const base = { features: 3, batch: 4 };
  const loss = categoricalCrossentropy();
  const softmax = dense(3, { activation: "softmax" });
  await check("softmax, then linear", { ...base, loss, layers: [softmax, activation("linear")] });
  await check("softmax, then softplus dense", {
    ...base,
    loss,
    layers: [softmax, dense(3, { activation: "softplus" })],
  });
  await check("sigmoid, then linear dense", {
    ...base,
    loss: binaryCrossentropy(),
    layers: [dense(2, { activation: "sigmoid" }), dense(2, { kernelInitializer: "ones" }), activation("softmax")],
  });
  await check("softmax, then dropout", { ...base, loss, layers: [softmax, dropout(0.5)] });
  await check("softmax as a layer", { ...base, loss, layers: [dense(3), activation("softmax")] });
  const twice = await sequential([dense(2, { activation: "sigmoid" }), dense(2)], { inputShape: [3], seed: 1 });
  twice.compile({ loss: binaryCrossentropy() });
  twice.setWeights({
    "dense.kernel": randomTensor([3, 2], 1),
    "dense.bias": randomTensor([2], 2),
    "dense_1.kernel": { shape: [2, 2], data: new Float32Array([0.5, 0.1, 0.2, 0.3]) },
    "dense_1.bias": { shape: [2], data: new Float32Array([0.05, 0.1]) },
  });
  const x = randomTensor([4, 3], 3);
  const y = { shape: [4, 2], data: new Float32Array([1, 0, 0, 1, 1, 1, 0, 0]) };
  const { loss: got, outputs } = await twice.gradients(x, y);
  const spec = { name: "binaryCrossentropy", config: { reduction: "mean" } };
  close(
    [got],
    [lossOf(spec, outputs.data, 2, [1, 1, 1, 1], { y: y.data })],
    1e-5,
    "loss of a linear layer over sigmoids",
  );
  twice.dispose();
});

test("gradients of given cotangents, of outputs and states", async () => {
  const model = await sequential([gru(4, { returnSequences: true }), gru(3), dense(2)], {
    inputShape: [null, 3],
    seed: 2,
  });
  const x = randomTensor([3, 5, 3], 1);
  const outputGradient = randomTensor([3, 2], 2);
  const stateGradient = [randomTensor([3, 4], 3), randomTensor([3, 3], 4)];
  const initialState = [randomTensor([3, 4], 5), randomTensor([3, 3], 6)];
  const got = await model.gradients(x, { outputGradient, stateGradient }, { initialState, lengths: [5, 0, 3] });
  const parameters = Object.fromEntries(
    Object.entries(model.weights()).map(([name, t]) => [name, Float64Array.from(t.data)]),
  );
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, v, i) => sum + v * b[i], 0);
  const value = () => {
    const input = { x: x.data, batch: 3, steps: 5, lengths: [5, 0, 3], initialState: initialState.map((s) => s.data) };
    const { outputs, states } = runModel(model.architecture.config as ModelSpec, parameters, input);
    return dot(outputs, outputGradient.data) + states.reduce((sum, s, i) => sum + dot(s, stateGradient[i].data), 0);
  };
  close([got.loss], [value()], 3e-6, "value");
  for (const [name, values] of Object.entries(parameters)) {
    const expected = values.map((v, i) => {
      values[i] = v + 1e-5;
      const up = value();
      values[i] = v - 1e-5;
      const down = value();
      values[i] = v;
      return (up - down) / 2e-5;
    });
    close(got.gradients[name].data, expected, 2e-5, `d ${name}`, 1e-7);
  }
  model.dispose();
});

test.run();
