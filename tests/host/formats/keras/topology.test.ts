import { test } from "uvu";
import * as assert from "uvu/assert";
import { type TreeNode, writeHdf5 } from "../../../../host/formats/hdf5/write.ts";
import { dense, FormatError, gru, loadModel, sequential, type Tensor } from "../../../../host/index.ts";
import { functional, h5, layer } from "../../../kit/keras-files.ts";
import { randomTensor, refuses, sameTensor } from "../../../kit/models.ts";

const x = randomTensor([2, 5, 3], 1);
const shape = { batch_input_shape: [null, null, 3] };
test("layers stand in any order, as many as there may be", async () => {
  const layers = Array.from({ length: 2000 }, (_, i) => ({
    class: "Activation",
    name: `a${i}`,
    config: { activation: "relu" },
    from: [i ? `a${i - 1}` : "x"],
  }));
  // The output is the last of the list.
  const model = await loadModel(functional([...layers.slice(0, -1).reverse(), ...layers.slice(-1)], {}, "2.9.0"));
  assert.equal(
    [...(await model.predict(x)).data],
    [...x.data].map((v) => Math.max(v, 0)),
  );
  model.dispose();
});

test("layers that read one another in turn are refused, and those that read what is not there", async () => {
  const add = (name: string, from: string[]) => ({ class: "Add", name, from });
  await refuses(
    () => loadModel(functional([add("a", ["x", "b"]), add("b", ["x", "a"])], {}, "2.9.0")),
    FormatError,
    /layer "a" reads "b", which is not there or reads it in turn/,
  );
  await refuses(
    () => loadModel(functional([add("a", ["x", "c"])], {}, "2.9.0")),
    FormatError,
    /layer "a" reads "c", which/,
  );
});

test("a model at every step: its layers, which take steps as samples", async () => {
  const [k1, k2] = [randomTensor([3, 4], 1), randomTensor([4, 2], 2)];
  const inner = {
    class_name: "Sequential",
    config: {
      name: "inner",
      layers: [
        layer("Dense", { units: 4, activation: "tanh", use_bias: false }, "one"),
        layer("Flatten", {}, "flat"),
        layer("Dense", { units: 2, use_bias: false }, "two"),
      ],
    },
  };
  const weights: TreeNode = {
    attributes: { weight_names: ["td/one/kernel:0", "td/two/kernel:0"] },
    members: { td: { members: { one: { members: { "kernel:0": k1 } }, two: { members: { "kernel:0": k2 } } } } },
  };
  const file = (layers: object[]) =>
    writeHdf5({
      attributes: {
        keras_version: "2.9.0",
        model_config: JSON.stringify({ class_name: "Sequential", config: { layers } }),
      },
      members: { model_weights: { attributes: { layer_names: ["td"] }, members: { td: weights } } },
    });
  const model = await loadModel(
    file([{ class_name: "TimeDistributed", config: { name: "td", ...shape, layer: inner } }]),
  );
  const same = await sequential([dense(4, { activation: "tanh", useBias: false }), dense(2, { useBias: false })], {
    inputShape: [null, 3],
  });
  same.setWeights({ "dense.kernel": k1, "dense_1.kernel": k2 });
  sameTensor(await model.predict(x), await same.predict(x), "time-distributed model");
  const recurrent = {
    class_name: "Sequential",
    config: { name: "inner", layers: [layer("GRU", { units: 4 }, "gru_1")] },
  };
  const refused = { class_name: "TimeDistributed", config: { name: "td", ...shape, layer: recurrent } };
  await refuses(
    () => loadModel(file([refused])),
    FormatError,
    /"gru_1" \(GRU\): in TimeDistributed "td"; gruvy has Dense/,
  );
});

test("layers of one name in several models have the weights of their own, or it is said that nobody can tell", async () => {
  const [first, second] = [randomTensor([3, 3], 1), randomTensor([3, 3], 2)];
  const inner = (name: string, className: string, more: object[]) => ({
    class_name: "Sequential",
    config: { name, layers: [layer(className, { units: 3, use_bias: false }, "same"), ...more] },
  });
  const deep = inner("deep", "Dense", []);
  const outer = { ...inner("outer", "Dense", [deep]) };
  const file = (names: readonly string[]) =>
    writeHdf5({
      attributes: {
        keras_version: "2.9.0",
        model_config: JSON.stringify({ class_name: "Sequential", config: { layers: [input, outer] } }),
      },
      members: {
        model_weights: {
          attributes: { layer_names: ["outer"] },
          members: {
            outer: {
              attributes: { weight_names: names },
              members: nested(names, [first, second]),
            },
          },
        },
      },
    });
  const input = layer("InputLayer", { batch_input_shape: [null, 3] }, "input");
  const expected = await sequential([dense(3, { useBias: false }), dense(3, { useBias: false })], { inputShape: [3] });
  expected.setWeights({ "dense.kernel": first, "dense_1.kernel": second });
  const given = randomTensor([2, 3], 5);
  for (const names of [
    ["outer/same/kernel:0", "outer/deep/same/kernel:0"],
    ["same/kernel:0", "deep/same/kernel:0"],
  ])
    sameTensor(await (await loadModel(file(names))).predict(given), await expected.predict(given), String(names));
  await refuses(
    () => loadModel(file(["a/same/kernel:0", "b/same/kernel:0"])),
    FormatError,
    /layer "same": several layers of models in models have this name/,
  );
});

