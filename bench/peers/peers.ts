import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Side } from "./compare.ts";
import type { LayerWeights } from "./onnx.ts";
import { LEARNING_RATE } from "./ours.ts";

export const here = dirname(fileURLToPath(import.meta.url));

export type PeerName = "onnxruntime-web" | "onnxruntime-node" | "tfjs-wasm" | "PyTorch" | "itself";

/** Installs at the first use: onnxruntime-web alone (140 MB), or everything from npm (900 MB). */
export function install(everything: boolean): void {
  const marker = join(here, "node_modules", ".package-lock.json");
  const current = existsSync(marker) && statSync(marker).mtimeMs >= statSync(join(here, "package-lock.json")).mtimeMs;
  if (current && (!everything || existsSync(join(here, "node_modules", "onnxruntime-node")))) return;
  console.log(`installing the peers (${everything ? 900 : 140} MB, once)`);
  // No install scripts: onnxruntime-node's would download for graphics cards.
  const omit = everything ? [] : ["--omit=optional"];
  const options = { cwd: here, stdio: "inherit" } as const;
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", ...omit], options);
}

export function node24(): string {
  const platform = `${process.platform}-${process.arch}`;
  for (const name of [`node-${platform}`, `node-bin-${platform}`]) {
    const path = join(here, "node_modules", name, "bin", "node");
    if (existsSync(path)) return path;
  }
  throw new Error(`no Node 24 for ${platform} in bench/peers/node_modules`);
}

/** The version that is installed. */
export function versionOf(name: string): string | undefined {
  const path = join(here, "node_modules", name, "package.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).version : undefined;
}

// The peers are not installed where types are checked, so what is used of them is written down here.
interface OrtTensor {
  data: Float32Array;
}
interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  env: { wasm: { numThreads: number; simd: boolean } };
  Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}

async function ortSession(name: "onnxruntime-web" | "onnxruntime-node", model: Uint8Array) {
  const ort = (await import(name)) as Ort;
  if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"],
    graphOptimizationLevel: "all",
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
  });
  return { ort, session };
}

/** A model over whole sequences, its input set once. */
export async function ortModel(
  name: "onnxruntime-web" | "onnxruntime-node",
  model: Uint8Array,
  x: { shape: number[]; data: Float32Array },
) {
  const { ort, session } = await ortSession(name, model);
  const feeds = { x: new ort.Tensor("float32", x.data, x.shape) };
  return {
    predict: async () => (await session.run(feeds)).y.data,
    close: () => session.release(),
  };
}

/**
 * A model step by step. The state is carried in the tensor that came out; the
 * frame's tensor is made once and overwritten. Outputs allocated beforehand
 * are of no use: onnxruntime-web does not copy them back.
 */
export async function ortStream(
  name: "onnxruntime-web" | "onnxruntime-node",
  model: Uint8Array,
  features: number,
  units: number,
) {
  const { ort, session } = await ortSession(name, model);
  const frame = new Float32Array(features);
  const feeds: Record<string, OrtTensor> = {
    x: new ort.Tensor("float32", frame, [1, 1, features]),
    h: new ort.Tensor("float32", new Float32Array(units), [1, 1, units]),
  };
  return {
    async step(next: Float32Array): Promise<Float32Array> {
      frame.set(next);
      feeds.h = (await session.run(feeds)).y;
      return feeds.h.data;
    },
    close: () => session.release(),
  };
}

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface TfModel {
  predict(x: TfTensor): TfTensor;
  trainOnBatch(x: TfTensor, y: TfTensor): Promise<number>;
  setWeights(weights: TfTensor[]): void;
  compile(options: object): void;
  dispose(): void;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(data: Float32Array, shape: number[]): TfTensor;
  sequential(options: { layers: unknown[] }): TfModel;
  layers: { gru(options: object): unknown; dense(options: object): unknown };
  train: { adam(rate: number, beta1: number, beta2: number, epsilon: number): unknown };
  version: Record<string, string>;
}

