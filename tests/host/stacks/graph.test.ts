import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  add,
  attention,
  average,
  bidirectional,
  concatenate,
  dense,
  dropout,
  embedding,
  FormatError,
  type GraphNode,
  graph,
  gru,
  input,
  loadModel,
  type Model,
  masking,
  maximum,
  minimum,
  multiply,
  OptionError,
  quantize,
  repeat,
  ShapeError,
  StateError,
  sequential,
  subtract,
  type Tensor,
  timeDistributed,
} from "../../../host/index.ts";
import type { GraphConfig } from "../../../host/stacks/graph.ts";
import { close } from "../../kit/core.ts";
import { arena, randomLabels, randomTensor, refuses, sameTensor, sameTensors, steps } from "../../kit/models.ts";
import { runGraph } from "../../reference/graph.ts";
import { lossOf, type ModelInput } from "../../reference/model.ts";

interface Problem {
  batch: number;
  /** Of each input, where it has a time axis. */
  steps: (number | undefined)[];
  tokens?: (number | undefined)[];
  lossWeights?: Record<string, number>;
  lengths?: Record<string, number[]>;
  mask?: Record<string, number[][]>;
  initialState?: boolean;
}

/** `model.gradients` against central differences of the same graph in double precision. */
async function checkGradients(what: string, model: Model<unknown>, problem: Problem): Promise<void> {
  const { batch, lossWeights, lengths, mask, tokens = [] } = problem;
  const config = model.architecture.config as GraphConfig;
  const { network } = model;
  model.setWeights(
    Object.fromEntries(
      Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, 31 + i, 0.8)]),
    ),
  );
  const loss = "meanSquaredError";
  model.compile({ loss, lossWeights: network.outputs.length > 1 ? lossWeights : undefined });
  const x = network.inputs.map(({ port }, i) => {
    const time = port.sequence ? [problem.steps[i]!] : [];
    const limit = tokens[i];
    return limit
      ? randomLabels([batch, ...time], limit, 50 + i)
      : randomTensor([batch, ...time, port.features], 50 + i);
  });
  const lengthsOf = network.outputSteps(network.inputs.map(({ port }, i) => (port.sequence ? problem.steps[i]! : 1)));
  const y = network.outputs.map(({ port }, i) =>
    randomTensor([batch, ...(port.sequence ? [lengthsOf[i]] : []), port.features], 60 + i),
  );
  const initialState = problem.initialState
    ? network.initialStates.map(({ units }, i) => randomTensor([batch, units], 70 + i))
    : undefined;
  const one = <T>(list: T[]) => (list.length === 1 ? list[0] : list);
  const got = await model.gradients(one<Tensor<Float32Array | Int32Array>>(x), one(y), {
    lengths: lengths && (network.inputs.length === 1 ? Object.values(lengths)[0] : lengths),
    mask: mask && (network.inputs.length === 1 ? Object.values(mask)[0] : mask),
    initialState,
  });

  const parameters = Object.fromEntries(
    Object.entries(model.weights()).map(([k, t]) => [k, Float64Array.from(t.data)]),
  );
  const points = x.map(({ data }) => Float64Array.from(data));
  const states = network.initialStates.map(({ units }, i) =>
    initialState ? Float64Array.from(initialState[i].data) : new Float64Array(batch * units),
  );
  const run = () =>
    runGraph(
      config,
      parameters,
      network.inputs.map(
        ({ name, port }, i): ModelInput => ({
          x: points[i],
          batch,
          steps: port.sequence ? problem.steps[i] : undefined,
          lengths: lengths?.[name],
          mask: mask?.[name]?.flat(),
        }),
      ),
      states,
    );
  const value = () => {
    const { outputs } = run();
    return network.outputs.reduce((sum, { name, port }, i) => {
      const own = lossOf(
        { name: loss, config: { reduction: "mean" } },
        outputs[i].outputs,
        port.features,
        outputs[i].valid,
        {
          y: y[i].data,
        },
      );
      return sum + (lossWeights?.[name] ?? 1) * own;
    }, 0);
  };
  const differences = (values: Float64Array) =>
    values.map((v, i) => {
      const at = (shift: number) => {
        values[i] = v + shift;
        const l = value();
        values[i] = v;
        return l;
      };
      return (at(1e-6) - at(-1e-6)) / 2e-6;
    });

  const expected = run();
  const outputs = (network.outputs.length === 1 ? [got.outputs] : Object.values(got.outputs as object)) as Tensor[];
  outputs.forEach(({ data }, i) => {
    close(data, expected.outputs[i].outputs, 3e-6, `${what}: output ${i}`);
  });
  close([got.loss], [value()], 3e-6, `${what}: loss`, 1e-6);
  got.state.forEach(({ data }, i) => {
    close(data, expected.states[i], 3e-6, `${what}: state ${i}`);
  });
  // Of sums of a few dozen float32 products through a few layers; central differences are good to 1e-9.
  const tolerance = 2e-5;
  assert.equal(Object.keys(got.gradients), Object.keys(parameters));
  for (const [name, { data }] of Object.entries(got.gradients))
    close(data, differences(parameters[name]), tolerance, `${what}: d ${name}`, 1e-7);
  got.inputGradients.forEach((gradient, i) => {
    if (tokens[i]) assert.is(gradient, undefined);
    else close(gradient!.data, differences(points[i]), tolerance, `${what}: dx ${i}`, 1e-7);
  });
  got.stateGradient.forEach((gradient, i) => {
    close(gradient.data, differences(states[i]), tolerance, `${what}: d state ${i}`, 1e-7);
  });
  model.dispose();
}