/** Tensors at paths, as members of a group. */
function nested(paths: readonly string[], tensors: readonly Tensor[]): Record<string, TreeNode | Tensor> {
  const root: Record<string, TreeNode | Tensor> = {};
  for (const [i, path] of paths.entries()) {
    const parts = path.split("/");
    let members = root;
    for (const part of parts.slice(0, -1)) {
      members[part] ??= { members: {} };
      members = (members[part] as TreeNode).members as Record<string, TreeNode | Tensor>;
    }
    members[parts.at(-1)!] = tensors[i];
  }
  return root;
}

test("cells on top of each other are layers, one a cell, with a state each", async () => {
  const sizes = [
    [3, 4],
    [4, 2],
  ];
  const stored = sizes.flatMap(([I, H], k) => [
    randomTensor([I, 3 * H], 10 * k + 1),
    randomTensor([H, 3 * H], 10 * k + 2),
    ...(k === 0 ? [] : [randomTensor([2, 3 * H], 10 * k + 3)]),
  ]);
  const cells = sizes.map(([, units], k) =>
    layer("GRUCell", { units, use_bias: k === 1, reset_after: true, recurrent_activation: "sigmoid" }, `cell_${k}`),
  );
  const stack = { class_name: "StackedRNNCells", config: { name: "stack", cells } };
  const rnn = (config: object) => h5([layer("RNN", { ...shape, ...config }, "rnn")], { rnn: stored }, "2.9.0");
  const expected = await sequential(
    [gru(4, { returnSequences: true, useBias: false }), gru(2, { returnSequences: true })],
    { inputShape: [null, 3] },
  );
  const names = ["gru.kernel", "gru.recurrentKernel", "gru_1.kernel", "gru_1.recurrentKernel", "gru_1.bias"];
  expected.setWeights(Object.fromEntries(names.map((name, i) => [name, stored[i]])));
  for (const cell of [stack, cells]) {
    const model = await loadModel(rnn({ cell, return_sequences: true }));
    sameTensor(await model.predict(x), await expected.predict(x), "sequences");
  }
  await refuses(() => loadModel(rnn({ cell: [] })), FormatError, /"rnn" \(RNN\): no cells/);
  await refuses(
    () => loadModel(rnn({ cell: [cells[0], layer("LSTMCell")] })),
    FormatError,
    /"rnn" \(RNN\): a cell of class "LSTMCell"/,
  );
  const both = functional(
    [
      { class: "RNN", name: "rnn", config: { cell: cells, return_state: true }, from: ["x"] },
      { class: "RNN", name: "again", config: { cell: cells }, from: ["x"] },
    ],
    { rnn: stored, again: stored },
    "2.9.0",
  );
  sameTensor(
    await (await loadModel(both)).predict(x),
    await (await loadModel(rnn({ cell: cells }))).predict(x),
    "in a functional model",
  );
});

