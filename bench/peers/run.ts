import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { hasTorch, install, node24, type PeerName, versionOf } from "./peers.ts";
import { render } from "./report.ts";
import type { Row, Target } from "./rows.ts";

/**
 * Ours against the peers: outputs checked against each other, then both timed
 * in turns, on one thread unless a row says otherwise.
 *
 *   npm run bench:peers                        every row, a quarter of an hour
 *   npm run bench:peers -- --runtime node24    the same in Node 24, where the relaxed binary runs
 *   npm run bench:peers -- --only stream       rows whose workload or peer has "stream"
 *   npm run bench:peers -- --seconds 20        longer a row, on a busy machine
 *   npm run bench:peers -- --smoke             rows that need no heavy peer, very briefly; writes nothing
 *   npm run bench:peers -- --render            README and chart again, from the last results
 *
 * Peers come from npm at the first use; PyTorch from Debian:
 * apt-get install python3-torch libopenblas0-openmp
 *
 * Writes bench/results/peers.json (rows of other runs stay), the table in
 * README.md and docs/peers.svg.
 */

export interface Result {
  workload: string;
  peer: PeerName;
  runtime: string;
  unit: Row["unit"];
  ours: { median: number; min: number; max: number; samples: number };
  theirs: { median: number; min: number; max: number; samples: number };
  /** How many times as fast, or as small, as theirs; by the medians. */
  ratio: number;
  /** By time of the processor, which other work disturbs less; where one thread works against one. */
  cpuRatio?: number;
  ratioSpread: { low: number; high: number };
  /** At least this ratio; or where `targetOf` is "ours", at most this many of the unit. */
  target: number;
  targetOf: Target["of"];
  met: boolean;
  /** Largest difference of the outputs, relative to the largest. */
  agreement?: number;
  note?: string;
  commit: string;
  date: string;
  /** Processes that wanted to run in the minute before; more than the cores have, and times are disturbed. */
  load: number;
}

export interface Report {
  date: string;
  commit: string;
  machine: { cpu: string; cores: number; memoryGB: number };
  versions: Record<string, string>;
  rows: Result[];
}

const option = (name: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const smoke = process.argv.includes("--smoke");
const only = option("only")?.toLowerCase() ?? "";
const seconds = smoke ? 0.1 : Number(option("seconds") ?? 8);
const runtime = option("runtime");
const file = new URL("../results/peers.json", import.meta.url);

if (process.argv.includes("--render")) render(JSON.parse(readFileSync(file, "utf8")));
else {
  install(!smoke);
  if (runtime && !process.version.startsWith(`v${runtime.replace(/\D/g, "")}.`)) elsewhere();
  else await measureAll();
}

/** This program again, in another Node: ours and the JavaScript peers both run there. */
function elsewhere(): void {
  if (runtime !== "node24") throw new Error(`--runtime: expected "node24", got "${runtime}"`);
  const args = [...process.execArgv, ...process.argv.slice(1)];
  execFileSync(node24(), args, { stdio: "inherit" });
}

async function measureAll(): Promise<void> {
  const { gruvy } = await import("./ours.ts");
  await gruvy.configure({ threads: 1 });
  const { ROWS } = await import("./rows.ts");
  const { binary } = gruvy.runtimeInfo();
  const major = process.versions.node.split(".")[0];
  const name = `node${major}-${binary}`;
  const heavy: readonly PeerName[] = ["onnxruntime-node", "tfjs-wasm", "PyTorch"];
  const torch = smoke || hasTorch();
  const commit = git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "host", "assembly") && "-dirty");
  const date = new Date().toISOString().slice(0, 10);
  const results: Result[] = [];
  let failed = 0;
  if (smoke || process.env.GRUVY_BENCH_ROW === undefined)
    console.log(
      `${cpus()[0].model}, ${cpus().length} cores, Node ${process.versions.node}, ${binary} binary, ${commit}`,
    );
  const labelOf = (row: Row) => `${row.workload} | ${row.peer}`;
  const chosen = ROWS.filter(
    (row) => labelOf(row).toLowerCase().includes(only) && !(smoke && heavy.includes(row.peer)),
  );
  for (const row of chosen) {
    const label = labelOf(row);
    const absent = row.missing ?? (row.peer === "PyTorch" && !torch ? "PyTorch is not installed" : undefined);
    if (absent) {
      console.log(`skip  ${label}: ${absent}`);
      continue;
    }
    if (chosen.length > 1 && !smoke) {
      // A process for each row: what rows before have left in the heap of onnxruntime-web costs it up to a fifth.
      const at = process.argv.indexOf("--only");
      const args = at < 0 ? process.argv.slice(1) : [...process.argv.slice(1, at), ...process.argv.slice(at + 2)];
      const child = spawnSync(process.execPath, [...process.execArgv, ...args, "--only", label], {
        stdio: "inherit",
        env: { ...process.env, GRUVY_BENCH_ROW: label },
      });
      if (child.status !== 0) failed++;
      continue;
    }
    try {
      const load = Number(loadavg()[0].toFixed(1));
      const { agreement, note, ...times } = await row.run(seconds);
      const target = binary === "relaxed" ? row.target.relaxed : row.target.plain;
      const targetOf = row.target.of;
      const met = targetOf === "ratio" ? times.ratio >= target : times.ours.median <= target;
      const result: Result = {
        workload: row.workload,
        peer: row.peer,
        runtime: name,
        unit: row.unit,
        ...times,
        target,
        targetOf,
        met,
        agreement,
        note,
        commit,
        date,
        load,
      };
      results.push(rounded(result));
      print(result);
      if (!smoke) save(results, ROWS, { date, commit });
    } catch (error) {
      failed++;
      console.log(`FAIL  ${label}: ${(error as Error).stack}`);
    }
  }
  if (!smoke && results.length) render(JSON.parse(readFileSync(file, "utf8")));
  process.exitCode = failed ? 1 : 0;
}

