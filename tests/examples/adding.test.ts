import { test } from "uvu";
import * as assert from "uvu/assert";
import { run, sequences } from "../../examples/adding/train.js";
import { randomNumbers } from "../../examples/common/random.js";

test("a marker in each half, and their numbers' sum", () => {
  const [count, steps] = [50, 7];
  const { x, y } = sequences(count, steps, randomNumbers(1));
  assert.equal(x.shape, [count, steps, 2]);
  assert.equal(y.shape, [count, 1]);
  const places = new Set<number>();
  for (let i = 0; i < count; i++) {
    const value = (t: number) => x.data[(i * steps + t) * 2];
    const marked = Array.from({ length: steps }, (_, t) => t).filter((t) => x.data[(i * steps + t) * 2 + 1] === 1);
    assert.is(marked.length, 2);
    assert.ok(marked[0] < 3 && marked[1] >= 3);
    assert.is(y.data[i], Math.fround(value(marked[0]) + value(marked[1])));
    for (const t of marked) places.add(t);
  }
  assert.is(places.size, steps, "every step is marked now and then");
});

test("the quick form solves short sequences", async () => {
  const { figures, model } = await run({ quick: true, seed: 1, log: () => {} });
  const [[, error], [, floor]] = figures as [string, number][];
  assert.ok(error < floor / 50, JSON.stringify(figures));
  model.dispose();
});

test.run();
