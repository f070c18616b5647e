/**
 * Ours in a process of its own, for what a process decides once: its threads,
 * its memory. Plain JavaScript over the published files, so that nothing else
 * is loaded. Reads lines of JSON, answers each with one:
 *
 *   {"shape": {...}, "threads": 2, "train": true}    {"binary": "plain", "threads": 2}
 *   {"predict": 1}                                   {"outputs": [...]}
 *   {"run": 10}                                      {"ms": 123, "cpu": 120}
 *   {"memory": 1}                                    {"mb": 70}
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { adam, configure, dense, gru, runtimeInfo, sequential } from "../../../dist/index.js";

let model;
let x;
let y;
let call;

async function prepare({ shape: { I, units, classes, T, B }, threads, train }) {
  await configure({ threads });
  const last = units.length - 1;
  const layers = units.map((n, i) => gru(n, { returnSequences: i < last, recurrentInitializer: "glorotUniform" }));
  if (classes) layers.push(dense(classes, { activation: "softmax" }));
  model = await sequential(layers, { inputShape: [null, I], seed: 1 });
  x = { shape: [B, T, I], data: Float32Array.from({ length: B * T * I }, (_, i) => Math.sin(i * i)) };
  y = { shape: [B, classes], data: new Float32Array(B * classes) };
  for (let b = 0; b < B; b++) y.data[b * classes + (b % classes)] = 1;
  if (train) model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: 1e-4 }) });
  call = train ? () => model.trainOnBatch(x, y) : () => model.predict(x);
  await call();
  const info = runtimeInfo();
  return { binary: info.binary, threads: info.threads };
}

async function run(calls) {
  const [start, before] = [performance.now(), process.cpuUsage()];
  for (let i = 0; i < calls; i++) await call();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - start, cpu: (user + system) / 1000 };
}

function memory() {
  try {
    return { mb: Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024 };
  } catch {
    return { mb: process.resourceUsage().maxRSS / 1024 }; // not Linux
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const reply = command.shape
    ? await prepare(command)
    : command.run
      ? await run(command.run)
      : command.predict
        ? { outputs: [...(await model.predict(x)).data] }
        : memory();
  console.log(JSON.stringify(reply));
}
