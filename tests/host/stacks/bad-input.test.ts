import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as gruvy from "../../../host/index.ts";
import {
  adam,
  categoricalCrossentropy,
  checkpoint,
  dense,
  earlyStopping,
  embedding,
  GruvyError,
  gru,
  type Model,
  OptionError,
  oneHot,
  padSequences,
  ShapeError,
  StateError,
  sequential,
  sgd,
  sparseCategoricalCrossentropy,
  tensor,
  trainTestSplit,
} from "../../../host/index.ts";
import { arena, randomLabels, randomTensor, refuses, snapshot } from "../../kit/models.ts";

const [B, T, F, C] = [4, 3, 2, 3];
const x = randomTensor([B, T, F], 1);
const y = oneHot([0, 1, 2, 1], C);
const labels = randomLabels([B], C, 2);

async function classifier(): Promise<Model> {
  const model = await sequential([gru(5), dense(C, { activation: "softmax" })], { inputShape: [null, F], seed: 1 });
  model.compile({ loss: "categoricalCrossentropy", optimizer: adam(), metrics: ["accuracy"] });
  await model.fit(x, y, { epochs: 1 }); // so that moments and progress are not zero
  return model;
}

/** Refused, and nothing of model, moments and progress has moved. */
async function unchanged(
  model: Model,
  run: () => unknown,
  kind: Parameters<typeof refuses>[1],
  message: RegExp,
  what?: string,
): Promise<void> {
  const before = snapshot(model);
  const taken = arena.taken;
  await refuses(run, kind, message, what);
  assert.ok(snapshot(model) === before, `${what ?? run}: changed the model`);
  assert.is(arena.taken, taken, `${what ?? run}: kept memory`);
}

async function stillWorks(model: Model): Promise<void> {
  const { data } = await model.predict(x);
  assert.ok(data.every(Number.isFinite));
  const { history } = await model.fit(x, y, { epochs: model.epoch + 1, initialEpoch: model.epoch });
  assert.ok(Number.isFinite(history.loss[0]));
  model.dispose();
}

/** Things that are not what anyone asked for. */
// biome-ignore lint/suspicious/noExplicitAny: a hostile user does not read types
type Any = any;
class Custom {
  x = 1;
}
const cyclic: Any[] = [];
cyclic[0] = cyclic;
const deep = JSON.parse(`${"[".repeat(5000)}${"]".repeat(5000)}`);
const sparse: number[] = [1];
sparse.length = 2 ** 31;
const lying = { constructor: { name: { toString: null } } };
const rubbish: [string, Any][] = [
  ["null", null],
  ["a string", "abc"],
  ["an empty string", ""],
  ["a function", () => 1],
  ["a boolean", true],
  ["a symbol", Symbol("s")],
  ["a BigInt", 5n],
  ["an instance", new Custom()],
  ["an object without a prototype", Object.create(null)],
  ["an object that lies about its class", lying],
  ["holes", new Array(4)],
  ["a huge sparse array", sparse],
  ["an array in itself", cyclic],
  ["arrays 5000 deep", deep],
  ["an array of symbols", [Symbol("s")]],
  ["a Map", new Map([[1, 2]])],
  ["a Date", new Date()],
  ["BigInts", new BigInt64Array(4)],
  ["a DataView", new DataView(new ArrayBuffer(16))],
  ["a tensor with holes in its shape", { shape: new Array(3), data: new Float32Array(1) }],
  ["a tensor with symbols in its shape", { shape: [Symbol("s"), 1, 1], data: new Float32Array(1) }],
  ["a tensor that is shorter than its shape", { shape: [B, T, F], data: new Float32Array(3) }],
  ["a tensor with a negative shape", { shape: [-B, -T, F], data: new Float32Array(B * T * F) }],
  ["a tensor of doubles", { shape: [B, T, F], data: new Float64Array(B * T * F) }],
  ["NaN", NaN],
  ["infinity", Infinity],
  ["a fraction", 1.5],
  ["minus one", -1],
  ["2 ** 53", 2 ** 53],
];

/** An error of ours, whatever its class, with a message that is no longer than a few lines. */
async function rejects(run: () => unknown, what: string): Promise<void> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof GruvyError, `${what}: ${error instanceof Error ? error.stack : String(error)}`);
    assert.ok((error as Error).message.length < 1000, `${what}: a message of ${(error as Error).message.length}`);
    return;
  }
  assert.unreachable(`${what}: went through`);
}

test("inputs of another shape are refused, with what was expected and what came", async () => {
  const model = await classifier();
  const where = [
    ["predict()", (x: Any) => model.predict(x)],
    ["fit()", (x: Any) => model.fit(x, y)],
    ["evaluate()", (x: Any) => model.evaluate(x, y)],
    ["trainOnBatch()", (x: Any) => model.trainOnBatch(x, y)],
    ["gradients()", (x: Any) => model.gradients(x, y)],
  ] as const;
  for (const [name, run] of where) {
    const at = name.replace("()", "\\(\\)");
    const shape = (bad: Any, message: string) =>
      unchanged(model, () => run(bad), ShapeError, new RegExp(`^${at}: ${message}`), `${name} ${message}`);
    await shape(randomTensor([B, T, F + 1], 1), "expected x \\[batch, time, 2\\], got \\[4, 3, 3\\]");
    await shape(
      randomTensor([T, F], 1),
      "expected x \\[batch, time, 2\\], got \\[3, 2\\]; a single sample needs a batch axis",
    );
    await shape(new Float32Array(B * T * F), "expected x \\[batch, time, 2\\], got \\[24\\]");
    await shape([[[1, 2], [3]]], "x: ragged array: expected 2 entries on axis 2, got 1");
    await shape([[[1, 2], 3]], "x: ragged array: expected 2 entries on axis 2, got 3");
    await shape([[[1, "2"]]], 'x: ragged array: expected a number, got "2"');
    await shape([], "expected x \\[batch, time, 2\\], got \\[0\\]");
    await shape(randomTensor([0, T, F], 1), "x has no samples, shape \\[0, 3, 2\\]");
    await shape(randomTensor([B, 0, F], 1), "x has no time steps, shape \\[4, 0, 2\\]");
    await shape([[[], []]], "expected x \\[batch, time, 2\\], got \\[1, 2, 0\\]");
    await shape(undefined, "x is missing; expected \\[batch, time, 2\\]");
    for (const bad of [NaN, Infinity, -Infinity]) {
      const data = x.data.slice();
      data[7] = bad;
      await unchanged(
        model,
        () => run({ ...x, data }),
        OptionError,
        new RegExp(`^${at}: x has ${bad} at position 7; expected finite numbers`),
      );
    }
    await unchanged(model, () => run([[[1e300, 0]]]), GruvyError, /y \[1, 3\], got|x has Infinity at position 0/);
  }
  await stillWorks(model);
});

