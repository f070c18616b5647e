import { FormatError, OptionError } from "../../core/errors.ts";
import { shown, suggestion } from "../../core/options.ts";
import { shapeText } from "../../core/tensor.ts";
import { asAffine, asLinear, isBatchNorm } from "./batch-norm.ts";
import { described } from "./describe.ts";
import type { TorchModule } from "./modules.ts";
import type { TorchTensor } from "./tensors.ts";

/** Which module of a file fills which layer: by what the user says, by name, by shape and order. */

/** Tensors of one module of the file; of an nn.GRU those of one level. */
export interface Unit {
  readonly module: string;
  /** Level of an nn.GRU, or -1. */
  readonly level: number;
  /** By the name within the module, without the level. */
  readonly tensors: Map<string, { readonly fullName: string; readonly tensor: TorchTensor }>;
}

const LEVEL = /^(weight_[ih]h|bias_[ih]h)_l(\d+)(_reverse)?$/;

/** The module that a tensor belongs to, and its name there. */
function splitName(fullName: string, tensors: ReadonlyMap<string, TorchTensor>): [module: string, own: string] {
  // nn.MultiheadAttention has its last map as a module within it.
  const [end, dot, last] = /(^|\.)(out_proj\.[a-z]+)$/.exec(fullName) ?? [];
  const parent = fullName.slice(0, fullName.length - (end?.length ?? 0)) + (dot ?? "");
  if (last && (tensors.has(`${parent}in_proj_weight`) || tensors.has(`${parent}q_proj_weight`)))
    return [parent.slice(0, -1), last];
  const at = fullName.lastIndexOf(".");
  return [fullName.slice(0, Math.max(at, 0)), fullName.slice(at + 1)];
}

