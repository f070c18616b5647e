import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, random, sameBits, TestCore, uniform } from "../kit/core.ts";
import { centralDifferences, GARBAGE, ROUNDING } from "../kit/shapes.ts";
import { additive, attend, dotProduct } from "../reference/attention.ts";

const ADDITIVE = 1;
const CAUSAL = 2;
const BLIND = 4;
const MASKED = 8;

interface Sizes {
  B: number;
  heads: number;
  Tq: number;
  Tk: number;
  D: number;
  Dv: number;
}

interface Problem extends Sizes {
  flags: number;
  queryMask?: number[];
  keyMask?: number[];
  rate?: number;
  padding?: number;
}

/** One problem's operands, [time, batch, heads, columns] dense, and the kernels on them. */
class Attention {
  readonly core = new TestCore();
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly dy: Float32Array;
  readonly w: Float32Array;
  readonly at: Record<"q" | "k" | "v" | "dy" | "w" | "queryMask" | "keyMask" | "y" | "stats" | "step" | "keep", number>;

  constructor(
    readonly p: Problem,
    seed = 1,
  ) {
    const { B, heads, Tq, Tk, D, Dv, flags, queryMask, keyMask, rate = 0, padding = GARBAGE } = p;
    const { core } = this;
    this.q = uniform(Tq * B * heads * D, seed, 1.5);
    this.k = uniform(Tk * B * heads * D, seed + 1, 1.5);
    this.v = uniform(Tk * B * heads * Dv, seed + 2);
    this.dy = uniform(Tq * B * heads * Dv, seed + 3);
    this.w = flags & ADDITIVE ? uniform(D, seed + 4, 2) : Float32Array.of(0.7);
    const put = (x: Float32Array, n: number) => core.putRows(x, x.length / n, n, pad8(n), padding);
    const keep = core.alloc(B * heads * Tq * pad8(Tk));
    const step = core.put([5], "i32");
    this.at = {
      q: put(this.q, D),
      k: put(this.k, D),
      v: put(this.v, Dv),
      dy: put(this.dy, Dv),
      w: core.put(this.w),
      queryMask: queryMask ? core.put(queryMask, "i32") : 0,
      keyMask: keyMask ? core.put(keyMask, "i32") : 0,
      y: core.alloc(Tq * B * heads * pad8(Dv)),
      stats: core.alloc(2 * B * heads * Tq),
      step,
      keep,
    };
    // What dropout multiplies every weight by: the kernel's own mask, drawn over ones.
    core.f32(keep, B * heads * Tq * pad8(Tk)).fill(1);
    if (Tk) core.k.dropout(keep, keep, B * heads * Tq, Tk, pad8(Tk), 0, rate, 77, step, 0);
  }

  scratch(name: "attentionScratch" | "attentionBackwardScratch"): number {
    const size = this.core.k[name](this.p.Tk, this.p.D, this.p.Dv);
    const at = this.core.alloc(size);
    this.core.f32(at, size).fill(Number.NaN);
    return at;
  }

  forward(from = 0, to = this.p.B * this.p.heads): Float32Array {
    const { B, heads, Tq, Tk, D, Dv, flags, rate = 0 } = this.p;
    const { at, core } = this;
    if (from === 0) core.f32(at.y, Tq * B * heads * pad8(Dv)).fill(Number.NaN);
    core.k.attentionForward(
      at.y, at.stats, at.q, at.k, at.v, at.w, at.queryMask, at.keyMask, this.scratch("attentionScratch"), at.step,
      77, rate, B, heads, Tq, Tk, D, Dv, flags, from, to, 0,
    ); // biome-ignore format: a call of the kernel
    return core.rows(at.y, Tq * B * heads, Dv);
  }

