import { test } from "uvu";
import * as assert from "uvu/assert";
import { type RougeScores, rouge, ShapeError } from "../../../host/index.ts";
import { random } from "../../kit/core.ts";

function near(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-12, `${what}: expected ${expected}, got ${actual}`);
}

function check(scores: RougeScores, kind: keyof RougeScores, [precision, recall, f1]: readonly number[]): void {
  near(scores[kind].precision, precision, `${kind} precision`);
  near(scores[kind].recall, recall, `${kind} recall`);
  near(scores[kind].f1, f1, `${kind} f1`);
}

test("the example of Lin 2004, section 3.1", () => {
  const reference = "police killed the gunman";
  for (const [prediction, score] of [
    ["police kill the gunman", 3 / 4],
    ["the gunman kill police", 2 / 4],
    ["the gunman police killed", 2 / 4],
  ] as const)
    check(rouge(reference, prediction), "rougeL", [score, score, score]);
  // Bigrams cannot tell the first two apart: "the gunman" is all that they share.
  check(rouge(reference, "police kill the gunman"), "rouge2", [1 / 3, 1 / 3, 1 / 3]);
  check(rouge(reference, "the gunman kill police"), "rouge2", [1 / 3, 1 / 3, 1 / 3]);
});

test("the values in the tests of rouge-score", () => {
  const reference = "testing one two";
  check(rouge(reference, "testing"), "rouge1", [1, 1 / 3, 1 / 2]);
  check(rouge(reference, "testing one"), "rouge1", [1, 2 / 3, 4 / 5]);
  check(rouge(reference, "testing one"), "rouge2", [1, 1 / 2, 2 / 3]);
  check(rouge(reference, "testing one"), "rougeL", [1, 2 / 3, 4 / 5]);
  check(rouge(reference, "testing two"), "rougeL", [1, 2 / 3, 4 / 5]);
  for (const kind of ["rouge1", "rouge2", "rougeL"] as const) {
    check(rouge(reference, ""), kind, [0, 0, 0]);
    check(rouge("", "w1"), kind, [0, 0, 0]);
    check(rouge(reference, "/"), kind, [0, 0, 0]);
  }
});

test("case and punctuation do not count, repeated words only as often as in both", () => {
  check(rouge("Hello, World-wide web!", "hello world wide web web"), "rouge1", [4 / 5, 1, 8 / 9]);
  check(rouge("a a b", "a a a a"), "rouge1", [2 / 4, 2 / 3, 4 / 7]);
});

test("of several references the best F counts, and texts are averaged", () => {
  check(rouge([["one two three four", "one two"]], ["one two"]), "rouge1", [1, 1, 1]);
  const both = rouge(["a b", "c d"], ["a b", "c x"]);
  check(both, "rouge1", [3 / 4, 3 / 4, 3 / 4]);
  const state = rouge().create();
  state.update("a b", "a b");
  state.update("c d", "c x");
  assert.equal(state.result(), both);
});

test("is 1 for what is equal, and symmetric but for the roles of precision and recall", () => {
  const next = random(5);
  const text = () => Array.from({ length: 2 + Math.floor(next() * 7) }, () => "abcd"[Math.floor(next() * 4)]).join(" ");
  for (let i = 0; i < 50; i++) {
    const [a, b] = [text(), text()];
    const [ab, ba] = [rouge(a, b), rouge(b, a)];
    for (const kind of ["rouge1", "rouge2", "rougeL"] as const) {
      check(rouge(a, a), kind, [1, 1, 1]);
      check(ab, kind, [ba[kind].recall, ba[kind].precision, ba[kind].f1]);
      assert.ok(ab.rougeL.f1 <= ab.rouge1.f1 + 1e-12);
    }
  }
});

test("texts are needed", () => {
  assert.throws(
    () => rouge(["a"], [1] as never),
    (e: unknown) => e instanceof ShapeError,
  );
});

test.run();
