import { readFileSync } from "node:fs";
import { deflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { crc32, readZip, unpack, writeZip } from "../../../host/formats/zip.ts";
import { FormatError } from "../../../host/index.ts";
import { refuses } from "../../kit/models.ts";

const text = (s: string) => new TextEncoder().encode(s);
const FILES = new Map([
  ["config.json", text("{}")],
  ["data/é", text("a".repeat(1000))],
  ["empty", new Uint8Array(0)],
]);

/** An archive of one entry whose bytes are deflated, said to be `size` when unpacked. */
function deflated(content: Uint8Array, size = content.length): Uint8Array {
  const packed = deflateRawSync(content);
  const bytes = writeZip(new Map([["x", new Uint8Array(packed)]]));
  const view = new DataView(bytes.buffer);
  const directory = view.getUint32(bytes.length - 6, true);
  for (const [method, unpacked] of [
    [8, 22],
    [directory + 10, directory + 24],
  ]) {
    view.setUint16(method, 8, true);
    view.setUint32(unpacked, size, true);
  }
  return bytes;
}

test("the checksum is that of the standard's example", () => {
  assert.is(crc32(text("123456789")), 0xcbf43926);
});

test("what is written is read", async () => {
  const entries = readZip(writeZip(FILES), "test");
  assert.equal([...entries.keys()], [...FILES.keys()]);
  for (const [name, bytes] of FILES) assert.equal(await unpack(entries.get(name)!, "test"), bytes);
});

test("an archive that PyTorch wrote, with a ZIP64 directory, is read", async () => {
  const bytes = readFileSync(new URL("../../fixtures/torch-files/gru-1.pt", import.meta.url));
  const entries = readZip(bytes, "test");
  assert.is(entries.get("gru-1/data/0")?.size, 240);
  assert.is(new TextDecoder().decode(await unpack(entries.get("gru-1/version")!, "test")), "3\n");
});

test("deflated entries are unpacked, and no further than they say or than is allowed", async () => {
  const content = text("gruvy ".repeat(5000));
  const entry = readZip(deflated(content), "test").get("x")!;
  assert.equal(await unpack(entry, "test"), content);
  await refuses(() => unpack(entry, "test", 29999), FormatError, /30000 bytes; expected at most 29999/);
  const lies = (size: number) => unpack(readZip(deflated(content, size), "test").get("x")!, "test");
  await refuses(() => lies(29999), FormatError, /more than the 29999 bytes/);
  await refuses(() => lies(30001), FormatError, /unpacks to 30000 bytes; expected 30001/);
  await refuses(() => lies(2 ** 30), FormatError, /cannot unpack to/);
});

test("an archive cut anywhere is refused", async () => {
  const bytes = writeZip(FILES);
  for (let n = 0; n < bytes.length; n++)
    await refuses(() => readZip(bytes.subarray(0, n), "test"), FormatError, /^test: /, `${n}`);
});

test.run();
