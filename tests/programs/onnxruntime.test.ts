import { test } from "uvu";
import * as assert from "uvu/assert";
import { isTensor } from "../../host/core/tensor.ts";
import { toOnnx } from "../../host/formats/onnx/export.ts";
import { gru, type Model, sequential, type Tensor } from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { EXPORTED, EXPORTED_GRAPHS, make, REWRITTEN } from "../kit/exported.ts";
import { randomLabels, randomTensor } from "../kit/models.ts";
import { examples, frames, ONNX_MODELS } from "../kit/onnx-models.ts";
import { ort } from "./ort.ts";

/** onnxruntime-node runs what gruvy exports, and gives the same numbers. */

const open = (bytes: Uint8Array) => ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 3 });

/** float32 sums in another order, and functions a few ulp apart: some 1e-6 of the largest entry. */
const TOLERANCE = 3e-6;

const given = (t: Tensor | Tensor<Int32Array>) =>
  new ort.Tensor(t.data instanceof Int32Array ? "int32" : "float32", t.data, t.shape);

for (const one of [...EXPORTED, ...REWRITTEN])
  test(`${one.name}: the same outputs`, async () => {
    const model = await make(one);
    const x = one.tokens ? randomLabels([3, 5], one.tokens, 1) : randomTensor([3, 5, 3], 1);
    const session = await open(toOnnx(model));
    const { y } = await session.run({ x: given(x) });
    const expected = (await model.predict(x)) as Tensor;
    assert.equal([...y.dims], expected.shape);
    close(y.data, expected.data, TOLERANCE, one.name);
    model.dispose();
  });

for (const one of EXPORTED.filter(({ streams }) => streams))
  test(`${one.name}: step by step, states in and out`, async () => {
    const model = await make(one);
    const session = await open(toOnnx(model, { streaming: true }));
    const x = one.tokens ? randomLabels([2, 4], one.tokens, 1) : randomTensor([2, 4, 3], 1);
    const n = one.tokens ? 1 : 3;
    const stream = model.stream({ batch: 2 });
    const states = session.inputNames.filter((name) => name !== "x");
    const feeds: Record<string, unknown> = {};
    for (const name of states) {
      const units = model.weights()[`${name.replace(/_state$/, "")}.recurrentKernel`].shape[0];
      feeds[name] = new ort.Tensor("float32", new Float32Array(2 * units), [2, units]);
    }
    for (let t = 0; t < 4; t++) {
      const frame = (x.data as Float32Array).constructor === Float32Array ? new Float32Array(2 * n) : new Int32Array(2);
      for (let b = 0; b < 2; b++) for (let i = 0; i < n; i++) frame[b * n + i] = x.data[(b * 4 + t) * n + i];
      const result = await session.run({
        ...feeds,
        x: new ort.Tensor(one.tokens ? "int32" : "float32", frame, one.tokens ? [2] : [2, n]),
      });
      close(result.y.data, stream.step(frame as Float32Array), TOLERANCE, `step ${t}`);
      for (const name of states) feeds[name] = result[`${name}_out`];
    }
    model.dispose();
  });

for (const { name, make: made, inputs } of EXPORTED_GRAPHS)
  test(`${name}: the same outputs`, async () => {
    const model = await made();
    const session = await open(toOnnx(model));
    const result = await session.run(Object.fromEntries(Object.entries(inputs).map(([key, t]) => [key, given(t)])));
    const expected = await model.predict("x" in inputs ? inputs.x : inputs);
    for (const [key, { data }] of Object.entries(isTensor(expected) ? { y: expected } : expected) as [string, Tensor][])
      close(result[key].data, data, TOLERANCE, key);
    model.dispose();
  });

for (const one of ONNX_MODELS)
  test(`${one.name}: the same outputs, with lengths and without`, async () => {
    const model = await one.make();
    for (const padded of [false, true]) {
      const session = await open(toOnnx(model, { lengths: padded }));
      for (const [B, T] of [
        [3, 5],
        [1, 3],
        [2, 17],
      ]) {
        const { inputs, x, lengths, lengthsByInput } = examples(one, B, T, padded);
        const feeds: Record<string, unknown> = {};
        for (const [name, t] of Object.entries(inputs)) feeds[name] = given(t);
        for (const [name, own] of Object.entries(lengthsByInput)) feeds[name] = new ort.Tensor("int32", own, [B]);
        const expected = await model.predict(x, { lengths });
        const result = await session.run(feeds);
        for (const [name, t] of Object.entries(isTensor(expected) ? { y: expected } : expected)) {
          assert.equal([...result[name].dims], t.shape);
          close(result[name].data, t.data, TOLERANCE, `${name}, ${B} rows of ${T} steps`);
        }
      }
    }
    model.dispose();
  });

for (const one of ONNX_MODELS.filter(({ streams }) => streams))
  test(`${one.name}: step by step, states in and out`, async () => {
    const model = (await one.make()) as Model;
    const session = await open(toOnnx(model, { streaming: true }));
    const feeds: Record<string, unknown> = {};
    for (const { name, shape } of session.inputMetadata.filter(({ name }) => name !== "x")) {
      const size = shape[1] as number;
      feeds[name] = new ort.Tensor("float32", new Float32Array(2 * size), [2, size]);
    }
    const stream = model.stream({ batch: 2 });
    for (const [t, frame] of frames(one, 2, 7).entries()) {
      const shape = frame instanceof Int32Array ? [2] : [2, frame.length / 2];
      const result = await session.run({ ...feeds, x: given({ data: frame, shape } as Tensor) });
      close(result.y.data, stream.step(frame as Float32Array), TOLERANCE, `step ${t}`);
      for (const name of Object.keys(feeds)) feeds[name] = result[`${name}_out`];
    }
    model.dispose();
  });

test("lengths: outputs are 0 past the end, the last one is that of the last step", async () => {
  for (const returnSequences of [true, false]) {
    const model = await sequential([gru(4, { returnSequences: true }), gru(3, { returnSequences })], {
      inputShape: [null, 3],
      seed: 2,
    });
    const session = await open(toOnnx(model, { lengths: true }));
    const x = randomTensor([3, 5, 3], 1);
    const lengths = Int32Array.of(5, 2, 4);
    const { y } = await session.run({ x: given(x), lengths: new ort.Tensor("int32", lengths, [3]) });
    close(y.data, ((await model.predict(x, { lengths })) as Tensor).data, TOLERANCE, "lengths");
    model.dispose();
  }
});

test.run();
