import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel, fromPyTorch } from "../../../../host/formats/index.ts";
import { readSafetensors, writeSafetensors } from "../../../../host/formats/safetensors.ts";
import { toPyTorch } from "../../../../host/formats/torch/export.ts";
import {
  add,
  bidirectional,
  dense,
  dropout,
  embedding,
  FormatError,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  type Model,
  mgu,
  multiHeadAttention,
  OptionError,
  sequential,
  type Tensor,
  tensor,
} from "../../../../host/index.ts";
import { close } from "../../../kit/core.ts";
import { randomTensor, refuses, sameTensors } from "../../../kit/models.ts";
import { pickle, torchFile } from "../../../kit/torch-file.ts";

const folder = new URL("../../../fixtures/torch-files/", import.meta.url);
const bytes = (name: string) => new Uint8Array(readFileSync(new URL(name, folder)));
const fixture = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
const floats = ({ shape, data }: { shape: number[]; data: number[] }): Tensor => tensor(Float32Array.from(data), shape);

/** The network of generate_torch_files.py that its checkpoint and five other files hold. */
function classifier(): Promise<Model> {
  return sequential(
    [embedding(11, 6), gru(5, { returnSequences: true }), gru(5), layerNorm(), dense(3, { activation: "logSoftmax" })],
    {
      inputShape: [null],
    },
  );
}

for (const [file, tolerance] of [
  ["classifier.pt", 1e-5],
  ["classifier.safetensors", 1e-5],
  ["classifier.f16.safetensors", 1e-3],
  ["classifier.bf16.safetensors", 1e-2],
] as const)
  test(`${file}: the classifier gives PyTorch's outputs`, async () => {
    const { inputs, outputs } = fixture("classifier");
    const model = await classifier();
    assert.is(await fromPyTorch(bytes(file), model), model);
    const x = tensor(Int32Array.from(inputs.ids.data), inputs.ids.shape);
    close((await model.predict(x)).data, outputs.logp.data, tolerance, file);
    model.dispose();
  });

test("a file of gruvy's own is refused as that", async () => {
  const model = await classifier();
  await refuses(
    () => fromPyTorch(model.toBytes(), model),
    FormatError,
    /a file of gruvy's own; loadModel\(\) reads it/,
  );
  model.dispose();
});

test("a checkpoint with an optimizer's state: the weights under its key", async () => {
  const model = await classifier();
  await fromPyTorch(bytes("classifier-checkpoint.pt"), model);
  const named = await classifier();
  await fromPyTorch(bytes("classifier-checkpoint.pt"), named, { key: "model" });
  sameTensors(model.weights(), named.weights(), "by key");
  await refuses(
    () => fromPyTorch(bytes("classifier-checkpoint.pt"), model, { key: "ema" }),
    FormatError,
    /no tensors under "ema"; the file has them under "model"/,
  );
  model.dispose();
  named.dispose();
});

for (const form of ["pt", "legacy.pt", "safetensors"])
  test(`gru-3-nobias.${form}: three levels of one nn.GRU without biases, then a Linear`, async () => {
    const { inputs, outputs } = fixture("gru-3-nobias");
    const x = floats(inputs.x);
    const H = inputs.h0.shape[2];
    const layers = Array.from({ length: 3 }, () => gru(H, { returnSequences: true, useBias: false }));
    const model = await sequential([...layers, dense(outputs.y.shape[2])], { inputShape: [null, x.shape[2]] });
    await fromPyTorch(bytes(`gru-3-nobias.${form}`), model);
    const h0 = floats(inputs.h0);
    const size = h0.data.length / 3;
    const initialState = [0, 1, 2].map((k) => tensor(h0.data.slice(k * size, (k + 1) * size), h0.shape.slice(1)));
    close((await model.predict(x, { initialState })).data, outputs.y.data, 1e-5, form);
    model.dispose();
  });

