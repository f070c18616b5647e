import { test } from "uvu";
import { close, pad8, random, sameBits, TestCore, uniform } from "../kit/core.ts";
import { type ActivationName, activations } from "../reference/elementwise.ts";
import { gruSequence, type Rows } from "../reference/gru.ts";

/** Bits of `flags`, as assembly/gru.ts has them. */
const RESET_BEFORE = 1;
const REVERSE = 2;
const LAST = 4;
const REPEAT = 8;
const READING_ORDER = 16;
const IN_PLACE = 32;
const ACCUMULATE = 64;
const LAYER_NORM = 256;
const ZONES = 512;

/** Rows (kind, alpha, beta), as assembly/activations.ts counts them. */
const KINDS: Partial<Record<ActivationName, [number, number, number]>> = {
  linear: [0, 0, 0],
  tanh: [1, 0, 0],
  sigmoid: [2, 0, 0],
  hardSigmoid: [3, 1 / 6, 0.5],
  relu: [4, 0, 0],
  leakyRelu: [5, 0.01, 0],
  elu: [6, 1, 0],
  selu: [7, 0, 0],
  gelu: [8, 0, 0],
  silu: [9, 0, 0],
  softplus: [10, 0, 0],
  softsign: [11, 0, 0],
  hardtanh: [12, -1, 1],
};

interface Case {
  T: number;
  B: number;
  I: number;
  H: number;
  resetAfter?: boolean;
  goBackwards?: boolean;
  /** The output is the last step's. */
  last?: boolean;
  readingOrder?: boolean;
  bias?: boolean;
  mask?: "lengths" | "holes";
  zeroOutputForMask?: boolean;
  gate?: ActivationName;
  candidate?: ActivationName;
  layerNorm?: boolean;
  /** Recurrent dropout. */
  dropped?: boolean;
  /** Zoneout as predictions have it, or as it is drawn. */
  zoneout?: "expected" | "drawn";
  seed?: number;
}

function nameOf(c: Case): string {
  return Object.entries(c)
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");
}

const nested = (x: ArrayLike<number>, rows: number, n: number): Rows =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: n }, (_, j) => x[r * n + j]));

/** All operands of a case, dense and batch-free of padding: [T, B, n]. */
function operands(c: Case) {
  const { T, B, I, H, seed = 1 } = c;
  const next = random(seed + 77);
  const mask =
    c.mask === "lengths"
      ? (() => {
          const lengths = Array.from({ length: B }, (_, b) =>
            b === 0 ? 0 : b === 1 ? T : Math.floor(next() * (T + 1)),
          );
          return Int32Array.from({ length: T * B }, (_, i) => (Math.floor(i / B) < lengths[i % B] ? 1 : 0));
        })()
      : c.mask === "holes"
        ? Int32Array.from({ length: T * B }, (_, i) => (i % B === 0 ? 0 : next() < 0.6 ? 1 : 0))
        : undefined;
  return {
    x: uniform(T * B * I, seed),
    kernel: uniform(I * 3 * H, seed + 1, 1 / Math.sqrt(I)),
    recurrent: uniform(H * 3 * H, seed + 2, 1 / Math.sqrt(H)),
    bias: (c.bias ?? true) ? uniform((c.resetAfter ?? true) ? 6 * H : 3 * H, seed + 3, 0.5) : undefined,
    h0: uniform(B * H, seed + 4),
    dy: uniform((c.last ? 1 : T) * B * H, seed + 5),
    dState: uniform(B * H, seed + 6),
    mask,
    gamma: c.layerNorm ? uniform(6 * H, seed + 7, 1.5) : undefined,
    keep: c.dropped ? Float32Array.from({ length: B * H }, () => (next() < 0.4 ? 0 : 2.5)) : undefined,
    zones:
      c.zoneout === "drawn"
        ? Float32Array.from({ length: T * B * H }, () => (next() < 0.3 ? 1 : 0))
        : c.zoneout && new Float32Array(H).fill(0.3),
  };
}
type Operands = { [K in keyof ReturnType<typeof operands>]: ArrayLike<number> | undefined };

