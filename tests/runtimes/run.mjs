/**
 * The built package in five runtimes: the Node running this (20 in CI), Node
 * 24, Deno, Bun and headless Chromium. Each runs workload.js twice: with
 * `deterministic: true`, where the trained bytes must be the same everywhere,
 * and with default settings, where predictions must agree as float32 does. A
 * model in the formats of other programs is loaded by URL and must predict the
 * same bits; in Chromium each format must ask for its own scripts alone.
 * Then the tarball that npm would publish, as publint and "are the types
 * wrong" see it. A runtime that cannot be had is a failure.
 *
 *   npm run test:runtimes
 */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
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
      JSON.parse(
        await command(path, [...flags, join(here, "child.mjs"), mode, file(mode), ...urls()], { NO_COLOR: "1" }),
      ),
    files: "saved and loaded",
  };
}

/** Runs workload.js in a page of its own, served from 127.0.0.1. */
async function inChromium() {
  const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!path) throw new Error("no Chromium; on Debian: apt-get install -y --no-install-recommends chromium");
  const { chromium } = createRequire(import.meta.url)("playwright-core");
  const browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
  /** What a page does with what it is given, and the scripts of the package that it asked for. */
  const inPage = async (work, given) => {
    const page = await browser.newPage();
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(`${origin}/`);
    const result = await page.evaluate(work, given);
    await page.close();
    const foreign = asked.filter((url) => !url.startsWith(origin));
    if (foreign.length) throw new Error(`the page asked for ${foreign.join(", ")}`);
    return { result, scripts: asked.filter((url) => url.includes("/dist/")) };
  };
  return {
    version: async () => browser.version(),
    run: async (mode) => {
      const { result } = await inPage(
        async ({ mode, urls }) =>
          (await import("/tests/runtimes/workload.js")).run(await import("/dist/index.js"), mode, urls),
        { mode, urls: urls() },
      );
      return result;
    },
    scripts: async (url) =>
      (await inPage(async (url) => void (await (await import("/dist/index.js")).loadModel(url)), url)).scripts,
    files:
      "StateError: this runtime has no files; use toBytes(), and loadModel() with bytes, a URL, a Response or a File",
    close: () => browser.close(),
  };
}

/** One model in a folder, in every format that `loadModel` reads. */
async function writeModels() {
  const { bidirectional, dense, gru, sequential } = await import("../../dist/index.js");
  const { exportModel } = await import("../../dist/formats.js");
  const before = { resetAfter: false };
  const model = await sequential(
    [bidirectional(gru(9, { ...before, returnSequences: true })), gru(7, before), dense(4, { activation: "softmax" })],
    { inputShape: [null, 6], seed: 9 },
  );
  mkdirSync(join(scratch, "models"));
  const files = { "own.safetensors": model.toBytes(), ...(await exportModel(model, "tfjs")) };
  for (const format of ["keras", "h5", "onnx"]) files[`model.${format}`] = await exportModel(model, format);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(scratch, "models", name), bytes);
  return ["own.safetensors", "model.keras", "model.h5", "model.onnx", "model.json"];
}

/** The models by URL, with a query as signed addresses have. */
const urls = () => models.map((name) => `${origin}/models/${name}?key=1`);

/** A blank page, the built package and the models, under a policy as strict as WebAssembly and fetch allow. */
async function serve() {
  const server = createServer(({ url }, response) => {
    response.setHeader(
      "Content-Security-Policy",
      "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'",
    );
    const model = url.match(/^\/models\/([\w.]+)\?key=1$/)?.[1];
    if (model && existsSync(join(scratch, "models", model))) {
      response.end(readFileSync(join(scratch, "models", model)));
    } else if (url === "/") {
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
  "--allow-net=127.0.0.1",
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
  const wanted = reference.foreign["own.safetensors?key=1"];
  for (const run of [deterministic, fast])
    for (const [name, hash] of Object.entries(run.foreign)) {
      const own = run === deterministic ? wanted : run.foreign["own.safetensors?key=1"];
      if (hash !== own) out.push(`${name}: predicts other bits than gruvy's own file`);
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
    reference ??= { name, results: deterministic.results, foreign: deterministic.foreign };
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    report(
      name,
      `${version.padEnd(14)} ${fast.binary.padEnd(7)} (${fast.reason}), ${fast.milliseconds.toFixed(0)} ms, ` +
        `plain ${deterministic.milliseconds.toFixed(0)} ms, ${seconds} s in all; ` +
        `bytes ${deterministic.results.map(({ hash }) => hash.slice(0, 8)).join(" ")}`,
      faults({ deterministic, fast }, opened.files),
    );
    if (opened.scripts) await lazily(opened.scripts);
  } catch (error) {
    report(name, "did not run", [String(error.stderr || error.message || error).trim()]);
  } finally {
    await opened?.close?.();
  }
}

/** Each format asks for scripts of its own, which gruvy's own files and other formats do without. */
async function lazily(scripts) {
  const [own, keras, h5, onnx, tfjs] = await Promise.all(urls().map(async (url) => new Set(await scripts(url))));
  const without = (a, b) => [...a].filter((script) => !b.has(script)).length;
  const problems = Object.entries({ keras, h5, onnx, tfjs })
    .filter(([, some]) => without(own, some) > 0 || without(some, own) === 0)
    .map(([name, some]) => `${name}: ${some.size} scripts, of gruvy's own files ${own.size}`);
  if (!without(onnx, keras) || !without(keras, onnx)) problems.push("ONNX and Keras ask for the same scripts");
  if (!without(h5, tfjs) || !without(tfjs, h5)) problems.push("HDF5 and TensorFlow.js ask for the same scripts");
  const sizes = Object.entries({ own, keras, h5, onnx, tfjs }).map(([name, { size }]) => `${name} ${size}`);
  report("lazily", `scripts by format: ${sizes.join(", ")}`, problems);
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

let server;
let origin;
let models;
try {
  install();
  models = await writeModels();
  ({ server, origin } = await serve());
  for (const [name, open] of runtimes) await runtime(name, open);
  await packages();
} finally {
  server?.close();
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
