import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const script = fileURLToPath(new URL("training.ts", import.meta.url));

function run(...args: string[]): string[] {
  const out = execFileSync(process.execPath, ["--import", "tsx", script, ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return out.trim().split("\n");
}

test("1, 2 and 4 threads train to the same bytes, and end with their process", () => {
  const results = ["1", "2", "4"].map((threads) => JSON.parse(run(threads).at(-1)!));
  for (const [i, threads] of [1, 2, 4].entries()) {
    assert.is(results[i].threads, threads);
    assert.is(results[i].ready, threads - 1, "workers are up");
    if (threads > 1) assert.ok(results[i].jobs > 0, "jobs were shared");
    assert.is(results[i].hash, results[0].hash, `${threads} threads`);
  }
});

test("a kernel that traps in a thread is an error with its cause, and the pool goes on", () => {
  const lines = run("2", "crash");
  assert.match(lines[0], /memory access out of bounds|worker failed/);
  assert.is(JSON.parse(lines[1]).hash, JSON.parse(run("1")[0]).hash);
});

test.run();
