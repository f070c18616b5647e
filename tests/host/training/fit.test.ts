import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  type BatchLike,
  type Callback,
  categoricalCrossentropy,
  cosineDecay,
  dense,
  earlyStopping,
  type FitOptions,
  gru,
  type Metric,
  type Model,
  meanSquaredError,
  type Optimizer,
  OptionError,
  oneHot,
  progress,
  reduceOnPlateau,
  ShapeError,
  StateError,
  sequential,
  sgd,
  stepDecay,
  type Tensor,
} from "../../../host/index.ts";
import { close } from "../../kit/core.ts";
import { randomLabels, randomTensor, refuses, sameTensors, samples } from "../../kit/models.ts";

const [N, T, I, C] = [23, 4, 3, 3];
const x = randomTensor([N, T, I], 1);
const y = randomLabels([N], C, 2);

async function make(
  optimizer: Optimizer | string = "adam",
  metrics: (string | Metric<unknown>)[] = ["accuracy"],
): Promise<Model> {
  const model = await sequential([gru(5), dense(C, { activation: "softmax" })], { inputShape: [null, I], seed: 7 });
  model.compile({ loss: "sparseCategoricalCrossentropy", optimizer, metrics });
  return model;
}

/** Batches of consecutive samples. */
function* batches(size: number, onEnd?: () => void): Generator<BatchLike> {
  try {
    for (let from = 0; from < N; from += size) {
      const to = Math.min(N, from + size);
      yield { x: samples(x, from, to), y: samples(y, from, to) };
    }
  } finally {
    onEnd?.();
  }
}

async function* later(size: number): AsyncGenerator<BatchLike> {
  for (const batch of batches(size)) {
    await new Promise((resolve) => setImmediate(resolve));
    yield batch;
  }
}

test("arrays, iterables, async iterables and functions of them train alike", async () => {
  const reference = await make();
  const expected = await reference.fit(x, y, { epochs: 3, batchSize: 5, shuffle: false });
  const sources = {
    "an array of batches": [...batches(5)],
    "a set": new Set(batches(5)),
    "a function": () => batches(5),
    "a function of an async iterable": () => later(5),
    "an async iterable": { [Symbol.asyncIterator]: () => later(5) },
  };
  for (const [what, source] of Object.entries(sources))
    for (const short of [true, false]) {
      const model = await make();
      const options = { epochs: 3 };
      const history = await (short ? model.fit(source, options) : model.fit(source, undefined, options));
      assert.equal(history, expected, what);
      assert.equal(model.toBytes({ training: true }), reference.toBytes({ training: true }), what);
      model.dispose();
    }
  // One epoch needs no fresh source.
  for (const source of [batches(5), later(5)]) {
    const model = await make();
    assert.equal((await model.fit(source)).history.loss, expected.history.loss.slice(0, 1));
    model.dispose();
  }
  const scores = await reference.evaluate(x, y, { batchSize: 5 });
  assert.equal(await reference.evaluate(batches(5)), scores);
  assert.equal(await reference.evaluate(() => later(5)), scores);
  reference.dispose();
});

test("batches of different sizes and lengths, with what comes beside them", async () => {
  const model = await make();
  const source: BatchLike[] = [2, 7, 1].map((B, i) => ({
    x: randomTensor([B, 3 + i, I], i),
    y: randomLabels([B], C, i),
    lengths: Array.from({ length: B }, (_, b) => 1 + (b % 3)),
    sampleWeight: Array.from({ length: B }, (_, b) => b / 2),
  }));
  await model.fit(source, { epochs: 2 });
  const steps = await make();
  for (let epoch = 0; epoch < 2; epoch++)
    for (const { x, y, lengths, sampleWeight } of source) await steps.trainOnBatch(x, y!, { lengths, sampleWeight });
  sameTensors(model.weights(), steps.weights(), "weights");
  model.dispose();
  steps.dispose();
});

