import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  adamW,
  type Callback,
  checkpoint,
  cosineDecay,
  csvLog,
  dense,
  dropout,
  earlyStopping,
  exponentialDecay,
  type FitOptions,
  gru,
  loadModel,
  type Model,
  type Optimizer,
  oneCycle,
  reduceOnPlateau,
  rmsprop,
  sequential,
  sgd,
  stepDecay,
  warmUp,
} from "../../../host/index.ts";
import { randomLabels, randomTensor, sameTensors } from "../../kit/models.ts";

/** A run that stopped and was loaded again is, byte for byte, the run that did not stop. */

const folder = mkdtempSync(join(tmpdir(), "gruvy-resume-"));
test.after(() => rmSync(folder, { recursive: true }));

const [N, T, I, C] = [22, 5, 3, 3];
const x = randomTensor([N, T, I], 1);
const y = randomLabels([N], C, 2);
const validationData = [randomTensor([9, T, I], 3), randomLabels([9], C, 4)] as const;
const lengths = Array.from({ length: N }, (_, i) => 1 + (i % T));

async function make(optimizer: Optimizer | string): Promise<Model> {
  const model = await sequential(
    [gru(6, { returnSequences: true }), dropout(0.3), gru(5), dropout(0.2), dense(C, { activation: "softmax" })],
    { inputShape: [null, I], seed: 7 },
  );
  model.compile({ loss: "sparseCategoricalCrossentropy", optimizer, metrics: ["accuracy"] });
  return model;
}

/** Straight through, and stopped after `at` epochs; both with callbacks of their own. */
async function compare(
  what: string,
  optimizer: () => Optimizer | string,
  options: FitOptions = {},
  callbacks: () => Callback[] = () => [],
  at = 3,
  epochs = 7,
) {
  const base: FitOptions = { batchSize: 5, lengths, validationData, ...options };
  const straight = await make(optimizer());
  const whole = await straight.fit(x, y, { ...base, epochs, callbacks: callbacks() });

  const path = join(folder, "{epoch}.safetensors");
  const first = await make(optimizer());
  const begun = await first.fit(x, y, { ...base, epochs: at, callbacks: [...callbacks(), checkpoint(path)] });
  const second = await loadModel(path.replace("{epoch}", String(at)));
  assert.is(second.epoch, at);
  const rest = await second.fit(x, y, { ...base, epochs, initialEpoch: second.epoch, callbacks: callbacks() });

  assert.equal([...begun.epoch, ...rest.epoch], whole.epoch, `${what}: epochs`);
  assert.is(rest.stopped, whole.stopped, `${what}: why it stopped`);
  for (const [name, numbers] of Object.entries(whole.history))
    assert.equal([...begun.history[name], ...(rest.history[name] ?? [])], numbers, `${what}: ${name}`);
  sameTensors(second.weights(), straight.weights(), what);
  assert.equal(second.toBytes({ training: true }), straight.toBytes({ training: true }), `${what}: bytes`);
  for (const model of [straight, first, second]) model.dispose();
  return whole;
}

test("with every optimizer", async () => {
  await compare("adam", () => "adam");
  await compare("adamW, amsgrad", () => adamW({ learningRate: 0.02, amsgrad: true, weightDecay: 0.1 }));
  await compare("adam, clipped", () => adam({ learningRate: 0.02, globalClipNorm: 0.1 }));
  await compare("sgd", () => sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true }));
  await compare("rmsprop", () => rmsprop({ centered: true, momentum: 0.5 }));
  await compare("adagrad", () => "adagrad");
});

test("with every schedule", async () => {
  const schedules = {
    stepDecay: stepDecay({ stepSize: 2, gamma: 0.5 }),
    exponentialDecay: exponentialDecay({ gamma: 0.97, unit: "step" }),
    cosineDecay: cosineDecay({ total: 30, minimum: 1e-4 }),
    oneCycle: oneCycle({ maxLearningRate: 0.02, totalSteps: 35 }),
    warmUp: warmUp({ steps: 12, after: cosineDecay({ total: 20 }) }),
  };
  for (const [name, learningRate] of Object.entries(schedules)) {
    const { history } = await compare(name, () => adam({ learningRate }));
    assert.ok(new Set(history.learningRate).size > 1, `${name}: the rate changes`);
  }
});

