import { test } from "uvu";
import * as assert from "uvu/assert";
import { activation, dense, dropout, gru, sequential, tensor } from "../../../host/index.ts";
import { uniform } from "../../kit/core.ts";

const after = {
  dense: () => dense(3),
  "dense with an activation": () => dense(3, { activation: "relu" }),
  dropout: () => dropout(0.5),
  "a linear activation": () => activation("linear"),
};

for (const [what, layer] of Object.entries(after))
  test(`there is one final state a recurrent layer when ${what} follows it`, async () => {
    const model = await sequential([gru(3, { returnSequences: true }), gru(3, { returnSequences: true }), layer()], {
      inputShape: [null, 2],
    });
    model.compile({ loss: "meanSquaredError" });
    const x = tensor(uniform(2 * 4 * 2, 1), [2, 4, 2]);
    const y = tensor(uniform(2 * 4 * 3, 2), [2, 4, 3]);
    const { state } = await model.trainOnBatch(x, y);
    assert.is(state.length, 2);
    // As truncated backpropagation does: on from where the last batch ended.
    await model.trainOnBatch(x, y, { initialState: state });
    assert.is((await model.gradients(x, y)).state.length, 2);
    assert.is(model.stream({ batch: 2 }).state.length, 2 * 2 * 3);
    model.dispose();
  });

test.run();
