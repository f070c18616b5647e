/**
 * The whole build: assembly/ -> build/*.wasm -> build/plain.ts, relaxed.ts -> dist/.
 *
 *   node scripts/build.mjs            everything that is older than its sources
 *   node scripts/build.mjs --core     the WebAssembly binaries only (tests run from sources)
 *   node scripts/build.mjs --force    everything
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const at = (...parts) => join(root, ...parts);
const force = process.argv.includes("--force");

/** Newest change below the paths, in milliseconds. */
function newest(...paths) {
  return Math.max(
    ...paths.map((path) =>
      statSync(path).isDirectory()
        ? newest(...readdirSync(path).map((name) => join(path, name)))
        : statSync(path).mtimeMs,
    ),
  );
}

function stale(outputs, ...sources) {
  return (
    force ||
    outputs.some((path) => !existsSync(path)) ||
    Math.min(...outputs.map((p) => statSync(p).mtimeMs)) < newest(...sources)
  );
}

const targets = ["debug", "plain", "relaxed"];
const wasm = (target) => at("build", `core.${target}.wasm`);
/** The binaries that are published, each in a module of its own: a process loads the one it runs. */
const inlined = ["plain", "relaxed"];
const inline = (target) => at("build", `${target}.ts`);
if (
  stale([...targets.map(wasm), ...inlined.map(inline)], at("assembly"), at("asconfig.json"), at("scripts", "build.mjs"))
) {
  mkdirSync(at("build"), { recursive: true });
  for (const target of targets)
    execFileSync(process.execPath, [at("node_modules", "assemblyscript", "bin", "asc.js"), "--target", target], {
      cwd: root,
      stdio: "inherit",
    });
  for (const target of inlined)
    writeFileSync(
      inline(target),
      `/** The compiled core, base64. Written by scripts/build.mjs. */\nexport const base64: string = "${readFileSync(wasm(target)).toString("base64")}";\n`,
    );
}

const entry = at("dist", "index.js");
if (
  !process.argv.includes("--core") &&
  stale([entry, at("dist", "types", "host", "index.d.ts")], at("host"), ...inlined.map(inline), at("package.json"))
) {
  rmSync(at("dist"), { recursive: true, force: true });
  const { metafile } = await build({
    entryPoints: [
      { in: at("host", "index.ts"), out: "index" },
      { in: at("host", "audio", "index.ts"), out: "audio" },
      { in: at("host", "formats", "index.ts"), out: "formats" },
      { in: at("host", "cli", "main.ts"), out: "cli" },
      { in: at("host", "seq2seq", "index.ts"), out: "seq2seq" },
      { in: at("host", "workers", "worker.js"), out: "worker" },
    ],
    outdir: at("dist"),
    bundle: true,
    format: "esm",
    splitting: true,
    minify: true,
    target: "es2022",
    platform: "neutral",
    // The licences of what is bundled.
    legalComments: "eof",
    sourcemap: "linked",
    sourcesContent: true,
    mainFields: ["module", "main"],
    metafile: true,
  });
  writeFileSync(at("dist", "LICENSES.txt"), licenses(metafile));
  execFileSync(process.execPath, [at("node_modules", "typescript", "bin", "tsc"), "-p", at("tsconfig.build.json")], {
    cwd: root,
    stdio: "inherit",
  });
  selfContained();
}

/** Licences of the packages that the bundle has parts of, which must go where the parts go. */
function licenses({ outputs }) {
  const used = Object.values(outputs).flatMap(({ inputs }) =>
    Object.keys(inputs).filter((path) => inputs[path].bytesInOutput),
  );
  const packages = new Set(used.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  return [...packages]
    .sort()
    .map((name) => {
      const folder = at("node_modules", name);
      const { version, license, repository } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file ? readFileSync(join(folder, file), "utf8").trim() : `${license}, ${repository?.url ?? ""}`;
      return `${name} ${version}\n\n${text}\n`;
    })
    .join("\n----\n\n");
}

/** Published types stand alone: relative imports by .js names, and the core's own types beside them. */
function selfContained() {
  const types = at("dist", "types");
  for (const name of readdirSync(types, { recursive: true }).filter((path) => path.endsWith(".d.ts"))) {
    const text = readFileSync(join(types, name), "utf8");
    // tsc rewrites these extensions in JavaScript, not in declarations.
    writeFileSync(join(types, name), text.replace(/(from |import\()"(\.[^"]+)\.ts"/g, '$1"$2.js"'));
  }
  for (const target of inlined) rmSync(join(types, "build", `${target}.d.ts`));
  copyFileSync(at("build", "core.plain.d.ts"), join(types, "build", "core.plain.d.ts"));
  writeFileSync(at("dist", "index.d.ts"), 'export * from "./types/host/index.js";\n');
  writeFileSync(at("dist", "audio.d.ts"), 'export * from "./types/host/audio/index.js";\n');
  writeFileSync(at("dist", "formats.d.ts"), 'export * from "./types/host/formats/index.js";\n');
  writeFileSync(at("dist", "seq2seq.d.ts"), 'export * from "./types/host/seq2seq/index.js";\n');
}
