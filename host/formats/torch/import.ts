import { FormatError, GruvyError, OptionError } from "../../core/errors.ts";
import { checkOptions, shown } from "../../core/options.ts";
import { shapeText, type Tensor } from "../../core/tensor.ts";
import { Model } from "../../stacks/model.ts";
import { isTorch } from "../detect.ts";
import { readSafetensors } from "../safetensors.ts";
import { type ModelSource, readSource } from "../source.ts";
import { modulesOf, type TorchModule } from "./modules.ts";
import { readTorch, stateDict, type TorchTensor } from "./read.ts";

export interface FromPyTorchOptions {
  /**
   * Which module of the file fills which layer: `{ "encoder.rnn": ["gru", "gru_1"], head: "dense" }`, an array for the
   * levels of an nn.GRU; null: not used. What is not named here is found by shape and order.
   */
  mapping?: Readonly<Record<string, string | readonly string[] | null>>;
  /** Use only the tensors whose names begin so, such as "encoder." */
  prefix?: string;
  /** Where in a checkpoint the weights are, such as "model"; needed where there are several. */
  key?: string;
}

/** Tensors of one module of the file; of an nn.GRU those of one level. */
interface Unit {
  readonly module: string;
  /** Level of an nn.GRU, or -1. */
  readonly level: number;
  /** By the name within the module, without the level. */
  readonly tensors: Map<string, { readonly fullName: string; readonly tensor: TorchTensor }>;
}

