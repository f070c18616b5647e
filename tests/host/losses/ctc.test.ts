import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  activation,
  adam,
  conv1d,
  ctc,
  ctcGreedy,
  dense,
  dropout,
  gru,
  type Layer,
  labelErrorRate,
  loadModel,
  type Model,
  masking,
  OptionError,
  padSequences,
  rouge,
  ShapeError,
  StateError,
  sequential,
  type Targets,
  wordErrorRate,
} from "../../../host/index.ts";
import { close, random } from "../../kit/core.ts";
import { randomTensor, refuses, sameTensor, sameTensors, snapshot } from "../../kit/models.ts";
import { ctc as reference } from "../../reference/ctc.ts";

const [B, T, C] = [3, 9, 5];
const x = randomTensor([B, T, C], 1, 2);
const y = [[1, 1, 4], [], [3, 2]];
const lengths = [9, 4, 7];

async function make(head: Layer[], loss = ctc(), features = C): Promise<Model> {
  const model = await sequential(head, { inputShape: [null, features], seed: 3 });
  model.compile({ loss, optimizer: adam({ learningRate: 0.02 }) });
  return model;
}

/** [batch, time, n] to the twin's [time, batch, n], and back. */
function turned(data: ArrayLike<number>, from: number, to: number): Float64Array {
  const out = new Float64Array(data.length);
  const n = data.length / from / to;
  for (let i = 0; i < from; i++)
    for (let j = 0; j < to; j++) for (let c = 0; c < n; c++) out[(j * from + i) * n + c] = data[(i * to + j) * n + c];
  return out;
}

test("loss, losses and gradients of a model, with lengths, holes and weights", async () => {
  const mask = Array.from({ length: B }, (_, b) => Array.from({ length: T }, (_, t) => Number((b + t) % 4 !== 1)));
  const sampleWeight = [0.5, 2, 1];
  for (const [head, logits, loss] of [
    ["linear", true, ctc({ fromLogits: true })],
    ["softmax", true, ctc()],
    ["logSoftmax", true, ctc({ reduction: "sum" })],
    ["logSoftmax", true, ctc({ fromLogits: true })],
    ["sigmoid", false, ctc({ reduction: "none" })],
  ] as const)
    for (const [what, extras, valid] of [
      ["all steps", {}, () => 1],
      ["lengths", { lengths }, (b: number, t: number) => Number(t < lengths[b])],
      ["holes", { mask }, (b: number, t: number) => mask[b][t]],
      ["weights", { lengths, sampleWeight }, (b: number, t: number) => Number(t < lengths[b])],
    ] as const) {
      const model = await make([activation(head)], loss);
      const result = await model.gradients(x, y, extras);
      const of = Float64Array.from(x.data, (v) => (head === "sigmoid" ? 1 / (1 + Math.exp(-v)) : v));
      const expected = reference(turned(of, B, T), {
        ...{ T, B, n: C, labels: y, blank: 0, logits },
        valid: Array.from({ length: T * B }, (_, i) => valid(i % B, Math.floor(i / B))),
        weights: "sampleWeight" in extras ? sampleWeight : undefined,
        mean: loss.config.reduction === "mean",
      });
      const name = `${head}, ${what}`;
      close([result.loss], [expected.loss], 2e-6, `${name}: loss`);
      close(result.rowLosses, expected.losses, 2e-6, `${name}: losses`);
      const dx = turned(expected.dx, T, B);
      // The layer's own slope, where it is not fused.
      if (head === "sigmoid") for (let i = 0; i < dx.length; i++) dx[i] *= of[i] * (1 - of[i]);
      close(result.inputGradient!.data, dx, 4e-6, `${name}: gradient`);
      close([(await model.evaluate(x, y, extras)).loss], [expected.loss], 2e-6, `${name}: evaluate`);
      model.dispose();
    }
});

test("labels come as arrays, as typed arrays, as a tensor, or padded with their lengths", async () => {
  const model = await make([activation("softmax")]);
  const expected = (await model.gradients(x, y)).loss;
  const padded = { x: { shape: [3, 4], data: Int32Array.of(1, 1, 4, 9, 9, 9, 9, 9, 3, 2, 9, 9) }, lengths: [3, 0, 2] };
  for (const [what, targets] of [
    ["typed arrays", y.map((own) => Int32Array.from(own))],
    ["padSequences", padSequences(y.map((own) => Int32Array.from(own)))],
    ["padded", padded],
  ] as [string, Targets][])
    assert.is((await model.gradients(x, targets)).loss, expected, what);
  const all = [
    [1, 2],
    [2, 1],
    [3, 3],
  ];
  const tensor = { shape: [3, 2], data: Int32Array.from(all.flat()) };
  assert.is((await model.gradients(x, tensor)).loss, (await model.gradients(x, all)).loss);
  model.dispose();
});

