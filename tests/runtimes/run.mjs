/**
 * The built package in five runtimes: the Node running this (20 in CI), Node
 * 24, Deno, Bun and headless Chromium. Each runs workload.js twice: with
 * `deterministic: true`, where the trained bytes must be the same everywhere,
 * and with default settings, where predictions must agree as float32 does.
 * Then the tarball that npm would publish, as publint and "are the types
 * wrong" see it. A runtime that cannot be had is a failure.
 *
 *   npm run test:runtimes
 */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const scratch = mkdtempSync(join(tmpdir(), "gruvy-runtimes-"));
const platform = `${process.platform}-${process.arch}`;
const execute = promisify(execFile);

/** Relative to the first runtime's deterministic predictions: 50 steps amplify the last bits of float32 little. */
const TOLERANCE = 1e-4;
/** A run takes a second; a machine that is busy takes ten. */
const TIMEOUT = 120_000;

function install() {
  const lock = join(here, "package-lock.json");
  const installed = join(here, "node_modules", ".package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  console.log("installing the runtimes (400 MB, once)");
  // No install scripts: the binaries are in packages of their own, one a platform.
  try {
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: here, stdio: "inherit" });
  } catch (error) {
    report("install", "did not work", [error.message]);
  }
}

/** A file of the first of these packages that is installed. */
function binary(...candidates) {
  for (const parts of candidates) {
    const path = join(here, "node_modules", ...parts);
    if (existsSync(path)) return path;
  }
  throw new Error(`no binary for ${platform}: looked for ${candidates.map((parts) => parts[0]).join(", ")}`);
}

const node24 = () =>
  binary([`node-${platform}`, "bin", "node"], [`node-bin-${platform}`, "bin", "node"], ["node", "bin", "node"]);
const bun = () =>
  binary(
    [`@oven/bun-${platform.replace("arm64", "aarch64")}`, "bin", "bun"],
    [`@oven/bun-${platform}-baseline`, "bin", "bun"],
  );
const deno = () => binary([`@deno/${platform}-glibc`, "deno"], [`@deno/${platform}`, "deno"]);

async function command(path, args, env = {}) {
  const { stdout } = await execute(path, args, { timeout: TIMEOUT, env: { ...process.env, ...env } });
  return stdout;
}

/** Runs child.mjs in a runtime that has processes. */
function inProcess(path, flags = [], version = ["--version"]) {
  const file = (mode) => join(scratch, `${mode}.safetensors`);
  return {
    version: async () => (await command(path, version)).match(/\d+\.\d+\.\d+/)[0],
    run: async (mode) =>
      JSON.parse(await command(path, [...flags, join(here, "child.mjs"), mode, file(mode)], { NO_COLOR: "1" })),
    files: "saved and loaded",
  };
}

/** Runs workload.js in a page of its own, served from 127.0.0.1. */
async function inChromium() {
  const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!path) throw new Error("no Chromium; on Debian: apt-get install -y --no-install-recommends chromium");
  const { chromium } = createRequire(import.meta.url)("playwright-core");
  const { server, origin } = await serve();
  const browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
  return {
    version: async () => browser.version(),
    run: async (mode) => {
      const page = await browser.newPage();
      const foreign = [];
      page.on("request", (request) => request.url().startsWith(origin) || foreign.push(request.url()));
      await page.goto(`${origin}/`);
      const result = await page.evaluate(
        async (mode) => (await import("/tests/runtimes/workload.js")).run(await import("/dist/index.js"), mode),
        mode,
      );
      if (foreign.length) throw new Error(`the page asked for ${foreign.join(", ")}`);
      await page.close();
      return result;
    },
    files:
      "StateError: this runtime has no files; use toBytes(), and loadModel() with bytes, a URL, a Response or a File",
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}

