import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromCudnnGru, fromKeras1Gru } from "../../../../host/formats/gates.ts";
import { writeHdf5 } from "../../../../host/formats/hdf5/write.ts";
import { exportModel, fromKeras } from "../../../../host/formats/index.ts";
import { writeZip } from "../../../../host/formats/zip.ts";
import { dense, FormatError, gru, layerNorm, loadModel, sequential, type Tensor } from "../../../../host/index.ts";
import { h5, type Layer, layer } from "../../../kit/keras-files.ts";
import { randomTensor, refuses, sameTensor, sameTensors } from "../../../kit/models.ts";

const folder = new URL("../../../fixtures/keras/", import.meta.url);
const bytes = (name: string) => new Uint8Array(readFileSync(new URL(name, folder)));
const x = randomTensor([2, 5, 3], 1);

const kernel = randomTensor([3, 12], 1);
const recurrent = randomTensor([4, 12], 2);
const bias = randomTensor([12], 3);
const shape = { batch_input_shape: [null, null, 3] };
const gruLayer = (config: object, className = "GRU") => layer(className, { units: 4, ...shape, ...config }, "gru_1");

/** What gruvy computes with the same weights. */
async function computed(
  options: object,
  weights: { kernel: Tensor; recurrentKernel: Tensor; bias?: Tensor },
): Promise<Tensor> {
  const model = await sequential([gru(4, options)], { inputShape: [null, 3] });
  model.setWeights(Object.fromEntries(Object.entries(weights).map(([name, t]) => [`gru.${name}`, t])));
  return model.predict(x);
}

test("reset_after is false where a file does not say, and hard_sigmoid goes by the version", async () => {
  const weights = { kernel, recurrentKernel: recurrent, bias };
  for (const [version, gates] of [
    ["2.1.4", "hardSigmoid02"],
    ["3.4.1", "hardSigmoid"],
    [undefined, "hardSigmoid02"],
  ] as const) {
    const file = h5(
      [gruLayer({ recurrent_activation: "hard_sigmoid" })],
      { gru_1: [kernel, recurrent, bias] },
      version,
    );
    const model = await loadModel(file);
    const expected = await computed({ resetAfter: false, recurrentActivation: gates }, weights);
    sameTensor(await model.predict(x), expected, String(version));
  }
});

test("Keras 1: its own names of options, and nine arrays a layer", async () => {
  const parts = [0, 1, 2].flatMap((gate) => [
    randomTensor([3, 4], 10 + gate),
    randomTensor([4, 4], 20 + gate),
    randomTensor([4], 30 + gate),
  ]);
  const layers = [
    {
      class_name: "GRU",
      config: {
        name: "gru_1",
        output_dim: 4,
        init: "glorot_uniform",
        inner_init: "orthogonal",
        activation: "tanh",
        inner_activation: "hard_sigmoid",
        dropout_W: 0,
        dropout_U: 0,
        consume_less: "cpu",
        ...shape,
      },
    },
    { class_name: "Dropout", config: { name: "dropout_1", p: 0.2 } },
  ];
  // The config of an old Sequential is the list itself.
  const model = await loadModel(h5(layers, { gru_1: parts }, undefined, layers));
  const options = { resetAfter: false, recurrentActivation: "hardSigmoid02" };
  sameTensor(await model.predict(x), await computed(options, fromKeras1Gru(parts)), "nine arrays");
  assert.equal([...fromKeras1Gru(parts).kernel.data.slice(0, 5)], [...parts[0].data.slice(0, 4), parts[3].data[0]]);
});

test("CuDNNGRU: matrices that are stored as their transposes, both biases in a row", async () => {
  const both = randomTensor([24], 4);
  const model = await loadModel(h5([gruLayer({}, "CuDNNGRU")], { gru_1: [kernel, recurrent, both] }, "2.2.4"));
  const weights = fromCudnnGru(kernel, recurrent, both);
  sameTensor(await model.predict(x), await computed({}, weights), "CuDNNGRU");
  // Keras: np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, 3)]), and k.T of the square ones.
  for (const gate of [0, 1, 2])
    for (let i = 0; i < 3; i++)
      for (let h = 0; h < 4; h++) {
        const flat = h * 3 + i;
        const from = Math.floor(flat / 4) * 12 + gate * 4 + (flat % 4);
        assert.is(weights.kernel.data[i * 12 + gate * 4 + h], kernel.data[from]);
      }
  for (let i = 0; i < 4; i++)
    for (let h = 0; h < 4; h++) assert.is(weights.recurrentKernel.data[i * 12 + h], recurrent.data[h * 12 + i]);
});

