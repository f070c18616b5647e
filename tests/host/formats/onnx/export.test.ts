import { test } from "uvu";
import * as assert from "uvu/assert";
import { isTensor } from "../../../../host/core/tensor.ts";
import { toOnnx } from "../../../../host/formats/onnx/export.ts";
import { External, readModel } from "../../../../host/formats/onnx/proto.ts";
import {
  attention,
  bidirectional,
  conv1d,
  dense,
  FormatError,
  gru,
  loadModel,
  type Model,
  minGru,
  sequential,
  type Tensor,
  timeDistributed,
} from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { EXPORTED, EXPORTED_GRAPHS, make, REWRITTEN } from "../../../kit/exported.ts";
import { randomLabels, randomTensor, refuses, sameTensor, sameTensors } from "../../../kit/models.ts";
import { examples, frames, ONNX_MODELS } from "../../../kit/onnx-models.ts";

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

const outputsOf = (predicted: Tensor | Record<string, Tensor>) => (isTensor(predicted) ? { y: predicted } : predicted);

for (const one of ONNX_MODELS)
  test(`${one.name}: to ONNX and back, with lengths and without, weights and outputs to the bit`, async () => {
    const model = await one.make();
    for (const padded of [false, true]) {
      const again = (await loadModel(toOnnx(model, { lengths: padded }))) as typeof model;
      sameTensors(again.weights(), model.weights(), "weights");
      for (const [B, T] of [
        [3, 5],
        [1, 3],
        [2, 17],
      ]) {
        const { x, lengths } = examples(one, B, T, padded);
        const [expected, actual] = [await model.predict(x, { lengths }), await again.predict(x, { lengths })];
        sameTensors(outputsOf(actual), outputsOf(expected), `outputs, ${B} rows of ${T} steps`);
      }
      again.dispose();
    }
    model.dispose();
  });

for (const one of ONNX_MODELS.filter(({ streams }) => streams))
  test(`${one.name}: the streaming form comes back as the model over sequences`, async () => {
    const model = await one.make();
    const again = (await loadModel(toOnnx(model, { streaming: true }))) as Model;
    sameTensors(again.weights(), model.weights(), "weights");
    const steps = frames(one, 2, 7);
    const [expected, actual] = [model as Model, again].map((m) => {
      const stream = m.stream({ batch: 2 });
      return steps.map((frame) => stream.step(frame as Float32Array).slice());
    });
    assert.equal(actual, expected);
    model.dispose();
    again.dispose();
  });

test("what ONNX has operators for is written as these alone, with lengths too", async () => {
  const layers = [
    gru(4, { returnSequences: true }),
    bidirectional(gru(3, { returnSequences: true })),
    gru(2),
    dense(2),
  ];
  const model = await sequential(layers, { inputShape: [null, 3] });
  for (const options of [{}, { lengths: true }]) {
    const { nodes } = readModel(toOnnx(model, options), "test", new External());
    assert.equal([...new Set(nodes.map(({ domain }) => domain))], [""]);
  }
  model.dispose();
});

test("a model that carries its states from batch to batch still does when it comes back", async () => {
  const layers = [gru(3, { returnSequences: true, stateful: true }), bidirectional(gru(3, { stateful: true }))];
  const model = await sequential(layers, { inputShape: [null, 3] });
  const again = await loadModel(toOnnx(model));
  const x = randomTensor([2, 4, 3], 1);
  const first = await model.predict(x);
  sameTensor((await again.predict(x)) as Tensor, first, "first batch");
  const second = await model.predict(x);
  assert.not.equal(second.data, first.data);
  sameTensor((await again.predict(x)) as Tensor, second, "second batch");
  model.dispose();
  again.dispose();
});

test("a layer that is used twice has its weights in the file once", async () => {
  const { make: made } = ONNX_MODELS.find(({ name }) => name === "one layer called twice")!;
  const model = await made();
  const text = Buffer.from(toOnnx(model)).toString("latin1");
  const names = text.match(/attention\.queryKernel(_\d)?/g)!;
  assert.equal([...new Set(names)], ["attention.queryKernel"]);
  model.dispose();
});

test("what ONNX cannot hold is refused by the layer's name, and what would do", async () => {
  const of = async (layers: Parameters<typeof sequential>[0], options = {}) => {
    const model = await sequential(layers, { inputShape: [null, 3] });
    try {
      toOnnx(model, options);
    } finally {
      model.dispose();
    }
  };
  const inSteps = (layers: Parameters<typeof sequential>[0]) => of(layers, { streaming: true });
  await refuses(
    () => inSteps([gru(2, { goBackwards: true })]),
    FormatError,
    /layer "gru": in one step: goBackwards reads the sequence from its end, which ONNX cannot hold; export whole sequences/,
  );
  await refuses(() => inSteps([attention()]), FormatError, /layer "attention": in one step: attention reads whole seq/);
  await refuses(() => inSteps([conv1d(2, 2)]), FormatError, /layer "conv1d": in one step: padding "valid" waits/);
  await refuses(
    () => inSteps([gru(2, { returnSequences: true }), bidirectional(minGru(2))]),
    FormatError,
    /layer "bidirectional": in one step/,
  );
  await refuses(
    () => of([timeDistributed({ ...dense(2), type: "mine" })]),
    FormatError,
    /layer "time_distributed": a layer of type "mine", which ONNX cannot hold; it can hold those that gruvy has/,
  );
  await refuses(
    () => of([gru(2)], { streaming: true, lengths: true }),
    FormatError,
    /"lengths": one step has none; leave out "streaming"/,
  );
});

test.run();
