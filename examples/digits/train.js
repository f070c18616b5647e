/**
 * Handwritten digits, read row by row by three GRUs.
 *
 *   npm start        or, once built: node examples/digits/train.js
 *
 * Trains, tests, saves the model, loads it again, lets it read one digit a row at a time, and writes a report:
 * digits-report/index.html.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  adamW,
  classificationReport,
  confusionMatrix,
  dense,
  dropout,
  gru,
  loadModel,
  oneCycle,
  runtimeInfo,
  sequential,
  sparseCategoricalCrossentropy,
} from "gruvy";
import { augmented } from "./augment.js";
import { progressBar } from "./bar.js";
import { COLUMNS, picture, ROWS, readDigits, split } from "./data.js";
import { reportPage } from "./report.js";
import { classTable, readingLine, readingTitle } from "./text.js";

/**
 * How to train. Chosen by fourfold cross-validation inside the training digits: position % 4 among them is the fold
 * held out, and all runs last a fixed number of epochs. Of 3,059 digits, each held out once, these were read wrong; one
 * number a seed (1, or 1, 2, 3):
 *
 *   39           30 epochs, rate 0.003, no distortion
 *   28           the same with distortion (0.7 pixels, 10 % stretch, 15 % slant)
 *   27, 28, 22   24 epochs with more of it (15 % stretch, 25 % slant)
 *   22, 27, 24   the same at rate 0.005, with dropout 0.1 and label smoothing 0.05
 *   19, 24, 19   this recipe: 30 epochs at rate 0.004
 *
 * Being the best of fifteen tried, it is a little flattered; three mistakes more or less are chance, and distortion is
 * what helps. The test digits chose nothing. They were read once before with another recipe, the one with 28 mistakes
 * above (12 of 764 wrong), while this search was under way.
 */
export const RECIPE = {
  seed: 1,
  epochs: 30,
  batchSize: 32,
  learningRate: 4e-3,
  dropout: 0.1,
  labelSmoothing: 0.05,
  augment: { move: 0.7, stretch: 0.15, slant: 0.25 },
};

/** A model that takes 8 rows of 8 pixels and gives the probabilities of 10 digits, ready to train for `steps` steps. */
export async function buildModel(steps, recipe = RECIPE) {
  const model = await sequential(
    [
      gru(128, { returnSequences: true }),
      dropout(recipe.dropout),
      gru(64, { returnSequences: true }),
      dropout(recipe.dropout),
      gru(32),
      dropout(recipe.dropout),
      dense(10, { activation: "softmax" }),
    ],
    { inputShape: [ROWS, COLUMNS], seed: recipe.seed },
  );
  model.compile({
    loss: sparseCategoricalCrossentropy({ labelSmoothing: recipe.labelSmoothing }),
    // The rate rises for 30 % of the steps, then falls to almost nothing: what is learned last is learned gently.
    optimizer: adamW({
      learningRate: oneCycle({ maxLearningRate: recipe.learningRate, totalSteps: steps }),
      weightDecay: 0.01,
      globalClipNorm: 1,
    }),
    metrics: ["accuracy"],
  });
  return model;
}

/** Trains a new model; every epoch sees every digit, distorted anew. */
export async function train(digits, recipe = RECIPE, callbacksFor = (_batches) => []) {
  const { epochs, batchSize, seed, augment } = recipe;
  const batches = Math.ceil(digits.y.length / batchSize);
  const model = await buildModel(epochs * batches, recipe);
  const source = augmented(digits, { batchSize, seed, ...augment });
  const { history } = await model.fit(source, { epochs, callbacks: callbacksFor(batches) });
  return { model, history };
}

/** The likeliest digit, for each row of probabilities [count, 10]. */
export function likeliest(probabilities) {
  const [count, classes] = probabilities.shape;
  return Int32Array.from({ length: count }, (_, i) => {
    const row = probabilities.data.subarray(i * classes, (i + 1) * classes);
    return row.indexOf(Math.max(...row));
  });
}

/** Everything there is to say about predictions for digits that are known. */
export function judge({ x, y }, probabilities) {
  const predicted = likeliest(probabilities);
  const wrong = [...y.keys()].filter((i) => predicted[i] !== y[i]);
  return {
    ...classificationReport(y, predicted),
    confusion: confusionMatrix(y, probabilities),
    wrong: wrong.map((i) => ({
      pixels: picture(x, i),
      digit: y[i],
      predicted: predicted[i],
      probabilities: probabilities.data.slice(i * 10, i * 10 + 10),
    })),
  };
}

/** What the model thinks after each row of a picture: 8 times 10 probabilities. */
export function readRowByRow(model, pixels) {
  const stream = model.stream();
  const thoughts = [];
  for (let row = 0; row < ROWS; row++) {
    const probabilities = stream.step(pixels.subarray(row * COLUMNS, (row + 1) * COLUMNS));
    thoughts.push(probabilities.slice()); // a copy: the next step writes into the same array
  }
  stream.close();
  return thoughts;
}

async function main() {
  const folder = new URL("../../digits-report/", import.meta.url);
  await mkdir(folder, { recursive: true });

  const digits = split(readDigits());
  console.log(`${digits.train.y.length} digits to train on, ${digits.test.y.length} to test with\n`);

  const began = performance.now();
  const { model, history } = await train(digits.train, RECIPE, (batches) => [progressBar(batches)]);
  const seconds = (performance.now() - began) / 1000;
  const { binary, reason } = runtimeInfo();
  console.log(`\n${model.summary()}\n\ntrained in ${seconds.toFixed(1)} s (${binary} binary: ${reason})\n`);

  // The test digits are looked at here for the first time, once.
  const probabilities = await model.predict(digits.test.x);
  const result = judge(digits.test, probabilities);
  console.log(`${classTable(result)}\n`);

  const file = fileURLToPath(new URL("digits.safetensors", folder));
  await model.save(file);
  const reloaded = await loadModel(file);
  const again = await reloaded.predict(digits.test.x);
  if (!again.data.every((p, i) => p === probabilities.data[i]))
    throw new Error("the model read back from its file predicts something else");
  console.log(`saved as ${file}; read back, it predicts the test digits identically\n`);

  const example = { digit: digits.test.y[0], pixels: picture(digits.test.x, 0) };
  const thoughts = readRowByRow(reloaded, example.pixels);
  console.log(readingTitle(example.digit));
  thoughts.forEach((thought, row) => {
    console.log(readingLine(example.pixels.subarray(row * COLUMNS, (row + 1) * COLUMNS), thought));
  });

  const page = fileURLToPath(new URL("index.html", folder));
  const html = reportPage({
    counts: { train: digits.train.y.length, test: digits.test.y.length },
    history,
    result,
    reading: { ...example, thoughts },
    seconds,
    bytes: model.toBytes().length,
    parameters: Object.values(model.weights()).reduce((sum, { data }) => sum + data.length, 0),
    summary: model.summary(),
    runtime: `${binary} SIMD binary, ${process.release.name} ${process.version}`,
    recipe: RECIPE,
  });
  await writeFile(page, html);
  console.log(`\nreport: ${page}`);
  console.log(`test accuracy ${result.accuracy.toFixed(4)}`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
