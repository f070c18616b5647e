import { test } from "uvu";
import * as assert from "uvu/assert";
import { characterErrorRate, editDistance, OptionError, ShapeError, wordErrorRate } from "../../../host/index.ts";
import { random } from "../../kit/core.ts";

test("distances that everyone knows", () => {
  for (const [a, b, distance] of [
    ["kitten", "sitting", 3],
    ["Saturday", "Sunday", 3],
    ["intention", "execution", 5],
    ["flaw", "lawn", 2],
    ["", "abc", 3],
    ["abc", "abc", 0],
    ["日本語", "日本", 1],
    ["🙂🙃", "🙃", 1],
  ] as const) {
    assert.is(editDistance(a, b), distance, `${a}, ${b}`);
    assert.is(editDistance(b, a), distance, `${b}, ${a}`);
  }
  assert.is(editDistance([1, 2, 3], [1, 3]), 1);
  assert.is(editDistance(["a b"], ["a", "b"]), 2);
  assert.throws(
    () => editDistance(3 as never, "a"),
    (e: unknown) => e instanceof ShapeError,
  );
});

/** By the definition. */
function naive(a: string, b: string): number {
  if (!a || !b) return a.length + b.length;
  return Math.min(
    naive(a.slice(1), b.slice(1)) + Number(a[0] !== b[0]),
    naive(a.slice(1), b) + 1,
    naive(a, b.slice(1)) + 1,
  );
}

test("is a metric, and what the definition says", () => {
  const next = random(1);
  const word = (most: number) =>
    Array.from({ length: Math.floor(next() * most) }, () => "ab c"[Math.floor(next() * 4)]).join("");
  for (let i = 0; i < 200; i++) {
    const [a, b, c] = [word(7), word(7), word(7)];
    assert.is(editDistance(a, b), naive(a, b), `${a}, ${b}`);
    assert.is(editDistance(a, b), editDistance(b, a));
    assert.ok(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c));
    assert.is(editDistance(a, b) === 0, a === b);
    assert.is(editDistance(`x${a}y`, `x${b}y`), editDistance(a, b));
  }
});

test("word error rates of Morris, Maier and Green 2004, and of jiwer's tests", () => {
  for (const [reference, prediction, rate] of [
    ["X", "X", 0],
    ["X", "X X Y Y", 3],
    ["X Y X", "X Z", 2 / 3],
    ["X", "Y", 1],
    ["X", "Y Z", 2],
    ["This is a test", "", 1],
    ["This is a test", "This test", 0.5],
    ["i am a short ground truth", "i am a considerably longer and very much incorrect hypothesis", 7 / 6],
  ] as const)
    assert.is(wordErrorRate(reference, prediction), rate, prediction);
});

test("character error rates of jiwer's tests", () => {
  for (const [reference, prediction, rate] of [
    ["X", "X X Y Y", 6],
    ["X Y X", "X Z", 3 / 5],
    ["X", "Y Z", 3],
    ["This is a test", "This test", 5 / 14],
  ] as const)
    assert.is(characterErrorRate(reference, prediction), rate, prediction);
  assert.is(characterErrorRate(["i", "am i good"], ["i am", "i good"]), 0.6);
  assert.is(characterErrorRate(["i", "am i good"], ["i am", "y good"]), 0.7);
});

test("edits and lengths are summed over texts, and over batches", () => {
  assert.is(wordErrorRate(["one two", "three"], ["one", "three"]), 1 / 3);
  const state = wordErrorRate().create();
  state.update("one two", "one");
  state.update("three", "three");
  assert.is(state.result(), 1 / 3);
  assert.is(wordErrorRate("  one \t two\n", "one two"), 0);
  assert.ok(Number.isNaN(wordErrorRate([], [])));
  assert.is(wordErrorRate("", "word"), Infinity);
});

test("mistakes are named", () => {
  assert.throws(
    () => wordErrorRate(["a", "b"], ["a"]),
    (e: unknown) =>
      e instanceof ShapeError &&
      /wordErrorRate\(\): expected as many texts in yTrue as in yPred, got 2 and 1/.test(e.message),
  );
  assert.throws(
    () => wordErrorRate([["a"]] as never, ["a"]),
    (e: unknown) => e instanceof ShapeError,
  );
  assert.throws(
    () => characterErrorRate({ words: 1 } as never),
    (e: unknown) => e instanceof OptionError,
  );
});

test.run();
