import { test } from "uvu";
import * as assert from "uvu/assert";
import { ctcBeamSearch, ctcGreedy, ngramModel, OptionError, ShapeError, type Tensor } from "../../../host/index.ts";
import { close, uniform } from "../../kit/core.ts";
import { ctcLoss, spelled } from "../../reference/ctc.ts";
import { softmax } from "../../reference/softmax.ts";

/** Posteriors [batch, time, classes]. */
function posteriors(batch: number, time: number, classes: number, seed: number, scale = 2): Tensor {
  const x = uniform(batch * time * classes, seed, scale);
  for (let r = 0; r < batch * time; r++)
    x.set(Float32Array.from(softmax(x.slice(r * classes, (r + 1) * classes))), r * classes);
  return { shape: [batch, time, classes], data: x };
}

/** ln p of the steps of one sequence. */
function steps({ shape: [, T, n], data }: Tensor, b: number, count = T): number[][] {
  return Array.from({ length: count }, (_, t) =>
    Array.from({ length: n }, (_, c) => Math.log(data[(b * T + t) * n + c])),
  );
}

/** Every sequence of labels that some path spells, with ln of its probability, likeliest first. */
function everything(logp: number[][], blank: number): { labels: number[]; score: number }[] {
  const all = new Map<string, number[]>();
  const walk = (path: number[]): void => {
    if (path.length === logp.length) {
      const labels = spelled(path, blank);
      all.set(labels.join(" "), labels);
    } else for (let c = 0; c < logp[0].length; c++) walk([...path, c]);
  };
  walk([]);
  return [...all.values()]
    .map((labels) => ({ labels, score: -ctcLoss(logp, labels, blank) }))
    .sort((a, b) => b.score - a.score);
}

test("greedy: repeats merged, blanks dropped, a blank parts what is equal", () => {
  const path = [1, 1, 0, 1, 2, 2, 0, 0, 2];
  const data = Float32Array.from(path.flatMap((best) => [0, 1, 2].map((c) => (c === best ? 0.8 : 0.1))));
  const [{ labels, score }] = ctcGreedy({ shape: [1, 9, 3], data });
  assert.equal(labels, [1, 1, 2, 2]);
  close([score], [9 * Math.log(0.8)], 1e-6, "score");
  assert.equal(ctcGreedy({ shape: [1, 9, 3], data }, { blank: 2 })[0].labels, [1, 0, 1, 0]);
  assert.equal(ctcGreedy({ shape: [1, 9, 3], data }, { lengths: [3] })[0].labels, [1]);
  assert.equal(ctcGreedy({ shape: [1, 9, 3], data }, { lengths: [0] }), [{ labels: [], score: 0 }]);
});

test("a beam that holds everything finds every sequence with its probability", () => {
  for (const [T, n, blank] of [
    [1, 3, 0],
    [4, 3, 0],
    [5, 3, 2],
    [4, 4, 1],
    [6, 2, 0],
  ]) {
    const p = posteriors(2, T, n, T * n);
    ctcBeamSearch(p, { blank, beamWidth: 2000 }).forEach(({ labels, score, beam }, b) => {
      const expected = everything(steps(p, b), blank);
      assert.equal(labels, expected[0].labels);
      assert.is(score, beam[0].score);
      assert.is(beam.length, expected.length);
      const scores = new Map(beam.map((one) => [one.labels.join(" "), one.score]));
      for (const one of expected)
        close([scores.get(one.labels.join(" "))!], [one.score], 1e-12, one.labels.join(" "), 1e-12);
    });
  }
});

test("the best path is not always the best sequence", () => {
  // Twice blank is the likeliest path, 0.36, but all others spell the label.
  const data = Float32Array.of(0.6, 0.4, 0.6, 0.4);
  assert.equal(ctcGreedy({ shape: [1, 2, 2], data })[0].labels, []);
  const [{ labels, score }] = ctcBeamSearch({ shape: [1, 2, 2], data });
  assert.equal(labels, [1]);
  close([score], [Math.log(0.64)], 1e-6, "score");
});

test("narrow beams score no more than is there, and peaked posteriors leave no doubt", () => {
  const p = posteriors(4, 30, 6, 3, 3);
  for (const beamWidth of [1, 2, 5, 25])
    ctcBeamSearch(p, { beamWidth }).forEach(({ beam }, b) => {
      assert.ok(beam.length <= beamWidth);
      for (const { labels, score } of beam) assert.ok(score <= -ctcLoss(steps(p, b), labels, 0) + 1e-9);
    });
  const peaked = posteriors(4, 30, 6, 3, 40);
  const greedy = ctcGreedy(peaked).map(({ labels }) => labels);
  for (const beamWidth of [1, 10])
    assert.equal(
      ctcBeamSearch(peaked, { beamWidth }).map(({ labels }) => labels),
      greedy,
    );
});

