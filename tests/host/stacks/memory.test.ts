import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { KERNELS, Program } from "../../../host/core/kernels.ts";
import {
  activation,
  add,
  affine,
  attention,
  average,
  bidirectional,
  type CallableLayer,
  concatenate,
  conv1d,
  dense,
  dropout,
  embedding,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  lightGru,
  type Model,
  masking,
  maximum,
  meanSquaredError,
  mgu,
  minGru,
  minimum,
  multiHeadAttention,
  multiply,
  padding1d,
  pooling1d,
  remask,
  repeat,
  reshape,
  reverse,
  sequential,
  subtract,
  timeDistributed,
  transpose,
} from "../../../host/index.ts";
import { layerFromConfig } from "../../../host/layers/index.ts";
import { Request } from "../../../host/stacks/recording.ts";
import { arena } from "../../kit/models.ts";

const KB = 1024;
const script = fileURLToPath(new URL("memory.ts", import.meta.url));

async function run(workload: string) {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", "--import", "tsx", script, workload],
    { timeout: 400_000 },
  ); // biome-ignore format: a command
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

// Together: each is a process with a core of its own.
const runs = Promise.all(["train", "cycles", "stream"].map(run));

test("10,000 training steps leave the memory as it was", async () => {
  const [{ before, after }] = await runs;
  assert.is(after.taken, before.taken, "blocks of the arena");
  assert.is(after.memory, before.memory, "linear memory");
  // What 50 bytes a step would come to.
  assert.ok(after.heap - before.heap < 500 * KB, `the heap grew by ${after.heap - before.heap} bytes`);
  assert.ok(after.buffers - before.buffers < 10 * KB, `buffers grew by ${after.buffers - before.buffers} bytes`);
});

test("1,000 models made, compiled, trained, streamed and disposed of leave nothing behind", async () => {
  const [, { before, after }] = await runs;
  assert.is(before.taken, 0);
  assert.is(after.taken, 0);
  assert.is(after.memory, before.memory, "linear memory");
  // A model left behind is about 50 KB; the heap after a collection varies by some 300.
  assert.ok(after.heap - before.heap < 1000 * KB, `the heap grew by ${after.heap - before.heap} bytes`);
  assert.ok(after.buffers - before.buffers < 10 * KB, `buffers grew by ${after.buffers - before.buffers} bytes`);
});

