import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, random, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, GARBAGE, ROUNDING } from "../kit/shapes.ts";
import { type CtcProblem, ctc, ctcByEnumeration, ctcLoss } from "../reference/ctc.ts";
import { logSoftmax, softmax } from "../reference/softmax.ts";

interface Written {
  losses: Float32Array;
  dx: Float32Array;
  sum: number;
  denominator: number;
}

/** The kernel on x [T, B, n]; what it says without a gradient, and row by row on another thread's scratch, is compared. */
function run(x: ArrayLike<number>, problem: CtcProblem, stride = pad8(problem.n)): Written {
  const { T, B, n, labels, blank, logits, valid, weights, zeroInfinity, mean } = problem;
  const core = new TestCore();
  const width = Math.max(0, ...labels.map((own) => own.length)) + 4;
  const rows = labels.flatMap((own) => [own.length, ...own, ...Array(width - 1 - own.length).fill(2 ** 30)]);
  const at = core.putRows(x, T * B, n, stride, GARBAGE);
  const targets = core.put(rows, "i32");
  const v = valid ? core.put(valid, "i32") : 0;
  const w = weights ? core.put(weights) : 0;
  const call = (losses: number, dx: number, scratch: number, from: number, to: number, thread: number) =>
    core.k.ctc(
      ...[losses, dx, at, targets, v, w, scratch, T, B, n, stride, width, blank],
      ...[Number(logits), Number(zeroInfinity ?? false), Number(mean ?? false), from, to, thread],
    );
  const scratch = (threads: number, gradient: number) => {
    const count = threads * core.k.ctcScratch(T, n, width - 1, gradient);
    const address = core.alloc(count);
    core.f32(address, count).fill(NaN);
    return address;
  };
  const [losses, dx, out] = [core.alloc(B), core.alloc(T * B * stride), core.alloc(4)];
  core.f32(dx, T * B * stride).fill(NaN);
  call(losses, dx, scratch(1, 1), 0, B, 0);
  core.k.ctcTotal(out, losses, targets, B, width, Number(mean ?? false));
  const all = core.f32(dx, T * B * stride).slice();
  for (let i = 0; i < all.length; i++) if (i % stride >= n) assert.is(all[i], 0, "padding of dx");

  const again = core.alloc(B);
  call(again, 0, scratch(1, 0), 0, B, 0);
  sameBits(core.f32(again, B), core.f32(losses, B), "without a gradient");
  core.f32(dx, T * B * stride).fill(NaN);
  const room = scratch(3, 1);
  for (let b = 0; b < B; b++) call(again, dx, room, b, b + 1, b % 3);
  sameBits(core.f32(again, B), core.f32(losses, B), "losses row by row");
  sameBits(core.f32(dx, T * B * stride), all, "dx row by row");
  core.checkCanaries();
  const [sum, denominator] = core.f64(out, 2);
  return { losses: core.f32(losses, B).slice(), dx: core.rows(dx, T * B, n, stride), sum, denominator };
}

/** Random labels, some of them repeated, that are not blank. */
function labelsOf(count: number, n: number, blank: number, seed: number): number[] {
  const next = random(seed);
  const out: number[] = [];
  while (out.length < count) {
    const label = Math.floor(next() * n);
    if (out.length && next() < 0.3) out.push(out[out.length - 1]);
    else if (label !== blank) out.push(label);
  }
  return out;
}

/** x of a problem: logits, or rows of probabilities. */
function inputs({ T, B, n, logits }: CtcProblem, seed: number, scale = 3): Float32Array {
  const x = uniform(T * B * n, seed, scale);
  if (!logits) for (let r = 0; r < T * B; r++) x.set(Float32Array.from(softmax(x.slice(r * n, (r + 1) * n))), r * n);
  return x;
}

/**
 * Some ten roundings of a softmax and its logarithm; those of a step, which
 * states share or which differ like a random walk, add one √T times.
 */
const tolerance = (T: number) => (16 + Math.sqrt(T)) * ROUNDING;

function check(what: string, problem: CtcProblem, x: Float32Array, stride?: number): Written {
  const written = run(x, problem, stride);
  const expected = ctc(Float64Array.from(x), problem);
  const { T, mean, B } = problem;
  // Sums of 1/p reach far beyond what is large in them: relative to the largest entry.
  const scale = Math.max(1, ...Array.from(problem.weights ?? [1]));
  close(written.losses, expected.losses, tolerance(T), `${what}: losses`, scale * tolerance(T));
  close(written.dx, expected.dx, tolerance(T), `${what}: dx`, (scale * tolerance(T)) / (mean ? B : 1));
  const total = written.sum / written.denominator;
  assert.ok(
    Math.abs(total - expected.loss) <= tolerance(T) * (scale + Math.abs(expected.loss)) || total === expected.loss,
    `${what}: loss ${total}, expected ${expected.loss}`,
  );
  return written;
}

