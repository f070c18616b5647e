import { test } from "uvu";
import * as assert from "uvu/assert";
import { type BleuOptions, bleu, OptionError, ShapeError } from "../../../host/index.ts";
import { random } from "../../kit/core.ts";

function near(actual: number, expected: number, error: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= error, `${what}: expected ${expected}, got ${actual}`);
}

// The example of sacreBLEU's documentation, with the scores in its tests (test/test_bleu.py).
const predictions = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."];
const references = [
  ["The dog bit the man.", "The dog had bit the man."],
  ["It was not unexpected.", "No one was surprised."],
  ["The man bit him first.", "The man had bitten the dog."],
];

test("sacreBLEU's documented corpus", () => {
  near(bleu(references, predictions), 48.530827, 1e-6, "default");
  near(bleu(references, predictions, { tokenize: "none" }), 49.1919566, 1e-6, "tokenize none");
  near(bleu(references, predictions, { smoothing: "none" }), 48.530827, 1e-6, "no smoothing");
  assert.is(bleu(references, ["", "", ""]), 0);
});

test("sacreBLEU's smoothings, tokenisations and case, on one sentence (its test/test_sentence_bleu.py)", () => {
  const reference = "producţia de zahăr brut se exprimă în zahăr alb;";
  const prediction = "Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;";
  for (const [options, expected] of [
    [{ smoothing: "exp" }, 8.493],
    [{ smoothing: "none" }, 0],
    [{ smoothing: "floor" }, 4.51688],
    [{ smoothing: "floor", smoothingValue: 0.5 }, 10.1],
    [{ smoothing: "addK" }, 14.882],
    [{ smoothing: "addK", smoothingValue: 2 }, 21.389],
    [{ tokenize: "none" }, 7.347],
    [{ tokenize: "char" }, 40.8759],
    [{ tokenize: "char", lowercase: true }, 42.0267],
  ] as [BleuOptions, number][])
    near(bleu(reference, prediction, { ...options, effectiveOrder: true }), expected, 1e-3, JSON.stringify(options));
});

test("orders that no prediction is long enough for are left out on request", () => {
  const options: BleuOptions = { tokenize: "none", smoothing: "floor", smoothingValue: 0.01 };
  for (const [reference, prediction, expected] of [
    ["a test", "test", 36.78794411714425],
    ["a test", "a test", 100],
    ["a test", "a little test", 3.218297948685433],
    ["this is a test", "this is a fest", 22.3606797749979],
  ] as const)
    near(bleu(reference, prediction, { ...options, effectiveOrder: true }), expected, 1e-9, prediction);
  assert.is(bleu("a test", "a test"), 0);
});

test("counts of the paper's example of clipping: the seven times, in a reference twice", () => {
  const the = "the the the the the the the";
  const unigrams: BleuOptions = { maxOrder: 1, tokenize: "none" };
  near(bleu([["the cat is on the mat", "there is a cat on the mat"]], [the], unigrams), (100 * 2) / 7, 1e-9, "2/7");
});

test("the shorter of two references that are equally near counts", () => {
  const unigrams: BleuOptions = { maxOrder: 1, tokenize: "none" };
  near(bleu([["a b c d e", "a b c"]], ["a b c d"], unigrams), 100, 1e-9, "3 words, no penalty");
  near(bleu([["a b c d e"]], ["a b c d"], unigrams), 100 * Math.exp(1 - 5 / 4), 1e-9, "5 words");
});

test("batches add up to the corpus, in any order of samples and references", () => {
  const state = bleu().create();
  predictions.forEach((prediction, i) => {
    state.update([references[i]], [prediction]);
  });
  assert.is(state.result(), bleu(references, predictions));
  const turned = references.map((own) => [...own].reverse()).reverse();
  near(bleu(turned, [...predictions].reverse()), state.result(), 1e-12, "turned round");
  state.reset();
  state.update([references[0]], [predictions[0]]);
  near(state.result(), 100, 1e-12, "after a reset");
});

test("is 100 for what is equal, never above, and another reference never lowers the precision", () => {
  const next = random(3);
  const sentence = () =>
    Array.from({ length: 4 + Math.floor(next() * 9) }, () => "abcdef"[Math.floor(next() * 6)]).join(" ");
  for (let i = 0; i < 50; i++) {
    const [a, b, c] = [sentence(), sentence(), sentence()];
    near(bleu([a], [a]), 100, 1e-9, a);
    const score = bleu([a], [b]);
    assert.ok(score >= 0 && score <= 100 + 1e-9);
    // Equal lengths, so that the penalty is the same.
    const same = (text: string) => `${text} ${a}`.split(" ").slice(0, b.split(" ").length).join(" ");
    assert.ok(bleu([[same(a), same(c)]], [b]) >= bleu([[same(a)]], [b]) - 1e-9);
  }
});

test("mistakes are named", () => {
  assert.throws(
    () => bleu(["a"], ["a", "b"]),
    (e: unknown) => e instanceof ShapeError && /1 and 2/.test(e.message),
  );
  assert.throws(
    () => bleu([[]], ["a"]),
    (e: unknown) => e instanceof ShapeError && /position 0/.test(e.message),
  );
  assert.throws(
    () => bleu(["a"], [["a"]] as never),
    (e: unknown) => e instanceof ShapeError && /yPred to be texts, got \["a"\]/.test(e.message),
  );
  assert.throws(
    () => bleu([3] as never, ["a"]),
    (e: unknown) => e instanceof ShapeError,
  );
  assert.throws(
    () => bleu(["a"] as never),
    (e: unknown) => e instanceof OptionError && /targets only/.test(e.message),
  );
  for (const options of [
    { tokenize: "14a" },
    { smoothing: "add" },
    { maxOrder: 0 },
    { smoothingValue: -1 },
    { order: 4 },
  ])
    assert.throws(
      () => bleu(options as never),
      (e: unknown) => e instanceof OptionError,
      JSON.stringify(options),
    );
});

test.run();