test("whatever is no tensor is refused wherever a tensor goes", async () => {
  const model = await classifier();
  const stream = model.stream();
  const before = snapshot(model);
  const state = stream.state;
  for (const [what, bad] of rubbish) {
    await rejects(() => model.predict(bad), `predict(${what})`);
    if (!(bad instanceof Map) && typeof bad !== "function") await rejects(() => model.fit(bad, y), `fit(${what})`);
    await rejects(() => model.fit(bad), `fit(${what}) without y`);
    await rejects(() => model.fit(x, bad), `fit(x, ${what})`);
    await rejects(() => model.evaluate(bad, y), `evaluate(${what})`);
    await rejects(() => model.evaluate(x, bad), `evaluate(x, ${what})`);
    await rejects(() => model.trainOnBatch(bad, y), `trainOnBatch(${what})`);
    await rejects(() => model.trainOnBatch(x, bad), `trainOnBatch(x, ${what})`);
    await rejects(() => model.gradients(x, bad), `gradients(x, ${what})`);
    await rejects(() => model.gradients(x, { outputGradient: bad }), `gradients(x, { outputGradient: ${what} })`);
    await rejects(
      () => model.gradients(x, { outputGradient: y, stateGradient: bad }),
      `gradients(x, { stateGradient: ${what} })`,
    );
    await rejects(() => model.setWeights(bad), `setWeights(${what})`);
    await rejects(() => model.setWeights({ ...model.weights(), "gru.kernel": bad }), `setWeights(kernel: ${what})`);
    for (const option of ["lengths", "mask", "sampleWeight"])
      await rejects(() => model.fit(x, y, { [option]: bad }), `fit({ ${option}: ${what} })`);
    await rejects(() => model.predict(x, { initialState: bad }), `predict({ initialState: ${what} })`);
    await rejects(() => stream.step(bad), `stream.step(${what})`);
    if (!Number.isFinite(bad)) await rejects(() => stream.step([bad, 1]), `stream.step([${what}, 1])`);
    await rejects(() => {
      stream.state = bad;
    }, `stream.state = ${what}`);
    await rejects(() => oneHot(bad, 3), `oneHot(${what})`);
    if (!(Array.isArray(bad) && bad.length === 4)) await rejects(() => padSequences(bad), `padSequences(${what})`);
    if (bad instanceof DataView || typeof bad !== "object" || bad === null)
      await rejects(() => tensor(bad), `tensor(${what})`);
    await rejects(() => tensor([1, 2], bad), `tensor([1, 2], ${what})`);
    await rejects(() => gruvy.accuracy(bad, bad), `accuracy(${what})`);
  }
  assert.ok(snapshot(model) === before);
  assert.equal(stream.state, state);
  stream.close();
  await stillWorks(model);
});