const many = { returnSequences: true } as const;

test("gradients of a diamond: a value that several layers read, and its readers merged", async () => {
  for (const [name, merge] of Object.entries({ add, average, multiply, maximum, minimum, subtract, concatenate })) {
    const x = input([null, 3]);
    const root = gru(5, many)(x);
    const merged = (merge as typeof add)()([gru(7, many)(root), dense(7, { activation: "tanh" })(root)]);
    const model = await graph({ inputs: x, outputs: dense(2)(gru(3)(merged)), seed: 1 });
    await checkGradients(name, model, { batch: 3, steps: [4], initialState: true });
  }
});

test("gradients of merges of more than two, of the same value twice, and of an input", async () => {
  for (const [name, merge] of Object.entries({ add, average, multiply, maximum, minimum, concatenate })) {
    const [a, b] = [input([17]), input([17])];
    const d = dense(17)(a);
    const merged = (merge as typeof add)()([d, b, dense(17)(b), d]);
    await checkGradients(name, await graph({ inputs: [a, b], outputs: merged }), { batch: 3, steps: [] });
  }
});

test("gradients of a layer that is used twice add up", async () => {
  const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
  const [encode, map] = [gru(4), dense(5, { activation: "sigmoid" })];
  const twice = concatenate()([encode(a), encode(b)]);
  const model = await graph({ inputs: [a, b], outputs: [map(twice), dense(2)(map(subtract()([twice, twice])))] });
  assert.equal(Object.keys(model.weights()).filter((name) => name.startsWith("gru")).length, 3);
  await checkGradients("shared", model, {
    batch: 3,
    steps: [4, 2],
    lengths: { a: [4, 0, 2], b: [1, 2, 2] },
    lossWeights: { dense: 0.5 },
  });
});

test("gradients of two inputs and two outputs with loss weights, masks of both combined", async () => {
  for (const dialect of ["lengths", "mask"] as const) {
    const [sound, words] = [input([null, 3], { name: "sound" }), input([null], { name: "words", type: "tokens" })];
    const both = concatenate()([sound, embedding(6, 4)(words)]);
    const tags = dense(2)(gru(5, many)(both));
    const model = await graph({ inputs: { sound, words }, outputs: { tags, kind: dense(3)(gru(4)(both)) }, seed: 2 });
    await checkGradients(dialect, model, {
      batch: 3,
      steps: [4, 4],
      tokens: [undefined, 6],
      lossWeights: { tags: 2, kind: 0.3 },
      ...(dialect === "lengths"
        ? { lengths: { sound: [4, 3, 2], words: [2, 3, 4] } }
        : { mask: { words: [[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]] } }), // biome-ignore format: rows
    });
  }
});