/** Outputs as the kernel writes them, and final states, in double precision. */
function reference(c: Case, o: Operands) {
  const { T, B, I, H } = c;
  const weights = {
    kernel: nested(o.kernel!, I, 3 * H),
    recurrent: nested(o.recurrent!, H, 3 * H),
    bias: o.bias && nested(o.bias, o.bias.length / (3 * H), 3 * H),
    gamma: o.gamma && nested(o.gamma, 2, 3 * H),
  };
  const y = new Float64Array((c.last ? 1 : T) * B * H);
  const state = new Float64Array(B * H);
  for (let b = 0; b < B; b++) {
    const steps = Array.from({ length: T }, (_, t) => Array.from({ length: I }, (_, j) => o.x![(t * B + b) * I + j]));
    const run = gruSequence(steps, weights, {
      resetAfter: c.resetAfter,
      goBackwards: c.goBackwards,
      activation: activations[c.candidate ?? "tanh"],
      recurrentActivation: activations[c.gate ?? "sigmoid"],
      initialState: Array.from({ length: H }, (_, j) => o.h0![b * H + j]),
      mask: o.mask && Array.from({ length: T }, (_, t) => o.mask![t * B + b]),
      dialect: c.mask,
      zeroOutputForMask: c.zeroOutputForMask,
      keep: o.keep && Array.from({ length: H }, (_, j) => o.keep![b * H + j]),
      zones: o.zones && Array.from({ length: T }, (_, t) => zoneOf(o.zones!, (t * B + b) * H, H)),
    });
    const outputs = c.goBackwards && !c.readingOrder ? [...run.outputs].reverse() : run.outputs;
    const written = c.last ? [run.last] : outputs;
    written.forEach((row, t) => {
      y.set(row, (t * B + b) * H);
    });
    state.set(run.state, b * H);
  }
  return { y, state };
}

/** Zoneout's row that begins at `at`, or the one for all. */
const zoneOf = (zones: ArrayLike<number>, at: number, H: number) =>
  Array.from({ length: H }, (_, j) => zones[zones.length === H ? j : at + j]);

interface Options {
  /** Rows that are run one after the other: [0, 2, 5] are 0 to 2 and 2 to 5. */
  splits?: number[];
  inPlace?: boolean;
  /** Steps of gates; T keeps them all. */
  gateSteps?: number;
}