test("a generator that is used up is an error that says what to do", async () => {
  const model = await make();
  for (const source of [batches(5), later(5)])
    await refuses(
      () => model.fit(source, { epochs: 2 }),
      ShapeError,
      /no batches in epoch 2; give a function that returns a fresh iterable each epoch/,
    );
  await refuses(() => model.fit([][Symbol.iterator](), { epochs: 2 }), ShapeError, /no batches in epoch 1$/);
  const used = batches(5);
  await refuses(
    () => model.fit(x, y, { epochs: 2, validationData: used }),
    ShapeError,
    /validationData: the source gave no batches/,
  );
  await model.fit(x, y);
  model.dispose();
});

test("a source that throws, throws; the model stays usable", async () => {
  const model = await make();
  const broken = new Error("the disk is gone");
  const failing = async function* () {
    yield* batches(9);
    throw broken;
  };
  const caught = await model.fit(failing).catch((error: unknown) => error);
  assert.is(caught, broken);
  await model.fit(x, y);
  model.dispose();
});

test("the last batch may be smaller, and every sample counts once", async () => {
  for (const batchSize of [5, 22, 23, 24]) {
    // Nothing moves, so that the epoch's loss is that of the data.
    const model = await make(sgd({ learningRate: 0 }));
    let count = 0;
    const callback: Callback = {
      name: "count",
      onBatchEnd(batch, { loss, gradientNorm }, context) {
        assert.is(batch, ++count);
        assert.is(context.batches, Math.ceil(N / batchSize));
        assert.ok(Number.isFinite(loss) && gradientNorm > 0);
      },
    };
    const { history } = await model.fit(x, y, { batchSize, callbacks: [callback] });
    assert.is(count, Math.ceil(N / batchSize));
    const { loss, accuracy } = await model.evaluate(x, y);
    close(history.loss, [loss], 1e-6, `batches of ${batchSize}: loss`);
    close(history.accuracy, [accuracy], 1e-12, `batches of ${batchSize}: accuracy`);
    model.dispose();
  }
});

test("shuffling draws an order each epoch, the same for the same seed", async () => {
  const order = async (options: FitOptions) => {
    const seen: number[][] = [];
    const keep: Metric<unknown> = {
      name: "order",
      options: {},
      create() {
        seen.push([]);
        return { update: ({ data }) => seen.at(-1)?.push(...data), result: () => 0, reset() {} };
      },
    };
    const model = await make("adam", [keep]);
    seen.length = 0;
    await model.fit(x, y, { epochs: 2, batchSize: 4, ...options });
    model.dispose();
    return seen;
  };
  const [a, b, other, none] = [
    await order({}),
    await order({}),
    await order({ shuffle: 5 }),
    await order({ shuffle: false }),
  ];
  assert.equal(a, b);
  assert.not.equal(a[0], a[1]);
  assert.not.equal(a, other);
  assert.equal(none, [[...y.data], [...y.data]]);
  assert.equal([...a[0]].sort(), [...y.data].sort());
});

test("validationSplit holds out the last samples, as validationData would give them", async () => {
  for (const classWeight of [undefined, { 0: 3, 1: 0.5 }]) {
    const sampleWeight = Array.from({ length: N }, (_, i) => 0.5 + (i % 3));
    const lengths = Array.from({ length: N }, (_, i) => 1 + (i % T));
    const options = { epochs: 3, batchSize: 6, classWeight };
    const split = await make();
    const a = await split.fit(x, y, { ...options, sampleWeight, lengths, validationSplit: 0.25 });
    const given = await make();
    const kept = N - Math.floor(N * 0.25);
    const b = await given.fit(samples(x, 0, kept), samples(y, 0, kept), {
      ...options,
      sampleWeight: sampleWeight.slice(0, kept),
      lengths: lengths.slice(0, kept),
      validationData: {
        x: samples(x, kept, N),
        y: samples(y, kept, N),
        sampleWeight: sampleWeight.slice(kept),
        lengths: lengths.slice(kept),
      },
    });
    assert.equal(a, b, classWeight ? "class weights are for training only" : "history");
    sameTensors(split.weights(), given.weights(), "weights");
    split.dispose();
    given.dispose();
  }
});

