import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, gru, loadModel, sequential } from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { type Called, functional } from "../../../kit/keras-files.ts";
import { randomTensor, refuses, sameTensor } from "../../../kit/models.ts";

const x = randomTensor([2, 5, 3], 1);
const kernel = randomTensor([3, 12], 1);
const recurrent = randomTensor([4, 12], 2);
const bias = randomTensor([12], 3);

test("masks merge as the version merges them, and where that is not certain nobody reads them", async () => {
  const masked = { ...x, data: x.data.map((v, i) => (Math.floor(i / 3) % 5 === 1 ? 0 : v)) };
  const merged = (second: string, version: string) =>
    functional(
      [
        { class: "Masking", name: "mask", from: ["x"] },
        { class: "Masking", name: "other", config: { mask_value: 9 }, from: ["x"] },
        { class: "Add", name: "add", from: ["mask", second] },
        { class: "GRU", name: "gru", config: { units: 4, recurrent_activation: "sigmoid" }, from: ["add"] },
      ],
      { gru: [kernel, recurrent, bias] },
      version,
    );
  const twice = { ...masked, data: masked.data.map((v) => 2 * v) };
  const weights = { kernel, recurrentKernel: recurrent, bias };
  const model = await sequential([gru(4, { resetAfter: false })], { inputShape: [null, 3] });
  model.setWeights(Object.fromEntries(Object.entries(weights).map(([name, t]) => [`gru.${name}`, t])));
  const mask = [
    [1, 0, 1, 1, 1],
    [1, 0, 1, 1, 1],
  ];
  const [seen, unseen] = [await model.predict(twice, { mask }), await model.predict(twice)];
  const made = async (second: string, version: string) => (await loadModel(merged(second, version))).predict(masked);
  sameTensor(await made("x", "2.9.0"), seen, "Keras 2, one mask");
  sameTensor(await made("x", "3.4.0"), unseen, "Keras 3, one mask");
  sameTensor(await made("mask", "3.4.0"), seen, "Keras 3, the same mask");
  sameTensor(await made("other", "2.9.0"), seen, "Keras 2, two masks");
  await refuses(
    () => loadModel(merged("other", "3.4.0")),
    FormatError,
    /layer "gru" \(GRU\): it reads a mask that was merged/,
  );
});

test("merged shapes are broadcast as Keras does it", async () => {
  const one = randomTensor([3, 1], 5);
  const each = (
    merge: string,
    from: string[],
    more: { class: string; name: string; config?: object; from: string[] }[],
  ) => functional([...more, { class: merge, name: "merged", from }], { score: [one] }, "2.9.0");
  const score = { class: "Dense", name: "score", config: { units: 1, use_bias: false }, from: ["x"] };
  const scores = Array.from({ length: 10 }, (_, r) =>
    [0, 1, 2].reduce((sum, j) => sum + x.data[3 * r + j] * one.data[j], 0),
  );
  // A number a step.
  const weighted = await loadModel(each("Multiply", ["x", "score"], [score]));
  const expected = x.data.map((v, i) => v * scores[Math.floor(i / 3)]);
  close((await weighted.predict(x)).data, expected, 1e-6, "a number a step");
  // A step for all.
  const pool = { class: "GlobalMaxPooling1D", name: "pool", from: ["x"] };
  const step = { class: "Reshape", name: "step", config: { target_shape: [1, 3] }, from: ["pool"] };
  const largest = (b: number, j: number) => Math.max(...[0, 1, 2, 3, 4].map((t) => x.data[(b * 5 + t) * 3 + j]));
  const added = x.data.map((v, i) => v + largest(Math.floor(i / 15), i % 3));
  for (const [from, more] of [
    [
      ["x", "step"],
      [pool, step],
    ],
    [["pool", "x"], [pool]],
  ] as const)
    close((await (await loadModel(each("Add", [...from], [...more]))).predict(x)).data, added, 1e-6, String(from));
  const other = { class: "Dense", name: "score", config: { units: 2, use_bias: false }, from: ["x"] };
  await refuses(
    () =>
      loadModel(
        functional(
          [other, { class: "Add", name: "sum", from: ["x", "score"] }],
          { score: [randomTensor([3, 2], 1)] },
          "2.9.0",
        ),
      ),
    FormatError,
    /layer "sum": expected inputs of one shape, got 3 and 2 features/,
  );
});

