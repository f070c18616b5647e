import { test } from "uvu";
import * as assert from "uvu/assert";
import { StateError } from "../../../host/index.ts";
import { beamSearch, type Decoder } from "../../../host/seq2seq/beam.ts";
import { random } from "../../kit/core.ts";

/** Probabilities that depend on the source and on all tokens so far, the same in every row that has them. */
function probabilitiesOf(source: number, prefix: readonly number[], tokens: number): Float32Array {
  const next = random(prefix.reduce((seed, token) => Math.imul(seed, 31) + token + 1, source + 7));
  const weights = Float32Array.from({ length: tokens }, () => next() ** 3 + 1e-3);
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

/** A decoder whose state is all that it was fed. */
class Toy implements Decoder {
  private prefixes: number[][];
  steps = 0;

  constructor(
    readonly tokens: number,
    private readonly sources: number,
    private readonly width: number,
  ) {
    this.prefixes = Array.from({ length: sources * width }, () => []);
  }

  step(last: Int32Array): Float32Array {
    assert.is(last.length, this.sources * this.width);
    if (this.steps++ === 0) assert.ok(last.every((token) => token === 0));
    else this.prefixes = this.prefixes.map((prefix, row) => [...prefix, last[row]]);
    const rows = this.prefixes.map((p, row) => probabilitiesOf(Math.floor(row / this.width), p, this.tokens));
    return Float32Array.from(rows.flatMap((row) => Array.from(row)));
  }

  reorder(from: Int32Array): void {
    this.prefixes = Array.from(from, (row) => this.prefixes[row]);
  }
}

/** Every sequence up to a length, with its logarithm and score. */
function enumerate(source: number, tokens: number, maxLength: number, alpha: number) {
  const all: { tokens: number[]; logProbability: number; score: number }[] = [];
  const walk = (prefix: number[], logProbability: number) => {
    const end = (length: number, log: number) =>
      all.push({ tokens: prefix, logProbability: log, score: log / ((5 + length) / 6) ** alpha });
    if (prefix.length === maxLength) return end(maxLength, logProbability);
    const p = probabilitiesOf(source, prefix, tokens);
    end(prefix.length + 1, logProbability + Math.log(p[0]));
    for (let token = 1; token < tokens; token++) walk([...prefix, token], logProbability + Math.log(p[token]));
  };
  walk([], 0);
  return all.sort((a, b) => b.score - a.score);
}

function greedy(source: number, tokens: number, maxLength: number): number[] {
  const out: number[] = [];
  while (out.length < maxLength) {
    const p = probabilitiesOf(source, out, tokens);
    const token = p.indexOf(Math.max(...p));
    if (token === 0) break;
    out.push(token);
  }
  return out;
}

test("a width of 1 is greedy, whatever the length normalisation", () => {
  for (const alpha of [0, 0.6, 2]) {
    const found = beamSearch(new Toy(6, 40, 1), 40, { beamWidth: 1, maxLength: 9, alpha });
    for (const [source, hypotheses] of found.entries()) {
      assert.is(hypotheses.length, 1);
      assert.equal(hypotheses[0].tokens, greedy(source, 6, 9), `source ${source}`);
    }
  }
});

test("a beam as wide as there are sequences finds the best of all", () => {
  for (const alpha of [0, 0.7, 1.5]) {
    const found = beamSearch(new Toy(3, 10, 64), 10, { beamWidth: 64, maxLength: 4, alpha });
    for (const [source, hypotheses] of found.entries()) {
      const all = enumerate(source, 3, 4, alpha);
      assert.is(hypotheses.length, all.length);
      for (const [i, { tokens, logProbability, score }] of hypotheses.entries()) {
        assert.equal(tokens, all[i].tokens, `source ${source}, place ${i}`);
        assert.ok(Math.abs(logProbability - all[i].logProbability) < 1e-12);
        assert.ok(Math.abs(score - all[i].score) < 1e-12);
      }
    }
  }
});

test("a wider beam finds better sequences in the mean; sources do not depend on each other", () => {
  const options = { maxLength: 8, alpha: 0 };
  const means = [1, 2, 4, 16].map((beamWidth) => {
    const found = beamSearch(new Toy(8, 50, beamWidth), 50, { ...options, beamWidth });
    const alone = beamSearch(new Toy(8, 1, beamWidth), 1, { ...options, beamWidth });
    assert.equal(found[0], alone[0]);
    for (const hypotheses of found) assert.ok(hypotheses.length <= beamWidth);
    return found.reduce((sum, [{ logProbability }]) => sum + logProbability, 0);
  });
  for (let i = 1; i < means.length; i++) assert.ok(means[i] > means[i - 1], `${means}`);
});

test("length normalisation prefers longer sequences", () => {
  const lengths = [0, 1, 3].map((alpha) =>
    beamSearch(new Toy(5, 30, 8), 30, { beamWidth: 8, maxLength: 10, alpha }).reduce(
      (n, [h]) => n + h.tokens.length,
      0,
    ),
  );
  assert.ok(lengths[0] < lengths[1] && lengths[1] < lengths[2], `${lengths}`);
});

test("the search stops when every source has ended, and at maxLength", () => {
  const certain: Decoder = {
    tokens: 2,
    step: (last) => Float32Array.from({ length: 2 * last.length }, (_, i) => (i % 2 === 0 ? 1 : 0)),
    reorder: () => {},
  };
  let steps = 0;
  const counted: Decoder = {
    ...certain,
    step(last) {
      steps++;
      return certain.step(last);
    },
  };
  assert.equal(
    beamSearch(counted, 3, { beamWidth: 4, maxLength: 50, alpha: 1 }).map(([h]) => h.tokens),
    [[], [], []],
  );
  assert.is(steps, 1);
  const never = {
    ...certain,
    step: (last: Int32Array) => Float32Array.from({ length: 2 * last.length }, (_, i) => i % 2),
  };
  assert.equal(beamSearch(never, 1, { beamWidth: 2, maxLength: 3, alpha: 1 })[0][0].tokens, [1, 1, 1]);
});

test("probabilities that are none are an error, not a sequence", () => {
  const broken: Decoder = { tokens: 2, step: () => Float32Array.of(Number.NaN, 1), reorder: () => {} };
  assert.throws(
    () => beamSearch(broken, 1, { beamWidth: 1, maxLength: 3, alpha: 0 }),
    (error: unknown) => error instanceof StateError && /NaN/.test(error.message),
  );
});

test.run();