test("validation data may be arrays, a record, or a source of batches; it does not touch training", async () => {
  const held: [Tensor, Tensor<Int32Array>] = [randomTensor([7, T, I], 5), randomLabels([7], C, 6)];
  const plain = await make();
  const without = await plain.fit(x, y, { epochs: 3, batchSize: 6 });
  const { loss } = await plain.evaluate(...held);
  const forms = [held, { x: held[0], y: held[1] }, [{ x: held[0], y: held[1] }], () => [{ x: held[0], y: held[1] }]];
  for (const validationData of forms) {
    const model = await make();
    const { history } = await model.fit(x, y, { epochs: 3, batchSize: 6, validationData });
    assert.equal(history.loss, without.history.loss);
    assert.equal(Object.keys(history), ["loss", "accuracy", "learningRate", "valLoss", "valAccuracy"]);
    assert.is(history.valLoss[2], loss);
    sameTensors(model.weights(), plain.weights(), "weights");
    model.dispose();
  }
  plain.dispose();
});

test("classWeight is the sampleWeight of each sample's class", async () => {
  const classWeight = { 0: 2, 2: 0.25 };
  const perSample = Array.from(y.data, (label) => [2, 1, 0.25][label]);
  const options = { epochs: 3, batchSize: 6 };
  const own = Array.from({ length: N }, (_, i) => 1 + (i % 4) / 4);
  for (const weights of [undefined, own]) {
    const [a, b] = [await make(), await make()];
    const sampleWeight = perSample.map((w, i) => w * (weights?.[i] ?? 1));
    const ha = await a.fit(x, y, { ...options, classWeight, sampleWeight: weights });
    const hb = await b.fit(x, y, { ...options, sampleWeight });
    assert.equal(ha, hb);
    sameTensors(a.weights(), b.weights(), "labels");
    // The same from batches, and from one-hot targets.
    const [c, d] = [await make(), await make()];
    const source = [...batches(6)].map((batch, i) => ({ ...batch, sampleWeight: weights?.slice(6 * i, 6 * i + 6) }));
    await c.fit(source, { epochs: 3, classWeight });
    await d.fit(x, y, { ...options, shuffle: false, sampleWeight });
    sameTensors(c.weights(), d.weights(), "batches");
    const [e, f] = [await make(), await make()];
    for (const model of [e, f]) model.compile({ loss: categoricalCrossentropy() });
    await e.fit(x, oneHot(y, C), { ...options, classWeight, sampleWeight: weights });
    await f.fit(x, oneHot(y, C), { ...options, sampleWeight });
    sameTensors(e.weights(), f.weights(), "one-hot");
    for (const model of [a, b, c, d, e, f]) model.dispose();
  }
  // Two classes as one probability; steps of a sequence.
  const [p, q] = [0, 1].map(() => sequential([gru(4, { returnSequences: true }), dense(1, { activation: "sigmoid" })], { inputShape: [null, I], seed: 1 })); // biome-ignore format: twins
  const targets = randomLabels([N, T], 2, 9);
  const binary = { shape: [N, T, 1], data: Float32Array.from(targets.data) };
  for (const model of [await p, await q]) model.compile({ loss: "binaryCrossentropy" });
  await (await p).fit(x, binary, { ...options, classWeight: [1, 4] });
  const sampleWeight = { shape: [N, T], data: Float32Array.from(targets.data, (label) => [1, 4][label]) };
  await (await q).fit(x, binary, { ...options, sampleWeight });
  sameTensors((await p).weights(), (await q).weights(), "binary");
  (await p).dispose();
  (await q).dispose();
});

test("the rate of a schedule is the rate of the step", async () => {
  // Without momentum, a step with a schedule is a step with that number.
  const rates = { step: [0.5, 0.5, 0.25, 0.25, 0.125, 0.125], epoch: [0.5, 0.5, 0.5, 0.25, 0.25, 0.25] };
  for (const unit of ["step", "epoch"] as const) {
    const scheduled = await make(
      sgd({ learningRate: stepDecay({ stepSize: unit === "step" ? 2 : 1, gamma: 0.5, unit, learningRate: 0.5 }) }),
    );
    const fixed = await make();
    const { history } = await scheduled.fit(x, y, { epochs: 2, batchSize: 8, shuffle: false });
    assert.equal(history.learningRate, [rates[unit][0], rates[unit][3]]);
    for (let i = 0; i < 6; i++) {
      const { x, y } = [...batches(8)][i % 3];
      fixed.compile({ loss: "sparseCategoricalCrossentropy", optimizer: sgd({ learningRate: rates[unit][i] }) });
      await fixed.trainOnBatch(x, y!);
    }
    sameTensors(scheduled.weights(), fixed.weights(), `unit ${unit}`);
    scheduled.dispose();
    fixed.dispose();
  }
  const model = await make(adam({ learningRate: cosineDecay({ total: 4, learningRate: 0.1 }) }));
  const { history } = await model.fit(x, y, { epochs: 6, batchSize: N });
  close(
    history.learningRate,
    [0.1, 0.05 + 0.05 * Math.SQRT1_2, 0.05, 0.05 - 0.05 * Math.SQRT1_2, 0, 0],
    1e-12,
    "cosine",
  );
  const before = model.weights();
  await model.trainOnBatch(x, y);
  sameTensors(model.weights(), before, "at a rate of 0");
  model.dispose();
});

