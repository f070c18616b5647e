import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, graph, gru, input, loadModel, sequential } from "../../../host/index.ts";
import { sameTensors } from "../../kit/models.ts";

const folder = mkdtempSync(join(tmpdir(), "gruvy-cli-"));
test.after(() => rmSync(folder, { recursive: true }));

const main = fileURLToPath(new URL("../../../host/cli/main.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");

/** Runs a command in the folder. */
function gruvy(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", tsx, main, ...args], {
    cwd: folder,
    encoding: "utf8",
  });
  return { code: status, stdout, stderr };
}

const model = await sequential([gru(4, { resetAfter: false }), dense(2)], { inputShape: [null, 3], seed: 1 });
await model.save(join(folder, "model.safetensors"));

test("convert: every format, by the output's name or by --to, and back", async () => {
  for (const output of ["a.keras", "b.h5", "web/model.json", "c.onnx"]) {
    const { code, stdout, stderr } = gruvy("convert", "model.safetensors", output);
    assert.is(code, 0, stderr);
    assert.match(stdout, new RegExp(`^${output}: \\d+ bytes\n`));
    const { code: back, stderr: error } = gruvy("convert", output, "again.safetensors");
    assert.is(back, 0, error);
    const again = await loadModel(join(folder, "again.safetensors"));
    const data = (weights: object) => Object.values(weights).map(({ data }) => data);
    if (output !== "c.onnx") sameTensors(again.weights(), model.weights(), output);
    else assert.equal(data(again.weights()), data(model.weights()), output);
    again.dispose();
  }
  assert.ok(existsSync(join(folder, "web", "weights.bin")));
  assert.is(gruvy("convert", "model.safetensors", "half.safetensors", "--precision", "float16").code, 0);
  assert.ok(
    readFileSync(join(folder, "half.safetensors")).length < readFileSync(join(folder, "model.safetensors")).length,
  );
  assert.is(gruvy("convert", "model.safetensors", "file", "--to", "keras").code, 0);
});

test("inspect: architecture, shapes, parameters, size and hashes, the same weights by the same hash", () => {
  const text = gruvy("inspect", "a.keras");
  assert.is(text.code, 0, text.stderr);
  assert.match(text.stdout, /^a\.keras: Keras \.keras, \d+ bytes, sha256 [0-9a-f]{64}\n/);
  assert.match(text.stdout, /input \[any, any, 3\], output \[any, 2\]/);
  assert.match(text.stdout, /gru\.recurrentKernel {2}f32 {2}\[4, 12\]/);
  const [keras, own] = ["a.keras", "model.safetensors"].map((file) => {
    const { code, stdout } = gruvy("inspect", file, "--json");
    assert.is(code, 0);
    return JSON.parse(stdout);
  });
  assert.is(keras.parameters, 106);
  assert.is(keras.weightsSha256, own.weightsSha256);
  assert.is(own.format, "gruvy safetensors");
  assert.is.not(keras.sha256, own.sha256);
});

test("inspect: what a checkpoint of PyTorch holds, by its keys", () => {
  const file = fileURLToPath(new URL("../../fixtures/torch-files/classifier-checkpoint.pt", import.meta.url));
  const { code, stdout } = gruvy("inspect", file);
  assert.is(code, 0);
  assert.match(stdout, /PyTorch weights, .*\n\nunder "model":\n/);
  assert.match(stdout, /\ngru +an nn\.GRU of 6 inputs and 5 units, 2 levels\n/);
  assert.match(stdout, /\nhead\.weight +F32 {2}\[3, 5\]\n/);
  const { tensors } = JSON.parse(gruvy("inspect", file, "--json").stdout);
  assert.equal(tensors.at(-1), { name: "head.bias", shape: [3], dtype: "F32", key: "model" });
});

test("odd names: spaces, letters of other scripts, what is special in URLs, capitals; a file: URL", async () => {
  for (const output of ["ä b/模型 c.keras", "q?x#y%20z/model.json", "LOUD.ONNX"]) {
    assert.is(gruvy("convert", "model.safetensors", output).code, 0, output);
    assert.is(gruvy("inspect", output).code, 0, output);
  }
  assert.is(gruvy("inspect", pathToFileURL(join(folder, "ä b/模型 c.keras")).href).code, 0);
});

