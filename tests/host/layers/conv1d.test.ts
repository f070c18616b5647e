import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type Conv1dOptions,
  conv1d,
  dense,
  gru,
  type Layer,
  loadModel,
  type Model,
  masking,
  OptionError,
  pooling1d,
  quantize,
  ShapeError,
  StateError,
  sequential,
  type Tensor,
  tensor,
} from "../../../host/index.ts";
import { close, sameBits } from "../../kit/core.ts";
import { randomTensor, refuses, sameTensor, sameTensors, samples, steps } from "../../kit/models.ts";

/** Convolution and pooling as layers, beside their kernels' own tests. */

const [B, T, I] = [4, 9, 3];
const LENGTHS = [9, 0, 4, 7];

async function made(layers: Layer[], steps: number | null = null): Promise<Model> {
  const model = await sequential(layers, { inputShape: [steps, I], seed: 4 });
  const weights = Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, i + 1)]);
  model.setWeights(Object.fromEntries(weights));
  return model;
}

const x = randomTensor([B, T, I], 21);

/** The same sequences with garbage after their ends, and more of it. */
function padded(lengths: readonly number[], more: number): Tensor {
  const longer = randomTensor([B, T + more, I], 77, 1e4);
  lengths.forEach((n, b) => {
    longer.data.set(x.data.subarray(b * T * I, (b * T + n) * I), b * (T + more) * I);
  });
  return longer;
}

const STACKS: Record<string, () => Layer[]> = {
  same: () => [
    conv1d(5, 3, { padding: "same", activation: "tanh" }),
    conv1d(9, 4, { padding: "same", dilation: 2 }),
    gru(3),
  ],
  causal: () => [conv1d(5, 3, { padding: "causal" }), conv1d(4, 2, { padding: "causal", strides: 2 }), gru(3)],
  valid: () => [conv1d(5, 3), conv1d(4, 2, { strides: 2 }), gru(3), dense(2)],
  "max pooling": () => [conv1d(5, 3, { padding: "same" }), pooling1d(), pooling1d({ global: true })],
  "mean pooling": () => [gru(5, { returnSequences: true }), pooling1d({ kind: "mean", size: 3, strides: 1 }), gru(2)],
  "global mean": () => [conv1d(8, 1), pooling1d({ kind: "mean", global: true })],
};

for (const [name, stack] of Object.entries(STACKS))
  test(`${name}: padding, and whatever stands in it, changes nothing`, async () => {
    const model = await made(stack());
    const outputGradient = randomTensor([B, model.outputShape.at(-1)!], 6);
    const expected = await model.gradients(x, { outputGradient }, { lengths: LENGTHS });
    const got = await model.gradients(padded(LENGTHS, 5), { outputGradient }, { lengths: LENGTHS });
    sameTensor(got.outputs, expected.outputs, "outputs");
    sameTensor(await model.predict(padded(LENGTHS, 5), { lengths: LENGTHS }), expected.outputs, "predict");
    // Sums over the batch take another order of zeros, which changes no bit of them.
    sameTensors(got.gradients, expected.gradients, "gradients");
    sameTensor(steps(got.inputGradient!, 0, T), expected.inputGradient!, "dx");
    assert.ok(steps(got.inputGradient!, T, T + 5).data.every((v) => v === 0));
    // As each sequence has them alone.
    for (const b of [0, 2, 3]) {
      const alone = await model.predict(steps(samples(x, b, b + 1), 0, LENGTHS[b]));
      sameTensor(alone, samples(expected.outputs, b, b + 1), `sequence ${b}`);
    }
    model.dispose();
  });

for (const name of ["causal", "valid", "max pooling"])
  test(`${name}: as many steps as there are windows, and those count that a sequence has alone`, async () => {
    // Without what takes the time axis away.
    const model = await made(STACKS[name]().slice(0, 2));
    const whole = await model.predict(x, { lengths: LENGTHS });
    assert.equal(whole.shape, [B, { causal: 5, valid: 3, "max pooling": 4 }[name]!, whole.shape[2]]);
    model.compile({ loss: "meanSquaredError", metrics: ["meanAbsoluteError"] });
    const y = { shape: whole.shape, data: new Float32Array(whole.data.length) };
    let [squares, absolutes, counted] = [0, 0, 0];
    for (const b of [0, 2, 3]) {
      const alone = await model.predict(steps(samples(x, b, b + 1), 0, LENGTHS[b])).catch(() => undefined);
      if (!alone) continue;
      sameTensor(steps(samples(whole, b, b + 1), 0, alone.shape[1]), alone, `sequence ${b}`);
      for (const v of alone.data) {
        squares += v * v;
        absolutes += Math.abs(v);
        counted++;
      }
    }
    const scores = await model.evaluate(x, y, { lengths: LENGTHS });
    close([scores.loss, scores.meanAbsoluteError], [squares / counted, absolutes / counted], 1e-6, "scores");
    await model.trainOnBatch(x, y, { lengths: LENGTHS, sampleWeight: [1, 2, 3, 4] });
    await refuses(
      () => model.trainOnBatch(x, randomTensor([B, T, whole.shape[2]], 1)),
      ShapeError,
      /expects y \[4, \d, \d\], got \[4, 9, \d\]/,
    );
    model.dispose();
  });