test("reduceOnPlateau listens to the validation loss, else to the loss", async () => {
  // Only a loss of less than a hundredth of the best would count as better.
  const learningRate = reduceOnPlateau({ factor: 0.5, patience: 1, threshold: 0.99, learningRate: 0.04 });
  for (const validationSplit of [0, 0.3]) {
    const model = await make(adam({ learningRate }));
    const { history } = await model.fit(x, y, { epochs: 6, validationSplit });
    assert.equal(history.learningRate, [0.04, 0.04, 0.04, 0.02, 0.02, 0.01]);
    model.dispose();
  }
});

test("clipping bounds what the step takes, and the norm that is told is the one before", async () => {
  const target = randomTensor([6, 2], 3, 30);
  const [input, options] = [randomTensor([6, T, I], 2), { inputShape: [null, I], seed: 3 }];
  const norm = (tensors: Record<string, Tensor>, type: number) => {
    const all = Object.values(tensors).flatMap(({ data }) => [...data].map(Math.abs));
    if (type === 1) return all.reduce((a, b) => a + b);
    return type === 2 ? Math.hypot(...all) : Math.max(...all);
  };
  const scaled = ({ shape, data }: Tensor, f: number) => ({ shape, data: data.map((v) => v * f) });
  const map = (tensors: Record<string, Tensor>, f: (t: Tensor) => Tensor) =>
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, f(t)]));
  type Gradients = Record<string, Tensor>;
  const cases: [string, Parameters<typeof sgd>[0], (g: Gradients) => Gradients, number?][] = [
    ["none", {}, (g) => g],
    ["clipValue", { clipValue: 0.3 }, (g) =>
      map(g, ({ shape, data }) => ({ shape, data: data.map((v) => Math.max(-0.3, Math.min(0.3, v))) }))],
    ["clipNorm", { clipNorm: 0.5 }, (g) => map(g, (t) => scaled(t, Math.min(1, 0.5 / norm({ t }, 2))))],
    ["clipNorm, wide", { clipNorm: 1e6 }, (g) => g],
    ["globalClipNorm, wide", { globalClipNorm: 1e6 }, (g) => g],
    ...[1, 2, Infinity].map((type): (typeof cases)[number] => [
      `globalClipNorm ${type}`,
      { globalClipNorm: 0.7, clipNormType: type as 1 },
      (g) => map(g, (t) => scaled(t, 0.7 / (norm(g, type) + 1e-6))),
      type,
    ]),
  ]; // biome-ignore format: a table
  for (const [what, clipping, expected, type = 2] of cases) {
    const model = await sequential([gru(5), dense(2)], options);
    model.compile({ loss: meanSquaredError(), optimizer: sgd({ learningRate: 1, ...clipping }) });
    const before = model.weights();
    const { gradients } = await model.gradients(input, target);
    const { gradientNorm } = await model.trainOnBatch(input, target);
    close([gradientNorm], [norm(gradients, type)], 1e-6, `${what}: norm`);
    const after = model.weights();
    const steps = expected(gradients);
    // Rounding of the weight, of order 1, and of the step.
    for (const [name, { data }] of Object.entries(before))
      close(
        after[name].data,
        data.map((v, i) => v - steps[name].data[i]),
        3e-7,
        `${what}: ${name}`,
        2e-7,
      );
    model.dispose();
  }
});

