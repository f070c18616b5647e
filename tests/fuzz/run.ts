/**
 * Damaged files for every reader: a FormatError or a model, and nothing else.
 *
 *   npm run fuzz [-- --runs 20000 --seed 1 --only keras-h5 --from 0]
 *
 * An input that fails is made again with the same seed and --from its number --runs 1.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";
import { READERS } from "./readers.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "0" },
    only: { type: "string" },
  },
});
const chosen = READERS.filter(({ name }) => values.only === undefined || name === values.only);
if (chosen.length === 0)
  throw new Error(`no reader "${values.only}"; there are ${READERS.map(({ name }) => name).join(", ")}`);
for (const { name } of chosen) {
  const start = process.hrtime.bigint();
  const outcome = await fuzz(name, Number(values.seed), Number(values.runs), Number(values.from));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(
    `${name}: ${outcome.runs} inputs, ${outcome.refused} refused, ${outcome.loaded} loaded, ` +
      `${outcome.megabytes} MiB at most, ${seconds.toFixed(0)} s, ${outcome.failures.length} failures`,
  );
  for (const failure of outcome.failures) console.log(`  ${failure}`);
  if (outcome.failures.length > 0) process.exitCode = 1;
}
