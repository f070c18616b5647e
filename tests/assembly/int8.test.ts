import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, random, sameBits, TestCore, uniform } from "../kit/core.ts";
import { type GruRun, gruSequence, type Rows } from "../reference/gru.ts";
import { dequantized, LEVELS, product, quantizeColumns } from "../reference/int8.ts";

/** Rounding to the nearest float32, relative. */
const ULP = 2 ** -23;

type Weights = ReturnType<typeof quantizeColumns>;

const i8 = (core: TestCore, at: number, count: number) => new Int8Array(core.memory.buffer, at, count);

function putBytes(core: TestCore, q: Int8Array): number {
  const at = core.alloc(Math.ceil(q.length / 4));
  i8(core, at, q.length).set(q);
  return at;
}

/** One packed matrix: what gemmInt8 takes. */
function pack(core: TestCore, { q, scales }: Weights, k: number, n: number) {
  const size = (core.k.int8PanelBytes(k) * pad8(n)) / 8 / 4;
  const at = core.alloc(size);
  core.f32(at, size).fill(Number.NaN);
  core.k.int8Pack(at, putBytes(core, q), core.put(scales), k, n, n, 0, pad8(n) / 8);
  return at;
}

/** C, dense, of `m` rows in calls of [0, splits[0]), [splits[0], splits[1])... */
function multiply(
  core: TestCore,
  a: Float32Array,
  weights: Weights,
  start: { at: number; stride: number },
  m: number,
  n: number,
  k: number,
  range: number,
  splits = [m],
): Float32Array {
  const packed = pack(core, weights, k, n);
  const [Np, kp] = [pad8(n), pad8(k)];
  const rows = core.putRows(a, m, k);
  const c = core.alloc(m * Np);
  core.f32(c, m * Np).fill(Number.NaN);
  let from = 0;
  for (const to of splits) {
    const own = start.at && start.at + 4 * from * start.stride;
    const [ci, ai] = [c + 4 * from * Np, rows + 4 * from * kp];
    core.k.gemmInt8(ci, ai, packed, own, to - from, Np, k, Np, kp, start.stride, range, core.work);
    from = to;
  }
  return core.rows(c, m, n);
}

const SHAPES = [
  [1, 1, 1],
  [2, 3, 5],
  [3, 8, 4],
  [4, 9, 7],
  [5, 16, 8],
  [7, 17, 9],
  [8, 24, 15],
  [9, 25, 16],
  [13, 33, 17],
  [16, 40, 31],
  [65, 64, 33],
  [3, 65, 64],
  [300, 5, 3],
] as const;

test("activations have 13 bits", () => {
  const core = new TestCore();
  assert.is(core.k.int8ActivationBits(), 13);
  assert.is(2 ** 12 - 1, LEVELS);
});

test("weights become whole numbers with a scale a column", () => {
  const core = new TestCore();
  for (const [rows, n] of [
    [1, 1],
    [3, 5],
    [17, 9],
    [64, 24],
  ]) {
    const x = uniform(rows * n, rows + n, 3);
    for (let i = 0; i < rows; i++) {
      x[i * n] = 0; // a column of zeros
      if (n > 1) x[i * n + 1] *= 1e-44; // one of denormals
      if (n > 2) x[i * n + 2] = i % 2 ? 127 : 0.5; // a tie goes to the even one
    }
    const expected = quantizeColumns(x, rows, n);
    const q = core.alloc(Math.ceil((rows * n) / 4));
    const scales = core.alloc(n);
    core.k.int8Quantize(q, scales, core.put(x), rows, n);
    sameBits(core.f32(scales, n), expected.scales, "scales");
    assert.equal(Array.from(i8(core, q, rows * n)), Array.from(expected.q));
  }
  core.checkCanaries();
});

test("sums of integers are exact, in the tile and in the row kernel", () => {
  const core = new TestCore();
  SHAPES.forEach(([m, n, k], seed) => {
    const next = random(seed);
    // Whole numbers, the largest in every row and column: all scales are 1.
    const a = Float32Array.from({ length: m * k }, (_, i) => (i % k ? Math.round((next() * 2 - 1) * LEVELS) : LEVELS));
    const w = Float32Array.from({ length: k * n }, (_, i) => (i < n ? -127 : Math.round((next() * 2 - 1) * 127)));
    const weights = quantizeColumns(w, k, n);
    const expected = Float32Array.from({ length: m * n }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[Math.floor(i / n) * k + p] * w[p * n + (i % n)];
      return sum;
    });
    for (const range of [0, LEVELS])
      sameBits(multiply(core, a, weights, { at: 0, stride: 0 }, m, n, k, range), expected, `${m} x ${n} x ${k}`);
  });
  core.checkCanaries();
});

