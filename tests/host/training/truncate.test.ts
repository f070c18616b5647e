import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  concatenate,
  conv1d,
  ctc,
  dense,
  dropout,
  graph,
  gru,
  input,
  type Loss,
  type Model,
  meanSquaredError,
  OptionError,
  ShapeError,
  StateError,
  sequential,
  sgd,
  type Tensor,
} from "../../../host/index.ts";
import { close } from "../../kit/core.ts";
import { arena, randomTensor, refuses, sameTensors, samples, steps } from "../../kit/models.ts";

const many = { returnSequences: true } as const;

async function tagger(loss: Loss = meanSquaredError(), extra = 0): Promise<Model> {
  const model = await sequential([gru(5, many), dropout(extra), gru(4, many), dense(2)], {
    inputShape: [null, 3],
    seed: 4,
  });
  model.compile({ loss, optimizer: sgd({ learningRate: 0.1, momentum: 0.5 }) });
  return model;
}

/** Every weight within rounding of sums in another order, a few steps long. */
function sameWeights(actual: Model<unknown>, expected: Model<unknown>, what: string): void {
  const known = expected.weights();
  for (const [name, { data }] of Object.entries(actual.weights()))
    close(data, known[name].data, 2e-6, `${what}: ${name}`);
}

test("gradients of several batches add up to those of one large batch", async () => {
  const [x, y] = [randomTensor([10, 6, 3], 1), randomTensor([10, 6, 2], 2)];
  const given = {
    plain: {},
    // Batches whose means are over different numbers of steps.
    lengths: { lengths: [6, 1, 2, 0, 0, 3, 6, 5, 1, 4] },
    weighted: { sampleWeight: [1, 2, 0, 1, 3, 1, 1, 0, 0, 1] },
  };
  for (const reduction of ["mean", "sum"] as const)
    for (const [what, extras] of Object.entries(given)) {
      const [large, small] = [
        await tagger(meanSquaredError({ reduction })),
        await tagger(meanSquaredError({ reduction })),
      ];
      // Sums of 120 terms take smaller steps; 10 samples leave a part of a group at the end of each epoch.
      for (const model of [large, small])
        model.compile({
          loss: meanSquaredError({ reduction }),
          optimizer: sgd({ learningRate: reduction === "sum" ? 0.002 : 0.1, momentum: 0.5, globalClipNorm: 1 }),
        });
      const norms: number[] = [];
      const onBatchEnd = (_: number, logs: { gradientNorm?: number }) => void norms.push(logs.gradientNorm!);
      const callbacks = [{ name: "norms", onBatchEnd }];
      const a = await large.fit(x, y, { ...extras, epochs: 3, batchSize: 8, shuffle: false, callbacks });
      const all = norms.splice(0);
      const b = await small.fit(x, y, { ...extras, epochs: 3, batchSize: 2, accumulate: 4, shuffle: false, callbacks });
      sameWeights(small, large, `${reduction}, ${what}`);
      close(b.history.loss, a.history.loss, 1e-6, `${reduction}, ${what}: loss`);
      // The first of every epoch's groups is complete with its fourth batch.
      close([norms[3], norms[8], norms[13]], [all[0], all[2], all[4]], 2e-6, `${what}: norms`);
      assert.is(large.training!.progress.step, 6);
      assert.is(small.training!.progress.step, 6);
      for (const model of [large, small]) model.dispose();
    }
});

test("accumulated batches of a model with several outputs are weighted by their samples", async () => {
  const make = async () => {
    const x = input([null, 3]);
    const h = gru(4, many)(x);
    const model = await graph({ inputs: x, outputs: [dense(2)(h), gru(3)(h)], seed: 2 });
    model.compile({ loss: "meanSquaredError", lossWeights: [1, 0.5], optimizer: sgd({ learningRate: 0.1 }) });
    return model;
  };
  const [large, small] = [await make(), await make()];
  const [x, y] = [randomTensor([7, 4, 3], 1), [randomTensor([7, 4, 2], 2), randomTensor([7, 3], 3)]];
  await large.fit(x, y, { epochs: 2, batchSize: 7, shuffle: false });
  await small.fit(x, y, { epochs: 2, batchSize: 2, accumulate: 4, shuffle: false });
  sameWeights(small, large, "weights");
  for (const model of [large, small]) model.dispose();
});

test("truncated sequences train as their pieces do, one after the other with states carried", async () => {
  const [x, y] = [randomTensor([4, 8, 3], 1), randomTensor([4, 8, 2], 2)];
  const [model, byHand] = [await tagger(), await tagger()];
  await model.fit(x, y, { epochs: 2, batchSize: 2, truncatedSteps: 3, shuffle: false });
  for (let epoch = 0; epoch < 2; epoch++)
    for (const from of [0, 2]) {
      let initialState: Tensor[] | undefined;
      for (const [begin, end] of [[0, 3], [3, 6], [6, 8]]) {
        const part = (t: Tensor) => steps(samples(t, from, from + 2), begin, end);
        const { state } = await byHand.trainOnBatch(part(x), part(y), { initialState });
        initialState = state;
      }
    } // biome-ignore format: pieces
  sameTensors(model.weights(), byHand.weights(), "weights");
  // Longer than the sequences is no truncation.
  const [whole, long] = [await tagger(), await tagger()];
  await whole.fit(x, y, { epochs: 2 });
  await long.fit(x, y, { epochs: 2, truncatedSteps: 8 });
  sameTensors(long.weights(), whole.weights(), "whole");
  for (const each of [model, byHand, whole, long]) each.dispose();
});