/** Packs, runs forward and, unless in place, backward and the weight gradients. */
function run(core: TestCore, c: Case, o: ReturnType<typeof operands>, options: Options = {}) {
  const { k } = core;
  const { T, B, I, H } = c;
  const [Hp, Ip] = [pad8(H), pad8(I)];
  const custom = c.gate || c.candidate ? 1 : 0;
  // As the layer does it: states are the output unless masked steps or the order make them differ; the last state may
  // also be copied out.
  const written = c.mask === "holes" || (c.last ? !c.mask && (c.seed ?? 1) % 2 === 0 : !!c.mask || !!c.readingOrder);
  const flags =
    ((c.resetAfter ?? true) ? 0 : RESET_BEFORE) |
    (c.goBackwards ? REVERSE : 0) |
    (c.last ? LAST : 0) |
    (c.readingOrder ? READING_ORDER : 0) |
    (c.mask === "holes" && !c.zeroOutputForMask ? REPEAT : 0) |
    (options.inPlace ? IN_PLACE : 0) |
    (c.layerNorm ? LAYER_NORM : 0) |
    (c.zoneout === "drawn" ? ZONES : 0);
  const garbage = (count: number) => {
    const at = core.alloc(count);
    core.f32(at, count).fill(Number.NaN);
    return at;
  };
  const kernel = core.put(o.kernel);
  const recurrent = core.put(o.recurrent);
  const packedSize = k.gruPackedSize(I, H, flags);
  const packed = garbage(packedSize);
  k.gruPack(packed, kernel, recurrent, o.bias ? core.put(o.bias) : 0, o.gamma ? core.put(o.gamma) : 0, I, H, flags);
  const packedGamma = o.gamma ? packed + 4 * (packedSize - 6 * Hp) : 0;
  const G = k.gruGatesStride(H, custom, flags);
  const gateSteps = options.gateSteps ?? T;
  const slots = options.inPlace ? 1 : T + 1;
  const h = garbage(slots * B * Hp);
  const initial = c.goBackwards && !options.inPlace ? T : 0;
  for (let b = 0; b < B; b++)
    for (let j = 0; j < Hp; j++) core.f32(h, slots * B * Hp)[(initial * B + b) * Hp + j] = j < H ? o.h0[b * H + j] : 0;
  const gates = garbage(gateSteps * B * G);
  const y = written ? garbage((c.last ? 1 : T) * B * Hp) : 0;
  const x = core.putRows(o.x, T * B, I, Ip, Number.NaN);
  const mask = o.mask ? core.put(o.mask, "i32") : 0;
  const gate = KINDS[c.gate ?? "sigmoid"]!;
  const candidate = KINDS[c.candidate ?? "tanh"]!;
  const activation = custom ? core.put([...gate, ...candidate]) : 0;
  const dropped = o.keep ? garbage((T + 2) * B * Hp) : 0;
  if (o.keep) core.f32(dropped, B * Hp).set(core.f32(core.putRows(o.keep, B, H, Hp, 0), B * Hp));
  const zone = o.zones ? core.putRows(o.zones, o.zones.length / H, H, Hp, 0) : 0;
  const splits = options.splits ?? [0, B];
  const ranges = splits.slice(1).map((to, i) => [splits[i], to]);
  for (const [from, to] of ranges)
    k.gruForward(h, gates, y, x, packed, mask, activation, dropped, zone, T, B, I, H, gateSteps, flags, from, to);
  const final = options.inPlace || c.goBackwards ? 0 : T;
  const state = core.rows(h + 4 * final * B * Hp, B, H);
  const outputs = y
    ? core.rows(y, (c.last ? 1 : T) * B, H)
    : options.inPlace || c.last
      ? state
      : core.rows(h + (c.goBackwards ? 0 : 4 * B * Hp), T * B, H);
  if (options.inPlace || gateSteps < T) return { y: outputs, state };

  const packedT = garbage(k.gruPackedTransposedSize(I, H));
  k.gruPackTransposed(packedT, kernel, recurrent, I, H, flags);
  const dx = garbage(T * B * Ip);
  const dh = core.putRows(o.dState, B, H, Hp, 0);
  const dy = core.putRows(o.dy, (c.last ? 1 : T) * B, H, Hp, 0);
  const scratch = garbage(k.gruBackwardScratch(B, H, custom, flags));
  for (const [from, to] of ranges)
    k.gruBackward(
      ...[dx, dh, gates, dy, h, packedT, packedGamma, mask, activation, dropped, zone, scratch],
      ...[y ? 1 : 0, T, B, I, H, flags, from, to],
    );
  // Parameter gradients are added to what is there.
  const dKernel = core.put(uniform(I * 3 * H, 201));
  const dRecurrent = core.put(uniform(H * 3 * H, 202));
  const dBias = o.bias ? core.put(uniform(o.bias.length, 203)) : 0;
  const dGamma = o.gamma ? core.put(uniform(6 * H, 204)) : 0;
  // The padding of x meets gates in the product of the weights' gradients: finite, as the host has it.
  const finite = core.putRows(o.x, T * B, I, Ip, 3);
  k.gruGradients(
    dKernel,
    dRecurrent,
    dGamma ? 0 : dBias,
    gates,
    dropped ? dropped + 4 * B * Hp : h,
    finite,
    garbage(k.gruGradientsScratch(I, H)),
    custom,
    T,
    B,
    I,
    H,
    flags,
    0,
    k.gruGradientsPanels(H),
    0,
  );
  if (dGamma) k.gruLayerNormGradients(dGamma, dBias, scratch + 4 * k.gruBackwardSums(B, H, custom), B, H);
  const added = (at: number, count: number, seed: number) => {
    const before = uniform(count, seed);
    return Float64Array.from(core.f32(at, count), (v, i) => v - before[i]);
  };
  const raw = { dKernel: core.f32(dKernel, I * 3 * H).slice(), dRecurrent: core.f32(dRecurrent, H * 3 * H).slice() };
  return {
    y: outputs,
    state,
    raw,
    gradients: {
      x: core.rows(dx, T * B, I),
      kernel: added(dKernel, I * 3 * H, 201),
      recurrent: added(dRecurrent, H * 3 * H, 202),
      ...(o.bias ? { bias: added(dBias, o.bias.length, 203) } : {}),
      ...(o.gamma ? { gamma: added(dGamma, 6 * H, 204) } : {}),
      h0: core.rows(dh, B, H),
    },
  };
}

