import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  activation,
  bidirectional,
  conv1d,
  dense,
  dropout,
  embedding,
  gru,
  type Layer,
  layerNorm,
  type Model,
  masking,
  pooling1d,
  sequential,
  type Tensor,
  tensor,
} from "../../../host/index.ts";
import type { Recording } from "../../../host/stacks/recording.ts";
import { sameBits, uniform } from "../../kit/core.ts";
import { arena, randomLabels, randomTensor, sameTensor, sameTensors, steps } from "../../kit/models.ts";

/** What the tests look at inside a network. */
interface Inside {
  current?: Recording;
  runBlock: { address: number; bytes: number };
}
const inside = (model: Model) => model.network as unknown as Inside;

const sequence = { returnSequences: true };

/** Stacks that pass values, masks and states on in different ways. */
const STACKS: Record<string, () => Layer[]> = {
  "two grus": () => [gru(5, sequence), gru(3)],
  "three grus, sequences": () => [gru(5, sequence), gru(9, sequence), gru(3, sequence)],
  "reset before, other activations": () => [
    gru(5, { ...sequence, resetAfter: false, activation: "relu" }),
    gru(3, { resetAfter: false, recurrentActivation: "hardSigmoid" }),
  ],
  masking: () => [masking(), gru(5, sequence), gru(9, sequence), dense(4), gru(3, sequence), dense(2)],
  "masking, no outputs": () => [masking(), gru(5, { ...sequence, zeroOutputForMask: true }), gru(3), dense(2)],
  dropout: () => [dropout(0.3), gru(5, sequence), dropout(0.3), gru(3), dropout(0.3), dense(3), dense(2)],
  activations: () => [
    activation("tanh"),
    dense(5, { activation: "gelu" }),
    activation("linear"),
    activation("silu"),
    dense(4, { activation: "softmax" }),
    activation("linear"),
    dense(3, { activation: "sigmoid" }),
  ],
  layerNorm: () => [layerNorm(), gru(5, sequence), layerNorm(), dense(7), layerNorm(), gru(3, sequence), layerNorm()],
  backwards: () => [gru(5, { ...sequence, goBackwards: true }), gru(3, { goBackwards: true }), dense(2)],
  bidirectional: () => [bidirectional(gru(5, sequence)), bidirectional(gru(3), { merge: "mul" }), dense(2)],
  "masking, bidirectional": () => [
    masking(),
    bidirectional(gru(5, sequence), { merge: "average" }),
    bidirectional(gru(3, sequence)),
  ],
  convolutions: () => [
    conv1d(5, 3, { padding: "same" }),
    conv1d(9, 2, { padding: "causal", activation: "gelu" }),
    gru(3),
  ],
  "masking, convolution": () => [masking(), conv1d(5, 2, { padding: "same", activation: "tanh" }), dense(2)],
  pooling: () => [
    dense(5),
    pooling1d({ size: 2, strides: 1, padding: "same" }),
    conv1d(3, 2, { strides: 2 }),
    pooling1d({ kind: "mean", global: true }),
  ],
  "softmax at the end": () => [gru(5, sequence), gru(3), dense(4, { activation: "softmax" })],
  "an activation at the end": () => [gru(5, sequence), dense(4), activation("sigmoid")],
  stateful: () => [
    gru(5, { ...sequence, stateful: true }),
    dropout(0.2),
    dense(9),
    dense(9),
    gru(3, { stateful: true }),
  ],
};

const WAYS = {
  plain: {},
  lengths: { lengths: [4, 0, 2] },
  holes: { mask: [[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0]] }, // biome-ignore format: a mask
};

async function made(layers: Layer[]): Promise<Model> {
  const model = await sequential(layers, { inputShape: [null, 3], seed: 4 });
  const weights = Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, i + 1)]);
  model.setWeights(Object.fromEntries(weights));
  return model;
}

const input = randomTensor([3, 4, 3], 8);
input.data.fill(0, 3, 6); // a step for masking to find

test("outputs do not depend on whether memory is given back after its last reader", async () => {
  for (const [name, stack] of Object.entries(STACKS))
    for (const [way, options] of Object.entries(WAYS)) {
      const model = await made(stack());
      const shape = [3, ...(model.outputShape.length > 1 ? [4] : []), model.outputShape.at(-1)!];
      const predicted = await model.predict(input, options);
      model.resetStates();
      const { outputs } = await model.gradients(input, { outputGradient: randomTensor(shape, 9) }, options);
      sameTensor(predicted, outputs, `${name}, ${way}`);
      model.dispose();
    }
});

