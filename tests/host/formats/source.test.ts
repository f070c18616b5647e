import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel, fromPyTorch } from "../../../host/formats/index.ts";
import { readSource } from "../../../host/formats/source.ts";
import { dense, gru, loadModel, type Model, sequential } from "../../../host/index.ts";
import { sameTensors } from "../../kit/models.ts";

const make = (seed: number, resetAfter = true) =>
  sequential([gru(4, { resetAfter }), dense(2)], { inputShape: [5, 3], seed });

/** Bytes as Node's Buffer, whose slice is a view, on memory that begins elsewhere. */
function buffered(bytes: Uint8Array): Buffer {
  const room = Buffer.alloc(bytes.length + 24, 0xaa);
  room.set(bytes, 8);
  return room.subarray(8, 8 + bytes.length);
}

test("a Buffer is read as the bytes that it is, whatever lies around it", async () => {
  const [model, before] = [await make(1), await make(1, false)];
  const same = (other: Model, wanted: Model, what: string) => {
    sameTensors(other.weights(), wanted.weights(), what);
    other.dispose();
  };
  for (const format of ["keras", "h5", "onnx"] as const)
    same(await loadModel(buffered(await exportModel(model, format))), model, format);
  same(await loadModel(buffered(model.toBytes())), model, "gruvy");
  same(await fromPyTorch(buffered(await exportModel(model, "pytorch")), await make(2)), model, "pytorch");
  const web = await exportModel(before, "tfjs");
  const files = Object.fromEntries(Object.entries(web).map(([name, bytes]) => [name, buffered(bytes)]));
  same(await loadModel(files), before, "tfjs");
  for (const name of ["gru-1.pt", "gru-1.legacy.pt"]) {
    const bytes = readFileSync(new URL(`../../fixtures/torch-files/${name}`, import.meta.url));
    const [H, I, N] = [5, 4, 2];
    const torch = () => sequential([gru(H), dense(N)], { inputShape: [null, I] });
    const wanted = await fromPyTorch(new Uint8Array(bytes), await torch());
    same(await fromPyTorch(buffered(bytes), await torch()), wanted, name);
    wanted.dispose();
  }
  model.dispose();
  before.dispose();
  const read = await readSource(buffered(Uint8Array.of(1, 2, 3)), "test");
  assert.is(read.constructor, Uint8Array);
  assert.equal(read, Uint8Array.of(1, 2, 3));
});

test.run();
