/**
 * What all examples do alike: read the command line, run, print their figures.
 */
import { parseArgs } from "node:util";
import { configure, runtimeInfo } from "gruvy";

/**
 * @typedef {object} Options
 * @property {string} [data] the folder with the data, where an example needs one
 * @property {boolean} quick a few seconds on generated numbers, to see that everything runs
 * @property {number} seed of the weights and of all that is drawn at random
 * @property {(line: string) => void} log where progress goes
 *
 * @typedef {object} Result
 * @property {[string, number | string][]} figures what was reached, first, and what to compare it with
 * @property {import("gruvy").Model} model
 */

/**
 * Runs an example with what its command line says.
 *
 *   --data DIR   --quick   --seed N (1 unless given)
 *
 * @param {(options: Options) => Promise<Result>} run
 * @param {{ data?: string }} [about] where the data can be had, if the example needs any
 */
export async function command(run, { data: source } = {}) {
  const { values } = parseArgs({
    options: {
      ...(source ? { data: { type: "string" } } : {}),
      quick: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
    },
  });
  const { data, quick } = values;
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed: expected a whole number, got "${values.seed}"`);
  if (source && !quick && data === undefined)
    throw new Error(`--data DIR is missing, or --quick, which needs none. The data: ${source}`);

  // The same seed then gives the same figures in every runtime.
  await configure({ deterministic: true });
  const began = performance.now();
  const { figures, model } = await run({ data, quick, seed, log: console.log });
  const seconds = (performance.now() - began) / 1000;
  console.log(`\n${model.summary()}\n`);
  console.log(figureTable(figures));
  const { binary, threads } = runtimeInfo();
  console.log(
    `\nseed ${seed}, ${model.parameterCount} parameters, ${seconds.toFixed(0)} s (${binary} binary, ${threads} threads)`,
  );
  model.dispose();
}

/** Figures one below the other; numbers keep four digits. */
export function figureTable(figures) {
  const text = (value) => (typeof value === "string" ? value : Number(value.toPrecision(4)).toString());
  const width = Math.max(...figures.map(([name]) => name.length));
  const column = Math.max(...figures.map(([, value]) => text(value).length));
  return figures.map(([name, value]) => `${name.padEnd(width)}  ${text(value).padStart(column)}`).join("\n");
}