test("gradients of an encoder and a decoder of other lengths, joined by states", async () => {
  const [source, target] = [input([null, 3], { name: "source" }), input([null, 2], { name: "target" })];
  const [encoded, state] = gru(5, { ...many, returnState: true })(source);
  const decoded = gru(5, many)(target, { initialState: state });
  const attended = attention()([decoded, encoded]);
  const model = await graph({ inputs: [source, target], outputs: dense(2)(concatenate()([decoded, attended])) });
  await checkGradients("attention", model, {
    batch: 3,
    steps: [7, 4],
    lengths: { source: [7, 1, 3] },
    initialState: true,
  });
});

test("gradients of states: as outputs, from inputs, of both directions, of backward layers", async () => {
  const [x, h] = [input([null, 3]), input([4], { name: "h" })];
  const [last, forward, backward] = bidirectional(gru(4, { returnState: true }))(x, { initialState: [h, dense(4)(h)] });
  const [, back] = gru(3, { goBackwards: true, returnState: true })(x);
  const model = await graph({ inputs: [x, h], outputs: [last, add()([forward, backward]), back, backward] });
  await checkGradients("states", model, { batch: 3, steps: [4], initialState: true });
});

test("gradients of repeat, of time-distributed layers and of sequences one after the other", async () => {
  const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
  const joined = concatenate({ axis: 1 })([a, timeDistributed(dense(3))(b)]);
  const again = repeat(3)(gru(4)(joined));
  const model = await graph({ inputs: [a, b], outputs: [again, gru(2, many)(again), gru(2, many)(joined)] });
  await checkGradients("in time", model, { batch: 3, steps: [2, 4], lengths: { a: [2, 1, 0] } });
});

test("residual and highway layers are compositions", async () => {
  const residual = (layer: (x: GraphNode) => GraphNode) => (x: GraphNode) => add()([x, layer(x)]);
  const highway = (layer: (x: GraphNode) => GraphNode, gate: (x: GraphNode) => GraphNode) => (x: GraphNode) =>
    add()([x, multiply()([gate(x), subtract()([layer(x), x])])]);
  const x = input([null, 5]);
  const high = highway(dense(5, { activation: "tanh" }), dense(5, { activation: "sigmoid" }));
  const model = await graph({ inputs: x, outputs: high(residual(gru(5, many))(x)) });
  await checkGradients("stack", model, { batch: 3, steps: [4], lengths: { input: [4, 1, 3] } });
});

test("a graph in a line is the sequential model, to the bit", async () => {
  const layers = () => [masking(), gru(6, many), dropout(0.3), gru(4), dense(3, { activation: "softmax" })];
  const line = await sequential(layers(), { inputShape: [null, 3], seed: 7 });
  const x = input([null, 3]);
  const outputs = layers().reduce<GraphNode>((node, layer) => layer(node) as GraphNode, x);
  const same = await graph({ inputs: x, outputs, seed: 7 });
  assert.equal(same.summary(), line.summary());
  const [data, targets] = [randomTensor([5, 4, 3], 1), randomLabels([5], 3, 2)];
  for (const model of [line, same]) {
    model.compile({ loss: "sparseCategoricalCrossentropy", metrics: ["accuracy"] });
    await model.fit(data, targets, { epochs: 2, batchSize: 2, lengths: [4, 1, 2, 3, 4] });
  }
  sameTensors(same.weights(), line.weights(), "weights");
  sameTensor(await same.predict(data), await line.predict(data), "predictions");
  assert.equal(await same.evaluate(data, targets), await line.evaluate(data, targets));
});