test("a stream of a causal convolution is the sequence, step by step", async () => {
  for (const [kernelSize, dilation] of [
    [1, 1],
    [3, 1],
    [2, 3],
    [4, 2],
  ] as const) {
    // biome-ignore format: a list
    const layers = [
      conv1d(5, kernelSize, { padding: "causal", dilation, activation: "relu" }),
      masking({ maskValue: 0 }),
      conv1d(4, kernelSize, { padding: "causal", dilation }),
      gru(3, { returnSequences: true }),
      conv1d(2, 2, { padding: "causal" }),
    ];
    const model = await made(layers);
    const whole = await model.predict(x);
    const stream = model.stream({ batch: B });
    const pool = model.streamPool({ capacity: B });
    const ids = Array.from({ length: B }, () => pool.open());
    const frame = (t: number, b: number) => x.data.slice((b * T + t) * I, (b * T + t + 1) * I);
    let kept: Float32Array | undefined;
    for (let t = 0; t < T; t++) {
      if (t === 4) kept = stream.state;
      const all = Float32Array.from(ids.flatMap((_, b) => Array.from(frame(t, b))));
      const y = stream.step(all);
      ids.forEach((id, b) => {
        pool.push(id, frame(t, b));
      });
      const outputs = pool.flush();
      ids.forEach((id, b) => {
        const expected = whole.data.slice((b * T + t) * 2, (b * T + t + 1) * 2);
        sameBits(y.slice(b * 2, b * 2 + 2), expected, `${kernelSize}, step ${t} of ${b}`);
        sameBits(outputs.get(id)!.slice(), expected, `${kernelSize}, step ${t} of ${b} in a pool`);
      });
    }
    // What it remembers can be kept and set again.
    stream.state = kept!;
    for (let t = 4; t < T; t++) {
      const y = stream.step(Float32Array.from(ids.flatMap((_, b) => Array.from(frame(t, b)))));
      sameBits(y.slice(0, 2), whole.data.slice(t * 2, t * 2 + 2), `again, step ${t}`);
    }
    stream.reset();
    const first = stream.step(Float32Array.from(ids.flatMap((_, b) => Array.from(frame(0, b)))));
    sameBits(first.slice(0, 2), whole.data.slice(0, 2), "after a reset");
    model.dispose();
  }
});

test("where windows need steps that come later, there is no stream", async () => {
  const cases: [Layer, RegExp][] = [
    [conv1d(2, 3), /padding "valid" waits for steps that come later; "causal" streams/],
    [conv1d(2, 3, { padding: "same" }), /padding "same" waits/],
    [conv1d(2, 3, { padding: "causal", strides: 2 }), /with strides of 2 some steps have no output/],
    [pooling1d(), /its windows need more than one step/],
    [pooling1d({ global: true }), /its windows need more than one step/],
  ];
  for (const [layer, message] of cases) {
    const model = await made([layer]);
    await refuses(() => model.stream(), StateError, message);
    model.dispose();
  }
  (await made([conv1d(2, 1), pooling1d({ size: 1 })])).stream().step([1, 2, 3]);
});

test("shapes, names and initial weights are Keras's", async () => {
  const model = await sequential([conv1d(6, 5, { padding: "same" }), pooling1d(), conv1d(4, 3)], {
    inputShape: [20, I],
    seed: 1,
  });
  assert.equal(model.outputShape, [8, 4]);
  const weights = model.weights();
  assert.equal(
    Object.entries(weights).map(([name, { shape }]) => `${name} ${shape}`),
    ["conv1d.kernel 5,3,6", "conv1d.bias 6", "conv1d_1.kernel 3,6,4", "conv1d_1.bias 4"],
  );
  // Glorot's bound counts all taps.
  const bound = Math.sqrt(6 / (5 * 3 + 5 * 6));
  const largest = weights["conv1d.kernel"].data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  assert.ok(largest <= bound && largest > 0.9 * bound, `${largest} of ${bound}`);
});

