import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import type { Config } from "./config.ts";

/** Where a tensor of a functional model comes from: the n-th call of a layer, and which of its results. */
export interface History {
  readonly layer: string;
  readonly node: number;
  readonly tensor: number;
}

/** One call of a layer. */
export interface Inbound {
  readonly inputs: readonly History[];
  /** Where a recurrent layer begins. */
  readonly states: readonly History[];
  /** Arguments that are options of the layer in gruvy: use_causal_mask. */
  readonly options: Config;
  /** Arguments by position that come from no layer. */
  readonly rest: readonly unknown[];
}

const WHERE = "loadModel()";

/** Levels of lists and records around tensors. */
const DEEPEST = 8;

/** Arguments that say nothing about the result of a model that runs. */
const IDLE = ["training", "mask", "return_attention_scores"];

/**
 * The calls of a layer, in any of the forms that Keras has had:
 *
 *   1, 2    [[["x", 0, 0, { initial_state: ["h", 0, 0] }], ["h", 0, 0, {}]], ...]
 *   2 also  [["x", 0, 0, {}], ...], a call each
 *   3       [{ args: [tensor, [tensor]], kwargs: { initial_state: tensor } }, ...]
 */
export function readInbound(nodes: unknown, name: string): Inbound[] {
  if (!Array.isArray(nodes)) throw new FormatError(`${WHERE}: layer ${shown(name)} without its inbound_nodes`);
  return nodes.map((node) => {
    if (isRecord(node))
      return fromArguments(Array.isArray(node.args) ? node.args : [], isRecord(node.kwargs) ? node.kwargs : {}, name);
    if (!Array.isArray(node)) throw new FormatError(`${WHERE}: layer ${shown(name)}: a call that is ${shown(node)}`);
    const calls = isHistory(node) ? [node] : node;
    const kwargs = calls.map((call: unknown) => (Array.isArray(call) && isRecord(call[3]) ? call[3] : {}));
    return fromArguments(
      calls.map((call: unknown) => (Array.isArray(call) ? call.slice(0, 3) : call)),
      Object.assign({}, ...kwargs),
      name,
    );
  });
}

function fromArguments(args: readonly unknown[], kwargs: Config, name: string): Inbound {
  const { initial_state, inputs, sequences, query, value, key, ...others } = kwargs;
  for (const [option, given] of Object.entries(others))
    if (histories(given).length > 0)
      throw new FormatError(
        `${WHERE}: layer ${shown(name)}: its argument ${shown(option)} comes from a layer; gruvy has it from none`,
      );
  const read = [...args, inputs, sequences, query, value, key].flatMap((arg) => histories(arg));
  if (read.length === 0)
    throw new FormatError(`${WHERE}: layer ${shown(name)} is called on nothing that a layer gives`);
  const options = Object.fromEntries(Object.entries(others).filter(([option]) => !IDLE.includes(option)));
  const rest = args.filter((arg) => histories(arg).length === 0);
  return { inputs: read, states: histories(initial_state), options, rest };
}

/** ["x", 0, 0], with or without arguments after it. */
function isHistory(value: unknown): value is [string, number, number] {
  return Array.isArray(value) && typeof value[0] === "string" && isIndex(value[1]) && isIndex(value[2]);
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 1e6;
}

/** All tensors in an argument, in order. */
function histories(value: unknown, depth = 0): History[] {
  if (depth > DEEPEST) return [];
  if (isHistory(value)) return [{ layer: value[0], node: value[1], tensor: value[2] }];
  if (Array.isArray(value)) return value.flatMap((inner) => histories(inner, depth + 1));
  if (!isRecord(value)) return [];
  if (value.class_name !== "__keras_tensor__")
    return Object.values(value).flatMap((inner) => histories(inner, depth + 1));
  return isRecord(value.config) && isHistory(value.config.keras_history) ? histories(value.config.keras_history) : [];
}

/** `input_layers`, `output_layers`: a list, one alone, or a record of them. */
export function readTerminals(value: unknown, what: string): History[] {
  const found = histories(value);
  if (found.length === 0) throw new FormatError(`${WHERE}: a functional model without "${what}"`);
  return found;
}
