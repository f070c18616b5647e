import { instantiateSync } from "@assemblyscript/loader";
import type { Pool } from "../workers/pool.ts";
import { Arena } from "./arena.ts";
import { OptionError, StateError } from "./errors.ts";
import { type Exports, KERNELS } from "./kernels.ts";
import { checkOptions, flag, integer, shown } from "./options.ts";

/** Where the compiled core comes from, for hosts with rules of their own. */
export type WasmSource = WebAssembly.Module | BufferSource | URL | string | Response;

export interface Settings {
  /** Threads to compute with. "auto": as many as there are cores, at most 4. No result depends on it. */
  threads?: number | "auto";
  /** Same bits in every runtime: the plain binary, without fused multiply-add. Default false. */
  deterministic?: boolean;
  /** A compiled core to use instead of the one in the bundle. */
  wasm?: WasmSource;
  /** Bytes that the linear memory may grow to. Default 1 GiB. */
  maximumMemory?: number;
}

export interface RuntimeInfo {
  /** "relaxed" fuses multiply and add; "plain" gives the same bits everywhere; "custom" came through `configure`. */
  binary: "plain" | "relaxed" | "custom";
  /** Why this one. */
  reason: string;
  /** Threads that large kernels are shared out to. */
  threads: number;
  /** Why so many. */
  threadsReason: string;
}

/** One instance of the core over one memory; all models of a process share it. */
export interface Engine {
  readonly core: Exports;
  readonly arena: Arena;
  readonly info: RuntimeInfo;
  /** Absent where there is one thread. */
  readonly pool?: Pool;
}

const PAGE = 65536;
/** More threads than this seldom pay for layers of a few hundred units. */
const MOST_THREADS = 4;

// The settings are the process's, as `configure` is: the one mutable state of the module.
let settings: Settings = {};
let engine: Promise<Engine> | undefined;
let loaded: Engine | undefined;

/** Natively where there is a way, which takes 0.1 ms of a start instead of 3. */
function decode(base64: string): Uint8Array<ArrayBuffer> {
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  if (fromBase64) return fromBase64.call(Uint8Array, base64);
  // Node and Bun: a view into a pool of theirs, of which WebAssembly reads the bytes that belong to it.
  const { Buffer } = globalThis as { Buffer?: { from(text: string, encoding: "base64"): Uint8Array<ArrayBuffer> } };
  if (Buffer) return Buffer.from(base64, "base64");
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** How many threads a new engine gets, and why; with more than one, what makes a pool of them. */
async function chooseThreads() {
  const { threads = "auto", wasm } = settings;
  const one = (threadsReason: string) => ({ threads: 1, threadsReason, Pool: undefined });
  if (threads === 1) return one("configured");
  if (wasm instanceof WebAssembly.Module) return one("a compiled module has private memory");
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (typeof SharedArrayBuffer === "undefined" || crossOriginIsolated === false)
    return one("no SharedArrayBuffer; a page needs the headers COOP and COEP");
  // A chunk of its own: it knows Node's workers as well as the Web's. Without it, one thread.
  const chunk = await import("../workers/pool.ts").catch(() => undefined);
  if (!chunk?.hasWorkers()) return one("this runtime has no workers");
  if (threads !== "auto") return { threads, threadsReason: "configured", Pool: chunk.Pool };
  const cores = Math.min(MOST_THREADS, chunk.coreCount());
  return cores === 1
    ? one("one core")
    : { threads: cores, threadsReason: `one for each of ${cores} cores`, Pool: chunk.Pool };
}

/**
 * The twin of a binary that imports shared memory: two bits in the limits of
 * the import. Sections are walked as the binary format has them.
 *
 * Source: WebAssembly core specification, 5.3 (limits), 5.5 (imports).
 */
function sharing(wasm: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let at = 8;
  const leb = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < wasm.length) {
    const section = wasm[at++];
    const bytes = leb();
    const end = at + bytes;
    if (section === 2)
      for (let imports = leb(); imports > 0; imports--) {
        for (let name = 0; name < 2; name++) {
          const length = leb();
          at += length;
        }
        const kind = wasm[at++];
        if (kind === 0) leb();
        else if (kind === 2) {
          // Not by slice(), which for a Buffer is a view.
          const twin = new Uint8Array(wasm);
          twin[at] = 3; // has a maximum, is shared
          return twin;
        } else break;
      }
    at = end;
  }
  throw new StateError("the compiled core does not import its memory");
}

