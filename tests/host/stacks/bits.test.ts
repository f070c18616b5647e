import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  dense,
  dropout,
  embedding,
  type GruOptions,
  gru,
  type Layer,
  layerNorm,
  lightGru,
  type Model,
  masking,
  mgu,
  minGru,
  sequential,
  type Tensor,
} from "../../../host/index.ts";
import type { RecurrentOptions } from "../../../host/layers/recurrent.ts";
import { sameBits } from "../../kit/core.ts";
import { randomLabels, randomTensor, sameTensor, sameTensors, samples, steps } from "../../kit/models.ts";

/**
 * What must agree to the bit in the plain binary: a sequence and its steps, a
 * batch and its samples, padded and unpadded, carried and given states.
 */

type Extras = { lengths?: number[]; mask?: number[][] };

type Cell = (units: number, options: RecurrentOptions) => Layer;
const FORMS: Record<string, { cell: Cell; goBackwards?: boolean }> = {};
/** A form of a cell; `own` options are those that it always has. */
function form<O extends RecurrentOptions>(name: string, make: (units: number, options?: O) => Layer, own: NoInfer<O>) {
  FORMS[name] = { cell: (units, options) => make(units, { ...own, ...options }), goBackwards: own.goBackwards };
}
for (const resetAfter of [true, false])
  for (const [name, options] of Object.entries<GruOptions>({
    "": {},
    ", no bias": { useBias: false },
    ", zero outputs": { zeroOutputForMask: true },
    ", backwards": { goBackwards: true },
    ", relu and hard sigmoid": { activation: "relu", recurrentActivation: "hardSigmoid" },
    ", softsign, backwards": { activation: "softsign", goBackwards: true, zeroOutputForMask: true },
  }))
    form(`reset ${resetAfter ? "after" : "before"}${name}`, gru, { resetAfter, ...options });
form("layer normalisation", gru, { layerNorm: true });
form("layer normalisation and zoneout, backwards", gru, { layerNorm: true, zoneout: 0.3, goBackwards: true });
form("zoneout, reset before", gru, { resetAfter: false, zoneout: 0.3 });
form("minGru", minGru, {});
form("minGru, backwards", minGru, { goBackwards: true, activation: "linearSigmoid" });
form("mgu, zero outputs", mgu, { zeroOutputForMask: true, activation: "silu" });
form("mgu, backwards", mgu, { goBackwards: true });
form("lightGru", lightGru, {});
form("lightGru, backwards", lightGru, { goBackwards: true });

/**
 * [batch, time, features, units]: one of each, odd ones around the width of a
 * panel, and more rows than the input product takes at a time (64).
 */
const SHAPES = [
  [1, 1, 1, 1],
  [1, 6, 3, 5],
  [5, 1, 8, 9],
  [3, 5, 7, 8],
  [9, 4, 9, 17],
  [2, 70, 5, 6],
  [67, 3, 4, 9],
  [5, 30, 33, 40],
] as const;

/** Weights of order 1 everywhere, biases too, so that nothing hides behind a zero. */
async function make(layers: Layer[], features: number, seed = 1): Promise<Model> {
  const model = await sequential(layers, { inputShape: [null, features], seed });
  model.setWeights(
    Object.fromEntries(
      Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, 31 * seed + i, 0.6)]),
    ),
  );
  return model;
}

function lengthsFor(B: number, T: number): number[] {
  return Array.from({ length: B }, (_, b) => (T * (b + 2) + b) % (T + 1));
}

function holesFor(B: number, T: number): number[][] {
  return Array.from({ length: B }, (_, b) => Array.from({ length: T }, (_, t) => ((b * 5 + t * 3 + 1) % 4 ? 1 : 0)));
}

/** Nothing masked, right-padded, masked with holes. */
function maskings(B: number, T: number): [string, Extras][] {
  return [
    ["no mask", {}],
    ["lengths", { lengths: lengthsFor(B, T) }],
    ["holes", { mask: holesFor(B, T) }],
  ];
}

function ofSample({ lengths, mask }: Extras, b: number): Extras {
  return { ...(lengths && { lengths: [lengths[b]] }), ...(mask && { mask: [mask[b]] }) };
}

