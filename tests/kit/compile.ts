import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Exports } from "./core.ts";

/**
 * A module of its own for inlined functions, which the core does not export.
 * `source` is AssemblyScript beside the built core: `import { tanh } from "../assembly/math"`.
 */
export function compile(source: string, memory: WebAssembly.Memory): Exports {
  const target = process.env.GRUVY_TEST_TARGET ?? "plain";
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const stem = `build/test-entry.${process.pid}`;
  writeFileSync(`${root}${stem}.ts`, source);
  // In a process of its own: the test loader would spend ten seconds on the compiler's source.
  const flags = "--config none -O3 --runtime stub --importMemory --noExportMemory --noAssert --enable simd";
  execFileSync(
    process.execPath,
    ["node_modules/assemblyscript/bin/asc.js", `${stem}.ts`, "--outFile", `${stem}.wasm`].concat(
      flags.split(" "),
      target === "relaxed" ? ["--enable", "relaxed-simd"] : [],
    ),
    { cwd: root, stdio: "pipe" },
  );
  const module = new WebAssembly.Module(readFileSync(`${root}${stem}.wasm`));
  for (const extension of ["ts", "wasm"]) rmSync(`${root}${stem}.${extension}`);
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
}
