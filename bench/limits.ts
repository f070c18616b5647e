import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import asc from "assemblyscript/asc";

/** What one core of this machine can do, measured in the same process as the kernels. */
export interface Limits {
  /** Multiply-add in registers, best of five. */
  gflops: number;
  /** Reading memory, by the kibibytes gone over. */
  readGBs: Record<number, number>;
}

/** Measures with the same instructions as the binary under test. */
export async function measureLimits(relaxed: boolean, milliseconds: number): Promise<Limits> {
  const out = join(tmpdir(), `gruvy-peak-${process.pid}.wasm`);
  const features = relaxed ? ["--enable", "simd", "--enable", "relaxed-simd"] : ["--enable", "simd"];
  const source = new URL("assembly/peak.ts", import.meta.url).pathname;
  const { error, stderr } = await asc.main(
    [source, "-o", out, "-O3", "--noAssert", "--runtime", "stub", "--initialMemory", "640", ...features],
    {},
  );
  if (error) throw new Error(String(stderr));
  const { instance } = await WebAssembly.instantiate(readFileSync(out), {
    env: { memory: new WebAssembly.Memory({ initial: 640, maximum: 65536 }) },
  });
  rmSync(out);
  const { multiplyAdd, read, CHAINS } = instance.exports as unknown as {
    multiplyAdd(rounds: number, start: number): number;
    read(p: number, bytes: number): number;
    CHAINS: WebAssembly.Global;
  };
  const best = (run: () => void, work: number) => {
    let most = 0;
    // Often enough for V8 to compile the loop well: it never replaces a running one.
    for (let i = 0; i < 200; i++) run();
    const until = performance.now() + milliseconds;
    for (let i = 0; i < 5 || performance.now() < until; i++) {
      const start = performance.now();
      run();
      most = Math.max(most, work / (performance.now() - start) / 1e6);
    }
    return most;
  };
  const rounds = 20_000;
  const gflops = best(() => multiplyAdd(rounds, 0.01), rounds * CHAINS.value * 4 * 2);
  const readGBs: Record<number, number> = {};
  for (const kib of [16, 256, 1024, 8192, 32768]) {
    const bytes = kib * 1024;
    const times = Math.max(1, Math.floor(2 ** 25 / bytes));
    readGBs[kib] = best(() => {
      for (let i = 0; i < times; i++) read(1024, bytes);
    }, bytes * times);
  }
  return { gflops, readGBs };
}
