import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agree, alternate, type Comparison, inProcess, type Side, spend, versus } from "./compare.ts";
import { onnxModel } from "./onnx.ts";
import { batchOf, describe, gruvy, layersOf, noise, ourModel, type Shape } from "./ours.ts";
import { here, LineChild, ortModel, ortStream, type PeerName, tfModel, torchModel } from "./peers.ts";

/** A target: plain binary, relaxed binary. Of the ratio, or an upper limit of ours. */
export interface Target {
  of: "ratio" | "ours";
  plain: number;
  relaxed: number;
}

export interface Row {
  workload: string;
  peer: PeerName;
  unit: "us" | "ms" | "MB";
  target: Target;
  /** Why this row cannot run yet. */
  missing?: string;
  /** @param seconds for both sides together */
  run(seconds: number): Promise<Comparison & { agreement?: number; note?: string }>;
}

/** float32 sums of some hundred terms, over up to a hundred steps that forget. */
const FLOAT = 2e-5;
/** Weights of 8 bits and activations of 7 or 8, 50 steps. */
const INT8 = 0.1;

const ratio = (plain: number, relaxed = plain): Target => ({ of: "ratio", plain, relaxed });

async function timed(ours: Side, theirs: Side, seconds: number, unit: Row["unit"]): Promise<Comparison> {
  const { ours: a, theirs: b, ...rest } = await alternate(ours, theirs, seconds);
  const scale = unit === "us" ? 1000 : 1;
  const scaled = (t: typeof a) => ({ ...t, median: t.median * scale, min: t.min * scale, max: t.max * scale });
  return { ours: scaled(a), theirs: scaled(b), ...rest };
}

const quantize = (gruvy as { quantize?: (model: unknown, options: object) => Promise<unknown> }).quantize;
const probe = await ourModel({ I: 1, units: [1], T: 1, B: 1 });
const hasPool = "streamPool" in probe;
probe.dispose();
type Model = Awaited<ReturnType<typeof ourModel>>;

/** The same model, and the one that runs: itself, or quantised to int8. */
async function models(shape: Shape, int8: boolean): Promise<{ model: Model; running: Model }> {
  const model = await ourModel(shape);
  return { model, running: int8 ? ((await quantize!(model, { precision: "int8" })) as Model) : model };
}

function stream(H: number, int8: boolean, target: Target): Row {
  return {
    workload: `stream.step, batch 1, I = H = ${H}${int8 ? ", int8" : ""}`,
    peer: "onnxruntime-web",
    unit: "us",
    target,
    missing: int8 && !quantize ? "quantize() is not exported yet" : undefined,
    async run(seconds) {
      const { model, running } = await models({ I: H, units: [H], T: 1, B: 1 }, int8);
      const ours = running.stream();
      const theirs = await ortStream("onnxruntime-web", onnxModel(layersOf(model), 1, 1, true), H, H);
      const frames = Array.from({ length: 16 }, (_, i) => noise(H, 1, i));
      let agreement = 0;
      for (const [i, frame] of frames.entries()) {
        const tolerance = int8 ? INT8 : FLOAT;
        agreement = Math.max(agreement, agree(`step ${i}`, ours.step(frame), await theirs.step(frame), tolerance));
      }
      let i = 0;
      // No promise a step: ours has none.
      const a: Side = {
        run: (calls) =>
          spend(() => {
            for (let n = 0; n < calls; n++) ours.step(frames[n & 15]);
          }),
      };
      const times = await timed(
        a,
        inProcess(() => theirs.step(frames[i++ & 15])),
        seconds,
        "us",
      );
      await theirs.close();
      model.dispose();
      if (running !== model) running.dispose();
      return { ...times, agreement };
    },
  };
}