/** Σ y ⊙ dy + Σ state ⊙ dState, what the gradients are of. */
function objective(c: Case, o: Operands): number {
  const { y, state } = reference(c, o);
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += y[i] * o.dy![i];
  for (let i = 0; i < state.length; i++) sum += state[i] * o.dState![i];
  return sum;
}

/** 2⁻²⁴ for each of the roundings of a sum, amplified at most through T steps; the gates' own 4e-7. */
const tolerance = ({ T, I, H }: Case) => (I + H + 8) * 2 ** -23 + T * 4e-7;

function checkForward(core: TestCore, c: Case): void {
  const o = operands(c);
  const expected = reference(c, o);
  const got = run(core, c, o);
  close(got.y, expected.y, tolerance(c), `y: ${nameOf(c)}`);
  close(got.state, expected.state, tolerance(c), `state: ${nameOf(c)}`);
}

/** Every single entry against central differences. */
function checkGradients(core: TestCore, c: Case): void {
  const o = operands(c);
  const { gradients } = run(core, c, o);
  for (const [name, got] of Object.entries(gradients!)) {
    const values = Float64Array.from(o[name as keyof Operands]!);
    const step = 1e-5;
    const expected = values.map((v, i) => {
      const at = (shift: number) => {
        values[i] = v + shift;
        const sum = objective(c, { ...o, [name]: values });
        values[i] = v;
        return sum;
      };
      return (at(step) - at(-step)) / (2 * step);
    });
    // What was there is of order 1 and rounds the sum; the differences themselves are good to 1e-9.
    close(got, expected, 4 * tolerance(c), `d ${name}: ${nameOf(c)}`, 5e-7);
  }
}

/** One random direction through all operands at once, where there are too many entries. */
function checkDirection(core: TestCore, c: Case): void {
  const o = operands(c);
  const { gradients } = run(core, c, o);
  let got = 0;
  let size = 0;
  const step = 1e-5;
  const shifted = (sign: number): Operands => {
    const out: Operands = { ...o };
    for (const name of Object.keys(gradients!) as (keyof Operands)[]) {
      const direction = uniform(o[name]!.length, 900 + name.length);
      out[name] = Float64Array.from(o[name]!, (v, i) => v + sign * step * direction[i]);
    }
    return out;
  };
  for (const [name, g] of Object.entries(gradients!)) {
    const direction = uniform(g.length, 900 + name.length);
    for (let i = 0; i < g.length; i++) {
      got += g[i] * direction[i];
      size += Math.abs(g[i] * direction[i]);
    }
  }
  const expected = (objective(c, shifted(1)) - objective(c, shifted(-1))) / (2 * step);
  close([got], [expected], 0, `direction: ${nameOf(c)}`, size * tolerance(c));
}

const FORMS = [true, false];
const PAIRS: [ActivationName, ActivationName][] = [
  ["sigmoid", "relu"],
  ["hardSigmoid", "softsign"],
  ["silu", "gelu"],
  ["sigmoid", "linear"],
  ["softsign", "selu"],
  ["elu", "softplus"],
  ["hardtanh", "leakyRelu"],
];

test("forward over odd shapes, both forms", () => {
  const core = new TestCore();
  let seed = 1;
  for (const [T, B, I, H] of [
    [1, 1, 1, 1],
    [3, 1, 3, 4],
    [4, 3, 5, 3],
    [5, 4, 1, 5],
    [2, 5, 8, 7],
    [3, 7, 7, 8],
    [3, 8, 9, 9],
    [9, 9, 4, 15],
    [2, 15, 16, 16],
    [7, 16, 15, 17],
    [17, 3, 33, 31],
    [3, 31, 17, 33],
    [70, 2, 3, 5],
    [2, 65, 3, 5],
    [3, 4, 65, 64],
    [3, 5, 64, 65],
  ])
    for (const resetAfter of FORMS)
      for (const bias of [true, false]) checkForward(core, { T, B, I, H, resetAfter, bias, seed: seed++ });
  core.checkCanaries();
});

