import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors, writeSafetensors } from "../../../host/formats/safetensors.ts";
import {
  activation,
  adagrad,
  adam,
  adamW,
  binaryCrossentropy,
  checkpoint,
  constant,
  cosineDecay,
  dense,
  dropout,
  earlyStopping,
  embedding,
  exponentialDecay,
  FormatError,
  gru,
  huber,
  type Layer,
  type Loss,
  layerNorm,
  lightGru,
  loadModel,
  type Model,
  masking,
  mgu,
  minGru,
  OptionError,
  oneCycle,
  oneHot,
  reduceOnPlateau,
  reverse,
  rmsprop,
  type SequentialOptions,
  sequential,
  sgd,
  smoothL1,
  sparseCategoricalCrossentropy,
  stepDecay,
  topKAccuracy,
  warmUp,
} from "../../../host/index.ts";
import { random } from "../../kit/core.ts";
import { arena, randomLabels, randomTensor, refuses, sameTensor } from "../../kit/models.ts";

// biome-ignore lint/suspicious/noExplicitAny: JSON of a file, to be damaged
type Any = any;

const x = randomTensor([4, 3, 2], 1);
const y = oneHot([0, 1, 2, 1], 3);
const folder = mkdtempSync(join(tmpdir(), "gruvy-"));
test.after(() => rmSync(folder, { recursive: true }));

/** Bytes after loading and saving again. */
async function again(bytes: Uint8Array<ArrayBuffer>, training = false): Promise<Uint8Array> {
  const model = await loadModel(bytes);
  const out = model.toBytes({ training });
  model.dispose();
  return out;
}

function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.ok(Buffer.compare(actual, expected) === 0, `${what}: not the same bytes`);
}

/** A compiled, trained classifier with moments, metrics and a callback's state. */
async function trained(): Promise<Model> {
  const model = await sequential([gru(3, { returnSequences: true }), gru(2), dense(3, { activation: "softmax" })], {
    inputShape: [null, 2],
    seed: 1,
  });
  model.compile({
    loss: "categoricalCrossentropy",
    optimizer: adam({ learningRate: warmUp({ steps: 2, after: reduceOnPlateau({ patience: 0 }) }), globalClipNorm: 1 }),
    metrics: ["accuracy", topKAccuracy({ k: 2 })],
  });
  await model.fit(x, y, { epochs: 2, validationData: [x, y], callbacks: [earlyStopping({ patience: 9 })] });
  return model;
}

const gates = ["sigmoid", "hardSigmoid", "hardSigmoid02"] as const;
const activations = [
  "linear",
  "tanh",
  "sigmoid",
  "relu",
  "leakyRelu",
  "elu",
  "selu",
  "gelu",
  "silu",
  "softplus",
  "softsign",
  "hardtanh",
  "logSigmoid",
  "linearSigmoid",
  "affine",
  "scaledTanh",
  "thresholdedRelu",
  "clippedSigmoid",
  "clippedTanh",
  "hardSigmoid",
  "softmax",
  "logSoftmax",
] as const;
const initializers = [
  "glorotUniform",
  "glorotNormal",
  "heUniform",
  "heNormal",
  "lecunUniform",
  "lecunNormal",
  "orthogonal",
  "zeros",
  "ones",
  "randomUniform",
  "randomNormal",
  "truncatedNormal",
];

