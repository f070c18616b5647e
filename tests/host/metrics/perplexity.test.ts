import { test } from "uvu";
import * as assert from "uvu/assert";
import { ShapeError } from "../../../host/core/errors.ts";
import { bitsPerCharacter, perplexity } from "../../../host/metrics/perplexity.ts";

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-6 * expected, `expected ${expected}, got ${actual}`); // probabilities are f32
}

test("is the number of equally likely classes", () => {
  near(
    perplexity(
      [0, 3],
      [
        [0.25, 0.25, 0.25, 0.25],
        [0.25, 0.25, 0.25, 0.25],
      ],
    ),
    4,
  );
  near(perplexity([1], [[5, 5, 5]], { fromLogits: true }), 3);
});

test("is e to the mean of -log p", () => {
  const p = [
    [0.1, 0.9],
    [0.3, 0.7],
    [0.5, 0.5],
  ];
  near(perplexity([1, 0, 1], p), Math.exp(-(Math.log(0.9) + Math.log(0.3) + Math.log(0.5)) / 3));
  near(perplexity([[0.5, 0.5]], [[0.1, 0.9]]), Math.exp(-(Math.log(0.1) + Math.log(0.9)) / 2));
});

test("logits and their probabilities agree, however large the logits", () => {
  const logits = [
    [1, 2, 4],
    [0, -3, 0.5],
  ];
  const p = logits.map((row) => row.map((x) => Math.exp(x) / row.reduce((sum, y) => sum + Math.exp(y), 0)));
  near(perplexity([0, 2], logits, { fromLogits: true }), perplexity([0, 2], p));
  const shifted = logits.map((row) => row.map((x) => x + 1024));
  near(perplexity([0, 2], shifted, { fromLogits: true }), perplexity([0, 2], p));
});

test("is infinite where the true class had no chance, and only there", () => {
  assert.is(perplexity([0], [[0, 1]]), Infinity);
  assert.is(perplexity([[0, 1]], [[0, 1]]), 1);
});

test("needs classes", () => {
  assert.throws(
    () => perplexity([0], [[0.5]]),
    (e: unknown) => e instanceof ShapeError && /two or more classes/.test(e.message),
  );
});

test("bits per character are the logarithm of the perplexity to base 2", () => {
  const p = [
    [0.5, 0.5],
    [0.25, 0.75],
  ];
  near(bitsPerCharacter([0, 0], p), 1.5);
  near(bitsPerCharacter([0, 1], p), Math.log2(perplexity([0, 1], p)));
  near(bitsPerCharacter([1], [[5, 5, 5, 5]], { fromLogits: true }), 2);
  assert.is(bitsPerCharacter([0], [[0, 1]]), Infinity);
});

test.run();