/** Values of `rows` samples in this order. */
function pick<D extends Float32Array | Int32Array>(t: Tensor<D>, rows: number[]): Tensor<D> {
  const size = t.data.length / t.shape[0];
  const data = t.data.slice(0, 0);
  const out = new (data.constructor as new (n: number) => D)(rows.length * size);
  rows.forEach((row, i) => {
    out.set(t.data.subarray(row * size, (row + 1) * size), i * size);
  });
  return { shape: [rows.length, ...t.shape.slice(1)], data: out };
}

/** Steps `from` on of every sample set to `value`. */
function fillFrom(t: Tensor, lengths: number[], value: number): Tensor {
  const [B, T] = t.shape;
  const n = t.data.length / (B * T);
  const data = t.data.slice();
  for (let b = 0; b < B; b++) data.fill(value, (b * T + lengths[b]) * n, (b + 1) * T * n);
  return { shape: t.shape, data };
}

/** The same sequences with `more` steps of `value` after them (before them, where the order is turned round). */
function padded(t: Tensor, more: number, value: number, before = false): Tensor {
  const [B, T, n] = t.shape;
  const data = new Float32Array(B * (T + more) * n).fill(value);
  for (let b = 0; b < B; b++)
    data.set(t.data.subarray(b * T * n, (b + 1) * T * n), (b * (T + more) + (before ? more : 0)) * n);
  return { shape: [B, T + more, n], data };
}

function reversed(t: Tensor): Tensor {
  const [, T] = t.shape;
  const parts = Array.from({ length: T }, (_, i) => steps(t, T - 1 - i, T - i));
  const [B, , n] = t.shape;
  const data = new Float32Array(t.data.length);
  for (let b = 0; b < B; b++)
    parts.forEach((part, i) => {
      data.set(part.data.subarray(b * n, (b + 1) * n), (b * T + i) * n);
    });
  return { shape: t.shape, data };
}

function row(t: Tensor, b: number, at: number): Float32Array {
  const [, T, n] = t.shape;
  return t.data.slice((b * T + at) * n, (b * T + at + 1) * n);
}