test("the largest sums do not overflow, and longer ones go on", () => {
  const core = new TestCore();
  for (const k of [4095, 4096, 4097, 8200])
    for (const m of [1, 5]) {
      const n = 3;
      const a = new Float32Array(m * k).fill(-LEVELS);
      const w = new Float32Array(k * n).fill(127);
      const got = multiply(core, a, quantizeColumns(w, k, n), { at: 0, stride: 0 }, m, n, k, 0);
      close(got, new Float64Array(m * n).fill(-LEVELS * 127 * k), 2 * ULP, `k = ${k}`);
    }
  core.checkCanaries();
});

test("scales of rows and columns, and whatever a sum starts from", () => {
  const core = new TestCore();
  SHAPES.forEach(([m, n, k], seed) => {
    const a = uniform(m * k, seed, 5);
    for (let i = 0; i < k; i++) a[i] *= 1e-3; // rows differ in size
    const weights = quantizeColumns(uniform(k * n, seed + 100), k, n);
    const bias = uniform(n, seed + 200);
    const matrix = uniform(m * n, seed + 300);
    const starts = [
      { what: "zeros", at: 0, stride: 0, value: () => 0 },
      {
        what: "a row",
        at: core.put([...bias, ...new Float32Array(7)]),
        stride: 0,
        value: (_: number, j: number) => bias[j],
      },
      {
        what: "a matrix",
        at: core.putRows(matrix, m, n),
        stride: pad8(n),
        value: (i: number, j: number) => matrix[i * n + j],
      },
    ];
    for (const { what, at, stride, value } of starts)
      for (const range of [0, 2]) {
        const expected = product(a, weights, value, m, n, k, range);
        // The product of the scales, of it and the sum, and the sum of both round.
        const got = multiply(core, a, weights, { at, stride }, m, n, k, range);
        close(got, expected, 4 * ULP, `${m} x ${n} x ${k} + ${what}, range ${range}`);
      }
  });
  core.checkCanaries();
});

test("rows do not touch each other", () => {
  const core = new TestCore();
  for (const [m, n, k] of [
    [11, 19, 13],
    [300, 9, 5],
    [6, 8, 4099],
  ]) {
    const a = uniform(m * k, 1);
    const weights = quantizeColumns(uniform(k * n, 2), k, n);
    const start = { at: core.put(uniform(pad8(n), 3)), stride: 0 };
    const whole = multiply(core, a, weights, start, m, n, k, 0);
    const alone = Array.from({ length: m }, (_, i) => i + 1);
    for (const splits of [alone, [1, m], [4, 5, m]])
      sameBits(multiply(core, a, weights, start, m, n, k, 0, splits), whole, `rows up to ${splits}`);
  }
  core.checkCanaries();
});

test("a row that is not finite gives NaN, a row of zeros or next to nothing its start", () => {
  const core = new TestCore();
  const [m, n, k] = [8, 5, 6];
  const a = uniform(m * k, 4);
  const rows = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  rows.forEach((value, i) => {
    a[i * k + 2 * i] = value;
  });
  a.fill(0, 3 * k, 4 * k);
  a.fill(1e-40, 4 * k, 5 * k);
  const weights = quantizeColumns(uniform(k * n, 5), k, n);
  const bias = uniform(n, 6);
  for (const range of [0, 1])
    for (const splits of [[m], Array.from({ length: m }, (_, i) => i + 1)]) {
      const start = { at: core.put([...bias, 0, 0, 0]), stride: 0 };
      const got = multiply(core, a, weights, start, m, n, k, range, splits);
      rows.forEach((_, i) => {
        for (let j = 0; j < n; j++) assert.ok(Number.isNaN(got[i * n + j]), `row ${i}`);
      });
      sameBits(got.slice(3 * n, 5 * n), Float32Array.from([...bias, ...bias]), "zeros");
      assert.ok(got.slice(5 * n).every(Number.isFinite));
    }
  core.checkCanaries();
});

