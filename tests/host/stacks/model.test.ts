import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  activation,
  adagrad,
  adam,
  binaryCrossentropy,
  categoricalCrossentropy,
  dense,
  dropout,
  embedding,
  GruvyError,
  gru,
  huber,
  type Layer,
  type Model,
  masking,
  OptionError,
  rmsprop,
  StateError,
  sequential,
  sgd,
  tensor,
} from "../../../host/index.ts";
import { arena, randomLabels, randomTensor, refuses, sameTensor, snapshot } from "../../kit/models.ts";

/** The calls that take x and y. */
const trains = (model: Model): Record<string, (x: unknown, y: unknown) => Promise<unknown>> => ({
  fit: (x, y) => model.fit(x as never, y as never),
  evaluate: (x, y) => model.evaluate(x as never, y as never),
  gradients: (x, y) => model.gradients(x as never, y as never),
  trainOnBatch: (x, y) => model.trainOnBatch(x as never, y as never),
});

const [B, T, I] = [4, 3, 2];
const x = randomTensor([B, T, I], 1);
const labels = randomLabels([B], 3, 2);

async function made(loss = "sparseCategoricalCrossentropy"): Promise<Model> {
  const model = await sequential([gru(4), dense(3, { activation: "softmax" })], { inputShape: [null, I], seed: 1 });
  model.compile({ loss, optimizer: "adam" });
  await model.trainOnBatch(x, loss === "sparseCategoricalCrossentropy" ? labels : randomTensor([B, 3], 2));
  return model;
}

test("cotangents that do not fit are refused", async () => {
  const model = await made();
  const before = snapshot(model);
  const outputGradient = randomTensor([B, 3], 1);
  const bad: [object, RegExp][] = [
    [{ outputGradient: randomTensor([B, 2], 1) }, /expected outputGradient \[4, 3\], got \[4, 2\]/],
    [{ outputGradient: randomTensor([3, B], 1) }, /expected outputGradient \[4, 3\], got \[3, 4\]/],
    [{ outputGradient: null }, /got null/],
    [{ outputGradient, stateGradient: randomTensor([B, 5], 1) }, /expected \[4, 4\], got \[4, 5\]/],
    [{ outputGradient, stateGradients: [] }, /unknown option "stateGradients"; did you mean "stateGradient"/],
    [{ outputGradient: [[1, 2, Number.NaN], [1, 2, 3], [1, 2, 3], [1, 2, 3]] }, /outputGradient has NaN/],
  ]; // biome-ignore format: a table
  for (const [y, message] of bad)
    await refuses(() => model.gradients(x, y as never), GruvyError, message, JSON.stringify(y));
  await model.gradients(x, { outputGradient: outputGradient.data });
  assert.is(snapshot(model), before);
  model.dispose();
});

test("compile refuses what it cannot do, and the old compilation stays", async () => {
  const model = await made();
  const before = snapshot(model);
  const bad: [unknown, RegExp][] = [
    [undefined, /"loss" is missing/],
    [null, /options must be an object/],
    [{}, /"loss" is missing/],
    [{ loss: "mse" }, /unknown loss "mse"/],
    [{ loss: "meanSquareError" }, /did you mean "meanSquaredError"/],
    [{ loss: huber }, /"loss" is a function; call it/],
    [{ loss: null }, /"loss" must be a name or a loss, got null/],
    [{ loss: 5 }, /"loss" must be/],
    [{ loss: "constructor" }, /unknown loss/],
    [{ loss: "huber", optimizer: "adan" }, /unknown optimizer "adan"; did you mean "adam"/],
    [{ loss: "huber", optimizer: adam }, /"optimizer" is a function; call it/],
    [{ loss: "huber", optimizer: 5 }, /"optimizer" must be/],
    [{ loss: "huber", optimizer: { name: "adam", config: "x" } }, /options must be an object/],
    [{ loss: "huber", optimiser: "adam" }, /did you mean "optimizer"/],
    [{ loss: "huber", metrics: "accuracy" }, /"metrics" must be an array/],
    [{ loss: "huber", metrics: ["acuracy"] }, /unknown metric "acuracy"; did you mean "accuracy"/],
    [{ loss: "huber", metrics: [null] }, /expected a metric/],
    [{ loss: "huber", metrics: ["confusionMatrix"] }, /not one number/],
    [{ loss: binaryCrossentropy({ posWeight: [1, 2] }) }, /"posWeight" has 2 numbers, the output has 3/],
    [{ loss: categoricalCrossentropy({ classWeight: [1] }) }, /"classWeight" has 1 numbers, the output has 3/],
  ];
  for (const [options, message] of bad)
    await refuses(() => model.compile(options as never), OptionError, message, JSON.stringify(options));
  assert.is(snapshot(model), before);
  await model.trainOnBatch(x, labels);
  model.dispose();
});

