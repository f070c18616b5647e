import { getEngine } from "../../../host/core/wasm.ts";
import { configure, dense, embedding, gru, sequential } from "../../../host/index.ts";
import { uniform } from "../../kit/core.ts";

/** Trains, streams and saves with all memory from the given address on; prints a digest. */

await configure({ deterministic: true, threads: 1, maximumMemory: 2 ** 32 });
const offset = Number(process.argv[2]);
const { arena } = await getEngine();
// The pages below are never touched, so that they cost nothing.
if (offset) {
  arena.memory.grow(offset / 65536);
  Object.assign(arena, { end: offset });
  (arena as unknown as { refresh(): void }).refresh();
}
const model = await sequential([gru(5, { returnSequences: true, activation: "softsign" }), gru(3), dense(2)], {
  inputShape: [null, 3],
});
model.compile({ loss: "meanSquaredError", optimizer: "adam", metrics: ["meanAbsoluteError"] });
const x = { shape: [4, 6, 3], data: uniform(72, 1) };
const y = { shape: [4, 2], data: uniform(8, 2) };
const { history } = await model.fit(x, y, { epochs: 2, lengths: [6, 3, 0, 1] });
const { gradients, state } = await model.gradients(x, y, { mask: new Array(4).fill([1, 0, 1, 1, 0, 1]) });
const stream = model.stream();
stream.step([1, 2, 3]);
const outputs = Array.from(stream.step([3, 2, 1]));
stream.state = stream.state.map((v) => v / 2);
const words = await sequential([embedding(4, 3), dense(2)], { inputShape: [null] });
console.log(
  JSON.stringify({
    history,
    gradients,
    state,
    outputs,
    stream: stream.state,
    bytes: Buffer.from(model.toBytes({ training: true })).toString("base64"),
    words: await words.predict([[1, 2, 3]]),
  }),
);
