import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors, type WritableTensor, writeSafetensors } from "../../../host/formats/safetensors.ts";
import { adam, FormatError, loadModel, OptionError, ShapeError, StateError, type Tensor } from "../../../host/index.ts";
import { loadSeq2Seq, type Seq2Seq, type Seq2SeqOptions, seq2seq } from "../../../host/seq2seq/index.ts";
import { padded, pairsOf } from "../../../host/seq2seq/pairs.ts";
import { mixed } from "../../../host/seq2seq/sampling.ts";
import { StepDecoder } from "../../../host/seq2seq/step-decoder.ts";
import { close, random, sameBits } from "../../kit/core.ts";

const FORMS: Partial<Seq2SeqOptions>[] = [
  { attention: "dot", bidirectional: false },
  { attention: "dot", bidirectional: true },
  { attention: "additive", bidirectional: true },
];

/** Weights large enough that sequences of all lengths come out. */
async function translator(options: Partial<Seq2SeqOptions> = {}): Promise<Seq2Seq> {
  const made = await seq2seq({ sourceTokens: 8, targetTokens: 6, units: 12, embedding: 5, seed: 3, ...options });
  const next = random(11);
  const weights = made.model.weights();
  for (const { data } of Object.values(weights)) for (let i = 0; i < data.length; i++) data[i] = (next() * 2 - 1) * 0.9;
  made.model.setWeights(weights);
  return made;
}

function sequences(count: number, tokens: number, most: number, seed: number): number[][] {
  const next = random(seed);
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + Math.floor(next() * most) }, () => 1 + Math.floor(next() * (tokens - 1))),
  );
}

/** Probabilities of the next token after a prefix, by the whole model run over all of it. */
async function whole(own: Seq2Seq, source: number[], prefix: readonly number[]): Promise<Float32Array> {
  const { data, shape } = await own.model.predict({
    source: { shape: [1, source.length], data: Int32Array.from(source) },
    target: { shape: [1, prefix.length + 1], data: Int32Array.from([0, ...prefix]) },
  });
  return data.slice((shape[1] - 1) * shape[2]);
}

/** The first part of the model on sources, as decoding reads it. */
async function encode(own: Seq2Seq, sources: number[][]) {
  const { lengths, ...source } = padded(sources);
  const { encoder, decoder } = (own as unknown as { parts: Record<"encoder" | "decoder", Seq2Seq["model"]> }).parts;
  const [outputs, keys, state] = (await encoder.predict(source, { lengths })) as unknown as Tensor[];
  return { encoded: { outputs, keys, state, lengths }, network: decoder.network };
}

test("steps over kept encoder outputs give what the whole model gives, to the bit", async () => {
  for (const form of FORMS) {
    const own = await translator(form);
    const sources = sequences(4, 8, 7, 1);
    const { encoded, network } = await encode(own, sources);
    for (const width of [1, 3]) {
      const decoder = new StepDecoder(network, encoded, width);
      const next = random(5);
      const prefixes: number[][] = Array.from({ length: 4 * width }, () => []);
      let last = new Int32Array(4 * width);
      for (let t = 0; t < 4; t++) {
        const probabilities = decoder.step(last).slice();
        for (const [row, prefix] of prefixes.entries()) {
          const expected = await whole(own, sources[Math.floor(row / width)], prefix);
          sameBits(probabilities.slice(row * 6, (row + 1) * 6), expected, `${form.attention}, row ${row}, step ${t}`);
        }
        // Rows of one source change places.
        const from = Int32Array.from(prefixes, (_, row) => row - (row % width) + Math.floor(next() * width));
        decoder.reorder(from);
        const moved = Array.from(from, (row) => prefixes[row]);
        last = Int32Array.from(prefixes, () => 1 + Math.floor(next() * 5));
        moved.forEach((prefix, row) => {
          prefixes[row] = [...prefix, last[row]];
        });
      }
      decoder.close();
    }
    own.dispose();
  }
});

test("translating is the greedy search over the whole model; a width of 1 is the same", async () => {
  for (const form of FORMS) {
    const own = await translator(form);
    const sources = sequences(6, 8, 7, 2);
    const found = await own.translate(sources, { maxLength: 9 });
    assert.equal(found, await own.translate(sources, { maxLength: 9, beamWidth: 1, alpha: 3 }));
    for (const [i, source] of sources.entries()) {
      const expected: number[] = [];
      while (expected.length < 9) {
        const p = await whole(own, source, expected);
        const token = p.indexOf(Math.max(...p));
        if (token === 0) break;
        expected.push(token);
      }
      assert.equal(found[i], expected, `source ${i}`);
    }
    own.dispose();
  }
});

