/**
 * Connected spoken digits, spelled: "three one four one five". Bidirectional GRUs and CTC.
 *
 *   node examples/spoken-digits/train.js --data DIR [--seed N]      or, without data: --quick
 *
 * DIR/recordings has recordings of single digits at 8 kHz, {digit}_{speaker}_{index}.wav, of the Free Spoken Digit
 * Dataset (Jackson and others; CC BY-SA 4.0). Three to seven of them, whoever speaks, are joined to an utterance without
 * a pause. Nothing says where a digit or a letter begins: CTC (Graves et al. 2006) learns that from the spelling alone.
 *
 * The figure is the word error rate on utterances of recordings that were not trained on: words left out, put in or
 * replaced, over the number of words.
 */
import { pathToFileURL } from "node:url";
import {
  adamW,
  bidirectional,
  ctc,
  ctcBeamSearch,
  ctcGreedy,
  dense,
  dropout,
  gru,
  ngramModel,
  oneCycle,
  progress,
  sequential,
  wordErrorRate,
} from "gruvy";
import { command } from "../common/command.js";
import { randomNumbers, shuffle } from "../common/random.js";
import { joined, madeUp, readRecordings, SYMBOLS } from "./data.js";
import { batchOf, spelled, statistics, WIDTH } from "./features.js";

/**
 * Seed 1: 4.6 % of 800 words by the most likely letters, 2.1 % by beam search; 70 seconds of one core. Nothing was tuned.
 */
export const RECIPE = {
  units: 96,
  dropout: 0.3,
  batchSize: 8,
  epochs: 40,
  learningRate: 4e-3,
  weightDecay: 0.01,
  /** How often the test recordings are joined anew: more utterances, the same recordings. */
  rounds: 4,
};

/** Three made-up digits: seconds. */
export const QUICK = {
  ...RECIPE,
  units: 24,
  dropout: 0.1,
  epochs: 9,
  learningRate: 2e-2,
  rounds: 1,
  madeUp: { digits: 3, each: 80 },
};

/** The same recordings joined `rounds` times, each time otherwise. */
const joinedOften = (recordings, rounds, random) =>
  Array.from({ length: rounds }, () => joined(recordings, random)).flat();

/** A source of batches for `fit`: each epoch joins the recordings anew; utterances of about the same length go together. */
export function freshBatches(recordings, scaling, batchSize, random) {
  return function* epoch() {
    const utterances = joined(recordings, random).sort((a, b) => a.samples.length - b.samples.length);
    const batches = [];
    for (let from = 0; from < utterances.length; from += batchSize)
      batches.push(utterances.slice(from, from + batchSize));
    for (const batch of shuffle(batches, random)) yield batchOf(batch, scaling);
  };
}

/** @type {(options: import("../common/command.js").Options) => Promise<import("../common/command.js").Result>} */
export async function run({ data, quick, seed, log }) {
  const recipe = quick ? QUICK : RECIPE;
  const { units, batchSize, epochs, learningRate, weightDecay, rounds } = recipe;
  const random = randomNumbers(seed);
  const recordings = quick ? madeUp(recipe.madeUp, random) : readRecordings(data);
  // Utterances to test with are the same for all seeds.
  const test = joinedOften(recordings.test, rounds, randomNumbers(0));
  const valid = joinedOften(recordings.valid, rounds, randomNumbers(0));
  const train = joined(recordings.train, random);
  const scaling = statistics(train);

  const model = await sequential(
    [
      bidirectional(gru(units, { returnSequences: true })),
      dropout(recipe.dropout),
      bidirectional(gru(units, { returnSequences: true })),
      dropout(recipe.dropout),
      dense(SYMBOLS.length, { activation: "softmax" }),
    ],
    { inputShape: [null, WIDTH], seed },
  );
  // Joining anew makes a few batches more or less of an epoch; the rate has fallen to almost nothing when it matters.
  const totalSteps = epochs * Math.ceil(train.length / batchSize);
  model.compile({
    loss: ctc(),
    optimizer: adamW({
      learningRate: oneCycle({ maxLearningRate: learningRate, totalSteps }),
      weightDecay,
      globalClipNorm: 1,
    }),
  });
  log(`${recordings.train.length} recordings in about ${train.length} utterances an epoch`);
  await model.fit(freshBatches(recordings.train, scaling, batchSize, random), {
    epochs,
    validationData: batchOf(valid, scaling),
    callbacks: [progress({ write: log })],
  });

  const { x, lengths } = batchOf(test, scaling);
  const posteriors = await model.predict(x, { lengths });
  const texts = test.map(({ text }) => text);
  const greedy = ctcGreedy(posteriors, { lengths }).map(({ labels }) => spelled(labels));
  // Which letter may follow which others, from the texts trained on: so that words come out that there are.
  const languageModel = ngramModel(
    train.map(({ text }) => text),
    { order: 6 },
  );
  const beam = ctcBeamSearch(posteriors, { lengths, languageModel, symbols: SYMBOLS }).map(({ labels }) =>
    spelled(labels),
  );
  const mistaken = greedy.findIndex((text, i) => text !== texts[i]);
  if (mistaken >= 0) log(`\nsaid:  ${texts[mistaken]}\nheard: ${greedy[mistaken]}`);
  return {
    model,
    figures: [
      ["word error rate, most likely letters", wordErrorRate(texts, greedy)],
      ["word error rate, beam search with letter 6-grams", wordErrorRate(texts, beam)],
      ["floor: nothing heard", 1],
      ["words in test utterances", texts.join(" ").split(" ").length],
    ],
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await command(run, { data: "recordings/ of https://github.com/Jakobovski/free-spoken-digit-dataset" });
