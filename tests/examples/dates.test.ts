import { test } from "uvu";
import * as assert from "uvu/assert";
import { randomNumbers } from "../../examples/common/random.js";
import { dates, example, SOURCE, TARGET, text, tokens } from "../../examples/dates/phrases.js";
import { draw, QUICK, run } from "../../examples/dates/train.js";

test("every day of a hundred years, with its weekday", () => {
  const days = dates();
  assert.is(days.length, 36525);
  assert.equal(days[0], { year: 1950, month: 1, day: 1, weekday: 0 });
  assert.equal(days.at(-1), { year: 2049, month: 12, day: 31, weekday: 5 });
});

test("phrases say which day it is, in characters that have tokens", () => {
  const random = randomNumbers(1);
  const ways = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const { phrase, digits } = example({ year: 1984, month: 3, day: 3, weekday: 6 }, random);
    assert.is(digits, "1984-03-03");
    assert.is(text(tokens(phrase, SOURCE), SOURCE), phrase);
    assert.ok(tokens(phrase, SOURCE).every((token: number) => token >= 1));
    assert.is(text(tokens(digits, TARGET), TARGET), digits);
    ways.add(phrase);
  }
  for (const phrase of [
    "3 mar 1984",
    "saturday, march 3rd, '84",
    "the 3rd of march 1984",
    "03.03.84",
    "03/03/1984",
    "1984 march 3",
    "sat the third of march nineteen eighty-four",
    "march the third, nineteen eighty-four",
    "three march nineteen eighty-four",
  ])
    assert.ok(ways.has(phrase), phrase);
});

test("numbers in words are those of people", () => {
  const random = randomNumbers(2);
  const said = (year: number, day: number) => {
    const ways = new Set<string>();
    for (let i = 0; i < 2000; i++) ways.add(example({ year, month: 5, day, weekday: 1 }, random).phrase);
    return ways;
  };
  assert.ok(said(2000, 12).has("the twelfth of may two thousand"));
  const fifth = said(2005, 21);
  assert.ok(fifth.has("the twenty-first of may two thousand and five"));
  assert.ok(fifth.has("may twenty-first, twenty oh five"));
  assert.ok(said(2010, 30).has("the thirtieth of may twenty ten"));
  assert.ok(fifth.has("the 21st of may 2005"));
  assert.ok(said(1999, 12).has("the 12th of may '99"));
  assert.ok(said(1999, 2).has("may 2nd, 1999"));
});

test("no day of the test is one of the training", () => {
  const { train, held, test: tested } = draw(QUICK, randomNumbers(3));
  const trained = new Set([...train.pairs, ...held.pairs].map(({ digits }) => digits));
  assert.is(tested.pairs.length, QUICK.test);
  assert.ok(tested.pairs.every(({ digits }) => !trained.has(digits)));
});

test("the quick form runs, learns something and gives its figures", async () => {
  const lines: string[] = [];
  const { model, figures } = await run({ quick: true, seed: 1, log: (line: string) => lines.push(line) });
  const losses = lines.flatMap((line) => line.match(/ loss ([\d.]+)/)?.[1] ?? []).map(Number);
  assert.is(losses.length, QUICK.epochs);
  assert.ok(losses[QUICK.epochs - 1] < 0.9 * losses[0], `${losses}`);
  assert.equal(figures.map(([name]) => name), ["exact, 100 phrases of unseen days, beam of 4", "exact, greedy", "goal"]); // biome-ignore format: one line
  assert.ok(figures.every(([, value]) => (value as number) >= 0 && (value as number) <= 1));
  model.dispose();
});

test.run();