/** Two inputs, two outputs, a shared layer and states. */
async function twoByTwo(): Promise<Model<{ tags: Tensor; last: Tensor }>> {
  const [a, b] = [input([null, 3], { name: "a" }), input([null, 3], { name: "b" })];
  const shared = gru(4, { ...many, returnState: true });
  const [first, state] = shared(a);
  const [second] = shared(b);
  const tags = dense(2, { activation: "softmax" })(concatenate()([first, second]));
  return graph({ inputs: [a, b], outputs: { tags, last: add()([state, gru(4)(second)]) }, seed: 3 });
}

test("several outputs: losses, metrics and weights by name; logs as in Keras", async () => {
  const model = await twoByTwo();
  const x = { a: randomTensor([6, 5, 3], 1), b: randomTensor([6, 5, 3], 2) };
  const y = { tags: randomLabels([6, 5], 2, 3), last: randomTensor([6, 4], 4) };
  model.compile({
    loss: { tags: "sparseCategoricalCrossentropy", last: "meanSquaredError" },
    lossWeights: { last: 0.25 },
    metrics: { tags: ["accuracy"] },
    optimizer: adam({ learningRate: 0.02 }),
  });
  const scores = await model.evaluate(x, y);
  assert.equal(Object.keys(scores), ["loss", "tags_loss", "tags_accuracy", "last_loss"]);
  assert.ok(Math.abs(scores.loss - (scores.tags_loss + 0.25 * scores.last_loss)) < 1e-12);
  const { history } = await model.fit(x, y, { epochs: 60, batchSize: 4, validationData: [x, y] });
  assert.ok(history.loss.at(-1)! < 0.8 * history.loss[0], `${history.loss}`);
  assert.ok("valLoss" in history && "valTags_accuracy" in history);
  // Lists in the order of inputs and outputs are the same as records.
  const list = await model.evaluate([x.a, x.b], [y.tags, y.last]);
  assert.equal(list, await model.evaluate(x, y));
  // Weights of samples go to the output that they are for.
  const [only] = [await model.evaluate(x, y, { sampleWeight: { last: [0, 0, 0, 0, 0, 0] } })];
  assert.is(only.last_loss, 0);
  assert.is(only.tags_loss, list.tags_loss);
  const both = await model.evaluate(x, y, { sampleWeight: [1, 0, 0, 0, 0, 0] });
  const first = (t: Tensor) => ({ shape: [1, ...t.shape.slice(1)], data: t.data.slice(0, t.data.length / 6) });
  const { last } = await model.predict({ a: first(x.a), b: first(x.b) });
  const expected = last.data.reduce((sum, v, i) => sum + (v - y.last.data[i]) ** 2, 0) / 4 / 6;
  assert.ok(Math.abs(both.last_loss - expected) < 1e-6, `${both.last_loss} ${expected}`);
  // An output without a loss only predicts.
  model.compile({ loss: { last: "meanSquaredError" } });
  const partly = await model.evaluate(x, y.last);
  assert.equal(Object.keys(partly), ["loss", "last_loss"]);
  assert.is(partly.loss, partly.last_loss);
  model.dispose();
});

test("batches of an iterable, and validation splits of several inputs", async () => {
  const model = await twoByTwo();
  model.compile({ loss: "meanSquaredError" });
  const x = [randomTensor([6, 5, 3], 1), randomTensor([6, 5, 3], 2)];
  const y = [randomTensor([6, 5, 2], 3), randomTensor([6, 4], 4)];
  const start = model.weights();
  await model.fit(x, y, { epochs: 2, batchSize: 6, shuffle: false });
  const trained = model.weights();
  model.setWeights(start);
  model.compile({ loss: "meanSquaredError" });
  await model.fit(() => [{ x, y }], { epochs: 2 });
  sameTensors(model.weights(), trained, "an iterable of batches");
  const { history } = await model.fit(x, y, { validationSplit: 0.5 });
  assert.ok("valTags_loss" in history);
  model.dispose();
});