test("the twin agrees with writing out every path", () => {
  for (const [T, n, labels] of [
    [0, 3, []],
    [0, 3, [1]],
    [1, 3, [2]],
    [3, 3, [1, 1]],
    [4, 3, [1, 2, 1]],
    [5, 3, [1, 1, 2]],
    [5, 4, []],
    [6, 4, [3, 3, 3]],
    [2, 4, [1, 2, 3]],
    [4, 2, [1, 1, 1]],
  ] as [number, number, number[]][])
    for (const blank of [0, n - 1]) {
      const own = blank === 0 ? labels : labels.map((label) => label - 1);
      const logp = Array.from({ length: T }, (_, t) => logSoftmax(uniform(n, 7 * t + n, 2)));
      close([ctcLoss(logp, own, blank)], [ctcByEnumeration(logp, own, blank)], 1e-12, `T=${T} n=${n} ${own}`, 1e-12);
    }
});

test("losses and gradients against every path and central differences", () => {
  for (const logits of [true, false])
    for (const mean of [true, false]) {
      const problem = { T: 5, B: 4, n: 3, labels: [[1, 2], [], [1, 1], [2]], blank: 0, logits, mean };
      const x = inputs(problem, 3, 2);
      const { losses, dx } = check(`logits ${logits}, mean ${mean}`, problem, x);
      losses.forEach((loss, b) => {
        const logp = Array.from({ length: 5 }, (_, t) => {
          const row = x.slice((t * 4 + b) * 3, (t * 4 + b + 1) * 3);
          return logits ? logSoftmax(row) : row.map(Math.log);
        });
        close([loss], [ctcByEnumeration(logp, problem.labels[b], 0)], 2e-6, `sequence ${b}`);
      });
      const slopes = centralDifferences((v) => ctc(v, problem).loss, x);
      close(dx, slopes, 4e-6, "dx against central differences", 2e-6);
    }
});

test("every shape agrees with the twin", () => {
  for (const n of [2, 3, 4, 5, 8, 17, 33])
    for (const T of [1, 2, 7, 17, 40])
      for (const B of [1, 3]) {
        const blank = (n * T) % n ? 0 : n - 1;
        const valid = Int32Array.from({ length: T * B }, (_, i) => Number((i * 7) % 5 !== 1));
        const weights = [0.5, 2, 1.25].slice(0, B);
        const count = (b: number) => [Math.floor(T / 3), 0, Math.floor(T / 5)][b];
        const labels = Array.from({ length: B }, (_, b) => labelsOf(count(b), n, blank, n + T + b));
        const common = { T, B, n, labels, blank };
        for (const logits of [true, false]) {
          const what = `n=${n} T=${T} B=${B} logits ${logits}`;
          check(what, { ...common, logits, mean: true }, inputs({ ...common, logits }, n + T));
          check(`${what} masked`, { ...common, logits, valid, weights }, inputs({ ...common, logits }, T), pad8(n) + 8);
        }
      }
});

test("numbers of labels around a vector, with every repetition", () => {
  for (let count = 0; count <= 18; count++) {
    const labels = [labelsOf(count, 6, 0, count), Array(count).fill(3), labelsOf(count, 6, 0, count + 50)];
    const problem = { T: 2 * count + 2, B: 3, n: 6, labels, blank: 0, logits: true };
    check(`${count} labels`, problem, inputs(problem, count + 1));
  }
});

test("hundreds of steps and of labels", () => {
  for (const [T, count] of [
    [300, 120],
    [1000, 10],
  ]) {
    const labels = [labelsOf(count, 20, 0, 1), labelsOf(count / 2, 20, 0, 2)];
    const problem = { T, B: 2, n: 20, labels, blank: 0, logits: true, mean: true };
    check(`${T} steps`, problem, inputs(problem, T));
  }
});

test("a network that says blank everywhere has a finite loss and gradient, far beyond what a float holds", () => {
  const [T, n] = [200, 5];
  const x = new Float32Array(T * n).map((_, i) => (i % n === 0 ? 60 : ((i * 13) % 7) / 7));
  const problem = { T, B: 1, n, labels: [labelsOf(40, n, 0, 9)], blank: 0, logits: true };
  const { losses } = check("blanks", problem, x);
  assert.ok(losses[0] > 2000);
});

test("logits of thousands are safe", () => {
  const x = [4000, -4000, 0, 0, -1e30, 1e30, -4000, 4000, 0];
  const one = run(x.slice(0, 3), { T: 1, B: 1, n: 3, labels: [[1]], blank: 0, logits: true });
  close(one.losses, [8000], 1e-7, "loss");
  close(one.dx, [1, -1, 0], 1e-6, "dx");
  const far = run(x.slice(3, 6), { T: 1, B: 1, n: 3, labels: [[1]], blank: 0, logits: true });
  close(far.losses, [2097152], 1e-6, "the least log-probability");
  close(far.dx, [0, -1, 1], 1e-6, "dx");
  assert.equal(
    Array.from(run(x, { T: 3, B: 1, n: 3, labels: [[2]], blank: 0, logits: true }).losses).map(Number.isFinite),
    [true],
  );
});