test("an aborted fit rejects with the reason in the middle of an epoch; the model stays usable", async () => {
  const model = await make();
  const reason = new Error("enough");
  for (const source of ["arrays", "generator"]) {
    const controller = new AbortController();
    let steps = 0;
    let ended = false;
    const callback: Callback = {
      name: "abort",
      onBatchEnd: () => {
        if (++steps === 7) controller.abort(reason);
      },
      onTrainEnd: () => assert.unreachable("training has not come to its end"),
    };
    const options = { epochs: 5, callbacks: [callback], signal: controller.signal };
    const run =
      source === "arrays"
        ? model.fit(x, y, { ...options, batchSize: 5 })
        : model.fit(
            () =>
              batches(5, () => {
                ended = true;
              }),
            options,
          );
    assert.is(await run.catch((error: unknown) => error), reason, source);
    assert.is(steps, 7, "not a step more");
    if (source === "generator") assert.ok(ended, "the generator has been closed");
    await model.predict(x);
    await model.evaluate(x, y);
    await model.fit(x, y);
  }
  const aborted = AbortSignal.abort(reason);
  assert.is(await model.fit(x, y, { signal: aborted }).catch((error: unknown) => error), reason);
  const unnamed = await model.fit(x, y, { signal: AbortSignal.abort() }).catch((error: unknown) => error);
  assert.is((unnamed as Error).name, "AbortError");
  model.dispose();
});

test("a timer can abort a long fit of arrays, in training and in validation of either kind", async () => {
  const [many, labels] = [randomTensor([20_000, T, I], 1), randomLabels([20_000], C, 2)];
  const few = 100;
  const cases: Record<string, [Tensor, Tensor<Int32Array>, FitOptions]> = {
    training: [many, labels, { epochs: 1000 }],
    validationData: [samples(many, 0, few), samples(labels, 0, few), { validationData: [many, labels] }],
    validationSplit: [many, labels, { batchSize: few, validationSplit: 1 - few / 20_000 }],
    source: [samples(many, 0, few), samples(labels, 0, few), { validationData: () => batchesOf(many, labels) }],
  };
  function* batchesOf(x: Tensor, y: Tensor<Int32Array>) {
    for (let from = 0; from < 20_000; from += 256)
      yield { x: samples(x, from, from + 256), y: samples(y, from, from + 256) };
  }
  const reason = new Error("time is up");
  for (const [what, [x, y, options]] of Object.entries(cases)) {
    // The validation takes its time, batch by batch, and nobody but the loop gives the timer a turn.
    let slow = what === "training";
    const metric: Metric<unknown> = {
      name: "slow",
      options: {},
      create: () => ({
        update() {
          const until = performance.now() + (slow ? 15 : 0);
          while (performance.now() < until);
        },
        result: () => 0,
        reset() {},
      }),
    };
    const model = await make("adam", [metric]);
    const controller = new AbortController();
    const callback: Callback = {
      name: "begin",
      onBatchEnd(batch, _, { batches }) {
        if (what === "training" ? batch === 1 : batch === batches) {
          slow = true;
          setTimeout(() => controller.abort(reason), 30);
        }
      },
    };
    const run = model.fit(x, y, { batchSize: few, ...options, callbacks: [callback], signal: controller.signal });
    assert.is(await run.catch((error: unknown) => error), reason, what);
    await model.predict(samples(many, 0, 3));
    model.dispose();
  }
});