test("with a rate that listens to the validation loss", async () => {
  for (const at of [1, 3, 5])
    for (const warm of [false, true]) {
      const plateau = reduceOnPlateau({ factor: 0.5, patience: 1, cooldown: 1, threshold: 0.05, learningRate: 0.02 });
      const learningRate = warm ? warmUp({ steps: 6, after: plateau }) : plateau;
      const { history } = await compare(`stopped after ${at}`, () => adam({ learningRate }), {}, undefined, at, 9);
      assert.ok(history.learningRate.at(-1)! < 0.02, "the rate was reduced");
    }
});

test("with early stopping, its patience and its best weights", async () => {
  // It stops after the fifth epoch: resumed from there, it stays stopped.
  for (const at of [1, 3, 4, 5]) {
    const { stopped, epoch } = await compare(
      `stopped after ${at}`,
      () => adam({ learningRate: 0.02 }),
      {},
      () => [earlyStopping({ patience: 4 })],
      at,
      40,
    );
    assert.match(stopped!, /no improvement since epoch \d/);
    assert.is(epoch.length, 5);
  }
});

test("with shuffling of its own seed, without shuffling, and from batches", async () => {
  await compare("seed", () => "adam", { shuffle: 99 });
  await compare("none", () => "adam", { shuffle: false });
  await compare("split", () => "adam", { validationData: undefined, validationSplit: 0.3 });
  await compare("weights", () => "adam", { classWeight: { 0: 2, 2: 0.5 } });
});

test("in the same process, too", async () => {
  const [straight, twice] = [await make("adam"), await make("adam")];
  await straight.fit(x, y, { epochs: 5, batchSize: 4 });
  await twice.fit(x, y, { epochs: 2, batchSize: 4 });
  assert.is(twice.epoch, 2);
  await twice.fit(x, y, { epochs: 5, batchSize: 4, initialEpoch: twice.epoch });
  assert.equal(twice.toBytes({ training: true }), straight.toBytes({ training: true }));
  straight.dispose();
  twice.dispose();
});

test("step by step, in the middle of an epoch", async () => {
  const straight = await make("adam");
  for (let i = 0; i < 8; i++) await straight.trainOnBatch(x, y, { lengths });
  const first = await make("adam");
  for (let i = 0; i < 5; i++) await first.trainOnBatch(x, y, { lengths });
  const second = await loadModel(first.toBytes({ training: true }));
  for (let i = 0; i < 3; i++) await second.trainOnBatch(x, y, { lengths });
  assert.equal(second.toBytes({ training: true }), straight.toBytes({ training: true }));
  for (const model of [straight, first, second]) model.dispose();
});

test("callbacks go on from the checkpoint once, then from where they are", async () => {
  const options = { batchSize: 5, validationData };
  const stopping = () => earlyStopping({ monitor: "loss", patience: 100, restoreBestWeights: false });
  const path = join(folder, "once-{epoch}.safetensors");
  const first = await make("adam");
  await first.fit(x, y, { ...options, epochs: 2, callbacks: [stopping(), checkpoint(path)] });
  const second = await loadModel(path.replace("{epoch}", "2"));
  const callback = stopping();
  await second.fit(x, y, { ...options, epochs: 4, initialEpoch: 2, callbacks: [callback] });
  await second.fit(x, y, { ...options, epochs: 4, initialEpoch: 4, callbacks: [callback] });
  const straight = await make("adam");
  const reference = stopping();
  await straight.fit(x, y, { ...options, epochs: 4, callbacks: [reference] });
  assert.equal(callback.save!(), reference.save!());
  for (const model of [straight, first, second]) model.dispose();
});

test("a checkpoint that is loaded and saved is the same file", async () => {
  const path = join(folder, "again-{epoch}.safetensors");
  const first = await make("adam");
  await first.fit(x, y, { epochs: 2, validationData, callbacks: [earlyStopping(), checkpoint(path)] });
  const bytes = readFileSync(path.replace("{epoch}", "2"));
  const second = await loadModel(bytes);
  assert.equal(Buffer.from(second.toBytes({ training: true })), bytes);
  first.dispose();
  second.dispose();
});