test("whatever is no option is refused wherever an option goes", async () => {
  const model = await classifier();
  const before = snapshot(model);
  const taken = arena.taken;
  const custom = (bad: Any) => typeof bad === "object" && bad !== null;
  // Options that may be a number are refused the other kinds; 1.5, say, is a fine learning rate.
  const kinds = rubbish.filter(([, bad]) => typeof bad !== "number");
  for (const [what, bad] of kinds) {
    const each = async (where: string, run: () => unknown) => rejects(run, `${where}: ${what}`);
    for (const [name, factory] of Object.entries({ gru, dense }) as [string, Any][]) {
      await each(`${name}(units)`, () => factory(bad));
      if (typeof bad !== "string") await each(`${name}({ name })`, () => factory(2, { name: bad ?? 0 }));
      if (bad !== null) await each(`${name}({ useBias })`, () => factory(2, { useBias: bad === true ? 1 : bad }));
      if (bad !== null) await each(`${name}({ activation })`, () => factory(2, { activation: bad }));
      if (bad !== null) await each(`${name}({ kernelInitializer })`, () => factory(2, { kernelInitializer: bad }));
      if (!custom(bad) || Array.isArray(bad))
        await each(`${name}(2, options)`, () => factory(2, Array.isArray(bad) ? [1] : bad));
    }
    await each("embedding(tokens)", () => embedding(bad, 2));
    await each("embedding(units)", () => embedding(2, bad));
    await each("dropout(rate)", () => gruvy.dropout(bad));
    if (bad !== null) await each("layerNorm({ epsilon })", () => gruvy.layerNorm({ epsilon: bad }));
    if (bad !== null) await each("masking({ maskValue })", () => gruvy.masking({ maskValue: bad }));
    await each("activation()", () => gruvy.activation(bad));
    await each("constant()", () => gruvy.constant(bad));
    await each("sequential(layers)", () => sequential(bad, { inputShape: [null, 2] }));
    await each("sequential([layer])", () => sequential([bad], { inputShape: [null, 2] }));
    await each("sequential({ inputShape })", () => sequential([gru(2)], { inputShape: bad }));
    await each("sequential({ inputShape: [, features] })", () => sequential([gru(2)], { inputShape: [null, bad] }));
    if (bad !== null)
      await each("sequential({ seed })", () => sequential([gru(2)], { inputShape: [null, 2], seed: bad }));
    await each("compile({ loss })", () => model.compile({ loss: bad }));
    if (bad !== null) await each("compile({ optimizer })", () => model.compile({ loss: "huber", optimizer: bad }));
    await each("compile({ optimizer: { config } })", () =>
      model.compile({ loss: "huber", optimizer: { name: "adam", config: bad ?? 5 } }),
    ).catch((error) => {
      // An object without options of its own is no options.
      if (!(custom(bad) && Object.keys(bad).length === 0)) throw error;
      model.compile({ loss: "categoricalCrossentropy", optimizer: adam(), metrics: ["accuracy"] });
    });
    await each("compile({ metrics: [] })", () => model.compile({ loss: "huber", metrics: [bad] }));
    if (bad !== null && !Array.isArray(bad))
      await each("compile({ metrics })", () => model.compile({ loss: "huber", metrics: bad }));
    for (const factory of [adam, sgd, gruvy.rmsprop, gruvy.adagrad] as Any[]) {
      await each("learningRate", () => factory({ learningRate: bad }));
      await each("clipNorm", () => factory({ clipNorm: bad }));
      if (bad !== null) await each("clipNormType", () => factory({ globalClipNorm: 1, clipNormType: bad }));
    }
    for (const option of ["epochs", "initialEpoch", "batchSize", "validationSplit"])
      if (bad !== null) await each(`fit({ ${option} })`, () => model.fit(x, y, { [option]: bad }));
    for (const option of ["shuffle", "allowNonFinite"])
      if (bad !== null)
        await each(`fit({ ${option} })`, () => model.fit(x, y, { [option]: bad === true ? "true" : bad }));
    for (const option of ["signal", "verbose"])
      if (bad !== null || option === "signal")
        await each(`fit({ ${option} })`, () => model.fit(x, y, { [option]: bad }));
    if (!custom(bad)) await each("fit({ classWeight })", () => model.fit(x, y, { classWeight: bad }));
    if (!custom(bad) && bad !== null) await each("fit({ callbacks })", () => model.fit(x, y, { callbacks: bad }));
    if (!custom(bad)) await each("fit({ callbacks: [] })", () => model.fit(x, y, { callbacks: [bad] }));
    if (typeof bad !== "function" && !(bad instanceof Map))
      await each("fit({ validationData })", () => model.fit(x, y, { validationData: bad }));
    for (const run of [
      () => model.fit(x, y, bad),
      () => model.evaluate(x, y, bad),
      () => model.predict(x, bad),
      () => model.trainOnBatch(x, y, bad),
      () => model.gradients(x, y, bad),
      () => model.stream(bad),
      () => model.toBytes(bad),
      () => model.compile(bad),
    ])
      if (!custom(bad)) await each(String(run), run);
    for (const option of ["batchSize", "allowNonFinite"])
      if (bad !== null)
        await each(`predict({ ${option} })`, () => model.predict(x, { [option]: bad === true ? 0.5 : bad }));
    if (bad !== null) await each("stream({ batch })", () => model.stream({ batch: bad }));
    if (bad !== null && bad !== true)
      await each("stream({ allowNonFinite })", () => model.stream({ allowNonFinite: bad }));
    if (bad !== null && bad !== true) await each("toBytes({ training })", () => model.toBytes({ training: bad }));
    await each("loadModel()", async () => {
      if (typeof bad === "string") throw new GruvyError("names a file");
      return gruvy.loadModel(bad);
    });
    if (typeof bad !== "string" || !bad) await each("save()", () => model.save(bad));
    if (typeof bad !== "string" || !bad) await each("checkpoint()", () => checkpoint(bad));
    if (typeof bad !== "string" || !bad) await each("csvLog()", () => gruvy.csvLog(bad));
    for (const factory of [
      gruvy.stepDecay,
      gruvy.exponentialDecay,
      gruvy.cosineDecay,
      gruvy.warmUp,
      gruvy.oneCycle,
    ] as Any[])
      if (!custom(bad)) await each(factory.name, () => factory(bad));
    for (const args of [
      [bad, 0.5, 1],
      [5, bad, 1],
      [5, 0.5, bad],
    ] as Any[])
      await each("trainTestSplit()", () => trainTestSplit(...(args as [Any, Any, Any])));
    await each("oneHot(, classes)", () => oneHot([0], bad));
  }
  model.compile({ loss: "categoricalCrossentropy", optimizer: adam(), metrics: ["accuracy"] });
  assert.is(arena.taken, taken);
  assert.equal(Object.keys(model.weights()).length, 5);
  assert.ok(before.length > 0);
  await stillWorks(model);
});