test("a class of -Infinity takes no part", () => {
  const x = [0, -Infinity, 0, 0, 1, -Infinity];
  const common = { T: 2, B: 1, n: 3, blank: 0, logits: true };
  close(run(x, { ...common, labels: [[1]] }).losses, [Math.log(2) + Math.log(1 + Math.E) - 1], 2e-7, "loss");
  assert.is(run(x, { ...common, labels: [[1, 2]] }).losses[0], Infinity);
  assert.ok(run(x, { ...common, labels: [[1]] }).dx.every(Number.isFinite));
});

test("labels that cannot be aligned: Infinity without a gradient, or nothing", () => {
  const common = { T: 3, B: 3, n: 3, labels: [[1, 1, 2], [1, 2, 1, 2], [1]], blank: 0, logits: true, mean: true };
  const x = inputs(common, 5);
  const { losses, dx, sum } = check("infinite", common, x);
  assert.equal(Array.from(losses.slice(0, 2)), [Infinity, Infinity]);
  assert.is(sum, Infinity);
  for (let i = 0; i < dx.length; i++) assert.is(dx[i] === 0, i % 9 < 6, `dx[${i}]`);
  const zero = check("zero", { ...common, zeroInfinity: true }, x);
  assert.equal(Array.from(zero.losses), [0, 0, losses[2]]);
  assert.is(zero.denominator, 3);
  sameBits(zero.dx, dx, "dx");
});

test("no steps: certain for no labels, impossible for one", () => {
  const problem = { T: 2, B: 2, n: 3, labels: [[], [1]], blank: 0, logits: true, valid: [0, 0, 0, 0] };
  const { losses, dx } = run(inputs(problem, 1), problem);
  assert.equal(Array.from(losses), [0, Infinity]);
  assert.ok(dx.every((v) => v === 0));
});

test("steps that do not count may hold NaN, and change nothing", () => {
  const common = {
    B: 2,
    n: 5,
    labels: [
      [1, 1],
      [4, 2, 3],
    ],
    blank: 0,
    logits: true,
  };
  const x = inputs({ ...common, T: 7 }, 8);
  const short = run(x, { ...common, T: 7 });
  const holes = [2, 5, 8];
  const valid: number[] = [];
  const wide: number[] = [];
  for (let t = 0, from = 0; t < 10; t++) {
    const counts = !holes.includes(t);
    valid.push(Number(counts), Number(counts));
    wide.push(...(counts ? x.slice(from, (from += 10)) : Array(10).fill(NaN)));
  }
  const long = run(wide, { ...common, T: 10, valid });
  sameBits(long.losses, short.losses, "losses");
  const kept = long.dx.filter((_, i) => valid[Math.floor(i / 5)]);
  sameBits(kept, short.dx, "dx");
});

test("NaN in a step that counts reaches its loss, and only its own", () => {
  for (const logits of [true, false])
    for (const at of [0, 2, 4]) {
      const problem = { T: 3, B: 2, n: 5, labels: [[1], [3]], blank: 0, logits };
      const x = inputs(problem, 4);
      x[10 + at] = NaN;
      const { losses } = run(x, problem);
      assert.ok(Number.isNaN(losses[0]), `logits ${logits}, class ${at}`);
      assert.ok(Number.isFinite(losses[1]));
    }
});

test("a sequence of weight 0 is not looked at", () => {
  const problem = { T: 2, B: 2, n: 3, labels: [[1, 1, 1], [1]], blank: 0, logits: true, weights: [0, 1] };
  const { losses, dx, sum } = run(inputs(problem, 4), problem);
  assert.is(losses[0], 0);
  assert.ok(Number.isFinite(sum));
  assert.ok(dx.slice(0, 3).every((v) => v === 0));
});

test("clipped probabilities have a finite loss and no gradient", () => {
  const problem = { T: 2, B: 1, n: 3, labels: [[1]], blank: 0, logits: false };
  const { losses, dx } = check("clipped", problem, Float32Array.of(0, 0, 1, 0, 0.5, 0.5));
  close(losses, [-Math.log(2 * 1e-7 * 0.5)], 1e-6, "loss");
  assert.is(dx[0] + dx[1] + dx[3], 0);
});

test("every step's gradient of logits adds up to 0", () => {
  const problem = { T: 50, B: 2, n: 9, labels: [labelsOf(11, 9, 0, 1), labelsOf(4, 9, 0, 2)], blank: 0, logits: true };
  const { dx } = run(inputs(problem, 2), problem);
  for (let r = 0; r < 100; r++) {
    const sum = dx.slice(r * 9, r * 9 + 9).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum) < 1e-6, `row ${r}: ${sum}`);
  }
});

test.run();