  /** Gradients, added to `before`, in as many calls as there are parts. */
  backward(before = 0, parts = 1) {
    const { B, heads, Tq, Tk, D, Dv, flags, rate = 0 } = this.p;
    const { at, core } = this;
    const start = (count: number, n: number) => core.putRows(new Float32Array(count * n).fill(before), count, n);
    const dq = start(Tq * B * heads, D);
    const dk = start(Tk * B * heads, D);
    const dv = start(Tk * B * heads, Dv);
    const n = flags & ADDITIVE ? D : 1;
    const dw = core.alloc(B * heads * pad8(n));
    const scratch = this.scratch("attentionBackwardScratch");
    for (let part = 0; part < parts; part++)
      core.k.attentionBackward(
        dq, dk, dv, dw, at.dy, at.stats, at.q, at.k, at.v, at.w, at.queryMask, at.keyMask, scratch, at.step, 77, rate,
        B, heads, Tq, Tk, D, Dv, flags, Math.floor(part * B * heads / parts), Math.floor((part + 1) * B * heads / parts), 0,
      ); // biome-ignore format: a call of the kernel
    const dWeights = core.alloc(n);
    core.k.addColumnSums(dWeights, dw, B * heads, n, pad8(n));
    return {
      dq: core.rows(dq, Tq * B * heads, D),
      dk: core.rows(dk, Tk * B * heads, D),
      dv: core.rows(dv, Tk * B * heads, Dv),
      dw: core.f32(dWeights, n).slice(),
    };
  }

  /** The same in double precision, on operands that may have been moved. */
  reference(q: ArrayLike<number>, k: ArrayLike<number>, v: ArrayLike<number>, w: ArrayLike<number>): Float64Array {
    const { B, heads, Tq, Tk, D, Dv, flags, queryMask, keyMask } = this.p;
    const keep = this.core.f32(this.at.keep, B * heads * Tq * pad8(Tk));
    const y = new Float64Array(Tq * B * heads * Dv);
    for (let item = 0; item < B * heads; item++) {
      const b = Math.floor(item / heads);
      const own = (x: ArrayLike<number>, T: number, n: number) =>
        Array.from({ length: T }, (_, t) => Array.from({ length: n }, (_, c) => x[(t * B * heads + item) * n + c]));
      const { outputs } = attend(
        own(q, Tq, D),
        own(k, Tk, D),
        own(v, Tk, Dv),
        flags & ADDITIVE ? additive(w) : dotProduct(w[0]),
        (i, j) =>
          !(flags & CAUSAL && j > i) && (queryMask?.[i * B + b] ?? 1) === 1 && (keyMask?.[j * B + b] ?? 1) === 1,
        (i, j) => keep[(item * Tq + i) * pad8(Tk) + j],
        (i) => (flags & ((queryMask?.[i * B + b] ?? 1) === 1 ? BLIND : MASKED)) !== 0,
      );
      outputs.forEach((row, i) => {
        y.set(row, (i * B * heads + item) * Dv);
      });
    }
    return y;
  }
}

const SIZES: Sizes[] = (
  [
    [1, 1, 1, 1, 1, 1],
    [3, 1, 3, 7, 5, 9],
    [2, 3, 7, 3, 4, 3],
    [1, 2, 17, 17, 8, 8],
    [2, 1, 65, 70, 3, 17],
    [1, 1, 1, 130, 17, 5],
    [5, 4, 1, 3, 7, 7],
    [1, 1, 130, 9, 2, 2],
    [1, 2, 2, 17, 3, 8],
  ] as const
).map(([B, heads, Tq, Tk, D, Dv]) => ({ B, heads, Tq, Tk, D, Dv }));

/** Masks with holes, a sample whose keys are all masked and another whose queries are. */
function masks({ B, Tq, Tk }: Sizes): Pick<Problem, "queryMask" | "keyMask"> {
  const next = random(9);
  const draw = (T: number, none: number) =>
    Array.from({ length: T * B }, (_, i) => (i % B !== none && next() < 0.7 ? 1 : 0));
  return { queryMask: draw(Tq, B > 2 ? 0 : -1), keyMask: draw(Tk, B > 1 ? B - 1 : -1) };
}

const FORMS: [string, number][] = [
  ["dot product", 0],
  ["additive", ADDITIVE],
  ["dot product, causal", CAUSAL],
  ["additive, causal", ADDITIVE | CAUSAL],
];

