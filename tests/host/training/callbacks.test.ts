import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  type Callback,
  checkpoint,
  cosineDecay,
  csvLog,
  dense,
  dropout,
  earlyStopping,
  type FitOptions,
  gru,
  loadModel,
  type Model,
  OptionError,
  oneCycle,
  progress,
  reduceOnPlateau,
  type Schedule,
  sequential,
  sgd,
  stepDecay,
  warmUp,
} from "../../../host/index.ts";
import { randomTensor, refuses, sameTensors, samples, snapshot } from "../../kit/models.ts";

const test = suite("callbacks", { folder: "" });
test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "gruvy-"));
});
test.after((context) => rmSync(context.folder, { recursive: true }));

const [N, T, I] = [12, 4, 3];
const x = randomTensor([N, T, I], 1);
const y = randomTensor([N, 2], 2);

async function made(optimizer = adam({ learningRate: 0.05 })): Promise<Model> {
  const model = await sequential([gru(5, { returnSequences: true }), dropout(0.3), gru(4), dropout(0.3), dense(2)], {
    inputShape: [null, I],
    seed: 3,
  });
  model.compile({ loss: "meanSquaredError", optimizer, metrics: ["meanAbsoluteError"] });
  return model;
}

/** Logs that a test makes up, in place of those that validation would find. */
function scripted(values: number[], name = "score"): Callback {
  return {
    name: "scripted",
    onEpochEnd(epoch, logs) {
      logs[name] = values[epoch - 1];
    },
  };
}

test("earlyStopping stops after `patience` epochs without improvement, best weights back", async () => {
  for (const [mode, values, stop, best] of [
    ["min", [3, 2, 2.5, 1, 1, 4, 0], 6, 4],
    ["max", [1, 2, 2, 2, 9], 4, 2],
    ["max", [-3, -2, -5, -4, -1], 4, 2],
    ["min", [Number.NaN, 5, 4, Number.NaN, 6, 1], 5, 3],
  ] as const) {
    const model = await made();
    const weights: ReturnType<Model["weights"]>[] = [];
    const keep: Callback = { name: "keep", onEpochEnd: () => void weights.push(model.weights()) };
    const history = await model.fit(x, y, {
      epochs: values.length,
      callbacks: [scripted([...values]), keep, earlyStopping({ monitor: "score", mode, patience: 2 })],
    });
    assert.is(history.epoch.length, stop, `${mode} ${values}`);
    assert.match(history.stopped!, new RegExp(`since epoch ${best}$`));
    sameTensors(model.weights(), weights[best - 1], `epoch ${best}`);
    model.dispose();
  }
});

test("earlyStopping: minDelta, the best epoch without a stop, and none restored on request", async () => {
  const model = await made();
  const weights: ReturnType<Model["weights"]>[] = [];
  const keep: Callback = { name: "keep", onEpochEnd: () => void weights.push(model.weights()) };
  const run = (values: number[], options: Parameters<typeof earlyStopping>[0]) => {
    weights.length = 0;
    const callbacks = [scripted(values), keep, earlyStopping({ monitor: "score", ...options })];
    return model.fit(x, y, { epochs: values.length, callbacks });
  };
  assert.is((await run([5, 4.9, 4.8, 4.7], { minDelta: 0.15, patience: 1 })).epoch.length, 2);
  assert.is((await run([3, 1, 2], { patience: 9 })).stopped, undefined);
  sameTensors(model.weights(), weights[1], "the best of all epochs");
  await run([3, 1, 2], { patience: 9, restoreBestWeights: false });
  sameTensors(model.weights(), weights[2], "the last");
  // Stops at the first epoch that is no better.
  for (const patience of [0, 1]) assert.is((await run([3, 1, 2, 0], { patience })).epoch.length, 3);
  model.dispose();
});

test("earlyStopping begins anew with every fit, of this model or another", async () => {
  const stop = earlyStopping({ monitor: "score", patience: 1 });
  const first = await made();
  await first.fit(x, y, { epochs: 3, callbacks: [scripted([1, 2, 3]), stop] });
  const second = await sequential([dense(2)], { inputShape: [I], seed: 1 });
  second.compile({ loss: "meanSquaredError" });
  const flat = randomTensor([N, I], 1);
  const history = await second.fit(flat, y, { epochs: 3, callbacks: [scripted([7, 6, 5]), stop] });
  assert.is(history.epoch.length, 3);
  assert.is(history.stopped, undefined);
  for (const model of [first, second]) model.dispose();
});