for (const [name, { cell, goBackwards = false }] of Object.entries(FORMS)) {
  test(`${name}: a batch is a loop of samples, outputs and gradients of inputs and states`, async () => {
    for (const [B, T, I, H] of SHAPES)
      for (const returnSequences of [true, false]) {
        const model = await make([cell(H, { returnSequences })], I);
        const x = randomTensor([B, T, I], 2);
        const initialState = randomTensor([B, H], 3);
        const outputGradient = randomTensor(returnSequences ? [B, T, H] : [B, H], 4);
        const stateGradient = randomTensor([B, H], 5);
        for (const [masked, extras] of maskings(B, T)) {
          const what = `${B} x ${T} x ${I} x ${H}, ${masked}`;
          const outputs = await model.predict(x, { ...extras, initialState });
          const all = await model.gradients(x, { outputGradient, stateGradient }, { ...extras, initialState });
          sameTensor(all.outputs, outputs, `${what}: outputs of gradients() and predict()`);
          for (let b = 0; b < B; b++) {
            const one = (t: Tensor) => samples(t, b, b + 1);
            const options = { ...ofSample(extras, b), initialState: one(initialState) };
            sameTensor(await model.predict(one(x), options), one(outputs), `${what}: sample ${b}`);
            const alone = await model.gradients(
              one(x),
              { outputGradient: one(outputGradient), stateGradient: one(stateGradient) },
              options,
            );
            sameTensor(alone.outputs, one(all.outputs), `${what}: outputs of sample ${b}`);
            sameTensor(alone.state[0], one(all.state[0]), `${what}: state of sample ${b}`);
            sameTensor(alone.inputGradient!, one(all.inputGradient!), `${what}: dx of sample ${b}`);
            sameTensor(alone.stateGradient[0], one(all.stateGradient[0]), `${what}: dh of sample ${b}`);
          }
        }
        model.dispose();
      }
  });

  if (!goBackwards)
    test(`${name}: a sequence is a loop of stream steps`, async () => {
      for (const [B, T, I, H] of SHAPES) {
        const model = await make(
          [cell(H, { returnSequences: true }), layerNorm(), cell(5, { returnSequences: true }), dense(3)],
          I,
        );
        const x = randomTensor([B, T, I], 2);
        const none = { outputGradient: { shape: [B, T, 3], data: new Float32Array(B * T * 3) } };
        for (const [masked, extras] of maskings(B, T)) {
          const whole = await model.predict(x, extras);
          const { state } = await model.gradients(x, none, extras);
          for (let b = 0; b < B; b++) {
            const what = `${B} x ${T} x ${I} x ${H}, ${masked}, sequence ${b}`;
            const stream = model.stream();
            for (let t = 0; t < T; t++) {
              // A masked step is one that the stream does not see.
              if (!(extras.mask?.[b][t] ?? t < (extras.lengths?.[b] ?? T))) continue;
              sameBits(row(whole, b, t), stream.step(row(x, b, t)).slice(), `${what}, step ${t}`);
            }
            const last = Float32Array.from([...samples(state[0], b, b + 1).data, ...samples(state[1], b, b + 1).data]);
            sameBits(stream.state, last, `${what}, state`);
            stream.close();
          }
        }
        model.dispose();
      }
    });
  else
    test(`${name}: reads what the forward layer reads of the reversed sequence`, async () => {
      for (const [B, T, I, H] of SHAPES)
        for (const returnSequences of [true, false]) {
          const back = await make([cell(H, { returnSequences })], I);
          const forth = await make([cell(H, { returnSequences, goBackwards: false })], I);
          const x = randomTensor([B, T, I], 2);
          const mask = holesFor(B, T);
          const outputGradient = randomTensor(returnSequences ? [B, T, H] : [B, H], 4);
          for (const masked of [false, true]) {
            const what = `${B} x ${T} x ${I} x ${H}${masked ? ", holes" : ""}`;
            const a = await back.gradients(x, { outputGradient }, masked ? { mask } : {});
            const turned = { mask: mask.map((steps) => [...steps].reverse()) };
            const b = await forth.gradients(reversed(x), { outputGradient }, masked ? turned : {});
            sameTensor(a.outputs, b.outputs, `${what}: outputs`);
            sameTensor(a.state[0], b.state[0], `${what}: state`);
            sameTensor(a.inputGradient!, reversed(b.inputGradient!), `${what}: dx`);
          }
          back.dispose();
          forth.dispose();
        }
    });

  test(`${name}: padding with more steps changes nothing`, async () => {
    for (const [B, T, I, H] of SHAPES) {
      const model = await make([cell(H, { returnSequences: true })], I);
      const lengths = lengthsFor(B, T);
      lengths[0] = T;
      const x = randomTensor([B, T, I], 2);
      const initialState = randomTensor([B, H], 3);
      const plain = randomTensor([B, T, H], 4);
      // In reading order, the padding of a reversed sequence comes first.
      const outputGradient = goBackwards
        ? reversed(fillFrom(reversed(plain), lengths, 0))
        : fillFrom(plain, lengths, 0);
      const stateGradient = randomTensor([B, H], 5);
      const a = await model.gradients(x, { outputGradient, stateGradient }, { lengths, initialState });
      for (const more of [1, 3, 70]) {
        const what = `${B} x ${T} x ${I} x ${H}, ${more} more`;
        for (const extras of [
          { lengths },
          { mask: lengths.map((n) => Array.from({ length: T + more }, (_, t) => (t < n ? 1 : 0))) },
        ]) {
          const how = extras.mask ? `${what}, as a mask` : what;
          const b = await model.gradients(
            padded(x, more, 1e6),
            { outputGradient: padded(outputGradient, more, 0, goBackwards), stateGradient },
            { ...extras, initialState },
          );
          for (let s = 0; s < B; s++)
            for (let t = 0; t < lengths[s]; t++) {
              const [from, to] = goBackwards ? [T - 1 - t, T + more - 1 - t] : [t, t];
              sameBits(row(b.outputs, s, to), row(a.outputs, s, from), `${how}: output ${t} of ${s}`);
              sameBits(row(b.inputGradient!, s, t), row(a.inputGradient!, s, t), `${how}: dx ${t} of ${s}`);
            }
          sameTensor(b.state[0], a.state[0], `${how}: state`);
          sameTensor(b.stateGradient[0], a.stateGradient[0], `${how}: dh`);
          sameTensors(b.gradients, a.gradients, how);
        }
      }
      // And a padded sequence is the sequence by itself.
      for (let s = 0; s < B; s++) {
        const L = lengths[s];
        if (L === 0) continue;
        const alone = await model.gradients(
          steps(samples(x, s, s + 1), 0, L),
          {
            outputGradient: steps(samples(outputGradient, s, s + 1), goBackwards ? T - L : 0, goBackwards ? T : L),
            stateGradient: samples(stateGradient, s, s + 1),
          },
          { initialState: samples(initialState, s, s + 1) },
        );
        const what = `${B} x ${T} x ${I} x ${H}, sequence ${s} by itself`;
        for (let t = 0; t < L; t++) {
          sameBits(row(alone.outputs, 0, t), row(a.outputs, s, goBackwards ? T - L + t : t), `${what}: output ${t}`);
          sameBits(row(alone.inputGradient!, 0, t), row(a.inputGradient!, s, t), `${what}: dx ${t}`);
        }
        sameTensor(alone.state[0], samples(a.state[0], s, s + 1), `${what}: state`);
        sameTensor(alone.stateGradient[0], samples(a.stateGradient[0], s, s + 1), `${what}: dh`);
      }
      model.dispose();
    }
  });

  test(`${name}: batchSize changes no prediction, and a permuted batch gives permuted results`, async () => {
    const [B, T, I, H] = [13, 4, 3, 6];
    const model = await make([cell(H, { returnSequences: true }), cell(5, {}), dense(2)], I);
    const x = randomTensor([B, T, I], 2);
    const initialState = [randomTensor([B, H], 3), randomTensor([B, 5], 4)];
    const order = Array.from({ length: B }, (_, i) => (i * 5 + 3) % B);
    for (const [masked, extras] of maskings(B, T)) {
      const whole = await model.predict(x, { ...extras, initialState });
      for (const batchSize of [1, 2, 5, 12, 13, 14])
        sameTensor(await model.predict(x, { ...extras, initialState, batchSize }), whole, `${masked}, ${batchSize}`);
      const permuted = await model.predict(pick(x, order), {
        lengths: extras.lengths && order.map((i) => extras.lengths![i]),
        mask: extras.mask && order.map((i) => extras.mask![i]),
        initialState: initialState.map((s) => pick(s, order)),
      });
      sameTensor(permuted, pick(whole, order), `${masked}, permuted`);
    }
    model.dispose();
  });

  test(`${name}: a stateful layer goes on from the state it left, as if it were given`, async () => {
    const [B, T, I, H] = [3, 4, 3, 5];
    const layers = (stateful: boolean) => [cell(H, { returnSequences: true, stateful }), cell(H + 1, { stateful })];
    const stateful = await make(layers(true), I);
    const stateless = await make(layers(false), I);
    const outputGradient = { shape: [B, H + 1], data: new Float32Array(B * (H + 1)) };
    for (const [masked, extras] of maskings(B, T)) {
      stateful.resetStates();
      let initialState: Tensor[] | undefined;
      for (let i = 0; i < 3; i++) {
        const x = randomTensor([B, T, I], 10 + i);
        const expected = await stateless.predict(x, { ...extras, initialState });
        sameTensor(await stateful.predict(x, extras), expected, `${masked}, batch ${i}`);
        initialState = (await stateless.gradients(x, { outputGradient }, { ...extras, initialState })).state;
      }
      stateful.resetStates();
      const x = randomTensor([B, T, I], 10);
      sameTensor(await stateful.predict(x, extras), await stateless.predict(x, extras), `${masked}, after a reset`);
    }
    for (const model of [stateful, stateless]) model.compile({ loss: "meanSquaredError", optimizer: adam() });
    stateful.resetStates();
    let state: Tensor[] | undefined;
    for (let i = 0; i < 4; i++) {
      const [x, y] = [randomTensor([B, T, I], 20 + i), randomTensor([B, H + 1], 30 + i)];
      const lengths = lengthsFor(B, T);
      const given = await stateless.trainOnBatch(x, y, { lengths, initialState: state });
      const carried = await stateful.trainOnBatch(x, y, { lengths });
      assert.is(carried.loss, given.loss);
      assert.is(carried.gradientNorm, given.gradientNorm);
      state = given.state;
    }
    sameTensors(stateful.weights(), stateless.weights(), "trained");
    stateful.dispose();
    stateless.dispose();
  });

  test(`${name}: steps that do not count are safe, all of them too`, async () => {
    const [B, T, I, H] = [3, 4, 3, 5];
    for (const returnSequences of [true, false]) {
      const model = await make([cell(4, { returnSequences: true }), cell(H, { returnSequences })], I);
      model.compile({ loss: "meanSquaredError", optimizer: adam() });
      const x = randomTensor([B, T, I], 2);
      const y = randomTensor(returnSequences ? [B, T, H] : [B, H], 3);
      const initialState = [randomTensor([B, 4], 4), randomTensor([B, H], 5)];
      const none = Array.from({ length: B }, () => new Array<number>(T).fill(0));
      for (const extras of [{ lengths: [0, 0, 0] }, { mask: none }]) {
        const got = await model.gradients(x, y, { ...extras, initialState });
        assert.ok(Number.isFinite(got.loss));
        got.state.forEach((state, i) => {
          sameTensor(state, initialState[i], "the state is the one given");
        });
        for (const [key, { data }] of Object.entries({ ...got.gradients, x: got.inputGradient! }))
          assert.ok(
            data.every((v) => v === 0),
            `the gradient of ${key} is zero`,
          );
        const before = model.weights();
        const { loss, gradientNorm } = await model.trainOnBatch(x, y, extras);
        assert.ok(Number.isFinite(loss));
        if (returnSequences) assert.is(loss, 0, "no step counts");
        assert.is(gradientNorm, 0);
        sameTensors(model.weights(), before, "nothing moves");
        const outputs = await model.predict(x, extras);
        assert.ok(
          outputs.data.every((v) => v === 0),
          "outputs are zero",
        );
      }
      // A sequence of no steps among others leaves theirs alone.
      const some = await model.predict(x, { lengths: [2, 0, 4] });
      const rest = await model.predict(pick(x, [0, 2]), { lengths: [2, 4] });
      sameTensor(pick(some, [0, 2]), rest, "beside an empty sequence");
      model.dispose();
    }
  });
}