const values = { inputShape: [null, 2], seed: 2 ** 53 - 1 };
const stacks: [string, Layer[], SequentialOptions][] = [
  ...[true, false].flatMap((on): [string, Layer[], SequentialOptions][] =>
    (["returnSequences", "resetAfter", "useBias", "goBackwards", "stateful", "zeroOutputForMask"] as const).map(
      (option) => [`gru ${option} ${on}`, [gru(3, { [option]: on, name: "käse" })], values],
    ),
  ),
  ...gates.map((gate): [string, Layer[], SequentialOptions] => [
    `gru ${gate}`,
    [gru(3, { recurrentActivation: gate, activation: { name: "leakyRelu", alpha: 0.3 } })],
    values,
  ]),
  ...activations.map((of): [string, Layer[], SequentialOptions] => [
    of,
    [activation(of), dense(2, { activation: of })],
    values,
  ]),
  ...initializers.map((name): [string, Layer[], SequentialOptions] => [
    name,
    [gru(3, { kernelInitializer: name, recurrentInitializer: name, biasInitializer: constant(0.1) })],
    values,
  ]),
  [
    "dense without bias",
    [dense(3, { useBias: false, kernelInitializer: "heNormal", name: "constructor" })],
    { inputShape: [2] },
  ],
  [
    "embedding",
    [embedding(5, 3, { maskZero: true, paddingIndex: 0, embeddingsInitializer: "zeros" }), gru(2)],
    { inputShape: [null] },
  ],
  ["embedding of one token", [embedding(5, 3), dense(2)], { inputShape: [] }],
  ["embedding, paddingIndex 4, fixed time", [embedding(5, 3, { paddingIndex: 4 })], { inputShape: [7] }],
  ["reverse", [gru(3, { goBackwards: true, returnSequences: true }), reverse()], values],
  ["masking, dropout", [masking({ maskValue: -1.5 }), dropout(0.25), gru(2), dropout(0)], values],
  [
    "gru, normalised",
    [gru(3, { layerNorm: true, returnSequences: true }), gru(2, { layerNorm: true, useBias: false })],
    values,
  ],
  ["gru that drops", [gru(3, { dropout: 0.1, recurrentDropout: 0.2, zoneout: 0.3 })], values],
  ...Object.entries({ minGru, lightGru, mgu }).map(([name, make]): [string, Layer[], SequentialOptions] => [
    name,
    [
      make(3, { returnSequences: true, activation: { name: "leakyRelu", alpha: 0.3 }, useBias: false }),
      make(2, { goBackwards: true, stateful: true, kernelInitializer: "heNormal" }),
    ],
    values,
  ]),
  ["layerNorm", [layerNorm({ epsilon: 1e-3, gammaInitializer: "zeros", betaInitializer: "ones" })], values],
  [
    "layerNorm without scale",
    [layerNorm({ scale: false }), layerNorm({ center: false }), layerNorm({ scale: false, center: false })],
    { inputShape: [9, 2] },
  ],
  [
    "activations with options",
    [activation({ name: "leakyRelu", alpha: 0.2 }), activation({ name: "hardtanh", alpha: -2, beta: 2 })],
    values,
  ],
];

for (const [what, layers, options] of stacks)
  test(`${what}: the same after save and load, to the bit`, async () => {
    const taken = arena.taken;
    const model = await sequential(layers, options);
    const bytes = model.toBytes();
    same(await again(bytes), bytes, what);
    const loaded = await loadModel(bytes);
    assert.equal(loaded.inputShape, model.inputShape);
    assert.equal(loaded.outputShape, model.outputShape);
    assert.is(loaded.summary(), model.summary());
    const reads = layers[0].readsTokens;
    const T = options.inputShape.length === (reads ? 1 : 2) ? [(options.inputShape[0] as number | null) ?? 4] : [];
    const input: Any = reads ? randomLabels([3, ...T], 5, 1) : randomTensor([3, ...T, 2], 1);
    sameTensor(await loaded.predict(input), await model.predict(input), what);
    model.dispose();
    loaded.dispose();
    assert.is(arena.taken, taken);
  });

