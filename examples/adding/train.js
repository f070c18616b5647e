/**
 * The adding problem: remember two numbers for hundreds of steps.
 *
 *   node examples/adding/train.js [--quick] [--seed N]
 *
 * A sequence has 600 steps of two features, a random number in [0, 1] and a marker. The marker is 1 at one step of each
 * half and 0 elsewhere; the target is the sum of the two marked numbers. Whoever cannot remember does best by saying 1
 * always: a squared error of 1/6. (Hochreiter and Schmidhuber 1997; the form here is that of Bai, Kolter, Koltun 2018.)
 */
import { pathToFileURL } from "node:url";
import { adam, dense, exponentialDecay, gru, progress, sequential } from "gruvy";
import { chrono } from "../common/chrono.js";
import { command } from "../common/command.js";
import { below, randomNumbers } from "../common/random.js";
import { until } from "../common/until.js";

/**
 * Sequences grow to their full number of `steps`: they begin with `first` and double whenever an epoch's error has been
 * below `known`. Training ends when the error on validation sequences is below `goal`.
 *
 * Seed 1: 2.8e-4 after 6,000 steps, of which 4,200 had the full length; below 1e-3 for good from step 3,200 on. Six and a half
 * minutes of one core.
 */
export const RECIPE = {
  steps: 600,
  first: 20,
  known: 3e-3,
  units: 64,
  batchSize: 32,
  batches: 100,
  epochs: 60,
  learningRate: 5e-3,
  decay: 0.95,
  goal: 3e-5,
  held: 1000,
};

/** Short sequences: seconds. */
export const QUICK = { ...RECIPE, steps: 40, units: 24, epochs: 15, learningRate: 1e-2, goal: 1e-3, held: 200 };

/** `count` sequences: x [count, steps, 2] and y [count, 1]. */
export function sequences(count, steps, random) {
  const x = { shape: [count, steps, 2], data: new Float32Array(count * steps * 2) };
  const y = { shape: [count, 1], data: new Float32Array(count) };
  const half = Math.floor(steps / 2);
  for (let i = 0; i < count; i++) {
    const at = (t) => (i * steps + t) * 2;
    for (let t = 0; t < steps; t++) x.data[at(t)] = random();
    for (const t of [below(random, half), half + below(random, steps - half)]) {
      x.data[at(t) + 1] = 1;
      y.data[i] += x.data[at(t)];
    }
  }
  return { x, y };
}

/** @type {(options: import("../common/command.js").Options) => Promise<import("../common/command.js").Result>} */
export async function run({ quick, seed, log }) {
  const { steps, first, known, units, batchSize, batches, epochs, learningRate, decay, goal, held } = quick
    ? QUICK
    : RECIPE;
  const random = randomNumbers(seed);
  const validation = sequences(held, steps, random);
  const test = sequences(held, steps, random);

  const model = await sequential([gru(units), dense(1)], { inputShape: [null, 2], seed });
  chrono(model, "gru", steps, random);
  model.compile({
    loss: "meanSquaredError",
    // A long sequence now and then has a gradient many times the usual one: clipping keeps it from undoing what is learned.
    optimizer: adam({ learningRate: exponentialDecay({ learningRate, gamma: decay }), globalClipNorm: 1 }),
  });

  let length = first;
  /** Sequences are never seen twice: an epoch is so many new ones. In short ones it is soon found out what matters. */
  function* fresh() {
    for (let i = 0; i < batches; i++) yield sequences(batchSize, length, random);
  }
  const grow = {
    name: "grow",
    onEpochEnd(_epoch, { loss }) {
      if (loss >= known || length === steps) return;
      length = Math.min(2 * length, steps);
      log(`from now on ${length} steps`);
    },
  };
  log(`epochs of ${batches} batches of ${batchSize} new sequences; ${length} steps at first, ${steps} in the end`);
  const { history } = await model.fit(fresh, {
    epochs,
    validationData: [validation.x, validation.y],
    callbacks: [progress({ write: log }), grow, until(goal)],
  });

  const { loss } = await model.evaluate(test.x, test.y);
  return {
    model,
    figures: [
      [`mean squared error on ${held} other sequences`, loss],
      ["floor: always 1", 1 / 6],
      ["GRU, Bai et al. 2018 (arXiv:1803.01271, table 1)", 5.3e-5],
      ["training steps", batches * history.loss.length],
    ],
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await command(run);
