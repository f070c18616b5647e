import { FormatError } from "../../../core/errors.ts";
import type { Tensor } from "../../../core/tensor.ts";
import type { Json, Mask as LayerMask } from "../../../layers/layer.ts";
import type { Node } from "../../../stacks/network.ts";
import { TYPE } from "../proto.ts";
import type { Scope } from "./scope.ts";

export const WHERE = "exportModel()";

/** Which steps count, bool [batch, time], or [batch] where there is one step. Different ones are different objects. */
export interface Mask extends Pick<LayerMask, "dialect"> {
  readonly name: string;
  /** All the steps that count come before those that do not, in every row. */
  readonly right: boolean;
  /** How many those are, int32 [batch], where the graph has that. */
  readonly lengths?: string;
}

/** A tensor of the graph. Sequences are [batch, time, features], or time first where a GRU has just made them. */
export interface Value {
  readonly name: string;
  readonly sequence: boolean;
  readonly timeFirst: boolean;
  /** 0 for tokens. */
  readonly features: number;
  readonly mask?: Mask;
}

export type Config = Readonly<Record<string, Json>>;

/** A layer around another one has it as this. */
export interface Wrapped {
  readonly type: string;
  readonly config: Config;
}

/** A layer whose turn it is. */
export interface Context extends Wrapped {
  /** Of the graph; names begin with the layer's. */
  readonly scope: Scope;
  readonly layer: Node;
  /** Its parameters, by their names within the layer. */
  readonly weights: Readonly<Record<string, Tensor>>;
  /** The name that its parameters begin with. */
  readonly owner: string;
  /** One step rather than a sequence. */
  readonly streaming: boolean;
  /** The layer looks at steps: its input has a time axis, and it is not one that `timeDistributed` takes apart. */
  readonly steps: boolean;
  /** Where its states begin, where other layers or inputs of the model say so. */
  readonly initial?: readonly Value[];
  /** Something reads its final states. */
  readonly wantsStates: boolean;
  /** Those, filled in by a layer that has some. */
  readonly states: Value[];
}

/** Writes a layer as operators, or gives undefined where they cannot say all that it does. */
export type Native = (context: Context, inputs: readonly Value[]) => Value | undefined;

export function refused({ layer }: Context, what: string, instead: string): FormatError {
  return new FormatError(`${WHERE}: layer "${layer.name}": ${what}, which ONNX cannot hold; ${instead}`);
}

/** Batch before time. */
export function inOrder(scope: Scope, value: Value): Value {
  if (!value.timeFirst) return value;
  return { ...value, name: scope.op("Transpose", [value.name], { perm: [1, 0, 2] }), timeFirst: false };
}

/** The state of a streaming export as it comes in, [batch, units]. */
export function stateIn({ scope, layer }: Context, units: number): string {
  const name = scope.fresh(`${layer.name}_state`);
  scope.file.inputs.push({ name, type: TYPE.float, shape: ["batch", units] });
  return name;
}

/** The same going out. */
export function stateOut({ scope, layer }: Context, state: string, units: number): void {
  const name = scope.op("Identity", [state], {}, scope.fresh(`${layer.name}_state_out`));
  scope.file.outputs.push({ name, type: TYPE.float, shape: ["batch", units] });
}

/** @throws FormatError in a streaming export */
export function checkInitial(context: Context): void {
  if (context.streaming && context.initial)
    throw refused(context, "states from other layers in a streaming export", "export whole sequences");
}