const losses: [string, string | Loss][] = [
  ["by name", "categoricalCrossentropy"],
  [
    "sparse",
    sparseCategoricalCrossentropy({ ignoreIndex: -100, labelSmoothing: 0.1, classWeight: [1, 2, 3], reduction: "sum" }),
  ],
  ["binary", binaryCrossentropy({ posWeight: [1, 2, 3], labelSmoothing: 0.2, fromLogits: true })],
  ["huber", huber({ delta: 0.3, reduction: "none" })],
  ["smoothL1", smoothL1({ beta: 0.7 })],
];
const optimizers = [
  adam({ amsgrad: true, beta1: 0.8, clipNorm: 2 }),
  adamW({ weightDecay: 0.1, globalClipNorm: 3, clipNormType: Infinity }),
  sgd({ momentum: 0.9, nesterov: true, clipValue: 0.5 }),
  sgd({ learningRate: stepDecay({ stepSize: 2 }) }),
  rmsprop({ learningRate: oneCycle({ maxLearningRate: 0.1, totalSteps: 10 }) }),
  adagrad({ learningRate: exponentialDecay({ gamma: 0.9, unit: "step" }), globalClipNorm: 3, clipNormType: 1 }),
  adam({ learningRate: warmUp({ steps: 3, after: cosineDecay({ total: 9, learningRate: 0.01 }) }) }),
  adam({ learningRate: reduceOnPlateau({ patience: 0, cooldown: 1, mode: "min" }) }),
];

test("compile options, metrics, moments and progress come back, and training goes on to the bit", async () => {
  const taken = arena.taken;
  for (const [i, optimizer] of optimizers.entries())
    for (const [what, loss] of i < losses.length ? [losses[i]] : losses.slice(0, 1)) {
      const model = await sequential(
        [dropout(0.2), gru(3), dense(3, { activation: what === "binary" ? "linear" : "softmax" })],
        { inputShape: [null, 2], seed: 5 },
      );
      model.compile({
        loss,
        optimizer,
        metrics: what === "sparse" || what === "by name" ? ["accuracy", topKAccuracy({ k: 2 })] : [],
      });
      const target = what === "sparse" ? [0, -100, 2, 1] : y;
      const fit = (m: Model, from: number, to: number) =>
        m.fit(x, target, { epochs: to, initialEpoch: from, batchSize: 2, validationSplit: 0.25 });
      await fit(model, 0, 3);
      const bytes = model.toBytes({ training: true });
      same(await again(bytes, true), bytes, `${what}, ${optimizer.name}`);
      const resumed = await loadModel(bytes);
      assert.is(resumed.epoch, 3);
      const [a, b] = [await fit(model, 3, 5), await fit(resumed, 3, 5)];
      assert.equal(b, a);
      same(
        resumed.toBytes({ training: true }),
        model.toBytes({ training: true }),
        `${what}, ${optimizer.name}: two epochs later`,
      );
      model.dispose();
      resumed.dispose();
    }
  assert.is(arena.taken, taken);
});

test("states of callbacks come back", async () => {
  const model = await trained();
  const bytes = model.toBytes({ training: true });
  const names = [...readSafetensors(bytes).tensors.keys()].filter((name) => name.startsWith("callback."));
  assert.is(names.length, Object.keys(model.weights()).length);
  const resumed = await loadModel(bytes);
  const fit = (m: Model, callbacks: Any[]) =>
    m.fit(x, y, { epochs: 4, initialEpoch: 2, validationData: [x, y], callbacks });
  await fit(resumed, [earlyStopping({ patience: 9 })]);
  assert.ok(resumed.toBytes({ training: true }).length > 0);
  model.dispose();
  resumed.dispose();
});

test("a callback's damaged state is refused when training goes on", async () => {
  for (const state of [null, 5, "x", {}, { best: "a", bestEpoch: 1, wait: 0 }, { best: 1, bestEpoch: {}, wait: 0 }]) {
    const model = await loadModel(await edited((header) => (header.training.callbacks.earlyStopping = state)));
    const fit = () =>
      model.fit(x, y, { epochs: 4, initialEpoch: 2, validationData: [x, y], callbacks: [earlyStopping()] });
    await refuses(fit, FormatError, /earlyStopping\(\): the state in the checkpoint is damaged/);
    model.dispose();
  }
});