test("padding never changes a loss, and permuting a batch permutes the gradients", async () => {
  const model = await make([gru(6, { returnSequences: true }), dense(C, { activation: "softmax" })]);
  const all = await model.gradients(x, y, { lengths });
  for (let b = 0; b < B; b++) {
    const alone = { shape: [1, lengths[b], C], data: x.data.slice(b * T * C, (b * T + lengths[b]) * C) };
    const { rowLosses, inputGradient } = await model.gradients(alone, [y[b]]);
    assert.is(rowLosses[0], all.rowLosses[b], `sample ${b}`);
    const own = all.inputGradient!.data.slice(b * T * C, (b * T + lengths[b]) * C).map((v) => v * B);
    close(inputGradient!.data, own, 1e-6, `sample ${b}: gradient`, 1e-7);
  }
  const order = [2, 0, 1];
  const shuffled = {
    shape: [B, T, C],
    data: Float32Array.from(order.flatMap((b) => [...x.data.slice(b * T * C, (b + 1) * T * C)])),
  };
  const permuted = await model.gradients(
    shuffled,
    order.map((b) => y[b]),
    { lengths: order.map((b) => lengths[b]) },
  );
  assert.equal(
    Array.from(permuted.rowLosses),
    order.map((b) => all.rowLosses[b]),
  );
  model.dispose();
});

/** Words as noisy steps: each label for one to three steps, silences between. */
function spoken(count: number, seed: number) {
  const next = random(seed);
  const [steps, features] = [24, 6];
  const labels: number[][] = [];
  const data = new Float32Array(count * steps * features);
  const used: number[] = [];
  for (let i = 0; i < count; i++) {
    const own: number[] = [];
    let t = 1;
    while (own.length < 1 + (i % 4)) {
      const label = 1 + Math.floor(next() * 4);
      own.push(label);
      for (let k = 1 + Math.floor(next() * 3); k > 0; k--) data[(i * steps + t++) * features + label] = 1;
      t++;
    }
    used.push(t);
    labels.push(own);
  }
  for (let i = 0; i < data.length; i++) data[i] += next() * 0.2;
  return { x: { shape: [count, steps, features], data }, y: labels, lengths: used };
}

test("fit learns to spell, with metrics, a validation split, checkpoints and streams of batches", async () => {
  const train = spoken(64, 1);
  const heldOut = spoken(16, 2);
  const layers = () => [gru(16, { returnSequences: true }), dense(5, { activation: "softmax" })];
  const build = async () => {
    const model = await sequential(layers(), { inputShape: [null, 6], seed: 1 });
    model.compile({ loss: "ctc", optimizer: adam({ learningRate: 0.02 }), metrics: ["labelErrorRate"] });
    return model;
  };
  const model = await build();
  const options = { batchSize: 16, lengths: train.lengths, validationSplit: 0.2 };
  const history = await model.fit(train.x, train.y, { ...options, epochs: 20 });
  const { loss, labelErrorRate: rate, valLabelErrorRate } = history.history;
  assert.ok(loss[19] < 0.2 * loss[0], `loss ${loss}`);
  assert.ok(rate[19] < 0.05 && valLabelErrorRate[19] < 0.1, `label error rates ${rate}, ${valLabelErrorRate}`);
  const scores = await model.evaluate(heldOut.x, heldOut.y, { lengths: heldOut.lengths });
  const decoded = ctcGreedy(await model.predict(heldOut.x, { lengths: heldOut.lengths }), { lengths: heldOut.lengths });
  const words = (labels: readonly number[]) => labels.join(" ");
  const expected = wordErrorRate(
    heldOut.y.map(words),
    decoded.map(({ labels }) => words(labels)),
  );
  assert.is(scores.labelErrorRate, expected);

  // Stopped, loaded, and gone on with is the run that did not stop, byte for byte.
  const stopped = await build();
  await stopped.fit(train.x, train.y, { ...options, epochs: 3 });
  const again = await loadModel(stopped.toBytes({ training: true }));
  for (const one of [stopped, again]) await one.fit(train.x, train.y, { ...options, epochs: 5, initialEpoch: 3 });
  assert.equal(again.toBytes({ training: true }), stopped.toBytes({ training: true }));

  // A source of batches of other lengths.
  const [streamed, arrays] = [await build(), await build()];
  const part = (from: number, to: number) => ({
    x: { shape: [to - from, 24, 6], data: train.x.data.slice(from * 144, to * 144) },
    y: train.y.slice(from, to),
    lengths: train.lengths.slice(from, to),
  });
  await streamed.fit(() => [part(0, 16), part(16, 40), part(40, 64)], { epochs: 2 });
  for (let epoch = 0; epoch < 2; epoch++)
    for (const [from, to] of [
      [0, 16],
      [16, 40],
      [40, 64],
    ]) {
      const { x, y, lengths } = part(from, to);
      const { loss, gradientNorm } = await arrays.trainOnBatch(x, y, { lengths });
      assert.ok(loss > 0 && gradientNorm > 0);
    }
  sameTensors(streamed.weights(), arrays.weights(), "batches");
  for (const one of [model, stopped, again, streamed, arrays]) one.dispose();
});

