import { instantiateSync } from "@assemblyscript/loader";
import * as binaries from "../../build/binaries.ts";
import { Arena } from "./arena.ts";
import { OptionError, StateError } from "./errors.ts";
import type { Exports } from "./kernels.ts";
import { checkOptions, flag, integer, shown } from "./options.ts";

/** Where the compiled core comes from, for hosts with rules of their own. */
export type WasmSource = WebAssembly.Module | BufferSource | URL | string | Response;

export interface Settings {
  /** Threads to compute with; "auto" leaves it to the library. One for now. */
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
  threads: number;
}

/** One instance of the core over one memory; all models of a process share it. */
export interface Engine {
  readonly core: Exports;
  readonly arena: Arena;
  readonly info: RuntimeInfo;
}

const PAGE = 65536;

// The settings are the process's, as `configure` is: the one mutable state of the module.
let settings: Settings = {};
let engine: Promise<Engine> | undefined;
let loaded: RuntimeInfo | undefined;

function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function start(module: WebAssembly.Module, binary: RuntimeInfo["binary"], reason: string): Engine {
  const maximumBytes = settings.maximumMemory ?? 2 ** 30;
  const memory = new WebAssembly.Memory({ initial: 2, maximum: Math.ceil(maximumBytes / PAGE) });
  // The loader decodes the messages of failed assertions in debug builds; hot calls go through the raw exports.
  const { instance } = instantiateSync(module, { env: { memory } as Record<string, unknown> });
  const core = instance.exports as unknown as Exports;
  return { core, arena: new Arena(memory, core.arenaStart(), maximumBytes), info: { binary, reason, threads: 1 } };
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source === "string" || source instanceof URL) source = await fetch(source);
  // Not by instanceof Response: Node loads all of fetch at the first mention of it, 30 ms of a 40 ms start.
  if ("arrayBuffer" in source) source = await source.arrayBuffer();
  return WebAssembly.compile(source as BufferSource);
}

async function load(): Promise<Engine> {
  if (settings.wasm !== undefined) return start(await compile(settings.wasm), "custom", "given to configure()");
  if (settings.deterministic) return start(await compile(decode(binaries.plain)), "plain", "deterministic: true");
  const relaxed = decode(binaries.relaxed);
  if (WebAssembly.validate(relaxed)) {
    const fast = start(await compile(relaxed), "relaxed", "relaxed SIMD fuses multiply and add here");
    if (fast.core.fuses()) return fast;
    return start(await compile(decode(binaries.plain)), "plain", "relaxed SIMD does not fuse here");
  }
  const plain = decode(binaries.plain);
  if (!WebAssembly.validate(plain)) throw new StateError("this runtime has no WebAssembly SIMD, which gruvy needs");
  return start(await compile(plain), "plain", "this runtime has no relaxed SIMD");
}

/** The engine, started at the first call. */
export function getEngine(): Promise<Engine> {
  engine ??= load().then(
    (started) => {
      loaded = started.info;
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
export async function configure(options: Settings): Promise<void> {
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
  if (engine) throw new StateError("configure() must come before the first model");
  settings = { ...settings, ...options };
  await getEngine();
}

/** Which binary runs, and on how many threads. */
export function runtimeInfo(): RuntimeInfo {
  if (loaded) return { ...loaded };
  const relaxed =
    !settings.deterministic && settings.wasm === undefined && WebAssembly.validate(decode(binaries.relaxed));
  return {
    binary: settings.wasm ? "custom" : relaxed ? "relaxed" : "plain",
    reason: "expected; nothing has run yet",
    threads: 1,
  };
}
