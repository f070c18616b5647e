import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, loadModel, type Tensor } from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { functional, h5, type Layer, layer } from "../../../kit/keras-files.ts";
import { randomTensor, refuses, sameTensor } from "../../../kit/models.ts";

const x = randomTensor([2, 5, 3], 1);
const shape = { batch_input_shape: [null, null, 3] };

/** What a model of these layers of Keras gives. */
async function run(layers: Layer[], weights: Record<string, Tensor[]>, input: Tensor, version = "2.9.0") {
  const model = await loadModel(h5(layers, weights, version));
  const y = await model.predict(input);
  model.dispose();
  return y;
}

test("batch normalisation goes by its statistics, whatever of it there is", async () => {
  const [gamma, beta, mean] = [1, 2, 3].map((seed) => randomTensor([3], seed));
  const variance = { shape: [3], data: Float32Array.of(0.5, 2, 0.1) };
  for (const [config, stored, g, b] of [
    [{}, [gamma, beta], gamma.data, beta.data],
    [{ scale: false }, [beta], [1, 1, 1], beta.data],
    [{ center: false, axis: [2] }, [gamma], gamma.data, [0, 0, 0]],
    [{ scale: false, center: false, epsilon: 0.1 }, [], [1, 1, 1], [0, 0, 0]],
  ] as const) {
    const { epsilon = 1e-3 } = config as { epsilon?: number };
    const y = await run(
      [layer("BatchNormalization", { ...shape, ...config })],
      { layer: [...stored, mean, variance] },
      x,
    );
    const expected = x.data.map((v, i) => {
      const j = i % 3;
      return ((v - mean.data[j]) / Math.sqrt(variance.data[j] + epsilon)) * g[j] + b[j];
    });
    // A product and a sum; scale and shift are rounded once each, and up to 4.
    close(y.data, expected, 1e-6, JSON.stringify(config), 1e-6);
  }
  const overTime = layer("BatchNormalization", { batch_input_shape: [null, 3, 3], axis: 1 });
  await refuses(() => run([overTime], { layer: [gamma, beta, mean, variance] }, x), FormatError, /axis 1; .* axis, -1/);
});

test("Normalization and Rescaling", async () => {
  const [mean, variance] = [randomTensor([3], 1), { shape: [3], data: Float32Array.of(0.5, 0, 4) }];
  const count = { shape: [], data: Float32Array.of(9) };
  const deviation = [...variance.data].map((v) => Math.max(Math.sqrt(v), 1e-7));
  const normal = (config: object, stored: Tensor[]) =>
    run([layer("Normalization", { ...shape, axis: [-1], ...config })], { layer: stored }, x, "3.4.0");
  const expected = x.data.map((v, i) => (v - mean.data[i % 3]) / deviation[i % 3]);
  close((await normal({}, [mean, variance, count])).data, expected, 1e-6, "from weights");
  const options = { mean: [[...mean.data]], variance: [[...variance.data]] };
  close((await normal(options, [])).data, expected, 1e-6, "from options");
  close(
    (await normal({ mean: 0.5, variance: 4, axis: null, invert: true }, [])).data,
    x.data.map((v) => v * 2 + 0.5),
    1e-6,
    "inverse",
  );
  const scaled = await run([layer("Rescaling", { ...shape, scale: 0.5, offset: [1, 2, 3] })], {}, x);
  close(
    scaled.data,
    x.data.map((v, i) => v / 2 + 1 + (i % 3)),
    1e-6,
    "rescaled",
  );
});

test("numbers move as Flatten, Reshape and Permute move them", async () => {
  const fixed = { batch_input_shape: [null, 5, 3] };
  const layers = [
    layer("Permute", { ...fixed, dims: [2, 1] }, "a"),
    layer("Reshape", { target_shape: [-1, 5] }, "b"),
    layer("Permute", { dims: [2, 1] }, "c"),
    layer("Flatten", {}, "d"),
    layer("Flatten", {}, "e"),
  ];
  const y = await run(layers, {}, x);
  assert.equal(y.shape, [2, 15]);
  assert.equal([...y.data], [...x.data]);
  const padded = await run(
    [
      layer("ZeroPadding1D", { ...fixed, padding: [2, 1] }, "a"),
      layer("Cropping1D", { cropping: [1, 3] }, "b"),
      layer("Cropping1D", { cropping: 1 }, "c"),
    ],
    {},
    x,
  );
  // A step of zeros and three of five, and of these the inner ones.
  assert.equal(padded.shape, [2, 2, 3]);
  assert.equal([...padded.data], [...x.data.slice(0, 6), ...x.data.slice(15, 21)]);
  const four = layer("Reshape", { ...fixed, target_shape: [5, 3, 1] });
  await refuses(() => run([four], {}, x), FormatError, /shape \[5, 3, 1\]; gruvy has \[features\] and/);
});