test("a stream's state is read, set and reset to the bit, and streams do not touch each other", async () => {
  const model = await make([gru(5, { returnSequences: true }), gru(9, { resetAfter: false })], 3);
  const x = randomTensor([2, 8, 3], 2);
  const run = (stream: ReturnType<Model["stream"]>, b: number, from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => stream.step(row(x, b, from + i)).slice());
  const [a, b] = [model.stream(), model.stream()];
  const first = run(a, 0, 0, 4);
  run(b, 1, 0, 3);
  const { state } = a;
  assert.is(state.length, 14);
  const rest = run(a, 0, 4, 8);
  b.state = state;
  sameBits(b.state, state, "state");
  run(b, 0, 4, 8).forEach((y, i) => {
    sameBits(y, rest[i], `step ${i} after setting the state`);
  });
  // A stored state is a copy.
  sameBits(state, (b.state = state), "the state that was stored");
  a.reset();
  assert.ok(a.state.every((v) => v === 0));
  run(a, 0, 0, 4).forEach((y, i) => {
    sameBits(y, first[i], `step ${i} after a reset`);
  });
  // Other runs of the model, and larger ones, leave a stream's state alone.
  const before = a.state;
  await model.predict(randomTensor([40, 30, 3], 9));
  sameBits(a.state, before, "after predict()");
  a.close();
  run(b, 0, 0, 1);
  model.dispose();
});

