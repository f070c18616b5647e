import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, sameBits, TestCore, uniform } from "../kit/core.ts";
import { checkPadding, GARBAGE, ROUNDING, shapes } from "../kit/shapes.ts";
import { dropout } from "../reference/dropout.ts";

const KEY: [number, number] = [0x1234, -77];

test("elements are kept and scaled by their random words, whatever the stride", () => {
  for (const { rows, n, stride } of shapes()) {
    const core = new TestCore();
    const x = uniform(rows * n, n);
    const [from, y] = [core.putRows(x, rows, n, stride, GARBAGE), core.alloc(rows * stride)];
    for (const rate of [0, 0.25, 0.5, 0.9]) {
      core.k.dropout(y, from, rows, n, stride, 0, rate, KEY[0], core.put([KEY[1]], "i32"), 0);
      const all = core.rows(y, rows, n, stride);
      // The scale and the product are rounded.
      close(all, dropout(x, n, Math.fround(rate), KEY), 4 * ROUNDING, `${rows}x${n}, rate ${rate}`);
      checkPadding(core.f32(y, rows * stride), { rows, n, stride }, "y");
    }
    core.checkCanaries();
  }
});

test("a range of rows is computed alone", () => {
  const core = new TestCore();
  const [rows, n, stride] = [17, 33, 40];
  const x = core.putRows(uniform(rows * n, 1), rows, n);
  const [whole, parts] = [core.alloc(rows * stride), core.alloc(rows * stride)];
  core.k.dropout(whole, x, rows, n, stride, 0, 0.5, KEY[0], core.put([KEY[1]], "i32"), 0);
  for (const [from, to] of [
    [0, 5],
    [5, 6],
    [6, 17],
  ])
    core.k.dropout(
      parts + from * stride * 4,
      x + from * stride * 4,
      to - from,
      n,
      stride,
      from,
      0.5,
      KEY[0],
      core.put([KEY[1]], "i32"),
      0,
    );
  sameBits(core.rows(parts, rows, n), core.rows(whole, rows, n), "rows in parts");
});

test("backward is the same call, in place or accumulated", () => {
  const core = new TestCore();
  const [rows, n, stride] = [5, 17, 24];
  const x = core.putRows(uniform(rows * n, 1), rows, n);
  const y = core.alloc(rows * stride);
  core.k.dropout(y, x, rows, n, stride, 0, 0.3, KEY[0], core.put([KEY[1]], "i32"), 0);
  const once = core.rows(y, rows, n);
  core.k.dropout(y, x, rows, n, stride, 0, 0.3, KEY[0], core.put([KEY[1]], "i32"), 1);
  sameBits(
    core.rows(y, rows, n),
    once.map((v) => v * 2),
    "accumulated",
  );
  core.k.dropout(x, x, rows, n, stride, 0, 0.3, KEY[0], core.put([KEY[1]], "i32"), 0);
  sameBits(core.rows(x, rows, n), once, "in place");
});

test("rate 1 drops everything; the share kept is 1 − rate", () => {
  const core = new TestCore();
  const [rows, n] = [256, 256];
  const x = core.put(new Float32Array(rows * n).fill(1));
  const y = core.alloc(rows * n);
  for (const rate of [0.1, 0.5, 0.8, 1]) {
    core.k.dropout(y, x, rows, n, n, 0, rate, KEY[0], core.put([KEY[1]], "i32"), 0);
    const kept = core.f32(y, rows * n).filter((v) => v !== 0).length / (rows * n);
    // Five standard deviations of a binomial share.
    const bound = 5 * Math.sqrt((rate * (1 - rate)) / (rows * n));
    assert.ok(Math.abs(kept - (1 - rate)) <= bound, `rate ${rate}: kept ${kept}`);
  }
});

test("a given mask", () => {
  for (const { rows, n, stride } of shapes()) {
    const core = new TestCore();
    const x = uniform(rows * n, n);
    const keep = uniform(rows * n, n + 1).map((v) => Number(v > 0));
    const [from, mask] = [core.putRows(x, rows, n, stride, GARBAGE), core.putRows(keep, rows, n, stride, GARBAGE)];
    const y = core.alloc(rows * stride);
    core.k.dropoutMask(y, from, mask, rows, n, stride, 1.25, 0);
    checkPadding(core.f32(y, rows * stride), { rows, n, stride }, "y");
    const expected = x.map((v, i) => v * keep[i] * 1.25);
    close(core.rows(y, rows, n, stride), expected, 0, `${rows}x${n}`);
    core.k.dropoutMask(y, from, mask, rows, n, stride, 1.25, 1);
    close(
      core.rows(y, rows, n, stride),
      expected.map((v) => v * 2),
      0,
      `${rows}x${n}, accumulated`,
    );
    core.checkCanaries();
  }
});

test.run();
