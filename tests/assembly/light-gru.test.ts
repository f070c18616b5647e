import { test } from "uvu";
import { close, pad8, random, sameBits, TestCore, uniform } from "../kit/core.ts";
import { activations } from "../reference/elementwise.ts";
import type { Rows } from "../reference/gru.ts";
import { type LightGruCell, lightGruSequence } from "../reference/light-gru.ts";

/** Masks, dialects and directions of the layers: tests/host/layers/gradients.test.ts, tests/host/stacks/bits.test.ts. */

/** Bits of `flags`, as assembly/light-gru.ts and recurrent.ts have them. */
const REVERSE = 2;
const IN_PLACE = 32;
const ACCUMULATE = 64;
const SUMS = 512;
const FORMS: Record<LightGruCell, number> = { lightGru: 0, mgu: 1, minGru: 256 };
const CELLS = Object.keys(FORMS) as LightGruCell[];

/** (kind, alpha, beta), as assembly/activations.ts counts them. */
const KINDS = { linear: [0, 0, 0], tanh: [1, 0, 0], relu: [4, 0, 0], gelu: [8, 0, 0], linearSigmoid: [14, 0, 0] };

interface Case {
  cell: LightGruCell;
  T: number;
  B: number;
  I: number;
  H: number;
  f?: keyof typeof KINDS;
  goBackwards?: boolean;
  masked?: boolean;
  bias?: boolean;
  seed?: number;
}

const nameOf = (c: Case) => JSON.stringify(c);

const nested = (x: ArrayLike<number>, rows: number, n: number): Rows =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: n }, (_, j) => x[r * n + j]));

/** All operands of a case, dense: [T, B, n]. */
function operands({ cell, T, B, I, H, bias = true, masked, seed = 1 }: Case) {
  const next = random(seed + 77);
  return {
    x: uniform(T * B * I, seed),
    kernel: uniform(I * 2 * H, seed + 1, 1 / Math.sqrt(I)),
    recurrent: cell === "minGru" ? undefined : uniform(H * 2 * H, seed + 2, 1 / Math.sqrt(H)),
    bias: bias ? uniform(2 * H, seed + 3, 0.5) : undefined,
    h0: uniform(B * H, seed + 4),
    dy: uniform(T * B * H, seed + 5),
    dState: uniform(B * H, seed + 6),
    mask: masked ? Int32Array.from({ length: T * B }, () => (next() < 0.6 ? 1 : 0)) : undefined,
  };
}
type Operands = { [K in keyof ReturnType<typeof operands>]: ArrayLike<number> | undefined };

/** States after every step [T, B, H], in the order of time, and the last ones. */
function reference(c: Case, o: Operands) {
  const { T, B, I, H } = c;
  const weights = {
    kernel: nested(o.kernel!, I, 2 * H),
    recurrent: o.recurrent && nested(o.recurrent, H, 2 * H),
    bias: o.bias && Array.from(o.bias),
  };
  const y = new Float64Array(T * B * H);
  const state = new Float64Array(B * H);
  for (let b = 0; b < B; b++) {
    const steps = Array.from({ length: T }, (_, t) => Array.from({ length: I }, (_, j) => o.x![(t * B + b) * I + j]));
    const run = lightGruSequence(c.cell, steps, weights, {
      activation: c.f && activations[c.f],
      initialState: Array.from({ length: H }, (_, j) => o.h0![b * H + j]),
      mask: o.mask && Array.from({ length: T }, (_, t) => o.mask![t * B + b]),
      goBackwards: c.goBackwards,
    });
    const outputs = c.goBackwards ? [...run.outputs].reverse() : run.outputs;
    outputs.forEach((row, t) => {
      y.set(row, (t * B + b) * H);
    });
    state.set(run.state, b * H);
  }
  return { y, state };
}

interface Options {
  splits?: number[];
  inPlace?: boolean;
  gateSteps?: number;
  accumulate?: boolean;
}