test("a beam's probability is that of its tokens; a wider beam is better in the mean", async () => {
  const own = await translator();
  const sources = sequences(12, 8, 7, 3);
  const means = [];
  for (const beamWidth of [1, 4, 12]) {
    const found = await own.search(sources, { beamWidth, alpha: 0, maxLength: 8 });
    means.push(found.reduce((sum, [best]) => sum + best.logProbability, 0));
    for (const [i, hypotheses] of found.slice(0, 3).entries())
      for (const { tokens, logProbability } of hypotheses) {
        let expected = 0;
        const all = tokens.length < 8 ? [...tokens, 0] : tokens;
        for (let t = 0; t < all.length; t++) expected += Math.log((await whole(own, sources[i], all.slice(0, t)))[all[t]]);
        close([logProbability], [expected], 1e-9, `source ${i}`);
      }
  }
  assert.ok(means[0] <= means[1] && means[1] <= means[2] && means[0] < means[2], `${means}`);
  own.dispose();
}); // biome-ignore format: a long line

test("a source by itself, among longer ones and in small batches is translated alike", async () => {
  const own = await translator();
  const sources = [...sequences(7, 8, 4, 4), ...sequences(3, 8, 30, 5)];
  const options = { beamWidth: 3, maxLength: 12 };
  const together = await own.search(sources, options);
  assert.equal(await own.search(sources, { ...options, batchSize: 3 }), together);
  for (const [i, source] of sources.entries())
    assert.equal((await own.search([source], options))[0], together[i], `${i}`);
  assert.equal(await own.translate([]), []);
  own.dispose();
});

test("scheduled sampling reads the model's own tokens, the likeliest that does not end", async () => {
  const own = await translator();
  const sources = sequences(3, 8, 5, 6);
  const targets = sequences(3, 6, 6, 7);
  const pairs = pairsOf(sources, targets);
  const { encoded, network } = await encode(own, sources);
  const never = await mixed(pairs, network, encoded, 0, 1, 1);
  assert.equal(never, pairs);
  const always = await mixed(pairs, network, encoded, 1, 1, 1);
  const [, steps] = always.input.shape;
  for (const [i, source] of sources.entries()) {
    const read: number[] = [];
    for (let t = 0; t < targets[i].length; t++) {
      const p = (await whole(own, source, read)).slice(1);
      read.push(1 + p.indexOf(Math.max(...p)));
    }
    assert.equal([...always.input.data.subarray(i * steps, i * steps + 1 + targets[i].length)], [0, ...read]);
    assert.ok(always.input.data.subarray(i * steps + 1 + targets[i].length, (i + 1) * steps).every((v) => v === 0));
  }
  assert.equal(always.labels, pairs.labels);
  const half = await mixed(pairs, network, encoded, 0.5, 1, 1);
  assert.equal(await mixed(pairs, network, encoded, 0.5, 1, 1), half);
  assert.not.equal(half.input.data, pairs.input.data);
  assert.not.equal(half.input.data, always.input.data);
  own.dispose();
});

test("it learns to say sequences backwards, with sampling as well; the same seed gives the same bytes", async () => {
  const sources = sequences(700, 7, 5, 8);
  const targets = sources.map((tokens) => [...tokens].reverse());
  const learn = async () => {
    const own = await seq2seq({ sourceTokens: 7, targetTokens: 7, units: 32, embedding: 12, seed: 2 });
    own.compile({ optimizer: adam({ learningRate: 1e-2, globalClipNorm: 1 }) });
    const held = [sources.slice(600), targets.slice(600)] as const;
    const { history } = await own.fit(sources.slice(0, 600), targets.slice(0, 600), {
      epochs: 8,
      batchSize: 16,
      scheduledSampling: 0.2,
      validationData: held,
    });
    return { own, history, held };
  };
  const { own, history, held } = await learn();
  assert.is(history.loss.length, 8);
  assert.ok(history.valLoss[7] < 0.5 * history.valLoss[0], `${history.valLoss}`);
  const said = await own.translate(held[0], { maxLength: 10 });
  const right = said.filter((tokens, i) => tokens.join() === held[1][i].join()).length;
  assert.ok(right >= 85, `${right} of 100`);
  const again = await learn();
  assert.equal(again.own.toBytes(), own.toBytes());
  own.dispose();
  again.own.dispose();
});