test("the file is a safetensors file, and its tensors have the shapes of Keras", async () => {
  const model = await trained();
  const { tensors, metadata } = readSafetensors(model.toBytes());
  assert.equal(Object.fromEntries([...tensors].map(([name, { shape, dtype }]) => [name, `${dtype} ${shape}`]).sort()), {
    "dense.bias": "F32 3",
    "dense.kernel": "F32 2,3",
    "gru.bias": "F32 2,9",
    "gru.kernel": "F32 2,9",
    "gru.recurrentKernel": "F32 3,9",
    "gru_1.bias": "F32 2,6",
    "gru_1.kernel": "F32 3,6",
    "gru_1.recurrentKernel": "F32 2,6",
  });
  assert.is(metadata.get("format"), "gruvy");
  assert.is(JSON.parse(metadata.get("gruvy")!).format, 1);
  const training = readSafetensors(model.toBytes({ training: true })).tensors;
  assert.equal(training.get("optimizer.v.gru_1.kernel")?.shape, [3, 6]);
  model.dispose();
});

test("float16 halves the weights, rounds them once, and refuses what it has no room for", async () => {
  const model = await sequential([gru(16), dense(3)], { inputShape: [null, 2], seed: 1 });
  const small = model.toBytes({ precision: "float16" });
  const stored = readSafetensors(small).tensors;
  assert.ok([...stored.values()].every(({ dtype }) => dtype === "F16"));
  const back = await loadModel(small);
  for (const [name, { data }] of Object.entries(model.weights()))
    back.weights()[name].data.forEach((v, i) => {
      assert.ok(Math.abs(v - data[i]) <= Math.max(2 ** -25, Math.abs(data[i]) * 2 ** -11), `${name}: ${v}, ${data[i]}`);
    });
  same(back.toBytes({ precision: "float16" }), small, "saved again");
  model.setWeights({ ...model.weights(), "dense.bias": [1, 1e5, 0] });
  await refuses(() => model.toBytes({ precision: "float16" }), OptionError, /"dense.bias" has 100000/);
  await refuses(() => model.toBytes({ precision: "float8" as never }), OptionError, /"precision" must be one of/);
  model.compile({ loss: "meanSquaredError" });
  await refuses(() => model.toBytes({ precision: "float16", training: true }), OptionError, /exact weights/);
  model.dispose();
  back.dispose();
});

test("a model loads from bytes, buffers, Blob, Response, path, file: and data: URLs", async () => {
  const model = await trained();
  const path = join(folder, "ünd ein # name %20.safetensors");
  await model.save(path);
  const bytes = model.toBytes();
  same(readFileSync(path), bytes, "the file");
  const odd = new Uint8Array(bytes.length + 3);
  odd.set(bytes, 3);
  const url = `data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`;
  for (const [what, source] of [
    ["bytes", bytes],
    ["bytes at an odd offset", odd.subarray(3)],
    ["a Buffer", Buffer.from(bytes)],
    ["an ArrayBuffer", bytes.buffer],
    ["a Blob", new Blob([bytes])],
    ["a File", new File([bytes], "m")],
    ["a Response", new Response(bytes)],
    ["a path", path],
    ["a file: URL", pathToFileURL(path)],
    ["a file: URL as text", String(pathToFileURL(path))],
    ["a data: URL", new URL(url)],
    ["a data: URL as text", url],
  ] as [string, Any][]) {
    const loaded = await loadModel(source);
    same(loaded.toBytes(), bytes, what);
    loaded.dispose();
  }
  await refuses(
    () => loadModel(new Response("no", { status: 404, statusText: "Not Found" })),
    FormatError,
    /answered 404 Not Found/,
  );
  for (const bad of [
    null,
    undefined,
    5,
    {},
    [],
    new Float32Array(4),
    new DataView(new ArrayBuffer(8)),
    Symbol("s"),
    { arrayBuffer: 5 },
  ])
    await refuses(
      () => loadModel(bad as Any),
      OptionError,
      /expected a path, URL, bytes, Response or File/,
      typeof bad,
    );
  model.dispose();
});

