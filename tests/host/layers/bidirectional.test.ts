import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors, writeSafetensors } from "../../../host/formats/safetensors.ts";
import {
  type BidirectionalOptions,
  bidirectional,
  dense,
  FormatError,
  type GruOptions,
  gru,
  type Layer,
  loadModel,
  type Model,
  OptionError,
  quantize,
  ShapeError,
  StateError,
  sequential,
  type Tensor,
} from "../../../host/index.ts";
import { close, sameBits } from "../../kit/core.ts";
import { randomTensor, refuses, sameTensor, sameTensors, steps } from "../../kit/models.ts";

const [B, T, I, H] = [5, 6, 3, 5];
const LENGTHS = [6, 0, 3, 1, 5];
const MASK = [
  [1, 1, 1, 1, 1, 1],
  [0, 0, 0, 0, 0, 0],
  [0, 1, 0, 1, 1, 0],
  [0, 0, 0, 0, 0, 1],
  [1, 0, 0, 1, 0, 0],
];
const WAYS = { plain: {}, lengths: { lengths: LENGTHS }, holes: { mask: MASK } };

const x = randomTensor([B, T, I], 21);

async function made(layers: Layer[]): Promise<Model> {
  const model = await sequential(layers, { inputShape: [null, I], seed: 4 });
  const weights = Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, i + 1)]);
  model.setWeights(Object.fromEntries(weights));
  return model;
}

/** A bidirectional gru, and its two directions as models of their own. */
async function apart(options: GruOptions, merge: BidirectionalOptions["merge"] = "concat") {
  const both = await made([bidirectional(gru(H, options), { merge })]);
  const weights = Object.entries(both.weights());
  const direction = async (part: string, goBackwards: boolean) => {
    const zeroOutputForMask = options.returnSequences ?? false;
    const model = await made([gru(H, { ...options, goBackwards, zeroOutputForMask })]);
    const own = weights.filter(([name]) => name.includes(`.${part}.`));
    model.setWeights(Object.fromEntries(own.map(([name, t]) => [name.replace(/^.*\./, "gru."), t])));
    return model;
  };
  return { both, forward: await direction("forward", false), backward: await direction("backward", true) };
}

/** Steps of every sample turned round. */
function flipped(t: Tensor): Tensor {
  const [rows, time, n] = t.shape;
  const data = new Float32Array(t.data.length);
  for (let b = 0; b < rows; b++)
    for (let s = 0; s < time; s++)
      data.set(t.data.subarray((b * time + s) * n, (b * time + s + 1) * n), (b * time + time - 1 - s) * n);
  return { shape: t.shape, data };
}

function beside(a: Tensor, b: Tensor): Tensor {
  const [n, m] = [a.shape.at(-1)!, b.shape.at(-1)!];
  const data = new Float32Array(a.data.length + b.data.length);
  for (let r = 0; r < a.data.length / n; r++) {
    data.set(a.data.subarray(r * n, (r + 1) * n), r * (n + m));
    data.set(b.data.subarray(r * m, (r + 1) * m), r * (n + m) + n);
  }
  return { shape: [...a.shape.slice(0, -1), n + m], data };
}