test("a step of a stream allocates nothing", async () => {
  const [, , grown] = await runs;
  // Over 200,000 steps: an object a step would be megabytes. What is left is the measurement's own.
  for (const [what, bytes] of Object.entries(grown)) assert.ok((bytes as number) < 16 * KB, `${what}: ${bytes} bytes`);
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return assert.unreachable("expected an error") as never;
}

/** Every layer, in every form that records differently. */
const LAYERS: Record<string, { layers: Layer[]; tokens?: boolean; steps?: boolean | number; inputs?: number }[]> = {
  gru: [true, false].flatMap((returnSequences) =>
    [true, false].flatMap((resetAfter) =>
      [
        ...[
          {},
          { useBias: false },
          { goBackwards: true },
          { activation: "relu" as const },
          { zeroOutputForMask: true },
        ],
        ...[
          { dropout: 0.1, recurrentDropout: 0.2, zoneout: 0.3 },
          { zoneout: 0.3, layerNorm: resetAfter },
        ],
      ].map((options) => ({ layers: [gru(5, { returnSequences, resetAfter, ...options })], steps: true })),
    ),
  ),
  ...Object.fromEntries(
    Object.entries({ minGru, lightGru, mgu }).map(([name, make]) => [
      name,
      [
        {},
        { returnSequences: true },
        { activation: "gelu" as const },
        { goBackwards: true, returnSequences: true },
      ].map((options) => ({ layers: [make(5, options)], steps: true })),
    ]),
  ),
  dense: ["linear", "relu", "softmax", "logSoftmax", "gelu"].flatMap((activation) =>
    [true, false].flatMap((useBias) =>
      [true, false].map((steps) => ({ layers: [dense(5, { activation: activation as "relu", useBias })], steps })),
    ),
  ),
  activation: ["linear", "tanh", "softmax", "logSoftmax"].map((name) => ({
    layers: [activation(name as "tanh")],
    steps: true,
  })),
  dropout: [
    { layers: [dropout(0.5)], steps: true },
    { layers: [dropout(0)], steps: true },
  ],
  embedding: [true, false].map((maskZero) => ({ layers: [embedding(5, 3, { maskZero })], tokens: true, steps: true })),
  layerNorm: [true, false].map((scale) => ({ layers: [layerNorm({ scale })], steps: true })),
  masking: [{ layers: [masking()], steps: true }],
  bidirectional: (["concat", "sum", "mul", "average"] as const).flatMap((merge) =>
    [true, false].map((returnSequences) => ({
      layers: [bidirectional(gru(5, { returnSequences }), { merge })],
      steps: true,
    })),
  ),
  conv1d: [{}, { padding: "causal" as const, dilation: 2 }, { activation: "relu" as const, useBias: false }].map(
    (options) => ({ layers: [conv1d(5, 3, { padding: "same", ...options })], steps: true }),
  ),
  pooling1d: (["max", "mean"] as const).flatMap((kind) =>
    [{ size: 2 }, { global: true }].map((options) => ({ layers: [pooling1d({ kind, ...options })], steps: true })),
  ),
  attention: [{}, { causal: true }, { score: "additive" as const }].map((options) => ({
    layers: [attention(options)],
    steps: true,
  })),
  multiHeadAttention: [{ layers: [multiHeadAttention(3)], steps: true }],
  remask: (["none", "reversed"] as const).map((to) => ({ layers: [remask(to)], steps: true })),
  reverse: [{ layers: [reverse()], steps: true }],
  timeDistributed: [{ layers: [timeDistributed(dense(5, { activation: "relu" }))], steps: true }],
  repeat: [{ layers: [repeat(3)] }],
  affine: [{ layers: [affine()], steps: true }],
  padding1d: [{}, { before: -1 }].map((options) => ({ layers: [padding1d(options)], steps: true })),
  reshape: [{ layers: [reshape([3, 1])] }],
  transpose: [{ layers: [transpose()], steps: 4 }],
  ...Object.fromEntries(
    [add, average, maximum, minimum, multiply, subtract, concatenate].map((make) => [
      make().type,
      [true, false].map((steps) => ({ layers: [make()], steps, inputs: 2 })),
    ]),
  ),
};

/** A layer by itself, or reading several inputs. */
async function modelOf(layers: Layer[], inputShape: (number | null)[], inputs: number): Promise<Model> {
  if (inputs === 1) return sequential(layers, { inputShape });
  const nodes = Array.from({ length: inputs }, () => input(inputShape));
  return graph({ inputs: nodes, outputs: (layers[0] as CallableLayer)(nodes) });
}

test("a layer is at most 4 forward and 8 backward kernel calls, packing included", async () => {
  // The message names every type there is, and so every layer that has no row here.
  const types = messageOf(() => layerFromConfig("none", "none", {})).match(/has (.*)$/)![1];
  assert.equal(Object.keys(LAYERS).sort(), types.split(", ").sort());
  const loss = meanSquaredError();
  for (const [type, forms] of Object.entries(LAYERS))
    for (const { layers, tokens, steps, inputs = 1 } of forms) {
      // Two layers and what merges them.
      const parts = type === "bidirectional" ? 2 : 1;
      const inputShape = [...(steps ? [steps === true ? null : steps] : []), ...(tokens ? [] : [3])];
      const model = await modelOf(layers, inputShape, inputs);
      const { network } = model;
      const each = <T>(value: T) => Array.from({ length: inputs }, () => value);
      network.enableTraining([], 4);
      const { packs: packed } = network as unknown as {
        packs: { training: boolean; record: (k: unknown, at: number) => void }[];
      };
      const packs = [false, true].map((training) => {
        const program = new Program(network.engine.core);
        for (const pack of packed) if (pack.training === training) pack.record(program.k, 0);
        // Attention packs each head by itself, when weights have changed.
        return type === "multiHeadAttention" || type === "attention" ? 0 : program.calls.length;
      });
      const what = `${type} ${JSON.stringify(layers[0].config)}`;
      const given = (mode: "train" | "gradients", mask?: "lengths" | "holes") =>
        [true, false].map(
          (initialState) =>
            new Request(mode, each(steps ? 4 : 1), 2, {
              objectives: mode === "train" ? [{ loss, weight: 1 }] : undefined,
              masks: each(steps ? mask : undefined),
              initialState,
              stateGradient: initialState,
              backward: true,
              inputGradient: true,
            }),
        );
      for (const mask of [undefined, "lengths", "holes"] as const) {
        for (const request of [...given("train", mask), ...given("gradients", mask)]) {
          const { program, outputs } = network.recording(request);
          const names = program.calls.map(({ kernel }) => KERNELS[kernel]);
          // Between forward and backward stands the loss, or the copy of the gradient that was given.
          const middle = request.options.objectives
            ? names.indexOf("regressionLoss")
            : program.calls.findIndex(({ args }) => args[1] === outputs[0].gradient);
          assert.ok(middle >= 0, what);
          const [forward, backward] = [names.slice(0, middle), names.slice(middle + 1)];
          const told = `${what}, ${request.key}: ${forward} | ${backward}`;
          assert.ok(forward.length + packs[0] <= 4 * parts, `${told}: ${forward.length} + ${packs[0]} forward`);
          assert.ok(backward.length + packs[1] <= 8 * parts, `${told}: ${backward.length} + ${packs[1]} backward`);
        }
        const { program } = network.recording(
          new Request("predict", each(steps ? 4 : 1), 2, { masks: each(steps ? mask : undefined) }),
        );
        assert.ok(program.calls.length + packs[0] <= 4 * parts, `${what}, predict`);
      }
      model.dispose();
    }
});

test("what a model takes it gives back, and describes", async () => {
  const { taken } = arena;
  const model = await sequential([gru(5, { returnSequences: true }), gru(4), dense(2)], { inputShape: [null, 3] });
  assert.ok(arena.taken > taken);
  model.compile({ loss: "meanSquaredError" });
  const x = { shape: [2, 3, 3], data: new Float32Array(18) };
  await model.predict(x);
  const used = arena.taken;
  // A smaller batch fits where the larger one was; a stream's memory comes and goes.
  await model.predict({ shape: [1, 2, 3], data: new Float32Array(6) });
  assert.is(arena.taken, used);
  const stream = model.stream();
  assert.ok(arena.taken > used);
  stream.close();
  stream.close();
  assert.is(arena.taken, used);
  // Compiling again takes nothing more.
  model.compile({ loss: "meanSquaredError" });
  assert.is(arena.taken, used);
  assert.match(model.plan.describe(), /gru_1\.recurrentKernel/);
  model.dispose();
  assert.is(arena.taken, taken);
});

test.run();
