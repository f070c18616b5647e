import { test } from "uvu";
import * as assert from "uvu/assert";
import { ngramModel, OptionError, ShapeError } from "../../../host/index.ts";

const near = (actual: number, expected: number, what: string) =>
  assert.ok(Math.abs(actual - expected) < 1e-12, `${what}: expected ${expected}, got ${actual}`);

test("Witten and Bell's rule, by hand", () => {
  // "aab" and "ab": after a comes a once, b twice; single symbols: a 3, b 2, the end 2.
  const model = ngramModel(["aab", "ab"], { order: 2 });
  const uniform = 1 / 4; // a, b, the end, anything else
  const a = (3 + 3 * uniform) / (7 + 3);
  const b = (2 + 3 * uniform) / (7 + 3);
  const other = (3 * uniform) / (7 + 3);
  near(model.logProbability("a", ["a"]), Math.log((1 + 2 * a) / (3 + 2)), "a after a");
  near(model.logProbability("b", ["x", "a"]), Math.log((2 + 2 * b) / (3 + 2)), "b after a");
  near(model.logProbability("z", ["a"]), Math.log((2 * other) / (3 + 2)), "what was never seen");
  near(model.logProbability("a", []), Math.log((2 + 1 * a) / (2 + 1)), "a at the beginning");
  near(model.logProbability(undefined, ["b"]), Math.log((2 + b) / (2 + 1)), "the end after b");
  near(model.logProbability("b", ["z"]), Math.log(b), "after what was never seen");
});

test("the probabilities of every context add up to 1", () => {
  const texts = ["the cat sat", "the hat", "a cat", ""];
  for (const order of [1, 2, 3, 5, 9]) {
    const model = ngramModel(texts, { order });
    assert.is(model.order, order);
    for (const context of ["", "t", "th", "the c", "zz", "the cat sa", "xthe"]) {
      const all = [...model.vocabulary, undefined, "unseen"];
      const sum = all.reduce((total, next) => total + Math.exp(model.logProbability(next, Array.from(context))), 0);
      near(sum, 1, `order ${order} after "${context}"`);
    }
  }
});

test("longer contexts say more, and what was seen is likelier", () => {
  const texts = Array.from({ length: 20 }, (_, i) => (i % 2 ? "abcabcabc" : "acbacbacb"));
  const scores = [1, 2, 3, 4].map((order) => ngramModel(texts, { order }).score("abcabcabc"));
  for (let i = 1; i < scores.length; i++) assert.ok(scores[i] > scores[i - 1], scores.join(" "));
  const model = ngramModel(texts, { order: 3 });
  assert.ok(model.score("abcabc") > model.score("abccba"));
  assert.ok(Number.isFinite(model.score("not at all")));
});

test("texts are strings by code points, or symbols", () => {
  const words = ngramModel(
    [
      ["New", "York"],
      ["New", "Delhi"],
    ],
    { order: 2 },
  );
  assert.equal(words.vocabulary, ["New", "York", "Delhi"]);
  assert.is(words.logProbability("York", ["New"]), words.logProbability("Delhi", ["New"]));
  assert.equal(ngramModel(["🙂a"]).vocabulary, ["🙂", "a"]);
  assert.is(ngramModel(["🙂a"]).score("🙂a"), ngramModel([["🙂", "a"]]).score(["🙂", "a"]));
});

test("mistakes are named", () => {
  assert.throws(
    () => ngramModel("text" as never),
    (e: unknown) => e instanceof ShapeError && /a list of texts/.test(e.message),
  );
  assert.throws(
    () => ngramModel([3] as never),
    (e: unknown) => e instanceof ShapeError,
  );
  assert.throws(
    () => ngramModel(["a"], { order: 0 }),
    (e: unknown) => e instanceof OptionError,
  );
  assert.throws(
    () => ngramModel(["a"], { n: 3 } as never),
    (e: unknown) => e instanceof OptionError && /unknown option "n"/.test(e.message),
  );
});

test.run();
