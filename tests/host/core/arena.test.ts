import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Arena, type Block } from "../../../host/core/arena.ts";
import { Region } from "../../../host/core/plan.ts";
import { dense, gru, StateError, sequential } from "../../../host/index.ts";
import { random } from "../../kit/core.ts";
import { arena as engineArena, randomTensor, refuses } from "../../kit/models.ts";

const MIB = 2 ** 20;

test("blocks never overlap, are zero when taken, and all come back", () => {
  const arena = new Arena(new WebAssembly.Memory({ initial: 1, maximum: 512 }), 1000, 32 * MIB);
  const next = random(1);
  const blocks: Block[] = [];
  for (let i = 0; i < 3000; i++) {
    if (blocks.length && next() < 0.48) arena.give(blocks.splice(Math.floor(next() * blocks.length), 1)[0]);
    else {
      const bytes = Math.floor(next() ** 4 * 100_000);
      const block = arena.take(bytes);
      assert.ok(block.bytes >= bytes && block.address % 64 === 0 && block.address >= 1000);
      const view = arena.u8.subarray(block.address, block.address + block.bytes);
      assert.ok(
        view.every((v) => v === 0),
        "zero",
      );
      view.fill(1);
      for (const other of blocks)
        assert.ok(
          block.address + block.bytes <= other.address || other.address + other.bytes <= block.address,
          "apart",
        );
      blocks.push(block);
    }
  }
  for (const block of blocks) arena.give(block);
  assert.is(arena.taken, 0);
  // All one hole again: the largest block that ever fitted fits at the beginning.
  assert.is(arena.take(MIB).address, 1024);
});

test("what does not fit is refused, and nothing is lost by asking", () => {
  const arena = new Arena(new WebAssembly.Memory({ initial: 1, maximum: 64 }), 0, 4 * MIB);
  const block = arena.take(3 * MIB);
  for (const bytes of [MIB + 64, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])
    assert.throws(() => arena.take(bytes), /out of memory: \d+ MiB needed, 4 MiB allowed; dispose of models/);
  arena.give(block);
  assert.is(arena.taken, 0);
  assert.is(arena.take(4 * MIB).address, 0);
});

test("a plan counts beyond 2 and 4 GiB", () => {
  const region = new Region("saved");
  region.take("large", 2 ** 29 + 1);
  assert.is(region.high, 2 ** 31 + 16);
  region.take("larger", 2 ** 32);
  assert.is(region.high, 2 ** 31 + 16 + 2 ** 34);
});

test("a batch too large for the memory is refused; the model goes on with smaller ones", async () => {
  const model = await sequential([gru(64, { returnSequences: true }), gru(64), dense(1)], { inputShape: [null, 1] });
  model.compile({ loss: "meanSquaredError" });
  const { taken } = engineArena;
  // 2^21 steps of gates, 4 x 64 wide: 2 GiB a layer.
  const long = { shape: [1, 2 ** 21, 1], data: new Float32Array(2 ** 21) };
  await refuses(() => model.trainOnBatch(long, [[1]]), StateError, /out of memory: \d+ MiB needed, 1024 MiB allowed/);
  await refuses(() => model.gradients(long, [[1]]), StateError, /out of memory/);
  assert.is(engineArena.taken, taken);
  await model.trainOnBatch(randomTensor([1, 5, 1], 1), [[1]]);
  model.dispose();
});

test("beyond 2 GiB of memory, models are what they are below", () => {
  const run = (offset: number) => {
    const script = fileURLToPath(new URL("./high-memory.ts", import.meta.url));
    const { stdout, stderr, status } = spawnSync(process.execPath, ["--import", "tsx", script, String(offset)], {
      encoding: "utf8",
    });
    assert.is(status, 0, stderr);
    return stdout;
  };
  assert.is(run(2 ** 31 + 2 ** 20), run(0));
});

test.run();