/** Those in which queries that see nothing see all. */
const BLIND_FORMS: [string, number][] = [
  ["dot product, blind", BLIND],
  ["dot product, causal, blind and masked", CAUSAL | BLIND | MASKED],
  ["additive, blind and masked", ADDITIVE | BLIND | MASKED],
  ["additive, causal, blind", ADDITIVE | CAUSAL | BLIND],
];

function* problems(): Generator<[string, Problem]> {
  for (const sizes of SIZES)
    for (const [form, flags] of [...FORMS, ...BLIND_FORMS])
      for (const [how, extra] of [
        ["plain", {}],
        ["masks", masks(sizes)],
        ["dropout", { rate: 0.3, ...masks(sizes) }],
      ] as const)
        yield [`${form}, ${how}, ${Object.values(sizes).join(" x ")}`, { ...sizes, flags, ...extra }];
}

test("forward follows the reference, whatever the padding holds", () => {
  for (const [what, problem] of problems()) {
    const a = new Attention(problem);
    // D terms in a score of up to 2 D, whose error the exponential turns into a relative one; Tk terms in a mean.
    const tolerance = (4 * problem.D + problem.Tk + 16) * ROUNDING;
    close(a.forward(), a.reference(a.q, a.k, a.v, a.w), tolerance, what, tolerance / 4);
    a.core.checkCanaries();
  }
});

test("backward against central differences of the reference", () => {
  for (const [what, problem] of problems()) {
    const { B, heads, Tq, Tk, D } = problem;
    if (B * heads * Tq * Tk * D > 600) continue;
    const a = new Attention(problem, 11);
    a.forward();
    const got = a.backward();
    const loss = (y: Float64Array) => y.reduce((sum, v, i) => sum + v * a.dy[i], 0);
    // Errors of the forward, and sums over queries or keys of products of them; central differences are good to 1e-9.
    const tolerance = 8 * (4 * D + Tk + Tq + 16) * ROUNDING;
    const check = (name: string, actual: Float32Array, f: (x: Float64Array) => Float64Array, x: Float32Array) =>
      close(
        actual,
        centralDifferences((at) => loss(f(at)), x),
        tolerance,
        `${what}: ${name}`,
        tolerance / 8,
      );
    check("dq", got.dq, (q) => a.reference(q, a.k, a.v, a.w), a.q);
    check("dk", got.dk, (k) => a.reference(a.q, k, a.v, a.w), a.k);
    check("dv", got.dv, (v) => a.reference(a.q, a.k, v, a.w), a.v);
    check("dw", got.dw, (w) => a.reference(a.q, a.k, a.v, w), a.w);
    const added = a.backward(1, 3);
    for (const name of ["dq", "dk", "dv"] as const)
      close(added[name], got[name].map((x) => x + 1), tolerance, `${what}: ${name}, added to`, tolerance); // biome-ignore format: one line
    sameBits(added.dw, got.dw, `${what}: dw in three calls`);
    a.core.checkCanaries();
  }
});

test("over several blocks of queries and keys, gradients follow those of halves", () => {
  // 300 keys are two blocks of a key gradient, 150 queries three of the queries.
  for (const [form, flags] of FORMS) {
    const sizes = { B: 1, heads: 1, Tq: 150, Tk: 300, D: 3, Dv: 4 };
    const whole = new Attention({ ...sizes, flags });
    whole.forward();
    const got = whole.backward();
    const loss = (y: Float64Array) => y.reduce((sum, v, i) => sum + v * whole.dy[i], 0);
    for (const [name, x, f] of [
      ["dq", whole.q, (q: Float64Array) => whole.reference(q, whole.k, whole.v, whole.w)],
      ["dk", whole.k, (k: Float64Array) => whole.reference(whole.q, k, whole.v, whole.w)],
      ["dv", whole.v, (v: Float64Array) => whole.reference(whole.q, whole.k, v, whole.w)],
    ] as const) {
      // Along one direction: all entries at once.
      const along = uniform(x.length, 5);
      const at = (h: number) => loss(f(Float64Array.from(x, (v, i) => v + h * along[i])));
      const expected = (at(1e-5) - at(-1e-5)) / 2e-5;
      const actual = got[name].reduce((sum, g, i) => sum + g * along[i], 0);
      const scale = got[name].reduce((sum, g, i) => sum + Math.abs(g * along[i]), 0);
      assert.ok(Math.abs(actual - expected) < 1e-5 * scale, `${form}: ${name} ${actual}, expected ${expected}`);
    }
  }
});

