import { test } from "uvu";
import * as assert from "uvu/assert";
import { isTensor } from "../../../../host/core/tensor.ts";
import { toOnnx } from "../../../../host/formats/onnx/export.ts";
import {
  embedding,
  FormatError,
  gru,
  loadModel,
  type Model,
  masking,
  sequential,
  type Tensor,
} from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { EXPORTED, EXPORTED_GRAPHS, make, REWRITTEN } from "../../../kit/exported.ts";
import { randomLabels, randomTensor, refuses, sameTensor, sameTensors } from "../../../kit/models.ts";

const inputOf = (tokens: number | undefined): Tensor | Tensor<Int32Array> =>
  tokens ? randomLabels([3, 5], tokens, 1) : randomTensor([3, 5, 3], 1);

for (const one of EXPORTED)
  test(`${one.name}: to ONNX and back, weights and outputs to the bit`, async () => {
    const model = await make(one);
    const again = await loadModel(toOnnx(model));
    const x = inputOf(one.tokens);
    sameTensors(again.weights(), model.weights(), "weights");
    sameTensor((await again.predict(x)) as Tensor, (await model.predict(x)) as Tensor, "outputs");
    model.dispose();
    again.dispose();
  });

for (const { name, make: made, inputs } of EXPORTED_GRAPHS)
  test(`${name}: to ONNX and back, outputs to the bit`, async () => {
    const model = await made();
    const again = (await loadModel(toOnnx(model))) as Model<Tensor | Record<string, Tensor>>;
    const given = "x" in inputs ? inputs.x : inputs;
    const [expected, actual] = [await model.predict(given), await again.predict(given)];
    if (isTensor(expected)) sameTensor(actual as Tensor, expected, "outputs");
    else sameTensors(actual as Record<string, Tensor>, expected, "outputs");
    model.dispose();
    again.dispose();
  });

for (const one of REWRITTEN)
  test(`${one.name}: to ONNX and back, the same function`, async () => {
    const model = await make(one);
    const again = await loadModel(toOnnx(model));
    const x = inputOf(one.tokens);
    const expected = (await model.predict(x)) as Tensor;
    close(((await again.predict(x)) as Tensor).data, expected.data, 1e-6, "outputs");
    model.dispose();
    again.dispose();
  });

for (const one of EXPORTED.filter(({ streams }) => streams))
  test(`${one.name}: the streaming form comes back as the model over sequences`, async () => {
    const model = await make(one);
    const again = await loadModel(toOnnx(model, { streaming: true }));
    sameTensors(again.weights(), model.weights(), "weights");
    const [frames, other]: Float32Array[][] = [model, again].map((m: Model) => {
      const stream = m.stream();
      const { data } = inputOf(one.tokens);
      const n = one.tokens ? 1 : 3;
      return [0, 1, 2].map((t) => stream.step(data.subarray(t * n, (t + 1) * n) as never).slice());
    });
    assert.equal(other, frames);
    model.dispose();
    again.dispose();
  });

test("lengths come as an input, and go into a model that takes them", async () => {
  const model = await sequential([gru(4, { returnSequences: true }), gru(3)], { inputShape: [null, 3], seed: 2 });
  const again = await loadModel(toOnnx(model, { lengths: true }));
  const x = randomTensor([3, 5, 3], 1);
  const lengths = [5, 2, 4];
  sameTensor(
    (await again.predict(x, { lengths })) as Tensor,
    (await model.predict(x, { lengths })) as Tensor,
    "outputs",
  );
  model.dispose();
  again.dispose();
});

test("what ONNX cannot hold is refused by the layer's name, and what would do", async () => {
  const of = async (layers: Parameters<typeof sequential>[0], tokens = false, options = {}) => {
    const model = await sequential(layers, { inputShape: tokens ? [null] : [null, 3] });
    try {
      toOnnx(model, options);
    } finally {
      model.dispose();
    }
  };
  await refuses(() => of([masking(), gru(2)]), FormatError, /layer "masking": a masking layer, which ONNX cannot hold/);
  await refuses(
    () => of([embedding(5, 2, { maskZero: true }), gru(2)], true),
    FormatError,
    /layer "embedding": maskZero, a mask that may have holes, which ONNX cannot hold; pad on the right and use lengths/,
  );
  await refuses(() => of([gru(2, { activation: "gelu" })]), FormatError, /layer "gru": the activation "gelu" in a gru/);
  await refuses(
    () => of([gru(2, { goBackwards: true })], false, { streaming: true }),
    FormatError,
    /goBackwards in a streaming/,
  );
  await refuses(
    () => of([gru(2, { recurrentActivation: { name: "clippedSigmoid", alpha: 1 } })]),
    FormatError,
    /clipped beside other activations/,
  );
});

test.run();
