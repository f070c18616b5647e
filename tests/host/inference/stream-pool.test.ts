import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  dense,
  embedding,
  gru,
  type Layer,
  layerNorm,
  masking,
  OptionError,
  ShapeError,
  StateError,
  type Stream,
  sequential,
} from "../../../host/index.ts";

/** The same numbers at each run. */
function generator(seed: number) {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return { next, below: (n: number) => Math.floor(next() * n) };
}

const model = (layers: Layer[], inputShape: (number | null)[] = [null, 5]) =>
  sequential(layers, { inputShape, seed: 3 });

const small = () => model([gru(9)]);

const frame = (seed: number, n = 5) => {
  const { next } = generator(seed);
  return Float32Array.from({ length: n }, () => 2 * next() - 1);
};

function throws(body: () => unknown, type: new (message: string) => Error, message: RegExp) {
  try {
    body();
  } catch (error) {
    assert.instance(error, type);
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable("did not throw");
}

const MODELS: Record<string, () => ReturnType<typeof sequential>> = {
  "a stack": () =>
    model([
      gru(12, { returnSequences: true }),
      gru(7, { resetAfter: false, returnSequences: true }),
      layerNorm(),
      gru(5),
      dense(3, { activation: "softmax" }),
    ]),
  "other activations": () => model([gru(6, { activation: "relu", recurrentActivation: "hardSigmoid" }), dense(2)]),
  tokens: () => model([embedding(11, 6, { maskZero: true }), gru(8)], [null]),
  masking: () => model([masking(), gru(8, { returnSequences: true }), gru(4)]),
  "a stateful layer": () => model([gru(8, { stateful: true })]),
};

for (const [name, make] of Object.entries(MODELS))
  test(`any interleaving gives what single streams give, to the bit: ${name}`, async () => {
    const m = await make();
    const tokens = name === "tokens";
    for (let seed = 1; seed <= 8; seed++) {
      const { next, below } = generator(seed);
      const capacity = [1, 3, 20, 300][seed % 4];
      const pool = m.streamPool({ capacity });
      const open = new Map<number, Stream>();
      const closed: number[] = [];
      const pushed = new Map<number, Float32Array>();
      const some = () => [...open.keys()][below(open.size)];
      for (let turn = 0; turn < 6 * capacity + 60; turn++) {
        const action = next();
        if (action < 0.25 && open.size < capacity) {
          const id = pool.open();
          assert.not(open.has(id));
          open.set(id, m.stream());
        } else if (open.size === 0) continue;
        else if (action < 0.3) {
          const id = some();
          pool.close(id);
          open.get(id)!.close();
          open.delete(id);
          pushed.delete(id);
          closed.push(id);
        } else if (action < 0.35) {
          const id = some();
          pool.reset(id);
          open.get(id)!.reset();
          pushed.delete(id);
        } else if (action < 0.4) {
          const [from, to] = [some(), some()];
          assert.equal(pool.state(from), open.get(from)!.state);
          pool.setState(to, pool.state(from));
          open.get(to)!.state = open.get(from)!.state;
          pushed.delete(to);
        } else if (action < 0.9 || capacity > 20) {
          // Masked steps now and then: token 0, frames of zeros.
          const id = some();
          const x = tokens ? Float32Array.of(below(11)) : next() < 0.2 ? new Float32Array(5) : frame(turn);
          if (pushed.has(id)) throws(() => pool.push(id, x), StateError, /waits/);
          else {
            pool.push(id, x);
            pushed.set(id, x);
          }
        }
        if (action >= 0.9 && (capacity <= 20 || next() < 0.05)) {
          const outputs = pool.flush();
          assert.equal([...outputs.keys()], [...pushed.keys()], "in the order of the pushes");
          for (const [id, x] of pushed) assert.equal(outputs.get(id), open.get(id)!.step(x));
          pushed.clear();
        }
        assert.is(pool.size, open.size);
        assert.is(pool.waiting, pushed.size);
      }
      for (const [id, stream] of open) {
        assert.equal(pool.state(id), stream.state);
        assert.is(pool.isWaiting(id), pushed.has(id));
        stream.close();
      }
      for (const id of closed) throws(() => pool.push(id, [0]), StateError, /is closed/);
      pool.dispose();
    }
    m.dispose();
  });

test("a flush cuts any number of frames into batches", async () => {
  const m = await model([gru(9), dense(2)]);
  const pool = m.streamPool({ capacity: 700 });
  const stream = m.stream();
  const x = frame(1);
  for (const count of [1, 2, 3, 63, 64, 65, 255, 256, 257, 512, 699, 700]) {
    while (pool.size < count) pool.open();
    for (let id = 0; id < count; id++) {
      pool.reset(id);
      pool.push(id, x);
    }
    stream.reset();
    const expected = stream.step(x);
    const outputs = pool.flush();
    assert.is(outputs.size, count);
    for (const output of outputs.values()) assert.equal(output, expected);
  }
  m.dispose();
});

test("predict, training and new weights in between change no state", async () => {
  const m = await model([gru(9), dense(2)]);
  const pool = m.streamPool({ capacity: 3 });
  const streams = [m.stream(), m.stream()];
  const ids = [pool.open(), pool.open()];
  m.compile({ loss: "meanSquaredError", optimizer: "sgd" });
  for (let turn = 0; turn < 4; turn++) {
    pool.push(ids[0], frame(turn));
    await m.predict({ shape: [7, 9, 5], data: frame(turn, 7 * 9 * 5) });
    pool.push(ids[1], Array.from(frame(turn + 9)));
    await m.trainOnBatch({ shape: [4, 3, 5], data: frame(turn, 60) }, { shape: [4, 2], data: frame(turn, 8) });
    const outputs = pool.flush();
    assert.equal(outputs.get(ids[0]), streams[0].step(frame(turn)));
    assert.equal(outputs.get(ids[1]), streams[1].step(frame(turn + 9)));
  }
  m.dispose();
});

test("an empty flush is empty, and a flush forgets the one before", async () => {
  const m = await small();
  const pool = m.streamPool({ capacity: 2 });
  assert.is(pool.flush().size, 0);
  const id = pool.open();
  pool.push(id, frame(1));
  assert.is(pool.flush().size, 1);
  assert.is(pool.flush().size, 0);
  m.dispose();
});

test("refusals change nothing", async () => {
  const m = await small();
  const pool = m.streamPool({ capacity: 2 });
  const stream = m.stream();
  const [a, b] = [pool.open(), pool.open()];
  throws(() => pool.open(), StateError, /all 2 streams are open/);
  for (const id of [2, -1, -2, 0.5, NaN, undefined, "0"] as number[])
    throws(() => pool.push(id, frame(1)), OptionError, /unknown id/);
  throws(() => pool.push(a, frame(1, 4)), ShapeError, /expected \[5\], got \[4\]/);
  throws(() => pool.push(a, undefined as unknown as number[]), ShapeError, /expected \[5\], got undefined/);
  throws(() => pool.push(a, [1, 2, NaN, 4, 5]), OptionError, /streamPool.push\(\): the frame has NaN at position 2/);
  throws(() => pool.setState(a, new Float32Array(8)), ShapeError, /9 numbers, got 8/);
  throws(() => pool.setState(a, new Float32Array(9).fill(Infinity)), OptionError, /Infinity/);
  assert.is(pool.waiting, 0);
  pool.push(b, frame(1));
  throws(() => pool.push(b, frame(2)), StateError, /stream 1 has a frame that waits/);
  pool.push(a, frame(3));
  const outputs = pool.flush();
  assert.equal(outputs.get(b), stream.step(frame(1)));
  stream.reset();
  assert.equal(outputs.get(a), stream.step(frame(3)));
  pool.close(a);
  for (const call of ["close", "reset", "state", "isWaiting"] as const)
    throws(() => pool[call](a), StateError, /stream 0 is closed/);
  const c = pool.open();
  assert.is.not(c, a);
  throws(() => pool.push(a, frame(1)), StateError, /stream 0 is closed/);
  m.dispose();
  throws(() => pool.flush(), StateError, /disposed/);
});

test("NaN stays in its own stream", async () => {
  const m = await small();
  const pool = m.streamPool({ capacity: 8, allowNonFinite: true });
  const stream = m.stream();
  const ids = Array.from({ length: 8 }, () => pool.open());
  for (const id of ids) pool.push(id, id === 3 ? new Float32Array(5).fill(NaN) : frame(1));
  const expected = stream.step(frame(1));
  for (const [id, output] of pool.flush())
    if (id === 3) assert.ok(output.every(Number.isNaN));
    else assert.equal(output, expected);
  pool.reset(3);
  pool.push(3, frame(1));
  assert.equal(pool.flush().get(3), expected);
  m.dispose();
});

test("options and models that do not fit", async () => {
  const m = await small();
  throws(() => m.streamPool({ capacity: 0 }), OptionError, /"capacity" must be a whole number of at least 1, got 0/);
  throws(() => m.streamPool(undefined as never), OptionError, /"capacity"/);
  throws(() => m.streamPool({ capacity: 1, size: 2 } as never), OptionError, /unknown option "size"/);
  throws(() => m.streamPool({ capacity: 2 ** 31 - 1 }), StateError, /out of memory/);
  m.dispose();
  throws(() => m.streamPool({ capacity: 1 }), StateError, /disposed/);
  const backwards = await model([gru(4, { goBackwards: true })]);
  throws(() => backwards.streamPool({ capacity: 1 }), StateError, /layer "gru" cannot stream: goBackwards/);
  const flat = await model([dense(4)], [5]);
  throws(() => flat.streamPool({ capacity: 1 }), StateError, /no time axis/);
  for (const other of [backwards, flat]) other.dispose();
});

test("dispose gives the memory back, once", async () => {
  const m = await small();
  const { arena } = m.network.engine;
  m.streamPool({ capacity: 50 }).dispose(); // leaves the memory of runs, which is the model's
  const before = arena.taken;
  const pool = m.streamPool({ capacity: 50 });
  assert.ok(arena.taken >= before + 50 * 4 * (16 + 8));
  const id = pool.open();
  pool.push(id, frame(1));
  pool.flush();
  pool.dispose();
  pool.dispose();
  assert.is(arena.taken, before);
  throws(() => pool.push(id, frame(1)), StateError, /the pool has been disposed of/);
  throws(() => pool.open(), StateError, /the pool has been disposed of/);
  const another = m.streamPool({ capacity: 50 });
  const stream = m.stream();
  const weights = arena.taken;
  m.dispose();
  const after = arena.taken;
  assert.ok(after < weights);
  another.dispose();
  stream.close();
  assert.is(arena.taken, after, "what went back with the model does not go back again");
});

test.run();