test("forward with masks in both dialects, last or all steps, either direction", () => {
  const core = new TestCore();
  let seed = 100;
  for (const resetAfter of FORMS)
    for (const goBackwards of [false, true])
      for (const last of [false, true])
        for (const readingOrder of [false, true])
          for (const [mask, zeroOutputForMask] of [
            [undefined],
            ["lengths"],
            ["holes", false],
            ["holes", true],
          ] as const) {
            if (readingOrder && last) continue;
            const c = { T: 6, B: 5, I: 3, H: 9, resetAfter, goBackwards, last, readingOrder, mask, zeroOutputForMask };
            checkForward(core, { ...c, seed: seed++ });
          }
  core.checkCanaries();
});

test("forward with other activations", () => {
  const core = new TestCore();
  let seed = 200;
  for (const resetAfter of FORMS)
    for (const [gate, candidate] of PAIRS)
      for (const H of [1, 7, 8, 17])
        checkForward(core, { T: 4, B: 3, I: 5, H, resetAfter, gate, candidate, mask: "holes", seed: seed++ });
  core.checkCanaries();
});

test("every gradient against central differences, both forms, masks, directions, last and sequences", () => {
  const core = new TestCore();
  let seed = 300;
  for (const resetAfter of FORMS)
    for (const goBackwards of [false, true])
      for (const last of [false, true])
        for (const [mask, zeroOutputForMask] of [[undefined], ["lengths"], ["holes", false], ["holes", true]] as const)
          for (const readingOrder of goBackwards && !last ? [false, true] : [false]) {
            const c = { T: 4, B: 3, I: 2, H: 3, resetAfter, goBackwards, last, readingOrder, mask, zeroOutputForMask };
            checkGradients(core, { ...c, bias: seed % 3 !== 0, seed: seed++ });
          }
  core.checkCanaries();
});

test("every gradient with other activations", () => {
  const core = new TestCore();
  let seed = 400;
  for (const resetAfter of FORMS)
    for (const [gate, candidate] of PAIRS) {
      checkGradients(core, { T: 3, B: 2, I: 2, H: 3, resetAfter, gate, candidate, seed: seed++ });
      checkGradients(core, {
        T: 3,
        B: 3,
        I: 1,
        H: 2,
        resetAfter,
        gate,
        candidate,
        mask: "holes",
        goBackwards: true,
        last: true,
        seed: seed++,
      });
    }
  core.checkCanaries();
});

/** What a GRU can be beside its form. */
const ADDITIONS: Partial<Case>[] = [
  { layerNorm: true },
  { layerNorm: true, gate: "hardSigmoid", candidate: "gelu" },
  { dropped: true },
  { dropped: true, resetAfter: false },
  { zoneout: "expected" },
  { zoneout: "drawn", resetAfter: false },
  { dropped: true, zoneout: "drawn", layerNorm: true },
  { dropped: true, zoneout: "expected", resetAfter: false, gate: "silu", candidate: "softsign" },
];

test("layer normalisation, recurrent dropout and zoneout over odd shapes, masks and directions", () => {
  const core = new TestCore();
  let seed = 600;
  for (const addition of ADDITIONS)
    for (const [T, B, I, H] of [
      [1, 1, 3, 2],
      [3, 3, 1, 3],
      [4, 3, 5, 7],
      [5, 7, 3, 8],
      [3, 17, 7, 17],
      [70, 2, 3, 5],
    ])
      for (const mask of [undefined, "lengths", "holes"] as const)
        checkForward(core, { T, B, I, H, ...addition, mask, goBackwards: seed % 2 === 0, seed: seed++ });
  core.checkCanaries();
});

test("every gradient of layer normalisation, recurrent dropout and zoneout", () => {
  const core = new TestCore();
  let seed = 700;
  for (const addition of ADDITIONS)
    for (const goBackwards of [false, true])
      for (const last of [false, true])
        for (const mask of [undefined, "lengths", "holes"] as const)
          checkGradients(core, { T: 4, B: 3, I: 2, H: 3, ...addition, goBackwards, last, mask, seed: seed++ });
  for (const addition of ADDITIONS)
    for (const [T, B, I, H] of [
      [5, 3, 5, 7],
      [3, 17, 15, 16],
      [17, 4, 3, 17],
    ])
      checkDirection(core, { T, B, I, H, ...addition, mask: "holes", seed: seed++ });
  core.checkCanaries();
});

