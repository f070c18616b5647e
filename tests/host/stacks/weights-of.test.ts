import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  concatenate,
  dense,
  dropout,
  embedding,
  graph,
  gru,
  input,
  type Model,
  OptionError,
  quantize,
  ShapeError,
  StateError,
  type Tensor,
} from "../../../host/index.ts";
import { sameBits } from "../../kit/core.ts";
import { randomLabels, randomTensor } from "../../kit/models.ts";

/** An encoder and a decoder as one model, and each by itself with the same weights. */
async function parts() {
  const [source, target, state] = [input([null], { type: "tokens" }), input([null, 3]), input([6])];
  const [embed, drop, out] = [embedding(5, 4), dropout(0.5), dense(2)];
  const encode = gru(6, { returnState: true });
  const decode = gru(6, { returnSequences: true });
  const [, final] = encode(drop(embed(source)));
  const whole = await graph({ inputs: [source, target], outputs: out(decode(target, { initialState: final })), seed: 4 });
  const encoder = await graph({ inputs: source, outputs: final, weightsOf: whole });
  const decoder = await graph({
    inputs: [target, state],
    outputs: out(decode(target, { initialState: state })),
    weightsOf: whole,
  });
  return { whole, encoder, decoder, nodes: { source, target, embed, encode } };
} // biome-ignore format: nodes

const x = randomLabels([3, 5], 5, 1);
const y = randomTensor([3, 4, 3], 2);

async function agree({ whole, encoder, decoder }: { whole: Model; encoder: Model; decoder: Model }): Promise<Tensor> {
  const state = await encoder.predict(x);
  const apart = await decoder.predict([y, state]);
  const together = await whole.predict([x, y]);
  sameBits(apart.data, together.data, "parts, one after the other");
  return together;
}

test("parts of a model have its weights, in training too", async () => {
  const models = await parts();
  const { whole } = models;
  const before = await agree(models);
  whole.compile({ loss: "meanSquaredError" });
  await whole.trainOnBatch([x, y], randomTensor([3, 4, 2], 3));
  const after = await agree(models);
  assert.not.equal(after.data, before.data);
  whole.setWeights(Object.fromEntries(Object.entries(whole.weights()).map(([k, { shape }], i) => [k, randomTensor(shape, i)])));
  await agree(models);
  assert.equal(Object.keys(models.encoder.weights()), ["embedding.embeddings", "gru.kernel", "gru.recurrentKernel", "gru.bias"]);
  assert.equal(models.decoder.weights()["gru_1.kernel"], whole.weights()["gru_1.kernel"]);
  assert.is(models.encoder.parameterCount + models.decoder.parameterCount, whole.parameterCount);
}); // biome-ignore format: long lines

test("setting weights of a part sets those of the model", async () => {
  const models = await parts();
  const weights = models.encoder.weights();
  weights["gru.kernel"].data.fill(0.25);
  models.encoder.setWeights(weights);
  assert.ok(models.whole.weights()["gru.kernel"].data.every((v) => v === 0.25));
  await agree(models);
});

test("a part cannot be trained, nor outlive its model; disposing of it leaves the model whole", async () => {
  const models = await parts();
  const { whole, encoder, decoder } = models;
  assert.throws(() => encoder.compile({ loss: "meanSquaredError" }), (e: unknown) => e instanceof StateError && /train that one/.test(e.message));
  const before = await whole.predict([x, y]);
  encoder.dispose();
  sameBits((await whole.predict([x, y])).data, before.data, "whole");
  whole.dispose();
  try {
    await decoder.predict([y, randomTensor([3, 6], 1)]);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, StateError);
  }
}); // biome-ignore format: long lines

test("a part saved is a model of its own", async () => {
  const { loadModel } = await import("../../../host/index.ts");
  const { encoder } = await parts();
  const again = await loadModel(encoder.toBytes());
  sameBits((await again.predict(x)).data, (await encoder.predict(x)).data, "loaded");
});

test("parts of a quantised model are quantised", async () => {
  const { whole, encoder, decoder } = await parts();
  const small = await quantize(whole, { precision: "int8" });
  assert.is.not((await small.predict([x, y])).data[0], (await whole.predict([x, y])).data[0]);
  await agree({ whole, encoder, decoder });
});

test("layers that the model does not have, or has otherwise, are refused", async () => {
  const { whole, nodes } = await parts();
  const refuses = async (outputs: () => Promise<unknown>, type: typeof ShapeError | typeof OptionError, message: RegExp) => {
    try {
      await outputs();
      assert.unreachable();
    } catch (error) {
      assert.instance(error, type);
      assert.match((error as Error).message, message);
    }
  };
  await refuses(() => graph({ inputs: nodes.source, outputs: dense(3)(nodes.embed(nodes.source)), weightsOf: whole }), ShapeError, /"dense_1.kernel" would be \[4, 3\] here, and is not there/);
  const wide = input([null, 7]);
  await refuses(() => graph({ inputs: wide, outputs: nodes.encode(wide)[0], weightsOf: whole }), ShapeError, /\[7, 18\] here, and is \[4, 18\]/);
  await refuses(() => graph({ inputs: wide, outputs: nodes.encode(wide)[0], weightsOf: 3 as never }), OptionError, /"weightsOf" must be a model/);
  // Layers without parameters need none.
  const embedded = nodes.embed(nodes.source);
  const twice = await graph({ inputs: nodes.source, outputs: concatenate()([embedded, embedded]), weightsOf: whole });
  assert.equal((await twice.predict(x)).shape, [3, 5, 8]);
}); // biome-ignore format: long lines

test.run();
