import { builtin } from "../core/host.ts";
import { count, shapeText } from "../core/tensor.ts";
import { readFile } from "../files/files.ts";
import { loadModel } from "../formats/gruvy.ts";
import { formatOf } from "../formats/import.ts";
import { isSafetensors, readSafetensors } from "../formats/safetensors.ts";
import { print } from "./terminal.ts";

/** What there is to know of a file. */
interface Report {
  readonly file: string;
  readonly format: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly parameters: number;
  /** Of all weights in order, as float32: the same for the same weights in any format. */
  readonly weightsSha256?: string;
  readonly inputShape?: readonly (number | null)[];
  readonly outputShape?: readonly (number | null)[];
  readonly architecture?: object;
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly dtype: string }[];
}

/** `gruvy inspect file`. */
export async function inspect(file: string, { json }: { json?: boolean }): Promise<void> {
  const bytes = await readFile(String(file));
  const about = { file: String(file), bytes: bytes.length, sha256: sha256([bytes]) };
  if (isSafetensors(bytes)) {
    const { tensors, metadata } = readSafetensors(bytes, "inspect");
    if (!metadata.has("gruvy")) {
      const listed = [...tensors].map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
      const parameters = listed.reduce((sum, { shape }) => sum + count(shape), 0);
      show({ ...about, format: "safetensors, weights only", parameters, tensors: listed }, "", json);
      return;
    }
  }
  const model = await loadModel(String(file));
  const weights = Object.entries(model.network.quantization ? {} : model.weights());
  const report: Report = {
    ...about,
    format: formatOf(bytes) ?? "gruvy safetensors",
    parameters: model.parameterCount,
    weightsSha256: weights.length ? sha256(weights.map(([, { data }]) => new Uint8Array(data.buffer))) : undefined,
    inputShape: model.inputShape,
    outputShape: model.outputShape,
    architecture: model.architecture,
    tensors: model.network.params.map(({ name, shape, type }) => ({ name, shape, dtype: type })),
  };
  show(report, model.summary(), json);
  model.dispose();
}

function show(report: Report, summary: string, json?: boolean): void {
  if (json) {
    print(JSON.stringify(report, null, 2));
    return;
  }
  const { file, format, bytes, inputShape, outputShape, tensors } = report;
  print(`${file}: ${format}, ${bytes} bytes, sha256 ${report.sha256}`);
  if (inputShape && outputShape)
    print(`input ${shapeText([null, ...inputShape])}, output ${shapeText([null, ...outputShape])}`);
  if (summary) print(`\n${summary}\n`);
  const widest = Math.max(0, ...tensors.map(({ name }) => name.length));
  for (const { name, shape, dtype } of tensors) print(`${name.padEnd(widest)}  ${dtype}  ${shapeText(shape)}`);
  print(`${report.parameters} parameters${report.weightsSha256 ? `, weights sha256 ${report.weightsSha256}` : ""}`);
}

interface Hash {
  update(bytes: Uint8Array): Hash;
  digest(encoding: "hex"): string;
}

function sha256(pieces: readonly Uint8Array[]): string {
  const { createHash } = builtin<{ createHash(name: string): Hash }>("crypto")!;
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}
