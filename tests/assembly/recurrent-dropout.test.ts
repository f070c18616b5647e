import { test } from "uvu";
import * as assert from "uvu/assert";
import { close, pad8, TestCore, uniform } from "../kit/core.ts";
import { dropout } from "../reference/dropout.ts";

const KEY: [number, number] = [0x12345678, 9];

test("masks are those of the counters that the file names, and inputs fall alike at every step", () => {
  const core = new TestCore();
  const step = core.put([KEY[1]], "i32");
  for (const [T, B, I, H] of [
    [1, 1, 1, 1],
    [3, 2, 7, 3],
    [4, 5, 17, 9],
  ]) {
    const [Ip, Hp] = [pad8(I), pad8(H)];
    const values = uniform(T * B * I, 1);
    const x = core.putRows(values, T * B, I, Ip, 3);
    const [y, dropped, zone] = [core.alloc((T + 1) * B * Ip), core.alloc((T + 2) * B * Hp), core.alloc(T * B * Hp)];
    core.k.recurrentDropout(y, dropped, zone, x, T, B, I, H, 0.3, 0.5, 0.25, KEY[0], step);
    const what = `${T} x ${B} x ${I} x ${H}`;
    const ones = (n: number) => new Float64Array(n).fill(1);
    const inputs = Array.from({ length: T }, (_, t) =>
      Array.from(dropout(values.slice(t * B * I, (t + 1) * B * I), I, 0.3, KEY, 0)),
    ).flat();
    close(core.rows(y + 4 * B * Ip, T * B, I), inputs, 1e-7, `${what}: inputs`);
    close(core.rows(dropped, B, H), dropout(ones(B * H), H, 0.5, KEY, B), 0, `${what}: states`);
    // 1 with probability 0.25, exactly: dropout's survivors at a rate of 0.75, unscaled.
    const zones = dropout(ones(T * B * H), H, 0.75, KEY, 2 * B).map((v) => (v ? 1 : 0));
    close(core.rows(zone, T * B, H), zones, 0, `${what}: zoneout`);
    for (let r = 0; r < B; r++)
      for (let j = H; j < Hp; j++) assert.is(core.f32(dropped, B * Hp)[r * Hp + j], 0, `${what}: padding`);

    // Backward goes through the same mask, and adds where it is to.
    const before = uniform(T * B * I, 2);
    const dx = core.putRows(before, T * B, I, Ip, 0);
    core.k.inputDropout(dx, x, y, T, B * Ip, 1);
    close(
      core.rows(dx, T * B, I),
      inputs.map((v, i) => v + before[i]),
      2e-7,
      `${what}: accumulated`,
    );
    core.k.inputDropout(x, x, y, T, B * Ip, 0);
    close(core.rows(x, T * B, I), inputs, 1e-7, `${what}: in place`);
  }
  core.checkCanaries();
});

test("another step draws other masks", () => {
  const core = new TestCore();
  const at = [1, 2].map((step) => {
    const zone = core.alloc(64 * 8);
    core.k.recurrentDropout(0, 0, zone, 0, 8, 8, 1, 8, 0, 0, 0.5, KEY[0], core.put([step], "i32"));
    return core.rows(zone, 64, 8).join();
  });
  assert.is.not(at[0], at[1]);
});

test.run();
