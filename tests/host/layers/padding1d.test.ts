import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, loadModel, OptionError, padding1d, ShapeError, sequential } from "../../../host/index.ts";
import { randomTensor, refuses, sameTensor } from "../../kit/models.ts";

test("zeros stand around the steps, or steps are gone; a saved model does the same", async () => {
  const x = { shape: [1, 3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
  for (const [before, after, expected] of [
    [2, 1, [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]],
    [-1, 0, [3, 4, 5, 6]],
    [1, -2, [0, 0, 1, 2]],
    [0, 0, [1, 2, 3, 4, 5, 6]],
  ] as const) {
    const model = await sequential([padding1d({ before, after })], { inputShape: [null, 2] });
    const y = await model.predict(x);
    assert.equal(y.shape, [1, 3 + before + after, 2]);
    assert.equal([...y.data], expected);
    sameTensor(await (await loadModel(model.toBytes())).predict(x), y, "loaded");
  }
});

test("what cannot be padded or cut is refused, and says why", async () => {
  assert.throws(
    () => padding1d({ before: 0.5 }),
    (error: Error) => error instanceof OptionError && /"before" must be a whole number/.test(error.message),
  );
  const cut = padding1d({ before: -2, after: -1 });
  await refuses(
    () => sequential([cut], { inputShape: [3, 2] }),
    ShapeError,
    /more than the 3 steps that are cut off, got 3/,
  );
  await refuses(() => sequential([dense(2), cut], { inputShape: [2] }), ShapeError, /got \[batch, 2\]/);
  const model = await sequential([cut], { inputShape: [null, 2] });
  assert.equal((await model.predict(randomTensor([1, 4, 2], 1))).shape, [1, 1, 2]);
  await refuses(() => model.predict(randomTensor([1, 2, 2], 1)), ShapeError, /cut off, got 2/);
});

test.run();
