/** One run in a process of its own, in Node, Deno or Bun: `child.mjs MODE FILE URL...`, the result as JSON on stdout. */
import process from "node:process";
import * as gruvy from "../../dist/index.js";
import { run } from "./workload.js";

const [mode, path, ...urls] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await run(gruvy, mode, urls, path)) + "\n");