test("an unknown option is refused by name, with the one that was meant", async () => {
  const model = await classifier();
  const meant = (run: (options: Any) => unknown, wrong: string, right: string, kind = OptionError) =>
    unchanged(model, () => run({ [wrong]: 1 }), kind, new RegExp(`unknown option "${wrong}"; did you mean "${right}"`));
  await meant((o) => gru(2, o), "returnSequence", "returnSequences");
  await meant((o) => gru(2, o), "return_sequences", "returnSequences");
  await meant((o) => dense(2, o), "use_bias", "useBias");
  await meant((o) => embedding(2, 2, o), "mask_zero", "maskZero");
  await meant((o) => gruvy.dropout(0.5, o), "nam", "name");
  await meant((o) => gruvy.layerNorm(o), "epsilom", "epsilon");
  await meant((o) => gruvy.masking(o), "mask_value", "maskValue");
  await meant((o) => gruvy.activation("relu", o), "names", "name");
  await meant((o) => gruvy.randomUniform(o), "maxx", "max");
  await meant((o) => sequential([gru(2)], { inputShape: [null, 2], ...o }), "seeed", "seed");
  await meant((o) => model.compile({ loss: "huber", ...o }), "optimiser", "optimizer");
  for (const optimizer of [adam, gruvy.adamW, sgd, gruvy.rmsprop, gruvy.adagrad])
    await meant((o) => optimizer(o), "learning_rate", "learningRate");
  await meant((o) => gruvy.adam(o), "beta_1", "beta1");
  for (const loss of [categoricalCrossentropy, gruvy.binaryCrossentropy])
    await meant((o) => loss(o), "label_smoothing", "labelSmoothing");
  await meant((o) => sparseCategoricalCrossentropy(o), "ignore_index", "ignoreIndex");
  await meant((o) => gruvy.huber(o), "detla", "delta");
  await meant((o) => gruvy.smoothL1(o), "betta", "beta");
  await meant((o) => gruvy.meanSquaredError(o), "reductoin", "reduction");
  await meant((o) => gruvy.topKAccuracy(o), "kk", "k");
  await meant((o) => gruvy.cosineDecay({ total: 1, ...o }), "minimun", "minimum");
  await meant((o) => gruvy.reduceOnPlateau(o), "patients", "patience");
  await meant((o) => model.fit(x, y, o), "epoch", "epochs");
  await meant((o) => model.fit(x, y, o), "batch_size", "batchSize");
  await meant((o) => model.evaluate(x, y, o), "sampleWeights", "sampleWeight");
  await meant((o) => model.predict(x, o), "initial_state", "initialState");
  await meant((o) => model.trainOnBatch(x, y, o), "length", "lengths");
  await meant((o) => model.gradients(x, y, o), "masks", "mask");
  await meant((o) => model.gradients(x, { outputGradient: y, ...o }), "stateGradients", "stateGradient");
  await meant((o) => model.stream(o), "batches", "batch");
  await meant((o) => model.toBytes(o), "trainings", "training");
  await meant((o) => model.save("never", o), "trainings", "training");
  await meant((o) => earlyStopping(o), "patiance", "patience");
  await meant((o) => checkpoint("never", o), "monitors", "monitor");
  await meant((o) => gruvy.progress(o), "writer", "write");
  await meant((o) => padSequences([[1]], o), "pading", "padding");
  await meant((o) => gruvy.configure(o), "thread", "threads");
  await meant((o) => model.fit(x, y, { validationData: { x, y, ...o } }), "sampleWeights", "sampleWeight");
  await unchanged(model, () => model.fit([{ x, y, z: 1 } as Any]), OptionError, /batch 1: batch: unknown option "z"/);
  for (const name of ["__proto__", "constructor", "toString", "x".repeat(1e6)])
    await unchanged(
      model,
      () => gru(2, JSON.parse(`{ ${JSON.stringify(name)}: 1 }`)),
      OptionError,
      /^gru\(\): unknown option "/,
      name.slice(0, 20),
    );
  await refuses(() => model.compile({ loss: "categoricalCrosentropy" }), OptionError, /did you mean "categoricalC/);
  await refuses(() => model.compile({ loss: "constructor" }), OptionError, /unknown loss/);
  await refuses(() => model.compile({ loss: "huber", optimizer: "Adma" }), OptionError, /did you mean "adam"/);
  await refuses(() => model.compile({ loss: "huber", metrics: ["acuracy"] }), OptionError, /did you mean "accuracy"/);
  await refuses(() => gru(2, { activation: "tahn" as Any }), OptionError, /did you mean "tanh"/);
  await refuses(() => model.compile({ loss: gruvy.huber as Any }), OptionError, /is a function; call it/);
  await refuses(() => model.compile({} as Any), OptionError, /"loss" is missing/);
  await stillWorks(model);
});

test("values out of their range are refused", async () => {
  for (const bad of [0, -1, 1.5, NaN, Infinity, 2 ** 31, 2 ** 53]) {
    await refuses(() => gru(bad), OptionError, /^gru\(\): "units" must be a whole number from 1 to 65536, got /);
    await refuses(() => dense(bad), OptionError, /^dense\(\): "units"/);
    await refuses(() => embedding(bad, 2), OptionError, /^embedding\(\): "tokens"/);
    await refuses(() => sequential([gru(2)], { inputShape: [null, bad] }), OptionError, /inputShape\[1\]/);
    await refuses(() => sequential([gru(2)], { inputShape: [bad, 2] }), OptionError, /inputShape\[0\]/);
  }
  for (const bad of [1, -0.1, NaN, Infinity])
    await refuses(() => gruvy.dropout(bad), OptionError, /^dropout\(\): "rate" must be in \[0, 1\), got /);
  await refuses(() => embedding(3, 2, { paddingIndex: 3 }), OptionError, /"paddingIndex"/);
  await refuses(() => adam({ beta1: 1 }), OptionError, /adam\(\): "beta1" must be in \[0, 1\), got 1/);
  await refuses(() => adam({ learningRate: -1 }), OptionError, /"learningRate"/);
  await refuses(() => adam({ clipNorm: 1, clipValue: 1 }), OptionError, /give one of "clipNorm", "clipValue"/);
  await refuses(() => adam({ clipNormType: 1 }), OptionError, /goes with "globalClipNorm"/);
  await refuses(() => sgd({ nesterov: true }), OptionError, /needs a momentum/);
  await refuses(() => gruvy.randomUniform({ min: 1, max: 0 }), OptionError, /"min" must not be above "max"/);
  await refuses(() => gruvy.layerNorm({ epsilon: 0 }), OptionError, /"epsilon"/);
  await refuses(() => sequential([], { inputShape: [2] }), OptionError, /expected an array of layers/);
  await refuses(
    () => sequential([gru(2, { name: "a" }), dense(1, { name: "a" })], { inputShape: [null, 2] }),
    OptionError,
    /two layers are called "a"/,
  );
  for (const name of ["a\u0000b", "", "a b", "a.b", "__proto__", "a/b"])
    await refuses(() => gru(2, { name }), OptionError, /"name" must be a word/);
  await refuses(
    () => sequential([gru(2), gru(2)], { inputShape: [null, 2] }),
    ShapeError,
    /^layer "gru_1": expected input \[batch, time, features\], got \[batch, 2\]/,
  );
  await refuses(() => sequential([gru(2)], { inputShape: [2] }), ShapeError, /layer "gru": expected input/);
  await refuses(
    () => sequential([gru(2), embedding(3, 2)], { inputShape: [null, 2] }),
    ShapeError,
    /layer "embedding": expected tokens/,
  );
});

test("a model that cannot be made leaves no memory behind", async () => {
  const taken = arena.taken;
  await refuses(
    () => sequential([gru(4, { resetAfter: false, biasInitializer: "orthogonal" })], { inputShape: [null, 2] }),
    ShapeError,
    /orthogonal\(\): expected at least two axes/,
  );
  await refuses(
    () => sequential([dense(4, { kernelInitializer: gruvy.constant(1e39) })], { inputShape: [2] }),
    OptionError,
    /layer "dense": the initializer of "dense.kernel" gives Infinity/,
  );
  assert.is(arena.taken, taken);
});

test("targets that do not fit are refused, with a hint where labels and one-hot are mixed up", async () => {
  const model = await classifier();
  for (const run of [
    (y: Any) => model.fit(x, y),
    (y: Any) => model.evaluate(x, y),
    (y: Any) => model.trainOnBatch(x, y),
    (y: Any) => model.gradients(x, y),
  ]) {
    await unchanged(
      model,
      () => run(undefined),
      ShapeError,
      /\(\): y is missing; "categoricalCrossentropy" expects \[4, 3\]/,
    );
    await unchanged(
      model,
      () => run(labels),
      ShapeError,
      /expects y \[4, 3\], got \[4\]; for class numbers use "sparseCategoricalCrossentropy"/,
    );
    await unchanged(model, () => run(oneHot([0, 1], C)), ShapeError, /expects y \[4, 3\], got \[2, 3\]/);
    await unchanged(
      model,
      () => run({ ...y, data: y.data.map((v, i) => (i === 5 ? NaN : v)) }),
      OptionError,
      /y has NaN at position 5/,
    );
  }
  await stillWorks(model);

  const sparse = await sequential([gru(5), dense(C, { activation: "softmax" })], { inputShape: [null, F] });
  sparse.compile({ loss: sparseCategoricalCrossentropy({ ignoreIndex: -1 }) });
  await unchanged(
    sparse,
    () => sparse.fit(x, y),
    ShapeError,
    /expects y \[4\], got \[4, 3\]; for one-hot targets use "categoricalCrossentropy"/,
  );
  for (const bad of [3, -2, 2 ** 31 - 1])
    await unchanged(
      sparse,
      () => sparse.fit(x, [0, 1, bad, 2]),
      OptionError,
      new RegExp(`label ${bad} at position 2 of y; expected 0 to 2 or -1`),
    );
  for (const bad of [0.5, NaN, Infinity, 2 ** 31, 1e300])
    await unchanged(
      sparse,
      () => sparse.fit(x, [0, 1, bad, 2]),
      ShapeError,
      /y: expected whole numbers \(tokens or labels\), got .* at position 2/,
    );
  await sparse.fit(x, [0, -1, 1, 2]);
  await unchanged(
    sparse,
    () => sparse.fit(x, labels, { sampleWeight: randomTensor([B, C], 1) }),
    OptionError,
    /sampleWeight must be one a sample or step/,
  );
  sparse.dispose();
});

test("tokens out of range or fractional are refused", async () => {
  const model = await sequential([embedding(5, 2), gru(3), dense(1)], { inputShape: [null], seed: 1 });
  model.compile({ loss: "meanSquaredError" });
  const target = randomTensor([1, 1], 1);
  for (const bad of [5, -1, 2 ** 31 - 1, -(2 ** 31)])
    await unchanged(
      model,
      () => model.fit([[0, bad, 1]], target),
      OptionError,
      new RegExp(`token ${bad} at position 1 of x; expected 0 to 4`),
    );
  for (const bad of [0.5, NaN, Infinity, 2 ** 31])
    await unchanged(model, () => model.predict([[0, bad, 1]]), ShapeError, /x: expected whole numbers/);
  await unchanged(
    model,
    () => model.predict([0, 1]),
    ShapeError,
    /expected x \[batch, time\], got \[2\]; a single sample needs a batch axis/,
  );
  const stream = model.stream();
  stream.step([1]);
  const state = stream.state;
  for (const bad of [5, -1, 0.5, NaN, Infinity, "1", 1n, Symbol("s"), null])
    await refuses(() => stream.step([bad] as Any), OptionError, /^stream.step\(\): token .*; expected 0 to 4/);
  assert.equal(stream.state, state);
  stream.step([4]);
  model.dispose();
});

test("lengths, masks and sample weights that do not fit are refused", async () => {
  const model = await classifier();
  const refusal = (options: Any, kind: Any, message: RegExp) =>
    unchanged(model, () => model.fit(x, y, options), kind, message);
  await refusal({ lengths: [1, 2, 3] }, ShapeError, /expected one length for each of 4 sequences, got 3/);
  for (const bad of [4, -1, 1.5, NaN, "1", null])
    await refusal(
      { lengths: [1, 2, 3, bad] },
      OptionError,
      /length .* of sequence 3; expected a whole number from 0 to 3/,
    );
  await refusal(
    { lengths: [1, 2, 3, 3], mask: randomLabels([B, T], 2, 1) },
    OptionError,
    /give lengths or mask, not both/,
  );
  await refusal({ mask: randomLabels([B, T + 1], 2, 1) }, ShapeError, /expected mask \[4, 3\], got \[4, 4\]/);
  await refusal(
    { mask: { shape: [B, T], data: new Float32Array(B * T).fill(2) } },
    OptionError,
    /mask has 2 at position 0; expected 0 or 1/,
  );
  await refusal(
    { mask: { shape: [B, T], data: new Float32Array(B * T).fill(0.5) } },
    ShapeError,
    /mask: expected whole numbers/,
  );
  await refusal({ sampleWeight: [1, 1, 1] }, ShapeError, /expected sampleWeight \[4\] or \[4, 3\], got \[3\]/);
  for (const bad of [NaN, Infinity])
    await refusal({ sampleWeight: [1, bad, 1, 1] }, OptionError, new RegExp(`sampleWeight has ${bad} at position 1`));
  await refusal({ classWeight: { 3: 1 } }, OptionError, /classWeight label 3/);
  await refusal({ classWeight: { 0: NaN } }, OptionError, /classWeight of 0/);
  await refusal({ classWeight: { a: 1 } }, OptionError, /classWeight label a/);
  await refusal({ validationSplit: 0.5, validationData: [x, y] }, OptionError, /not both/);
  await refusal({ validationData: [x, labels] }, ShapeError, /fit\(\): validationData: .*for class numbers/);
  await refusal({ validationData: [x] }, ShapeError, /fit\(\): validationData: y is missing/);
  await stillWorks(model);

  const flat = await sequential([dense(1)], { inputShape: [F] });
  flat.compile({ loss: "meanSquaredError" });
  await unchanged(
    flat,
    () => flat.fit([[1, 2]], [[1]], { lengths: [1] }),
    ShapeError,
    /lengths given, but the model's input has no time axis/,
  );
  await unchanged(flat, () => flat.predict([[]] as Any), ShapeError, /expected x \[batch, 2\], got \[1, 0\]/);
  await unchanged(flat, () => flat.predict([[1, 2]], { initialState: [[1]] }), StateError, /no recurrent layer/);
  await refuses(() => flat.stream(), StateError, /no time axis/);
  flat.dispose();
});

test("initial states and weights that do not fit are refused", async () => {
  const model = await classifier();
  const good = { shape: [B, 5], data: new Float32Array(B * 5) };
  await model.predict(x, { initialState: good });
  await unchanged(model, () => model.predict(x, { initialState: [good, good] }), GruvyError, /state/);
  await unchanged(
    model,
    () => model.predict(x, { initialState: randomTensor([B, 4], 1) }),
    ShapeError,
    /predict\(\): state of "gru": expected \[4, 5\], got \[4, 4\]/,
  );
  const bad = { ...good, data: good.data.map((_, i) => (i === 3 ? NaN : 0)) };
  await unchanged(model, () => model.predict(x, { initialState: bad }), OptionError, /state of "gru" has NaN/);
  await unchanged(model, () => model.trainOnBatch(x, y, { initialState: bad }), OptionError, /state of "gru" has NaN/);

  const weights = model.weights();
  const kernel = weights["gru.kernel"];
  const set = (changes: Any, kind: Any, message: RegExp) =>
    unchanged(model, () => model.setWeights({ ...weights, ...changes }), kind, message);
  await set({ "gru.kernal": kernel }, ShapeError, /unknown "gru.kernal"; the model has "gru.kernel"/);
  await set({ "dense.bias": [1, 2] }, ShapeError, /"dense.bias": expected \[3\], got \[2\]/);
  for (const v of [NaN, Infinity, 1e39])
    await set(
      { "dense.bias": [1, 2, v] },
      OptionError,
      /"dense.bias" has (NaN|Infinity) at position 2; expected finite/,
    );
  const { "gru.kernel": _, ...missing } = weights;
  await unchanged(model, () => model.setWeights(missing), ShapeError, /"gru.kernel" \[2, 15\] is missing/);
  await stillWorks(model);
});

test("allowNonFinite lets NaN and infinity through, and nothing crashes", async () => {
  const model = await classifier();
  const before = snapshot(model);
  for (const bad of [NaN, Infinity, -Infinity]) {
    const hurt = { ...x, data: x.data.map((v, i) => (i === 7 ? bad : v)) };
    const { shape, data } = await model.predict(hurt, { allowNonFinite: true });
    assert.equal(shape, [B, C]);
    assert.ok(data.subarray(0, C).every(Number.isFinite), "other samples are as they were");
    await model.evaluate(hurt, y, { allowNonFinite: true });
    await model.gradients(hurt, y, { allowNonFinite: true });
    const stream = model.stream({ allowNonFinite: true });
    stream.step([bad, 0]);
    stream.close();
  }
  const hurt = { ...x, data: x.data.map((v, i) => (i === 7 ? NaN : v)) };
  await refuses(
    () => model.fit(hurt, y, { allowNonFinite: true }),
    StateError,
    /training diverged at epoch 1, step 1: layer "gru" put out NaN/,
  );
  await refuses(
    () => model.trainOnBatch(hurt, y, { allowNonFinite: true }),
    StateError,
    /training diverged at step 2: layer "gru"/,
  );
  assert.ok(snapshot(model) === before);
  await stillWorks(model);
});

test("a stream refuses frames and states that do not fit, and its state stays", async () => {
  const model = await classifier();
  const stream = model.stream({ batch: 2 });
  stream.step([1, 2, 3, 4]);
  const state = stream.state;
  const output = stream.step([0, 0, 0, 0]).slice();
  stream.state = state;
  await refuses(() => stream.step([1, 2]), ShapeError, /stream.step\(\): expected \[2, 2\] flat, 4 numbers, got \[2\]/);
  for (const bad of [NaN, Infinity, 1e39])
    await refuses(() => stream.step([1, bad, 2, 3]), OptionError, /the frame has (NaN|Infinity)/);
  for (const bad of ["1", null, undefined, true, 1n, Symbol("s")])
    await refuses(
      () => stream.step([1, bad, 2, 3] as Any),
      OptionError,
      /the frame has .* at position 1; expected numbers/,
    );
  await refuses(
    () => {
      stream.state = new Float32Array(9);
    },
    ShapeError,
    /expected a Float32Array of 10 numbers, got 9/,
  );
  await refuses(
    () => {
      stream.state = new Float32Array(10).fill(NaN);
    },
    OptionError,
    /has NaN/,
  );
  assert.equal(stream.state, state);
  assert.equal(stream.step([0, 0, 0, 0]), output);
  stream.close();
  await stillWorks(model);
});

test("batches from a source are checked as they come", async () => {
  const model = await classifier();
  for (const [what, source, message] of [
    ["no batches", () => [], /gave no batches in epoch 1/],
    ["numbers", () => [1, 2], /batch 1: expected batches \{ x, y/],
    ["null", () => [null], /batch 1: expected batches/],
    ["a function that returns a number", () => 5, /expected a function that returns an iterable of batches, got 5/],
    ["a function that returns nothing", () => undefined, /got undefined/],
    ["without y", () => [{ x }], /batch 1: y is missing/],
    ["of another shape", () => [{ x: [[1]], y }], /batch 1: expected x/],
    ["a Map", new Map([[1, 2]]), /batch 1: expected batches/],
  ] as [string, Any, RegExp][]) {
    await refuses(() => model.fit(source), ShapeError, message, `fit: ${what}`);
    model.training!.progress.epoch = 1;
    await refuses(
      () => model.evaluate(source),
      ShapeError,
      what === "no batches" ? /gave no batches/ : message,
      `evaluate: ${what}`,
    );
  }
  await unchanged(model, () => model.fit([{ x, y }], y), OptionError, /y comes with the batches/);
  await unchanged(model, () => model.evaluate([{ x, y }], y), OptionError, /y comes with the batches/);
  await unchanged(model, () => model.fit([{ x, y }], { validationSplit: 0.5 }), OptionError, /needs arrays/);
  await stillWorks(model);
});

test("what needs a loss says so before compile", async () => {
  const model = await sequential([gru(2)], { inputShape: [null, F] });
  await refuses(() => model.fit(x, y), StateError, /^fit\(\) needs a loss: call compile/);
  await refuses(() => model.evaluate(x, y), StateError, /^evaluate\(\) needs a loss/);
  await refuses(() => model.trainOnBatch(x, y), StateError, /^trainOnBatch\(\) needs a loss/);
  await refuses(() => model.gradients(x, y), StateError, /needs a loss/);
  await refuses(() => model.toBytes({ training: true }), OptionError, /"training" needs a compiled model/);
  model.dispose();
});

test("one fit at a time", async () => {
  const model = await classifier();
  const running = model.fit(x, y, {
    epochs: 30,
    batchSize: 1,
    callbacks: [{ name: "slow", onEpochEnd: () => new Promise((r) => setTimeout(r, 1)) }],
  });
  for (const run of [
    () => model.fit(x, y),
    () => model.evaluate(x, y),
    () => model.trainOnBatch(x, y),
    () => model.gradients(x, y),
    () => model.compile({ loss: "huber" }),
  ])
    await refuses(run, StateError, /fit\(\) or evaluate\(\) is still running on this model; await it first/);
  await model.predict(randomTensor([50, 2 * T, F], 3));
  const { history } = await running;
  assert.is(history.loss.length, 30);
  await stillWorks(model);
});

test("a model disposed of in the middle of fit stops it", async () => {
  const taken = arena.taken;
  const model = await classifier();
  await refuses(
    () => model.fit(x, y, { epochs: 5, callbacks: [{ name: "end", onEpochEnd: () => model.dispose() }] }),
    StateError,
    /this model has been disposed of/,
  );
  assert.is(arena.taken, taken);
});

test("after dispose everything is refused and all memory is back", async () => {
  const taken = arena.taken;
  const model = await classifier();
  const stream = model.stream();
  const other = model.stream();
  stream.step([1, 2]);
  other.close();
  other.close();
  for (const run of [() => other.step([1, 2]), () => other.reset(), () => other.state])
    await refuses(run, StateError, /^stream\.(step\(\)|reset\(\)|state): the stream is closed/);
  model.dispose();
  model.dispose();
  assert.is(arena.taken, taken);
  for (const run of [
    () => model.fit(x, y),
    () => model.evaluate(x, y),
    () => model.predict(x),
    () => model.trainOnBatch(x, y),
    () => model.gradients(x, y),
    () => model.compile({ loss: "huber" }),
    () => model.stream(),
    () => model.weights(),
    () => model.setWeights({}),
    () => model.toBytes(),
    () => model.save("never"),
    () => stream.step([1, 2]),
    () => stream.reset(),
    () => stream.state,
    () => {
      stream.state = new Float32Array(5);
    },
  ])
    await refuses(run, StateError, /this model has been disposed of/);
  stream.close();
  assert.is(arena.taken, taken, "a stream closed after its model gives nothing back twice");
  await stillWorks(await classifier());
});

const finite = (model: Model) => Object.values(model.weights()).every(({ data }) => data.every(Number.isFinite));
const weightsOf = (model: Model) => JSON.stringify(Object.entries(model.weights()).map(([n, t]) => [n, [...t.data]]));

test("training that diverges goes back to the last good epoch and says where it went wrong", async () => {
  const folder = mkdtempSync(join(tmpdir(), "gruvy-"));
  const path = join(folder, "checkpoint.safetensors");
  for (const optimizer of [
    sgd({ learningRate: 1e30 }),
    sgd({ learningRate: 1e38, momentum: 0.9 }),
    adam({ learningRate: 1e38 }),
  ]) {
    const model = await sequential([gru(4), dense(1)], { inputShape: [null, F], seed: 3 });
    const target = randomTensor([B, 1], 4);
    model.compile({ loss: "meanSquaredError", optimizer: adam() });
    await model.fit(x, target, { epochs: 2, callbacks: [checkpoint(path)] });
    const file = readFileSync(path);
    model.compile({ loss: "meanSquaredError", optimizer });
    const before = snapshot(model);
    const weights = weightsOf(model);
    await refuses(
      () => model.fit(x, target, { epochs: 50, batchSize: 2, callbacks: [checkpoint(path)] }),
      StateError,
      /^training diverged at (the end of )?epoch 1, (after )?step \d: .*layer "(gru|dense)".*; lower the learning rate or clip/,
    );
    assert.ok(finite(model));
    assert.ok(weightsOf(model) === weights);
    assert.ok(snapshot(model) === before, "moments and progress too");
    assert.equal(readFileSync(path), file, "the checkpoint stays");
    model.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate: 0.01 }) });
    const { history } = await model.fit(x, target, { epochs: 3 });
    assert.ok(history.loss.every(Number.isFinite) && history.loss[2] < history.loss[0]);
    model.dispose();
  }
  assert.ok(existsSync(path));
  rmSync(folder, { recursive: true });
});