test("items one by one give the bits of all together", () => {
  for (const [form, flags] of FORMS) {
    const sizes = { B: 3, heads: 2, Tq: 5, Tk: 11, D: 6, Dv: 7 };
    const a = new Attention({ ...sizes, flags, ...masks(sizes) });
    const together = a.forward().slice();
    for (let item = 0; item < 6; item++) a.forward(item, item + 1);
    sameBits(a.core.rows(a.at.y, 5 * 3 * 2, 7), together, form);
  }
});

test("padding of keys and queries never changes a bit, masked keys hold what they like", () => {
  for (const [form, flags] of FORMS)
    for (const rate of [0, 0.4]) {
      const sizes = { B: 1, heads: 1, D: 5, Dv: 9, flags, rate };
      const [Tq, Tk, more] = [6, 7, 80];
      const long = new Attention({
        ...sizes,
        Tq: Tq + 3,
        Tk: Tk + more,
        queryMask: Array.from({ length: Tq + 3 }, (_, i) => (i < Tq ? 1 : 0)),
        keyMask: Array.from({ length: Tk + more }, (_, j) => (j < Tk ? 1 : 0)),
      });
      const short = new Attention({ ...sizes, Tq, Tk });
      for (const [name, n] of [["q", 5], ["k", 5], ["v", 9], ["dy", 9]] as const) {
        const T = name === "q" || name === "dy" ? Tq : Tk;
        short.core.f32(short.at[name], T * pad8(n)).set(long.core.f32(long.at[name], T * pad8(n)));
      } // biome-ignore format: a table
      short.core.f32(short.at.w, short.w.length).set(long.w);
      const [y, yShort] = [long.forward(), short.forward()];
      sameBits(y.slice(0, Tq * 9), yShort, `${form}: outputs`);
      assert.ok(
        y.slice(Tq * 9).every((v) => v === 0),
        `${form}: masked queries give zeros`,
      );
      const [g, gShort] = [long.backward(), short.backward()];
      for (const [name, n] of [["dq", 5], ["dk", 5], ["dv", 9]] as const) {
        const T = name === "dq" ? Tq : Tk;
        sameBits(g[name].slice(0, T * n), gShort[name], `${form}: ${name}`);
        assert.ok(g[name].slice(T * n).every((v) => v === 0), `${form}: ${name} of padding is zero`);
      } // biome-ignore format: a table
    }
});

test("all keys masked: zeros and no gradient, never NaN", () => {
  for (const [form, flags] of FORMS) {
    const sizes = { B: 2, heads: 2, Tq: 3, Tk: 4, D: 3, Dv: 3 };
    const a = new Attention({ ...sizes, flags, keyMask: new Array(8).fill(0), rate: 0.2 });
    assert.ok(a.forward().every((v) => v === 0), form);
    for (const [name, values] of Object.entries(a.backward())) assert.ok(values.every((v) => v === 0), `${form}: ${name}`);
  }
}); // biome-ignore format: short

test("large scores saturate, and keys of a query in any order give the same", () => {
  const a = new Attention({ B: 1, heads: 1, Tq: 1, Tk: 3, D: 1, Dv: 1, flags: 0 });
  a.core.f32(a.at.q, 1).set([100]);
  for (const [j, key] of [-100, 90, 100].entries()) a.core.f32(a.at.k + 32 * j, 1).set([key]);
  for (const [j, value] of [3, 5, 7].entries()) a.core.f32(a.at.v + 32 * j, 1).set([value]);
  assert.equal(Array.from(a.forward()), [7]);
  for (const v of Object.values(a.backward())) assert.ok(v.every(Number.isFinite));
});

test("no keys at all give zeros", () => {
  const a = new Attention({ B: 2, heads: 1, Tq: 3, Tk: 0, D: 3, Dv: 5, flags: 0 });
  assert.ok(a.forward().every((v) => v === 0));
  assert.ok(a.backward().dq.every((v) => v === 0));
});

test.run();
