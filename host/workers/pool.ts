import type { Arena, Block } from "../core/arena.ts";
import { StateError } from "../core/errors.ts";
import { builtin } from "../core/host.ts";
import {
  ACTIVE,
  argumentsOf,
  COUNT,
  claim,
  END,
  FAILED,
  GENERATION,
  GRAIN,
  KERNEL,
  MESSAGE,
  NEXT,
  OPEN,
  READY,
  WORDS,
} from "./control.js";

/** A kernel call whose items threads share out. */
export interface Job {
  readonly kernel: number;
  /** All arguments but the range and the thread. */
  readonly args: readonly number[];
  readonly from: number;
  readonly to: number;
  /** Items to claim at a time. */
  readonly grain: number;
}

interface WorkerThreads {
  Worker: new (url: URL, options: object) => Thread & { on(event: "error", listener: (error: Error) => void): void };
}

interface Thread {
  unref?(): void;
  terminate(): unknown;
}

/** Whether this runtime can start threads at all. */
export function hasWorkers(): boolean {
  return builtin("worker_threads") !== undefined || typeof Worker !== "undefined";
}

/** Cores that this process may use. */
export function coreCount(): number {
  const os = builtin<{ availableParallelism?: () => number }>("os");
  return os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Main looks this often, some 20 microseconds, before it sleeps. */
const SPINS = 4000;
/** No kernel takes this long on a block; a thread that does has died. */
const PATIENCE = 60_000;

/**
 * Workers over the engine's shared memory. They start with the first job that
 * is worth it, share out items by an atomic counter, and sleep between jobs.
 * The calling thread works along; a job is over when it returns.
 */
export class Pool {
  private readonly block: Block;
  private readonly threads: Thread[] = [];
  private started = false;
  private mayWait = true;
  /** Jobs run so far. */
  jobs = 0;

  constructor(
    private readonly module: WebAssembly.Module,
    private readonly arena: Arena,
    private readonly names: readonly string[],
    private readonly kernels: ((...args: number[]) => unknown)[],
    /** Threads in all, the calling one among them. */
    readonly size: number,
  ) {
    this.block = arena.take(4 * WORDS);
  }

  private get control(): Int32Array {
    const { address } = this.block;
    return this.arena.i32.subarray(address >>> 2, (address >>> 2) + WORDS);
  }

  /** Starts the workers; they report when they are up, and nobody waits for them. */
  private start(): void {
    this.started = true;
    const setup = {
      gruvy: true,
      module: this.module,
      memory: this.arena.memory,
      names: [...this.names],
      control: this.block.address,
    };
    try {
      for (let thread = 1; thread < this.size; thread++) this.threads.push(this.startThread({ ...setup, thread }));
    } catch (error) {
      this.fail(error);
    }
  }

  private startThread(setup: object): Thread {
    const node = builtin<WorkerThreads>("worker_threads");
    if (node) {
      // Without the flags of this process: what it preloads is nothing to a worker.
      const options = { workerData: setup, execArgv: [] };
      const worker = new node.Worker(new URL("./worker.js", import.meta.url), options);
      worker.on("error", (error) => this.fail(error));
      worker.unref?.();
      return worker;
    }
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onerror = (event) => this.fail(event.message);
    worker.postMessage(setup);
    return worker;
  }

  /** A worker that does not come up leaves one thread; one that dies later is an error of the next job. */
  private fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (this.ready === 0) this.problem ??= `workers do not start: ${message}`;
    else this.died ??= `a worker failed: ${message}`;
  }

  /** Why there is one thread after all. */
  problem?: string;
  private died?: string;

  /** Runs a job on all threads that are up. */
  run(job: Job): void {
    if (this.died) throw new StateError(this.died);
    this.jobs++;
    const { control, kernels } = this;
    control[KERNEL] = job.kernel;
    control[COUNT] = job.args.length;
    argumentsOf(control, job.args.length).set(job.args);
    control[END] = job.to;
    control[GRAIN] = job.grain;
    control[FAILED] = 0;
    Atomics.store(control, NEXT, job.from);
    Atomics.store(control, OPEN, 1);
    Atomics.add(control, GENERATION, 1);
    Atomics.notify(control, GENERATION);
    try {
      claim(control, kernels, 0);
    } finally {
      Atomics.store(control, OPEN, 0);
      this.join(control);
    }
    if (control[FAILED]) {
      const text = String.fromCharCode(...control.subarray(MESSAGE + 1, MESSAGE + 1 + control[MESSAGE]));
      throw new StateError(`a worker failed: ${text}`);
    }
  }

  /** Waits until nobody is inside the job. */
  private join(control: Int32Array): void {
    let spins = 0;
    const start = performance.now();
    for (;;) {
      const active = Atomics.load(control, ACTIVE);
      if (active === 0) return;
      if (++spins < SPINS) continue;
      if (performance.now() - start > PATIENCE)
        throw new StateError("a worker has not finished its share within a minute; it has died");
      if (this.mayWait)
        try {
          Atomics.wait(control, ACTIVE, active, 100);
        } catch {
          // A page's main thread may not sleep; it looks again.
          this.mayWait = false;
        }
    }
  }

  /** Whether a worker is up to help; the first to ask starts them. */
  awake(): boolean {
    if (!this.started) this.start();
    return this.problem === undefined && this.ready > 0;
  }

  /** A kernel's number in the table. */
  number(name: string): number {
    return this.names.indexOf(name);
  }

  /** Workers that are up. */
  get ready(): number {
    return Atomics.load(this.control, READY);
  }

  /** Ends the workers. */
  close(): void {
    for (const thread of this.threads) thread.terminate();
  }
}
