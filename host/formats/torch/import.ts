import { FormatError, GruvyError, OptionError } from "../../core/errors.ts";
import { checkOptions, real, shown, suggestion } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Model } from "../../stacks/model.ts";
import type { Node } from "../../stacks/network.ts";
import { isTorch } from "../detect.ts";
import { isSafetensors, readSafetensors } from "../safetensors.ts";
import { type ModelSource, readSource } from "../source.ts";
import { choose, type Mapping, unitsOf, used } from "./match.ts";
import { modulesOf } from "./modules.ts";
import { readTorch, stateDict } from "./read.ts";
import type { TorchTensor } from "./tensors.ts";
import { withoutWeightNorm } from "./weight-norm.ts";

export interface FromPyTorchOptions {
  /**
   * Which module of the file fills which layer: `{ "encoder.rnn": ["gru", "gru_1"], head: "dense" }`, an array for the
   * levels of an nn.GRU; null: not used, also of a tensor or of all that begins so. An nn.BatchNorm1d goes into an affine
   * layer, or into a dense one that is named here. What is not named is found by shape and order.
   */
  mapping?: Mapping;
  /** Use only the tensors whose names begin so, such as "encoder." */
  prefix?: string;
  /** Of an nn.BatchNorm1d that an affine or a dense layer takes; files do not hold it. Default 1e-5, as PyTorch's. */
  batchNormEpsilon?: number;
  /** Fill these layers alone. Default: all. */
  layers?: readonly string[];
  /**
   * Where in a checkpoint the weights are, such as "model"; needed where there are several. An array takes several,
   * with the key before their names: "encoder.gru.weight_ih_l0".
   */
  key?: string | readonly string[];
}

/** What `fromPyTorch` does (host/formats/import.ts). */
export async function fillFromTorch(
  source: ModelSource,
  model: Model<unknown>,
  options: FromPyTorchOptions,
): Promise<void> {
  const where = "fromPyTorch()";
  if (!(model instanceof Model)) throw new OptionError(`${where}: the second argument is not a model`);
  checkOptions(where, options, ["mapping", "prefix", "key", "layers", "batchNormEpsilon"]);
  model.network.checkAlive();
  const { mapping = {}, prefix = "", key } = options;
  const batchNormEpsilon = real(where, "batchNormEpsilon", options.batchNormEpsilon ?? 1e-5, "[0, 1)");
  const modules = modulesOf(nodesOf(model, options.layers, where), where, "; fill others with { layers }");
  const { tensors, ordered } = await readTensors(await readSource(source, where), key, where);
  const units = unitsOf(withoutWeightNorm(used(tensors, prefix, mapping, where), where));
  const chosen = choose(modules, units, ordered, mapping, batchNormEpsilon, where);
  const weights: Record<string, Tensor> = options.layers ? model.weights() : {};
  for (const [{ layer, toGruvy }, unit] of chosen) {
    const read = [...unit.tensors].map(([name, { tensor }]) => [
      name,
      { shape: [...tensor.shape], data: tensor.read() },
    ]);
    for (const [name, tensor] of Object.entries(toGruvy(Object.fromEntries(read))))
      weights[`${layer}.${name}`] = tensor;
  }
  try {
    model.setWeights(weights);
  } catch (error) {
    throw error instanceof GruvyError ? new FormatError(`${where}: ${error.message}`) : error;
  }
}

/** The layers that are to be filled. */
function nodesOf(
  { network: { nodes } }: Model<unknown>,
  layers: readonly string[] | undefined,
  where: string,
): readonly Node[] {
  if (layers === undefined) return nodes;
  const names = nodes.map(({ name }) => name);
  for (const layer of layers)
    if (!names.includes(layer))
      throw new OptionError(`${where}: "layers": no layer ${shown(layer)}${suggestion(layer, names)}`);
  return nodes.filter(({ name }) => layers.includes(name));
}

/** All tensors of a file, and whether they stand in the order in which modules were made. */
async function readTensors(
  bytes: Uint8Array,
  key: string | readonly string[] | undefined,
  where: string,
): Promise<{ tensors: Map<string, TorchTensor>; ordered: boolean }> {
  if (isTorch(bytes)) return { tensors: stateDict(await readTorch(bytes, where), key, where), ordered: true };
  if (key !== undefined) throw new OptionError(`${where}: "key" is for checkpoints of torch.save`);
  if (!isSafetensors(bytes)) throw noTensors(bytes, where);
  // Writers sort by name, or by size.
  return { tensors: fromSafetensors(bytes, where), ordered: false };
}

/** The tensors of a safetensors file. */
export function fromSafetensors(bytes: Uint8Array, where: string): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  const file = readSafetensors(bytes, where);
  if (file.metadata.has("gruvy")) throw new FormatError(`${where}: a file of gruvy's own; loadModel() reads it`);
  for (const [name, { dtype, shape, data }] of file.tensors)
    tensors.set(name, {
      dtype,
      shape,
      read() {
        if (data instanceof Float32Array) return data;
        if (data instanceof Float64Array) return Float32Array.from(data);
        throw new FormatError(`${where}: ${shown(name)}: a tensor of ${dtype}; expected F32, F64, F16 or BF16`);
      },
    });
  return tensors;
}

/** Files that people take for weights. */
function noTensors(bytes: Uint8Array, where: string): FormatError {
  const text = new TextDecoder().decode(bytes.slice(0, 4096));
  const what = text.includes('"weight_map"')
    ? 'the index of a model in several files; save it as one, such as save_pretrained(path, max_shard_size="100GB")'
    : text.startsWith("version https://git-lfs")
      ? "a pointer of Git LFS in place of the file; fetch it with git lfs pull"
      : bytes[0] === 0x80 && bytes[1] <= 5
        ? "a Python pickle that torch.save did not write; save it with torch.save(model.state_dict(), path)"
        : `${bytes.length} bytes of neither`;
  return new FormatError(`${where}: expected a file of torch.save or .safetensors, got ${what}`);
}