/** A blank page and the built package, under a policy as strict as WebAssembly allows. */
async function serve() {
  const server = createServer(({ url }, response) => {
    response.setHeader("Content-Security-Policy", "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'");
    if (url === "/") {
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><title>gruvy</title><link rel=icon href=data:,>");
    } else if (/^\/(dist\/[\w-]+|tests\/runtimes\/workload)\.js$/.test(url) && existsSync(join(root, url))) {
      response.setHeader("Content-Type", "text/javascript");
      response.end(readFileSync(join(root, url)));
    } else {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

const denoFlags = [
  "run",
  "--quiet",
  "--no-prompt",
  "--no-config",
  "--no-lock",
  "--no-remote",
  `--allow-read=${scratch}`,
  `--allow-write=${scratch}`,
];
const runtimes = [
  [`node ${process.versions.node.split(".")[0]}`, () => inProcess(process.execPath)],
  ["node 24", () => inProcess(node24())],
  ["deno", () => inProcess(deno(), denoFlags)],
  ["bun", () => inProcess(bun())],
  ["chromium", inChromium],
];

let reference;

/** What is wrong with a pair of runs, if anything. */
function faults({ deterministic, fast }, expectedFiles) {
  const out = [];
  if (deterministic.binary !== "plain") out.push(`deterministic: true ran the ${deterministic.binary} binary`);
  for (const [i, model] of ["classifier", "reader"].entries()) {
    const [exact, quick, wanted] = [deterministic.results[i], fast.results[i], reference.results[i]];
    const last = exact.losses.at(-1);
    if (!(last < 0.8 * exact.losses[0])) out.push(`${model}: the loss went from ${exact.losses[0]} to ${last}`);
    if (exact.hash !== wanted.hash) out.push(`${model}: trained to other bytes than in ${reference.name}`);
    for (const [name, run] of Object.entries({ deterministic: exact, default: quick })) {
      if (!run.streams) out.push(`${model}, ${name}: the stream differs from predict()`);
      if (!run.reloads) out.push(`${model}, ${name}: the loaded model differs from the saved one`);
    }
    for (const [j, value] of wanted.predictions.entries())
      if (!(Math.abs(quick.predictions[j] - value) <= TOLERANCE * Math.abs(value)))
        out.push(`${model}: prediction ${j} is ${quick.predictions[j]}, in ${reference.name} ${value}`);
  }
  for (const run of [deterministic, fast])
    if (run.files !== expectedFiles) out.push(`files: expected "${expectedFiles}", got "${run.files}"`);
  return out;
}

let passed = 0;
let failed = 0;

function report(name, line, problems) {
  if (problems.length) failed++;
  else passed++;
  console.log(`${problems.length ? "FAIL" : "ok  "} ${name.padEnd(9)} ${line}`);
  for (const problem of problems) console.log(`       ${problem}`);
}

async function runtime(name, open) {
  const start = performance.now();
  let opened;
  try {
    opened = await open();
    const version = await opened.version();
    const deterministic = await opened.run("deterministic");
    const fast = await opened.run("default");
    reference ??= { name, results: deterministic.results };
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    report(
      name,
      `${version.padEnd(14)} ${fast.binary.padEnd(7)} (${fast.reason}), ${fast.milliseconds.toFixed(0)} ms, ` +
        `plain ${deterministic.milliseconds.toFixed(0)} ms, ${seconds} s in all; ` +
        `bytes ${deterministic.results.map(({ hash }) => hash.slice(0, 8)).join(" ")}`,
      faults({ deterministic, fast }, opened.files),
    );
  } catch (error) {
    report(name, "did not run", [String(error.stderr || error.message || error).trim()]);
  } finally {
    await opened?.close?.();
  }
}

/** publint and attw on the tarball that npm would publish. */
async function packages() {
  const packed = JSON.parse(
    await command("npm", ["pack", root, "--ignore-scripts", "--json", "--pack-destination", scratch]),
  );
  const { filename, size } = Object.values(packed)[0];
  const tarball = join(scratch, filename);
  const checks = {
    publint: ["publint", "src/cli.js", "run", tarball, "--strict"],
    // node10 reads no "exports"; CommonJS reaches an ES module by import(), or require() from Node 20.19 on.
    attw: ["@arethetypeswrong/cli", "dist/index.js", tarball, "--profile", "esm-only", "--no-emoji", "--no-color"],
  };
  for (const [name, [module, script, ...args]] of Object.entries(checks))
    try {
      await command(process.execPath, [join(here, "node_modules", module, script), ...args]);
      report(name, `${filename}, ${(size / 1024).toFixed(0)} KiB`, []);
    } catch (error) {
      report(name, filename, [`${error.stdout ?? ""}${error.stderr ?? ""}`.trim() || error.message]);
    }
}

try {
  install();
  for (const [name, open] of runtimes) await runtime(name, open);
  await packages();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