test("a file is written whole or not at all", async () => {
  const model = await trained();
  const own = mkdtempSync(join(folder, "atomic-"));
  const path = join(own, "model");
  await model.save(path);
  const before = readFileSync(path);
  await Promise.all(Array.from({ length: 8 }, () => model.save(path, { training: true })));
  assert.equal(readdirSync(own), ["model"], "no temporary file stays");
  assert.ok(readFileSync(path).length > before.length);
  await model.save(path);

  const code = async (run: () => Promise<unknown>) =>
    run().then(
      () => "none",
      (error) => error.code,
    );
  assert.is(await code(() => model.save(join(own, "missing", "model"))), "ENOENT");
  mkdirSync(join(own, "folder"));
  writeFileSync(join(own, "folder", "x"), "x");
  assert.match(await code(() => model.save(join(own, "folder"))), /EISDIR|ENOTEMPTY|EEXIST|EPERM/);
  await refuses(() => model.save(path, { training: "yes" } as Any), OptionError, /"training" must be true or false/);
  assert.equal(readdirSync(own), ["folder", "model"]);
  assert.equal(readFileSync(path), before, "the old file stays");
  assert.is(await code(() => loadModel(join(own, "none"))), "ENOENT");
  model.dispose();
});

// Hostile files

const teacher = await trained();
const original = teacher.toBytes({ training: true });
teacher.dispose();

/** The file with its "gruvy" metadata edited, as an object or as text. */
async function edited(
  edit: (header: Any) => unknown,
  text: (json: string) => string = (json) => json,
): Promise<Uint8Array<ArrayBuffer>> {
  const { tensors, metadata } = readSafetensors(original);
  const header = JSON.parse(metadata.get("gruvy")!);
  edit(header);
  metadata.set("gruvy", text(JSON.stringify(header)));
  return writeSafetensors(tensors as Any, metadata) as Uint8Array<ArrayBuffer>;
}

/** A FormatError or a model that works; nothing else, no lost memory, and within a second. */
async function survives(bytes: Uint8Array<ArrayBuffer>, what: string, limit = 1000): Promise<"refused" | "loaded"> {
  const taken = arena.taken;
  const started = process.cpuUsage(); // not the clock, which other processes move
  let outcome: "refused" | "loaded" = "loaded";
  try {
    const model = await loadModel(bytes);
    assert.ok(
      Object.values(model.weights()).every(({ data }) => data.every(Number.isFinite)),
      `${what}: weights`,
    );
    model.toBytes({ training: model.training !== undefined });
    model.dispose();
  } catch (error) {
    assert.ok(error instanceof FormatError, `${what}: ${error instanceof Error ? error.stack : error}`);
    assert.ok(error.message.length < 2000, `${what}: a message of ${error.message.length}`);
    outcome = "refused";
  }
  assert.is(arena.taken, taken, `${what}: lost memory`);
  const { user, system } = process.cpuUsage(started);
  const ms = (user + system) / 1000;
  assert.ok(ms < limit, `${what}: took ${ms} ms`);
  return outcome;
}

async function refused(bytes: Uint8Array<ArrayBuffer>, what: string, limit?: number): Promise<void> {
  assert.is(await survives(bytes, what, limit), "refused", what);
}

test("bits flipped anywhere: refused, or a model", async () => {
  const bytes = original;
  const next = random(1);
  const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  for (let i = 0; i < 6000; i++) {
    const hurt = bytes.slice();
    const flips = 1 + Math.floor(next() * 3);
    for (let f = 0; f < flips; f++)
      hurt[Math.floor(next() * (i % 4 ? end : hurt.length))] ^= 1 << Math.floor(next() * 8);
    await survives(hurt, `flip ${i}`);
  }
});

