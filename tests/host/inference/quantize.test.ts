import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors, writeSafetensors } from "../../../host/formats/safetensors.ts";
import {
  activation,
  dense,
  dropout,
  embedding,
  FormatError,
  gru,
  type Layer,
  layerNorm,
  lightGru,
  loadModel,
  type Model,
  masking,
  mgu,
  minGru,
  OptionError,
  quantize,
  StateError,
  sequential,
  tensor,
} from "../../../host/index.ts";
import { close, sameBits, uniform } from "../../kit/core.ts";

const [B, T, I] = [7, 9, 5];
const x = tensor(uniform(B * T * I, 1), [B, T, I]);

const make = (seed = 1): Promise<Model> =>
  sequential(
    [
      gru(19, { returnSequences: true }),
      gru(12, { resetAfter: false, returnSequences: true }),
      gru(8),
      dense(3, { activation: "softmax" }),
    ],
    { inputShape: [null, I], seed },
  );

const error = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i])));

async function rejects(run: () => unknown, type: new (m: string) => Error, pattern: RegExp): Promise<void> {
  try {
    await run();
  } catch (e) {
    assert.instance(e, type);
    assert.match((e as Error).message, pattern);
    return;
  }
  assert.unreachable(`nothing was thrown; expected ${pattern}`);
}

test("a quantised model computes nearly what the model did, which stays as it was", async () => {
  const model = await make();
  const before = await model.predict(x);
  const small = await quantize(model, { precision: "int8" });
  const after = await small.predict(x);
  assert.equal(after.shape, before.shape);
  // Weights are off by half a part in 127 of their column's largest, in random directions; three layers, 9 steps.
  const e = error(after.data, before.data);
  assert.ok(e > 0 && e < 0.01, `error ${e}`);
  sameBits((await model.predict(x)).data, before.data, "the model itself");
  assert.equal(small.outputShape, model.outputShape);
  model.dispose();
  sameBits((await small.predict(x)).data, after.data, "without the model it came from");
  small.dispose();
  await rejects(() => small.predict(x), StateError, /disposed/);
});

test("weights() has the numbers it computes with: a float model with them computes the same, but for activations", async () => {
  const model = await make();
  const small = await quantize(model, { precision: "int8" });
  const weights = small.weights();
  for (const [name, { shape, data }] of Object.entries(model.weights())) {
    assert.equal(weights[name].shape, shape);
    const n = shape.at(-1)!;
    for (let j = 0; j < n; j++) {
      const column = (v: Float32Array) => Array.from({ length: v.length / n }, (_, i) => v[i * n + j]);
      const largest = Math.max(...column(data).map(Math.abs));
      close(column(weights[name].data), column(data), 0, `${name}, column ${j}`, largest / 253);
    }
    if (name.endsWith("bias")) sameBits(weights[name].data, data, name);
  }
  const same = await make(2);
  same.setWeights(weights);
  close((await small.predict(x)).data, (await same.predict(x)).data, 0, "13 bits of activations", 3e-4);
  for (const m of [model, small, same]) m.dispose();
});

const sequence = { returnSequences: true };
const STACKS: Record<string, () => Layer[]> = {
  gru: () => [gru(19, sequence), gru(8, sequence)],
  "layer normalisation and zoneout": () => [gru(19, { ...sequence, layerNorm: true, zoneout: 0.2 })],
  minGru: () => [minGru(19, sequence), minGru(8, sequence)],
  lightGru: () => [lightGru(19, sequence), lightGru(8, sequence)],
  mgu: () => [mgu(19, sequence), mgu(8, sequence)],
};

for (const [name, layers] of Object.entries(STACKS))
  test(`${name}: a stream, a batch and its samples agree to the bit, near the model`, async () => {
    const model = await sequential([...layers(), dense(3)], { inputShape: [null, I], seed: 3 });
    const exact = (await model.predict(x)).data;
    for (const calibration of [undefined, x]) {
      const small = await quantize(model, { precision: "int8", calibration });
      const whole = (await small.predict(x)).data;
      const e = error(whole, exact);
      assert.ok(e > 0 && e < 0.02, `error ${e}`);
      sameBits((await small.predict(x, { batchSize: 3 })).data, whole, "batches of 3");
      for (let b = 0; b < B; b++) {
        const stream = small.stream();
        for (let t = 0; t < T; t++)
          sameBits(
            stream.step(x.data.slice((b * T + t) * I, (b * T + t + 1) * I)),
            whole.slice((b * T + t) * 3, (b * T + t + 1) * 3),
            `sample ${b}, step ${t}`,
          );
        stream.close();
      }
      small.dispose();
    }
    model.dispose();
  });

