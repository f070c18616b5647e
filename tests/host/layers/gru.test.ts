import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  dense,
  embedding,
  type GruOptions,
  gru,
  type Layer,
  type Model,
  masking,
  sequential,
  type Tensor,
} from "../../../host/index.ts";
import { sameBits } from "../../kit/core.ts";
import { randomLabels, randomTensor, sameTensor, sameTensors, steps } from "../../kit/models.ts";

/** What masks, lengths and the reading order mean, beside tests/host/stacks/bits.test.ts. */

const [B, T, I] = [5, 6, 3];
const LENGTHS = [6, 0, 3, 1, 5];
const MASK = [
  [1, 1, 1, 1, 1, 1],
  [0, 0, 0, 0, 0, 0],
  [0, 1, 0, 1, 1, 0],
  [0, 0, 0, 0, 0, 1],
  [1, 0, 0, 1, 0, 0],
];

async function made(layers: Layer[], inputShape: (number | null)[] = [null, I]): Promise<Model> {
  const model = await sequential(layers, { inputShape, seed: 4 });
  const weights = Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, i + 1)]);
  model.setWeights(Object.fromEntries(weights));
  model.compile({ loss: "meanSquaredError" });
  return model;
}

/** Two layers in one form, the second narrow and odd. */
const stack = (options: GruOptions, returnSequences = true) => [
  gru(9, { ...options, returnSequences: true }),
  gru(4, { ...options, returnSequences }),
  dense(3, { activation: "tanh" }),
];

const x = randomTensor([B, T, I], 21);

for (const returnSequences of [true, false])
  test(`${returnSequences ? "sequences" : "last states"} of goBackwards: more padding, and whatever stands in it, changes nothing`, async () => {
    const model = await made(stack({ goBackwards: true }, returnSequences));
    const y = randomTensor([B, ...(returnSequences ? [T] : []), 3], 6);
    const expected = await model.gradients(x, y, { lengths: LENGTHS });
    const longer = randomTensor([B, T + 4, I], 77, 1e4);
    const longerY = randomTensor([B, T + 4, 3], 78, 1e4);
    for (let b = 0; b < B; b++) {
      longer.data.set(x.data.subarray(b * T * I, (b * T + LENGTHS[b]) * I), b * (T + 4) * I);
      longerY.data.set(y.data.subarray(b * T * 3, (b * T + LENGTHS[b]) * 3), b * (T + 4) * 3);
    }
    const got = await model.gradients(longer, returnSequences ? longerY : y, { lengths: LENGTHS });
    assert.is(got.loss, expected.loss);
    sameTensors(got.gradients, expected.gradients, "gradients");
    sameTensor(steps(got.inputGradient!, 0, T), expected.inputGradient!, "dx");
    assert.ok(steps(got.inputGradient!, T, T + 4).data.every((v) => v === 0));
    got.state.forEach((s, i) => {
      sameTensor(s, expected.state[i], `state ${i}`);
    });
    sameTensor(returnSequences ? steps(got.outputs, 0, T) : got.outputs, expected.outputs, "outputs");
    // The same for any mask.
    const byMask = await model.gradients(x, y, { mask: MASK });
    const garbage = { shape: x.shape, data: x.data.map((v, i) => (MASK.flat()[Math.floor(i / I)] ? v : 1e6)) };
    sameTensors((await model.gradients(garbage, y, { mask: MASK })).gradients, byMask.gradients, "mask");
    model.dispose();
  });

test("the loss of a reversed sequence is that of its steps, not of its padding", async () => {
  const model = await made([gru(4, { returnSequences: true, goBackwards: true })]);
  const y = randomTensor([1, T, 4], 8);
  const short = { shape: [1, 2, I], data: x.data.slice(0, 2 * I) };
  const padded = { shape: [1, T, I], data: x.data.slice(0, T * I) };
  const expected = await model.gradients(short, { shape: [1, 2, 4], data: y.data.slice((T - 2) * 4) });
  // In reading order the padding comes first.
  const got = await model.gradients(padded, y, { lengths: [2] });
  assert.is(got.loss, expected.loss);
  sameTensors(got.gradients, expected.gradients, "gradients");
  sameTensor(steps(got.outputs, T - 2, T), expected.outputs, "outputs");
  model.dispose();
});

test("lengths are what PyTorch makes of them, masks what Keras does", async () => {
  const model = await made([gru(4, { returnSequences: true })]);
  const last = await made([gru(4)]);
  const padded = await model.predict(x, { lengths: LENGTHS });
  const holes = await model.predict(x, { mask: MASK });
  const full = await model.predict(x);
  const zeros = new Float32Array(4);
  const row = (t: Tensor, b: number, s: number) => t.data.slice((b * T + s) * 4, (b * T + s + 1) * 4);
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) {
      sameBits(row(padded, b, t), t < LENGTHS[b] ? row(full, b, t) : zeros, `lengths: ${b}, ${t}`);
      if (!MASK[b][t]) sameBits(row(holes, b, t), t === 0 ? zeros : row(holes, b, t - 1), `holes: ${b}, ${t}`);
    }
  const ends = await last.predict(x, { lengths: LENGTHS });
  for (let b = 0; b < B; b++)
    sameBits(ends.data.slice(b * 4, b * 4 + 4), LENGTHS[b] ? row(full, b, LENGTHS[b] - 1) : zeros, `last of ${b}`);
  model.dispose();
  last.dispose();
});

test("masks of masking and of tokens mean the same as a mask that is given", async () => {
  const model = await made([masking({ maskValue: -1 }), gru(5, { returnSequences: true }), gru(4)]);
  const plain = await made([gru(5, { returnSequences: true }), gru(4)]);
  const marked = { shape: x.shape, data: x.data.map((v, i) => (MASK.flat()[Math.floor(i / I)] ? v : -1)) };
  sameTensor(await model.predict(marked), await plain.predict(x, { mask: MASK }), "masking");
  const y = randomTensor([B, 4], 3);
  sameTensors(
    (await model.gradients(marked, y)).gradients,
    (await plain.gradients(x, y, { mask: MASK })).gradients,
    "gradients",
  );

  const layers = (maskZero: boolean) => [embedding(7, 6, { maskZero }), gru(5, { returnSequences: true }), gru(4)];
  const zeros = await made(layers(true), [null]);
  const given = await made(layers(false), [null]);
  const tokens = randomLabels([B, T], 6, 1);
  tokens.data.forEach((v, i) => {
    tokens.data[i] = MASK.flat()[i] ? v + 1 : 0;
  });
  sameTensor(await zeros.predict(tokens), await given.predict(tokens, { mask: MASK }), "tokens");
  // Masks add up.
  const first = tokens.data.map((v, i) => (i % T === T - 1 ? 0 : v));
  sameTensor(
    await zeros.predict({ shape: [B, T], data: first }),
    await zeros.predict(tokens, { mask: MASK.map((row) => row.map((v, t) => (t === T - 1 ? 0 : v))) }),
    "both",
  );
  for (const m of [model, plain, zeros, given]) m.dispose();
});

test.run();