test("bytes of the header replaced by others that JSON likes: refused, or a model", async () => {
  const bytes = original;
  const next = random(2);
  const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const likes = '0123456789-+.eE{}[]",:\\ntrufalse_';
  for (let i = 0; i < 6000; i++) {
    const hurt = bytes.slice();
    const at = 8 + Math.floor(next() * (end - 8));
    const run = 1 + Math.floor(next() * 4);
    for (let j = at; j < Math.min(end, at + run); j++) hurt[j] = likes.charCodeAt(Math.floor(next() * likes.length));
    await survives(hurt, `byte ${at}, ${i}`);
  }
});

test("truncated at every length, or with more at the end: refused", async () => {
  const bytes = original;
  for (let length = 0; length < bytes.length; length += 3) await refused(bytes.slice(0, length), `${length} bytes`);
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  await refused(longer, "a byte more");
  for (const length of [0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    const hurt = bytes.slice();
    new DataView(hurt.buffer).setBigUint64(0, length, true);
    await refused(hurt, `a header of ${length} bytes`);
  }
});

/** Every place in a JSON value, as the object and the key. */
function places(value: Any, out: [Any, string][] = []): [Any, string][] {
  if (typeof value === "object" && value !== null)
    for (const key of Object.keys(value)) {
      out.push([value, key]);
      places(value[key], out);
    }
  return out;
}

const nonsense = [
  null,
  true,
  false,
  0,
  -1,
  1,
  1.5,
  65536,
  2 ** 31,
  2 ** 53,
  1e308,
  "",
  "x",
  "constructor",
  "__proto__",
  [],
  {},
  [null],
  [1e9],
  { name: "x" },
  { name: "toString" },
  "x".repeat(100_000),
  Array(1000).fill(0),
];

test("any value of the header replaced by nonsense: refused, or a model", async () => {
  const { metadata } = readSafetensors(original);
  const count = places(JSON.parse(metadata.get("gruvy")!)).length;
  for (let i = 0; i < count; i++)
    for (const value of nonsense)
      await survives(
        await edited((header) => {
          const [object, key] = places(header)[i];
          object[key] = value;
        }),
        `place ${i}: ${JSON.stringify(value).slice(0, 40)}`,
      );
  for (let i = 0; i < count; i++)
    for (const key of ["__proto__", "constructor", "toString", "x"]) {
      const bytes = await edited(
        (header) => {
          const [object, name] = places(header)[i];
          object["@@@"] = 1;
          void name;
        },
        (json) => json.replace('"@@@"', JSON.stringify(key)),
      );
      await survives(bytes, `place ${i}: an option "${key}"`);
    }
});

test("a header that promises more weights than the file has is refused before memory is taken", async () => {
  const pages = arena.memory.buffer.byteLength;
  const layer = (units: number, name: string) => ({ type: "gru", name, config: { units, returnSequences: true } });
  for (const units of [65536, 4096])
    for (const many of [1, 1000, 10_000])
      await refused(
        await edited((header) => {
          header.architecture.config.layers = Array.from({ length: many }, (_, i) => layer(units, `g${i}`));
        }),
        `${many} layers of ${units}`,
        many > 1000 ? 3000 : 1000, // checking the options of 10,000 layers takes its time
      );
  for (const config of [
    { tokens: 2 ** 28, units: 65536 },
    { tokens: 2 ** 14, units: 65536 },
  ])
    await refused(
      await edited((header) => {
        header.architecture.config.inputShape = [null];
        header.architecture.config.layers = [{ type: "embedding", name: "e", config }];
      }),
      "a large table",
    );
  await refused(
    await edited((header) => void (header.architecture.config.layers = Array(20_000).fill(layer(1, "g")))),
    "20000 layers",
  );
  assert.is(arena.memory.buffer.byteLength, pages, "the memory has not grown");
});

test("numbers, names and shapes that make no sense are refused", async () => {
  const config = (edit: (config: Any) => void) => edited((header) => edit(header.architecture.config));
  const layer = (edit: (layer: Any) => void) => config(({ layers }) => edit(layers[0]));
  for (const shape of [
    null,
    5,
    "ab",
    {},
    [],
    [null],
    [null, null],
    [0, 2],
    [-1, 2],
    [null, 2.5],
    [null, "2"],
    [1, 2, 3],
    [[2], 2],
    { length: 2 },
    [null, 2 ** 40],
    Array(1e5).fill(1),
  ])
    await refused(await config((c) => (c.inputShape = shape)), `inputShape ${JSON.stringify(shape)?.slice(0, 30)}`);
  for (const seed of [-1, 1.5, "1", {}, 2 ** 53]) await refused(await config((c) => (c.seed = seed)), `seed ${seed}`);
  for (const type of ["lstm", "", "__proto__", "constructor", "toString", "x".repeat(1e6), 5, null])
    await refused(await layer((l) => (l.type = type)), `type ${String(type).slice(0, 20)}`);
  for (const name of ["", "a.b", "a b", "__proto__", "__x", "gru_1", 5, null])
    await refused(await layer((l) => (l.name = name)), `name ${name}`);
  for (const [option, value] of [
    ["units", 0],
    ["units", "3"],
    ["units", 4],
    ["activation", "constructor"],
    ["activation", { name: "tanh", gamma: 1 }],
    ["kernelInitializer", "hasOwnProperty"],
    ["kernelInitializer", []],
    ["useBias", 1],
    ["more", 1],
  ] as [string, Any][])
    await refused(await layer((l) => (l.config[option] = value)), `${option} ${JSON.stringify(value)}`);
  for (const place of ["step", "epoch"])
    for (const value of [-1, 1.5, "1", null, 2 ** 53, {}])
      await refused(await edited((h) => (h.training.progress[place] = value)), `${place} ${value}`);
  for (const plateau of [
    5,
    {},
    { best: "x", badEpochs: 0, cooldown: 0, reductions: 0 },
    { best: 1, badEpochs: -1, cooldown: 0, reductions: 0 },
  ])
    await refused(await edited((h) => (h.training.progress.plateau = plateau)), `plateau ${JSON.stringify(plateau)}`);
  for (const value of [
    5,
    null,
    "adam",
    [],
    { name: "adam", config: 5 },
    { name: "adam", config: null },
    { name: "constructor", config: {} },
    { name: "adam", config: { learningRate: { name: "warmUp" } } },
    { name: "adam", config: { learningRate: { name: "valueOf" } } },
    { name: "adam", config: { clipNormType: "2" } },
  ])
    await refused(await edited((h) => (h.compile.optimizer = value)), `optimizer ${JSON.stringify(value)}`);
  for (const value of [
    5,
    null,
    "huber",
    { name: "huber", config: 5 },
    { name: "toString", config: {} },
    { name: "huber", config: { delta: -1 } },
  ])
    await refused(await edited((h) => (h.compile.loss = value)), `loss ${JSON.stringify(value)}`);
  for (const value of [
    5,
    null,
    {},
    [5],
    [null],
    ["x"],
    [{ name: "constructor" }],
    [{ name: "accuracy", options: 5 }],
    [{ name: "topKAccuracy", options: { k: 0 } }],
    [{ name: "confusionMatrix", options: {} }],
  ])
    await refused(await edited((h) => (h.compile.metrics = value)), `metrics ${JSON.stringify(value)}`);
  for (const value of [0, 2, "1", null, [1]]) await refused(await edited((h) => (h.format = value)), `format ${value}`);
  for (const [from, to] of [
    ['"units":3', '"units":1e400'],
    ['"step":2', '"step":1e400'],
    ['"seed":1', '"seed":-1e400'],
    ['"units":3', '"units":3e0,"units":4'],
  ])
    await refused(
      await edited(
        () => {},
        (json) => json.replace(from, to),
      ),
      to,
    );
  await refused(
    await edited(
      () => {},
      () => "not JSON",
    ),
    "not JSON",
  );
  await refused(
    await edited(
      () => {},
      () => "[]",
    ),
    "an array",
  );
});

test("JSON that nests without end is refused", async () => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"after":', "}"],
    ['{"name":"warmUp","steps":1,"after":', "}"],
  ]) {
    const deep = `${open.repeat(50_000)}1${close.repeat(50_000)}`;
    for (const at of ['"seed":1', '"learningRate":', '"callbacks":', '"metrics":'])
      await refused(
        await edited(
          () => {},
          (json) => json.replace(at, `"deep":${deep},${at}`),
        ),
        `${open} at ${at}`,
      );
    await refused(
      await edited(
        (h) => (h.compile.optimizer.config.learningRate = "@"),
        (json) => json.replace('"@"', deep),
      ),
      `${open} as a schedule`,
    );
    const text = `{"__metadata__":{"gruvy":"x"},"a":${deep}}`;
    const file = new Uint8Array(8 + text.length);
    new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
    file.set(new TextEncoder().encode(text), 8);
    await refused(file, `${open} as a tensor`);
  }
});

