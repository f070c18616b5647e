import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { dense, gru, sequential } from "gruvy";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { chrono } from "../../examples/common/chrono.js";
import { figureTable } from "../../examples/common/command.js";
import { below, randomNumbers, shuffle } from "../../examples/common/random.js";

test("a seed gives the same numbers again, in [0, 1) and spread over it", () => {
  const draw = (seed: number) => Array.from({ length: 1000 }, randomNumbers(seed));
  assert.equal(draw(1), draw(1));
  assert.not.equal(draw(1), draw(2));
  for (const tenth of Array.from({ length: 10 }, (_, i) => i / 10)) {
    const count = draw(3).filter((v) => v >= tenth && v < tenth + 0.1).length;
    assert.ok(count > 60 && count < 140, `${count} of 1000 in the tenth from ${tenth}`);
  }
  assert.ok(draw(4).every((v) => v >= 0 && v < 1));
});

test("shuffling loses nothing, and puts each item everywhere", () => {
  const random = randomNumbers(1);
  const places = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const order = shuffle([0, 1, 2, 3], random);
    assert.equal([...order].sort(), [0, 1, 2, 3]);
    for (const [place, item] of order.entries()) places.add(`${item} at ${place}`);
  }
  assert.is(places.size, 16);
  assert.equal(new Set(Array.from({ length: 100 }, () => below(random, 3))).size, 3);
});

test("figures stand in a column, numbers with four digits", () => {
  assert.is(
    figureTable([
      ["one", 1 / 3],
      ["the other", 1234567],
      ["text", "-"],
    ]),
    "one        0.3333\nthe other  1235000\ntext             -".replace("0.3333", " 0.3333"),
  );
});

test("chrono sets the update gate's biases, and nothing else", async () => {
  const model = await sequential([gru(5, { name: "memory" }), dense(1)], { inputShape: [null, 2], seed: 1 });
  const before = model.weights();
  chrono(model, "memory", 100, randomNumbers(1));
  const after = model.weights();
  const gates = after["memory.bias"].data;
  assert.ok([...gates.subarray(0, 5)].every((v) => v >= 0 && v < Math.log(99)));
  assert.is(new Set(gates.subarray(0, 5)).size, 5);
  gates.fill(0, 0, 5);
  assert.equal(after, before);
  model.dispose();
});

const started = (example: string, ...options: string[]) =>
  spawnSync(
    process.execPath,
    [fileURLToPath(new URL(`../../examples/${example}/train.js`, import.meta.url)), ...options],
    {
      encoding: "utf8",
    },
  );

test("an example says which data it needs, and refuses options that it does not have", () => {
  const music = started("music");
  assert.is(music.status, 1);
  assert.match(music.stderr, /--data DIR is missing, or --quick.*jsb-chorales\.json/);
  assert.match(started("adding", "--data", ".").stderr, /--data/);
  assert.match(started("adding", "--seed", "x").stderr, /--seed: expected a whole number, got "x"/);
});

test("an example ends with its figure beside the floor, with seed, parameters and time", () => {
  const { stdout, stderr, status } = started("adding", "--quick", "--seed", "2");
  assert.is(status, 0, stderr);
  assert.match(stdout, /epoch 1\/.*valLoss/);
  assert.match(stdout, /mean squared error.*\d\nfloor.*0\.1667\n/);
  assert.match(stdout, /seed 2, 2041 parameters, \d+ s \(plain binary/);
});

test.run();
