import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel, fromPyTorch } from "../../../host/formats/index.ts";
import { type ModelSource, readSource } from "../../../host/formats/source.ts";
import { dense, FormatError, gru, loadModel, type Model, sequential } from "../../../host/index.ts";
import { refuses, sameTensors } from "../../kit/models.ts";

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

test("bytes of any kind are read: shared memory, those of another realm, one file in a list", async () => {
  const model = await make(1);
  for (const bytes of [model.toBytes(), await exportModel(model, "keras"), await exportModel(model, "onnx")]) {
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 3), 3);
    shared.set(bytes);
    const whole = new Uint8Array(new SharedArrayBuffer(bytes.length));
    whole.set(bytes);
    const foreign = runInNewContext("Uint8Array.from(bytes)", { bytes });
    for (const [what, source] of Object.entries({
      shared,
      "shared, whole": whole.buffer,
      foreign,
      "foreign, whole": foreign.buffer,
      list: [new File([bytes as Uint8Array<ArrayBuffer>], "a.model")],
    })) {
      const again = await loadModel(source);
      assert.equal(Object.values(again.weights()), Object.values(model.weights()), what);
      again.dispose();
    }
  }
  model.dispose();
  const memory = new Uint8Array(new SharedArrayBuffer(4));
  const read = await readSource(memory, "test");
  memory.fill(1);
  assert.equal(read, new Uint8Array(4), "other threads change nothing of it");
});

test("a source that cannot be had is refused, and says why", async () => {
  const refused = (source: ModelSource, message: RegExp) => refuses(() => loadModel(source), FormatError, message);
  await refused("http://127.0.0.1:9/model.h5", /cannot fetch "http:\/\/127.0.0.1:9\/model.h5": ./);
  await refused("https:///", /cannot fetch "https:\/\/\/": ./);
  await refused(new Response("", { status: 404, statusText: "Not Found" }), /the server answered 404 Not Found/);
  await refused(new Blob(["\n<!DOCTYPE html>"]), /a page in HTML, as servers send/);
  await refused(fileURLToPath(new URL(".", import.meta.url)), /formats\/ is a folder; name the model's file in it/);
  await refused(gzipSync("anything"), /a gzip archive; unpack it first/);
  await refused(Uint8Array.of(8, 1, 0x12, 2, 10, 0), /a SavedModel of TensorFlow.*; save that as .keras or .onnx/);
  const weights = await exportModel(await make(1), "pytorch");
  await refused(weights, /weights only, no architecture; make the model, then fill it with fromPyTorch/);
});

test.run();
