import { readFileSync } from "node:fs";
import { exportModel, fromPyTorch } from "../../host/formats/index.ts";
import { readSafetensors } from "../../host/formats/safetensors.ts";
import { toPyTorch } from "../../host/formats/torch/export.ts";
import { bidirectional, dense, gru, loadModel, type Model, sequential, type Tensor, tensor } from "../../host/index.ts";
import { KERAS_MODELS } from "../kit/keras-models.ts";
import { GRAPHS, graphFile } from "../kit/onnx-graphs.ts";
import { BLEND, COUNT, GATES, loopFile } from "../kit/onnx-loop.ts";
import { ONNX_MODELS } from "../kit/onnx-models.ts";
import { torchFile } from "../kit/torch-file.ts";

/** A reader under attack. */
export interface Reader {
  readonly name: string;
  /** Files as they should be, of every kind that it reads: small, so that changes hit what matters. */
  readonly seeds: () => Promise<Uint8Array[]>;
  /** A model, or a FormatError; or nothing where the reader fills a model that is there. */
  readonly read: (bytes: Uint8Array) => Promise<Model | undefined>;
}

const fixture = (path: string) => new Uint8Array(readFileSync(new URL(`../fixtures/${path}`, import.meta.url)));

/** Every model that the format can hold, or those of some names. */
async function exported(format: "keras" | "h5" | "onnx" | "tfjs", names?: readonly string[]): Promise<Uint8Array[]> {
  const files: Uint8Array[] = [];
  for (const { name, formats, make } of KERAS_MODELS) {
    if (!(names?.includes(name) ?? formats.some((known) => known === format))) continue;
    const model = await make();
    const made = await exportModel(model, format);
    files.push(made instanceof Uint8Array ? made : joined(made));
    model.dispose();
  }
  return files;
}

/** ONNX files in which layers are calls of functions, in both forms. */
async function withCalls(names: readonly string[]): Promise<Uint8Array[]> {
  const files: Uint8Array[] = [];
  for (const { make, streams } of ONNX_MODELS.filter(({ name }) => names.includes(name))) {
    const model = await make();
    files.push(await exportModel(model, "onnx", { lengths: true }));
    if (streams) files.push(await exportModel(model, "onnx", { streaming: true }));
    model.dispose();
  }
  return files;
}

/** Two files as one, a zero between: JSON has none. */
function joined(files: Record<string, Uint8Array>): Uint8Array {
  return Uint8Array.from([...files["model.json"], 0, ...files["weights.bin"]]);
}

/** The network of the PyTorch files of the name gru-2-bi-batch-first. */
function torchNetwork(): Promise<Model> {
  const layer = () => bidirectional(gru(5, { returnSequences: true }));
  return sequential([layer(), layer(), dense(3)], { inputShape: [null, 2] });
}

/** That network with its weights as files have them that are not among those: TorchScript, weight norm. */
async function otherTorchFiles(): Promise<Uint8Array[]> {
  const model = await torchNetwork();
  const stored = [...readSafetensors(toPyTorch(model)).tensors].map(([name, { shape, data }]): [string, Tensor] => [
    name,
    { shape, data: data as Float32Array },
  ]);
  model.dispose();
  const normed = stored.flatMap(([name, weight]): [string, Tensor][] =>
    name === "dense.weight"
      ? [
          [`${name}_g`, tensor([1, 2, 3], [3, 1])],
          [`${name}_v`, weight],
        ]
      : [[name, weight]],
  );
  return [torchFile(Object.fromEntries(stored), "script"), torchFile(Object.fromEntries(normed))];
}

/** That network, filled from a file. */
async function torchModel(bytes: Uint8Array): Promise<Model> {
  const model = await torchNetwork();
  try {
    return await fromPyTorch(bytes, model);
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A new reader is a row. */
export const READERS: readonly Reader[] = [
  {
    name: "gruvy",
    async seeds() {
      const files: Uint8Array[] = [];
      for (const { make } of KERAS_MODELS) {
        const model = await make();
        files.push(model.toBytes(), model.toBytes({ precision: "float16" }));
        model.dispose();
      }
      return files;
    },
    read: loadModel,
  },
  {
    name: "pytorch",
    seeds: async () => [
      ...["pt", "legacy.pt", "safetensors"].map((form) => fixture(`torch-files/gru-2-bi-batch-first.${form}`)),
      ...(await otherTorchFiles()),
    ],
    read: torchModel,
  },
  {
    name: "onnx",
    async seeds() {
      const names = ["gru-1", "gru-2-bi-batch-first", "gru-3-nobias", "gru-packed", "classifier"];
      const own = await exported("onnx", ["stack", "residual"]);
      const called = await withCalls([
        "masking, gru",
        "several heads",
        "a decoder that begins with the encoder's states",
      ]);
      const graphs = [...Object.values(GRAPHS).map(graphFile), loopFile([...GATES, ...BLEND, ...COUNT])];
      return [...own, ...called, ...graphs, ...names.map((name) => fixture(`torch-files/${name}.onnx`))];
    },
    read: loadModel,
  },
  {
    name: "keras-h5",
    seeds: async () => [
      ...(await exported("h5")),
      ...["gru.h5", "packed.h5", "latest.h5"].map((name) => fixture(`keras/${name}`)),
    ],
    read: loadModel,
  },
  {
    name: "keras-zip",
    seeds: async () => [
      ...(await exported("keras")),
      ...["gru.keras", "packed.keras"].map((name) => fixture(`keras/${name}`)),
    ],
    read: loadModel,
  },
  {
    name: "tfjs",
    seeds: () => exported("tfjs"),
    read(bytes) {
      const end = bytes.indexOf(0);
      const [json, weights] = end < 0 ? [bytes, new Uint8Array()] : [bytes.slice(0, end), bytes.slice(end + 1)];
      return loadModel({ "model.json": json, "weights.bin": weights });
    },
  },
];