test("scores of sequences in pieces are those of whole ones, masked or not", async () => {
  const model = await tagger();
  model.compile({ loss: "meanSquaredError", metrics: ["meanAbsoluteError"] });
  const [x, y] = [randomTensor([5, 7, 3], 1), randomTensor([5, 7, 2], 2)];
  const mask = { shape: [5, 7], data: Float32Array.from({ length: 35 }, (_, i) => Number(i % 3 > 0 || i > 28)) };
  for (const extras of [{}, { lengths: [7, 1, 3, 0, 2] }, { mask }, { sampleWeight: randomTensor([5, 7], 3) }]) {
    const [whole, pieces] = [
      await model.evaluate(x, y, extras),
      await model.evaluate(x, y, { ...extras, truncatedSteps: 2 }),
    ];
    // Sums of some ten numbers in another order.
    close(Object.values(pieces), Object.values(whole), 1e-7, Object.keys(extras).join());
  }
  const { history } = await model.fit(x, y, { epochs: 1, truncatedSteps: 2, validationData: [x, y] });
  const after = await model.evaluate(x, y);
  close([history.valLoss[0]], [after.loss], 1e-7, "validation");
  model.dispose();
});

test("pieces of truncated sequences may be accumulated: one step an epoch here", async () => {
  const [x, y] = [randomTensor([2, 6, 3], 1), randomTensor([2, 6, 2], 2)];
  const model = await tagger(undefined, 0.3);
  await model.fit(x, y, { epochs: 3, truncatedSteps: 2, accumulate: 3 });
  assert.is(model.training!.progress.step, 3);
  model.dispose();
});

test("long sequences need the memory of a piece", async () => {
  const { taken } = arena;
  const model = await tagger();
  const compiled = arena.taken;
  const T = 20_000;
  await model.fit(randomTensor([1, T, 3], 1), randomTensor([1, T, 2], 2), { truncatedSteps: 50, accumulate: 1000 });
  assert.ok(arena.taken - compiled < 2 ** 17, `${arena.taken - compiled} bytes`);
  model.dispose();
  assert.is(arena.taken, taken);
});

test("what stands against truncation is named", async () => {
  const [x, y] = [randomTensor([2, 4, 3], 1), randomTensor([2, 4, 2], 2)];
  const refused = async (
    layers: Parameters<typeof sequential>[0],
    kind: typeof OptionError,
    message: RegExp,
    loss: Loss | string = "huber",
  ) => {
    const model = await sequential(layers, { inputShape: [null, 3] });
    model.compile({ loss });
    await refuses(() => model.fit(x, y, { truncatedSteps: 2 }), kind, message);
    await refuses(() => model.evaluate(x, y, { truncatedSteps: 2 }), kind, message);
    model.dispose();
  };
  await refused([gru(2)], ShapeError, /"truncatedSteps" needs an output for every step; "gru" is \[batch, 2\]/);
  await refused([gru(2, { ...many, goBackwards: true })], StateError, /layer "gru" cannot stream/);
  await refused(
    [conv1d(2, 3, { padding: "causal" })],
    OptionError,
    /layer "conv1d.*" looks back at steps of the piece before/,
  );
  await refused([dense(2, { activation: "softmax" })], OptionError, /the loss "ctc" needs whole sequences/, ctc());
  const model = await tagger();
  for (const bad of [0, 1.5, "3"])
    for (const option of ["truncatedSteps", "accumulate"])
      await refuses(
        () => model.fit(x, y, { [option]: bad }),
        OptionError,
        new RegExp(`"${option}" must be a whole number`),
      );
  model.dispose();
  const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
  const two = await graph({ inputs: [a, b], outputs: concatenate()([gru(1, many)(a), gru(1, many)(b)]) });
  two.compile({ loss: "huber" });
  await two.fit([x, x], y, { truncatedSteps: 3 });
  two.dispose();
});

test("a fit that is aborted between pieces gives back what it has taken", async () => {
  const model = await tagger();
  const [x, y] = [randomTensor([2, 40, 3], 1), randomTensor([2, 40, 2], 2)];
  await model.fit(x, y, { truncatedSteps: 4, accumulate: 2 });
  const { taken } = arena;
  const controller = new AbortController();
  const onEpochEnd = () => controller.abort(new Error("enough"));
  try {
    await model.fit(x, y, { epochs: 3, truncatedSteps: 4, accumulate: 2, signal: controller.signal, callbacks: [{ name: "stop", onEpochEnd }] }); // biome-ignore format: one line
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /enough/);
  }
  assert.is(arena.taken, taken);
  model.dispose();
});

test.run();