test("two callbacks of the same name have a state each", async () => {
  const two = () => [
    earlyStopping({ monitor: "accuracy", patience: 30 }),
    earlyStopping({ monitor: "valLoss", patience: 3, restoreBestWeights: false }),
  ];
  await compare("two", () => adam({ learningRate: 0.02 }), {}, two, 4, 40);
});

test("the checkpoint of the best epoch only, and of every epoch", async () => {
  const best = join(folder, "best.safetensors");
  const every = join(folder, "every-{epoch}.safetensors");
  const model = await make(adam({ learningRate: 0.15 }));
  const { history } = await model.fit(x, y, {
    epochs: 8,
    batchSize: 5,
    validationData,
    callbacks: [checkpoint(best, { monitor: "valLoss" }), checkpoint(every)],
  });
  const { valLoss } = history;
  const bestEpoch = valLoss.indexOf(Math.min(...valLoss)) + 1;
  assert.ok(bestEpoch < 8, "later epochs were worse");
  const kept = await loadModel(best);
  assert.is(kept.epoch, bestEpoch);
  const same = await loadModel(every.replace("{epoch}", String(bestEpoch)));
  sameTensors(kept.weights(), same.weights(), "best");
  const { loss, accuracy } = await kept.evaluate(...validationData);
  assert.is(loss, valLoss[bestEpoch - 1]);
  assert.is(accuracy, history.valAccuracy[bestEpoch - 1]);
  for (const m of [model, kept, same]) m.dispose();
});

test("a resumed run goes on in the same CSV file", async () => {
  const [whole, parts] = [join(folder, "whole.csv"), join(folder, "parts.csv")];
  const options = { batchSize: 5, validationData };
  const straight = await make("adam");
  const { history } = await straight.fit(x, y, { ...options, epochs: 4, callbacks: [csvLog(whole)] });
  const first = await make("adam");
  await first.fit(x, y, { ...options, epochs: 2, callbacks: [csvLog(parts)] });
  const second = await loadModel(first.toBytes({ training: true }));
  await second.fit(x, y, { ...options, epochs: 4, initialEpoch: 2, callbacks: [csvLog(parts)] });
  const text = readFileSync(whole, "utf8");
  assert.is(readFileSync(parts, "utf8"), text);
  const [header, ...lines] = text.trimEnd().split("\n");
  assert.is(header, "epoch,loss,accuracy,learningRate,valLoss,valAccuracy");
  assert.is(lines.length, 4);
  lines.forEach((line, i) => {
    const expected = [
      i + 1,
      ...header
        .split(",")
        .slice(1)
        .map((name) => history[name][i]),
    ];
    assert.equal(line.split(",").map(Number), expected);
  });
  for (const model of [straight, first, second]) model.dispose();
});

test("callbacks that have served one training begin anew with the next", async () => {
  const csv = join(folder, "again.csv");
  const best = join(folder, "again.safetensors");
  const callbacksFor = () => [earlyStopping({ patience: 2 }), checkpoint(best, { monitor: "valLoss" }), csvLog(csv)];
  const callbacks = callbacksFor();
  const run = async (epochs: number, learningRate: number, given: Callback[]) => {
    const model = await make(adam({ learningRate }));
    const { history } = await model.fit(x, y, { epochs, batchSize: 5, validationData, callbacks: given });
    const { loss } = await model.evaluate(...validationData);
    assert.is(loss, Math.min(...history.valLoss), "the best weights of this training");
    const saved = await loadModel(best);
    sameTensors(saved.weights(), model.weights(), "checkpoint");
    const lines = readFileSync(csv, "utf8").trimEnd().split("\n");
    assert.is(lines.length, 1 + history.loss.length);
    assert.match(lines[0], /^epoch,loss/);
    model.dispose();
    saved.dispose();
    return history;
  };
  await run(6, 0.05, callbacks);
  // A worse training than the first: nothing of it would beat the old best.
  const again = await run(2, 1e-5, callbacks);
  const fresh = await run(2, 1e-5, callbacksFor());
  assert.equal(again, fresh);
});

test.run();