test("saves int8, a quarter of the size, and loads it to the bit", async () => {
  const model = await sequential([gru(96), dense(10)], { inputShape: [null, 64], seed: 1 });
  model.compile({ loss: "meanSquaredError" });
  const small = await quantize(model, { precision: "int8", calibration: tensor(uniform(640, 2), [1, 10, 64]) });
  const bytes = small.toBytes();
  const ratio = model.toBytes().length / bytes.length;
  // Scales, biases and the header are what is missing to 4.
  assert.ok(ratio > 3.3, `${ratio} times smaller`);
  const { tensors, metadata } = readSafetensors(bytes);
  assert.is(tensors.get("gru.kernel")!.dtype, "I8");
  assert.equal(tensors.get("gru.kernel.scale")!.shape, [288]);
  assert.is(tensors.get("gru.bias")!.dtype, "F32");
  assert.is(JSON.parse(metadata.get("gruvy")!).quantization.activationBits, 13);

  const frames = tensor(uniform(2 * 10 * 64, 3), [2, 10, 64]);
  const expected = (await small.predict(frames)).data;
  const directory = mkdtempSync(join(tmpdir(), "gruvy-int8-"));
  const path = join(directory, "small.safetensors");
  await small.save(path);
  for (const source of [bytes, path]) {
    const loaded = await loadModel(source);
    sameBits((await loaded.predict(frames)).data, expected, "predict");
    assert.equal(Buffer.compare(loaded.toBytes(), bytes), 0);
    assert.ok("loss" in (await loaded.evaluate(frames, tensor(uniform(20, 1), [2, 10]))));
    await rejects(() => loaded.trainOnBatch(frames, tensor(uniform(20, 1), [2, 10])), StateError, /cannot train/);
    loaded.dispose();
  }
  rmSync(directory, { recursive: true });
  assert.match(small.summary(), /\d+ parameters, 5\d\.\d KiB/);
  model.dispose();
  small.dispose();
});

test("evaluates with the loss and metrics it was compiled with, and does not train", async () => {
  const model = await make();
  const y = tensor(
    Float32Array.from({ length: B * 3 }, (_, i) => (i % 3 === Math.floor(i / 3) % 3 ? 1 : 0)),
    [B, 3],
  );
  const plain = await quantize(model, { precision: "int8" });
  await rejects(() => plain.evaluate(x, y), StateError, /compile/);
  plain.dispose();
  model.compile({ loss: "categoricalCrossentropy", optimizer: "adagrad", metrics: ["accuracy"] });
  const small = await quantize(model, { precision: "int8" });
  const scores = await small.evaluate(x, y);
  close([scores.loss], [(await model.evaluate(x, y)).loss], 0, "loss", 0.02);
  assert.ok("accuracy" in scores);
  for (const run of [() => small.fit(x, y), () => small.trainOnBatch(x, y), () => small.gradients(x, y)])
    await rejects(run, StateError, /cannot train/);
  assert.throws(
    () => small.toBytes({ training: true }),
    (e: Error) => e instanceof StateError,
  );
  small.setWeights(model.weights());
  model.dispose();
  small.dispose();
});

test("tokens, masks, lengths, other activations and the other layers", async () => {
  const model = await sequential(
    [
      embedding(20, 6, { maskZero: true }),
      dropout(0.5),
      gru(9, { returnSequences: true, activation: "relu", recurrentActivation: "hardSigmoid" }),
      layerNorm(),
      gru(5, { goBackwards: true, returnSequences: true }),
      activation("tanh"),
      dense(2),
    ],
    { inputShape: [null], seed: 4 },
  );
  const tokens = tensor(
    Int32Array.from({ length: 24 }, (_, i) => (i % 8 > 5 ? 0 : (i * 7) % 20)),
    [3, 8],
  );
  const small = await quantize(model, { precision: "int8", calibration: tokens });
  close((await small.predict(tokens)).data, (await model.predict(tokens)).data, 0, "tokens", 0.05);
  model.dispose();
  small.dispose();

  const masked = await sequential([masking(), gru(9)], { inputShape: [null, I], seed: 5 });
  const less = await quantize(masked, { precision: "int8" });
  const lengths = [9, 1, 3, 4, 5, 6, 7];
  close((await less.predict(x, { lengths })).data, (await masked.predict(x, { lengths })).data, 0, "lengths", 0.02);
  masked.dispose();
  less.dispose();
});