test("evaluation finds the loss of the gradients, masks and logits included", async () => {
  for (const [name, stack] of Object.entries(STACKS))
    for (const [way, options] of Object.entries(WAYS)) {
      const model = await made(stack());
      const { outputShape } = model;
      const classes = name.includes("softmax");
      model.compile({
        loss: classes
          ? "categoricalCrossentropy"
          : name.includes("activation")
            ? "binaryCrossentropy"
            : "meanSquaredError",
        metrics: ["meanAbsoluteError"],
      });
      const y = randomTensor([3, ...(outputShape.length > 1 ? [4] : []), outputShape.at(-1)!], 9);
      y.data.set(y.data.map(Math.abs));
      const { loss, outputs } = await model.gradients(input, y, options);
      model.resetStates();
      const scores = await model.evaluate(input, y, options);
      assert.is(scores.loss, loss, `${name}, ${way}`);
      if (way === "plain" && !name.startsWith("masking")) {
        const error = outputs.data.reduce((sum, v, i) => sum + Math.abs(v - y.data[i]), 0) / y.data.length;
        assert.ok(Math.abs(scores.meanAbsoluteError - error) < 1e-6, `${name}: metric`);
      }
      model.dispose();
    }
});

test("a confident wrong answer costs as much in evaluation as in training", async () => {
  const x = tensor([[1]]);
  for (const [layers, loss] of [
    [[dense(2, { activation: "softmax" })], "sparseCategoricalCrossentropy"],
    [[dense(2), activation("softmax")], "sparseCategoricalCrossentropy"],
    [[dense(1, { activation: "sigmoid" })], "binaryCrossentropy"],
  ] as const) {
    const model = await sequential([...layers], { inputShape: [1] });
    model.setWeights({
      "dense.kernel": loss === "binaryCrossentropy" ? [[60]] : [[60, 0]],
      "dense.bias": loss === "binaryCrossentropy" ? [0] : [0, 0],
    });
    model.compile({ loss });
    const y = loss === "binaryCrossentropy" ? tensor([[0]]) : tensor(new Int32Array([1]), [1]);
    assert.is((await model.evaluate(x, y)).loss, 60);
    assert.is((await model.gradients(x, y)).loss, 60);
    model.dispose();
  }
});

test("a stateful layer's state outlives the layers behind it", async () => {
  const layers = (stateful: boolean) => [
    gru(5, { ...sequence, stateful }),
    dropout(0.2),
    activation("linear"),
    dense(9),
    dense(9),
    dense(9),
    gru(3, { ...sequence, stateful }),
    dropout(0.2),
  ];
  const model = await made(layers(true));
  const whole = await made(layers(false));
  const halves = [await model.predict(steps(input, 0, 2)), await model.predict(steps(input, 2, 4))];
  const expected = await whole.predict(input);
  sameTensor(halves[0], steps(expected, 0, 2), "first half");
  sameTensor(halves[1], steps(expected, 2, 4), "second half");
  model.dispose();
  whole.dispose();
});

test("no result reads memory that nobody has written: NaN everywhere before a run changes no bit", async () => {
  for (const [name, stack] of Object.entries(STACKS))
    for (const [way, options] of Object.entries(WAYS)) {
      const model = await made(stack());
      model.compile({ loss: "meanSquaredError" });
      const shape = [3, ...(model.outputShape.length > 1 ? [4] : []), model.outputShape.at(-1)!];
      const y = randomTensor(shape, 9);
      const units = model.network.states.map((state) => state.units);
      const initialState = units.map((n, i) => randomTensor([3, n], i));
      const run = async () => {
        const poison = () => {
          const { runBlock } = inside(model);
          if (runBlock) arena.u8.fill(0xff, runBlock.address, runBlock.address + runBlock.bytes);
          inside(model).current = undefined; // so that constants are written again
          model.resetStates();
        };
        poison();
        const predicted = await model.predict(input, options);
        poison();
        const g = await model.gradients(input, y, {
          ...options,
          initialState: units.length ? initialState : undefined,
        });
        poison();
        const c = await model.gradients(
          input,
          { outputGradient: y, stateGradient: units.length ? initialState : undefined },
          options,
        );
        poison();
        const { loss } = await model.evaluate(input, y, options);
        return { predicted, g, c, loss };
      };
      await run(); // whose blocks are fresh, then full of its own numbers
      const first = await run();
      inside(model).runBlock && arena.u8.fill(0, inside(model).runBlock.address, inside(model).runBlock.address + 64);
      const second = await run();
      const what = `${name}, ${way}`;
      for (const v of [...first.g.outputs.data, first.loss, first.g.loss, first.c.loss])
        assert.ok(Number.isFinite(v), `${what}: ${v}`);
      for (const key of ["g", "c"] as const) {
        sameTensors(second[key].gradients, first[key].gradients, `${what}: ${key}`);
        sameTensor(second[key].inputGradient!, first[key].inputGradient!, `${what}: ${key}: dx`);
        for (const t of [
          ...Object.values(first[key].gradients),
          first[key].inputGradient!,
          ...first[key].stateGradient,
        ])
          assert.ok(t.data.every(Number.isFinite), `${what}: ${key}: a gradient is not finite`);
      }
      sameTensor(second.predicted, first.predicted, what);
      model.dispose();
    }
});