test("a CuDNNGRU of no units is refused, and nothing waits for it", async () => {
  const none = (shape: number[]): Tensor => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  const file = h5([gruLayer({}, "CuDNNGRU")], { gru_1: [kernel, none([0, 12]), none([0])] }, "2.2.4");
  await refuses(() => loadModel(file), FormatError, /"recurrentKernel": expected \[4, 12\], got \[0, 12\]/);
});

test("what only training knows does not stop a load", async () => {
  const strange = {
    kernel_constraint: { class_name: "MyConstraint", config: {} },
    kernel_regularizer: { class_name: "L9", config: null },
    kernel_initializer: { class_name: "Mine", config: { a: 1 } },
    activity_regularizer: "?",
    implementation: 7,
    use_cudnn: "auto",
    unroll: true,
    time_major: false,
  };
  const model = await loadModel(
    h5(
      [gruLayer({ ...strange, reset_after: true })],
      { gru_1: [kernel, recurrent, randomTensor([2, 12], 5)] },
      "2.9.0",
    ),
  );
  assert.is(model.parameterCount, 36 + 48 + 24);
});

test("a model whose input shape is not in the file has that of its first weights", async () => {
  const { batch_input_shape: _, ...config } = gruLayer({}).config;
  const model = await loadModel(h5([{ class_name: "GRU", config }], { gru_1: [kernel, recurrent, bias] }, "2.1.4"));
  assert.equal(model.inputShape, [null, 3]);
});

test("long lists of names are split over attributes, and groups may have many members", async () => {
  const layers = Array.from({ length: 400 }, (_, i) => dense(1, { name: `layer_${"x".repeat(170)}${i}` }));
  const model = await sequential(layers, { inputShape: [1], seed: 3 });
  for (const format of ["h5", "keras"] as const) {
    const file = await exportModel(model, format);
    const back = await loadModel(file);
    sameTensors(back.weights(), model.weights(), format);
  }
});

