import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transform } from "esbuild";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { KERNELS, QUERIES } from "../../host/core/kernels.ts";
import { readWasm } from "../kit/wasm.ts";

/**
 * What was built, rather than what it was built from: the bundle runs where
 * there is no Node, the binaries share memory and nothing else, the package
 * is complete. The same bundle in five runtimes is tests/runtimes.
 */

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const dist = join(root, "dist");
const files = readdirSync(dist, { recursive: true }).map(String);
/** The command is a program for Node and the like; everything else runs anywhere. */
const scripts = files.filter((name) => name.endsWith(".js") && name !== "cli.js");
const read = (name: string) => readFileSync(join(dist, name), "utf8");

/** Every match with its surroundings, so that a failure shows where. */
function found(pattern: RegExp, text: string): string[] {
  return [...text.matchAll(pattern)].map(({ index }) => text.slice(Math.max(0, index - 40), index + 40));
}

const bundle = suite("the bundle");

bundle("has an entry and chunks", () => {
  assert.ok(scripts.includes("index.js"));
  assert.ok(scripts.some((name) => name.startsWith("files-")));
});

for (const [what, pattern] of Object.entries({
  "a Node module": /["'`]node:/g,
  "require()": /\brequire\s*\(/g,
  "process, other than to see whether it is there": /(?<!globalThis\.)\bprocess\s*(\.|\?\.|\[)/g,
  "process as a free name": /typeof process\b/g,
  "code made at run time": /\beval\s*\(|\bFunction\s*\(/g,
}))
  bundle(`has no ${what}`, () => {
    for (const name of scripts) assert.equal(found(pattern, read(name)), [], name);
  });

bundle("asks for files and threads of Node in chunks that the entry loads only when it needs them", () => {
  const seen = new Set<string>();
  const follow = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    assert.equal(found(/getBuiltinModule/g, read(name)), [], name);
    for (const [, specifier] of read(name).matchAll(/\bfrom\s*["']\.\/([^"']+)["']/g)) follow(specifier);
  };
  follow("index.js");
});

bundle("loads nothing of other programs' formats before a file asks for it", () => {
  const seen = new Set<string>();
  const follow = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    assert.equal(found(/model_config|SNOD|weightsManifest|weight_ih|data\.pkl/g, read(name)), [], name);
    for (const [, specifier] of read(name).matchAll(/\b(?:from|import)\s*["']\.\/([^"']+)["']/g)) follow(specifier);
  };
  follow("index.js");
  assert.ok(!seen.has("formats.js"));
});

bundle("names the licence of every package that it has parts of", () => {
  for (const name of ["@assemblyscript/loader", "cac"]) assert.ok(read("LICENSES.txt").includes(`${name} `), name);
});

bundle("has no await at its top level, and no syntax newer than ES2022", async () => {
  for (const name of scripts)
    await transform(read(name), { target: "es2022", format: "esm", supported: { "top-level-await": false } });
});

bundle("imports its own chunks and nothing else", () => {
  for (const name of scripts)
    for (const [, specifier] of read(name).matchAll(/\b(?:from|import)\s*\(?["']([^"']+)["']/g))
      assert.ok(scripts.includes(specifier.replace(/^\.\//, "")), `${name} imports "${specifier}"`);
});

bundle("starts without what runtimes load when first asked for", () => {
  const script = `
    for (const name of ["fetch", "Request", "Response", "Headers", "FormData", "WebSocket", "crypto", "localStorage"])
      Object.defineProperty(globalThis, name, { get() { throw new Error(name + " was asked for"); } });
    const { dense, gru, loadModel, sequential } = await import(${JSON.stringify(pathToFileURL(join(dist, "index.js")))});
    const model = await sequential([gru(2), dense(1)], { inputShape: [null, 1] });
    await (await loadModel(model.toBytes())).predict([[[1]]]);`;
  execFileSync(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "ignore", "pipe"] });
});

bundle("has source maps without absolute paths", () => {
  for (const name of files.filter((name) => name.endsWith(".map"))) {
    const { sources, sourceRoot } = JSON.parse(read(name)) as { sources: string[]; sourceRoot?: string };
    assert.is(sourceRoot, undefined, name);
    for (const source of sources) assert.match(source, /^\.\.\/((host|build|node_modules)\/|package\.json$)/, name);
  }
});

bundle.run();

const binaries = suite("the binaries");

for (const target of ["plain", "relaxed", "debug"]) {
  const wasm = readWasm(readFileSync(join(root, "build", `core.${target}.wasm`)));

  binaries(`${target}: imports the memory${target === "debug" ? ", abort" : ""} and nothing else`, () => {
    const allowed = target === "debug" ? ["env.memory", "env.abort"] : ["env.memory"];
    assert.ok(wasm.imports.includes("env.memory"));
    for (const name of wasm.imports) assert.ok(allowed.includes(name), name);
  });

  binaries(`${target}: exports the kernels and queries of the table, all functions`, () => {
    assert.equal(
      wasm.exports.filter(({ kind }) => kind !== "function"),
      [],
    );
    assert.equal(wasm.exports.map(({ name }) => name).sort(), [...KERNELS, ...QUERIES].sort());
  });

  if (target !== "debug")
    binaries(`${target}: has no globals, so threads share all there is`, () => assert.is(wasm.globals, 0));
}

binaries("the engine agrees about the plain one", () => {
  const module = new WebAssembly.Module(readFileSync(join(root, "build", "core.plain.wasm")));
  assert.equal(WebAssembly.Module.imports(module), [{ module: "env", name: "memory", kind: "memory" }]);
  assert.ok(WebAssembly.Module.exports(module).every(({ kind }) => kind === "function"));
});

binaries.run();

const declarations = suite("the declarations");

declarations("refer by .js names to files that are there", () => {
  for (const name of files.filter((name) => name.endsWith(".d.ts")))
    for (const [, specifier] of read(name).matchAll(/(?:from |import\()"([^"]+)"/g)) {
      assert.match(specifier, /^\.{1,2}\/.+\.js$/, name);
      const target = relative(dist, join(dist, dirname(name), specifier.replace(/\.js$/, ".d.ts")));
      assert.ok(files.includes(target), `${name} refers to "${specifier}"`);
    }
});

declarations.run();

const published = suite<{ folder: string; consumer: string; packed: string[] }>("the package");

published.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "gruvy-package-"));
  context.consumer = join(context.folder, "consumer");
  mkdirSync(context.consumer);
  const npm = (cwd: string, ...args: string[]) =>
    execFileSync("npm", [...args, "--ignore-scripts"], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  // A record by name or an array, as npm's version has it.
  const [pack] = Object.values(JSON.parse(npm(root, "pack", "--json", "--pack-destination", context.folder))) as {
    filename: string;
    files: { path: string }[];
  }[];
  context.packed = pack.files.map(({ path }) => path);
  writeFileSync(join(context.consumer, "package.json"), '{ "private": true, "type": "module" }');
  npm(context.consumer, "install", "--offline", "--no-audit", "--no-fund", join(context.folder, pack.filename));
});

published.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

published("holds dist and its papers", ({ packed }) => {
  assert.equal(
    packed.filter((path) => !/^(dist\/.*|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(path)),
    [],
  );
  for (const name of ["index", "audio", "seq2seq"])
    for (const path of [`dist/${name}.js`, `dist/${name}.d.ts`]) assert.ok(packed.includes(path), path);
  assert.ok(packed.includes("package.json"));
  assert.equal(
    packed.filter((path) => /test|\.wasm$|(?<!\.d)\.ts$/.test(path)),
    [],
  );
});

published("trains where it is installed", ({ consumer }) => {
  writeFileSync(
    join(consumer, "train.js"),
    `import { dense, gru, runtimeInfo, sequential, sgd } from "gruvy";
const model = await sequential([gru(4), dense(1)], { inputShape: [null, 2], seed: 1 });
model.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate: 0.1 }) });
const losses = [];
for (let i = 0; i < 3; i++) losses.push((await model.trainOnBatch([[[1, 0], [0, 1]]], [[1]])).loss);
console.log(JSON.stringify({ losses, binary: runtimeInfo().binary }));
`,
  );
  const { losses, binary } = JSON.parse(
    execFileSync(process.execPath, ["train.js"], { cwd: consumer, encoding: "utf8" }),
  );
  assert.is(losses.length, 3);
  assert.ok(losses[2] < losses[0], String(losses));
  assert.ok(["plain", "relaxed"].includes(binary), binary);
});

published("turns sound into features where it is installed, without the engine", ({ consumer }) => {
  const script = `import { logMel } from "gruvy/audio";
    console.log(logMel(new Float32Array(800), { sampleRate: 8000, bands: 20 }).shape.join());`;
  const run = ["--input-type=module", "-e", script];
  assert.is(execFileSync(process.execPath, run, { cwd: consumer, encoding: "utf8" }).trim(), "8,20");
  assert.ok(read("audio.js").length < 20_000, "the engine is in audio.js");
});

published("converts and inspects where it is installed", ({ consumer }) => {
  writeFileSync(
    join(consumer, "export.js"),
    `import { writeFileSync } from "node:fs";
import { dense, gru, loadModel, sequential } from "gruvy";
import { exportModel } from "gruvy/formats";
const model = await sequential([gru(4), dense(1)], { inputShape: [null, 2], seed: 1 });
const bytes = await exportModel(model, "keras");
writeFileSync("model.keras", bytes);
console.log((await loadModel(bytes)).summary() === model.summary());
`,
  );
  const run = (file: string, ...args: string[]) =>
    execFileSync(process.execPath, [file, ...args], { cwd: consumer, encoding: "utf8" });
  assert.match(run("export.js"), /true/);
  const gruvy = join("node_modules", "gruvy", "dist", "cli.js");
  assert.match(run(gruvy, "convert", "model.keras", "model.safetensors"), /^model.safetensors: \d+ bytes/);
  assert.match(run(gruvy, "inspect", "model.safetensors"), /gruvy safetensors[\s\S]*101 parameters/);
});

published("translates where it is installed, with the engine of the main entry", ({ consumer }) => {
  const script = `import { configure, runtimeInfo } from "gruvy";
    import { seq2seq } from "gruvy/seq2seq";
    await configure({ deterministic: true });
    const translator = await seq2seq({ sourceTokens: 3, targetTokens: 3, units: 4, embedding: 2 });
    await translator.fit([[1, 2], [2]], [[2], [1]]);
    const { length } = await translator.translate([[1]], { beamWidth: 2, maxLength: 3 });
    console.log(length + " " + runtimeInfo().binary);`;
  const run = ["--input-type=module", "-e", script];
  assert.is(execFileSync(process.execPath, run, { cwd: consumer, encoding: "utf8" }).trim(), "1 plain");
  assert.ok(read("seq2seq.js").length < 20_000, "the engine is in seq2seq.js");
});

/** What a user writes; each line that must not compile says so. */
const USER = `import {
  adam, type Callback, configure, dense, GruvyError, gru, type History, loadModel, type Model, runtimeInfo,
  sequential, type Stream, type Tensor, warmUp,
} from "gruvy";
import { type LogMel, melExtractor } from "gruvy/audio";
import { loadSeq2Seq, type Seq2Seq } from "gruvy/seq2seq";
export async function use(signal: AbortSignal): Promise<Float32Array> {
  await configure({ deterministic: true });
  const model: Model = await sequential([gru(4), dense(2, { activation: "softmax" })], { inputShape: [null, 3] });
  model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: warmUp({ steps: 5 }) }) });
  const callback: Callback = { name: "mine", onEpochEnd: () => {} };
  const history: History = await model.fit([[[1, 2, 3]]], [[1, 0]], { epochs: 2, signal, callbacks: [callback] });
  const y: Tensor = await model.predict([[[1, 2, 3]]]);
  const stream: Stream = (await loadModel(model.toBytes())).stream();
  const binary: "plain" | "relaxed" | "custom" = runtimeInfo().binary;
  const error: Error = new GruvyError(binary + history.history.loss[0] + y.shape[0]);
  const mel: LogMel = melExtractor({ sampleRate: 8000, scale: "htk" });
  const translator: Seq2Seq = await loadSeq2Seq(model.toBytes());
  const [tokens]: number[][] = await translator.translate([[1, 2]], { beamWidth: 4 });
  console.log(tokens.length);
  mel.frame(new Float32Array(mel.bands), new Float32Array(mel.windowLength));
  // @ts-expect-error no such option
  gru(4, { unit: 3 });
  // @ts-expect-error a number
  const epoch: string = model.epoch;
  // @ts-expect-error no such export
  type Missing = import("gruvy").Missing;
  if (epoch as unknown as Missing) throw error;
  return stream.step([1, 2, 3]);
}
`;

for (const resolution of ["bundler", "node16", "nodenext"])
  published(`has types under moduleResolution ${resolution}, strictly`, ({ consumer }) => {
    writeFileSync(join(consumer, "use.ts"), USER);
    writeFileSync(
      join(consumer, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          module: resolution === "bundler" ? "esnext" : resolution,
          moduleResolution: resolution,
          target: "es2022",
          types: [],
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: false,
          noEmit: true,
        },
        files: ["use.ts"],
      }),
    );
    try {
      execFileSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "."], {
        cwd: consumer,
        encoding: "utf8",
      });
    } catch (error) {
      assert.unreachable((error as { stdout: string }).stdout);
    }
  });

published.run();