test("products of queries and keys, a softmax and a product with values are attention", async () => {
  const [q, k] = [randomTensor([3, 4], 5), randomTensor([3, 4], 6)];
  const maps = ["q", "k"].map((name) => ({ class: "Dense", name, config: { units: 4, use_bias: false }, from: ["x"] }));
  const parts = (values: string) => [
    ...maps,
    { class: "Dot", name: "scores", config: { axes: [2, 2] }, from: ["q", "k"] },
    { class: "Activation", name: "weights", config: { activation: "softmax" }, from: ["scores"] },
    { class: "Dot", name: "context", config: { axes: [2, 1] }, from: ["weights", values] },
  ];
  const weights = { q: [q], k: [k] };
  for (const values of ["k", "x"]) {
    const seen = { class: "Attention", name: "seen", from: values === "k" ? ["q", "k"] : ["q", "x", "k"] };
    const expected = await (await loadModel(functional([...maps, seen], weights, "2.9.0"))).predict(x);
    sameTensor(await (await loadModel(functional(parts(values), weights, "2.9.0"))).predict(x), expected, values);
  }
  const refused = (layers: readonly Called[], message: RegExp) =>
    refuses(() => loadModel(functional(layers, weights, "2.9.0")), FormatError, message);
  await refused(parts("k").slice(0, 3), /"scores" \(Dot\): its product goes elsewhere than through a softmax/);
  await refused(parts("k").slice(0, 4), /its product goes elsewhere/);
  const onward = [
    ...parts("k").slice(0, 3),
    { class: "GlobalMaxPooling1D", name: "most", config: {}, from: ["scores"] },
  ];
  await refused(onward, /its product goes elsewhere/);
  const turned = [...maps, { class: "Dot", name: "other", config: { axes: 1 }, from: ["q", "k"] }];
  await refused(turned, /"other" \(Dot\): a product over axes 1 and 1; gruvy has that of two vectors/);
});

test("the product of two vectors is the sum of what they have in each place", async () => {
  const both = ["GlobalMaxPooling1D", "GlobalAveragePooling1D"];
  const pools = both.map((kind, i) => ({ class: kind, name: `p${i}`, from: ["x"] }));
  const [a, b] = await Promise.all(
    pools.map(async (pool) => (await loadModel(functional([pool], {}, "2.9.0"))).predict(x)),
  );
  const model = functional(
    [...pools, { class: "Dot", name: "dot", config: { axes: -1 }, from: ["p0", "p1"] }],
    {},
    "2.9.0",
  );
  const expected = [0, 1].map((row) =>
    [0, 1, 2].reduce((sum, j) => sum + a.data[3 * row + j] * b.data[3 * row + j], 0),
  );
  const y = await (await loadModel(model)).predict(x);
  close(y.data, expected, 1e-6, "sums");
  const cosine = { class: "Dot", name: "dot", config: { axes: 1, normalize: true }, from: ["p0", "p1"] };
  await refuses(() => loadModel(functional([...pools, cosine], {}, "2.9.0")), FormatError, /"dot" \(Dot\): normalize/);
});

test("UpSampling1D repeats steps", async () => {
  const up = (config: object) => [{ class: "UpSampling1D", name: "up", config, from: ["x"] }];
  const y = await (await loadModel(functional(up({ size: 3 }), {}, "2.9.0"))).predict(x);
  assert.equal(y.shape, [2, 15, 3]);
  assert.equal(
    [...y.data],
    Array.from(y.data, (_, i) => x.data[Math.floor(i / 9) * 3 + (i % 3)]),
  );
  sameTensor(await (await loadModel(functional(up({ size: [1] }), {}, "2.9.0"))).predict(x), x, "once");
  await refuses(
    () => loadModel(functional(up({ size: 0 }), {}, "2.9.0")),
    FormatError,
    /"up" \(UpSampling1D\): size 0/,
  );
});

test.run();