test("a dense layer", () => {
  const core = new TestCore();
  const { k } = core;
  for (const [rows, I, N] of [
    [1, 1, 1],
    [5, 7, 8],
    [9, 16, 17],
    [33, 65, 10],
  ])
    for (const biased of [true, false]) {
      const x = uniform(rows * I, rows);
      const weights = quantizeColumns(uniform(I * N, I), I, N);
      const bias = uniform(N, 9);
      const packed = core.alloc(k.densePackedSizeInt8(I, N));
      core.f32(packed, k.densePackedSizeInt8(I, N)).fill(Number.NaN);
      k.densePackInt8(packed, putBytes(core, weights.q), core.put(weights.scales), biased ? core.put(bias) : 0, I, N);
      const y = core.alloc(rows * pad8(N));
      const px = core.putRows(x, rows, I);
      for (const [from, to] of [
        [0, rows >> 1],
        [rows >> 1, rows],
      ])
        k.denseForwardInt8(y, px, packed, I, N, 0, from, to, 0);
      const expected = product(x, weights, (_, j) => (biased ? bias[j] : 0), rows, N, I, 0);
      close(core.rows(y, rows, N), expected, 4 * ULP, `${rows} x ${I} x ${N}`);
    }
  core.checkCanaries();
});

/** Bits of `flags`, as assembly/gru.ts has them. */
const RESET_BEFORE = 1;
const REVERSE = 2;
const REPEAT = 8;
const READING_ORDER = 16;
const IN_PLACE = 32;

interface Case {
  T: number;
  B: number;
  I: number;
  H: number;
  resetAfter: boolean;
  goBackwards?: boolean;
  mask?: "lengths" | "holes";
  relu?: boolean;
  bias?: boolean;
}

const nested = (x: ArrayLike<number>, rows: number, n: number): Rows =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: n }, (_, j) => x[r * n + j]));

function operands({ T, B, I, H, resetAfter, mask, bias = true }: Case) {
  const next = random(T + B + I + H);
  return {
    x: uniform(T * B * I, 1, 2),
    kernel: quantizeColumns(uniform(I * 3 * H, 2, 1 / Math.sqrt(I)), I, 3 * H),
    recurrent: quantizeColumns(uniform(H * 3 * H, 3, 1 / Math.sqrt(H)), H, 3 * H),
    bias: bias ? uniform((resetAfter ? 6 : 3) * H, 4, 0.5) : undefined,
    h0: uniform(B * H, 5),
    mask: mask && Int32Array.from({ length: T * B }, () => (next() < 0.7 ? 1 : 0)),
  };
}

/** Outputs [T, B, H] and the final state. */
function forward(
  core: TestCore,
  c: Case,
  o: ReturnType<typeof operands>,
  options: { splits?: number[]; gateSteps?: number; inPlace?: boolean } = {},
) {
  const { k } = core;
  const { T, B, I, H } = c;
  const Hp = pad8(H);
  const form = c.resetAfter ? 0 : RESET_BEFORE;
  const size = k.gruPackedSizeInt8(I, H, form);
  const packed = core.alloc(size);
  core.f32(packed, size).fill(Number.NaN);
  const [kernel, recurrent] = [o.kernel, o.recurrent].map(({ q, scales }) => [putBytes(core, q), core.put(scales)]);
  k.gruPackInt8(packed, kernel[0], kernel[1], recurrent[0], recurrent[1], o.bias ? core.put(o.bias) : 0, 0, I, H, form);
  const flags =
    form |
    (c.goBackwards ? REVERSE | READING_ORDER : 0) |
    (c.mask === "holes" ? REPEAT : 0) |
    (options.inPlace ? IN_PLACE : 0);
  const gateSteps = options.gateSteps ?? T;
  const slots = options.inPlace ? 1 : T + 1;
  const h = core.alloc(slots * B * Hp);
  core.f32(h, slots * B * Hp).fill(Number.NaN);
  const initial = h + (c.goBackwards && !options.inPlace ? 4 * T * B * Hp : 0);
  core.f32(initial, B * Hp).fill(0);
  for (let b = 0; b < B; b++) core.f32(initial + 4 * b * Hp, H).set(o.h0.subarray(b * H, (b + 1) * H));
  const gates = core.alloc(gateSteps * B * k.gruGatesStride(H, c.relu ? 1 : 0, form));
  const y = core.alloc(T * B * Hp);
  const x = core.putRows(o.x, T * B, I);
  const mask = o.mask ? core.put(o.mask, "i32") : 0;
  // hardSigmoid and relu, as assembly/activations.ts counts them.
  const activations = c.relu ? core.put([3, 1 / 6, 0.5, 4, 0, 0]) : 0;
  let from = 0;
  for (const to of options.splits ?? [B]) {
    k.gruForwardInt8(h, gates, y, x, packed, mask, activations, 0, 0, T, B, I, H, gateSteps, flags, 0, from, to, 0);
    from = to;
  }
  const final = options.inPlace || c.goBackwards ? h : h + 4 * T * B * Hp;
  return { y: core.rows(y, T * B, H), state: core.rows(final, B, H) };
}