test("a step that overflows on the last batch of an epoch is found before the epoch counts", async () => {
  const model = await sequential([dense(1)], { inputShape: [F], seed: 3 });
  model.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate: 1e38 }) });
  const before = snapshot(model);
  const seen: number[] = [];
  await refuses(
    () =>
      model.fit([[100, 100]], [[-100]], {
        epochs: 3,
        callbacks: [{ name: "n", onEpochEnd: (n) => void seen.push(n) }],
      }),
    StateError,
    /^training diverged at the end of epoch 1, after step 1: "dense\.(kernel|bias)" \(layer "dense"\) holds/,
  );
  assert.equal(seen, []);
  assert.ok(snapshot(model) === before);
  model.dispose();
});

test("a run whose gradients alone overflow names the parameter", async () => {
  const model = await sequential([dense(1, { useBias: false, kernelInitializer: gruvy.constant(1) })], {
    inputShape: [1],
  });
  model.compile({ loss: "meanAbsoluteError", optimizer: sgd() });
  const before = snapshot(model);
  // A loss of 3e38 that float32 holds, and a weight that doubles its gradient beyond.
  await refuses(
    () => model.fit([[3e38]], [[2.9e38]], { sampleWeight: [3] }),
    StateError,
    /^training diverged at epoch 1, step 1: the gradient of "dense.kernel" \(layer "dense"\) is not finite/,
  );
  assert.ok(snapshot(model) === before);
  const { history } = await model.fit([[1]], [[2]], { epochs: 2 });
  assert.ok(history.loss[1] < history.loss[0]);
  model.dispose();
});

