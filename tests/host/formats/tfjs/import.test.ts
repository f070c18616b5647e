import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { toHalf } from "../../../../host/formats/half.ts";
import { exportModel } from "../../../../host/formats/index.ts";
import { dense, FormatError, gru, loadModel, OptionError, sequential } from "../../../../host/index.ts";
import { refuses, sameTensors } from "../../../kit/models.ts";

const folder = mkdtempSync(join(tmpdir(), "gruvy-tfjs-"));
test.after(() => rmSync(folder, { recursive: true }));

const model = await sequential([gru(4, { resetAfter: false }), dense(2)], { inputShape: [null, 3], seed: 1 });
const files = await exportModel(model, "tfjs");

// biome-ignore lint/suspicious/noExplicitAny: JSON of a file, to be changed
type Any = any;

/** model.json with a change. */
function json(change: (json: Any) => void = () => {}): Any {
  const parsed = JSON.parse(new TextDecoder().decode(files["model.json"]));
  change(parsed);
  return parsed;
}
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const weights = files["weights.bin"];

/** The weights cut into shards of 50 bytes, in no respect for tensors. */
function sharded() {
  const paths = Array.from({ length: Math.ceil(weights.length / 50) }, (_, i) => `shards/group1-shard${i + 1}.bin`);
  const shards = paths.map((path, i) => [path, weights.slice(50 * i, 50 * (i + 1))] as const);
  return { shards, main: json((j) => (j.weightsManifest[0].paths = paths)) };
}

test("from a path, a file: URL, an http URL, and shards beside it", async () => {
  const { shards, main } = sharded();
  mkdirSync(join(folder, "shards"));
  for (const [path, bytes] of shards) writeFileSync(join(folder, path), bytes);
  writeFileSync(join(folder, "model.json"), JSON.stringify(main));
  for (const source of [join(folder, "model.json"), pathToFileURL(join(folder, "model.json"))])
    sameTensors((await loadModel(source)).weights(), model.weights(), String(source));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    const name = decodeURIComponent(request.url!.slice(3).split("?")[0]);
    const found = new Map<string, Uint8Array>([["model.json", text(main)], ...shards]).get(name);
    response.writeHead(found ? 200 : 404).end(found);
  }).listen(0);
  const url = `http://localhost:${(server.address() as AddressInfo).port}/m/model.json?key=1`;
  try {
    sameTensors((await loadModel(url)).weights(), model.weights(), "URL");
    sameTensors((await loadModel(await fetch(url))).weights(), model.weights(), "Response");
    assert.is(asked[1], "/m/shards/group1-shard1.bin?key=1");
  } finally {
    server.close();
  }
});

test("from a record of files, a list of File objects, and what TensorFlow.js hands on", async () => {
  const { shards, main } = sharded();
  const list = [
    new File([text(main)], "model.json"),
    ...shards.map(([path, bytes]) => new File([bytes], path.split("/")[1])),
  ];
  const specs = json().weightsManifest[0].weights;
  const artifacts = { modelTopology: json().modelTopology, weightSpecs: specs };
  for (const [what, source] of Object.entries({
    record: files,
    shards: { "model.json": text(main), ...Object.fromEntries(shards) },
    list: list as Any,
    "a page's list": Object.assign(Object.create({ length: list.length, [Symbol.toStringTag]: "FileList" }), list),
    artifacts: { ...artifacts, weightData: weights.buffer },
    pieces: { ...artifacts, weightData: [weights.slice(0, 99).buffer, weights.slice(99).buffer] },
  }))
    sameTensors((await loadModel(source)).weights(), model.weights(), what);
});

test("in a folder whose name has what is special in URLs", async () => {
  const odd = join(folder, "a b?c=1#d %20 ü");
  mkdirSync(odd);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(odd, name), bytes);
  for (const source of [join(odd, "model.json"), pathToFileURL(join(odd, "model.json"))])
    sameTensors((await loadModel(source)).weights(), model.weights(), String(source));
});

