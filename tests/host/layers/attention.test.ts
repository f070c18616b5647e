import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  attention,
  type CallableLayer,
  graph,
  input,
  loadModel,
  type Model,
  multiHeadAttention,
  OptionError,
  ShapeError,
  sequential,
  type Tensor,
} from "../../../host/index.ts";
import { close, sameBits } from "../../kit/core.ts";
import { randomTensor } from "../../kit/models.ts";
import { centralDifferences } from "../../kit/shapes.ts";
import { attentionLayer } from "../../reference/attention-layer.ts";

/** Features of query, value, key, where they come apart. */
interface Problem {
  layer: CallableLayer;
  features: readonly number[];
  batch: number;
  /** Of queries; of values and keys. */
  steps: readonly [number, number];
}

const NAMES = ["query", "value", "key"] as const;

function build(layer: CallableLayer, features: readonly number[]): Promise<Model> {
  const nodes = features.map((n, i) => input([null, n], { name: NAMES[i] }));
  return graph({ inputs: nodes, outputs: layer(nodes), seed: 3 });
}

function draw({ features, batch, steps }: Problem, seed = 1): Tensor[] {
  return features.map((n, i) => randomTensor([batch, steps[i ? 1 : 0], n], seed + i, 1.5));
}

/** The layer in double precision, from flat inputs. */
function reference(problem: Problem, model: Model, inputs: ArrayLike<number>[], weights: Record<string, ArrayLike<number>>, lengths: (readonly number[] | undefined)[]): number[] {
  const [{ name }] = model.network.nodes;
  const out: number[] = [];
  for (let b = 0; b < problem.batch; b++) {
    const steps = problem.features.map((n, i) => {
      const T = problem.steps[i ? 1 : 0];
      const rows = Array.from({ length: T }, (_, t) => Array.from({ length: n }, (_, c) => inputs[i][(b * T + t) * n + c]));
      return { rows, mask: lengths[i] && rows.map((_, t) => (t < lengths[i]![b] ? 1 : 0)) };
    });
    out.push(...attentionLayer(problem.layer.config, (part) => weights[`${name}.${part}`], steps).flat());
  }
  return out;
} // biome-ignore format: long lines

const LAYERS: [string, CallableLayer, number[]][] = [
  ["dot", attention(), [5, 5]],
  ["dot, learned scale, causal", attention({ scale: "learned", causal: true }), [3, 3]],
  ["dot, three inputs", attention({ scale: "none" }), [4, 7, 4]],
  ["dot, mapped", attention({ units: 3 }), [5, 9]],
  ["additive", attention({ score: "additive" }), [5, 5]],
  ["additive, mapped, three inputs", attention({ score: "additive", units: 7 }), [3, 5, 4]],
  ["two heads", multiHeadAttention(2), [6, 6]],
  ["three heads, all sizes apart", multiHeadAttention(3, { keyUnits: 5, valueUnits: 2, units: 7 }), [3, 9, 4]],
  ["dot, causal, blind queries", attention({ causal: true, blind: "mean" }), [5, 5]],
  ["two heads, blind queries", multiHeadAttention(2, { blind: "mean" }), [6, 6]],
  ["two heads of eight, causal", multiHeadAttention(2, { keyUnits: 8, causal: true }), [3, 5]],
];

