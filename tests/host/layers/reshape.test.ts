import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  dense,
  flatten,
  gru,
  loadModel,
  OptionError,
  repeat,
  reshape,
  ShapeError,
  sequential,
  transpose,
} from "../../../host/index.ts";
import { randomTensor, refuses, sameTensor } from "../../kit/models.ts";

test("numbers keep their order, and a saved model does the same", async () => {
  const model = await sequential([reshape([-1, 2]), transpose(), flatten()], { inputShape: [2, 3] });
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const y = await model.predict({ shape: [2, 2, 3], data });
  // 0 1 | 2 3 | 4 5, and its columns one after the other.
  assert.equal([...y.data], [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
  assert.equal(y.shape, [2, 6]);
  const again = await loadModel(model.toBytes());
  sameTensor(await again.predict({ shape: [2, 2, 3], data }), y, "loaded");
});

test("with any number of steps, the time is what is left", async () => {
  const model = await sequential([reshape([-1, 6]), gru(2, { returnSequences: true })], { inputShape: [null, 3] });
  assert.equal(model.outputShape, [null, 2]);
  assert.equal((await model.predict(randomTensor([2, 8, 3], 1))).shape, [2, 4, 2]);
  await refuses(() => model.predict(randomTensor([2, 5, 3], 1)), ShapeError, /shape \[-1,6\], got 15 numbers a sample/);
});

test("what does not fit is refused, and says why", async () => {
  for (const shape of [[], [1, 2, 3], [-1, -1], [0], [1.5], [-2], "4"])
    assert.throws(
      () => reshape(shape as number[]),
      (error: Error) =>
        error instanceof OptionError && /expected \[features\] or \[time, features\]/.test(error.message),
      String(shape),
    );
  const built = (layer: Parameters<typeof sequential>[0][0], inputShape: (number | null)[]) => () =>
    sequential([layer, dense(1)], { inputShape });
  await refuses(
    built(flatten(), [null, 3]),
    ShapeError,
    /any number of steps .*; fix the steps in the model's inputShape/,
  );
  await refuses(built(transpose(), [null, 3]), ShapeError, /a fixed number of steps, got \[batch, any time, 3\]/);
  await refuses(built(transpose(), [3]), ShapeError, /got \[batch, 3\]/);
  await refuses(built(reshape([-1, 4]), [2, 3]), ShapeError, /\[-1,4\], got 6 numbers/);
  await refuses(built(reshape([7]), [2, 3]), ShapeError, /\[7\], got 6 numbers/);
  const model = await sequential([repeat(2), flatten()], { inputShape: [3] });
  assert.throws(() => model.stream(), /layer "repeat" cannot stream/);
});

test.run();
