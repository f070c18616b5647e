/**
 * Dates in words to digits, letter by letter: "wed the thirtieth of july, twenty thirty-six" to 2036-07-30.
 *
 *   node examples/dates/train.js [--quick] [--seed N]
 *
 * An encoder reads the phrase from both ends, a decoder writes the digits and looks back at the letters that each of
 * them comes from. Phrases are generated (phrases.js). The days of the test are no days of the training, so every one
 * of its phrases is new, and the figure is how many are right to the last digit.
 */
import { pathToFileURL } from "node:url";
import { adam, oneCycle, progress } from "gruvy";
import { seq2seq } from "gruvy/seq2seq";
import { command } from "../common/command.js";
import { below, randomNumbers, shuffle } from "../common/random.js";
import { dates, example, SOURCE, TARGET, text, tokens } from "./phrases.js";

export const RECIPE = {
  phrases: 20_000,
  held: 500,
  test: 2000,
  units: 64,
  embedding: 32,
  epochs: 5,
  batchSize: 64,
  learningRate: 6e-3,
  scheduledSampling: 0.1,
  beamWidth: 4,
};

/** Seconds. */
export const QUICK = {
  ...RECIPE,
  phrases: 1500,
  held: 100,
  test: 100,
  units: 32,
  embedding: 16,
  epochs: 2,
  batchSize: 32,
};

/** `count` phrases for days drawn from a list, as tokens and as text. */
export function phrasesFor(days, count, random) {
  const pairs = Array.from({ length: count }, () => example(days[below(random, days.length)], random));
  return {
    pairs,
    sources: pairs.map(({ phrase }) => tokens(phrase, SOURCE)),
    targets: pairs.map(({ digits }) => tokens(digits, TARGET)),
  };
}

/** Phrases to train on, to watch and to test with, of different days. */
export function draw({ phrases, held, test }, random) {
  const days = shuffle(dates(), random);
  return {
    test: phrasesFor(days.slice(0, test), test, random),
    held: phrasesFor(days.slice(test, test + held), held, random),
    train: phrasesFor(days.slice(test + held), phrases, random),
  };
}

/** The translations, what is wrong among them, and the part that is right to the last character. */
export async function judge(translator, { pairs, sources }, options) {
  const found = await translator.translate(sources, { maxLength: 12, ...options });
  const written = found.map((own) => text(own, TARGET));
  const wrong = pairs.flatMap(({ phrase, digits }, i) =>
    written[i] === digits ? [] : [{ phrase, digits, written: written[i] }],
  );
  return { written, wrong, exact: 1 - wrong.length / pairs.length };
}

/** @type {(options: import("../common/command.js").Options) => Promise<import("../common/command.js").Result>} */
export async function run({ quick, seed, log }) {
  const recipe = quick ? QUICK : RECIPE;
  const { units, embedding, epochs, batchSize, learningRate, scheduledSampling, beamWidth } = recipe;
  const data = draw(recipe, randomNumbers(seed));
  log(`${data.train.pairs.length} phrases to train on, ${data.test.pairs.length} of other days to test with, such as`);
  for (const { phrase, digits } of data.test.pairs.slice(0, 4)) log(`  ${digits}  ${phrase}`);

  const translator = await seq2seq({
    sourceTokens: SOURCE.length + 1,
    targetTokens: TARGET.length + 1,
    units,
    embedding,
    seed,
  });
  const totalSteps = epochs * Math.ceil(data.train.pairs.length / batchSize);
  translator.compile({
    optimizer: adam({ learningRate: oneCycle({ maxLearningRate: learningRate, totalSteps }), globalClipNorm: 1 }),
  });
  await translator.fit(data.train.sources, data.train.targets, {
    epochs,
    batchSize,
    scheduledSampling,
    validationData: [data.held.sources, data.held.targets],
    callbacks: [progress({ write: log })],
  });

  const greedy = await judge(translator, data.test);
  const beam = await judge(translator, data.test, { beamWidth });
  for (const { phrase, digits, written } of beam.wrong.slice(0, 5))
    log(`wrong: ${phrase}: ${digits}, written ${written}`);
  return {
    model: translator,
    figures: [
      [`exact, ${data.test.pairs.length} phrases of unseen days, beam of ${beamWidth}`, beam.exact],
      ["exact, greedy", greedy.exact],
      ["goal", 0.99],
    ],
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await command(run);
