/**
 * Trains a small stack whose kernels are worth sharing and runs a stream pool of
 * it, and prints a hash of the trained bytes and the outputs. Run as a process of its own: settings hold for a process.
 *
 *   node --import tsx training.ts THREADS [crash]
 */
import {
  adam,
  attention,
  configure,
  dense,
  gru,
  mgu,
  minGru,
  multiHeadAttention,
  quantize,
  runtimeInfo,
  sequential,
} from "../../../host/index.ts";

const [threads, crash] = process.argv.slice(2);
await configure({ threads: Number(threads), deterministic: true });
const model = await sequential(
  [
    gru(72, { returnSequences: true, layerNorm: true, zoneout: 0.1 }),
    minGru(48, { returnSequences: true }),
    mgu(40, { returnSequences: true }),
    gru(65, { resetAfter: false, dropout: 0.1, recurrentDropout: 0.1 }),
    dense(10, { activation: "softmax" }),
  ],
  { inputShape: [null, 40], seed: 1 },
);
model.compile({ loss: "sparseCategoricalCrossentropy", optimizer: adam() });
const [B, T] = [50, 21];
let state = 1;
const noise = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
};
const x = { shape: [B, T, 40], data: Float32Array.from({ length: B * T * 40 }, noise) };
const y = Int32Array.from({ length: B }, (_, i) => i % 10);
const lengths = Int32Array.from({ length: B }, (_, i) => 1 + (i % T));
const { pool } = model.network.engine;
const until = performance.now() + 10_000;
for (let i = 0; i < 12; i++) await model.trainOnBatch(x, y, { lengths });
// Workers come up while the first steps run; wait for them, then let them take part.
while (pool && pool.ready < pool.size - 1 && performance.now() < until) await new Promise((r) => setTimeout(r, 5));
if (crash) {
  // A kernel that traps: its operands lie outside of the memory.
  try {
    pool!.run({
      kernel: pool!.number("gruForward"),
      args: new Array(15).fill(2 ** 30),
      from: 0,
      to: 1000,
      grain: 1,
    });
    console.log("no error");
  } catch (error) {
    console.log(`${(error as Error).name}: ${(error as Error).message}`);
  }
}
for (let i = 0; i < 12; i++) await model.trainOnBatch(x, y, { lengths });
let hash = 0;
const add = (bytes: Uint8Array) => {
  for (const byte of bytes) hash = (Math.imul(hash, 31) + byte) | 0;
};
add(model.toBytes());
// Ranges of calibration are arguments that are no whole numbers, as rates are.
const small = await quantize(model, { precision: "int8", calibration: { ...x, data: x.data.map((v) => 0.7 * v) } });
for (let i = 0; i < 8; i++) add(new Uint8Array((await small.predict(x)).data.buffer));
// Batches of a stream pool are shared out too.
const streams = model.streamPool({ capacity: 300 });
const ids = Array.from({ length: 300 }, () => streams.open());
for (let i = 0; i < 8; i++) {
  for (const id of ids) streams.push(id, x.data.subarray(40 * (id + i), 40 * (id + i + 1)));
  for (const output of streams.flush().values())
    add(new Uint8Array(output.buffer, output.byteOffset, output.byteLength));
}
// What cannot stream.
const attentive = await sequential(
  [
    attention({ score: "additive", units: 24, dropout: 0.1 }),
    multiHeadAttention(4, { units: 40, causal: true }),
    dense(10, { activation: "softmax" }),
  ],
  { inputShape: [null, 40], seed: 1 },
);
attentive.compile({ loss: "sparseCategoricalCrossentropy", optimizer: adam() });
const steps = { shape: [B, T], data: Int32Array.from({ length: B * T }, (_, i) => i % 10) };
for (let i = 0; i < 12; i++) await attentive.trainOnBatch(x, steps, { lengths });
add(attentive.toBytes());
console.log(JSON.stringify({ hash, ready: pool?.ready ?? 0, jobs: pool?.jobs ?? 0, ...runtimeInfo() }));
