/**
 * Runs one workload and prints what it did to the memory, for memory.test.ts.
 * A process of its own: it alone then decides what is on the heap.
 *
 *   node --expose-gc --import tsx memory.ts train | cycles | stream
 */
import { getEngine } from "../../../host/core/wasm.ts";
import {
  adam,
  configure,
  dense,
  dropout,
  embedding,
  gru,
  type Layer,
  layerNorm,
  type Model,
  masking,
  sequential,
} from "../../../host/index.ts";
import { randomLabels, randomTensor } from "../../kit/models.ts";

await configure({ deterministic: true });
const { arena } = await getEngine();
/** What the engine itself has taken. */
const { taken } = arena;
const gc = (globalThis as unknown as { gc: () => void }).gc;

interface Reading {
  /** Bytes of the heap that are in use. */
  heap: number;
  /** Bytes of typed arrays outside of it. */
  buffers: number;
  /** Bytes of blocks that models have in the arena. */
  taken: number;
  /** Bytes of the linear memory. */
  memory: number;
}

async function read(): Promise<Reading> {
  // Twice, and after a turn of the event loop: finalizers run between.
  for (let i = 0; i < 2; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return {
    heap: heapUsed,
    buffers: arrayBuffers - arena.memory.buffer.byteLength,
    taken: arena.taken - taken,
    memory: arena.memory.buffer.byteLength,
  };
}

const layers = () => [masking(), gru(6, { returnSequences: true }), dropout(0.2), layerNorm(), gru(5), dense(3)];
const build = (seed: number) => sequential(layers(), { inputShape: [null, 4], seed });

async function train() {
  const model = await build(1);
  model.compile({ loss: "sparseCategoricalCrossentropy", optimizer: adam({ amsgrad: true }), metrics: ["accuracy"] });
  const step = async (i: number) => {
    // Different shapes: each has a recording of its own, more of them than are kept.
    const [B, T] = [1 + (i % 7), 1 + (i % 9)];
    const lengths = i % 3 ? undefined : new Array<number>(B).fill(T);
    await model.trainOnBatch(randomTensor([B, T, 4], i % 10), randomLabels([B], 3, i % 10), { lengths });
  };
  for (let i = 0; i < 1000; i++) await step(i);
  const before = await read();
  for (let i = 0; i < 10_000; i++) await step(i);
  return { before, after: await read() };
}

async function cycles() {
  const cycle = async (i: number) => {
    const model = await build(i);
    model.compile({ loss: "sparseCategoricalCrossentropy", metrics: ["accuracy"] });
    model.compile({ loss: "sparseCategoricalCrossentropy", optimizer: "sgd" });
    const B = 1 + (i % 5);
    const [x, y] = [randomTensor([B, 1 + (i % 4), 4], i), randomLabels([B], 3, i)];
    await model.trainOnBatch(x, y);
    await model.fit(x, y, { batchSize: 2 });
    await model.predict(randomTensor([9, 9, 4], i));
    const closed = model.stream();
    closed.step(new Float32Array(4));
    closed.close();
    // Left open: it goes with its model.
    model.stream({ batch: 2 }).step(new Float32Array(8));
    model.dispose();
    model.dispose();
  };
  for (let i = 0; i < 500; i++) await cycle(i);
  const before = await read();
  for (let i = 0; i < 1000; i++) await cycle(i);
  return { before, after: await read() };
}

const STEPS = 200_000;

async function stream() {
  const results: Record<string, number> = {};
  const measure = async (
    what: string,
    layers: Layer[],
    frame: ArrayLike<number>,
    inputShape: (number | null)[],
    batch = 1,
  ) => {
    const model: Model = await sequential(layers, { inputShape, seed: 1 });
    const stream = model.stream({ batch });
    const run = (n: number) => {
      for (let i = 0; i < n; i++) stream.step(frame);
    };
    run(STEPS / 2);
    // The least of some rounds: code that the compiler has not optimized yet keeps its numbers on the heap.
    let least = Infinity;
    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      gc();
      const before = process.memoryUsage().heapUsed;
      run(STEPS);
      least = Math.min(least, process.memoryUsage().heapUsed - before);
    }
    results[what] = least;
    model.dispose();
  };
  const numbers = Array.from({ length: 4 }, (_, i) => i / 7);
  await measure(
    "a typed frame",
    [gru(6, { returnSequences: true }), layerNorm(), gru(5), dense(3)],
    Float32Array.from(numbers),
    [null, 4],
  );
  await measure("an array", [masking(), gru(5), dense(3, { activation: "softmax" })], numbers, [null, 4]);
  await measure("rows", [gru(5, { resetAfter: false })], Float32Array.from([...numbers, ...numbers]), [null, 4], 2);
  await measure("a token", [embedding(5, 3, { maskZero: true }), gru(5, { activation: "relu" })], [3], [null]);
  return results; // biome-ignore format: a table
}

console.log(JSON.stringify(await { train, cycles, stream }[process.argv[2] as "train"]()));