/** Packs, runs forward and, with all gates kept, backward and the weight gradients. */
function run(core: TestCore, c: Case, o: ReturnType<typeof operands>, options: Options = {}) {
  const { k } = core;
  const { T, B, I, H } = c;
  const [Hp, Ip] = [pad8(H), pad8(I)];
  const f = c.f ?? ({ minGru: "linear", lightGru: "relu", mgu: "tanh" } as const)[c.cell];
  const flags =
    FORMS[c.cell] |
    (f === "gelu" ? SUMS : 0) |
    (c.goBackwards ? REVERSE : 0) |
    (options.inPlace ? IN_PLACE : 0) |
    (options.accumulate ? ACCUMULATE : 0);
  const garbage = (count: number) => {
    const at = core.alloc(count);
    core.f32(at, count).fill(Number.NaN);
    return at;
  };
  const kernel = core.put(o.kernel);
  const recurrent = o.recurrent ? core.put(o.recurrent) : 0;
  const packed = garbage(k.lightGruPackedSize(I, H, flags));
  k.lightGruPack(packed, kernel, recurrent, o.bias ? core.put(o.bias) : 0, I, H);
  const G = k.lightGruGatesStride(H, flags);
  const gateSteps = options.gateSteps ?? T;
  const slots = options.inPlace ? 1 : T + 1;
  const h = garbage(slots * B * Hp);
  const initial = c.goBackwards && !options.inPlace ? T : 0;
  const given = core.f32(core.putRows(o.h0, B, H, Hp, 0), B * Hp);
  core.f32(h + 4 * initial * B * Hp, B * Hp).set(given);
  const gates = garbage(gateSteps * B * G);
  // Masked steps put out zeros of their own.
  const y = o.mask ? garbage(T * B * Hp) : 0;
  const x = core.putRows(o.x, T * B, I, Ip, Number.NaN);
  const mask = o.mask ? core.put(o.mask, "i32") : 0;
  const activation = core.put(KINDS[f]);
  const splits = options.splits ?? [0, B];
  const ranges = splits.slice(1).map((to, i) => [splits[i], to]);
  for (const [from, to] of ranges)
    k.lightGruForward(h, gates, y, x, packed, mask, activation, T, B, I, H, gateSteps, flags, from, to, 0);
  const state = core.rows(h + 4 * (options.inPlace || c.goBackwards ? 0 : T) * B * Hp, B, H);
  const outputs = y
    ? core.rows(y, T * B, H)
    : options.inPlace
      ? state
      : core.rows(h + (c.goBackwards ? 0 : 4 * B * Hp), T * B, H);
  if (options.inPlace || gateSteps < T) return { y: outputs, state };

  const packedT = garbage(k.lightGruPackedTransposedSize(I, H, flags));
  k.lightGruPackTransposed(packedT, kernel, recurrent, I, H, flags);
  const before = uniform(T * B * I, 200);
  const dx = options.accumulate ? core.putRows(before, T * B, I, Ip, 0) : garbage(T * B * Ip);
  const dh = core.putRows(o.dState, B, H, Hp, 0);
  const dy = core.putRows(o.dy, T * B, H, Hp, 0);
  const scratch = garbage(4 * B * Hp);
  for (const [from, to] of ranges)
    k.lightGruBackward(
      ...[dx, dh, gates, dy, h, packedT, mask, activation, scratch, y ? 1 : 0, T, B, I, H, flags, from, to, 0],
    );
  const parts = { kernel: I * 2 * H, recurrent: o.recurrent ? H * 2 * H : 0, bias: o.bias ? 2 * H : 0 };
  const at = Object.entries(parts).map(([, n], i) => (n ? core.put(uniform(n, 201 + i)) : 0));
  // The padding of x meets gates in the product of the weights' gradients: finite, as the host has it.
  const finite = core.putRows(o.x, T * B, I, Ip, 3);
  const panels = k.lightGruGradientsPanels(H, flags);
  const room = garbage(k.lightGruGradientsScratch(I, H));
  for (const [from, to] of options.splits
    ? [0, 1, panels].map((f, i, all) => [f, all[i + 1] ?? panels])
    : [[0, panels]])
    k.lightGruGradients(at[0], at[1], at[2], gates, h, finite, room, T, B, I, H, flags, from, to, 0);
  const gradients: Record<string, ArrayLike<number>> = {
    x: core.rows(dx, T * B, I).map((v, i) => v - (options.accumulate ? before[i] : 0)),
    h0: core.rows(dh, B, H),
  };
  // Added to what was there.
  Object.entries(parts).forEach(([name, n], i) => {
    const start = uniform(n, 201 + i);
    if (n) gradients[name] = Float64Array.from(core.f32(at[i], n), (v, j) => v - start[j]);
  });
  return { y: outputs, state, gradients };
}

