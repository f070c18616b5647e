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
  affine,
  bidirectional,
  dense,
  dropout,
  embedding,
  FormatError,
  graph,
  gru,
  input,
  type Layer,
  layerNorm,
  type Model,
  multiHeadAttention,
  sequential,
  type Tensor,
  tensor,
  timeDistributed,
} from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { randomLabels, randomTensor, refuses, sameTensors } from "../kit/models.ts";

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
  /** Features of query, value and key, which the layers take in one call. */
  readonly features?: readonly number[];
}

/** Kernels and biases that differ from one another. */
const attention = { biasInitializer: "randomNormal" } as const;

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
  {
    name: "self-attention after a gru",
    layers: () => [gru(6, sequences), multiHeadAttention(3, attention), timeDistributed(dense(2))],
    parts: [
      { name: "gru", kind: "GRU", args: [3, 6], options: batchFirst },
      { name: "multi_head_attention", kind: "MultiheadAttention", args: [6, 3], options: batchFirst },
      { name: "time_distributed", kind: "Linear", args: [6, 2], options: {} },
    ],
  },
  {
    name: "attention to values and keys of other features, without biases",
    layers: () => [multiHeadAttention(2, { useBias: false })],
    parts: [
      {
        name: "multi_head_attention",
        kind: "MultiheadAttention",
        args: [4, 2],
        options: { ...batchFirst, bias: false, vdim: 3, kdim: 5 },
      },
    ],
    features: [4, 3, 5],
  },
];

/** A model of a case, and what goes into it. */
async function modelOf(
  { layers, tokens, features }: Case,
  seed: number,
): Promise<{ model: Model; x: (Tensor | Tensor<Int32Array>)[] }> {
  if (!features) {
    const x = tokens ? randomLabels([2, 6], tokens, 1) : randomTensor([2, 6, 3], 1);
    return { model: await sequential(layers(), { inputShape: tokens ? [null] : [null, 3], seed }), x: [x] };
  }
  const inputs = features.map((n) => input([null, n]));
  const [layer] = layers();
  const model = await graph({ inputs, outputs: (layer as ReturnType<typeof multiHeadAttention>)(inputs), seed });
  return { model, x: features.map((n, i) => randomTensor([2, i ? 7 : 6, n], i)) };
}

for (const row of CASES)
  test(`exported: ${row.name}`, async () => {
    const { name, parts, alone, tokens } = row;
    const { model, x } = await modelOf(row, 5);
    const [file, spec, out] = ["model.safetensors", "spec.json", "out.json"].map((part) => join(folder, part));
    const exported = toPyTorch(model);
    writeFileSync(file, exported);
    const inputs = x.map(({ shape, data }) => ({ shape, data: [...data] }));
    writeFileSync(spec, JSON.stringify({ parts, alone, tokens, x: inputs }));
    run("read", file, spec, out);
    const theirs = JSON.parse(readFileSync(out, "utf8")) as { shape: number[]; data: number[] };
    const ours = (await model.predict((x.length > 1 ? x : x[0]) as Tensor)) as Tensor;
    assert.equal(theirs.shape, ours.shape);
    close(ours.data, theirs.data, TOLERANCE, name);
    // And back, in another model.
    const { model: other } = await modelOf(row, 6);
    await fromPyTorch(exported, other);
    sameTensors(other.weights(), model.weights(), "there and back");
    other.dispose();
    model.dispose();
  });

run("write", folder);
const { x, y } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8")) as { x: number[]; y: number[] };
const network = () =>
  sequential([bidirectional(gru(4, sequences)), bidirectional(gru(4, sequences)), dense(2)], { inputShape: [null, 3] });

/** Files with that network, and the options that they need. */
const FILES: Readonly<Record<string, Parameters<typeof fromPyTorch>[2]>> = {
  "plain.pt": {},
  "legacy.pt": {},
  "protocol-1.pt": {},
  "protocol-4.pt": {},
  "protocol-4-legacy.pt": {},
  "protocol-5.pt": {},
  "double.pt": {},
  "transposed.pt": {},
  "shared.pt": {},
  "shared-legacy.pt": {},
  "parameters.pt": {},
  "checkpoint.pt": {},
  "around.pt": {},
  "tuple.pt": {},
  "ema.pt": { key: "ema.shadow" },
  "parts.pt": { key: ["rnn", "head"] },
  "extra.pt": { mapping: { extra: null } },
  "weight-norm.pt": {},
  "parametrized.pt": {},
  "averaged.pt": {},
  "script.pt": {},
  "trace.pt": {},
};

