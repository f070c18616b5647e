import { deflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Dataset, type Group, openHdf5 } from "../../../../host/formats/hdf5/read.ts";
import { type TreeNode, writeHdf5 } from "../../../../host/formats/hdf5/write.ts";
import { exportModel } from "../../../../host/formats/index.ts";
import { writeZip } from "../../../../host/formats/zip.ts";
import { dense, FormatError, gru, loadModel, sequential, type Tensor } from "../../../../host/index.ts";
import { arena, randomTensor, refuses } from "../../../kit/models.ts";

const open = (bytes: Uint8Array) => openHdf5(bytes, "test", 2 ** 26);

test("groups, attributes and numbers come back as they went in", async () => {
  const tensors: Record<string, Tensor> = {
    none: { shape: [0], data: new Float32Array() },
    one: { shape: [], data: Float32Array.of(-0) },
    many: randomTensor([3, 4, 5], 1),
  };
  const long = "ü".repeat(50_000);
  const members: Record<string, TreeNode | Tensor> = { ...tensors };
  for (let i = 0; i < 1000; i++) members[`group ${i}`] = { attributes: { i: String(i) } };
  const root = open(writeHdf5({ attributes: { text: "tëxt", list: ["a", "", "ccc"], empty: [], long }, members }));
  assert.equal(root.strings("text"), ["tëxt"]);
  assert.equal(root.strings("list"), ["a", "", "ccc"]);
  assert.equal(root.strings("empty"), []);
  assert.is(root.strings("long")![0], long);
  assert.is(root.strings("none"), undefined);
  assert.equal([...root.names], Object.keys(members).sort());
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const found = await (root.get(name) as Dataset).read();
    assert.equal(found.shape, shape);
    assert.ok(found.data.every((v, i) => Object.is(v, data[i])));
  }
  for (let i = 0; i < 1000; i++) assert.equal((root.get(`group ${i}`) as Group).strings("i"), [String(i)]);
});

test("cycles and absurd sizes end in a FormatError, soon", () => {
  const bytes = writeHdf5({ members: { a: { members: { b: {} } }, x: randomTensor([4], 1) } });
  const walk = (group: Group): number =>
    group.names.reduce((sum, name) => {
      const found = group.get(name)!;
      return sum + (found.kind === "group" ? walk(found) : found.shape.length);
    }, 1);
  assert.is(walk(open(bytes)), 4);
  const refused = (change: (view: DataView, copy: Uint8Array) => void, message: RegExp) => {
    const copy = bytes.slice();
    change(new DataView(copy.buffer), copy);
    assert.throws(
      () => walk(open(copy)),
      (error: Error) => error instanceof FormatError && message.test(error.message),
    );
  };
  const root = new DataView(bytes.buffer).getBigUint64(64, true);
  const leaf = bytes.lastIndexOf("S".charCodeAt(0));
  assert.is(String.fromCharCode(...bytes.subarray(leaf, leaf + 4)), "SNOD");
  // The first member of the root is the root itself.
  refused(
    (view) => view.setBigUint64(leaf + 8 + 8, root, true),
    /nested deeper than 64 levels|more parts than a model/,
  );
  // A leaf that claims more symbols than there are bytes.
  refused((view) => view.setUint16(leaf + 6, 65535, true), /stands twice|ends before byte|lies outside/);
  // The root lies past the end, and nowhere.
  refused((view) => view.setBigUint64(64, 2n ** 60n, true), /ends before byte/);
  refused((view) => view.setBigUint64(64, 2n ** 64n - 1n, true), /has no root group/);
  refused((_, copy) => copy.set([9], 8), /version 9/);
  refused((_, copy) => copy.set([3], 13), /addresses of 3/);
  // An index, the root's, that is its own child.
  const tree = Buffer.from(bytes).lastIndexOf("TREE");
  refused((view) => {
    view.setUint8(tree + 5, 1);
    view.setBigUint64(tree + 32, BigInt(tree), true);
  }, /damaged/);
});

test("a dataset cannot hand out more than its file could hold", async () => {
  const bytes = writeHdf5({ members: { x: randomTensor([4], 1) } });
  const read = (copy: Uint8Array) => (open(copy).get("x") as Dataset).read();
  assert.is((await read(bytes)).data.length, 4);
  // The shape of the dataset: version 1, one axis, then 4 elements.
  const at = Buffer.from(bytes).indexOf(Buffer.from([1, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]));
  for (const elements of [5n, 2n ** 30n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) {
    const copy = bytes.slice();
    new DataView(copy.buffer).setBigUint64(at + 8, elements, true);
    await refuses(
      () => read(copy),
      FormatError,
      /expected .* bytes of data, got 16|claims more data/,
      String(elements),
    );
  }
});

test("a zip that unpacks to much more than it should is refused before it does", async () => {
  const model = await sequential([gru(4), dense(2)], { inputShape: [null, 3] });
  const good = await exportModel(model, "keras");
  const taken = arena.taken;
  const bomb = writeZip(new Map([["config.json", new Uint8Array(8)]]));
  await refuses(() => loadModel(bomb), FormatError, /.*/);
  // 512 MiB of zeros in half a megabyte, as the weights.
  const packed = deflateRawSync(new Uint8Array(2 ** 29));
  const copy = deflated(good, "model.weights.h5", packed, 2 ** 29);
  const before = process.memoryUsage().arrayBuffers;
  await refuses(() => loadModel(copy), FormatError, /expected at most \d+/);
  // The same, and the directory says it is small.
  await refuses(() => loadModel(deflated(good, "model.weights.h5", packed, 1000)), FormatError, /unpacks to more than/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 26);
  assert.is(arena.taken, taken);
  model.dispose();
});

/** An archive with one file exchanged for deflated bytes that claim a size. */
function deflated(archive: Uint8Array, name: string, packed: Uint8Array, size: number): Uint8Array {
  const config = Buffer.from(archive).indexOf("{");
  const text = Buffer.from(archive);
  const part = (file: string, next: string) => text.subarray(text.indexOf(file) + file.length, text.indexOf(next) - 30);
  const files = new Map<string, Uint8Array>([
    ["config.json", new Uint8Array(part("config.json", "model.weights.h5"))],
    [name, packed],
  ]);
  assert.ok(config > 0);
  const made = writeZip(files);
  const view = new DataView(made.buffer);
  const all = Buffer.from(made);
  const local = all.indexOf(name) - 30;
  const central = all.lastIndexOf(name) - 46;
  view.setUint16(local + 8, 8, true);
  view.setUint32(local + 22, size, true);
  view.setUint16(central + 10, 8, true);
  view.setUint32(central + 24, size, true);
  return made;
}

test.run();