test("masks of layers and dropout stand between x and the loss", async () => {
  const masked = await make([masking(), activation("softmax")]);
  const plain = await make([activation("softmax")]);
  const zeroed = { shape: [1, 4, C], data: x.data.slice(0, 4 * C).fill(0, C, 2 * C) };
  const rest = { shape: [1, 3, C], data: Float32Array.from([...x.data.slice(0, C), ...x.data.slice(2 * C, 4 * C)]) };
  assert.is((await masked.gradients(zeroed, [[1, 2]])).loss, (await plain.gradients(rest, [[1, 2]])).loss);
  // A softmax that cannot be fused gives the same, but for clipping.
  const apart = await make([activation("softmax"), dropout(0.5)]);
  const [a, b] = [await apart.gradients(x, y), await plain.gradients(x, y)];
  close([a.loss], [b.loss], 1e-6, "loss");
  close(a.inputGradient!.data, b.inputGradient!.data, 4e-6, "gradient");
  for (const model of [masked, plain, apart]) model.dispose();
});

test("labels that cannot be aligned stop training by name, or count for nothing", async () => {
  const short = [9, 1, 7];
  const impossible = [[1], [2, 2], [3]];
  const model = await make([dense(C, { activation: "softmax" })]);
  const before = snapshot(model);
  await refuses(
    () => model.trainOnBatch(x, impossible, { lengths: short }),
    StateError,
    /step 1: the loss "ctc" of sample 1 is Infinity: its labels cannot be aligned with its steps; .*zeroInfinity/,
  );
  assert.is(snapshot(model), before);
  const { loss, gradients } = await model.gradients(x, impossible, { lengths: short });
  assert.is(loss, Infinity);
  assert.ok(Object.values(gradients).every(({ data }) => data.every(Number.isFinite)));
  assert.is((await model.evaluate(x, impossible, { lengths: short })).loss, Infinity);

  const lenient = await make([dense(C, { activation: "softmax" })], ctc({ zeroInfinity: true }));
  const result = await lenient.gradients(x, impossible, { lengths: short });
  assert.is(result.rowLosses[1], 0);
  close([result.loss], [(result.rowLosses[0] + result.rowLosses[2]) / 3], 1e-6, "loss");
  sameTensors(result.gradients, gradients, "gradients");
  await lenient.trainOnBatch(x, impossible, { lengths: short });
  model.dispose();
  lenient.dispose();
});

test("a model may put out fewer steps than it reads", async () => {
  const model = await make([conv1d(6, 3, { strides: 2, padding: "same" }), dense(C, { activation: "softmax" })]);
  const labels = [[1, 2], [3], [4, 4]];
  for (const extras of [{}, { lengths }]) {
    const { loss: before, gradientNorm } = await model.trainOnBatch(x, labels, extras);
    assert.ok(before > 0 && gradientNorm > 0);
    for (let i = 0; i < 30; i++) await model.trainOnBatch(x, labels, extras);
    assert.ok((await model.evaluate(x, labels, extras)).loss < 0.7 * before);
  }
  // Three labels, two alike, need four steps; lengths 4 leaves two.
  assert.is((await model.evaluate(x, [[1], [2, 2, 3], [1]], { lengths })).loss, Infinity);
  model.dispose();
});

test("all rows padded are safe", async () => {
  const model = await make([gru(4, { returnSequences: true }), dense(C, { activation: "softmax" })]);
  const { loss, inputGradient } = await model.gradients(x, [[], [], []], { lengths: [0, 0, 0] });
  assert.is(loss, 0);
  sameTensor(inputGradient!, { shape: [B, T, C], data: new Float32Array(B * T * C) }, "gradient");
  await model.trainOnBatch(x, [[], [], []], { lengths: [0, 0, 0] });
  model.dispose();
});

