import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, gru, OptionError, ShapeError, StateError, sequential } from "../../../host/index.ts";

const noise = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i * 12.9898)));

test("steps are the steps of a sequence, to the bit, from every kind of array and in batches", async () => {
  for (const [I, H, O] of [
    [5, 9, 3],
    [8, 16, 8],
  ]) {
    const model = await sequential([gru(H, { returnSequences: true }), dense(O)], { inputShape: [null, I], seed: 2 });
    const [B, T] = [3, 6];
    const x = noise(B * T * I);
    const whole = await model.predict({ shape: [B, T, I], data: x });
    const at = (b: number, t: number) => whole.data.subarray((b * T + t) * O, (b * T + t + 1) * O);
    const frame = (b: number, t: number) => x.subarray((b * T + t) * I, (b * T + t + 1) * I);
    const batch = model.stream({ batch: B });
    const single = model.stream();
    for (let t = 0; t < T; t++) {
      const joined = Float32Array.from([0, 1, 2].flatMap((b) => Array.from(frame(b, t))));
      const outputs = batch.step(t % 2 ? joined : Float64Array.from(joined));
      assert.equal(outputs, Float32Array.from([0, 1, 2].flatMap((b) => Array.from(at(b, t)))));
      assert.equal(single.step(t % 2 ? frame(1, t) : Array.from(frame(1, t))), at(1, t));
      // Growing the memory makes new views; taking and giving back moves nothing.
      if (t === 3) {
        const { arena } = model.network.engine;
        arena.give(arena.take(arena.memory.buffer.byteLength));
      }
    }
    model.dispose();
  }
});

test("a refused frame changes no state; a closed stream does nothing", async () => {
  const model = await sequential([gru(4)], { inputShape: [null, 3], seed: 2 });
  const stream = model.stream();
  stream.step([1, 2, 3]);
  const before = stream.state;
  for (const [bad, type] of [
    [[1, 2], ShapeError],
    [[1, NaN, 3], OptionError],
    [undefined, ShapeError],
  ] as const) {
    try {
      stream.step(bad as unknown as number[]);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, type);
    }
  }
  assert.equal(stream.state, before);
  const pair = model.stream({ batch: 2 });
  assert.throws(() => pair.step([1, 2, 3, 4, NaN, 6]), /NaN at position 4/);
  stream.close();
  for (const use of [
    () => stream.step([1, 2, 3]),
    () => stream.reset(),
    () => stream.state,
    () => (stream.state = before),
  ])
    assert.throws(use, (error: Error) => error instanceof StateError && /the stream is closed/.test(error.message));
  model.dispose();
});

test.run();