test("allowNonFinite lets NaN and infinity through without harm", async () => {
  const model = await made("meanSquaredError");
  const before = snapshot(model);
  const bad = tensor([[[Number.NaN, 1]], [[Infinity, 1]], [[-Infinity, 2]], [[1, 1]]]);
  const y = await model.predict(bad, { allowNonFinite: true });
  assert.ok([...y.data.subarray(9)].every(Number.isFinite), "rows do not touch each other");
  assert.ok([...y.data.subarray(0, 3)].every(Number.isNaN), "NaN in, NaN out");
  const targets = randomTensor([B, 3], 1);
  await model.evaluate(bad, targets, { allowNonFinite: true });
  await model.gradients(bad, targets, { allowNonFinite: true });
  await refuses(() => model.trainOnBatch(bad, targets, { allowNonFinite: true }), StateError, /diverged at step 2/);
  await refuses(() => model.fit(bad, targets, { allowNonFinite: true }), StateError, /diverged at epoch 1, step 1/);
  assert.is(snapshot(model), before);
  sameTensor(await model.predict(x), await model.predict(x), "afterwards");
  // Behind the end of a sequence it does not even matter.
  const padded = tensor([[[1, 1], [Number.NaN, Infinity]]]); // biome-ignore format: steps
  const { gradients } = await model.gradients(padded, [[1, 2, 3]], { lengths: [1], allowNonFinite: true });
  assert.ok(Object.values(gradients).every(({ data }) => data.every(Number.isFinite)));
  model.dispose();
});

test("nothing works without a loss that needs one, and nothing after dispose", async () => {
  const model = await sequential([gru(3), dense(1)], { inputShape: [null, I] });
  const y = [[1], [1], [1], [1]];
  for (const [name, run] of Object.entries(trains(model)))
    await refuses(() => run(x, y), StateError, /needs a loss: call compile/, name);
  model.compile({ loss: "meanSquaredError" });
  model.dispose();
  model.dispose();
  const uses: Record<string, () => unknown> = {
    predict: () => model.predict(x),
    fit: () => model.fit(x, y),
    evaluate: () => model.evaluate(x, y),
    gradients: () => model.gradients(x, y),
    trainOnBatch: () => model.trainOnBatch(x, y),
    compile: () => model.compile({ loss: "huber" }),
    stream: () => model.stream(),
    weights: () => model.weights(),
    setWeights: () => model.setWeights({}),
    save: () => model.save("never"),
    toBytes: () => model.toBytes(),
    resetStates: () => model.resetStates(),
  };
  for (const [name, use] of Object.entries(uses)) await refuses(use, StateError, /disposed/, name);
  for (const promised of ["predict", "fit", "evaluate", "gradients", "trainOnBatch", "save"]) {
    const result = uses[promised]();
    assert.instance(result, Promise, `${promised} rejects rather than throws`);
    await (result as Promise<unknown>).catch(() => {});
  }
});

test("a model without parameters, of one step, of one sample", async () => {
  const none = await sequential([masking(), activation("tanh"), dropout(0.5)], { inputShape: [null, I] });
  none.compile({ loss: "meanSquaredError", optimizer: adam({ globalClipNorm: 1 }) });
  const { gradientNorm } = await none.trainOnBatch(x, x);
  assert.is(gradientNorm, 0);
  await none.fit(x, x, { epochs: 2 });
  sameTensor((await none.gradients(x, x)).outputs, await none.predict(x), "outputs");
  none.dispose();
  const one = await sequential([embedding(3, 2), dense(1)], { inputShape: [] });
  assert.equal((await one.predict(new Int32Array([2, 0]))).shape, [2, 1]);
  assert.equal((await one.predict([1])).shape, [1, 1]);
  one.dispose();
  const tiny = await sequential([gru(1)], { inputShape: [1, 1] });
  assert.equal((await tiny.predict([[[0.5]]])).shape, [1, 1]);
  assert.match(tiny.summary(), /gru \(gru\) +\[batch, 1\]/);
  assert.match(tiny.plan.describe(), /params/);
  tiny.dispose();
});

test("compiling again begins anew: other optimizers, other losses, the same weights", async () => {
  const model = await sequential([gru(4), dense(3, { activation: "softmax" })], { inputShape: [null, I], seed: 1 });
  const { taken } = arena;
  for (const optimizer of [sgd(), adam({ amsgrad: true }), sgd({ momentum: 0.9 }), rmsprop(), adagrad(), "adamW"]) {
    model.compile({ loss: "sparseCategoricalCrossentropy", optimizer });
    const before = model.weights();
    await model.trainOnBatch(x, labels);
    model.setWeights(before);
    model.compile({ loss: "meanSquaredError", optimizer });
    assert.is(model.training!.progress.step, 0);
    await model.trainOnBatch(x, randomTensor([B, 3], 1));
    model.setWeights(before);
  }
  const layers: Layer[] = [gru(4), dense(3, { activation: "softmax" })];
  const fresh = await sequential(layers, { inputShape: [null, I], seed: 1 });
  for (const m of [model, fresh]) m.compile({ loss: "sparseCategoricalCrossentropy", optimizer: "adam" });
  await model.trainOnBatch(x, labels);
  await fresh.trainOnBatch(x, labels);
  sameTensor(await model.predict(x), await fresh.predict(x), "trained alike");
  assert.ok(arena.taken > taken);
  model.dispose();
  fresh.dispose();
});

test.run();