test("tensors that are missing, of another type or shape, or not finite are refused", async () => {
  const { tensors, metadata } = readSafetensors(original);
  for (const [name, { shape, data }] of tensors) {
    if (name.startsWith("callback.")) continue;
    const change = (tensor?: Any, more: Any[] = []) => {
      const all = new Map<string, Any>([...tensors, ...more]);
      if (tensor) all.set(name, tensor);
      else all.delete(name);
      return writeSafetensors(all, metadata) as Uint8Array<ArrayBuffer>;
    };
    await refused(change(), `without ${name}`);
    await refused(change({ shape: [...shape, 1], data }), `${name} with an axis more`);
    await refused(change({ shape: [data.length], data: data }).slice(), `${name} flat`).catch((error) => {
      if (shape.length > 1) throw error;
    });
    await refused(change({ shape, data: Float64Array.from(data as Float32Array) }), `${name} in double`);
    await refused(change({ shape, data: new Int32Array(data.length) }), `${name} in whole numbers`);
    await refused(change({ shape: [0], data: new Float32Array(0) }), `${name} empty`);
    for (const bad of [NaN, Infinity, -Infinity])
      await refused(
        change({ shape, data: (data as Float32Array).map((v, i) => (i === 1 % data.length ? bad : v)) }),
        `${name} with ${bad}`,
      );
  }
  await refused(
    writeSafetensors(tensors as Any, { format: "gruvy" }) as Uint8Array<ArrayBuffer>,
    "without the metadata",
  );
  await refused(writeSafetensors(tensors as Any) as Uint8Array<ArrayBuffer>, "without any metadata");
});