for (const [file, options] of Object.entries(FILES))
  test(`saved by PyTorch: ${file}`, async () => {
    const model = await fromPyTorch(join(folder, file), await network(), options);
    const out = (await model.predict(tensor(Float32Array.from(x), [2, 5, 3]))) as Tensor;
    close(out.data, y, TOLERANCE, file);
    // The bytes of a Buffer are a window on others' memory.
    const again = await fromPyTorch(readFileSync(join(folder, file)), await network(), options);
    sameTensors(again.weights(), model.weights(), "from a Buffer");
    model.dispose();
    again.dispose();
  });

test("dense layers hold batch normalisations, where the mapping says so", async () => {
  const layers = () => [
    bidirectional(gru(4, sequences)),
    bidirectional(gru(4, sequences)),
    dense(8, { name: "norm" }),
    dense(2),
    dense(2, { name: "bare" }),
  ];
  const model = await sequential(layers(), { inputShape: [null, 3] });
  const mapping = { bn: "norm", bare: "bare" };
  await fromPyTorch(join(folder, "batch-norm.pt"), model, { mapping, batchNormEpsilon: 1e-3 });
  const out = (await model.predict(tensor(Float32Array.from(x), [2, 5, 3]))) as Tensor;
  close(out.data, JSON.parse(readFileSync(join(folder, "batch-norm.json"), "utf8")), TOLERANCE, "batch-norm.pt");
  // Affine layers need no mapping.
  const direct = await sequential([...layers().slice(0, 2), affine(), dense(2), affine()], { inputShape: [null, 3] });
  await fromPyTorch(join(folder, "batch-norm.pt"), direct, { batchNormEpsilon: 1e-3 });
  const same = (await direct.predict(tensor(Float32Array.from(x), [2, 5, 3]))) as Tensor;
  close(same.data, out.data, TOLERANCE, "affine layers");
  const back = await sequential([...layers().slice(0, 2), affine(), dense(2), affine()], { inputShape: [null, 3] });
  await fromPyTorch(toPyTorch(direct), back);
  sameTensors(back.weights(), direct.weights(), "out and in again");
  // Another epsilon gives other numbers.
  await fromPyTorch(join(folder, "batch-norm.pt"), model, { mapping });
  const other = (await model.predict(tensor(Float32Array.from(x), [2, 5, 3]))) as Tensor;
  assert.ok(other.data.some((v, i) => Math.abs(v - out.data[i]) > 1e-4));
  await refuses(
    () => fromPyTorch(join(folder, "batch-norm.pt"), model, { mapping: { bn: "bare", bare: "norm" } }),
    FormatError,
    /layer "bare": "bn.weight": expected \[2, 2\], got \[8, 8\]/,
  );
  model.dispose();
});

/** What is refused, and what it says. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "whole.pt": /"torch\.nn\.modules\.[a-zA-Z.]+" is not allowed.*save model\.state_dict\(\)/,
  "ema.pt": /several dictionaries of tensors: "weights", "ema.shadow"; choose one with \{ key \}/,
  "parts.pt": /several dictionaries of tensors: "rnn", "head"/,
  "extra.pt": /left over: "extra" \[3\]; \{ mapping: \{ "extra": null \} \}/,
  "sparse.pt": /a sparse tensor; save it with to_dense\(\)/,
  "quantised.pt": /a quantised tensor; .*dequantize\(\)/,
  "dynamic.pt": /"torch.ScriptObject" is not allowed: .*save the float model/,
  "frozen.pt": /a TorchScript archive without parameters; save model\.state_dict\(\) before torch\.jit\.freeze/,
  "complex.pt": /a tensor of C64; expected F32/,
  "int.pt": /a tensor of I32; expected F32/,
  "batch-norm.pt":
    /left over: "bn.weight" \[8\].* an nn.BatchNorm1d.* an affine layer .* \{ mapping: \{ "bn": "dense" \} \}/,
  "lstm.pt": /layer "bidirectional": "rnn" is an nn.LSTM of 3 inputs and 4 units in each direction; expected an nn.GRU/,
};

for (const [file, message] of Object.entries(REFUSED))
  test(`refused: ${file}`, async () => {
    const model = await network();
    const before = model.weights();
    await refuses(() => fromPyTorch(join(folder, file), model), FormatError, message);
    sameTensors(model.weights(), before, "unchanged");
    model.dispose();
  });

test.run();