test("early stopping goes back to the weights of the best epoch", async () => {
  const held = [randomTensor([9, T, I], 5), randomLabels([9], C, 6)] as const;
  for (const [monitor, best] of [["valLoss", Math.min], ["valAccuracy", Math.max], [undefined, Math.min]] as const)
    for (const restoreBestWeights of [true, false]) {
      const model = await make(adam({ learningRate: 0.1 }));
      const kept: Record<string, Tensor>[] = [];
      const keep: Callback = { name: "keep", onEpochEnd: () => void kept.push(model.weights()) };
      const { history, stopped, epoch } = await model.fit(x, y, {
        epochs: 100,
        batchSize: 6,
        validationData: held,
        callbacks: [keep, earlyStopping({ monitor, patience: 5, restoreBestWeights })],
      });
      const watched = history[monitor ?? "valLoss"];
      const at = watched.indexOf(best(...watched));
      assert.is(stopped, `no improvement since epoch ${at + 1}`);
      // The fifth epoch that is no better is one too many.
      assert.is(epoch.length, at + 1 + 5);
      sameTensors(model.weights(), kept[restoreBestWeights ? at : epoch.length - 1], `${monitor}`);
      if (restoreBestWeights) assert.is((await model.evaluate(...held)).loss, history.valLoss[at]);
      model.dispose();
    } // biome-ignore format: pairs
  // Without a stop, too.
  const model = await make(adam({ learningRate: 0.1 }));
  const { history, stopped } = await model.fit(x, y, {
    epochs: 12,
    validationData: held,
    callbacks: [earlyStopping({ patience: 50 })],
  });
  assert.is(stopped, undefined);
  assert.is((await model.evaluate(...held)).loss, Math.min(...history.valLoss));
  model.dispose();
});

test("a monitored number that is NaN is a bad epoch, the first one too", async () => {
  const numbers = [NaN, 3, NaN, 2, 4, 5, 6];
  let epoch = -1;
  const metric: Metric<unknown> = {
    name: "told",
    options: {},
    create: () => ({ update() {}, result: () => numbers[Math.max(0, epoch)], reset() {} }),
  };
  const model = await make("adam", [metric]);
  const kept: Record<string, Tensor>[] = [];
  const count: Callback = {
    name: "count",
    onEpochBegin: () => void epoch++,
    onEpochEnd: () => void kept.push(model.weights()),
  };
  const { stopped } = await model.fit(x, y, {
    epochs: numbers.length,
    callbacks: [count, earlyStopping({ monitor: "told", patience: 3 })],
  });
  assert.is(stopped, "no improvement since epoch 4");
  sameTensors(model.weights(), kept[3], "weights of epoch 4");
  model.dispose();
});

test("a training that diverges goes back to the end of the last whole epoch", async () => {
  const model = await make(sgd({ learningRate: 0.1, momentum: 0.9 }));
  const calm = await make(sgd({ learningRate: 0.1, momentum: 0.9 }));
  await calm.fit(x, y, { epochs: 2, batchSize: 5 });
  const huge = samples(x, 0, N);
  let epoch = 0;
  const spoil: Callback = {
    name: "spoil",
    onEpochBegin: (e) => {
      epoch = e;
    },
    onBatchEnd(batch) {
      if (epoch !== 3 || batch !== 2) return;
      const weights = model.weights();
      for (const { data } of Object.values(weights)) data.set(data.map((_, i) => (i % 2 ? 3e38 : -3e38)));
      model.setWeights(weights);
    },
  };
  await refuses(
    () => model.fit(huge, y, { epochs: 4, batchSize: 5, callbacks: [spoil] }),
    StateError,
    /training diverged at epoch 3, step 3/,
  );
  assert.equal(model.toBytes({ training: true }), calm.toBytes({ training: true }));
  model.dispose();
  calm.dispose();
});

test("callbacks are called in order, may be async, and may predict without touching training", async () => {
  const calls: string[] = [];
  const tell = (name: string, last = false): Callback => ({
    name,
    last,
    onTrainBegin: () => void calls.push(`${name} begin`),
    onEpochBegin: (epoch) => void calls.push(`${name} epoch ${epoch}`),
    async onBatchEnd(batch, _, { model }) {
      await model.predict(randomTensor([50, 9, I], 3), { batchSize: 7 });
      calls.push(`${name} batch ${batch}`);
    },
    onEpochEnd: async (epoch, { loss }) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      assert.type(loss, "number");
      calls.push(`${name} epoch ${epoch} ended`);
    },
    onTrainEnd: () => void calls.push(`${name} end`),
  });
  const [model, plain] = [await make(), await make()];
  await model.fit(x, y, { epochs: 2, batchSize: 20, callbacks: [tell("z", true), tell("a")] });
  const both = (what: string) => ["a", "z"].map((name) => `${name} ${what}`);
  const epoch = (n: number) => [`epoch ${n}`, "batch 1", "batch 2", `epoch ${n} ended`].flatMap(both);
  assert.equal(calls, [...both("begin"), ...epoch(1), ...epoch(2), ...both("end")]);
  await plain.fit(x, y, { epochs: 2, batchSize: 20 });
  assert.equal(model.toBytes({ training: true }).length, plain.toBytes({ training: true }).length);
  sameTensors(model.weights(), plain.weights(), "weights");
  model.dispose();
  plain.dispose();
});