test("saved and loaded, it translates the same; the whole is a model for loadModel", async () => {
  for (const form of FORMS) {
    const own = await translator(form);
    const bytes = own.toBytes();
    const again = await loadSeq2Seq(bytes);
    const sources = sequences(5, 8, 6, 9);
    assert.equal(await again.search(sources, { beamWidth: 2, maxLength: 7 }), await own.search(sources, { beamWidth: 2, maxLength: 7 }));
    assert.equal(again.toBytes(), bytes);
    const model = await loadModel(bytes);
    assert.equal(model.weights(), own.model.weights());
    for (const each of [own, again, model]) each.dispose();
  }
}); // biome-ignore format: a long line

test("files that are damaged or of another kind are refused", async () => {
  const own = await translator();
  const { tensors, metadata } = readSafetensors(own.toBytes(), "test");
  const write = (change: (entries: Record<string, string>, all: Map<string, WritableTensor>) => void) => {
    const entries = Object.fromEntries(metadata);
    const all = new Map(tensors) as unknown as Map<string, WritableTensor>;
    change(entries, all);
    return writeSafetensors(all, entries);
  };
  const config = JSON.parse(metadata.get("gruvy.seq2seq")!);
  const with_ = (other: object) => (entries: Record<string, string>) => {
    entries["gruvy.seq2seq"] = JSON.stringify({ ...config, ...other });
  };
  const files: [RegExp, Uint8Array][] = [
    [/without the "gruvy.seq2seq" metadata/, own.model.toBytes()],
    [/JSON|token/i, write((entries) => (entries["gruvy.seq2seq"] = "{"))],
    [/unknown option "layers"/, write(with_({ layers: 3 }))],
    [/"units" must be a whole number/, write(with_({ units: -1 }))],
    // Larger than the file has numbers for: refused before memory is taken.
    [/expected \[16777216/, write(with_({ targetTokens: 2 ** 24 }))],
    [/"decoder.kernel" .* is missing/, write((_, all) => all.delete("decoder.kernel"))],
  ];
  for (const [message, file] of files) {
    try {
      await loadSeq2Seq(file);
      assert.unreachable(`expected ${message}`);
    } catch (error) {
      assert.instance(error, FormatError);
      assert.match((error as Error).message, message);
    }
  }
  own.dispose();
});

test("what does not fit is refused, and nothing has changed", async () => {
  const refuses = async (call: () => Promise<unknown>, type: new (message: string) => Error, message: RegExp) => {
    try {
      await call();
    } catch (error) {
      assert.instance(error, type);
      assert.match((error as Error).message, message);
      return;
    }
    assert.unreachable(`expected ${message}`);
  };
  const own = await translator();
  const before = own.toBytes();
  await refuses(() => seq2seq({ sourceTokens: 8, targetTokens: 1 }), OptionError, /"targetTokens"/);
  await refuses(() => seq2seq({ sourceTokens: 8, targetTokens: 6, unit: 3 } as never), OptionError, /did you mean "units"/);
  await refuses(() => seq2seq({ sourceTokens: 8, targetTokens: 6, attention: "none" as never }), OptionError, /"attention" must be one of/);
  await refuses(() => own.translate([[1], []]), ShapeError, /sequence 1 has no tokens/);
  await refuses(() => own.translate([[1, 8]]), OptionError, /sequence 0 has 8 at position 1; expected 1 to 7/);
  await refuses(() => own.translate([[0]]), OptionError, /has 0 at position 0/);
  await refuses(() => own.translate([1, 2] as never), ShapeError, /sequence 0: expected tokens, got 1/);
  await refuses(() => own.translate("text" as never), ShapeError, /expected a list of sequences/);
  await refuses(() => own.translate([[1]], { beamWidth: 0 }), OptionError, /"beamWidth"/);
  await refuses(() => own.translate([[1]], { width: 2 } as never), OptionError, /unknown option "width"/);
  await refuses(() => own.fit([[1], [2]], [[1]]), ShapeError, /2 sources need as many targets, got 1/);
  await refuses(() => own.fit([], []), ShapeError, /no pairs/);
  await refuses(() => own.fit([[1]], [[6]]), OptionError, /targets: sequence 0 has 6/);
  await refuses(() => own.fit([[1]], [[1]], { scheduledSampling: 1.5 }), OptionError, /"scheduledSampling"/);
  assert.equal(own.toBytes(), before);
  own.dispose();
  await refuses(() => own.translate([[1]]), StateError, /disposed/);
}); // biome-ignore format: long lines

test.run();