test("convolutions of Keras 1, of Theano, in groups, and of two products", async () => {
  const kernel = randomTensor([2, 3, 4], 1);
  const [k, i, n] = kernel.shape;
  const at = (a: number, b: number, c: number) => kernel.data[(a * i + b) * n + c];
  const plain = { ...shape, filters: n, kernel_size: [k], padding: "valid" };
  const expected = await run([layer("Conv1D", plain)], { layer: [kernel, randomTensor([n], 2)] }, x);
  const old = { ...shape, nb_filter: n, filter_length: k, border_mode: "valid", subsample_length: 1, bias: true };
  const bias = randomTensor([n], 2);
  const same = async (what: string, config: object, stored: Tensor, className = "Convolution1D") =>
    sameTensor(await run([layer(className, config)], { layer: [stored, bias] }, x, "1.2.0"), expected, what);
  await same("an axis more", old, { shape: [k, 1, i, n], data: kernel.data });
  const turned = new Float32Array(kernel.data.length);
  for (let a = 0; a < k; a++)
    for (let b = 0; b < i; b++) for (let c = 0; c < n; c++) turned[(c * i + b) * k + a] = at(a, b, c);
  await same("filters first", old, { shape: [n, i, k, 1], data: turned });
  // Groups: the kernel with zeros for what a filter does not read.
  const grouped = randomTensor([2, 1, 6], 4);
  const full = new Float32Array(2 * 3 * 6);
  for (let a = 0; a < 2; a++)
    for (let b = 0; b < 3; b++)
      for (let c = 0; c < 6; c++) if (Math.floor(c / 2) === b) full[(a * 3 + b) * 6 + c] = grouped.data[a * 6 + c];
  const six = { ...plain, filters: 6, use_bias: false };
  sameTensor(
    await run([layer("Conv1D", { ...six, groups: 3 })], { layer: [grouped] }, x),
    await run([layer("Conv1D", six)], { layer: [{ shape: [2, 3, 6], data: full }] }, x),
    "groups",
  );
  const [depth, point] = [randomTensor([2, 3, 2], 5), randomTensor([1, 6, 6], 6)];
  const product = new Float32Array(2 * 3 * 6);
  for (let a = 0; a < 6; a++)
    for (let c = 0; c < 6; c++)
      for (let m = 0; m < 2; m++) product[a * 6 + c] += depth.data[a * 2 + m] * point.data[((a % 3) * 2 + m) * 6 + c];
  close(
    (await run([layer("SeparableConv1D", six)], { layer: [depth, point] }, x)).data,
    (await run([layer("Conv1D", six)], { layer: [{ shape: [2, 3, 6], data: product }] }, x)).data,
    2e-6,
    "separable",
  );
});

test("layers of one's own under a name of Keras's are refused", async () => {
  const own = (config: object, name = "Attention") => layer(name, { ...shape, ...config });
  await refuses(() => run([own({})], { layer: [] }, x), FormatError, /called on 1 inputs, and Keras's takes 2 or more/);
  const kernel = randomTensor([3, 2], 1);
  await refuses(
    () => run([own({ units: 2, use_bias: false }, "Dense")], { layer: [kernel, randomTensor([2], 2)] }, x),
    FormatError,
    /weights for it that Keras's layer has not: "bias" \[2\]/,
  );
  const both = functional(
    [
      { class: "Dense", name: "q", config: { units: 3, use_bias: false }, from: ["x"] },
      { class: "Attention", name: "seen", from: ["q", "x"] },
    ],
    { q: [randomTensor([3, 3], 1)], seen: [randomTensor([3, 1], 2)] },
    "2.9.0",
  );
  await refuses(
    () => loadModel(both),
    FormatError,
    /"seen" \(Attention\): the file has weights for it .* "scale" \[3, 1\]/,
  );
  const module = { ...layer("Dense", { ...shape, units: 2 }), module: "__main__", registered_name: "Dense" };
  await refuses(
    () => run([module], { layer: [kernel, randomTensor([2], 2)] }, x),
    FormatError,
    /of "__main__"; its code/,
  );
});

test.run();