test("stopping from a callback, and a line an epoch", async () => {
  const model = await make();
  const lines: string[] = [];
  const stop: Callback = {
    name: "stop",
    onEpochEnd: (epoch, _, context) => void (epoch === 2 && context.stop("bored")),
  };
  const { stopped, epoch } = await model.fit(x, y, {
    epochs: 9,
    callbacks: [progress({ write: (line) => lines.push(line) }), stop],
  });
  assert.is(stopped, "bored");
  assert.equal(epoch, [1, 2]);
  assert.is(lines.length, 2);
  assert.match(lines[1], /^epoch 2\/9 {2}loss \d\.\d{4} {2}accuracy \d\.\d{4} {2}learningRate 0\.0010$/);
  assert.equal(await model.fit(x, y, { epochs: 0 }), { epoch: [], history: {} });
  model.dispose();
});

test("one long-running call at a time", async () => {
  const model = await make();
  const running = model.fit(() => later(5), { epochs: 2 });
  await refuses(() => model.fit(x, y), StateError, /still running/);
  await refuses(() => model.evaluate(x, y), StateError, /still running/);
  await refuses(() => model.trainOnBatch(x, y), StateError, /still running/);
  await running;
  await model.fit(x, y);
  model.dispose();
});

test("weights that blew up but are finite are not what a diverging training goes back to", async () => {
  const targets = randomTensor([N, 2], 1);
  for (const learningRate of [1e30, 1e38])
    for (const batchSize of [5, N]) {
      const model = await sequential([gru(5), dense(2)], { inputShape: [null, I], seed: 1 });
      model.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate, momentum: 0.9 }) });
      const before = model.toBytes({ training: true });
      await refuses(
        () => model.fit(x, targets, { epochs: 5, batchSize }),
        StateError,
        // With one batch an epoch, the step that blew up was the whole epoch before.
        batchSize === N ? /diverged at epoch 2, step 1: .*"(gru|dense)/ : /diverged at epoch 1, step 2/,
      );
      assert.equal(model.toBytes({ training: true }), before);
      model.dispose();
    }
});

test("stateful layers need batches of one size, said before anything runs", async () => {
  const model = await sequential([gru(3, { stateful: true }), dense(1)], { inputShape: [null, I] });
  model.compile({ loss: "meanSquaredError" });
  const targets = randomTensor([N, 1], 1);
  const before = model.toBytes({ training: true });
  const uses = {
    fit: () => model.fit(x, targets, { batchSize: 4 }),
    validation: () =>
      model.fit(samples(x, 0, 4), samples(targets, 0, 4), {
        batchSize: 4,
        validationData: [randomTensor([257, T, I], 1), randomTensor([257, 1], 1)],
      }),
    evaluate: () => model.evaluate(x, targets, { batchSize: 4 }),
    predict: () => model.predict(x, { batchSize: 4 }),
  };
  for (const [name, use] of Object.entries(uses))
    await refuses(use, ShapeError, /stateful layers need batches of one size; \d+ samples do not divide/, name);
  assert.equal(model.toBytes({ training: true }), before);
  await model.fit(samples(x, 0, 20), samples(targets, 0, 20), { batchSize: 4 });
  model.resetStates();
  assert.is((await model.predict(samples(x, 0, 20), { batchSize: 4 })).shape[0], 20);
  model.dispose();
});

test("lengths, masks and weights beside a source are refused rather than ignored", async () => {
  const model = await make();
  for (const beside of [{ lengths: [1] }, { sampleWeight: [1] }, { mask: [[1]] }]) {
    const message = new RegExp(`${Object.keys(beside)[0]} comes with the batches`);
    await refuses(() => model.fit(() => batches(5), beside), OptionError, message);
    await refuses(() => model.evaluate(() => batches(5), beside), OptionError, message);
  }
  model.dispose();
});

test.run();
