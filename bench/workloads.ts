import { getEngine } from "../host/core/wasm.ts";
import { adam, bidirectional, dense, gru, type Model, quantize, sequential } from "../host/index.ts";
import { measure, measureAsync, type Times } from "./measure.ts";

/** One row of the results. */
export interface Row extends Times {
  name: string;
  /** Floating-point operations a call, where counting them makes sense. */
  flops?: number;
}

/** Values away from denormals, the same at each run. */
function noise(n: number, scale = 1): Float32Array {
  let state = 12345;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

/** Kernels by themselves, on packed operands. */
export async function kernels(seconds: number): Promise<Row[]> {
  const { core, arena } = await getEngine();
  const rows: Row[] = [];
  const run = (name: string, flops: number, floats: readonly number[], body: (...addresses: number[]) => void) => {
    const blocks = floats.map((n) => arena.take(4 * n));
    floats.forEach((n, i) => {
      arena.f32.set(noise(n, 0.1), blocks[i].address >> 2);
    });
    const addresses = blocks.map((block) => block.address);
    rows.push({ name, flops, ...measure(name, () => body(...addresses), seconds) });
    for (const block of blocks) arena.give(block);
  };
  for (const [m, k, n] of [
    [32, 256, 768],
    [64, 512, 1536],
    [1, 64, 192],
    [1, 256, 768],
  ])
    run(`gemm ${m}x${k}x${n}`, 2 * m * k * n, [m * n, m * k, k * n, n, 32768 + 64], (c, a, b, bias, work) =>
      core.gemm(c, a, b, bias, m, n, k, n, k, 0, work),
    );
  run(
    "gemmTransposed 128x1600x384",
    2 * 128 * 1600 * 384,
    [128 * 384, 384, 1600 * 128, 1600 * 384, core.gemmTransposedScratch(128, 384)],
    (dw, db, a, b, scratch) => core.gemmTransposed(dw, db, a, b, scratch, 128, 384, 1600, 384, 128, 384),
  );
  for (const [I, H] of [
    [16, 128],
    [128, 64],
    [256, 256],
  ]) {
    const [T, B] = [50, 32];
    const G = core.gruGatesStride(H, 0, 0);
    const work = 2 * T * B * 3 * H * (I + H);
    const sizes = [(T + 1) * B * H, T * B * G, T * B * I, core.gruPackedSize(I, H, 0)];
    const label = `T=${T} B=${B} ${I}->${H}`;
    run(`gruForward ${label}`, work, sizes, (h, gates, x, packed) =>
      core.gruForward(h, gates, 0, x, packed, 0, 0, 0, 0, T, B, I, H, T, 0, 0, B, 0),
    );
    run(
      `gruBackward ${label}`,
      work,
      [
        ...sizes.slice(0, 3),
        core.gruPackedTransposedSize(I, H),
        T * B * I,
        B * H,
        T * B * H,
        core.gruBackwardScratch(B, H, 0, 0),
      ],
      (h, gates, _x, packed, dx, dh, dy, scratch) => {
        // Gates become their gradients in place: put ordinary numbers back, a small share of the time.
        core.copyRows(gates, dy, T * B * 4, H, H, 0);
        core.gruBackward(dx, dh, gates, dy, h, packed, 0, 0, 0, 0, 0, scratch, 0, T, B, I, H, 0, 0, B, 0);
      },
    );
    run(
      `gruGradients ${label}`,
      work,
      [3 * I * H, 3 * H * H, 6 * H, ...sizes.slice(0, 3), core.gruGradientsScratch(I, H)],
      (dK, dR, db, h, gates, x, scratch) =>
        core.gruGradients(dK, dR, db, gates, h, x, scratch, 0, T, B, I, H, 0, 0, core.gruGradientsPanels(H), 0),
    );
  }
  for (const [T, B, n, labels] of [
    [200, 32, 32, 30],
    [1000, 8, 64, 100],
  ]) {
    const width = (labels + 8) & ~7;
    const stride = (n + 7) & ~7;
    const sizes = [B, T * B * stride, T * B * stride, B * width, core.ctcScratch(T, n, width - 1, 1)];
    const label = `T=${T} B=${B} n=${n}, ${labels} labels`;
    for (const gradient of [0, 1])
      run(`ctc ${gradient ? "loss and gradient" : "loss"} ${label}`, 0, sizes, (losses, dx, x, targets, scratch) => {
        for (let b = 0; b < B; b++)
          for (let j = 0; j <= labels; j++)
            arena.i32[(targets >> 2) + b * width + j] = j === 0 ? labels : 1 + ((7 * b + 3 * j) % (n - 1));
        core.ctc(losses, gradient && dx, x, targets, 0, 0, scratch, T, B, n, stride, width, 0, 1, 0, 1, 0, B, 0);
      });
  }
  // Forward and backward of a whole layer over a long sequence: the cells against each other.
  const [T, B, I, H] = [1000, 8, 128, 128];
  for (const layerNorm of [0, 256]) {
    const G = core.gruGatesStride(H, 0, layerNorm);
    const [packedSize, packedTSize] = [core.gruPackedSize(I, H, layerNorm), core.gruPackedTransposedSize(I, H)];
    run(
      `gru${layerNorm ? " with layerNorm" : ""}, forward and backward T=${T} B=${B} ${I}->${H}`,
      3 * 2 * T * B * 3 * H * (I + H),
      [
        ...[(T + 1) * B * H, T * B * G, T * B * I, packedSize, T * B * I, B * H, T * B * H],
        ...[core.gruBackwardScratch(B, H, 0, layerNorm), packedTSize, 3 * I * H, 3 * H * H, 6 * H],
        core.gruGradientsScratch(I, H),
      ],
      (h, gates, x, packed, dx, dh, dy, scratch, packedT, dK, dR, db, own) => {
        const gamma = layerNorm ? packed + 4 * (packedSize - 6 * H) : 0;
        core.zero(dh, B * H);
        core.gruForward(h, gates, 0, x, packed, 0, 0, 0, 0, T, B, I, H, T, layerNorm, 0, B, 0);
        core.gruBackward(dx, dh, gates, dy, h, packedT, gamma, 0, 0, 0, 0, scratch, 0, T, B, I, H, layerNorm, 0, B, 0);
        core.gruGradients(dK, dR, db, gates, h, x, own, 0, T, B, I, H, layerNorm, 0, core.gruGradientsPanels(H), 0);
      },
    );
  }
  for (const [name, form, kind] of [
    ["lightGru", 0, 4],
    ["mgu", 1, 1],
    ["minGru", 256, 0],
  ] as const) {
    const G = core.lightGruGatesStride(H, form);
    run(
      `${name}, forward and backward T=${T} B=${B} ${I}->${H}`,
      3 * 2 * T * B * 2 * H * (name === "minGru" ? I : I + H),
      [
        ...[(T + 1) * B * H, T * B * G, T * B * I, core.lightGruPackedSize(I, H, form), T * B * I, B * H, T * B * H],
        ...[4 * B * H, core.lightGruPackedTransposedSize(I, H, form), 2 * I * H, 2 * H * H, 2 * H],
        ...[core.lightGruGradientsScratch(I, H), 4],
      ],
      (h, gates, x, packed, dx, dh, dy, scratch, packedT, dK, dR, db, own, f) => {
        arena.f32.set([kind, 0, 0], f >> 2);
        core.zero(dh, B * H);
        core.lightGruForward(h, gates, 0, x, packed, 0, f, T, B, I, H, T, form, 0, B, 0);
        core.lightGruBackward(dx, dh, gates, dy, h, packedT, 0, f, scratch, 0, T, B, I, H, form, 0, B, 0);
        const panels = core.lightGruGradientsPanels(H, form);
        core.lightGruGradients(dK, dR, db, gates, h, x, own, T, B, I, H, form, 0, panels, 0);
      },
    );
  }
  for (const [heads, D, T, B] of [
    [4, 32, 50, 32],
    [8, 64, 256, 2],
    [1, 128, 1000, 1],
  ]) {
    const count = T * B * heads * D;
    const sizes = [count, 2 * T * B * heads, count, count, count, 4, core.attentionBackwardScratch(T, D, D)];
    const product = 2 * T * T * B * heads * D;
    const label = `${heads} heads of ${D}, T=${T} B=${B}`;
    const tail = [1, 0, B, heads, T, T, D, D, 0, 0, B * heads, 0] as const;
    run(`attentionForward ${label}`, 2 * product, sizes, (y, stats, q, k, v, scale, scratch) =>
      core.attentionForward(y, stats, q, k, v, scale, 0, 0, scratch, 0, ...tail),
    );
    run(
      `attentionBackward ${label}`,
      5 * product,
      [...sizes, count, count, count],
      (dy, stats, q, k, v, scale, scratch, dq, dk, dv) =>
        core.attentionBackward(dq, dk, dv, 0, dy, stats, q, k, v, scale, 0, 0, scratch, 0, ...tail),
    );
  }
  {
    // A score is a tanh a column: 16 operations, of which two a multiply-add.
    const [D, T, B] = [64, 50, 32];
    const count = T * B * D;
    const sizes = [count, 2 * T * B, count, count, count, D, core.attentionScratch(T, D, D)];
    run(
      `attentionForward additive, ${D} columns, T=${T} B=${B}`,
      T * T * B * D * 18,
      sizes,
      (y, stats, q, k, v, w, scratch) =>
        core.attentionForward(y, stats, q, k, v, w, 0, 0, scratch, 0, 1, 0, B, 1, T, T, D, D, 1, 0, B, 0),
    );
  }
  for (const [T, B, I, N, taps] of [
    [100, 32, 40, 64, 5],
    [100, 32, 1, 32, 9],
    [1000, 1, 128, 128, 3],
  ]) {
    const [count, product, pad] = [T * B, 2 * T * B * I * N * taps, taps >> 1];
    // Rows of x are padded to 8 columns, and taps are copied in whole vectors.
    const Ip = (I + 7) & ~7;
    const label = `T=${T} B=${B} ${I}->${N}, ${taps} taps`;
    run(
      `conv1dForward ${label}`,
      product,
      [count * N, count * Ip, core.densePackedSize(taps * I, N), core.conv1dScratch(I, taps)],
      (y, x, packed, scratch) =>
        core.conv1dForward(y, x, packed, 0, scratch, T, B, I, N, taps, 1, 1, pad, B * Ip, Ip, 0, count, 0),
    );
    run(
      `conv1dBackward ${label}`,
      product,
      [count * Ip, count * N, core.conv1dPackedTransposedSize(I, N, taps), core.conv1dScratch(N, taps)],
      (dx, dy, packed, scratch) =>
        core.conv1dBackward(dx, dy, packed, 0, scratch, T, B, I, N, taps, 1, 1, pad, 0, 0, count, 0),
    );
    run(
      `conv1dGradients ${label}`,
      product,
      [taps * I * N, N, count * Ip, count * N, core.conv1dGradientsScratch(I, N, taps)],
      (dK, db, x, dy, scratch) =>
        core.conv1dGradients(dK, db, x, dy, 0, scratch, T, T, B, I, N, taps, 1, 1, pad, 0, N / 8, 0),
    );
  }
  {
    const [T, B, n] = [100, 32, 64];
    const sizes = [(T * B * n) / 2, (T * B * n) / 2, T * B * n];
    for (const [op, name] of ["max", "mean"].entries())
      run(`pooling1d ${name} of 2, T=${T} B=${B} ${n} columns`, 0, sizes, (y, index, x) =>
        core.pooling1d(y, op ? 0 : index, x, 0, T, T / 2, B, n, 2, 2, 0, op),
      );
  }
  for (const name of ["tanh", "sigmoid"] as const)
    run(`${name} of 65536`, 0, [65536, 65536], (y, x) => core.activate(name === "tanh" ? 1 : 2, y, x, 65536, 0, 0));
  return rows;
}

/** The reference stack. */
export function stack(features: number): Promise<Model> {
  return sequential(
    [
      gru(128, { returnSequences: true }),
      gru(64, { returnSequences: true }),
      gru(32),
      dense(10, { activation: "softmax" }),
    ],
    { inputShape: [null, features], seed: 1 },
  );
}

function oneHotTargets(n: number): { shape: number[]; data: Float32Array } {
  const data = new Float32Array(n * 10);
  for (let i = 0; i < n; i++) data[i * 10 + (i % 10)] = 1;
  return { shape: [n, 10], data };
}

/** Operations of a stack's forward pass a row and step. */
const stackFlops = (I: number) => 2 * 3 * (128 * (I + 128) + 64 * (128 + 64) + 32 * (64 + 32));

/** Training, prediction and streaming through the public API. */
export async function models(seconds: number): Promise<Row[]> {
  const rows: Row[] = [];
  {
    const model = await stack(16);
    model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: 1e-3 }) });
    const [T, B] = [50, 32];
    const x = { shape: [B, T, 16], data: noise(B * T * 16) };
    const y = oneHotTargets(B);
    rows.push({
      name: "training step, stack 128-64-32, T=50 B=32 F=16, Adam",
      flops: 3 * stackFlops(16) * T * B,
      ...(await measureAsync(() => model.trainOnBatch(x, y), seconds * 2)),
    });
    model.dispose();
  }
  {
    const model = await sequential([gru(256), dense(10, { activation: "softmax" })], {
      inputShape: [null, 128],
      seed: 1,
    });
    model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: 1e-3 }) });
    const [T, B] = [50, 32];
    const x = { shape: [B, T, 128], data: noise(B * T * 128) };
    const y = oneHotTargets(B);
    rows.push({
      name: "training step, GRU 256, T=50 B=32 F=128, Adam",
      flops: 3 * 2 * 3 * 256 * (128 + 256) * T * B,
      ...(await measureAsync(() => model.trainOnBatch(x, y), seconds * 2)),
    });
    model.dispose();
  }
  {
    // Two directions are twice the work of one.
    const [T, B, I, H] = [50, 32, 128, 128];
    const x = { shape: [B, T, I], data: noise(B * T * I) };
    const y = { shape: [B, T, 2 * H], data: noise(B * T * 2 * H) };
    const model = await sequential([bidirectional(gru(H, { returnSequences: true }))], {
      inputShape: [null, I],
      seed: 1,
    });
    model.compile({ loss: "meanSquaredError", optimizer: adam({ learningRate: 1e-3 }) });
    rows.push({
      name: `training step, bidirectional GRU ${H}, T=${T} B=${B} F=${I}, Adam`,
      flops: 3 * 2 * 2 * 3 * H * (I + H) * T * B,
      ...(await measureAsync(() => model.trainOnBatch(x, y), seconds * 2)),
    });
    model.dispose();
  }
  for (const B of [1, 32]) {
    const model = await stack(16);
    const T = 100;
    const x = { shape: [B, T, 16], data: noise(B * T * 16) };
    rows.push({
      name: `predict, stack 128-64-32, T=100 B=${B} F=16`,
      flops: stackFlops(16) * T * B,
      ...(await measureAsync(() => model.predict(x), seconds)),
    });
    model.dispose();
  }
  for (const H of [64, 128, 256, 512]) {
    const model = await sequential([gru(H, { recurrentInitializer: "glorotUniform" })], {
      inputShape: [null, H],
      seed: 1,
    });
    const small = await quantize(model, { precision: "int8" });
    const frame = noise(H);
    for (const [what, own] of [
      ["", model],
      [" int8", small],
    ] as const) {
      const stream = own.stream();
      const name = `stream.step${what}, I=H=${H}`;
      rows.push({ name, flops: 2 * 3 * H * 2 * H, ...measure(name, () => stream.step(frame), seconds) });
      own.dispose();
    }
  }
  {
    const [T, B, H] = [50, 32, 256];
    const model = await sequential([gru(H)], { inputShape: [null, H], seed: 1 });
    const small = await quantize(model, { precision: "int8" });
    const x = { shape: [B, T, H], data: noise(B * T * H) };
    for (const [what, own] of [
      ["", model],
      [" int8", small],
    ] as const) {
      rows.push({
        name: `predict${what}, GRU 256, T=${T} B=${B} F=${H}`,
        flops: 2 * 3 * H * 2 * H * T * B,
        ...(await measureAsync(() => own.predict(x), seconds)),
      });
      own.dispose();
    }
  }
  {
    const [count, H] = [1000, 128];
    const model = await sequential([gru(H, { recurrentInitializer: "glorotUniform" })], {
      inputShape: [null, H],
      seed: 1,
    });
    const frame = noise(H);
    const flops = 2 * 3 * H * 2 * H * count;
    const streams = Array.from({ length: count }, () => model.stream());
    const one = `${count} streams one by one, I=H=${H}`;
    const each = () => {
      for (const stream of streams) stream.step(frame);
    };
    rows.push({ name: one, flops, ...measure(one, each, seconds) });
    for (const stream of streams) stream.close();
    const pool = model.streamPool({ capacity: count });
    const ids = Array.from({ length: count }, () => pool.open());
    const together = `streamPool of ${count}, push and flush, I=H=${H}`;
    const all = () => {
      for (const id of ids) pool.push(id, frame);
      pool.flush();
    };
    rows.push({ name: together, flops, ...measure(together, all, seconds) });
    model.dispose();
  }
  return rows;
}
