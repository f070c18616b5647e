/**
 * Copy memory: hear ten symbols, wait, say them again.
 *
 *   node examples/copy-memory/train.js [--quick] [--seed N]
 *
 * A sequence begins with ten symbols from 1 to 8; then come T - 1 blanks (0) and a run of eleven signs (9) that ask for
 * the answer. The target is blank until the last ten steps, which are the symbols in their order. The loss is the
 * cross-entropy, averaged over all T + 20 steps; whoever remembers nothing guesses the symbols: 10 ln 8 / (T + 20).
 * (Hochreiter and Schmidhuber 1997; Arjovsky, Shah, Bengio 2016; the form of Bai, Kolter, Koltun 2018.)
 */
import { pathToFileURL } from "node:url";
import { adam, cosineDecay, dense, embedding, gru, progress, sequential } from "gruvy";
import { chrono } from "../common/chrono.js";
import { command } from "../common/command.js";
import { below, randomNumbers } from "../common/random.js";
import { until } from "../common/until.js";

const SYMBOLS = 8;
const BLANK = 0;
const ANSWER = SYMBOLS + 1;
const CLASSES = SYMBOLS + 2;

/**
 * `wait` is T. Sequences grow to their full length: one symbol more, and a longer wait, whenever an epoch has lost less
 * than `known` nats a symbol. Training ends when the loss on validation sequences is below `goal`.
 *
 * Seed 1: 3.8e-4, 99.5 % of the sequences without a mistake; full length from epoch 38 on. Seven minutes of one core.
 */
export const RECIPE = {
  wait: 50,
  symbols: 10,
  known: 0.2,
  units: 128,
  batchSize: 32,
  batches: 50,
  epochs: 250,
  learningRate: 1e-2,
  goal: 3e-4,
  held: 1000,
};

/** Three symbols and a short wait: seconds. */
export const QUICK = { ...RECIPE, wait: 9, symbols: 3, units: 32, epochs: 40, goal: 1e-2, held: 200 };

const stepsOf = ({ wait, symbols }) => wait + 2 * symbols;

/** `count` sequences: tokens x and labels y, both [count, wait + 2 symbols]. */
export function sequences(count, { wait, symbols }, random) {
  const steps = stepsOf({ wait, symbols });
  const x = { shape: [count, steps], data: new Int32Array(count * steps).fill(BLANK) };
  const y = { shape: [count, steps], data: new Int32Array(count * steps).fill(BLANK) };
  for (let i = 0; i < count; i++) {
    const begin = i * steps;
    const end = begin + steps;
    for (let s = 0; s < symbols; s++) x.data[begin + s] = y.data[end - symbols + s] = 1 + below(random, SYMBOLS);
    x.data.fill(ANSWER, end - symbols - 1, end);
  }
  return { x, y };
}

/**
 * The part of sequences that are said again without a mistake.
 *
 * @param {{ y: { data: Int32Array } }} sequences
 * @param {import("gruvy").Tensor} probabilities [count, steps, classes]
 */
export function exact({ y }, { shape: [count, steps], data }) {
  let right = 0;
  for (let i = 0; i < count; i++) {
    const said = (t) => {
      const scores = data.subarray((i * steps + t) * CLASSES, (i * steps + t + 1) * CLASSES);
      return scores.indexOf(Math.max(...scores));
    };
    right += y.data.subarray(i * steps, (i + 1) * steps).every((label, t) => said(t) === label) ? 1 : 0;
  }
  return right / count;
}

/** @type {(options: import("../common/command.js").Options) => Promise<import("../common/command.js").Result>} */
export async function run({ quick, seed, log }) {
  const recipe = quick ? QUICK : RECIPE;
  const { wait, symbols, known, units, batchSize, batches, epochs, learningRate, goal, held } = recipe;
  const steps = stepsOf(recipe);
  const random = randomNumbers(seed);
  const validation = sequences(held, recipe, random);
  const test = sequences(held, recipe, random);

  const model = await sequential(
    [
      // Signs as different from each other as can be: small random vectors, the default, take twice the training.
      embedding(CLASSES, CLASSES, { embeddingsInitializer: "orthogonal" }),
      gru(units, { returnSequences: true }),
      dense(CLASSES, { activation: "softmax" }),
    ],
    { inputShape: [null], seed },
  );
  chrono(model, "gru", steps, random);
  model.compile({
    loss: "sparseCategoricalCrossentropy",
    optimizer: adam({ learningRate: cosineDecay({ learningRate, total: epochs * batches }), globalClipNorm: 1 }),
  });

  let count = 1;
  const size = () => ({ wait: Math.ceil((wait * count) / symbols), symbols: count });
  /**
   * Sequences are never seen twice: an epoch is so many new ones. Short ones come first: of ten symbols a beginner gets
   * none right before nearly all are remembered, so nothing says which way is better.
   */
  function* fresh() {
    for (let i = 0; i < batches; i++) yield sequences(batchSize, size(), random);
  }
  const grow = {
    name: "grow",
    onEpochEnd(_epoch, { loss }) {
      const now = size();
      const lostPerSymbol = (loss * stepsOf(now)) / now.symbols;
      if (lostPerSymbol >= known || count === symbols) return;
      count++;
      log(`${now.symbols} remembered; from now on ${count}`);
    },
  };
  log(
    `epochs of ${batches} batches of ${batchSize} new sequences; in the end ${symbols} symbols, ${wait - 1} blanks between`,
  );
  const { history } = await model.fit(fresh, {
    epochs,
    validationData: [validation.x, validation.y],
    callbacks: [progress({ write: log }), grow, until(goal)],
  });

  const { loss } = await model.evaluate(test.x, test.y);
  return {
    model,
    figures: [
      [`cross-entropy a step, ${held} other sequences`, loss],
      ["floor: remembers nothing", (symbols * Math.log(SYMBOLS)) / steps],
      ["sequences said again without a mistake", exact(test, await model.predict(test.x))],
      ["training steps", batches * history.loss.length],
    ],
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await command(run);