/** TensorFlow.js on its WebAssembly back end, one thread, gates of the true sigmoid. */
export async function tfModel(
  layers: readonly LayerWeights[],
  x: { shape: number[]; data: Float32Array },
  y: { shape: number[]; data: Float32Array },
) {
  const names = ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"];
  // Both come as CommonJS, whose exports arrive as "default".
  const load = async (name: string) => {
    const module = await import(name);
    return module.default ?? module;
  };
  const tf: Tf = await load(names[0]);
  const wasm = await load(names[1]);
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(`${join(here, "node_modules", names[1], "wasm-out")}/`);
  if (!(await tf.setBackend("wasm"))) throw new Error("tfjs-backend-wasm did not start");
  await tf.ready();
  const last = layers.findLastIndex((layer) => layer.type === "gru");
  const model = tf.sequential({
    layers: layers.map(({ type, kernel }, i) =>
      type === "dense"
        ? tf.layers.dense({ units: kernel.shape[1], activation: "softmax" })
        : tf.layers.gru({
            units: kernel.shape[1] / 3,
            recurrentActivation: "sigmoid",
            // Its orthogonal one takes half a minute for 512 units; the weights are replaced anyway.
            recurrentInitializer: "glorotUniform",
            returnSequences: i < last,
            ...(i === 0 ? { inputShape: [null, kernel.shape[0]] } : {}),
          }),
    ),
  });
  const weights = layers.flatMap((layer) => [layer.kernel, layer.recurrentKernel, layer.bias]);
  model.setWeights(weights.filter((w) => w !== undefined).map((w) => tf.tensor(w.data, w.shape)));
  model.compile({
    optimizer: tf.train.adam(LEARNING_RATE, 0.9, 0.999, 1e-8),
    loss: "categoricalCrossentropy",
  });
  const [xs, ys] = [tf.tensor(x.data, x.shape), tf.tensor(y.data, y.shape)];
  return {
    async predict() {
      const out = model.predict(xs);
      const data = await out.data();
      out.dispose();
      return data;
    },
    train: () => model.trainOnBatch(xs, ys),
    close() {
      model.dispose();
      xs.dispose();
      ys.dispose();
    },
  };
}

/** Debian's: its NumPy and OpenBLAS go with it. */
const PYTHON = process.env.GRUVY_BENCH_PYTHON ?? "/usr/bin/python3";

/** A product of 512 x 512 matrices by PyTorch, in GFLOP/s. */
const PRODUCT = `
import time, torch
torch.set_num_threads(1)
a = torch.randn(512, 512)
a @ a
start = time.perf_counter()
a @ a
print(2 * 512**3 / (time.perf_counter() - start) / 1e9)
`;

/** Whether PyTorch is there, and no slower than it can be: with the reference BLAS it does 2 GFLOP/s, no fair peer. */
export function hasTorch(): boolean {
  let speed: number;
  try {
    speed = Number(
      execFileSync(PYTHON, ["-c", PRODUCT], { env: torchEnvironment(), stdio: ["ignore", "pipe", "ignore"] }),
    );
  } catch {
    return false;
  }
  if (speed > 10) return true;
  console.log(`PyTorch multiplies at ${speed.toFixed(1)} GFLOP/s here: apt-get install libopenblas0-openmp`);
  return false;
}

function torchEnvironment(): NodeJS.ProcessEnv {
  // Some images set a core type; OpenBLAS itself knows better.
  const { OPENBLAS_CORETYPE, ...env } = process.env;
  return { ...env, OMP_NUM_THREADS: "1" };
}

function base64({ shape, data }: { shape: number[]; data: Float32Array }) {
  return { shape, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64") };
}

/** Sends lines of JSON to a child process and awaits a line for each. */
export class LineChild {
  private readonly child: ChildProcess;
  private failure?: Error;
  private readonly waiting: { resolve(reply: unknown): void; reject(error: Error): void }[] = [];

  constructor(command: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env });
    createInterface({ input: this.child.stdout! }).on("line", (line) =>
      this.waiting.shift()?.resolve(JSON.parse(line)),
    );
    const fail = (why: string) => {
      this.failure = new Error(`${command} ${args.join(" ")}: ${why}`);
      for (const { reject } of this.waiting) reject(this.failure);
    };
    this.child.on("error", (error) => fail(error.message));
    this.child.stdin!.on("error", (error) => fail(error.message));
    this.child.on("exit", (code) => fail(`ended with ${code}`));
  }

  ask<T>(command: object): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.failure) throw this.failure;
      this.waiting.push({ resolve: resolve as (reply: unknown) => void, reject });
      this.child.stdin!.write(`${JSON.stringify(command)}\n`);
    });
  }

  /** This child, timed where it runs. */
  side(): Side {
    return {
      run: (calls) => this.ask({ run: calls }),
      close: () => this.close(),
    };
  }

  close(): void {
    this.child.stdin!.end();
  }
}

/** PyTorch in a process of its own, with the model of these weights. */
export async function torchModel(
  layers: readonly LayerWeights[],
  x: { shape: number[]; data: Float32Array },
  labels: number[],
) {
  const child = new LineChild(PYTHON, [join(here, "children", "pytorch.py")], torchEnvironment());
  const { version } = await child.ask<{ version: string }>({
    layers: layers.map(({ type, kernel, recurrentKernel, bias }) => ({
      type,
      kernel: base64(kernel),
      recurrentKernel: recurrentKernel && base64(recurrentKernel),
      bias: base64(bias),
    })),
    x: base64(x),
    y: labels,
    learningRate: LEARNING_RATE,
  });
  return {
    version,
    async predict() {
      const { data } = await child.ask<{ data: string }>({ predict: 1 });
      return new Float32Array(new Uint8Array(Buffer.from(data, "base64")).buffer);
    },
    losses: async (n: number) => (await child.ask<{ losses: number[] }>({ losses: n })).losses,
    peakMemory: async () => (await child.ask<{ mb: number }>({ memory: 1 })).mb,
    side: child.side(),
    close: () => child.close(),
  };
}