async function start(
  wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module,
  binary: RuntimeInfo["binary"],
  reason: string,
): Promise<Engine> {
  const { threads, threadsReason, Pool } = await chooseThreads();
  const shared = threads > 1 && !(wasm instanceof WebAssembly.Module);
  const maximumBytes = settings.maximumMemory ?? 2 ** 30;
  const module = wasm instanceof WebAssembly.Module ? wasm : await WebAssembly.compile(shared ? sharing(wasm) : wasm);
  const memory = new WebAssembly.Memory({ initial: 2, maximum: Math.ceil(maximumBytes / PAGE), shared });
  // The loader decodes the messages of failed assertions in debug builds; hot calls go through the raw exports.
  // Synchronously: its asynchronous twin asks for Response, see bytesOf.
  const { instance } = instantiateSync(module, { env: { memory } as Record<string, unknown> });
  const core = instance.exports as unknown as Exports;
  const arena = new Arena(memory, core.arenaStart(shared ? threads : 1), maximumBytes);
  const kernels = KERNELS.map((name) => core[name] as (...args: number[]) => unknown);
  const pool = Pool && shared ? new Pool(module, arena, KERNELS, kernels, threads) : undefined;
  return { core, arena, pool, info: { binary, reason, threads: shared ? threads : 1, threadsReason } };
}

async function bytesOf(source: WasmSource): Promise<Uint8Array<ArrayBuffer> | WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source === "string" || source instanceof URL) source = await fetch(source);
  // Not by instanceof Response: Node loads all of fetch at the first mention of it, 30 ms of a 40 ms start.
  const bytes = "arrayBuffer" in source ? await source.arrayBuffer() : (source as BufferSource);
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/** Whether the relaxed binary is valid here: asked with a module of one relaxed multiply-add. */
function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(decode("AGFzbQEAAAABCAFgA3t7ewF7AwIBAAoNAQsAIAAgASAC/YUCCw=="));
}

/** Each is a chunk of its own, of which a process loads the one that runs. */
async function binary(name: "plain" | "relaxed"): Promise<Uint8Array<ArrayBuffer>> {
  const { base64 } = await (name === "plain" ? import("../../build/plain.ts") : import("../../build/relaxed.ts"));
  return decode(base64);
}

async function load(): Promise<Engine> {
  if (settings.wasm !== undefined) return start(await bytesOf(settings.wasm), "custom", "given to configure()");
  if (settings.deterministic) return start(await binary("plain"), "plain", "deterministic: true");
  if (hasRelaxedSimd()) {
    const fast = await start(await binary("relaxed"), "relaxed", "relaxed SIMD fuses multiply and add here");
    if (fast.core.fuses()) return fast;
    return start(await binary("plain"), "plain", "relaxed SIMD does not fuse here");
  }
  return start(await binary("plain"), "plain", "this runtime has no relaxed SIMD").catch((error) => {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw new StateError("this runtime has no WebAssembly SIMD, which gruvy needs");
  });
}

/** The engine, started at the first call. */
export function getEngine(): Promise<Engine> {
  engine ??= load().then(
    (started) => {
      loaded = started;
      return started;
    },
    (error) => {
      engine = undefined;
      throw error;
    },
  );
  return engine;
}

/**
 * Settings of the process, before the first model. Without it, all defaults hold.
 *
 * @throws OptionError  for unknown or wrong options
 * @throws StateError   when a model has been made already
 */
export async function configure(options: Settings = {}): Promise<void> {
  checkOptions("configure()", options, ["threads", "deterministic", "wasm", "maximumMemory"]);
  if (options.threads !== undefined && options.threads !== "auto")
    integer("configure()", "threads", options.threads, 1, 64);
  if (options.deterministic !== undefined) flag("configure()", "deterministic", options.deterministic);
  if (options.maximumMemory !== undefined)
    integer("configure()", "maximumMemory", options.maximumMemory, 2 ** 20, 2 ** 32);
  const { wasm } = options;
  if (
    wasm !== undefined &&
    !(typeof wasm === "string" || wasm instanceof URL || wasm instanceof WebAssembly.Module) &&
    !(wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) &&
    !(typeof Response !== "undefined" && wasm instanceof Response)
  )
    throw new OptionError(
      `configure(): "wasm" must be a WebAssembly.Module, bytes, a URL or a Response, got ${shown(wasm)}`,
    );
  const changed = Object.entries(options).filter(([name, value]) => settings[name as keyof Settings] !== value);
  if (engine && changed.length)
    throw new StateError(`configure() must come before the first model; "${changed[0][0]}" cannot change any more`);
  settings = { ...settings, ...options };
  await getEngine();
}

/** Which binary runs, and on how many threads. */
export function runtimeInfo(): RuntimeInfo {
  if (loaded) {
    const problem = loaded.pool?.problem;
    return problem === undefined ? { ...loaded.info } : { ...loaded.info, threads: 1, threadsReason: problem };
  }
  const relaxed = !settings.deterministic && settings.wasm === undefined && hasRelaxedSimd();
  return {
    binary: settings.wasm ? "custom" : relaxed ? "relaxed" : "plain",
    reason: "expected; nothing has run yet",
    threads: 1,
    threadsReason: "nothing has run yet",
  };
}