test("several inputs: outputs and all gradients follow the reference, with and without masks", async () => {
  for (const [name, layer, features] of LAYERS)
    for (const [batch, steps, lengths] of [
      [1, [1, 1], []],
      [3, [4, 7], []],
      [3, [4, 5], [[2, 4, 1], [5, 0, 3]]],
      [2, [3, 2], [undefined, [1, 2]]],
    ] as const) {
      const problem: Problem = { layer, features, batch, steps };
      const what = `${name}, ${batch} x ${steps}`;
      const model = await build(layer, features);
      const weights = Object.fromEntries(
        Object.entries(model.weights()).map(([key, { shape }], i) => [key, randomTensor(shape, 50 + i, 0.8)]),
      );
      model.setWeights(weights);
      // Padding is zero, as it is in the model.
      const inputs = draw(problem);
      inputs.forEach(({ data, shape: [, T, n] }, i) => {
        for (let r = 0; r < batch * T; r++)
          if (lengths[i] && r % T >= lengths[i][Math.floor(r / T)]) data.fill(0, r * n, (r + 1) * n);
      });
      const options = { lengths: features.map((_, i) => lengths[i] && [...lengths[i]]) };
      const T = steps[0];
      const g = randomTensor([batch, T, model.outputShape.at(-1)!], 9);
      const got = await model.gradients(inputs, { outputGradient: g }, options);
      const point = inputs.map(({ data }) => data as ArrayLike<number>);
      const numbers = Object.fromEntries(Object.entries(weights).map(([key, { data }]) => [key, data as ArrayLike<number>]));
      const run = () => reference(problem, model, point, numbers, [...lengths]);
      const tolerance = 5e-6; // sums of a few dozen float32 products through three maps
      close(got.outputs.data, run(), tolerance, what);
      close((await model.predict(inputs, options)).data, run(), tolerance, `${what}: predict`);
      const loss = () => run().reduce((sum, v, i) => sum + v * g.data[i], 0);
      features.forEach((_, i) => {
        const before = point[i];
        const differences = centralDifferences((x) => {
          point[i] = x;
          return loss();
        }, before);
        point[i] = before;
        // A masked step's numbers do reach nothing, and its gradient is 0.
        close(got.inputGradients[i]!.data, differences, 4 * tolerance, `${what}: d ${NAMES[i]}`, 1e-7);
      });
      for (const [key, { data }] of Object.entries(weights)) {
        const differences = centralDifferences((x) => {
          numbers[key] = x;
          return loss();
        }, data);
        numbers[key] = data;
        // That of keyBias is 0, as a sum of float32 numbers of order 1.
        close(got.gradients[key].data, differences, 4 * tolerance, `${what}: d ${key}`, 1e-6);
      }
      model.dispose();
    }
}); // biome-ignore format: tables

test("values in another order give the same, samples in another order give themselves", async () => {
  for (const [name, layer, features] of LAYERS) {
    if (layer.config.causal) continue;
    const problem: Problem = { layer, features, batch: 3, steps: [4, 6] };
    const model = await build(layer, features);
    const inputs = draw(problem);
    const plain = await model.predict(inputs);
    const reversed = inputs.map((t, i) => (i ? reorder(t, 1) : t));
    close((await model.predict(reversed)).data, plain.data, 1e-6, `${name}: values reversed`);
    sameBits((await model.predict(inputs.map((t) => reorder(t, 0)))).data, reorder(plain, 0).data, name);
    model.dispose();
  }
});

/** Samples (axis 0), or steps of every sample (axis 1), from the last to the first. */
function reorder({ shape, data }: Tensor, axis: 0 | 1): Tensor {
  const [B, T, n] = shape;
  const out = new Float32Array(data.length);
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) {
      const from = axis === 0 ? (B - 1 - b) * T + t : b * T + (T - 1 - t);
      out.set(data.subarray(from * n, (from + 1) * n), (b * T + t) * n);
    }
  return { shape, data: out };
}

test("padding changes no bit, whatever it holds", async () => {
  for (const [name, layer, features] of LAYERS) {
    const model = await build(layer, features);
    const short: Problem = { layer, features, batch: 1, steps: [3, 4] };
    const inputs = draw(short);
    const padded = inputs.map(({ shape: [, T, n], data }): Tensor => {
      const longer = new Float32Array((T + 5) * n).fill(1e30);
      longer.set(data);
      return { shape: [1, T + 5, n], data: longer };
    });
    const plain = await model.predict(inputs);
    const lengths = features.map((_, i) => [i ? 4 : 3]);
    const { data } = await model.predict(padded, { lengths });
    sameBits(data.slice(0, plain.data.length), plain.data, name);
    model.dispose();
  }
});