test("inspect: several inputs and outputs by their names", async () => {
  const [a, b] = [input([null, 3], { name: "a" }), input([4], { name: "b" })];
  const state = gru(4)(a, { initialState: b });
  const several = await graph({ inputs: [a, b], outputs: { state, y: dense(2)(state) }, seed: 1 });
  await several.save(join(folder, "several.safetensors"));
  const { stdout } = gruvy("inspect", "several.safetensors");
  assert.match(stdout, /\ninputs a \[any, any, 3\], b \[any, 4\], outputs state \[any, 4\], y \[any, 2\]\n/);
  const { inputShapes, outputShapes } = JSON.parse(gruvy("inspect", "several.safetensors", "--json").stdout);
  assert.equal(
    [inputShapes, outputShapes],
    [
      { a: [null, 3], b: [4] },
      { state: [4], y: [2] },
    ],
  );
});

test("inspect: weights of Keras without their model", async () => {
  const file = fileURLToPath(new URL("../../fixtures/keras/gru.weights.h5", import.meta.url));
  const { code, stdout, stderr } = gruvy("inspect", file);
  assert.is(code, 0, stderr);
  assert.match(stdout, /: HDF5, weights only, \d+ bytes, sha256/);
  assert.match(stdout, /\nlayers\/gru\/cell\/vars\/0 +float32 {2}\[3, 15\]\n/);
  assert.match(stdout, /\n\d+ parameters\n$/);
});

test("errors go to standard error, with exit code 1 for a file and 2 for a command", () => {
  writeFileSync(join(folder, "bad.h5"), "\x89HDF\r\n\x1a\n and no more", "latin1");
  const failures: [number, RegExp, ...string[]][] = [
    [1, /^gruvy: FormatError: inspect: .*HDF5/, "inspect", "bad.h5"],
    [1, /^gruvy: FormatError: loadModel\(\): .*HDF5/, "convert", "bad.h5", "x.keras"],
    [1, /^gruvy: ENOENT/, "convert", "missing.h5", "x.keras"],
    [1, /no format known here/, "inspect", "text.txt"],
    [1, /FormatError: web is a folder/, "inspect", "web"],
    [1, /FormatError: inspect: cannot fetch "http/, "inspect", "http://127.0.0.1:9/a.h5"],
    [1, /FormatError: loadModel\(\): cannot fetch "http/, "convert", "http://127.0.0.1:9/a.h5", "x.keras"],
    [2, /"x.pt": PyTorch's weights are written as safetensors/, "convert", "a.keras", "x.pt", "--to", "pytorch"],
    [2, /^gruvy: unknown command "transmute"/, "transmute", "a"],
    [2, /missing required args/, "convert", "model.safetensors"],
    [2, /nknown option `--fast`/, "inspect", "a.keras", "--fast"],
    [2, /"out\.xyz" does not say what to write; add --to/, "convert", "model.safetensors", "out.xyz"],
    [2, /--to "tensorflow": expected one of gruvy, keras/, "convert", "model.safetensors", "x", "--to", "tensorflow"],
    [2, /--precision "int4"/, "convert", "model.safetensors", "x.safetensors", "--precision", "int4"],
  ];
  writeFileSync(join(folder, "text.txt"), "nothing of a model");
  for (const [expected, message, ...args] of failures) {
    const { code, stdout, stderr } = gruvy(...args);
    assert.is(code, expected, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, message);
    assert.is(stdout, "", args.join(" "));
    assert.not.match(stderr, /\n {4}at /);
  }
});

test("--help and --version", () => {
  for (const [args, expected] of [
    [["--help"], /convert <input> <output>[\s\S]*inspect <file>/],
    [["convert", "--help"], /--to <format>[\s\S]*--precision <type>/],
    [["--version"], /^gruvy\/\d+\.\d+\.\d+/],
  ] as const) {
    const { code, stdout } = gruvy(...args);
    assert.is(code, 0);
    assert.match(stdout, expected);
  }
  const none = gruvy();
  assert.is(none.code, 2);
  assert.match(none.stdout, /Usage/);
});

test("a reader that goes away ends the program without a word", () => {
  const command = `"${process.execPath}" --import "${tsx}" "${main}" inspect model.safetensors | true`;
  const { stderr } = spawnSync("sh", ["-c", command], { cwd: folder, encoding: "utf8" });
  assert.is(stderr, "");
});

test.run();