test("offsets that overlap, leave gaps or lie outside are refused", async () => {
  const bytes = original;
  const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, end));
  const offsets = [...text.matchAll(/"data_offsets":\[(\d+),(\d+)\]/g)];
  for (const match of offsets)
    for (const replacement of [
      "[0,12]",
      "[12,0]",
      "[0,1e300]",
      "[-4,8]",
      "[0,9007199254740993]",
      "[4]",
      "[]",
      '["0","12"]',
      "[null,12]",
      "{}",
    ]) {
      if (match[0] === `"data_offsets":${replacement}`) continue;
      const header = text.replace(match[0], `"data_offsets":${replacement}`).trimEnd();
      const json = new TextEncoder().encode(header);
      const file = new Uint8Array(8 + json.length + bytes.length - end);
      new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
      file.set(json, 8);
      file.set(bytes.subarray(end), 8 + json.length);
      await refused(file, `${match[0]} -> ${replacement}`);
    }
});

test("a checkpoint is a model like any other", async () => {
  const model = await trained();
  const path = join(folder, "epoch-{epoch}");
  await model.fit(x, y, { epochs: 4, initialEpoch: 2, callbacks: [checkpoint(path)] });
  const loaded = await loadModel(path.replace("{epoch}", "4"));
  assert.is(loaded.epoch, 4);
  for (const [name, tensor] of Object.entries(model.weights())) sameTensor(loaded.weights()[name], tensor, name);
  model.dispose();
  loaded.dispose();
});

test.run();