test("calibration cuts what is larger than it was, and only the input of layers", async () => {
  const model = await sequential([dense(4)], { inputShape: [I], seed: 6 });
  const ones = tensor(new Float32Array(I).fill(1), [1, I]);
  const calibrated = await quantize(model, { precision: "int8", calibration: ones });
  const hundred = tensor(new Float32Array(I).fill(100), [1, I]);
  sameBits((await calibrated.predict(hundred)).data, (await calibrated.predict(ones)).data, "cut to 1");
  const dynamic = await quantize(model, { precision: "int8" });
  const expected = (await model.predict(hundred)).data;
  close((await dynamic.predict(hundred)).data, expected, 0.03, "its own range");
  for (const m of [model, calibrated, dynamic]) m.dispose();
});

test("a stateful model stays where it was through its calibration", async () => {
  const model = await sequential([gru(4, { stateful: true })], { inputShape: [null, I], seed: 7 });
  const twin = await sequential([gru(4, { stateful: true })], { inputShape: [null, I], seed: 7 });
  await model.predict(x);
  await twin.predict(x);
  const small = await quantize(model, { precision: "int8", calibration: tensor(uniform(2 * T * I, 9), [2, T, I]) });
  sameBits((await model.predict(x)).data, (await twin.predict(x)).data, "second batch");
  for (const m of [model, twin, small]) m.dispose();
});

test("refuses what it does not know", async () => {
  const model = await make();
  const small = await quantize(model, { precision: "int8" });
  await rejects(() => quantize(small, { precision: "int8" }), OptionError, /already/);
  await rejects(
    () => quantize(model, { precision: "int4" as "int8" }),
    OptionError,
    /"precision" must be one of "int8"/,
  );
  await rejects(() => quantize(model, {} as never), OptionError, /"precision"/);
  await rejects(() => quantize(model, { precision: "int8", calibrate: x } as never), OptionError, /"calibration"/);
  await rejects(() => quantize({} as Model, { precision: "int8" }), OptionError, /expected a model/);
  await rejects(() => quantize(model, { precision: "int8", calibration: [[1, 2]] }), Error, /calibration/);
  model.dispose();
  await rejects(() => quantize(model, { precision: "int8" }), StateError, /disposed/);
  small.dispose();
});

test("refuses damaged files", async () => {
  const model = await make();
  const small = await quantize(model, { precision: "int8" });
  const { tensors, metadata } = readSafetensors(small.toBytes());
  model.dispose();
  small.dispose();
  type Change = (header: { quantization: Record<string, unknown> }, all: Map<string, never>) => void;
  const changed = (change: Change) => {
    const header = JSON.parse(metadata.get("gruvy")!);
    const all = new Map(tensors) as Map<string, never>;
    change(header, all);
    return writeSafetensors(all, { gruvy: JSON.stringify(header) });
  };
  const nan = { shape: [3], data: new Float32Array(3).fill(Number.NaN) } as never;
  const damages: [Change, RegExp][] = [
    [(h) => (h.quantization.activationBits = 7), /7 bits; this version computes with 13/],
    [(h) => (h.quantization.precision = "int4"), /quantization is damaged/],
    [(h) => (h.quantization.ranges = { gru: -1 }), /ranges/],
    [(h) => (h.quantization.ranges = { gru: "1" }), /ranges/],
    [(_, all) => all.delete("dense.kernel.scale"), /"dense.kernel.scale" \[3\] is missing/],
    [(_, all) => all.set("dense.kernel.scale", nan), /"dense.kernel.scale" has NaN/],
    [(_, all) => all.set("dense.kernel", nan), /"dense.kernel": expected \[8, 3\]/],
    [
      (_, all) => all.set("dense.kernel", { shape: [8, 3], data: new Float32Array(24) } as never),
      /"dense.kernel": expected I8, got F32/,
    ],
    [(h) => delete (h as { quantization?: unknown }).quantization, /expected F32, F16 or BF16, got I8/],
  ];
  for (const [change, pattern] of damages) await rejects(() => loadModel(changed(change)), FormatError, pattern);
  (await loadModel(changed(() => {}))).dispose();
});

test.run();
