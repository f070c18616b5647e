// argv: a saved model of 64 features. Prints the first number of the first step.
import { readFileSync, writeSync } from "node:fs";
import { configure, loadModel } from "../../../dist/index.js";

await configure({ threads: 1 });
const model = await loadModel(readFileSync(process.argv[2]));
writeSync(1, String(model.stream().step(new Float32Array(64).fill(0.5))[0]));