test("a dense layer is a convolution of one step", async () => {
  const conv = await made([conv1d(5, 1, { activation: "tanh" })]);
  const model = await made([dense(5, { activation: "tanh" })]);
  const { "conv1d.kernel": kernel, "conv1d.bias": bias } = conv.weights();
  model.setWeights({ "dense.kernel": tensor(kernel.data, [I, 5]), "dense.bias": bias });
  const outputGradient = randomTensor([B, T, 5], 3);
  const a = await conv.gradients(x, { outputGradient });
  const b = await model.gradients(x, { outputGradient });
  sameTensor(a.outputs, b.outputs, "outputs");
  sameTensor(a.inputGradient!, b.inputGradient!, "dx");
  sameBits(a.gradients["conv1d.kernel"].data, b.gradients["dense.kernel"].data, "dKernel");
});

test("they are saved, quantised and trained as other layers are", async () => {
  const options: Conv1dOptions = { padding: "causal", dilation: 2, activation: { name: "leakyRelu", alpha: 0.2 } };
  const model = await made([
    conv1d(8, 3, options),
    pooling1d({ kind: "mean", size: 3, strides: 2, padding: "same" }),
    conv1d(6, 2, { useBias: false, strides: 2 }),
    pooling1d({ global: true }),
    dense(2),
  ]);
  const again = await loadModel(model.toBytes());
  const expected = await model.predict(x);
  sameTensor(await again.predict(x), expected, "loaded");
  for (const calibration of [undefined, x]) {
    const small = await quantize(model, { precision: "int8", calibration });
    // 8 bits of weights through three layers of a dozen products each.
    close((await small.predict(x)).data, expected.data, 0.03, "int8");
    sameTensor(await (await loadModel(small.toBytes())).predict(x), await small.predict(x), "int8, loaded");
  }
  const causal = await made([conv1d(5, 3, { padding: "causal" }), gru(3, { returnSequences: true })]);
  const small = await quantize(causal, { precision: "int8", calibration: x });
  const whole = await small.predict(x);
  const stream = small.stream();
  for (let t = 0; t < T; t++)
    sameBits(stream.step(x.data.slice(t * I, t * I + I)).slice(), whole.data.slice(t * 3, t * 3 + 3), `int8, ${t}`);
  model.compile({ loss: "meanSquaredError" });
  const y = randomTensor([B, 2], 3);
  const first = await model.trainOnBatch(x, y, { lengths: LENGTHS });
  for (let i = 0; i < 20; i++) await model.trainOnBatch(x, y, { lengths: LENGTHS });
  assert.ok((await model.evaluate(x, y, { lengths: LENGTHS })).loss < first.loss);
});

test("what does not fit is refused", async () => {
  await refuses(() => conv1d(0, 3), OptionError, /"filters"/);
  await refuses(() => conv1d(3, 0), OptionError, /"kernelSize"/);
  await refuses(() => conv1d(3, 2, { strides: 0 }), OptionError, /"strides"/);
  await refuses(() => conv1d(3, 2, { dilation: 1.5 }), OptionError, /"dilation"/);
  await refuses(
    () => conv1d(3, 2, { padding: "full" as never }),
    OptionError,
    /"padding" must be one of "valid", "same", "causal"/,
  );
  await refuses(() => conv1d(3, 2, { dilationRate: 2 } as never), OptionError, /unknown option "dilationRate"/);
  await refuses(() => pooling1d({ kind: "sum" as never }), OptionError, /"kind" must be one of "max", "mean"/);
  await refuses(() => pooling1d({ padding: "causal" as never }), OptionError, /"padding"/);
  await refuses(() => pooling1d({ global: true, size: 3 }), OptionError, /"size" means nothing with global: true/);
  await refuses(() => made([gru(2), conv1d(2, 1)]), ShapeError, /a convolution needs a time axis/);
  await refuses(() => made([gru(2), pooling1d()]), ShapeError, /expected input \[batch, time, features\]/);
  await refuses(
    () => made([conv1d(2, 5)], 4),
    ShapeError,
    /layer "conv1d": expected at least 5 steps \(padding "valid"\), got 4/,
  );
  const model = await made([conv1d(2, 4, { dilation: 3 }), gru(2)]);
  await refuses(() => model.predict(x), ShapeError, /expected at least 10 steps/);
  await model.predict(randomTensor([1, 10, I], 1));
});

test.run();