for (const returnSequences of [true, false])
  test(`${returnSequences ? "sequences" : "last states"} are those of a gru and of one that goes backwards, in time order`, async () => {
    for (const [way, extras] of Object.entries(WAYS)) {
      const { both, forward, backward } = await apart({ returnSequences });
      const initialState = [randomTensor([B, H], 5), randomTensor([B, H], 6)];
      const f = await forward.predict(x, { ...extras, initialState: initialState[0] });
      const r = await backward.predict(x, { ...extras, initialState: initialState[1] });
      const expected = beside(f, returnSequences ? flipped(r) : r);
      sameTensor(await both.predict(x, { ...extras, initialState }), expected, way);

      // A loss on one half reaches that direction alone.
      const half = randomTensor(f.shape, 7);
      const none = { shape: half.shape, data: new Float32Array(half.data.length) };
      const stateGradient = [randomTensor([B, H], 8), randomTensor([B, H], 9)];
      const own = await backward.gradients(
        x,
        { outputGradient: returnSequences ? flipped(half) : half, stateGradient: stateGradient[1] },
        { ...extras, initialState: initialState[1] },
      );
      const got = await both.gradients(
        x,
        {
          outputGradient: beside(none, half),
          stateGradient: [{ shape: [B, H], data: new Float32Array(B * H) }, stateGradient[1]],
        },
        { ...extras, initialState },
      );
      for (const part of ["kernel", "recurrentKernel", "bias"]) {
        sameTensor(got.gradients[`bidirectional.backward.${part}`], own.gradients[`gru.${part}`], `${way}: ${part}`);
        assert.ok(
          got.gradients[`bidirectional.forward.${part}`].data.every((v) => v === 0),
          `${way}: ${part}`,
        );
      }
      sameTensor(got.inputGradient!, own.inputGradient!, `${way}: dx`);
      sameTensor(got.state[1], own.state[0], `${way}: state`);
      sameTensor(got.stateGradient[1], own.stateGradient[0], `${way}: d state`);
      for (const model of [both, forward, backward]) model.dispose();
    }
  });

test("the last output of the reversed direction has read the first step last", async () => {
  const model = await made([bidirectional(gru(H))]);
  for (const extras of [{}, { lengths: LENGTHS }]) {
    const { outputs, state } = await model.gradients(x, { outputGradient: randomTensor([B, 2 * H], 1) }, extras);
    sameTensor(outputs, beside(state[0], state[1]), "states");
  }
  const short = await model.predict(steps(x, 0, 3), {});
  const padded = await model.predict(x, { lengths: new Array(B).fill(3) });
  sameTensor(padded, short, "as if the padding were not there");
  model.dispose();
});

for (const merge of ["concat", "sum", "mul", "average"] as const)
  test(`${merge}: padding, and whatever stands in it, changes nothing`, async () => {
    const model = await made([
      bidirectional(gru(9, { returnSequences: true }), { merge }),
      bidirectional(gru(4), { merge }),
      dense(3),
    ]);
    const outputGradient = randomTensor([B, 3], 6);
    const expected = await model.gradients(x, { outputGradient }, { lengths: LENGTHS });
    const longer = randomTensor([B, T + 4, I], 77, 1e4);
    for (let b = 0; b < B; b++) longer.data.set(x.data.subarray(b * T * I, (b * T + LENGTHS[b]) * I), b * (T + 4) * I);
    const got = await model.gradients(longer, { outputGradient }, { lengths: LENGTHS });
    sameTensor(got.outputs, expected.outputs, "outputs");
    sameTensor(await model.predict(longer, { lengths: LENGTHS }), expected.outputs, "predict");
    sameTensors(got.gradients, expected.gradients, "gradients");
    sameTensor(steps(got.inputGradient!, 0, T), expected.inputGradient!, "dx");
    // Nor does the order of the batch change a row.
    const order = [3, 0, 4, 2, 1];
    const rows = (t: Tensor) => {
      const size = t.data.length / B;
      const data = Float32Array.from(t.data, (_, i) => t.data[order[Math.floor(i / size)] * size + (i % size)]);
      return { shape: t.shape, data };
    };
    const permuted = await model.predict(rows(x), { lengths: order.map((b) => LENGTHS[b]) });
    sameTensor(permuted, rows(expected.outputs), "permuted");
    model.dispose();
  });

