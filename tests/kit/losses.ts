import * as assert from "uvu/assert";
import type { Loss, Weighting } from "../reference/losses.ts";
import { total } from "../reference/losses.ts";
import { close, sameBits, type TestCore } from "./core.ts";
import { checkPadding, ROUNDING, type Shape } from "./shapes.ts";

/** What a loss kernel wrote. */
export type Written = { sum: number; denominator: number; losses: Float32Array; dx: Float32Array };

/** `call` gets the addresses out, losses and dx; `dx` is 0 where no gradient is wanted. */
export type Call = (out: number, losses: number, dx: number) => void;

export function runLoss(core: TestCore, shape: Shape, call: Call): Written {
  const { rows, n, stride } = shape;
  const [out, losses, dx] = [core.alloc(4), core.alloc(rows), core.alloc(rows * stride)];
  core.f32(dx, rows * stride).fill(NaN);
  call(out, losses, dx);
  checkPadding(core.f32(dx, rows * stride), shape, "dx");
  const [sum, denominator] = core.f64(out, 2);
  const written = { sum, denominator, losses: core.f32(losses, rows).slice(), dx: core.rows(dx, rows, n, stride) };

  const [again, lossesAgain] = [core.alloc(4), core.alloc(rows)];
  call(again, lossesAgain, 0);
  assert.equal(Array.from(core.f64(again, 2)), [sum, denominator], "without a gradient");
  sameBits(core.f32(lossesAgain, rows), written.losses, "without a gradient");
  core.checkCanaries();
  return written;
}

/** Against the twin: losses and denominator; terms of a row up to `terms`, each good to a few roundings. */
export function checkLoss(written: Written, expected: Loss, n: number, what: string): void {
  const tolerance = (n / 4 + 12) * 2 * ROUNDING;
  close(written.losses, expected.losses, tolerance, `${what}: losses`, tolerance);
  const sum = written.losses.reduce((a, b) => a + b, 0);
  assert.is(written.sum, sum, `${what}: the sum is that of the losses`);
  // Class weights are float32 in both; the sums are double.
  assert.ok(
    Math.abs(written.denominator - expected.denominator) <= 1e-12 * expected.denominator,
    `${what}: denominator`,
  );
}

/**
 * dx against central differences of the twin's total. Entries are differences
 * of terms up to about 2 (p · weight and its target), so that `tolerance` is
 * absolute as well as relative to the largest entry.
 */
export function checkGradient(
  written: Written,
  x: ArrayLike<number>,
  loss: (x: Float64Array) => Loss,
  tolerance: number,
  what: string,
): void {
  const h = 1e-5;
  const at = Float64Array.from(x);
  const expected = at.map((v, i) => {
    at[i] = v + h;
    const above = total(loss(at));
    at[i] = v - h;
    const below = total(loss(at));
    at[i] = v;
    return (above - below) / (2 * h);
  });
  close(written.dx, expected, tolerance, `${what}: dx`, tolerance);
}

/** Combinations of the operands that all losses share. */
export function weightings(rows: number, n: number): (Weighting & { what: string })[] {
  const valid = Int32Array.from({ length: rows }, (_, i) => Number(i % 3 !== 1));
  const weights = Float32Array.from({ length: rows }, (_, i) => 0.5 + ((i * 7) % 5) / 4);
  return [
    { rows, n, mean: true, what: "mean" },
    { rows, n, mean: false, weights, what: "weighted sum" },
    { rows, n, mean: true, valid, weights, what: "weighted mean of valid rows" },
    { rows, n, mean: true, valid: new Int32Array(rows), what: "no valid row" },
  ];
}
