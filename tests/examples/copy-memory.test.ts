import { test } from "uvu";
import * as assert from "uvu/assert";
import { randomNumbers } from "../../examples/common/random.js";
import { exact, run, sequences } from "../../examples/copy-memory/train.js";

test("symbols, blanks, signs; the symbols again at the end", () => {
  const [wait, symbols] = [5, 3];
  const { x, y } = sequences(40, { wait, symbols }, randomNumbers(1));
  assert.equal(x.shape, [40, 11]);
  const heard = new Set<number>();
  for (let i = 0; i < 40; i++) {
    const input = [...x.data.subarray(11 * i, 11 * (i + 1))];
    const target = [...y.data.subarray(11 * i, 11 * (i + 1))];
    assert.equal(input.slice(3), [0, 0, 0, 0, 9, 9, 9, 9]);
    assert.equal(target, [0, 0, 0, 0, 0, 0, 0, 0, ...input.slice(0, 3)]);
    for (const symbol of input.slice(0, 3)) heard.add(symbol);
  }
  assert.equal([...heard].sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("a sequence is said again rightly when all its steps are", () => {
  const y = { shape: [2, 2], data: Int32Array.of(0, 3, 0, 4) };
  const scores = new Float32Array(2 * 2 * 10);
  for (const [row, label] of [0, 3, 0, 5].entries()) scores[10 * row + label] = 1;
  assert.is(exact({ y }, { shape: [2, 2, 10], data: scores }), 1 / 2);
});

test("the quick form remembers two symbols", async () => {
  const { figures, model } = await run({ quick: true, seed: 1, log: () => {} });
  const [[, loss], [, floor]] = figures as [string, number][];
  assert.ok(loss < floor / 10, JSON.stringify(figures));
  model.dispose();
});

test.run();