test("it is saved, quantised, trained and stateful as other layers are", async () => {
  const backwardLayer = gru(3, { returnSequences: true, goBackwards: true, resetAfter: false, activation: "relu" });
  const model = await made([
    bidirectional(gru(8, { returnSequences: true, name: "reader" }), { backwardLayer }),
    dense(2),
  ]);
  assert.equal(model.outputShape, [null, 2]);
  assert.equal(Object.keys(model.weights()).slice(0, 4), [
    "reader.forward.kernel",
    "reader.forward.recurrentKernel",
    "reader.forward.bias",
    "reader.backward.kernel",
  ]);
  const again = await loadModel(model.toBytes());
  const expected = await model.predict(x, { lengths: LENGTHS });
  sameTensor(await again.predict(x, { lengths: LENGTHS }), expected, "loaded");
  const small = await quantize(model, { precision: "int8", calibration: x });
  // Weights of 8 bits; what a dense sum of eleven of them can lose.
  close((await small.predict(x, { lengths: LENGTHS })).data, expected.data, 0.03, "int8");
  sameBits((await (await loadModel(small.toBytes())).predict(x)).data, (await small.predict(x)).data, "int8, loaded");
  model.compile({ loss: "meanSquaredError" });
  const y = randomTensor([B, T, 2], 3);
  const first = await model.trainOnBatch(x, y, { lengths: LENGTHS });
  for (let i = 0; i < 20; i++) await model.trainOnBatch(x, y, { lengths: LENGTHS });
  assert.ok((await model.evaluate(x, y, { lengths: LENGTHS })).loss < first.loss);

  const stateful = await made([bidirectional(gru(H, { stateful: true }))]);
  const plain = await made([bidirectional(gru(H))]);
  const { state } = await plain.gradients(steps(x, 0, 2), { outputGradient: randomTensor([B, 2 * H], 1) });
  await stateful.predict(steps(x, 0, 2));
  sameTensor(
    await stateful.predict(steps(x, 2, T)),
    await plain.predict(steps(x, 2, T), { initialState: state }),
    "carried",
  );
});

test("what does not fit is refused", async () => {
  await refuses(
    () => bidirectional(dense(3)),
    OptionError,
    /"layer" must be a recurrent layer such as gru\(64\), got a layer of type "dense"/,
  );
  await refuses(() => bidirectional(undefined as never), OptionError, /"layer" must be a recurrent layer/);
  await refuses(() => bidirectional(bidirectional(gru(2))), OptionError, /got a layer of type "bidirectional"/);
  await refuses(
    () => bidirectional(gru(2, { goBackwards: true })),
    OptionError,
    /"layer" must have goBackwards: false/,
  );
  await refuses(
    () => bidirectional(gru(2), { backwardLayer: gru(2) }),
    OptionError,
    /"backwardLayer" must have goBackwards: true/,
  );
  await refuses(() => bidirectional(gru(2), { merge: "max" as never }), OptionError, /"merge" must be one of "concat"/);
  await refuses(() => bidirectional(gru(2), { mergeMode: "sum" } as never), OptionError, /unknown option "mergeMode"/);
  const two = (options: BidirectionalOptions) => made([bidirectional(gru(2), options)]);
  await refuses(
    () => two({ backwardLayer: gru(2, { goBackwards: true, returnSequences: true }) }),
    ShapeError,
    /"returnSequences" must be the same/,
  );
  await refuses(
    () => two({ merge: "sum", backwardLayer: gru(3, { goBackwards: true }) }),
    ShapeError,
    /merge "sum" expects directions of the same units, got 2 and 3/,
  );
  const model = await two({});
  await refuses(() => model.stream(), StateError, /layer "bidirectional" cannot stream: its reversed direction/);
  await refuses(
    () => model.predict(x, { initialState: randomTensor([B, 2], 1) }),
    ShapeError,
    /"bidirectional.forward" \[5, 2\], "bidirectional.backward" \[5, 2\]/,
  );
  const { tensors, metadata } = readSafetensors(model.toBytes(), "test");
  for (const [from, to] of [
    [/"layer":\{"type":"gru"/, '"layer":{"type":"dense"'],
    [/"layer":\{"type":"gru"/, '"layer":{"kind":"gru"'],
    [/"backwardLayer":null/, '"backwardLayer":7'],
    [/"merge":"concat"/, '"merge":"both"'],
  ] as const) {
    const text = metadata.get("gruvy")!;
    assert.match(text, from);
    const bytes = writeSafetensors(tensors as never, { gruvy: text.replace(from, to) });
    await refuses(() => loadModel(bytes as Uint8Array), FormatError, /loadModel\(\)|unknown|without/);
  }
  model.dispose();
});

test.run();
