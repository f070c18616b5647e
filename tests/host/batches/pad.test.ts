import { test } from "uvu";
import * as assert from "uvu/assert";
import { padSequences } from "../../../host/batches/pad.ts";
import { OptionError, ShapeError } from "../../../host/core/errors.ts";

test("shorter sequences are filled up at the end, or at the beginning", () => {
  const sequences = [
    [[1, 2]],
    [
      [3, 4],
      [5, 6],
    ],
  ];
  const { x, lengths } = padSequences(sequences);
  assert.equal(x.shape, [2, 2, 2]);
  assert.equal([...x.data], [1, 2, 0, 0, 3, 4, 5, 6]);
  assert.equal(lengths, [1, 2]);
  assert.equal([...padSequences(sequences, { padding: "pre", value: -1 }).x.data], [-1, -1, 1, 2, 3, 4, 5, 6]);
});

test("tokens stay i32, numbers are f32", () => {
  const { x, lengths } = padSequences([Int32Array.of(5, 6, 7), Int32Array.of(8)], { value: 9 });
  assert.equal(x, { shape: [2, 3], data: Int32Array.of(5, 6, 7, 8, 9, 9) });
  assert.equal(lengths, [3, 1]);
  assert.equal(padSequences([[1], [2, 3]]).x.data, Float32Array.of(1, 0, 2, 3));
});

test("sequences may be empty, and so may the batch", () => {
  assert.equal(padSequences([[], [[1, 2]]]), {
    x: { shape: [2, 1, 2], data: Float32Array.of(0, 0, 1, 2) },
    lengths: [0, 1],
  });
  assert.equal(padSequences([]).x.shape, [0, 0]);
});

test("sequences that differ in more than time are refused", () => {
  assert.throws(
    () => padSequences([[[1, 2]], [[1, 2, 3]]]),
    (e: unknown) =>
      e instanceof ShapeError && /sequence 1: expected \[time, 2\] as in sequence 0, got \[1, 3\]/.test(e.message),
  );
  assert.throws(
    () => padSequences([[1]], { paddnig: "pre" } as never),
    (e: unknown) => e instanceof OptionError && /did you mean "padding"/.test(e.message),
  );
});

test.run();