test("a graph is saved and loaded, shared layers once, with its training state", async () => {
  const { taken } = arena;
  const model = await twoByTwo();
  const x = { a: randomTensor([4, 5, 3], 1), b: randomTensor([4, 5, 3], 2) };
  const y = { tags: randomLabels([4, 5], 2, 3), last: randomTensor([4, 4], 4) };
  model.compile({
    loss: { tags: "sparseCategoricalCrossentropy", last: "huber" },
    lossWeights: { last: 0.25 },
    metrics: { tags: ["accuracy"] },
  });
  await model.fit(x, y, { epochs: 1 });
  const again = await loadModel<{ tags: Tensor; last: Tensor }>(model.toBytes({ training: true }));
  assert.equal(again.architecture, model.architecture);
  assert.is(again.summary(), model.summary());
  sameTensors(await again.predict(x), await model.predict(x), "predictions");
  for (const each of [model, again]) await each.fit(x, y, { epochs: 2, initialEpoch: 1 });
  sameTensors(again.weights(), model.weights(), "trained on");
  assert.equal(await again.evaluate(x, y), await model.evaluate(x, y));
  const small = await quantize(again, { precision: "int8", calibration: x });
  const bytes = await loadModel<{ tags: Tensor; last: Tensor }>(small.toBytes());
  sameTensors(await bytes.predict(x), await small.predict(x), "int8");
  close((await small.predict(x)).last.data, (await model.predict(x)).last.data, 0.05, "int8 against float");
  for (const each of [model, again, small, bytes]) each.dispose();
  assert.is(arena.taken, taken);
});

test("outputs keep their order in a file, whatever they are called", async () => {
  const x = input([3]);
  const model = await graph({ inputs: x, outputs: [dense(2, { name: "7" })(x), dense(1, { name: "3" })(x)] });
  const again = await loadModel<Tensor[]>(model.toBytes());
  const data = randomTensor([2, 3], 1);
  assert.equal(await again.predict(data), await model.predict(data));
  for (const each of [model, again]) each.dispose();
});

test("damaged graphs in files are refused, and leave no memory behind", async () => {
  const { taken } = arena;
  const model = await twoByTwo();
  const bytes = model.toBytes();
  model.dispose();
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  const damage = (change: (config: Record<string, never>) => void): Uint8Array => {
    const json = JSON.parse(text);
    const header = JSON.parse(json.__metadata__.gruvy);
    change(header.architecture.config);
    json.__metadata__.gruvy = JSON.stringify(header);
    const head = new TextEncoder().encode(JSON.stringify(json).padEnd(8 * Math.ceil(text.length / 8 + 16)));
    const out = new Uint8Array(8 + head.length + bytes.length - 8 - length);
    new DataView(out.buffer).setBigUint64(0, BigInt(head.length), true);
    out.set(head, 8);
    out.set(bytes.subarray(8 + length), 8 + head.length);
    return out;
  };
  type Config = { nodes: Record<string, unknown>[]; outputs: { name: string; from: unknown }[] } & Record<
    string,
    unknown
  >;
  const again = await loadModel(damage(() => {}));
  again.dispose();
  const refs: unknown[] = [
    9,
    0.5,
    -3,
    -1.5,
    null,
    "0",
    "length",
    "__proto__",
    {},
    [],
    [0, 7],
    [0, -1],
    [0, "0"],
    [[0]],
  ];
  const changes: ((config: Config) => void)[] = [
    ...refs.flatMap((ref) => [
      (c: Config) => void (c.nodes[1].inputs = [ref]),
      (c: Config) => void (c.outputs[0].from = ref),
      (c: Config) => void (c.nodes[0].initialStates = [ref]),
    ]),
    // A node cannot read itself, or one that comes after it: there are no cycles.
    (c) => void (c.nodes[2].inputs = [2, 0]),
    (c) => void (c.nodes[0].inputs = [3]),
    ...["nodes", "layers", "inputs", "outputs", "form"].flatMap((part) =>
      [undefined, null, [], {}, "record", [null], [[]], [{}]]
        .filter((value) => part !== "form" || value !== "record")
        .map((value) => (c: Config) => void ((c as Record<string, unknown>)[part] = value)),
    ),
    (c) => void (c.form = "one"),
    (c) => void (c.nodes[0].layer = "constructor"),
    (c) => void (c.nodes[0].layer = "dense"),
    (c) => void (c.nodes[0].inputs = []),
    (c) => void (c.outputs[0].name = "__proto__"),
    (c) => void (c.outputs[0].name = c.outputs[1].name),
    (c) => void (c.seed = -1),
  ];
  for (const [i, change] of changes.entries())
    await refuses(() => loadModel(damage(change as never)), FormatError, /./, `change ${i}: ${change}`);
  assert.is(arena.taken, taken);
});

