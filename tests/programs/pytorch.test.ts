import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromPyTorch } from "../../host/formats/index.ts";
import { toPyTorch } from "../../host/formats/torch/export.ts";
import {
  bidirectional,
  dense,
  dropout,
  embedding,
  FormatError,
  gru,
  type Layer,
  layerNorm,
  sequential,
  type Tensor,
  tensor,
} from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { randomLabels, randomTensor, refuses } from "../kit/models.ts";

/** PyTorch (Debian's python3-torch) takes what gruvy exports, gruvy what it saves, and both give the same numbers. */

const python = process.env.GRUVY_PYTHON ?? "/usr/bin/python3";
const script = fileURLToPath(new URL("pytorch.py", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "gruvy-pytorch-"));
test.after(() => rmSync(folder, { recursive: true }));
const run = (...args: string[]) => execFileSync(python, [script, ...args], { stdio: ["ignore", "inherit", "inherit"] });

/** float32 sums in another order. */
const TOLERANCE = 3e-6;
const sequences = { returnSequences: true, biasInitializer: "randomNormal" } as const;
const batchFirst = { batch_first: true };

interface Case {
  readonly name: string;
  readonly layers: () => Layer[];
  readonly parts: readonly { name: string; kind: string; args: readonly unknown[]; options: object; last?: boolean }[];
  readonly alone?: boolean;
  readonly tokens?: number;
}

const CASES: readonly Case[] = [
  {
    name: "one nn.GRU takes the file as it is",
    layers: () => [gru(5, sequences), gru(5, sequences), gru(5, sequences)],
    parts: [{ name: "gru", kind: "GRU", args: [3, 5, 3], options: batchFirst }],
    alone: true,
  },
  {
    name: "one bidirectional nn.GRU without biases",
    layers: () => [
      bidirectional(gru(4, { ...sequences, useBias: false })),
      bidirectional(gru(4, { ...sequences, useBias: false })),
    ],
    parts: [
      { name: "gru", kind: "GRU", args: [3, 4, 2], options: { ...batchFirst, bidirectional: true, bias: false } },
    ],
    alone: true,
  },
  {
    name: "a classifier of tokens",
    layers: () => [embedding(9, 4), gru(5, sequences), dropout(0.2), gru(5, sequences), gru(6), layerNorm(), dense(3)],
    parts: [
      { name: "embedding", kind: "Embedding", args: [9, 4], options: {} },
      { name: "gru", kind: "GRU", args: [4, 5, 2], options: { ...batchFirst, dropout: 0.2 } },
      { name: "gru_2", kind: "GRU", args: [5, 6], options: batchFirst, last: true },
      { name: "layer_norm", kind: "LayerNorm", args: [6], options: {} },
      { name: "dense", kind: "Linear", args: [6, 3], options: {} },
    ],
    tokens: 9,
  },
  {
    name: "both directions, their last states",
    layers: () => [bidirectional(gru(4, { biasInitializer: "randomNormal" })), dense(2, { useBias: false })],
    parts: [
      { name: "bidirectional", kind: "GRU", args: [3, 4], options: { ...batchFirst, bidirectional: true }, last: true },
      { name: "dense", kind: "Linear", args: [8, 2], options: { bias: false } },
    ],
  },
];

for (const { name, layers, parts, alone, tokens } of CASES)
  test(`exported: ${name}`, async () => {
    const model = await sequential(layers(), { inputShape: tokens ? [null] : [null, 3], seed: 5 });
    const x = tokens ? randomLabels([2, 6], tokens, 1) : randomTensor([2, 6, 3], 1);
    const [file, spec, out] = ["model.safetensors", "spec.json", "out.json"].map((part) => join(folder, part));
    writeFileSync(file, toPyTorch(model));
    writeFileSync(spec, JSON.stringify({ parts, alone, tokens, x: { shape: x.shape, data: [...x.data] } }));
    run("read", file, spec, out);
    const theirs = JSON.parse(readFileSync(out, "utf8")) as { shape: number[]; data: number[] };
    const ours = (await model.predict(x)) as Tensor;
    assert.equal(theirs.shape, ours.shape);
    close(ours.data, theirs.data, TOLERANCE, name);
    model.dispose();
  });

run("write", folder);
const { x, y } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8")) as { x: number[]; y: number[] };
const network = () =>
  sequential([bidirectional(gru(4, sequences)), bidirectional(gru(4, sequences)), dense(2)], { inputShape: [null, 3] });

for (const file of [
  "plain.pt",
  "legacy.pt",
  "protocol-4.pt",
  "double.pt",
  "transposed.pt",
  "shared.pt",
  "shared-legacy.pt",
  "parameters.pt",
  "checkpoint.pt",
])
  test(`saved by PyTorch: ${file}`, async () => {
    const model = await fromPyTorch(join(folder, file), await network());
    const out = (await model.predict(tensor(Float32Array.from(x), [2, 5, 3]))) as Tensor;
    close(out.data, y, TOLERANCE, file);
    model.dispose();
  });

test("a whole pickled module is refused by the name of its class", async () => {
  const model = await network();
  await refuses(
    () => fromPyTorch(join(folder, "whole.pt"), model),
    FormatError,
    /"torch\.nn\.modules\.[a-zA-Z.]+" is not allowed.*save model\.state_dict\(\)/,
  );
  model.dispose();
});

test.run();
