import { makeFolder, writeFile } from "../files/files.ts";
import { type ExportFormat, exportModel } from "../formats/export.ts";
import { loadModel } from "../formats/gruvy.ts";
import type { Model } from "../stacks/model.ts";
import { Failure, print } from "./terminal.ts";

interface Target {
  /** What the output's name ends in. */
  readonly endings: readonly string[];
  readonly write: (model: Model, precision: "float32" | "float16") => Promise<Uint8Array | Record<string, Uint8Array>>;
}

const exported = (format: ExportFormat, ...endings: string[]): Target => ({
  endings,
  write: (model) => exportModel(model, format),
});

/** What `convert` writes; a new format is a row. */
export const TARGETS: Readonly<Record<string, Target>> = {
  gruvy: { endings: [".safetensors"], write: async (model, precision) => model.toBytes({ precision }) },
  keras: exported("keras", ".keras"),
  h5: exported("h5", ".h5", ".hdf5"),
  tfjs: exported("tfjs", ".json"),
  onnx: exported("onnx", ".onnx"),
  pytorch: exported("pytorch"),
};

/** `gruvy convert input output`. */
export async function convert(
  input: string,
  output: string,
  options: { to?: string; precision: string },
): Promise<void> {
  const name = options.to ?? Object.keys(TARGETS).find((key) => TARGETS[key].endings.some((end) => ends(output, end)));
  const known = Object.keys(TARGETS).join(", ");
  if (name === undefined) throw new Failure(`"${output}" does not say what to write; add --to with one of ${known}`, 2);
  if (!Object.hasOwn(TARGETS, name)) throw new Failure(`--to "${name}": expected one of ${known}`, 2);
  if (name === "pytorch" && /\.(pt|pth|ckpt)$/i.test(output))
    throw new Failure(`"${output}": PyTorch's weights are written as safetensors; name it .safetensors`, 2);
  const { precision } = options;
  if (precision !== "float32" && precision !== "float16")
    throw new Failure(`--precision "${precision}": expected float32 or float16`, 2);
  if (precision === "float16" && name !== "gruvy") throw new Failure("--precision float16 is of safetensors alone", 2);
  const model = await loadModel(String(input));
  const made = await TARGETS[name].write(model, precision);
  const files: [string, Uint8Array][] = made instanceof Uint8Array ? [[output, made]] : besides(output, made);
  for (const [path, bytes] of files) {
    await makeFolder(path);
    await writeFile(path, bytes);
    print(`${path}: ${bytes.length} bytes`);
  }
  model.dispose();
}

function ends(name: string, ending: string): boolean {
  return name.toLowerCase().endsWith(ending);
}

/** Several files: the .json under the given name, the others beside it. */
function besides(output: string, files: Record<string, Uint8Array>): [string, Uint8Array][] {
  const folder = ends(output, ".json") ? output.replace(/[^/\\]*$/, "") : `${output.replace(/[/\\]$/, "")}/`;
  return Object.entries(files).map(([name, bytes]) => [
    ends(name, ".json") && ends(output, ".json") ? output : folder + name,
    bytes,
  ]);
}
