import { test } from "uvu";
import * as assert from "uvu/assert";
import { randomNumbers } from "../../examples/common/random.js";
import { batchOf, madeUp, statistics, stratified } from "../../examples/vowels/data.js";
import { nearestSpeakers } from "../../examples/vowels/neighbour.js";
import { run } from "../../examples/vowels/train.js";

const made = () => madeUp({ speakers: 3, each: 10, width: 2 }, randomNumbers(1));

test("folds hold every utterance once, and as many of each speaker", () => {
  const utterances = made();
  const folds = stratified(utterances, 5, randomNumbers(2));
  assert.equal(new Set(folds.flat()).size, 30);
  for (const fold of folds) assert.equal(fold.map(({ speaker }) => speaker).sort(), [0, 0, 1, 1, 2, 2]);
});

test("a batch is scaled by the statistics given, and padded with zeros", () => {
  const frames = [
    [1, 10],
    [3, 30],
  ];
  const { means, deviations } = statistics(frames);
  assert.equal(
    [means, deviations],
    [
      [2, 20],
      [1, 10],
    ],
  );
  const { x, y, lengths } = batchOf(
    [
      { speaker: 1, frames },
      { speaker: 0, frames: [[2, 0]] },
    ],
    { means, deviations },
  );
  assert.equal(x.shape, [2, 2, 2]);
  assert.equal([...x.data], [-1, -1, 1, 1, 0, -2, 0, 0]);
  assert.equal(
    [[...y], [...lengths]],
    [
      [1, 0],
      [2, 1],
    ],
  );
});

test("the nearest utterance of all is one's own", () => {
  const utterances = made();
  assert.equal(
    nearestSpeakers(utterances, utterances),
    utterances.map(({ speaker }) => speaker),
  );
});

test("the quick form hears who speaks", async () => {
  const { figures, model } = await run({ quick: true, seed: 1, log: () => {} });
  const [[, accuracy]] = figures as [string, number][];
  assert.ok(accuracy > 0.8, `${JSON.stringify(figures)}; guessing gives 0.25`);
  model.dispose();
});

test.run();