test("what gruvy has not is named with the layer, and what would do", async () => {
  const refused = (layer: Layer, message: RegExp) =>
    refuses(() => loadModel(h5([layer], { gru_1: [kernel, recurrent, bias] }, "2.4.0")), FormatError, message);
  await refused(
    gruLayer({}, "LSTM"),
    /layer "gru_1" \(LSTM\): gruvy has no such layer; .* train the model with GRU in its place/,
  );
  await refused(gruLayer({}, "GroupNormalization"), /gruvy has no such layer; it reads GRU, /);
  await refused(gruLayer({}, "Lambda"), /Python code; build the model of layers without it/);
  await refused(gruLayer({ max_value: 6, threshold: 1 }, "ReLU"), /one of its max_value, its negative_slope/);
  await refused(gruLayer({ axis: 1 }, "Softmax"), /"gru_1" \(Softmax\): gruvy's is over the last axis/);
  await refused(gruLayer({ activation: "mish" }), /layer "gru_1" \(GRU\): the activation "mish" is not in gruvy/);
  await refused(gruLayer({ time_major: true }), /"gru_1" \(GRU\): "time_major"/);
  await refused(gruLayer({ units: 5 }), /"gru_1" \(GRU\): "kernel": expected \[3, 15\], got \[3, 12\]/);
  await refused(gruLayer({ reset_after: true }), /"bias": expected \[2, 12\], got \[12\]/);
  await refused(gruLayer({ units: -1 }), /"units" must be a whole number/);
  const nan = { shape: [12], data: bias.data.map((v, i) => (i === 3 ? Number.NaN : v)) };
  await refuses(
    () => loadModel(h5([gruLayer({})], { gru_1: [kernel, recurrent, nan] }, "2.4.0")),
    FormatError,
    /"bias" has NaN at position 3; expected finite numbers/,
  );
  await refuses(() => loadModel(bytes("gru.weights.h5")), FormatError, /weights only; make the model, then fromKeras/);
  await refuses(() => loadModel(writeZip(new Map([["a", new Uint8Array(1)]]))), FormatError, /without config.json/);
});

test("a model as Keras writes it in two files: its JSON, and its weights", async () => {
  const layers = [gruLayer({ recurrent_activation: "sigmoid" })];
  const json = {
    class_name: "Sequential",
    config: { name: "s", layers },
    keras_version: "2.4.0",
    backend: "tensorflow",
  };
  const groups = {
    gru_1: { attributes: { weight_names: ["k", "r", "b"] }, members: { k: kernel, r: recurrent, b: bias } },
  };
  const weights = writeHdf5({ attributes: { layer_names: ["gru_1"], keras_version: "2.4.0" }, members: groups });
  const text = new TextEncoder().encode(JSON.stringify(json));
  const model = await loadModel({ "model.json": text, "model_weights.h5": weights });
  const expected = await computed({ resetAfter: false }, { kernel, recurrentKernel: recurrent, bias });
  sameTensor(await model.predict(x), expected, "two files");
  await refuses(() => loadModel(text), FormatError, /pass \{ "model.json": ..., "model.weights.h5": ... \}/);
});

test("weights alone fill a model: .weights.h5, .h5 and .keras, by name or in order", async () => {
  const whole = await loadModel(bytes("gru.keras"));
  const [g, ln, g2, d] = whole.network.nodes.filter(({ params }) => params.length).map(({ name }) => name);
  const names = { [g]: "first", [ln]: "norm", [g2]: "second", [d]: "head" };
  const make = () =>
    sequential(
      [
        gru(5, { returnSequences: true, name: "first" }),
        layerNorm({ name: "norm" }),
        gru(4, { resetAfter: false, useBias: false, name: "second" }),
        dense(2, { name: "head" }),
      ],
      { inputShape: [null, 3], seed: 9 },
    );
  const expected = Object.fromEntries(
    Object.entries(whole.weights()).map(([key, tensor]) => [key.replace(/^[^.]+/, (layer) => names[layer]), tensor]),
  );
  for (const file of ["gru.weights.h5", "gru.keras", "gru.h5", "packed.h5"])
    sameTensors((await fromKeras(bytes(file), await make())).weights(), expected, file);
  const other = await sequential([gru(6, { name: "one" }), dense(2, { name: "two" })], {
    inputShape: [null, 3],
    seed: 9,
  });
  const before = other.weights();
  await refuses(
    () => fromKeras(bytes("gru.h5"), other),
    FormatError,
    /the file has 4 layers with weights .*, the model 2/,
  );
  await refuses(
    () => fromKeras(bytes("gru.weights.h5"), other),
    FormatError,
    /layer "one" \(GRU\): "kernel": expected \[3, 18\], got \[3, 15\]/,
  );
  const part = await sequential([gru(5, { name: g })], { inputShape: [null, 3] });
  await refuses(() => fromKeras(bytes("gru.h5"), part), FormatError, /left over: the layers \[.*\] of the file; make/);
  const after = await exportModel(await sequential([gru(5)], { inputShape: [null, 3] }), "h5");
  await refuses(
    async () => fromKeras(after, await sequential([gru(5, { resetAfter: false })], { inputShape: [null, 3] })),
    FormatError,
    /"bias": expected \[15\], got \[2, 15\]; the file's gru has resetAfter: true/,
  );
  await refuses(() => fromKeras(part.toBytes(), part), FormatError, /expected an HDF5 file, such as .h5 or .keras/);
  sameTensors(other.weights(), before, "nothing has changed");
});

test("every file of Keras is carried with its case", () => {
  const files = readdirSync(folder);
  for (const file of files.filter((name) => /\.(keras|h5)$/.test(name) && !name.includes("weights")))
    assert.ok(files.includes(`${file}.case.json`), file);
});

test("Keras 2.13: layers with weights counted twice, in nested models too", async () => {
  const random = (seed: number) => [
    randomTensor([3, 9], seed),
    randomTensor([3, 9], seed + 1),
    randomTensor([9], seed + 2),
  ];
  const weights = [10, 20, 30, 40].map(random);
  const grus = (names: string[]) =>
    names.map((name) => layer("GRU", { units: 3, ...shape, return_sequences: true, reset_after: false }, name));
  const inner = { class_name: "Sequential", config: { name: "inner", layers: grus(["c", "d"]) } };
  const config = {
    class_name: "Sequential",
    config: { name: "s", layers: [...grus(["a", "b"]), layer("Dropout", { rate: 0.1 }, "e"), inner] },
  };
  const vars = (tensors: Tensor[]) => ({
    members: { cell: { members: { vars: { members: Object.fromEntries(Object.entries(tensors)) } } } },
  });
  const file = (list: string, numbers: string[], path = (members: object) => ({ [list]: { members } })) =>
    writeZip(
      new Map([
        ["metadata.json", new TextEncoder().encode(JSON.stringify({ keras_version: "2.13.1" }))],
        ["config.json", new TextEncoder().encode(JSON.stringify(config))],
        [
          "model.weights.h5",
          writeHdf5({
            members: path({
              [`gru${numbers[0]}`]: vars(weights[0]),
              [`gru${numbers[1]}`]: vars(weights[1]),
              dropout: vars([]),
              sequential: {
                members: path({ [`gru${numbers[0]}`]: vars(weights[2]), [`gru${numbers[1]}`]: vars(weights[3]) }),
              },
            }) as never,
          }),
        ],
      ]),
    );
  const expected = await (await loadModel(file("layers", ["", "_1"]))).predict(x);
  for (const numbers of [
    ["", "_1"],
    ["", "_2"],
    ["_2", "_10"],
  ])
    sameTensor(
      await (await loadModel(file("_layer_checkpoint_dependencies", numbers))).predict(x),
      expected,
      String(numbers),
    );
});

test.run();