test("monitors that nobody logs are named with those that are", async () => {
  const model = await made();
  for (const callback of [
    earlyStopping(),
    earlyStopping({ monitor: "valLos" }),
    checkpoint("unused", { monitor: "acc" }),
  ])
    await refuses(
      () => model.fit(x, y, { callbacks: [callback] }),
      OptionError,
      /no "(valLoss|valLos|acc)" in the epoch's logs; there are loss, meanAbsoluteError, learningRate/,
    );
  for (const options of [
    { patience: -1 },
    { patience: 1.5 },
    { minDelta: -1 },
    { mode: "up" },
    { monitor: 5 },
    { patiense: 1 },
    null,
    5,
  ])
    await refuses(() => earlyStopping(options as never), OptionError, /earlyStopping\(\)/, JSON.stringify(options));
  for (const path of ["", null, undefined, 5, {}]) {
    await refuses(() => checkpoint(path as never), OptionError, /checkpoint\(\): expected a path/);
    await refuses(() => csvLog(path as never), OptionError, /csvLog\(\): expected a path/);
  }
  await refuses(() => checkpoint("a", { mointor: "loss" } as never), OptionError, /did you mean "monitor"/);
  await refuses(() => progress({ write: 5 } as never), OptionError, /"write"/);
  await refuses(() => progress({ wrote: console.log } as never), OptionError, /did you mean "write"/);
  model.dispose();
});

test("schedules set the rate of every step, and the history says which", async () => {
  const base = 0.1;
  const cases: [Schedule, number[]][] = [
    [stepDecay({ stepSize: 2, gamma: 0.5, learningRate: base }), [0.1, 0.1, 0.05, 0.05]],
    [cosineDecay({ total: 8, learningRate: base }), [0.1, 0.1 * 0.8535533905932737, 0.05, 0.1 * 0.14644660940672627]],
    [warmUp({ steps: 4, learningRate: base }), [0.025, 0.075, 0.1, 0.1]],
    [oneCycle({ maxLearningRate: 1, totalSteps: 8, pctStart: 0.5 }), [0.04, 0.76, 0.8535539, 0.14645]],
  ];
  for (const [schedule, expected] of cases) {
    const model = await made(sgd({ learningRate: schedule }));
    const { history } = await model.fit(x, y, { epochs: 4, batchSize: 6 });
    history.learningRate.forEach((rate, i) => {
      assert.ok(Math.abs(rate - expected[i]) < 1e-6, `${schedule.name}, epoch ${i + 1}: ${rate}, not ${expected[i]}`);
    });
    model.dispose();
  }
});

test("a rate is applied at the step it is meant for", async () => {
  const scheduled = await sequential([dense(1)], { inputShape: [1], seed: 1 });
  scheduled.compile({
    loss: "meanSquaredError",
    optimizer: sgd({ learningRate: warmUp({ steps: 2, learningRate: 0.1 }) }),
  });
  const by = await sequential([dense(1)], { inputShape: [1], seed: 1 });
  for (const learningRate of [0.05, 0.1, 0.1]) {
    await scheduled.trainOnBatch([[1], [2]], [[3], [4]]);
    by.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate }) });
    await by.trainOnBatch([[1], [2]], [[3], [4]]);
    sameTensors(scheduled.weights(), by.weights(), `rate ${learningRate}`);
  }
  scheduled.dispose();
  by.dispose();
});