test("a stateful model that diverges begins at zero again", async () => {
  const model = await sequential([gru(3, { stateful: true }), dense(1)], { inputShape: [null, F], seed: 3 });
  model.compile({ loss: "meanSquaredError", optimizer: sgd() });
  const target = randomTensor([B, 1], 4);
  const hurt = { ...x, data: x.data.map(() => NaN) };
  await refuses(() => model.trainOnBatch(hurt, target, { allowNonFinite: true }), StateError, /diverged/);
  const { data } = await model.predict(x);
  assert.ok(data.every(Number.isFinite));
  model.dispose();
});

test("more memory than allowed is refused at once, and no block is lost", async () => {
  const taken = arena.taken;
  const started = performance.now();
  for (const [what, layers, inputShape] of [
    ["2^30 numbers, 4 GiB exactly", [dense(65536)], [16384]],
    ["2^31 bytes", [dense(32768)], [16384]],
    ["a wide gru", [gru(65536)], [null, 2 ** 20]],
    ["a large table", [embedding(2 ** 28, 65536)], [null]],
    ["wide layers", [dense(2 ** 24), dense(2 ** 24)], [2 ** 20]],
    ["a gru of 2^32 bytes", [gru(2 ** 15)], [null, 2 ** 15]],
    ["many large layers", Array.from({ length: 1000 }, () => gru(65536, { returnSequences: true })), [null, 2]],
  ] as [string, Any, Any][])
    await refuses(
      () => sequential(layers, { inputShape }),
      StateError,
      /^out of memory: \d+ MiB needed, \d+ MiB allowed; dispose/,
      what,
    );
  assert.is(arena.taken, taken);

  const model = await classifier();
  const held = arena.taken;
  await refuses(() => model.stream({ batch: 2 ** 31 - 1 }), StateError, /^out of memory/);
  assert.is(arena.taken, held);
  const long = { shape: [1, 2 ** 24, F], data: new Float32Array(2 ** 24 * F) };
  await refuses(() => model.gradients(long, oneHot([0], C)), StateError, /^out of memory/);
  assert.ok(arena.taken <= held);
  await stillWorks(model);
  assert.is(arena.taken, taken);
  assert.ok(performance.now() - started < 10_000, `took ${performance.now() - started} ms`);
});