/** What `fromPyTorch` does (host/formats/import.ts). */
export async function fillFromTorch(source: ModelSource, model: Model, options: FromPyTorchOptions): Promise<void> {
  const where = "fromPyTorch()";
  if (!(model instanceof Model)) throw new OptionError(`${where}: the second argument is not a model`);
  checkOptions(where, options, ["mapping", "prefix", "key"]);
  model.network.checkAlive();
  const modules = modulesOf(model.network.nodes, where);
  const bytes = await readSource(source, where);
  const { tensors, ordered } = await readTensors(bytes, options.key, where);
  const units = unitsOf(tensors, options.prefix ?? "");
  const chosen = choose(modules, units, ordered, options.mapping ?? {}, where);
  const weights: Record<string, Tensor> = {};
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

/** All tensors of a file, and whether they stand in the order in which modules were made. */
async function readTensors(
  bytes: Uint8Array,
  key: string | undefined,
  where: string,
): Promise<{ tensors: Map<string, TorchTensor>; ordered: boolean }> {
  if (isTorch(bytes)) return { tensors: stateDict(await readTorch(bytes, where), key, where), ordered: true };
  if (key !== undefined) throw new OptionError(`${where}: "key" is for checkpoints of torch.save`);
  const tensors = new Map<string, TorchTensor>();
  for (const [name, { dtype, shape, data }] of readSafetensors(bytes, where).tensors)
    tensors.set(name, {
      dtype,
      shape,
      read() {
        if (data instanceof Float32Array) return data;
        if (data instanceof Float64Array) return Float32Array.from(data);
        throw new FormatError(`${where}: ${shown(name)}: a tensor of ${dtype}; expected F32, F64, F16 or BF16`);
      },
    });
  // Writers sort by name, or by size.
  return { tensors, ordered: false };
}

const LEVEL = /^(weight_[ih]h|bias_[ih]h)_l(\d+)(_reverse)?$/;

function unitsOf(tensors: ReadonlyMap<string, TorchTensor>, prefix: string): Unit[] {
  const units = new Map<string, Unit>();
  for (const [fullName, tensor] of tensors) {
    if (!fullName.startsWith(prefix)) continue;
    const dot = fullName.lastIndexOf(".");
    const module = dot < 0 ? "" : fullName.slice(0, dot);
    const own = fullName.slice(dot + 1);
    // Counters of batches, which are no weights.
    if (own === "num_batches_tracked") continue;
    const match = LEVEL.exec(own);
    const level = match ? Number(match[2]) : -1;
    const id = `${level} ${module}`;
    let unit = units.get(id);
    if (!unit) {
      unit = { module, level, tensors: new Map() };
      units.set(id, unit);
    }
    unit.tensors.set(match ? match[1] + (match[3] ?? "") : own, { fullName, tensor });
  }
  // Levels of one nn.GRU in their order, wherever the file has them.
  const first = new Map<string, number>();
  const list = [...units.values()];
  list.forEach(({ module }, i) => {
    if (!first.has(module)) first.set(module, i);
  });
  return list.sort((a, b) => first.get(a.module)! - first.get(b.module)! || a.level - b.level);
}

const fullName = (module: string, level: number, tensor: string) =>
  `${module}${module && "."}${level < 0 ? tensor : tensor.endsWith("_reverse") ? `${tensor.slice(0, -8)}_l${level}_reverse` : `${tensor}_l${level}`}`;

/** Same tensors by name; a cell's count as those of a layer. */
function sameNames({ tensors }: TorchModule, unit: Unit): boolean {
  return unit.tensors.size === tensors.length && tensors.every(({ name }) => unit.tensors.has(name));
}

function fits(module: TorchModule, unit: Unit): boolean {
  return (
    sameNames(module, unit) &&
    module.tensors.every(({ name, shape }) => shapeText(unit.tensors.get(name)!.tensor.shape) === shapeText(shape))
  );
}

/** A unit for every module of the model. */
function choose(
  modules: readonly TorchModule[],
  units: readonly Unit[],
  ordered: boolean,
  mapping: Readonly<Record<string, string | readonly string[] | null>>,
  where: string,
): Map<TorchModule, Unit> {
  const left = new Set(units);
  const chosen = new Map<TorchModule, Unit>();
  const problems: string[] = [];
  const take = (module: TorchModule, unit: Unit) => {
    chosen.set(module, unit);
    left.delete(unit);
  };

  for (const [name, to] of Object.entries(mapping)) {
    const of = units.filter(({ module }) => module === name || (to === null && module.startsWith(`${name}.`)));
    if (of.length === 0)
      throw new FormatError(
        `${where}: "mapping": the file has no module ${shown(name)}; it has ${listed(units.map(({ module }) => shown(module)))}`,
      );
    if (to === null) for (const unit of of) left.delete(unit);
    else {
      const layers = typeof to === "string" ? [to] : [...to];
      if (layers.length !== of.length)
        throw new FormatError(
          `${where}: "mapping": ${shown(name)} has ${of.length} levels, got ${layers.length} layers: ${shown(layers)}`,
        );
      layers.forEach((layer, i) => {
        const module = modules.find((m) => m.layer === layer);
        if (!module)
          throw new OptionError(
            `${where}: "mapping": no layer ${shown(layer)} with weights; the model has ${listed(modules.map((m) => shown(m.layer)))}`,
          );
        if (!fits(module, of[i])) problems.push(misfit(module, of[i]));
        take(module, of[i]);
      });
    }
  }

  let last: Unit | undefined;
  for (const module of modules) {
    if (chosen.has(module)) continue;
    const candidates = [...left].filter((unit) => fits(module, unit));
    const named = candidates.filter((unit) => lastName(unit.module) === module.layer);
    const next = candidates.find((unit) => unit.module === last?.module && unit.level === (last?.level ?? 0) + 1);
    let unit: Unit | undefined = named.length === 1 ? named[0] : next;
    if (!unit && candidates.length) {
      unit = ordered ? candidates[0] : firstByNumber(candidates);
      if (!unit)
        throw new FormatError(
          `${where}: layer "${module.layer}": several modules fit: ${listed(candidates.map((c) => shown(c.module)))}; ` +
            `choose with { mapping: { ${shown(candidates[0].module)}: "${module.layer}" } }`,
        );
    }
    if (unit) {
      take(module, unit);
      last = unit;
      continue;
    }
    const near =
      [...left].find((u) => sameNames(module, u) && rank(module, u)) ?? [...left].find((u) => shares(module, u));
    if (near) {
      problems.push(misfit(module, near));
      take(module, near);
    } else
      problems.push(
        `layer "${module.layer}": missing: an ${module.kind} of ${module.tensors.map(({ name, shape }) => `${name}${module.recurrent ? "_l*" : ""} ${shapeText(shape)}`).join(", ")}`,
      );
  }
  for (const { module, tensors } of left)
    problems.push(
      `left over: ${listed([...tensors.values()].map(({ fullName, tensor }) => `"${fullName}" ${shapeText(tensor.shape)}`))}` +
        (module ? `; { mapping: { ${shown(module)}: null } } ignores it` : ""),
    );
  if (problems.length)
    throw new FormatError(`${where}: ${problems.slice(0, 8).join("\n  ")}${problems.length > 8 ? "\n  ..." : ""}`);
  return chosen;
}

function lastName(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

/** The first of modules whose names differ in numbers alone; undefined where they differ otherwise. */
function firstByNumber(units: readonly Unit[]): Unit | undefined {
  const stem = (unit: Unit) => unit.module.replace(/\d+/g, "#");
  if (units.some((unit) => stem(unit) !== stem(units[0]))) return undefined;
  const numbers = ({ module, level }: Unit) => [...(module.match(/\d+/g) ?? []).map(Number), level];
  return units.reduce((a, b) => {
    const [x, y] = [numbers(a), numbers(b)];
    const i = x.findIndex((n, k) => n !== y[k]);
    return i >= 0 && y[i] < x[i] ? b : a;
  });
}

function rank({ tensors }: TorchModule, unit: Unit): boolean {
  return tensors.every(({ name, shape }) => unit.tensors.get(name)!.tensor.shape.length === shape.length);
}

/** Some tensor of the same name, of a recurrent layer; or of the same name and rank. */
function shares({ tensors, recurrent }: TorchModule, unit: Unit): boolean {
  return tensors.some(({ name, shape }) => {
    const found = unit.tensors.get(name);
    return found && (recurrent || found.tensor.shape.length === shape.length);
  });
}

/** What differs between a layer and the module that is meant for it. */
function misfit(module: TorchModule, { module: name, level, tensors }: Unit): string {
  const differences: string[] = [];
  for (const { name: own, shape } of module.tensors) {
    const found = tensors.get(own);
    if (!found) differences.push(`"${fullName(name, level, own)}" ${shapeText(shape)} is missing`);
    else if (shapeText(found.tensor.shape) !== shapeText(shape))
      differences.push(`"${found.fullName}": expected ${shapeText(shape)}, got ${shapeText(found.tensor.shape)}`);
  }
  for (const [own, { fullName: full }] of tensors)
    if (!module.tensors.some((tensor) => tensor.name === own)) differences.push(`"${full}" is left over`);
  return `layer "${module.layer}": ${listed(differences)}`;
}

function listed(parts: readonly string[]): string {
  const unique = [...new Set(parts)];
  return unique.slice(0, 8).join(", ") + (unique.length > 8 ? ", ..." : "");
}