test("every form of a file holds the same numbers", async () => {
  const H = fixture("gru-1").inputs.h0.shape[2];
  const [, I] = fixture("gru-1").state_dict["gru.weight_ih_l0"].shape;
  const N = fixture("gru-1").outputs.y.shape[2];
  const models: Model[] = [];
  for (const form of readdirSync(folder).filter((name) => /^gru-1\.(.*pt|safetensors)$/.test(name))) {
    const model = await sequential([gru(H), dense(N)], { inputShape: [null, I] });
    models.push(await fromPyTorch(bytes(form), model));
  }
  assert.is(models.length, 3);
  for (const model of models) sameTensors(model.weights(), models[0].weights(), "weights");
  const stored = fixture("gru-1").state_dict["gru.weight_hh_l0"].data;
  const { data } = models[0].weights()["gru.recurrentKernel"];
  // Row 0 of r in PyTorch is column H of [z | r | n] in ours.
  for (let j = 0; j < H; j++) assert.is(data[j * 3 * H + H], Math.fround(stored[j]));
  for (const model of models) model.dispose();
});

/** Tensors of zeros by name and shape, as a safetensors file. */
function file(shapes: Record<string, number[]>): Uint8Array {
  const tensors = Object.entries(shapes).map(([name, shape], i): [string, Tensor] => [
    name,
    randomTensor(shape, i + 1),
  ]);
  return writeSafetensors(new Map(tensors));
}

const torchGru = (prefix: string, I: number, H: number, level = 0) => ({
  [`${prefix}weight_ih_l${level}`]: [3 * H, I],
  [`${prefix}weight_hh_l${level}`]: [3 * H, H],
  [`${prefix}bias_ih_l${level}`]: [3 * H],
  [`${prefix}bias_hh_l${level}`]: [3 * H],
});

async function filled(
  layers: Layer[],
  shapes: Record<string, number[]>,
  options?: Parameters<typeof fromPyTorch>[2],
): Promise<Record<string, Tensor>> {
  const model = await sequential(layers, { inputShape: [null, 4] });
  try {
    return (await fromPyTorch(file(shapes), model, options)).weights();
  } finally {
    model.dispose();
  }
}

const sequences = { returnSequences: true };

test("a prefix chooses among the modules of a file, and a mapping too", async () => {
  const shapes = { ...torchGru("encoder.rnn.", 4, 5), ...torchGru("decoder.rnn.", 4, 5) };
  await refuses(
    () => filled([gru(5)], shapes),
    FormatError,
    /layer "gru": several modules fit: "decoder.rnn", "encoder.rnn"; choose with \{ mapping: \{ "decoder.rnn": "gru" \} \}/,
  );
  await refuses(
    () => filled([gru(5)], shapes, { mapping: { "encoder.rnn": "gru" } }),
    FormatError,
    /left over: "decoder.rnn.bias_hh_l0" \[15\].*\{ mapping: \{ "decoder.rnn": null \} \} ignores it/,
  );
  const byPrefix = await filled([gru(5)], shapes, { prefix: "encoder." });
  sameTensors(
    await filled([gru(5)], shapes, { mapping: { "encoder.rnn": "gru", decoder: null } }),
    byPrefix,
    "mapping",
  );
  sameTensors(
    await filled([gru(5, { name: "rnn" })], shapes, { prefix: "encoder." }),
    {
      "rnn.kernel": byPrefix["gru.kernel"],
      "rnn.recurrentKernel": byPrefix["gru.recurrentKernel"],
      "rnn.bias": byPrefix["gru.bias"],
    },
    "another name",
  );
});

