import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Model } from "../../stacks/model.ts";
import { append } from "../append.ts";
import { type Dataset, type Group, type Item, openHdf5 } from "../hdf5/read.ts";
import { isZip, readZip, unpack, unpackedLimit } from "../zip.ts";
import { buildModel } from "./build.ts";
import { type Config, type KerasModel, kerasDialect, parseJson } from "./config.ts";

/**
 * Keras's files. `.h5`, of all versions: attributes with the model as JSON,
 * and a group a layer whose attribute lists its weights in order. `.keras`, of
 * version 3: a zip of the JSON and an HDF5 file whose groups follow the
 * structure of the model.
 */

const WHERE = "loadModel()";

/** A model from the bytes of an `.h5` file. */
export async function importH5(bytes: Uint8Array): Promise<Model> {
  const root = openHdf5(bytes, WHERE, unpackedLimit(bytes.length));
  const text = attribute(root, "model_config");
  if (text === undefined)
    throw new FormatError(
      `${WHERE}: an HDF5 file without "model_config": weights only; make the model, then fromKeras(source, model)`,
    );
  const { class_name: className, config } = topology(parseJson(text, `${WHERE}: the model_config`));
  const weights = root.get("model_weights");
  if (weights?.kind !== "group") throw new FormatError(`${WHERE}: an HDF5 file without the group "model_weights"`);
  const dialect = kerasDialect(ofFile(root, "keras_version"), ofFile(root, "backend"));
  return buildModel({ className, config, dialect, weights: legacyWeights(weights) });
}

/** A model from the bytes of a `.keras` file. */
export async function importKerasZip(bytes: Uint8Array): Promise<Model> {
  const limit = unpackedLimit(bytes.length);
  const files = readZip(bytes, WHERE);
  const member = async (name: string, most: number) => {
    const entry = files.get(name);
    return entry && unpack(entry, WHERE, most);
  };
  const config = await member("config.json", limit / 4);
  if (!config)
    throw new FormatError(
      `${WHERE}: a zip without config.json is no Keras model; it holds ${[...files.keys()]
        .slice(0, 5)
        .map((name) => shown(name))
        .join(", ")}`,
    );
  const weights = await member("model.weights.h5", limit);
  if (!weights) throw new FormatError(`${WHERE}: a .keras file without model.weights.h5`);
  const about = await member("metadata.json", 2 ** 20);
  const metadata = about && parseJson(decode(about), `${WHERE}: metadata.json`);
  const version = isRecord(metadata) && typeof metadata.keras_version === "string" ? metadata.keras_version : "3";
  const { class_name: className, config: own } = topology(parseJson(decode(config), `${WHERE}: config.json`));
  return buildModel({
    className,
    config: own,
    dialect: kerasDialect(version),
    weights: structuredWeights(openHdf5(weights, WHERE, limit)),
  });
}

/** A model from its JSON and a file of its weights alone. */
export async function importApart(json: Config, bytes: Uint8Array): Promise<Model> {
  const { class_name: className, config } = topology(json);
  const { weights, version } = await openWeights(bytes, WHERE);
  const told = typeof json.keras_version === "string" ? json.keras_version : version;
  const dialect = kerasDialect(told, typeof json.backend === "string" ? json.backend : undefined);
  return buildModel({ className, config, dialect, weights });
}

function decode(bytes: Uint8Array): string {
  // A copy, as browsers do not decode shared memory.
  return new TextDecoder().decode(bytes.slice());
}

/** The class and the options of a model. */
export function topology(json: unknown): { class_name: string; config: unknown } {
  if (!isRecord(json) || typeof json.class_name !== "string")
    throw new FormatError(`${WHERE}: the model's JSON has no class_name`);
  return { class_name: json.class_name, config: json.config };
}

/** An attribute of one text. */
function attribute(item: Item, name: string): string | undefined {
  return lines(item, name)?.[0];
}

/** An attribute of texts; long ones are split into name0, name1... */
function lines(item: Item, name: string): string[] | undefined {
  const whole = item.strings(name);
  if (whole || !item.attributes.includes(`${name}0`)) return whole;
  const parts: string[][] = [];
  for (let i = 0; item.attributes.includes(`${name}${i}`); i++) parts.push(item.strings(`${name}${i}`)!);
  return parts.flat();
}

/** On the file or, in files of weights only, on the weights too. */
function ofFile(root: Group, name: string): string | undefined {
  const weights = root.get("model_weights");
  return attribute(root, name) ?? (weights && attribute(weights, name));
}

/** The weights in a file, whole models and weights alone; `layers`: those that stand in it by their own names, in order. */
export async function openWeights(
  bytes: Uint8Array,
  where: string,
): Promise<{ weights: KerasModel["weights"]; layers?: readonly string[]; version?: string }> {
  const limit = unpackedLimit(bytes.length);
  let file = bytes;
  if (isZip(bytes)) {
    const entry = readZip(bytes, where).get("model.weights.h5");
    if (!entry) throw new FormatError(`${where}: a zip without model.weights.h5 is no Keras model`);
    file = await unpack(entry, where, limit);
  }
  const root = openHdf5(file, where, limit);
  const whole = root.get("model_weights");
  const groups = whole?.kind === "group" ? whole : root;
  const names = lines(groups, "layer_names");
  if (!names) return { weights: structuredWeights(root), version: "3" };
  const filled = names.filter((name) => {
    const group = groups.get(name);
    return group && (lines(group, "weight_names") ?? []).length > 0;
  });
  return { weights: legacyWeights(groups), layers: filled, version: ofFile(root, "keras_version") };
}