test("mistakes are named, and change nothing", async () => {
  const model = await make([dense(C, { activation: "softmax" })]);
  const before = snapshot(model);
  const cases: [unknown, new (message: string) => Error, RegExp][] = [
    [undefined, ShapeError, /y is missing; "ctc" expects labels for 3 samples/],
    [[[1], [2]], ShapeError, /3 sequences of labels, got 2/],
    [[1, 2, 3], ShapeError, /got the number 1 at position 0/],
    [[[1], [[2]], [3]], ShapeError, /got one of shape \[1, 1\] at position 1/],
    [[[1], [1.5], [3]], ShapeError, /sequence 1 of y: expected whole numbers/],
    [[[1], "ab", [3]], ShapeError, /sequence 1 of y/],
    [[[1], [0], [3]], OptionError, /label 0 in sequence 1 of y; expected 0 to 4, but not the blank 0/],
    [[[1], [5], [3]], OptionError, /label 5 in sequence 1/],
    [[[1], [-1], [3]], OptionError, /label -1 in sequence 1/],
    [
      { x: [[1], [2], [3]], lengths: [1, 2, 1] },
      OptionError,
      /length 2 of sequence 1 of y; expected a whole number from 0 to 1/,
    ],
    [{ x: [[1], [2], [3]], lengths: [1, 1] }, ShapeError, /lengths of y for 3 samples/],
    [{ x: [1, 2, 3], lengths: [1, 1, 1] }, ShapeError, /\[3, most labels\] with lengths, got \[3\]/],
    [new Int32Array(3), ShapeError, /got \[3\]/],
    [{ labels: [[1]] }, ShapeError, /3 sequences of labels, got/],
    ["abc", ShapeError, /got "abc"/],
    [null, ShapeError, /got null/],
  ];
  for (const [targets, kind, message] of cases)
    for (const call of [
      () => model.trainOnBatch(x, targets as Targets),
      () => model.evaluate(x, targets as Targets),
      () => model.fit(x, targets as Targets),
      () => model.gradients(x, targets as Targets),
    ])
      await refuses(call, kind, message, String(message));
  await refuses(() => model.fit(x, y, { classWeight: [1, 2] }), OptionError, /"classWeight" needs one label/);
  await refuses(
    () => model.trainOnBatch(x, y, { sampleWeight: randomTensor([B, T], 1) }),
    ShapeError,
    /sampleWeight \[3\]/,
  );
  assert.is(snapshot(model), before);
  model.dispose();

  assert.throws(
    () => ctc({ blank: -1 }),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ctc({ zeroInfinity: 1 } as never),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ctc({ blanks: 0 } as never),
    (e: unknown) => e instanceof OptionError && /did you mean "blank"/.test(e.message),
  );
  await refuses(
    () => make([dense(C)], ctc({ blank: 5 })),
    OptionError,
    /"blank" must be one of the output's 5 classes, got 5/,
  );
  await refuses(() => make([gru(4)]), ShapeError, /expected an output \[batch, time, classes\], got \[batch, 4\]/);
  const compile = (metrics: string[], loss: string) => async () =>
    (await sequential([dense(C)], { inputShape: [null, C] })).compile({ loss, metrics });
  await refuses(compile(["accuracy"], "ctc"), OptionError, /"accuracy" compares rows, the loss "ctc" sequences/);
  await refuses(compile(["labelErrorRate"], "meanSquaredError"), OptionError, /"labelErrorRate" compares sequences/);
  await refuses(compile(["bleu"], "ctc"), OptionError, /call bleu\(yTrue, yPred\) on decoded texts/);
  const own = { ...rouge(), create: () => ({ update() {}, result: () => 1, reset() {} }) };
  await refuses(
    async () => (await sequential([dense(C)], { inputShape: [null, C] })).compile({ loss: "ctc", metrics: [own] }),
    OptionError,
    /"rouge" compares texts, the loss "ctc" sequences; call rouge\(yTrue, yPred\) on texts instead/,
  );
});

test("the label error rate weighs samples, and leaves out what does not count", () => {
  const metric = labelErrorRate({ blank: 0 }).create();
  const hot = (path: number[]) => path.flatMap((label) => [0, 1, 2].map((c) => Number(c === label)));
  const labels = { shape: [2, 2], data: Int32Array.of(1, 2, 2, -1) };
  const paths = { shape: [2, 4, 3], data: Float32Array.from([...hot([1, 1, 0, 2]), ...hot([1, 0, 2, 1])]) };
  metric.update(labels, paths);
  assert.is(metric.result(), 2 / 3);
  metric.reset();
  metric.update(labels, paths, [1, 1, 1, 1, 2, 2, 2, 0]);
  assert.is(metric.result(), 2 / 4);
  assert.throws(
    () => metric.update(labels, { shape: [2, 3], data: new Float32Array(6) }),
    (e: unknown) => e instanceof ShapeError,
  );
});

test.run();