test("padding never changes a result, nor does the rest of the batch", () => {
  const p = posteriors(3, 12, 5, 6);
  const lengths = [12, 7, 1];
  const all = ctcBeamSearch(p, { lengths });
  const greedy = ctcGreedy(p, { lengths });
  lengths.forEach((length, b) => {
    const alone = { shape: [1, length, 5], data: p.data.slice(b * 60, (b * 12 + length) * 5) };
    assert.equal(ctcBeamSearch(alone), [all[b]]);
    assert.equal(ctcGreedy(alone), [greedy[b]]);
  });
});

test("logits and log-probabilities agree with probabilities", () => {
  const logits = { shape: [2, 8, 4], data: uniform(64, 9, 2) };
  const p = { shape: [2, 8, 4], data: logits.data.slice() };
  for (let r = 0; r < 16; r++) p.data.set(softmax(logits.data.slice(r * 4, r * 4 + 4)), r * 4);
  const expected = ctcBeamSearch(p);
  for (const data of [logits.data, p.data.map(Math.log)])
    ctcBeamSearch({ shape: [2, 8, 4], data }, { fromLogits: true }).forEach(({ labels, score }, b) => {
      assert.equal(labels, expected[b].labels);
      close([score], [expected[b].score], 1e-6, "score");
    });
});

test("a language model decides between what sounds alike, and its weights do as they say", () => {
  // "c?t" where the middle is a or u, u a little likelier.
  const symbols = ["", "c", "a", "u", "t"];
  const row = (...likely: [number, number][]) =>
    symbols.map((_, c) => likely.find(([label]) => label === c)?.[1] ?? 0.01);
  const data = Float32Array.from([...row([1, 0.96]), ...row([2, 0.45], [3, 0.52]), ...row([4, 0.96])]);
  const p = { shape: [1, 3, 5], data };
  const text = (labels: number[]) => labels.map((label) => symbols[label]).join("");
  const languageModel = ngramModel(["cat", "cat", "cat", "act"], { order: 3 });
  assert.is(text(ctcBeamSearch(p)[0].labels), "cut");
  assert.is(text(ctcBeamSearch(p, { languageModel, symbols, alpha: 0 })[0].labels), "cut");
  assert.is(text(ctcBeamSearch(p, { languageModel, symbols, alpha: 1 })[0].labels), "cat");
  const beam = ctcBeamSearch(p, { languageModel, symbols, alpha: 0.7, beta: 0.3, beamWidth: 500 })[0].beam;
  for (const { labels, score } of beam)
    close(
      [score],
      [-ctcLoss(steps(p, 0), labels, 0) + 0.7 * languageModel.score(text(labels)) + 0.3 * labels.length],
      1e-9,
      text(labels),
    );
  assert.ok(beam[0].score >= beam[beam.length - 1].score);
  // The bonus alone: every label counts.
  const long = ctcBeamSearch(p, { beta: 50, beamWidth: 500 })[0].labels;
  assert.is(long.length, 3);
});

test("mistakes are named", () => {
  const p = posteriors(2, 3, 4, 1);
  for (const decode of [ctcGreedy, ctcBeamSearch]) {
    assert.throws(
      () => decode([0.5, 0.5]),
      (e: unknown) => e instanceof ShapeError && /\[batch, time, classes\], got \[2\]/.test(e.message),
    );
    assert.throws(
      () => decode(p, { lengths: [1] }),
      (e: unknown) => e instanceof ShapeError,
    );
    assert.throws(
      () => decode(p, { lengths: [1, 4] }),
      (e: unknown) => e instanceof OptionError && /lengths\[1\]/.test(e.message),
    );
    assert.throws(
      () => decode(p, { blank: 4 }),
      (e: unknown) => e instanceof OptionError,
    );
    assert.throws(
      () => decode(p, { beam: 4 } as never),
      (e: unknown) => e instanceof OptionError,
    );
    const negative = { shape: [1, 1, 2], data: Float32Array.of(-1, 2) };
    assert.throws(
      () => decode(negative),
      (e: unknown) => e instanceof OptionError && /fromLogits: true/.test(e.message),
    );
    const bad = { shape: [1, 1, 2], data: Float32Array.of(NaN, 2) };
    assert.throws(
      () => decode(bad, { fromLogits: true }),
      (e: unknown) => e instanceof OptionError && /NaN at sequence 0, step 0, class 0/.test(e.message),
    );
  }
  const languageModel = ngramModel(["a"]);
  assert.throws(
    () => ctcBeamSearch(p, { languageModel }),
    (e: unknown) => e instanceof OptionError && /"symbols"/.test(e.message),
  );
  assert.throws(
    () => ctcBeamSearch(p, { languageModel, symbols: ["a"] }),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ctcBeamSearch(p, { languageModel: {} as never }),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ctcBeamSearch(p, { beamWidth: 0 }),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ctcBeamSearch(p, { alpha: -1 }),
    (e: unknown) => e instanceof OptionError,
  );
});

test.run();