function predict(shape: Shape, peer: "onnxruntime-web" | "onnxruntime-node", target: Target, int8 = false): Row {
  return {
    workload: `predict, ${describe(shape)}${int8 ? ", int8 (theirs float32)" : ""}`,
    peer,
    unit: "ms",
    target,
    missing: int8 && !quantize ? "quantize() is not exported yet" : undefined,
    async run(seconds) {
      const { model, running } = await models(shape, int8);
      const { x, xTimeMajor } = batchOf(shape);
      const theirs = await ortModel(peer, onnxModel(layersOf(model), shape.T, shape.B), xTimeMajor);
      const outputs = (await running.predict(x)).data;
      const agreement = agree("outputs", outputs, await theirs.predict(), int8 ? INT8 : FLOAT);
      const times = await timed(
        inProcess(() => running.predict(x)),
        inProcess(theirs.predict),
        seconds,
        "ms",
      );
      await theirs.close();
      model.dispose();
      if (running !== model) running.dispose();
      return { ...times, agreement };
    },
  };
}

/** Losses of the first steps: the first to rounding, and how far the steps bring it to a hundredth. */
function sameTraining(ours: number[], theirs: number[]): void {
  const last = ours.length - 1;
  agree("first loss", [ours[0]], [theirs[0]], 1e-5);
  agree(`change of the loss in ${last} steps`, [ours[last] - ours[0]], [theirs[last] - theirs[0]], 0.02);
}

async function lossesOf(n: number, step: () => Promise<number>): Promise<number[]> {
  const losses: number[] = [];
  for (let i = 0; i < n; i++) losses.push(await step());
  return losses;
}

function trainTorch(shape: Shape, target: Target): Row {
  return {
    workload: `training step, ${describe(shape)}, Adam`,
    peer: "PyTorch",
    unit: "ms",
    target,
    async run(seconds) {
      const model = await ourModel(shape);
      const { x, xTimeMajor, y, labels } = batchOf(shape);
      const theirs = await torchModel(layersOf(model), xTimeMajor, labels);
      const agreement = agree("outputs", (await model.predict(x)).data, await theirs.predict(), FLOAT);
      const step = () => model.trainOnBatch(x, y);
      sameTraining(await lossesOf(6, async () => (await step()).loss), await theirs.losses(6));
      const times = await timed(inProcess(step), theirs.side, seconds, "ms");
      theirs.close();
      model.dispose();
      return { ...times, agreement };
    },
  };
}

function trainTfjs(shape: Shape, target: Target): Row {
  return {
    workload: `training step, ${describe(shape)}, Adam, reset before`,
    peer: "tfjs-wasm",
    unit: "ms",
    target,
    async run(seconds) {
      const model = await ourModel({ ...shape, resetAfter: false });
      const { x, y } = batchOf(shape);
      const theirs = await tfModel(layersOf(model), x, y);
      const agreement = agree("outputs", (await model.predict(x)).data, await theirs.predict(), FLOAT);
      const step = () => model.trainOnBatch(x, y);
      sameTraining(await lossesOf(3, async () => (await step()).loss), await lossesOf(3, theirs.train));
      const times = await timed(inProcess(step), inProcess(theirs.train), seconds, "ms");
      theirs.close();
      model.dispose();
      return { ...times, agreement };
    },
  };
}

/** Ours in a process of its own. */
async function ourChild(shape: Shape, threads: number, train: boolean): Promise<LineChild> {
  const child = new LineChild(process.execPath, [join(here, "children", "ours.mjs")]);
  const info = await child.ask<{ threads: number }>({ shape, threads, train });
  if (info.threads !== threads) throw new Error(`asked for ${threads} threads, got ${info.threads}`);
  return child;
}

function threads(shape: Shape, train: boolean, target: Target, busy = false): Row {
  const condition = busy ? "; one other process busy" : "";
  return {
    workload: `2 threads against 1: ${train ? "training step" : "predict"}, ${describe(shape)}${condition}`,
    peer: "itself",
    unit: "ms",
    target,
    async run(seconds) {
      const [two, one] = [await ourChild(shape, 2, train), await ourChild(shape, 1, train)];
      const neighbour = busy
        ? spawn(process.execPath, [join(here, "children", "busy.mjs")], { stdio: "ignore" })
        : undefined;
      try {
        const outputs = await Promise.all(
          [two, one].map((child) => child.ask<{ outputs: number[] }>({ predict: 1 }).then((reply) => reply.outputs)),
        );
        const agreement = agree("outputs", outputs[0], outputs[1], 0); // to the bit
        // The processor's time adds both threads up, and says nothing here.
        return { ...(await timed(two.side(), one.side(), seconds, "ms")), cpuRatio: undefined, agreement };
      } finally {
        neighbour?.kill();
        two.close();
        one.close();
      }
    },
  };
}

