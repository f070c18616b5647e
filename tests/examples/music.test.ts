import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { randomNumbers } from "../../examples/common/random.js";
import { batchOf, KEYS, madeUp, readChorales } from "../../examples/music/data.js";
import { marginals, stayOrChange } from "../../examples/music/floors.js";
import { run, shuffledBatches } from "../../examples/music/train.js";

const LOWEST = 21;

test("a batch asks for each next frame; what is padding has no notes", () => {
  const { x, y, lengths } = batchOf([
    [[21], [22, 108], []],
    [[30], [31]],
  ]);
  assert.equal(x.shape, [2, 2, KEYS]);
  assert.equal(y.shape, [2, 2, KEYS]);
  assert.equal([...lengths], [2, 1]);
  const notes = (data: Float32Array, i: number, t: number) =>
    [...data.subarray((2 * i + t) * KEYS, (2 * i + t + 1) * KEYS)].flatMap((v, key) => (v ? [key + LOWEST] : []));
  assert.equal(
    [notes(x.data, 0, 0), notes(x.data, 0, 1), notes(x.data, 1, 0), notes(x.data, 1, 1)],
    [[21], [22, 108], [30], []],
  );
  assert.equal(
    [notes(y.data, 0, 0), notes(y.data, 0, 1), notes(y.data, 1, 0), notes(y.data, 1, 1)],
    [[22, 108], [], [31], []],
  );
});

test("the floors count as their definitions say", () => {
  // One key sounds in every frame, the others never.
  const always = Array.from({ length: 4 }, () => [60]);
  const pieces = { train: [always], valid: [always], test: [always] };
  // Three frames are predicted; with one more of each outcome, 4 of 5.
  const expected = KEYS * Math.log(5 / 4);
  assert.ok(Math.abs(marginals(pieces) - expected) < 1e-12);
  assert.ok(Math.abs(stayOrChange(pieces) - expected) < 1e-12);
  // A key that comes and goes: half of the time at all, but always otherwise than before.
  const alternating = Array.from({ length: 9 }, (_, t) => (t % 2 ? [60] : []));
  const other = { train: [alternating], valid: [], test: [alternating] };
  const silent = (KEYS - 1) * Math.log(10 / 9);
  assert.ok(Math.abs(marginals(other) - (silent + Math.log(2))) < 1e-12);
  assert.ok(Math.abs(stayOrChange(other) - (silent + Math.log(6 / 5))) < 1e-12);
});

test("an epoch has every piece once, and the same again from the same seed", () => {
  const { train } = madeUp(20, randomNumbers(1));
  const epochs = () => {
    const epoch = shuffledBatches(train, 8, randomNumbers(5));
    return [[...epoch()], [...epoch()]];
  };
  const [first, second] = epochs();
  const frames = (batches: typeof first) => batches.flatMap(({ lengths }) => [...lengths]).sort();
  assert.equal(frames(first), train.map((piece) => piece.length - 1).sort());
  assert.equal(frames(first), frames(second));
  assert.not.equal(first, second);
  assert.equal(epochs(), [first, second]);
});

test("notes that no piano has are refused by place", () => {
  const folder = mkdtempSync(join(tmpdir(), "chorales-"));
  const write = (train: number[][][]) =>
    writeFileSync(join(folder, "jsb-chorales.json"), JSON.stringify({ train, valid: [], test: [] }));
  write([[[60], []]]);
  assert.equal(readChorales(folder).train, [[[60], []]]);
  write([[[60]], [[60], [109]]]);
  assert.throws(() => readChorales(folder), /train\[1\]\[1\].*\[109\]/);
  rmSync(folder, { recursive: true });
});

test("the quick form beats both floors", async () => {
  const lines: string[] = [];
  const { figures, model } = await run({ quick: true, seed: 1, log: (line: string) => lines.push(line) });
  const [[, nll], [, often], [, stay]] = figures as [string, number][];
  assert.ok(nll < 0.9 * stay && stay < often, JSON.stringify(figures));
  assert.ok(lines.length > 2, "progress is shown");
  model.dispose();
});

test.run();