test("a resumed run is the uninterrupted one, to the bit", async ({ folder }) => {
  const optimizers = {
    adam: () =>
      adam({ learningRate: reduceOnPlateau({ factor: 0.5, patience: 0, learningRate: 0.3 }), globalClipNorm: 1 }),
    amsgrad: () => adam({ learningRate: cosineDecay({ total: 20 }), amsgrad: true, weightDecay: 0.01 }),
    momentum: () => sgd({ learningRate: warmUp({ steps: 5, after: reduceOnPlateau({ patience: 0 }) }), momentum: 0.9 }),
  };
  for (const [name, optimizer] of Object.entries(optimizers)) {
    const options = (path: string): FitOptions => ({
      epochs: 7,
      batchSize: 5,
      validationSplit: 0.25,
      callbacks: [
        earlyStopping({ monitor: "valLoss", patience: 3 }),
        checkpoint(join(folder, `${path}-{epoch}.safetensors`)),
        csvLog(join(folder, `${path}.csv`)),
      ],
    });
    const whole = await made(optimizer());
    const history = await whole.fit(x, y, options(`${name}-whole`));
    for (const cut of [1, 3]) {
      const first = await made(optimizer());
      await first.fit(x, y, { ...options(`${name}-cut`), epochs: cut });
      first.dispose();
      const resumed = await loadModel(join(folder, `${name}-cut-${cut}.safetensors`));
      assert.is(resumed.epoch, cut);
      const rest = await resumed.fit(x, y, { ...options(`${name}-cut`), initialEpoch: resumed.epoch });
      assert.equal(rest.epoch, history.epoch.slice(cut), name);
      for (const [key, values] of Object.entries(history.history))
        assert.equal(rest.history[key], values.slice(cut), `${name}: ${key}`);
      assert.is(rest.stopped, history.stopped);
      assert.is(snapshot(resumed), snapshot(whole), `${name}: weights, moments, progress, callbacks`);
      assert.is(
        readFileSync(join(folder, `${name}-cut.csv`), "utf8"),
        readFileSync(join(folder, `${name}-whole.csv`), "utf8"),
      );
      resumed.dispose();
    }
    whole.dispose();
  }
  assert.not.ok(
    readdirSync(folder).some((file) => file.endsWith(".tmp")),
    "temporary files are left",
  );
});

test("what a checkpoint remembers is used once: a fit after the resumed one has its own memory", async ({ folder }) => {
  const path = join(folder, "once.safetensors");
  const model = await made();
  const callbacks = () => [scripted([1, 9, 9, 9, 9, 9]), earlyStopping({ monitor: "score", patience: 5 })];
  await model.fit(x, y, { epochs: 1, callbacks: [...callbacks(), checkpoint(path)] });
  model.dispose();
  const resumed = await loadModel(path);
  await resumed.fit(x, y, { epochs: 2, initialEpoch: 1, callbacks: callbacks() });
  await resumed.fit(x, y, { epochs: 3, initialEpoch: 2, callbacks: callbacks() });
  const end = resumed.weights();
  const { epoch } = await resumed.fit(x, y, { epochs: 4, initialEpoch: 3, callbacks: callbacks() });
  assert.equal(epoch, [4]);
  assert.not.equal(resumed.weights(), end, "the weights of epoch 1 came back");
  resumed.dispose();
});

test("checkpoint keeps the best only, if asked", async ({ folder }) => {
  const model = await made();
  const path = join(folder, "best.safetensors");
  const weights: ReturnType<Model["weights"]>[] = [];
  const keep: Callback = { name: "keep", onEpochEnd: () => void weights.push(model.weights()) };
  await model.fit(x, y, {
    epochs: 4,
    callbacks: [checkpoint(path, { monitor: "score" }), scripted([3, 1, 2, 1.5]), keep],
  });
  const best = await loadModel(path);
  assert.is(best.epoch, 2);
  sameTensors(best.weights(), weights[1], "epoch 2");
  for (const m of [model, best]) m.dispose();
});

test("csvLog writes a line an epoch under its header, and a new file for a new run", async ({ folder }) => {
  const path = join(folder, "log.csv");
  const model = await made();
  const log = csvLog(path);
  for (let run = 0; run < 2; run++) {
    const { history } = await model.fit(x, y, {
      epochs: 3,
      validationData: [samples(x, 0, 4), samples(y, 0, 4)],
      callbacks: [log],
    });
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    assert.is(lines[0], "epoch,loss,meanAbsoluteError,learningRate,valLoss,valMeanAbsoluteError");
    assert.is(lines.length, 4);
    lines.slice(1).forEach((line, i) => {
      assert.equal(line.split(",").map(Number), [i + 1, ...Object.values(history).map((values) => values[i])]);
    });
  }
  model.dispose();
});

test("verbose and progress print a line an epoch", async () => {
  const model = await made();
  const lines: string[] = [];
  await model.fit(x, y, { epochs: 2, callbacks: [progress({ write: (line) => lines.push(line) })] });
  assert.is(lines.length, 2);
  assert.match(lines[1], /^epoch 2\/2 {2}loss \d.* {2}meanAbsoluteError \d.* {2}learningRate /);
  model.dispose();
});

test.run();