test("the summary says what is connected to what", async () => {
  const model = await twoByTwo();
  const lines = model.summary().split("\n");
  assert.match(lines[0], /connected to$/);
  assert.ok(
    lines.some((line) => /^gru:2 \(gru\) +\[batch, time, 4\] +shared {2}b$/.test(line)),
    model.summary(),
  );
  assert.ok(
    lines.some((line) => /^add \(add\) .* gru \(state 0\), gru_1$/.test(line)),
    model.summary(),
  );
  assert.is(model.parameterCount, 4 * 3 * 7 + 24 + 18 + 4 * 3 * 8 + 24);
  model.dispose();
});

test("a stream of a graph gives what predict gives, step by step", async () => {
  const model = await twoByTwo();
  const [B, T] = [2, 4];
  const [a, b] = [randomTensor([B, T, 3], 1), randomTensor([B, T, 3], 2)];
  const stream = model.stream({ batch: B });
  const pool = model.streamPool({ capacity: 4 });
  const ids = Array.from({ length: B }, () => pool.open());
  for (let t = 0; t < T; t++) {
    const frames = { a: steps(a, t, t + 1).data, b: steps(b, t, t + 1).data };
    const out = stream.step(frames);
    // What is known at step t: outputs of the steps so far, states and last outputs of the sequence so far.
    const expected = await model.predict({ a: steps(a, 0, t + 1), b: steps(b, 0, t + 1) });
    const tags = steps(expected.tags, t, t + 1);
    sameTensor({ shape: tags.shape, data: out.tags }, tags, `tags, step ${t}`);
    sameTensor({ shape: expected.last.shape, data: out.last }, expected.last, `last, step ${t}`);
    for (const [i, id] of ids.entries())
      pool.push(id, [frames.a.subarray(3 * i, 3 * i + 3), frames.b.subarray(3 * i, 3 * i + 3)]);
    const flushed = pool.flush();
    for (const [i, id] of ids.entries()) {
      assert.equal(flushed.get(id)!.tags, out.tags.slice(2 * i, 2 * i + 2));
      assert.equal(flushed.get(id)!.last, out.last.slice(4 * i, 4 * i + 4));
    }
  }
  const frame = new Float32Array(6);
  await refuses(() => stream.step([frame]), ShapeError, /a list or a record of frames, one for each of "a", "b"/);
  await refuses(() => stream.step({ a: frame } as never), ShapeError, /stream.step\(\): "b": expected \[2, 3\] flat/);
  await refuses(() => stream.step([frame, frame.slice(1)]), ShapeError, /"b": expected/);
  model.dispose();
});

