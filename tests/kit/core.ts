import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";

/**
 * The compiled core over a memory of its own, with a bump allocator and
 * canaries, for tests of single kernels.
 */

export type Exports = Record<string, (...args: number[]) => number>;

const CANARY = 0x7fc0ffee; // a NaN with a payload: reading it shows, and overwriting it shows

export class TestCore {
  readonly memory = new WebAssembly.Memory({ initial: 64, maximum: 16384 });
  readonly k: Exports;
  /** Room to work in for products that are called by themselves. */
  readonly work: number;
  private next: number;
  private canaries: number[] = [];

  constructor(target = process.env.GRUVY_TEST_TARGET ?? "plain") {
    const module = new WebAssembly.Module(readFileSync(new URL(`../../build/core.${target}.wasm`, import.meta.url)));
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory: this.memory,
        abort: (_m: number, _f: number, line: number) => {
          throw new Error(`core: assertion failed at line ${line}`);
        },
      },
    });
    this.k = instance.exports as unknown as Exports;
    this.next = (this.k.arenaStart(1) + 63) & ~63;
    this.work = this.alloc(32768 + 64);
  }

  /** Address of `count` fresh elements, zeroed, 16-byte aligned, with canaries on both sides. */
  alloc(count: number): number {
    const bytes = ((count * 4 + 15) & ~15) + 32;
    while (this.next + bytes + 64 > this.memory.buffer.byteLength) this.memory.grow(64);
    const at = this.next + 16;
    this.next += bytes;
    const view = new Int32Array(this.memory.buffer);
    view.fill(0, (at - 16) >> 2, (at + bytes - 16) >> 2);
    for (const end of [at - 16, at + bytes - 32])
      for (let i = 0; i < 4; i++) {
        view[(end >> 2) + i] = CANARY;
        this.canaries.push((end >> 2) + i);
      }
    return at;
  }

  f32(at: number, count: number): Float32Array {
    return new Float32Array(this.memory.buffer, at, count);
  }
  i32(at: number, count: number): Int32Array {
    return new Int32Array(this.memory.buffer, at, count);
  }
  f64(at: number, count: number): Float64Array {
    return new Float64Array(this.memory.buffer, at, count);
  }

  /** A copy of `values` in the core's memory. */
  put(values: ArrayLike<number>, type: "f32" | "i32" = "f32"): number {
    const at = this.alloc(values.length);
    (type === "f32" ? this.f32(at, values.length) : this.i32(at, values.length)).set(values);
    return at;
  }

  /**
   * `values` [rows, n] with a row stride of `stride` elements; the padding
   * holds `filler`, so that a kernel that lets padding leak into results shows.
   */
  putRows(values: ArrayLike<number>, rows: number, n: number, stride = pad8(n), filler = 123.5): number {
    const at = this.alloc(rows * stride);
    const view = this.f32(at, rows * stride).fill(filler);
    for (let r = 0; r < rows; r++) for (let c = 0; c < n; c++) view[r * stride + c] = values[r * n + c];
    return at;
  }

  /** The dense [rows, n] behind padded rows. */
  rows(at: number, rows: number, n: number, stride = pad8(n)): Float32Array {
    const view = this.f32(at, rows * stride);
    return Float32Array.from({ length: rows * n }, (_, i) => view[Math.floor(i / n) * stride + (i % n)]);
  }

  /** Fails where a kernel wrote outside its operands. */
  checkCanaries(): void {
    const view = new Int32Array(this.memory.buffer);
    for (const i of this.canaries) assert.is(view[i], CANARY, `a kernel wrote outside its operand, at byte ${i * 4}`);
  }
}

export function pad8(n: number): number {
  return (n + 7) & ~7;
}

/** Small reproducible random numbers for tests (mulberry32). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** `n` float32 numbers in [-scale, scale]. */
export function uniform(n: number, seed: number, scale = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => (next() * 2 - 1) * scale);
}

/**
 * Every entry within `absolute + relative * largest expected entry`; the
 * message has the worst index, both values and the maximum error.
 */
export function close(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relative: number,
  what: string,
  absolute = 0,
): void {
  assert.is(actual.length, expected.length, `${what}: length`);
  let largest = 0;
  for (let i = 0; i < expected.length; i++)
    if (Number.isFinite(expected[i])) largest = Math.max(largest, Math.abs(expected[i]));
  let worst = -1;
  let error = 0;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i]) || actual[i] === expected[i]) continue;
    const e = Math.abs(actual[i] - expected[i]);
    if (!(e <= error)) {
      error = e;
      worst = i;
      if (Number.isNaN(e)) break;
    }
  }
  const limit = absolute + relative * largest;
  assert.ok(
    worst < 0 || error <= limit,
    `${what}: [${worst}] expected ${expected[worst]}, got ${actual[worst]}; error ${error}, limit ${limit}`,
  );
}

/** The same bits, padding and all. */
export function sameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.is(actual.length, expected.length, `${what}: length`);
  const a = new Int32Array(actual.slice().buffer);
  const e = new Int32Array(expected.slice().buffer);
  for (let i = 0; i < a.length; i++)
    if (a[i] !== e[i]) assert.unreachable(`${what}: [${i}] expected ${expected[i]}, got ${actual[i]}`);
}