test("calls of models are counted as each version counts them", async () => {
  const kernel = randomTensor([3, 3], 1);
  const inner = {
    class_name: "Functional",
    config: {
      name: "inner",
      layers: [
        { class_name: "InputLayer", name: "i", config: { name: "i", batch_input_shape: [null, 3] }, inbound_nodes: [] },
        {
          class_name: "Dense",
          name: "d",
          config: { name: "d", units: 3, use_bias: false },
          inbound_nodes: [[["i", 0, 0, {}]]],
        },
      ],
      input_layers: [["i", 0, 0]],
      output_layers: [["d", 0, 0]],
    },
  };
  const tensor3 = (history: unknown[]) => ({ class_name: "__keras_tensor__", config: { keras_history: history } });
  const model = (version: string, calls: unknown[][], output: unknown[]) => {
    const given = (call: unknown[]) =>
      version.startsWith("3") ? { args: [tensor3(call)], kwargs: {} } : [[...call, {}]];
    return writeHdf5({
      attributes: {
        keras_version: version,
        model_config: JSON.stringify({
          class_name: "Functional",
          config: {
            name: "outer",
            layers: [
              { class_name: "InputLayer", name: "x", config: { batch_input_shape: [null, 3] }, inbound_nodes: [] },
              { ...inner, name: "inner", inbound_nodes: calls.map(given) },
            ],
            input_layers: [["x", 0, 0]],
            output_layers: [output],
          },
        }),
      },
      members: {
        model_weights: {
          attributes: { layer_names: ["inner"] },
          members: {
            inner: {
              attributes: { weight_names: ["d/kernel:0"] },
              members: { d: { members: { "kernel:0": kernel } } },
            },
          },
        },
      },
    });
  };
  const once = await sequential([dense(3, { useBias: false })], { inputShape: [3] });
  once.setWeights({ "dense.kernel": kernel });
  const given = randomTensor([2, 3], 5);
  const [one, two] = [await once.predict(given), await once.predict(await once.predict(given))];
  for (const [version, calls, output, expected] of [
    ["2.4.0", [["x", 0, 0]], ["inner", 1, 0], one],
    [
      "2.4.0",
      [
        ["x", 0, 0],
        ["inner", 1, 0],
      ],
      ["inner", 2, 0],
      two,
    ],
    [
      "2.4.0",
      [
        ["x", 0, 0],
        ["inner", 1, 0],
      ],
      ["inner", 1, 0],
      one,
    ],
    ["3.4.0", [["x", 0, 0]], ["inner", 1, 0], one],
    [
      "3.4.0",
      [
        ["x", 0, 0],
        ["inner", 0, 0],
      ],
      ["inner", 2, 0],
      two,
    ],
    ["3.4.0", [["x", 0, 0]], ["inner", 0, 0], one],
  ] as const) {
    const loaded = await loadModel(model(version, calls as never, output as never));
    sameTensor(await loaded.predict(given), expected, `${version} ${calls} ${output}`);
  }
});

test("slices of sequences, as TensorFlow and Keras 3 write them", async () => {
  const slice = (start: number | null, stop: number | null, step: number | null = null) => ({ start, stop, step });
  const all = slice(null, null);
  const input = { class_name: "InputLayer", name: "x", config: { batch_input_shape: [null, 5, 3] }, inbound_nodes: [] };
  const file = (key: unknown[], version: string) => {
    const keras3 = key.map((part) => (typeof part === "number" ? part : { class_name: "__slice__", config: part }));
    const tensor = { class_name: "__keras_tensor__", config: { keras_history: ["x", 0, 0] } };
    const sliced = version.startsWith("3")
      ? {
          class_name: "GetItem",
          module: "keras.src.ops.numpy",
          inbound_nodes: [{ args: [tensor, keras3], kwargs: {} }],
        }
      : { class_name: "SlicingOpLambda", inbound_nodes: [["x", 0, 0, { slice_spec: key }]] };
    const layers = [input, { ...sliced, name: "part", config: { name: "part" } }];
    const ends = { input_layers: [["x", 0, 0]], output_layers: [["part", 0, 0]] };
    return h5([], {}, version, { name: "m", layers, ...ends }, "Functional");
  };
  const rows = (from: number, to: number) =>
    [0, 1].flatMap((b) => [...x.data.subarray((b * 5 + from) * 3, (b * 5 + to) * 3)]);
  for (const version of ["2.9.0", "3.4.0"]) {
    for (const [key, shape, expected] of [
      [[all, -1, all], [2, 3], rows(4, 5)],
      [[all, 0], [2, 3], rows(0, 1)],
      [[all, -2, all], [2, 3], rows(3, 4)],
      [[all, slice(1, -1)], [2, 3, 3], rows(1, 4)],
      [[all, slice(-2, null), all], [2, 2, 3], rows(3, 5)],
      [[all, slice(null, 2, 1), all], [2, 2, 3], rows(0, 2)],
    ] as const) {
      const y = await (await loadModel(file([...key], version))).predict(x);
      assert.equal(y.shape, [...shape]);
      assert.equal([...y.data], expected);
    }
    for (const key of [
      [all, all, 0],
      [0, all, all],
      [all, 7],
      [all, slice(0, 5, 2)],
      [all, slice(3, 3)],
      [all, -6],
      [all],
    ])
      await refuses(
        () => loadModel(file(key, version)),
        FormatError,
        /"part" .* x\[:, -1\] or x\[:, 2:5\]/,
        JSON.stringify(key),
      );
  }
});

test.run();