test("a compile without memory for it leaves the earlier one in place", async () => {
  const taken = arena.taken;
  const model = await sequential([dense(4096, { kernelInitializer: "ones" })], { inputShape: [8192] });
  model.compile({ loss: "meanSquaredError", optimizer: sgd() });
  const held = arena.taken;
  await refuses(
    () => model.compile({ loss: "meanSquaredError", optimizer: adam({ amsgrad: true }) }),
    StateError,
    /^out of memory/,
  );
  assert.is(arena.taken, held);
  assert.is(model.training?.optimizer.name, "sgd");
  const { loss } = await model.trainOnBatch(
    { shape: [1, 8192], data: new Float32Array(8192) },
    { shape: [1, 4096], data: new Float32Array(4096).fill(1) },
  );
  assert.is(loss, 1);
  const { "dense.bias": bias } = model.weights();
  assert.ok(
    bias.data.every((v) => v > 0),
    "the bias has moved",
  );
  model.dispose();
  assert.is(arena.taken, taken);
});

test("class weights of another width than the output are refused", async () => {
  const model = await classifier();
  const loss = categoricalCrossentropy({ classWeight: [1, 2] });
  await unchanged(model, () => model.compile({ loss }), OptionError, /"classWeight" has 2 numbers, the output has 3/);
  model.dispose();
});

test.run();