/** In double precision with the weights that the quantised ones stand for. */
function reference(c: Case, o: ReturnType<typeof operands>) {
  const { T, B, I, H } = c;
  const run: GruRun = {
    resetAfter: c.resetAfter,
    goBackwards: c.goBackwards,
    dialect: c.mask,
    ...(c.relu && {
      activation: (v) => Math.max(0, v),
      recurrentActivation: (v) => Math.min(1, Math.max(0, v / 6 + 0.5)),
    }),
  };
  const weights = {
    kernel: nested(dequantized(o.kernel), I, 3 * H),
    recurrent: nested(dequantized(o.recurrent), H, 3 * H),
    bias: o.bias && nested(o.bias, o.bias.length / (3 * H), 3 * H),
  };
  const y = new Float64Array(T * B * H);
  const state = new Float64Array(B * H);
  for (let b = 0; b < B; b++) {
    const steps = Array.from({ length: T }, (_, t) => Array.from({ length: I }, (_, j) => o.x[(t * B + b) * I + j]));
    const sequence = gruSequence(steps, weights, {
      ...run,
      initialState: Array.from({ length: H }, (_, j) => o.h0[b * H + j]),
      mask: o.mask && Array.from({ length: T }, (_, t) => o.mask![t * B + b]),
    });
    sequence.outputs.forEach((row, t) => {
      y.set(row, (t * B + b) * H);
    });
    state.set(sequence.state, b * H);
  }
  return { y, state };
}

const CASES: Case[] = [true, false].flatMap((resetAfter) => [
  ...[
    [1, 1, 1, 1],
    [3, 5, 3, 4],
    [4, 9, 8, 7],
    [7, 4, 9, 17],
    [2, 17, 33, 31],
    [70, 3, 5, 8],
  ].map(([T, B, I, H]) => ({ T, B, I, H, resetAfter, bias: H !== 8 })),
  ...(["lengths", "holes"] as const).flatMap((mask) =>
    [false, true].map((goBackwards) => ({ T: 6, B: 5, I: 3, H: 9, resetAfter, mask, goBackwards })),
  ),
  { T: 5, B: 6, I: 4, H: 9, resetAfter, relu: true },
]);

/**
 * Half a level of 4095 on each of I inputs (up to 2) and H states, times
 * weights up to 1/sqrt(I) and 1/sqrt(H), if all went one way; gates are no
 * steeper than 1, states carry on what they have.
 */
const tolerance = ({ T, I, H }: Case) => ((2 * Math.sqrt(I) + 2 * Math.sqrt(H)) / (2 * LEVELS)) * Math.min(T, 4) + 1e-6;

test("a GRU is that of its weights, in every form", () => {
  const core = new TestCore();
  for (const c of CASES) {
    const o = operands(c);
    const expected = reference(c, o);
    const got = forward(core, c, o);
    close(got.y, expected.y, 0, `y: ${JSON.stringify(c)}`, tolerance(c));
    close(got.state, expected.state, 0, `state: ${JSON.stringify(c)}`, tolerance(c));
  }
  core.checkCanaries();
});

test("ranges of rows, few gates and states in place give the same bits", () => {
  const core = new TestCore();
  for (const c of CASES) {
    const o = operands(c);
    const whole = forward(core, c, o);
    for (const options of [
      { splits: Array.from({ length: c.B }, (_, b) => b + 1) },
      { splits: [Math.ceil(c.B / 2), c.B], gateSteps: 1 },
      { inPlace: true, gateSteps: Math.min(c.T, core.k.gruChunk(c.B)) },
    ]) {
      const other = forward(core, c, o, options);
      sameBits(other.y, whole.y, `y: ${JSON.stringify({ ...c, ...options })}`);
      sameBits(other.state, whole.state, `state: ${JSON.stringify({ ...c, ...options })}`);
    }
  }
  core.checkCanaries();
});

test("a sequence is a loop of steps", () => {
  const core = new TestCore();
  for (const resetAfter of [true, false]) {
    const c: Case = { T: 6, B: 5, I: 4, H: 11, resetAfter };
    const o = operands(c);
    const whole = forward(core, c, o);
    let h0 = o.h0;
    for (let t = 0; t < c.T; t++) {
      const x = o.x.slice(t * c.B * c.I, (t + 1) * c.B * c.I);
      h0 = forward(core, { ...c, T: 1 }, { ...o, x, h0 }, { inPlace: true }).state;
      sameBits(h0, whole.y.slice(t * c.B * c.H, (t + 1) * c.B * c.H), `step ${t}`);
    }
  }
  core.checkCanaries();
});

test.run();
