import { test } from "uvu";
import * as assert from "uvu/assert";
import { augmented } from "../../examples/digits/augment.js";
import { pick, picture, readDigits, split } from "../../examples/digits/data.js";
import { reportPage } from "../../examples/digits/report.js";
import { judge, likeliest, RECIPE, readRowByRow, train } from "../../examples/digits/train.js";

const digits = readDigits();

test("the file holds 3,823 digits with pixels from 0 to 1", () => {
  assert.equal(digits.x.shape, [3823, 8, 8]);
  assert.is(digits.y.length, 3823);
  const levels = [...new Set(digits.x.data)].sort((a, b) => a - b);
  assert.equal(
    levels,
    Array.from({ length: 17 }, (_, i) => i / 16),
  );
  assert.equal(
    [...new Set(digits.y)].sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  // The first line: 0,1,6,15,12,1,0,0 ... 0
  assert.equal([...picture(digits.x, 0).subarray(0, 8)], [0, 1 / 16, 6 / 16, 15 / 16, 12 / 16, 1 / 16, 0, 0]);
  assert.is(digits.y[0], 0);
});

test("every fifth line is for testing, the others for training", () => {
  const parts = split(digits);
  assert.is(parts.train.y.length, 3059);
  assert.is(parts.test.y.length, 764);
  assert.equal(picture(parts.test.x, 1), picture(digits.x, 9));
  assert.equal(picture(parts.train.x, 4), picture(digits.x, 5));
  assert.is(parts.test.y[1], digits.y[9]);
  assert.is(parts.train.y[4], digits.y[5]);
});

test("an epoch has every digit once, distorted anew, and the same again from the same seed", () => {
  const few = pick(digits, (i) => i < 100);
  const options = { batchSize: 32, seed: 1, ...RECIPE.augment };
  const epoch = augmented(few, options);
  const [first, second] = [[...epoch()], [...epoch()]];
  assert.equal(
    first.map((batch) => batch.x.shape),
    [32, 32, 32, 4].map((n) => [n, 8, 8]),
  );
  const labels = (batches: typeof first) => batches.flatMap((batch) => [...batch.y]);
  assert.equal(labels(first).sort(), [...few.y].sort());
  assert.not.equal(labels(first), labels(second));
  assert.equal([...augmented(few, options)()], first);
});

test("no distortion gives the digits themselves", () => {
  const few = pick(digits, (i) => i < 20);
  const sums = (x: { data: Float32Array }, n: number) =>
    Array.from({ length: n }, (_, i) => picture(x, i).join()).sort();
  const [batch] = augmented(few, { batchSize: 20, seed: 1, move: 0, stretch: 0, slant: 0 })();
  assert.equal(sums(batch.x, 20), sums(few.x, 20));
});

test("two epochs are enough to learn something, and the report needs no network", async () => {
  const parts = split(digits);
  const some = pick(parts.train, (i) => i < 1000);
  const recipe = { ...RECIPE, epochs: 2, batchSize: 16, learningRate: 5e-3 };
  const { model, history } = await train(some, recipe);
  assert.is(history.loss.length, 2);

  // Held-out training digits: the test digits are none of a test's business either.
  const others = pick(parts.train, (i) => i >= 1000 && i < 1500);
  const probabilities = await model.predict(others.x);
  const result = judge(others, probabilities);
  assert.ok(result.accuracy > 0.5, `accuracy ${result.accuracy}; guessing gives 0.1`);
  assert.is(result.wrong.length, Math.round(500 * (1 - result.accuracy)));

  const thoughts = readRowByRow(model, picture(others.x, 0));
  assert.is(thoughts.length, 8);
  assert.equal(thoughts[7], probabilities.data.slice(0, 10), "the last row's thought is the prediction");
  assert.is(likeliest(probabilities)[0], thoughts[7].indexOf(Math.max(...thoughts[7])));

  const page = reportPage({
    counts: { train: some.y.length, test: others.y.length },
    history,
    result,
    reading: { digit: others.y[0], pixels: picture(others.x, 0), thoughts },
    seconds: 1,
    bytes: model.toBytes().length,
    parameters: 99978,
    summary: model.summary(),
    runtime: "test",
    recipe,
  });
  assert.not.match(page, /https?:|\/\/[a-z]|<script|<link|<img|@import|url\(|\ssrc=/i);
  assert.not.match(page, /undefined|NaN|\[object/);
  for (const heading of ["Learning", "Confusion", "Digit by digit", "Mistakes", "Row by row", "Model and recipe"])
    assert.ok(page.includes(`<h2>${heading}</h2>`), heading);
  model.dispose();
});

test.run();