test("an open stream follows the weights", async () => {
  const model = await make([gru(5, { returnSequences: true }), gru(4), dense(2)], 3);
  const x = randomTensor([4, 6, 3], 2);
  const open = model.stream();
  open.step(row(x, 0, 0));
  model.compile({ loss: "meanSquaredError", optimizer: adam({ learningRate: 0.1 }) });
  await model.fit(x, randomTensor([4, 2], 3), { epochs: 3, batchSize: 2 });
  open.reset();
  const fresh = model.stream();
  for (let t = 0; t < 6; t++) sameBits(open.step(row(x, 1, t)), fresh.step(row(x, 1, t)), `step ${t} after training`);
  sameBits(open.step(row(x, 1, 5)), fresh.step(row(x, 1, 5)), "state");
  model.setWeights(
    Object.fromEntries(Object.entries(model.weights()).map(([k, t], i) => [k, randomTensor(t.shape, i)])),
  );
  open.reset();
  const whole = await model.predict(samples(x, 2, 3));
  let last = new Float32Array();
  for (let t = 0; t < 6; t++) last = open.step(row(x, 2, t)).slice();
  sameBits(last, whole.data, "after setWeights()");
  model.dispose();
});

test("stream({ batch }) is as many separate streams", async () => {
  for (const resetAfter of [true, false])
    for (const B of [1, 2, 3, 5, 9]) {
      const model = await make([gru(7, { returnSequences: true, resetAfter }), gru(4), dense(3)], 5);
      const x = randomTensor([B, 6, 5], 2);
      const together = model.stream({ batch: B });
      const alone = Array.from({ length: B }, () => model.stream());
      for (let t = 0; t < 6; t++) {
        const y = together.step(steps(x, t, t + 1).data);
        alone.forEach((stream, b) => {
          sameBits(stream.step(row(x, b, t)).slice(), y.slice(b * 3, b * 3 + 3), `batch ${B}, step ${t}, row ${b}`);
        });
      }
      const { state } = together;
      alone.forEach((stream, b) => {
        const own = [...state.slice(b * 7, b * 7 + 7), ...state.slice(B * 7 + b * 4, B * 7 + b * 4 + 4)];
        sameBits(stream.state, Float32Array.from(own), `batch ${B}, state of row ${b}`);
      });
      together.state = state;
      sameBits(together.state, state, "set and read");
      model.dispose();
    }
});