function git(...args: string[]): string {
  try {
    return execFileSync("git", args, { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

/** Four digits of everything: the rest is noise, and would fill diffs. */
function rounded<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, v) => (typeof v === "number" ? Number(v.toPrecision(4)) : v));
}

function print({
  workload,
  peer,
  unit,
  ours,
  theirs,
  ratio,
  ratioSpread,
  cpuRatio,
  target,
  targetOf,
  met,
  ...rest
}: Result) {
  const times = (t: Result["ours"]) =>
    `${t.median.toPrecision(4)} (${t.min.toPrecision(4)} to ${t.max.toPrecision(4)})`;
  const wanted = targetOf === "ratio" ? `${target.toPrecision(3)}x` : `${target} ${unit}`;
  console.log(
    `${smoke ? "ran  " : met ? "ok   " : "below"} ${workload} | ${peer}\n` +
      `      ${ratio.toPrecision(3)}x (${ratioSpread.low.toPrecision(3)} to ${ratioSpread.high.toPrecision(3)}; ` +
      `best ${(theirs.min / ours.min).toPrecision(3)}${cpuRatio ? `, by CPU time ${cpuRatio.toPrecision(3)}` : ""}), target ${wanted}; ` +
      `ours ${times(ours)}, theirs ${times(theirs)} ${unit}; ` +
      `agree to ${rest.agreement?.toExponential(0) ?? "-"}; load ${rest.load}${rest.note ? `; ${rest.note}` : ""}`,
  );
}

/** Adds to what is there: a row that has been measured again replaces itself. */
function save(
  results: readonly Result[],
  order: readonly Row[],
  { date, commit }: { date: string; commit: string },
): void {
  const before: Report | undefined = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
  const key = (row: Result) => `${row.workload}|${row.peer}|${row.runtime}`;
  const rows = new Map((before?.rows ?? []).map((row) => [key(row), row]));
  for (const row of results) rows.set(key(row), row);
  const place = (row: Result) =>
    order.findIndex(({ workload, peer }) => workload === row.workload && peer === row.peer);
  // A row that has been renamed goes with its old name.
  const sorted = [...rows.values()].filter((row) => place(row) >= 0).sort((a, b) => place(a) - place(b));
  const versions: Record<string, string> = { ...before?.versions };
  versions[`node${process.versions.node.split(".")[0]}`] = process.versions.node;
  for (const name of ["onnxruntime-web", "onnxruntime-node", "@tensorflow/tfjs"])
    versions[name] = versionOf(name) ?? versions[name];
  versions.PyTorch = torchVersion() ?? versions.PyTorch;
  const machine = { cpu: cpus()[0].model, cores: cpus().length, memoryGB: Math.round(totalmem() / 2 ** 30) };
  mkdirSync(new URL(".", file), { recursive: true });
  const report: Report = { date, commit, machine, versions, rows: sorted };
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
}

function torchVersion(): string | undefined {
  try {
    return execFileSync(
      process.env.GRUVY_BENCH_PYTHON ?? "/usr/bin/python3",
      ["-c", "import torch; print(torch.__version__)"],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      },
    ).trim();
  } catch {
    return undefined;
  }
}
