import { test } from "uvu";
import { gru, sequential, type Tensor, tensor } from "../../../host/index.ts";
import { sameBits, uniform } from "../../kit/core.ts";

test("a right-padded batch has the gradients of the same batch with a mask, in memory of its own", async () => {
  const [B, T, I, H] = [3, 4, 2, 5];
  const model = await sequential(
    [
      gru(H, { returnSequences: true, zeroOutputForMask: true }),
      gru(H, { returnSequences: true, zeroOutputForMask: true }),
    ],
    { inputShape: [null, I], seed: 3 },
  );
  const x = tensor(uniform(B * T * I, 1), [B, T, I]);
  const outputGradient = tensor(uniform(B * T * H, 2), [B, T, H]);
  const lengths = [4, 2, 3];
  const mask = lengths.map((n) => Array.from({ length: T }, (_, t) => (t < n ? 1 : 0)));
  const padded = await model.gradients(x, { outputGradient }, { lengths });
  const masked = await model.gradients(x, { outputGradient }, { mask });
  const same = (a: Tensor, b: Tensor, what: string) => sameBits(a.data, b.data, what);
  same(padded.outputs, masked.outputs, "outputs");
  same(padded.inputGradient!, masked.inputGradient!, "inputGradient");
  padded.stateGradient.forEach((s, i) => {
    same(s, masked.stateGradient[i], `stateGradient ${i}`);
  });
  for (const name of Object.keys(padded.gradients)) same(padded.gradients[name], masked.gradients[name], name);
  model.dispose();
});

test.run();
