import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { configure, runtimeInfo } from "../host/index.ts";
import { measureLimits } from "./limits.ts";
import { kernels, models, type Row } from "./workloads.ts";

/**
 * npm run bench               all rows, a few minutes
 * npm run bench -- --smoke    every row once, to see that it runs
 * npm run bench -- --threads 2
 *
 * Prints a table, and writes bench/results/<runtime>.json.
 */
const smoke = process.argv.includes("--smoke");
const seconds = smoke ? 0.01 : 1;
const threads = process.argv.includes("--threads") ? Number(process.argv[process.argv.indexOf("--threads") + 1]) : 1;
await configure({ threads });
const runtime = `node-${process.versions.node.split(".")[0]}`;

const rows: Row[] = [...(await kernels(seconds)), ...(await models(seconds))];
const info = runtimeInfo();
const limits = await measureLimits(info.binary === "relaxed", smoke ? 20 : 1000);

const commit = (() => {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
})();

console.log(
  `${cpus()[0].model}, ${cpus().length} cores, Node ${process.versions.node}, ${info.binary} binary, ${threads} thread${threads > 1 ? "s" : ""}, commit ${commit}`,
);
console.log(
  `limits of a core: ${limits.gflops.toFixed(1)} GFLOP/s in registers; reads GB/s ${Object.entries(limits.readGBs)
    .map(([kib, v]) => `${v.toFixed(0)} (${kib} KiB)`)
    .join(", ")}`,
);
console.log(
  `${"".padEnd(56)} ${"median".padStart(10)} ${"min".padStart(10)} ${"max".padStart(10)}   GFLOP/s   of limit`,
);
const time = (ms: number) => (ms < 1 ? `${(ms * 1000).toFixed(2)} us` : `${ms.toFixed(2)} ms`).padStart(10);
const results = rows.map((row) => {
  const gflops = row.flops ? row.flops / row.median / 1e6 : undefined;
  const best = row.flops ? row.flops / row.best / 1e6 : undefined;
  const rate =
    gflops === undefined
      ? ""
      : `${gflops.toFixed(1).padStart(9)} ${`${((100 * best!) / limits.gflops).toFixed(0)} %`.padStart(10)}`;
  console.log(`${row.name.padEnd(56)} ${time(row.median)} ${time(row.min)} ${time(row.max)} ${rate}`);
  return { ...row, gflops, bestGflops: best };
});

const gemm = results.find((row) => row.name === "gemm 32x256x768")!;
console.log(
  `gemm 32x256x768, best: ${((100 * gemm.bestGflops!) / limits.gflops).toFixed(0)} % of the register loop (target 80 %)`,
);

if (!smoke) {
  mkdirSync(new URL("results/", import.meta.url), { recursive: true });
  const file = new URL(
    `results/${runtime}-${info.binary}${threads > 1 ? `-${threads}-threads` : ""}.json`,
    import.meta.url,
  );
  const machine = {
    cpu: cpus()[0].model,
    cores: cpus().length,
    node: process.versions.node,
    binary: info.binary,
    threads,
  };
  writeFileSync(
    file,
    `${JSON.stringify({ date: new Date().toISOString().slice(0, 10), commit, machine, limits, rows: results }, null, 1)}\n`,
  );
  console.log(`written: ${file.pathname}`);
}