test("layer normalisation of a product that is the same everywhere is its shift", () => {
  const core = new TestCore();
  const c: Case = { T: 3, B: 2, I: 2, H: 5, layerNorm: true };
  const o = operands(c);
  o.kernel.fill(0);
  o.recurrent.fill(0);
  close(run(core, c, o).y, reference(c, o).y, 1e-6, "y");
});

test("gradients at larger and odd shapes, in a random direction", () => {
  const core = new TestCore();
  let seed = 500;
  for (const [T, B, I, H] of [
    [1, 1, 1, 1],
    [5, 3, 5, 7],
    [4, 4, 8, 8],
    [7, 5, 9, 9],
    [3, 17, 15, 16],
    [33, 9, 3, 17],
    [5, 4, 31, 33],
    [3, 3, 65, 64],
    [3, 5, 64, 65],
    [90, 3, 4, 5],
  ])
    for (const resetAfter of FORMS)
      for (const mask of [undefined, "lengths", "holes"] as const)
        checkDirection(core, { T, B, I, H, resetAfter, mask, goBackwards: seed % 2 === 0, seed: seed++ });
  core.checkCanaries();
});

test("a range of rows gives the bits of the whole batch", () => {
  const core = new TestCore();
  let additions = 0;
  for (const resetAfter of FORMS)
    for (const goBackwards of [false, true])
      for (const mask of [undefined, "lengths", "holes"] as const)
        for (const gate of [undefined, "hardSigmoid"] as const) {
          const addition = ADDITIONS[additions++ % ADDITIONS.length];
          const own = additions % 2 ? { resetAfter, gate } : { ...addition, gate: addition.gate ?? gate };
          const c: Case = { T: 5, B: 11, I: 3, H: 9, ...own, goBackwards, mask, seed: 7 };
          const o = operands(c);
          const whole = run(core, c, o);
          for (const splits of [
            [0, 1, 11],
            [0, 4, 8, 11],
            [0, 5, 6, 7, 11],
          ]) {
            const parts = run(core, c, o, { splits });
            const what = `${nameOf(c)}, rows ${splits}`;
            sameBits(parts.y, whole.y, `y: ${what}`);
            sameBits(parts.state, whole.state, `state: ${what}`);
            sameBits(parts.gradients!.x, whole.gradients!.x, `dx: ${what}`);
            sameBits(parts.gradients!.h0, whole.gradients!.h0, `dh0: ${what}`);
            sameBits(parts.raw!.dKernel, whole.raw!.dKernel, `dKernel: ${what}`);
            sameBits(parts.raw!.dRecurrent, whole.raw!.dRecurrent, `dRecurrent: ${what}`);
            for (const [name, g] of Object.entries(whole.gradients!))
              close(parts.gradients![name as "kernel"]!, g, 0, `d ${name}: ${what}`);
          }
        }
  core.checkCanaries();
});

test("in place, and with gates of a few steps, a sequence has the same bits", () => {
  const core = new TestCore();
  for (const resetAfter of FORMS)
    for (const goBackwards of [false, true])
      for (const mask of ["lengths", "holes"] as const)
        for (const B of [1, 3, 70]) {
          for (const own of [{}, { layerNorm: resetAfter, zoneout: "expected" as const }]) {
            const c: Case = { T: 9, B, I: 5, H: 7, resetAfter, goBackwards, mask, ...own, seed: 3 };
            const o = operands(c);
            const whole = run(core, c, o);
            for (const options of [
              { inPlace: true, gateSteps: core.k.gruChunk(B) },
              { gateSteps: 1 },
              { gateSteps: 2, splits: [0, Math.ceil(B / 2), B] },
            ] as Options[]) {
              const other = run(core, c, o, options);
              sameBits(other.y, whole.y, `y: ${nameOf(c)}`);
              sameBits(other.state, whole.state, `state: ${nameOf(c)}`);
            }
          }
        }
  core.checkCanaries();
});