test("models that join whole sequences do not stream", async () => {
  const [x, h] = [input([null, 3]), input([4])];
  const begun = await graph({ inputs: [x, h], outputs: gru(4)(x, { initialState: h }) });
  await refuses(
    () => begun.stream(),
    StateError,
    /layer "gru" cannot stream: another layer says where its state begins/,
  );
  const still = await graph({ inputs: [x, h], outputs: [gru(2)(x), dense(1)(h)] });
  await refuses(() => still.stream(), StateError, /the model's input "input_1" has no time axis/);
  const repeated = await graph({ inputs: x, outputs: repeat(3)(gru(2)(x)) });
  await refuses(() => repeated.stream(), StateError, /layer "repeat" cannot stream/);
  const joined = await graph({ inputs: x, outputs: concatenate({ axis: 1 })([x, gru(3, many)(x)]) });
  await refuses(() => joined.stream(), StateError, /layer "concatenate" cannot stream/);
  for (const model of [begun, still, repeated, joined]) model.dispose();
});

test("what does not make a graph is refused, and leaves no memory behind", async () => {
  const { taken } = arena;
  const [x, z] = [input([null, 3]), input([null, 4], { name: "z" })];
  const g = gru(4, many)(x);
  const cases: [() => unknown, typeof OptionError | typeof ShapeError, RegExp][] = [
    [() => graph({ inputs: [x, z], outputs: g }), OptionError, /input "z" is not read by anything/],
    [() => graph({ inputs: x, outputs: add()([g, gru(4, many)(z)]) }), OptionError, /an input of shape \[null, 4\] is read, but is not among "inputs"/],
    [() => graph({ inputs: x, outputs: x }), ShapeError, /do not come from any layer/],
    [() => graph({ inputs: x, outputs: [g, x] }), OptionError, /an output must come from a layer, got an input/],
    [() => graph({ inputs: g, outputs: g }), OptionError, /"inputs" must come from input\(\), got the output of a layer of type "gru"/],
    [() => graph({ inputs: [x, x], outputs: g }), OptionError, /"inputs" has the same input twice/],
    [() => graph({ inputs: [z, input([2], { name: "z" })], outputs: gru(1)(z) }), OptionError, /two of "inputs" are called "z"/],
    [() => graph({ inputs: x, outputs: [g, g] }), OptionError, /two of "outputs" are called "gru"/],
    [() => graph({ inputs: x, outputs: [] }), OptionError, /"outputs" must be a node, a list or a record of nodes, got \[\]/],
    [() => graph({ inputs: x } as never), OptionError, /"outputs" must be a node/],
    [() => graph({ inputs: x, outputs: gru(4, { returnState: true }) as never }), OptionError, /"outputs" must be a node.*got a function/],
    [() => graph({ inputs: x, outputs: [gru(4, { returnState: true })(x)] as never }), OptionError, /got a list of nodes; take one of them/],
    [() => graph({ inputs: x, outputs: g, sed: 1 } as never), OptionError, /did you mean "seed"/],
    [() => input([3, 4, 5]), ShapeError, /input\(\): "shape" must be/],
    [() => input([3], { tipe: "tokens" } as never), OptionError, /did you mean "type"/],
    [() => gru(4)(randomTensor([1], 1) as never), OptionError, /gru\(\): a layer is called on nodes of a graph/],
    [() => add()([] as never), OptionError, /got none/],
    [() => dense(2)(gru(4, { returnState: true })(x) as never).origin && graph({ inputs: x, outputs: dense(2)(gru(4, { returnState: true })(x) as never) }), ShapeError, /layer "dense": expected 1 input, got 2/],
    [() => graph({ inputs: x, outputs: add()(g) }), ShapeError, /layer "add": expected at least 2 inputs, got 1/],
    [() => graph({ inputs: x, outputs: subtract()([g, g, g]) }), ShapeError, /layer "subtract": expected 2 inputs, got 3/],
    [() => graph({ inputs: x, outputs: add()([g, x]) }), ShapeError, /layer "add": expected inputs of one shape, got 4 and 3 features/],
    [() => graph({ inputs: x, outputs: add()([g, gru(4)(x)]) }), ShapeError, /all have a time axis, or none, got both/],
    [() => graph({ inputs: x, outputs: gru(4)(x, { initialState: gru(3)(x) }) }), ShapeError, /layer "gru_1": initialState: expected \[batch, 4\], got \[batch, 3\]/],
    [() => graph({ inputs: x, outputs: gru(4)(x, { initialState: [gru(4)(x), gru(4)(x)] }) }), ShapeError, /the layer has 1 states, got 2/],
    [() => graph({ inputs: x, outputs: dense(4)(x, { initialState: gru(4)(x) }) }), ShapeError, /the layer has 0 states/],
    [() => graph({ inputs: x, outputs: gru(4, { stateful: true })(x, { initialState: gru(4)(x) }) }), OptionError, /a stateful layer begins where/],
    [() => { const d = dense(2); return graph({ inputs: [x, z], outputs: [d(x), d(z)] }); }, ShapeError, /layer "dense" is used more than once: "dense.kernel" would be \[4, 2\] here, and is \[3, 2\] in its first use/],
    [() => graph({ inputs: x, outputs: timeDistributed(gru(2))(x) }), ShapeError, /a gru needs a time axis/],
    [() => { let y = concatenate()([x, x]); for (let i = 0; i < 2000; i++) y = concatenate()([y, y]); return graph({ inputs: x, outputs: y }); }, ShapeError, /layer "concatenate_\d+": its output would be \[batch, \d+\]; expected at most 16777216 of each/],
    [() => sequential([add()], { inputShape: [3] }), ShapeError, /layer "add": expected at least 2 inputs, got 1/],
  ]; // biome-ignore format: a table
  for (const [run, kind, message] of cases) await refuses(async () => run(), kind, message);
  assert.is(arena.taken, taken);
});

test("data that does not fit a graph is refused, naming the input or output", async () => {
  const model = await twoByTwo();
  model.compile({ loss: "meanSquaredError" });
  const [a, b] = [randomTensor([2, 5, 3], 1), randomTensor([2, 5, 3], 2)];
  const [tags, last] = [randomTensor([2, 5, 2], 3), randomTensor([2, 4], 4)];
  const predict = (x: unknown, options?: object) => () => model.predict(x as never, options);
  await refuses(predict(a), ShapeError, /expected a list or a record of x, one for each of "a", "b"/);
  await refuses(predict([a]), ShapeError, /got a list of 1/);
  await refuses(predict({ a, c: b }), ShapeError, /unknown x "c"; the model has "a", "b"/);
  await refuses(predict({ a }), ShapeError, /x "b" is missing; expected \[batch, time, 3\]/);
  await refuses(predict([a, randomTensor([3, 5, 3], 1)]), ShapeError, /x "a" has 2 samples, x "b" has 3/);
  await refuses(predict([a, randomTensor([2, 5, 4], 1)]), ShapeError, /expected x "b" \[batch, time, 3\], got \[2, 5, 4\]/);
  await refuses(predict([a, randomTensor([2, 4, 3], 1)]), ShapeError, /layer "concatenate": expected inputs of as many time steps, got 5 and 4/);
  await refuses(predict([a, b], { lengths: [5, 5, 5] }), ShapeError, /expected a list or a record of lengths/);
  await refuses(predict([a, b], { lengths: { a: [6, 5] } }), OptionError, /length 6 of sequence 0/);
  await refuses(() => model.evaluate([a, b], [tags, tags]), ShapeError, /expects y "last" \[2, 4\], got \[2, 5, 2\]/);
  await refuses(() => model.evaluate([a, b], { tags }), ShapeError, /y "last" is missing/);
  await refuses(() => model.fit([a, b], [tags, last], { classWeight: [1, 2] }), OptionError, /"classWeight" needs a model with one output/);
  await refuses(() => model.compile({ loss: ["huber"] }), ShapeError, /expected a list or a record of loss/);
  await refuses(() => model.compile({ loss: { lost: "huber" } }), ShapeError, /unknown loss "lost"/);
  await refuses(() => model.compile({ loss: "huber", lossWeights: { tags: -1 } }), OptionError, /lossWeights of "tags"/);
  model.dispose();
}); // biome-ignore format: a table

test.run();