test("a step of a causal layer does not depend on what follows", async () => {
  const model = await sequential([multiHeadAttention(2, { causal: true })], { inputShape: [null, 6], seed: 1 });
  const x = randomTensor([2, 9, 6], 4);
  const whole = await model.predict(x);
  for (let T = 1; T < 9; T++) {
    const part = await model.predict({
      shape: [2, T, 6],
      data: Float32Array.from([...x.data.subarray(0, T * 6), ...x.data.subarray(54, 54 + T * 6)]),
    });
    sameBits(part.data.slice(0, T * 6), whole.data.slice(0, T * 6), `${T} steps`);
  }
  model.dispose();
});

test("dropout leaves weights out in training only, the same ones for the same seed", async () => {
  const losses = [];
  for (let run = 0; run < 2; run++) {
    const model = await sequential([attention({ dropout: 0.5 })], { inputShape: [null, 4], seed: 7 });
    model.compile({ loss: "meanSquaredError" });
    const x = randomTensor([4, 8, 4], 1);
    const y = randomTensor([4, 8, 4], 2);
    losses.push([(await model.trainOnBatch(x, y)).loss, (await model.trainOnBatch(x, y)).loss, (await model.evaluate(x, y)).loss]);
    model.dispose();
  }
  assert.equal(losses[0], losses[1]);
  assert.is.not(losses[0][0], losses[0][1]);
  assert.is.not(losses[0][0], losses[0][2]);
}); // biome-ignore format: long lines

test("saved and loaded, it predicts the same", async () => {
  for (const [name, layer, features] of LAYERS) {
    const model = await build(layer, features);
    const again = await loadModel(model.toBytes());
    const inputs = draw({ layer, features, batch: 2, steps: [3, 4] });
    sameBits((await again.predict(inputs)).data, (await model.predict(inputs)).data, name);
    model.dispose();
    again.dispose();
  }
});

test("what does not fit is refused at the door", async () => {
  const refuses = async (make: () => unknown, type: typeof ShapeError | typeof OptionError, message: RegExp) => {
    try {
      await make();
    } catch (error) {
      assert.instance(error, type);
      assert.match((error as Error).message, message);
      return;
    }
    assert.unreachable(`expected ${message}`);
  };
  await refuses(() => build(attention(), [4, 5]), ShapeError, /queries of 4 features cannot score keys of 5/);
  await refuses(() => build(multiHeadAttention(3), [4, 4]), ShapeError, /3 heads do not divide 4 features/);
  await refuses(() => sequential([attention()], { inputShape: [4] }), ShapeError, /needs a time axis/);
  await refuses(() => build(attention(), [4, 4, 4, 4]), ShapeError, /1 to 3 inputs/);
  await refuses(() => attention({ score: "additive", scale: "sqrt" }), OptionError, /additive/);
  await refuses(() => attention({ scale: "scaled" as "sqrt" }), OptionError, /"scale" must be one of/);
  await refuses(() => attention({ dropout: 1 }), OptionError, /dropout/);
  await refuses(() => multiHeadAttention(0), OptionError, /heads/);
  await refuses(() => multiHeadAttention(2, { units: 0.5 }), OptionError, /units/);
  await refuses(() => multiHeadAttention(2, { unit: 3 } as object), OptionError, /did you mean "units"/);
  const model = await build(attention(), [4, 4, 4]);
  const x = [randomTensor([2, 3, 4], 1), randomTensor([2, 5, 4], 2), randomTensor([2, 6, 4], 3)];
  await refuses(() => model.predict(x), ShapeError, /5 values need as many keys, got 6/);
  const streamed = await sequential([attention()], { inputShape: [null, 4] });
  assert.throws(() => streamed.stream(), /attention reads whole sequences/);
});

test.run();