/** Names of weights, and those that have a part: "gru/kernel:0" has "gru". */
export interface NamesByPart {
  readonly all: readonly string[];
  readonly by: ReadonlyMap<string, readonly string[]>;
}

export function byPart(all: readonly string[]): NamesByPart {
  const by = new Map<string, string[]>();
  for (const name of all) for (const part of new Set(name.split("/"))) append(by, part, name);
  return { all, by };
}

/**
 * The weights of a layer of an inner model, by their names: the layer's is a
 * part of them, those of the models around it may be.
 *
 * @param path names of the models, and the layer's
 */
export function ofInner({ by }: NamesByPart, path: readonly string[]): readonly string[] {
  const layer = path.at(-1)!;
  const around = new Map<string, string[]>();
  for (const name of by.get(layer.split("/")[0]) ?? []) {
    const at = `/${name}`.indexOf(`/${layer}/`);
    if (at < 0) continue;
    append(around, name.slice(0, at), name);
  }
  // Layers of one name in several models: what stands before it is of as few other models and of as many of its own as can be.
  const distance = (models: string) => {
    const parts = models.split("/").filter((part) => part);
    const own = parts.filter((part) => path.includes(part)).length;
    return 1000 * (parts.length - own) - own;
  };
  const nearest = [...around.keys()].reduce((least, models) => Math.min(least, distance(models)), Infinity);
  const found = [...around].filter(([models]) => distance(models) === nearest);
  if (found.length > 1)
    throw new FormatError(
      `${WHERE}: layer ${shown(layer)}: several layers of models in models have this name, and which weights are its cannot be told; give them names of their own`,
    );
  return found[0]?.[1] ?? [];
}

/** Weights as `.h5` has them: by the name of the layer, those of inner models under that of the outermost. */
function legacyWeights(groups: Group): KerasModel["weights"] {
  const listed = new Map<string, NamesByPart>();
  return async ({ names, depth }) => {
    const group = groups.get(names[0]);
    if (group?.kind !== "group") return [];
    const parts = listed.get(names[0]) ?? byPart(lines(group, "weight_names") ?? []);
    listed.set(names[0], parts);
    const own = depth === 1 ? parts.all : ofInner(parts, names.slice(0, depth));
    const tensors: Tensor[] = [];
    for (const name of own) {
      const found = group.get(name);
      if (found?.kind !== "dataset") throw new FormatError(`${WHERE}: the weights ${shown(name)} are missing`);
      tensors.push(await found.read());
    }
    return tensors;
  };
}

/** Groups that only names with separators make: of every layer of a large model, and no more than memory holds. */
const MOST_JOINED = 100_000;

/** A group or dataset by its names; Windows has written several as one, with "\\" between. */
interface Stored {
  members: Map<string, Stored>;
  dataset?: Dataset;
}

/** Weights as `.keras` has them: by the place of the layer in the model, variables numbered. */
function structuredWeights(root: Group): KerasModel["weights"] {
  const top: Stored = { members: new Map() };
  const seen = new Set<Group>();
  let joined = 0;
  const read = (group: Group, into: Stored) => {
    // Links may lead back.
    if (seen.has(group)) return;
    seen.add(group);
    for (const name of group.names) {
      const found = group.get(name);
      const parts = name.split(/[\\/]/);
      joined += parts.length - 1;
      if (joined > MOST_JOINED) throw new FormatError(`${WHERE}: the names of weights have too many parts`);
      let at = into;
      for (const part of parts) {
        const next: Stored = at.members.get(part) ?? { members: new Map() };
        at.members.set(part, next);
        at = next;
      }
      if (found?.kind === "group") read(found, at);
      else if (found) at.dataset = found;
    }
  };
  read(root, top);
  const datasets = new Map<string, Dataset>();
  const groups: [string, Stored][] = [["", top]];
  for (let next = groups.pop(); next; next = groups.pop()) {
    const [path, { members, dataset }] = next;
    if (dataset) datasets.set(path, dataset);
    for (const [name, member] of members) {
      const twice = name === "_layer_checkpoint_dependencies";
      groups.push([
        `${path && `${path}/`}${twice ? "layers" : name}`,
        twice ? { members: renumbered(member.members) } : member,
      ]);
    }
  }
  return async ({ group, within }) => {
    const tensors: Tensor[] = [];
    for (const inner of within)
      for (let i = 0; ; i++) {
        const found = datasets.get(`${group}/${inner ? `${inner}/` : ""}vars/${i}`);
        if (!found) break;
        tensors.push(await found.read());
      }
    return tensors;
  };
}

/**
 * Layers from the list that Keras 2.13 and its neighbours wrote, where those with weights are in twice: the second of
 * a class is `gru_2`, not `gru_1`. Their order is the same.
 */
function renumbered(members: Map<string, Stored>): Map<string, Stored> {
  const classes = new Map<string, [number, Stored][]>();
  for (const [name, member] of members) {
    const [, base, number] = /^(.*?)(?:_(\d+))?$/s.exec(name) as RegExpExecArray;
    const found = classes.get(base) ?? [];
    classes.set(base, found);
    found.push([Number(number ?? 0), member]);
  }
  const named = new Map<string, Stored>();
  for (const [base, found] of classes)
    found
      .sort(([a], [b]) => a - b)
      .forEach(([, member], k) => {
        named.set(k ? `${base}_${k}` : base, member);
      });
  return named;
}