/** The modules of a file, in its order. */
export function unitsOf(tensors: ReadonlyMap<string, TorchTensor>): Unit[] {
  const units = new Map<string, Unit>();
  for (const [fullName, tensor] of tensors) {
    const [module, own] = splitName(fullName, tensors);
    // Counters of batches or averages, which are no weights.
    if (tensor.shape.length === 0 && /^[IU]/.test(tensor.dtype)) continue;
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

/** Layers by the module that fills them; null: not used. */
export type Mapping = Readonly<Record<string, string | readonly string[] | null>>;

/** The tensors that are to be used. */
export function used(
  tensors: ReadonlyMap<string, TorchTensor>,
  prefix: string,
  mapping: Mapping,
  where: string,
): Map<string, TorchTensor> {
  const names = [...tensors.keys()].filter((name) => name.startsWith(prefix));
  if (names.length === 0)
    throw new FormatError(
      `${where}: "prefix": no tensor's name begins with ${shown(prefix)}; there are ${quoted([...tensors.keys()])}`,
    );
  const left = new Set(names);
  for (const [key, to] of Object.entries(mapping)) {
    if (to !== null) continue;
    const of = names.filter((name) => name === key || (key ? name.startsWith(`${key}.`) : !name.includes(".")));
    if (of.length === 0) throw unknown(key, unitsOf(tensors), where);
    for (const name of of) left.delete(name);
  }
  return new Map([...left].map((name) => [name, tensors.get(name)!]));
}

function unknown(module: string, units: readonly Unit[], where: string): FormatError {
  const names = units.map((unit) => unit.module);
  const near = suggestion(module, names);
  return new FormatError(
    `${where}: "mapping": the file has no module ${shown(module)}; ` +
      (near.startsWith("; did") ? near.slice(2) : `it has ${quoted(names)}`),
  );
}

/** A unit for every module of the model. */
export function choose(
  modules: readonly TorchModule[],
  units: readonly Unit[],
  ordered: boolean,
  mapping: Mapping,
  batchNormEpsilon: number,
  where: string,
): Map<TorchModule, Unit> {
  // Layers that an nn.BatchNorm1d fills by itself take it before others do.
  const folds = modules.some(({ kind }) => kind === "nn.BatchNorm1d");
  const folded = (unit: Unit) => (isBatchNorm(unit) ? asAffine(unit, batchNormEpsilon) : unit);
  const whole = folds ? units.map((unit) => (unit.module in mapping ? unit : folded(unit))) : units;
  const left = new Set(whole);
  const chosen = new Map<TorchModule, Unit>();
  const problems: string[] = [];
  const take = (module: TorchModule, unit: Unit) => {
    chosen.set(module, unit);
    left.delete(unit);
  };

  for (const [name, to] of Object.entries(mapping)) {
    if (to === null) continue;
    const of = whole.filter(({ module }) => module === name);
    if (of.length === 0) throw unknown(name, units, where);
    const layers = typeof to === "string" ? [to] : [...to];
    if (layers.length !== of.length)
      throw new FormatError(
        `${where}: "mapping": ${shown(name)} has ${of.length} levels, got ${layers.length} layers: ${shown(layers)}`,
      );
    layers.forEach((layer, i) => {
      const module = modules.find((m) => m.layer === layer);
      if (!module)
        throw new OptionError(
          `${where}: "mapping": no layer ${shown(layer)} with weights; the model has ${quoted(modules.map((m) => m.layer))}`,
        );
      const linear = isBatchNorm(of[i]) && module.kind === "nn.Linear";
      const unit = linear
        ? asLinear(of[i], batchNormEpsilon)
        : module.kind === "nn.BatchNorm1d"
          ? folded(of[i])
          : of[i];
      if (!fits(module, unit)) problems.push(misfit(module, unit));
      chosen.set(module, unit);
      left.delete(of[i]);
    });
  }

  let last: Unit | undefined;
  for (const module of modules) {
    if (chosen.has(module)) continue;
    const candidates = [...left].filter((unit) => fits(module, unit));
    const byName = named(module, candidates);
    const next = candidates.find((unit) => unit.module === last?.module && unit.level === (last?.level ?? 0) + 1);
    const byOrder = next ?? (ordered ? candidates.at(0) : firstByNumber(candidates));
    const rivals = modules.filter((m) => m !== module && !chosen.has(m) && candidates.some((unit) => fits(m, unit)));
    // Names of layers may be nobody's choice: they decide against the order only where the file has no others.
    const contested =
      byName !== byOrder &&
      candidates.some((unit) => !modules.some(({ layer }) => layer === lastName(unit.module))) &&
      (byName ? rivals.length > 0 : rivals.some((m) => named(m, candidates) === byOrder));
    const unit = byName ?? byOrder;
    if (contested || (!unit && candidates.length))
      throw new FormatError(
        `${where}: layer "${module.layer}": several modules fit: ${quoted(candidates.map((c) => c.module))}; ` +
          `choose with { mapping: { ${shown(candidates[0].module)}: "${module.layer}" } }`,
      );
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
  for (const unit of left) problems.push(leftOver(unit));
  if (problems.length)
    throw new FormatError(`${where}: ${problems.slice(0, 8).join("\n  ")}${problems.length > 8 ? "\n  ..." : ""}`);
  return chosen;
}

function lastName(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

/** The only one that is called as the layer. */
function named({ layer }: TorchModule, units: readonly Unit[]): Unit | undefined {
  const of = units.filter(({ module }) => lastName(module) === layer);
  return of.length === 1 ? of[0] : undefined;
}

/** The first of modules whose names differ in numbers alone; undefined where they differ otherwise. */
function firstByNumber(units: readonly Unit[]): Unit | undefined {
  if (units.length === 0) return undefined;
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

function leftOver(unit: Unit): string {
  const { module, level, tensors } = unit;
  const names = [...tensors.values()].map(({ fullName, tensor }) => `"${fullName}" ${shapeText(tensor.shape)}`);
  const kind = described(unit);
  const told = `left over: ${listed(names)}${kind ? `, ${kind}` : ""}`;
  if (isBatchNorm(unit))
    return `${told}, which an affine layer in its place holds, or a dense layer of as many units: { mapping: { ${shown(module)}: "dense" } }`;
  if (level > 0) return `${told}, level ${level} of ${shown(module)}; it fills one more layer of that many units`;
  if (module) return `${told}; { mapping: { ${shown(module)}: null } } ignores it`;
  // Tensors that stand alone are ignored by their own names.
  const own = [...tensors.values()].map(({ fullName }) => `${shown(fullName)}: null`);
  return level < 0 ? `${told}; { mapping: { ${listed(own)} } } ignores ${own.length > 1 ? "them" : "it"}` : told;
}

/** What differs between a layer and the module that is meant for it. */
function misfit(module: TorchModule, unit: Unit): string {
  const { module: name, level, tensors } = unit;
  const differences: string[] = [];
  const kind = described(unit);
  if (module.recurrent && !kind?.includes(module.kind))
    return `layer "${module.layer}": ${shown(name)} is ${kind ?? "no nn.GRU"}; expected an nn.GRU`;
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

function quoted(names: readonly string[]): string {
  return listed(names.map((name) => shown(name)));
}