/** Milliseconds from the start of a process to its first output, and that output. */
function firstOutput(script: string, ...args: string[]): Promise<{ ms: number; text: string }> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [join(here, "children", script), ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let ms = 0;
    let text = "";
    child.stdout.on("data", (chunk) => {
      ms ||= performance.now() - start;
      text += chunk;
    });
    child.on("exit", (code) =>
      code === 0 ? resolve({ ms, text }) : reject(new Error(`${script} ended with ${code}`)),
    );
  });
}

const coldStart: Row = {
  workload: "cold start: process start to first result over bare Node, H=64",
  peer: "onnxruntime-node",
  unit: "ms",
  target: { of: "ours", plain: 12, relaxed: 12 },
  async run(seconds) {
    const folder = mkdtempSync(join(tmpdir(), "gruvy-start-"));
    try {
      // As users save it, with the initialisers of the defaults.
      const model = await gruvy.sequential([gruvy.gru(64)], { inputShape: [null, 64], seed: 1 });
      const [saved, onnx] = [join(folder, "model.safetensors"), join(folder, "model.onnx")];
      writeFileSync(saved, model.toBytes());
      writeFileSync(onnx, onnxModel(layersOf(model), 1, 1, true));
      model.dispose();
      const kinds = [["start-bare.mjs"], ["start-ours.mjs", saved], ["start-ort.mjs", onnx]] as const;
      const first = async (i: number) => firstOutput(kinds[i][0], ...kinds[i].slice(1));
      const results = [Number((await first(1)).text), Number((await first(2)).text)];
      const agreement = agree("first number", [results[0]], [results[1]], 1e-4);
      const times: number[][] = [[], [], []];
      for (let round = 0; round < (seconds < 1 ? 3 : 25); round++)
        for (const i of [0, 1, 2]) times[i].push((await first(i)).ms);
      const bare = [...times[0]].sort((a, b) => a - b)[times[0].length >> 1];
      // Against the bare start just before, which met the same machine.
      const over = (i: number) => times[i].map((ms, round) => ms - times[0][round]);
      const best = times.map((t) => Math.min(...t));
      const note = `bare Node ${bare.toFixed(0)} ms; by the best of each: ours +${(best[1] - best[0]).toFixed(1)}, theirs +${(best[2] - best[0]).toFixed(1)} ms`;
      return { ...versus(over(1), over(2)), agreement, note };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

const STACK: Shape = { I: 16, units: [128, 64, 32], classes: 10, T: 100, B: 1 };
const TRAIN_STACK: Shape = { ...STACK, T: 50, B: 32 };
const TRAIN_256: Shape = { I: 128, units: [256], classes: 10, T: 50, B: 32 };
const gru = (H: number, B: number): Shape => ({ I: H, units: [H], T: 50, B });

const memory: Row = {
  workload: `peak memory of the whole process, training ${describe(TRAIN_STACK)}`,
  peer: "PyTorch",
  unit: "MB",
  target: { of: "ours", plain: 90, relaxed: 90 },
  async run(seconds) {
    const peaks = { ours: [] as number[], theirs: [] as number[] };
    const [rounds, steps] = seconds < 1 ? [1, 3] : [3, 100];
    for (let round = 0; round < rounds; round++) {
      const child = await ourChild(TRAIN_STACK, 1, true);
      await child.ask({ run: steps });
      peaks.ours.push((await child.ask<{ mb: number }>({ memory: 1 })).mb);
      child.close();
      const model = await ourModel(TRAIN_STACK);
      const { xTimeMajor, labels } = batchOf(TRAIN_STACK);
      const torch = await torchModel(layersOf(model), xTimeMajor, labels);
      model.dispose();
      await torch.losses(steps);
      peaks.theirs.push(await torch.peakMemory());
      torch.close();
    }
    return versus(peaks.ours, peaks.theirs);
  },
};

interface StreamPool {
  open(): number;
  push(id: number, frame: Float32Array): void;
  flush(): { get(id: number): Float32Array | undefined };
  close(id: number): void;
}

const STREAMS = 1000;
const POOL_H = 128;

/** 1,000 streams, one frame each: a flush of the pool, against stepping one after the other. */
function pool(peer: "itself" | "onnxruntime-web", target: Target): Row {
  return {
    workload: `a frame of ${STREAMS} streams at once, I = H = ${POOL_H}, streamPool against one by one`,
    peer,
    unit: "ms",
    target,
    missing: hasPool ? undefined : "streamPool() does not exist yet",
    async run(seconds) {
      const model = await ourModel({ I: POOL_H, units: [POOL_H], T: 1, B: 1 });
      const pool = (model as unknown as { streamPool(options: object): StreamPool }).streamPool({ capacity: STREAMS });
      const ids = Array.from({ length: STREAMS }, () => pool.open());
      const frames = ids.map((_, i) => noise(POOL_H, 1, i));
      const flush = () => {
        for (let i = 0; i < STREAMS; i++) pool.push(ids[i], frames[i]);
        return pool.flush();
      };
      const onnx = onnxModel(layersOf(model), 1, 1, true);
      // The peer's state is a tensor that it is given, so one session serves all streams in turn.
      const theirs = peer === "itself" ? undefined : await ortStream(peer, onnx, POOL_H, POOL_H);
      const own = ids.map(() => model.stream());
      const oneByOne = async () => {
        let last: Float32Array | undefined;
        for (let i = 0; i < STREAMS; i++) last = theirs ? await theirs.step(frames[i]) : own[i].step(frames[i]);
        return last!;
      };
      if (theirs) for (let i = 0; i < STREAMS; i++) own[i].step(frames[i]);
      const outputs = flush();
      const agreement = theirs
        ? agree("stream 0", outputs.get(ids[0])!, await theirs.step(frames[0]), FLOAT)
        : agree("last stream", outputs.get(ids[STREAMS - 1])!, await oneByOne(), FLOAT);
      const times = await timed(inProcess(flush), inProcess(oneByOne), seconds, "ms");
      await theirs?.close();
      model.dispose();
      return { ...times, agreement };
    },
  };
}

export const ROWS: readonly Row[] = [
  stream(64, false, ratio(11, 13)),
  stream(128, false, ratio(4.2, 5)),
  stream(128, true, ratio(5.5, 6.5)),
  stream(256, false, ratio(1.9, 2.2)),
  stream(256, true, ratio(3.3, 4)),
  stream(512, false, ratio(1.3, 1.3)),
  stream(512, true, ratio(2.5, 3.1)),
  predict(STACK, "onnxruntime-node", ratio(1, 1.2)),
  predict({ ...STACK, B: 32 }, "onnxruntime-web", ratio(1.8, 2.4)),
  predict({ ...STACK, B: 32 }, "onnxruntime-node", ratio(0.85, 1.1)),
  ...[256, 512].flatMap((H) => [32, 64].map((B) => predict(gru(H, B), "onnxruntime-web", ratio(1.65, 2.1)))),
  predict(gru(256, 32), "onnxruntime-node", ratio(0.75, 1), true),
  trainTorch(TRAIN_STACK, ratio(1.3, 1.6)),
  trainTorch(TRAIN_256, ratio(0.85, 1.05)),
  trainTfjs(TRAIN_STACK, ratio(22, 27)),
  trainTfjs(TRAIN_256, ratio(22, 27)),
  threads(gru(128, 32), false, ratio(1.75)),
  threads(gru(256, 64), false, ratio(1.75)),
  threads({ ...TRAIN_256, units: [128] }, true, ratio(1.75)),
  threads(TRAIN_256, true, ratio(1.75)),
  // At most 1.1 times the time of one thread in the same condition.
  threads(gru(256, 32), false, ratio(1 / 1.1), true),
  threads(TRAIN_256, true, ratio(1 / 1.1), true),
  coldStart,
  memory,
  pool("itself", ratio(1.4)),
  pool("onnxruntime-web", ratio(6)),
];