function objective(c: Case, o: Operands): number {
  const { y, state } = reference(c, o);
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += y[i] * o.dy![i];
  for (let i = 0; i < state.length; i++) sum += state[i] * o.dState![i];
  return sum;
}

/** 2⁻²⁴ for each of the roundings of a sum, amplified at most through T steps; the gates' own 4e-7. */
const tolerance = ({ T, I, H }: Case) => (I + H + 8) * 2 ** -23 + T * 4e-7;

const SHAPES = [
  [1, 1, 1, 1],
  [3, 1, 3, 4],
  [4, 3, 5, 3],
  [5, 4, 1, 5],
  [3, 7, 7, 8],
  [7, 16, 15, 17],
  [17, 3, 33, 31],
  [70, 2, 3, 5],
  [2, 65, 3, 5],
  [3, 5, 64, 65],
];

test("forward over odd shapes", () => {
  const core = new TestCore();
  let seed = 1;
  for (const cell of CELLS)
    for (const [T, B, I, H] of SHAPES)
      for (const f of [undefined, "gelu", "linearSigmoid"] as const) {
        const c: Case = { cell, T, B, I, H, f, bias: seed % 3 > 0, masked: seed % 2 > 0, seed: seed++ };
        const o = operands(c);
        const [got, expected] = [run(core, c, o), reference(c, o)];
        close(got.y, expected.y, tolerance(c), `y: ${nameOf(c)}`);
        close(got.state, expected.state, tolerance(c), `state: ${nameOf(c)}`);
      }
  core.checkCanaries();
});

test("every gradient against central differences", () => {
  const core = new TestCore();
  let seed = 100;
  for (const cell of CELLS)
    for (const f of [undefined, "gelu", "linearSigmoid"] as const)
      for (const goBackwards of [false, true])
        for (const [T, B, I, H] of [
          [1, 1, 1, 1],
          [4, 3, 2, 3],
          [3, 2, 9, 8],
        ]) {
          const c: Case = { cell, T, B, I, H, f, goBackwards, masked: seed % 2 > 0, seed: seed++ };
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
  core.checkCanaries();
});

test("a range of rows, and of panels, gives the bits of the whole", () => {
  const core = new TestCore();
  for (const cell of CELLS)
    for (const f of [undefined, "gelu"] as const)
      for (const goBackwards of [false, true])
        for (const [T, B] of [
          [5, 11],
          [40, 3],
        ]) {
          const c: Case = { cell, T, B, I: 3, H: 9, f, goBackwards, masked: true, seed: 7 };
          const o = operands(c);
          const whole = run(core, c, o);
          for (const splits of [
            [0, 1, B],
            [0, 2, B - 1, B],
          ]) {
            const parts = run(core, c, o, { splits });
            const what = `${nameOf(c)}, rows ${splits}`;
            sameBits(parts.y, whole.y, `y: ${what}`);
            for (const [name, g] of Object.entries(whole.gradients!))
              close(parts.gradients![name], g, 0, `d ${name}: ${what}`);
          }
        }
  core.checkCanaries();
});

test("the scan is a loop of steps, in place and with gates of a few steps too", () => {
  const core = new TestCore();
  for (const cell of CELLS)
    for (const B of [1, 3, 70]) {
      const c: Case = { cell, T: 9, B, I: 5, H: 7, seed: 3 };
      const o = operands(c);
      const whole = run(core, c, o);
      for (const gateSteps of [1, 2, core.k.gruChunk(B)])
        sameBits(run(core, c, o, { gateSteps }).y, whole.y, `${nameOf(c)}, gates of ${gateSteps} steps`);
      let h = o.h0;
      for (let t = 0; t < c.T; t++) {
        const step = { ...o, h0: h, x: o.x.slice(t * B * c.I, (t + 1) * B * c.I) };
        h = run(core, { ...c, T: 1 }, step, { inPlace: true, gateSteps: 1 }).state;
        sameBits(h, whole.y.slice(t * B * c.H, (t + 1) * B * c.H), `${cell}, step ${t}`);
      }
    }
  core.checkCanaries();
});

test("dx is added to where it is asked for", () => {
  const core = new TestCore();
  for (const cell of CELLS) {
    const c: Case = { cell, T: 3, B: 2, I: 3, H: 4 };
    const o = operands(c);
    // What was there is of order 1.
    close(run(core, c, o, { accumulate: true }).gradients!.x, run(core, c, o).gradients!.x, 0, cell, 2e-7);
  }
  core.checkCanaries();
});

test.run();