test("where a name says otherwise than the order, the mapping decides; unless the file has all of them", async () => {
  const linear = (name: string, seed: number) => ({ [`${name}.weight`]: randomTensor([4, 4], seed) });
  const tensors = (first: string, second: string) => ({ ...linear(first, 1), ...linear(second, 2) });
  const pair = (first: string, second: string) => torchFile(tensors(first, second));
  const fill = async (source: Uint8Array, names: readonly (string | undefined)[]) => {
    const layers = names.map((name) => dense(4, { useBias: false, name }));
    const model = await sequential(layers, { inputShape: [4] });
    try {
      return Object.values((await fromPyTorch(source, model)).weights()).map(({ data }) => data[1]);
    } finally {
      model.dispose();
    }
  };
  const [one, two] = [1, 2].map((seed) => randomTensor([4, 4], seed).data[4]);
  assert.equal(await fill(pair("fc", "out"), [undefined, undefined]), [one, two]);
  assert.equal(await fill(pair("b", "a"), ["a", "b"]), [two, one]);
  assert.equal(await fill(pair("a", "x"), ["a", "y"]), [one, two]);
  // The layers are called "dense" and "dense_1" because nobody named them.
  const contested = /layer "dense": several modules fit: "fc", "dense"; choose with \{ mapping/;
  await refuses(() => fill(pair("fc", "dense"), [undefined, undefined]), FormatError, contested);
  const sorted = writeSafetensors(tensors("fc", "dense"));
  await refuses(() => fill(sorted, [undefined, undefined]), FormatError, /layer "dense": several modules fit/);
  assert.equal(await fill(writeSafetensors(tensors("b", "a")), ["a", "b"]), [two, one]);
  await refuses(() => fill(pair("a", "x"), ["y", "a"]), FormatError, /layer "y": several modules fit: "a", "x"/);
});

test("levels of an nn.GRU fill a stack, also by mapping; names that count are taken in order", async () => {
  const shapes = {
    ...torchGru("rnn.", 4, 4),
    ...torchGru("rnn.", 4, 4, 1),
    "fc.10.weight": [4, 4],
    "fc.9.weight": [4, 4],
  };
  const layers = [gru(4, sequences), dropout(0.1), gru(4), dense(4, { useBias: false }), dense(4, { useBias: false })];
  const weights = await filled(layers, shapes);
  const mapped = await filled(layers, shapes, {
    mapping: { rnn: ["gru", "gru_1"], "fc.9": "dense", "fc.10": "dense_1" },
  });
  sameTensors(weights, mapped, "mapping");
  const swapped = await filled(layers, shapes, { mapping: { rnn: ["gru_1", "gru"] } });
  sameTensors({ a: swapped["gru.kernel"] }, { a: weights["gru_1.kernel"] }, "swapped");
});

test("an nn.GRUCell fills a gru", async () => {
  const cell = { "cell.weight_ih": [15, 4], "cell.weight_hh": [15, 5], "cell.bias_ih": [15], "cell.bias_hh": [15] };
  assert.equal((await filled([gru(5)], cell))["gru.bias"].shape, [2, 15]);
});

test("what is missing, left over, or of another shape is named, and nothing changes", async () => {
  const linear = { "head.weight": [3, 5], "head.bias": [3] };
  const rnn = torchGru("rnn.", 4, 5);
  await refuses(
    () => filled([gru(5), dense(3)], rnn),
    FormatError,
    /layer "dense": missing: an nn.Linear of weight \[3, 5\], bias \[3\]/,
  );
  await refuses(
    () => filled([gru(5)], { ...rnn, ...linear }),
    FormatError,
    /left over: "head.bias" \[3\], "head.weight" \[3, 5\]/,
  );
  await refuses(
    () => filled([gru(5)], torchGru("rnn.", 3, 5)),
    FormatError,
    /layer "gru": "rnn.weight_ih_l0": expected \[15, 4\], got \[15, 3\]/,
  );
  await refuses(() => filled([gru(5, { useBias: false })], rnn), FormatError, /"rnn.bias_(ih|hh)_l0" is left over/);
  const { "rnn.bias_hh_l0": _, ...noBias } = rnn;
  await refuses(() => filled([gru(5)], noBias), FormatError, /"rnn.bias_hh_l0" \[15\] is missing/);
  await refuses(() => filled([gru(5, { resetAfter: false })], rnn), FormatError, /layer "gru": resetAfter is false/);
  await refuses(() => filled([gru(5, { activation: "relu" })], rnn), FormatError, /other than tanh and sigmoid/);
  await refuses(() => filled([gru(5)], rnn, { mapping: { rnn: "gur" } }), OptionError, /no layer "gur"/);
  await refuses(() => filled([gru(5)], rnn, { mapping: { nrr: "gru" } }), FormatError, /no module "nrr"; it has "rnn"/);
  const model = await sequential([gru(5), dense(3)], { inputShape: [null, 4] });
  const before = model.weights();
  const bad = writeSafetensors({
    ...Object.fromEntries(
      Object.entries({ ...rnn, ...linear }).map(([name, shape], i) => [name, randomTensor(shape, i)]),
    ),
    "head.bias": tensor([1, Number.NaN, 2]),
  });
  await refuses(() => fromPyTorch(bad, model), FormatError, /"dense.bias" has NaN at position 1/);
  sameTensors(model.weights(), before, "unchanged");
  model.dispose();
});

test("some layers are filled alone, and the others stay as they are", async () => {
  const model = await sequential([gru(5), dense(3)], { inputShape: [null, 4] });
  const before = model.weights();
  const rnn = torchGru("rnn.", 4, 5);
  await fromPyTorch(file(rnn), model, { layers: ["gru"] });
  const after = model.weights();
  sameTensors(
    { k: after["dense.kernel"], b: after["dense.bias"] },
    { k: before["dense.kernel"], b: before["dense.bias"] },
    "dense",
  );
  assert.not.equal(after["gru.kernel"].data, before["gru.kernel"].data);
  await refuses(
    () => fromPyTorch(file(rnn), model, { layers: ["gur"] }),
    OptionError,
    /no layer "gur"; did you mean "gru"\?/,
  );
  await refuses(
    () => fromPyTorch(file({ ...rnn, "fc.weight": [3, 5], "fc.bias": [3] }), model, { layers: ["gru"] }),
    FormatError,
    /left over: "fc.bias" \[3\], "fc.weight" \[3, 5\], an nn.Linear of 5 inputs and 3 units/,
  );
  model.dispose();
  const other = await sequential([gru(5, sequences), mgu(3)], { inputShape: [null, 4] });
  await refuses(() => fromPyTorch(file(rnn), other), FormatError, /layer "mgu": .*; fill others with \{ layers \}/);
  await fromPyTorch(file(rnn), other, { layers: ["gru"] });
  other.dispose();
});

test("tensors, modules and whole parts of a file are left out by their names", async () => {
  const shapes = {
    ...torchGru("net.rnn.", 4, 5),
    "net.rnn.h0": [5],
    "net.head.0.weight": [2, 2],
    "net.head.1.weight": [3, 3],
    bias: [7],
  };
  const mapping = { "net.rnn.h0": null, "net.head": null, bias: null };
  assert.equal(Object.keys(await filled([gru(5)], shapes, { mapping })), [
    "gru.kernel",
    "gru.recurrentKernel",
    "gru.bias",
  ]);
  await refuses(
    () => filled([gru(5)], shapes, { mapping: { ...mapping, "net.hed": null } }),
    FormatError,
    /no module "net.hed"; did you mean/,
  );
  await refuses(
    () => filled([gru(5)], shapes, { prefix: "net.rm" }),
    FormatError,
    /"prefix": no tensor's name begins with "net.rm"/,
  );
  await refuses(
    () => filled([gru(5)], { ...torchGru("rnn.", 4, 5), ...torchGru("rnn.", 5, 5, 1) }),
    FormatError,
    /left over: "rnn.bias_hh_l1" .*level 1 of "rnn"; it fills one more layer/,
  );
});

test("what stands in place of weights is named", async () => {
  const text = (said: string) => new TextEncoder().encode(said);
  for (const [bytes, message] of [
    [text('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}'), /got the index of a model in several files/],
    [text("version https://git-lfs.github.com/spec/v1\noid sha256:00"), /got a pointer of Git LFS/],
    [pickle("\x80\x04}."), /got a Python pickle that torch.save did not write/],
    [text("hello"), /got 5 bytes of neither/],
  ] as const) {
    const model = await sequential([gru(2)], { inputShape: [null, 1] });
    await refuses(() => fromPyTorch(bytes, model), FormatError, message);
    model.dispose();
  }
});

test("multi-head attention: what nn.MultiheadAttention cannot hold is refused", async () => {
  for (const [layer, message] of [
    [
      multiHeadAttention(2, { keyUnits: 3 }),
      /heads · keyUnits is 6, which nn.MultiheadAttention cannot hold: it has 4/,
    ],
    [multiHeadAttention(2, { valueUnits: 1 }), /heads · valueUnits is 2/],
    [multiHeadAttention(2, { units: 3 }), /units is 3/],
  ] as const) {
    const model = await sequential([layer], { inputShape: [null, 4] });
    await refuses(() => toPyTorch(model), FormatError, message);
    model.dispose();
  }
  const E = 4;
  const whole = {
    "a.in_proj_weight": [12, E],
    "a.in_proj_bias": [12],
    "a.out_proj.weight": [E, E],
    "a.out_proj.bias": [E],
  };
  const weights = await filled([multiHeadAttention(2)], whole);
  assert.equal(weights["multi_head_attention.keyKernel"].shape, [E, E]);
  await refuses(
    () => filled([multiHeadAttention(2)], { ...whole, "a.bias_k": [1, 1, E] }),
    FormatError,
    /"a.bias_k" is left over/,
  );
  // A module of one's own with an out_proj is none.
  await refuses(
    () => filled([multiHeadAttention(2)], { "a.out_proj.weight": [E, E], "a.q.weight": [E, E] }),
    FormatError,
    /left over: "a.out_proj.weight" \[4, 4\]/,
  );
});

test("gruvy to PyTorch and back is exact, and one nn.GRU has its own names", async () => {
  const make = (seed: number) =>
    sequential(
      [
        gru(5, { ...sequences, biasInitializer: "randomNormal" }),
        dropout(0.1),
        gru(5, { ...sequences, biasInitializer: "randomNormal" }),
        layerNorm(),
        bidirectional(gru(5, { ...sequences, biasInitializer: "randomNormal" })),
        bidirectional(gru(5, sequences)),
        gru(5, { useBias: false }),
        dense(4),
        dense(4, { useBias: false }),
      ],
      { inputShape: [null, 5], seed },
    );
  const [model, other] = [await make(1), await make(2)];
  await fromPyTorch(toPyTorch(model), other);
  sameTensors(other.weights(), model.weights(), "there and back");
  model.dispose();
  other.dispose();
  const stack = await sequential([gru(5, sequences), gru(5)], { inputShape: [null, 3] });
  const again = await sequential([gru(5, sequences), gru(5)], { inputShape: [null, 3], seed: 9 });
  const exported = toPyTorch(stack);
  assert.match(new TextDecoder().decode(exported), /"weight_ih_l0".*"weight_ih_l1"/);
  sameTensors((await fromPyTorch(exported, again)).weights(), stack.weights(), "one nn.GRU");
  stack.dispose();
  again.dispose();
});

test("layers used again have their tensors once; grus that others read too are modules of their own", async () => {
  const [a, b] = [input([6, 3]), input([6, 3])];
  const shared = gru(4, { ...sequences, name: "shared" });
  const make = (seed: number) =>
    graph({ inputs: [a, b], outputs: add()([shared(a), gru(4, sequences)(shared(b))]), seed });
  const model = await make(1);
  const names = [...readSafetensors(toPyTorch(model)).tensors.keys()];
  const bias = (name: string) => names.filter((full) => full.startsWith(`${name}.bias_ih`));
  assert.equal([bias("shared"), bias("gru")], [["shared.bias_ih_l0"], ["gru.bias_ih_l0"]]);
  const other = await make(2);
  await fromPyTorch(toPyTorch(model), other);
  sameTensors(other.weights(), model.weights(), "shared");
  model.dispose();
  other.dispose();
  // The output of the first is read by the sum as well.
  const first = gru(3, { ...sequences, name: "first" })(a);
  const second = gru(3, { ...sequences, name: "second" })(first);
  const residual = await graph({ inputs: a, outputs: [add()([first, second]), second] });
  const exported = [...readSafetensors(await exportModel(residual, "pytorch")).tensors.keys()];
  assert.ok(exported.includes("first.weight_ih_l0") && exported.includes("second.weight_ih_l0"));
  residual.dispose();
});

test("what PyTorch cannot hold is refused by the layer's name", async () => {
  for (const [layer, message] of [
    [gru(3, { resetAfter: false }), /layer "gru": resetAfter is false.*gru\(\{ resetAfter: true \}\)/],
    [gru(3, { recurrentActivation: "hardSigmoid" }), /layer "gru": activations other than tanh and sigmoid/],
    [gru(3, { goBackwards: true }), /layer "gru": goBackwards/],
    [bidirectional(gru(3), { merge: "sum" }), /layer "bidirectional": merge "sum"/],
    [gru(3, { layerNorm: true }), /layer "gru": layerNorm.*train it without/],
    [bidirectional(gru(3, { zoneout: 0.1 })), /layer "bidirectional": zoneout/],
    [bidirectional(mgu(3)), /layer "bidirectional": a bidirectional mgu/],
    [bidirectional(gru(3, { resetAfter: false })), /layer "bidirectional": resetAfter is false/],
  ] as const) {
    const model = await sequential([layer], { inputShape: [null, 2] });
    await refuses(() => toPyTorch(model), FormatError, message);
    model.dispose();
  }
});

test.run();