test("quantised weights: uint8 and uint16 as scale × q + min, float16", async () => {
  const names = ["gru/kernel", "gru/recurrent_kernel", "gru/bias", "dense/kernel", "dense/bias"];
  const ours = ["gru.kernel", "gru.recurrentKernel", "gru.bias", "dense.kernel", "dense.bias"];
  const dtypes = ["uint8", "uint16", "float16", "uint8", "uint16"] as const;
  const expected: Record<string, Float32Array> = {};
  const pieces: Uint8Array[] = [];
  const main = json((j) => {
    const specs = j.weightsManifest[0].weights;
    assert.equal(
      specs.map(({ name }: Any) => name),
      names,
    );
    for (const [i, dtype] of dtypes.entries()) {
      const { data } = model.weights()[ours[i]];
      if (dtype === "float16") {
        const half = toHalf(data);
        pieces.push(new Uint8Array(half.buffer));
        specs[i].quantization = { dtype, original_dtype: "float32" };
        expected[ours[i]] = data; // zeros
        continue;
      }
      const [min, scale] = [-1.25, dtype === "uint8" ? 0.01 : 0.0001];
      const whole = Array.from(data, (v) => Math.round((v - min) / scale));
      const stored = dtype === "uint8" ? Uint8Array.from(whole) : Uint16Array.from(whole);
      pieces.push(new Uint8Array(stored.buffer));
      specs[i].quantization = { dtype, min, scale, original_dtype: "float32" };
      expected[ours[i]] = Float32Array.from(whole, (q) => q * scale + min);
    }
  });
  const bytes = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
  const loaded = await loadModel({ "model.json": text(main), "weights.bin": bytes });
  for (const [name, data] of Object.entries(expected)) assert.equal(loaded.weights()[name].data, data, name);
});

test("what is no layers model, or damaged, is refused and says why", async () => {
  const refused = async (message: RegExp, change: (json: Any) => void, data: Uint8Array = weights) =>
    refuses(() => loadModel({ "model.json": text(json(change)), "weights.bin": data }), FormatError, message);
  await refused(/graph model; convert the original again/, (j) => (j.format = "graph-model"));
  await refused(/without "weightsManifest"/, (j) => delete j.weightsManifest);
  await refused(/expected 424 bytes of weights, got 425/, () => {}, Uint8Array.from([...weights, 0]));
  await refused(/expected 8 bytes for \[2\] from byte 416, got 423 in all/, () => {}, weights.slice(0, 423));
  await refused(/"gru\/kernel" stand twice/, (j) => (j.weightsManifest[0].weights[1].name = "gru/kernel"));
  await refused(/expected numbers of float32/, (j) => (j.weightsManifest[0].weights[0].dtype = "string"));
  await refused(/expected a shape, got/, (j) => (j.weightsManifest[0].weights[0].shape = [-3, 12]));
  await refused(/layer "gru" \(GRU\): its weights \[3, 12\] for "kernel" are missing/, (j) => {
    for (const [i, spec] of j.weightsManifest[0].weights.entries()) spec.name = `x${i}`;
  });
  for (const path of ["../secret", "/etc/passwd", "https://elsewhere/x", "a/../../b", "\\\\host\\x"]) {
    writeFileSync(join(folder, "escape.json"), JSON.stringify(json((j) => (j.weightsManifest[0].paths = [path]))));
    await refuses(() => loadModel(join(folder, "escape.json")), FormatError, /is not beside the model/, path);
  }
  writeFileSync(join(folder, "alone.json"), JSON.stringify(json((j) => (j.weightsManifest[0].paths = ["gone.bin"]))));
  await refuses(
    () => loadModel(join(folder, "alone.json")),
    FormatError,
    /the file "gone.bin", which the model names, is not/,
  );
  await refuses(
    () => loadModel(files["model.json"]),
    FormatError,
    /in the file "weights.bin" too; pass its path or URL, or all of its files by name/,
  );
  await refuses(() => loadModel({ "model.json": files["model.json"] }), FormatError, /"weights.bin" is missing/);
  await refuses(() => loadModel({ "a.bin": weights, "b.bin": weights }), OptionError, /one .json or .onnx among them/);
  await refuses(
    () => loadModel(text({ class_name: "Sequential", config: [] })),
    FormatError,
    /without weights; pass .* or save the model as .keras/,
  );
});

test.run();