test("steps that the model itself masks are the same in a stream and in a sequence", async () => {
  for (const zeroOutputForMask of [false, true])
    for (const returnSequences of [false, true]) {
      const options = { returnSequences, zeroOutputForMask };
      const model = await make([masking(), gru(5, { ...options, returnSequences: true }), gru(4, options)], 3);
      const x = randomTensor([1, 8, 3], 2);
      for (const t of [0, 3, 4, 7]) x.data.fill(0, t * 3, t * 3 + 3);
      const stream = model.stream();
      for (let t = 0; t < 8; t++) {
        const whole = await model.predict(steps(x, 0, t + 1));
        const expected = returnSequences ? row(whole, 0, t) : whole.data;
        sameBits(stream.step(row(x, 0, t)).slice(), expected, `zeros ${zeroOutputForMask}, step ${t}`);
      }
      model.dispose();
    }
  const model = await sequential([embedding(5, 3, { maskZero: true }), gru(4), dense(2)], { inputShape: [null] });
  const tokens = [0, 3, 0, 1, 4, 0, 0, 2];
  const stream = model.stream();
  for (let t = 0; t < tokens.length; t++) {
    const whole = await model.predict({ shape: [1, t + 1], data: Int32Array.from(tokens.slice(0, t + 1)) });
    sameBits(stream.step([tokens[t]]).slice(), whole.data, `token ${t}`);
  }
  model.dispose();
});

test("the same seed trains to the same bytes, and another one to others", async () => {
  const train = async (seed: number) => {
    const model = await sequential(
      [embedding(7, 6), dropout(0.3), gru(9, { returnSequences: true }), dropout(0.5), gru(5), dense(3, { activation: "softmax" })],
      { inputShape: [null], seed },
    ); // biome-ignore format: a list
    model.compile({ loss: "sparseCategoricalCrossentropy", optimizer: adam({ learningRate: 0.01 }) });
    const losses: number[] = [];
    for (let i = 0; i < 12; i++)
      losses.push(
        (
          await model.trainOnBatch(randomLabels([6, 5], 7, i), randomLabels([6], 3, 100 + i), {
            lengths: lengthsFor(6, 5),
          })
        ).loss,
      );
    const bytes = model.toBytes({ training: true });
    model.dispose();
    return { bytes, losses };
  };
  const [a, b, c] = [await train(4), await train(4), await train(5)];
  assert.equal(a.losses, b.losses);
  assert.equal(a.bytes, b.bytes);
  assert.not.equal(a.losses, c.losses);
});

test("a batch's loss is one whatever else the model has run", async () => {
  const model = await make([gru(5, { returnSequences: true }), dense(3)], 3);
  model.compile({ loss: "meanSquaredError" });
  const [x, y] = [randomTensor([4, 6, 3], 1), randomTensor([4, 6, 3], 2)];
  const lengths = [6, 0, 3, 5];
  const before = await model.gradients(x, y, { lengths });
  await model.predict(randomTensor([50, 20, 3], 3), { batchSize: 50 });
  await model.evaluate(randomTensor([9, 2, 3], 4), randomTensor([9, 2, 3], 5));
  const after = await model.gradients(x, y, { lengths });
  assert.is(after.loss, before.loss);
  sameTensors(after.gradients, before.gradients, "gradients");
  sameTensor(after.inputGradient!, before.inputGradient!, "dx");
  sameBits(after.rowLosses, before.rowLosses, "row losses");
  model.dispose();
});

test.run();