test("a sequence is a loop of steps, a batch a loop of samples", () => {
  const core = new TestCore();
  for (const resetAfter of FORMS)
    for (const H of [3, 8, 33]) {
      const c: Case = { T: 6, B: 5, I: 4, H, resetAfter, seed: 11 };
      const o = operands(c);
      const whole = run(core, c, o);
      let h = o.h0;
      for (let t = 0; t < c.T; t++) {
        const step = { ...o, h0: h, x: o.x.slice(t * c.B * c.I, (t + 1) * c.B * c.I) };
        h = run(core, { ...c, T: 1 }, step, { inPlace: true, gateSteps: 1 }).state;
        sameBits(h, whole.y.slice(t * c.B * H, (t + 1) * c.B * H), `step ${t}`);
      }
      for (let b = 0; b < c.B; b++) {
        const own = (x: Float32Array, n: number) =>
          Float32Array.from(
            { length: (x.length / c.B / n) * n },
            (_, i) => x[(Math.floor(i / n) * c.B + b) * n + (i % n)],
          );
        const alone = { ...o, x: own(o.x, c.I), h0: own(o.h0, H), dy: own(o.dy, H), dState: own(o.dState, H) };
        const one = run(core, { ...c, B: 1 }, alone);
        sameBits(one.y, own(whole.y, H), `sample ${b}`);
        sameBits(one.gradients!.x, own(whole.gradients!.x, c.I), `dx of sample ${b}`);
      }
    }
  core.checkCanaries();
});

test("dx is added to where it is asked for, and left alone where nobody asks", () => {
  const core = new TestCore();
  const c: Case = { T: 3, B: 2, I: 3, H: 4 };
  const o = operands(c);
  const { k } = core;
  const [Hp, Ip] = [8, 8];
  const dxOf = (flags: number, dx: number) => {
    const packed = core.alloc(k.gruPackedSize(c.I, c.H, 0));
    k.gruPack(packed, core.put(o.kernel), core.put(o.recurrent), 0, 0, c.I, c.H, 0);
    const packedT = core.alloc(k.gruPackedTransposedSize(c.I, c.H));
    k.gruPackTransposed(packedT, core.put(o.kernel), core.put(o.recurrent), c.I, c.H, 0);
    const h = core.alloc(4 * c.B * Hp);
    const gates = core.alloc(c.T * c.B * 4 * Hp);
    const x = core.putRows(o.x, c.T * c.B, c.I);
    k.gruForward(h, gates, 0, x, packed, 0, 0, 0, 0, c.T, c.B, c.I, c.H, c.T, 0, 0, c.B);
    const dy = core.putRows(o.dy, c.T * c.B, c.H, Hp, 0);
    k.gruBackward(
      dx,
      core.alloc(c.B * Hp),
      gates,
      dy,
      h,
      packedT,
      0,
      0,
      0,
      0,
      0,
      core.alloc(k.gruBackwardScratch(c.B, c.H, 0, 0)),
      0,
      c.T,
      c.B,
      c.I,
      c.H,
      flags,
      0,
      c.B,
    );
    return dx && core.rows(dx, c.T * c.B, c.I).slice();
  };
  const once = dxOf(0, core.alloc(c.T * c.B * Ip)) as Float32Array;
  const before = uniform(c.T * c.B * c.I, 5);
  const twice = dxOf(ACCUMULATE, core.putRows(before, c.T * c.B, c.I, Ip, 0)) as Float32Array;
  close(
    twice,
    once.map((v, i) => v + before[i]),
    1e-6,
    "accumulated",
  );
  dxOf(0, 0);
  core.checkCanaries();
});

test("no steps: no gradient", () => {
  const core = new TestCore();
  const { k } = core;
  const dKernel = core.put(uniform(9, 1));
  const dRecurrent = core.put(uniform(9, 2));
  const dBias = core.put(uniform(6, 3));
  const scratch = core.alloc(k.gruGradientsScratch(3, 1));
  core.f32(scratch, k.gruGradientsScratch(3, 1)).fill(Number.NaN);
  k.gruGradients(
    dKernel,
    dRecurrent,
    dBias,
    core.alloc(8),
    core.alloc(8),
    core.alloc(8),
    scratch,
    0,
    0,
    1,
    3,
    1,
    0,
    0,
    k.gruGradientsPanels(1),
    0,
  );
  sameBits(core.f32(dKernel, 9), uniform(9, 1), "dKernel");
  sameBits(core.f32(dBias, 6), uniform(6, 3), "dBias");
  core.checkCanaries();
});

test.run();