test("shapes may come in any order, more of them than recordings are kept", async () => {
  const model = await made([gru(5, { ...sequence, activation: "softsign" }), gru(3), dense(2)]);
  model.compile({ loss: "meanSquaredError" });
  const outputs = new Map<string, Tensor>();
  for (let round = 0; round < 3; round++)
    for (let T = 1; T <= 20; T++)
      for (const B of [1, 3]) {
        const x = randomTensor([B, T, 3], 100 * T + B);
        const y = await model.predict(x);
        // In between, a recording of another kind over the same memory.
        if (T % 5 === 0) await model.gradients(x, randomTensor([B, 2], 1));
        const key = `${B} ${T}`;
        if (outputs.has(key)) sameTensor(y, outputs.get(key)!, key);
        else outputs.set(key, y);
      }
  assert.ok((model.network as unknown as { recordings: Map<string, unknown> }).recordings.size <= 32);
  model.dispose();
});

test("the recordings kept are those used last", async () => {
  const model = await made([gru(3)]);
  const kept = () => (model.network as unknown as { recordings: Map<string, Recording> }).recordings;
  await model.predict(randomTensor([1, 40, 3], 1));
  const often = [...kept().values()][0];
  for (let T = 1; T <= 39; T++) {
    await model.predict(randomTensor([1, T, 3], 1));
    await model.predict(randomTensor([1, 40, 3], 1));
  }
  assert.ok([...kept().values()].includes(often), "the one that is used all the time was dropped");
  model.dispose();
});

test("embeddings with masked tokens reach the end of a deep stack", async () => {
  const layers = () => [
    embedding(5, 4, { maskZero: true }),
    gru(5, sequence),
    gru(6, sequence),
    gru(7, sequence),
    dense(3),
    gru(4, sequence),
  ];
  const model = await sequential(layers(), { inputShape: [null], seed: 3 });
  model.compile({ loss: "meanSquaredError" });
  const x = randomLabels([3, 6], 5, 2);
  const predicted = await model.predict(x);
  const y = randomTensor([3, 6, 4], 3);
  const { outputs, loss } = await model.gradients(x, y);
  sameTensor(predicted, outputs, "outputs");
  assert.is((await model.evaluate(x, y)).loss, loss);
  model.dispose();
});

test("a right-padded batch has the gradients of the same batch with a mask, in memory of its own", async () => {
  const [B, T, I, H] = [3, 4, 2, 5];
  const model = await sequential(
    [
      gru(H, { returnSequences: true, zeroOutputForMask: true }),
      gru(H, { returnSequences: true, zeroOutputForMask: true }),
    ],
    { inputShape: [null, I], seed: 3 },
  );
  const x = tensor(uniform(B * T * I, 1), [B, T, I]);
  const outputGradient = tensor(uniform(B * T * H, 2), [B, T, H]);
  const lengths = [4, 2, 3];
  const mask = lengths.map((n) => Array.from({ length: T }, (_, t) => (t < n ? 1 : 0)));
  const padded = await model.gradients(x, { outputGradient }, { lengths });
  const masked = await model.gradients(x, { outputGradient }, { mask });
  const same = (a: Tensor, b: Tensor, what: string) => sameBits(a.data, b.data, what);
  same(padded.outputs, masked.outputs, "outputs");
  same(padded.inputGradient!, masked.inputGradient!, "inputGradient");
  padded.stateGradient.forEach((s, i) => {
    same(s, masked.stateGradient[i], `stateGradient ${i}`);
  });
  for (const name of Object.keys(padded.gradients)) same(padded.gradients[name], masked.gradients[name], name);
  model.dispose();
});

test.run();
