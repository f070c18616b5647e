import type { AttributeValue } from "../proto.ts";
import {
  type Config,
  type Context,
  checkInitial,
  inOrder,
  type Mask,
  stateIn,
  stateOut,
  type Value,
} from "./context.ts";
import { DOMAIN, Scope } from "./scope.ts";

/**
 * Layers that ONNX has no operator for: each a call of a function of the
 * file's own, whose body is operators that every runtime has. The call says
 * what it is, so that an importer need not look into the body:
 *
 *   layer   the type of the layer     config  its options, as JSON
 *   reads   what each input is: "input", "mask", "state", "initialState", or the name of a parameter
 *   makes   what each output is: "output", "mask", "state"
 *   axes, features   of the output    units   of its states
 *   step    1 where the graph is one step of a sequence
 *
 * Calls without a layer make masks: they read "lengths", and give an "input" as it is.
 */

/** A parameter in a function. */
export interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What a body is made from: all names are those within the function. */
export interface Call {
  readonly scope: Scope;
  readonly config: Config;
  /** Sequences are [batch, time, features] throughout. */
  readonly inputs: readonly Value[];
  readonly weights: Readonly<Record<string, Weight>>;
  /** Where states begin; empty: at zero. */
  readonly initial: readonly string[];
  readonly streaming: boolean;
}

/** What comes of it. */
export interface Made {
  readonly name: string;
  /** One of an input, or of its own. */
  readonly mask?: Mask;
  /** Final states, [batch, units]. */
  readonly states?: readonly string[];
}

export type Body = (call: Call) => Made;

/** What a call says of itself, input by input and output by output. */
class Signature {
  readonly reads: string[] = [];
  readonly actual: string[] = [];
  readonly formal: string[] = [];
  readonly makes: string[] = [];
  readonly results: string[] = [];
  readonly outputs: string[] = [];

  constructor(
    private readonly inside: Scope,
    private readonly outside: Scope,
  ) {}

  /** An input, and its name inside. */
  input(what: string, actual: string, name = what): string {
    const formal = this.inside.fresh(name);
    this.reads.push(what);
    this.actual.push(actual);
    this.formal.push(formal);
    return formal;
  }

  /** An output, and its name outside. */
  output(what: string, result: string): string {
    const name = this.outside.own(what);
    this.makes.push(what);
    // A result is one output, and no input.
    const taken = this.results.includes(result) || this.formal.includes(result);
    this.results.push(taken ? this.inside.op("Identity", [result]) : result);
    this.outputs.push(name);
    return name;
  }

  /** The function, and its call. */
  write(type: string, attributes: Readonly<Record<string, AttributeValue>>): void {
    const { file, parts } = this.inside;
    const own = { ...attributes, reads: this.reads, makes: this.makes };
    const name = file.functionNames.fresh(type);
    file.functions.push({
      name,
      domain: DOMAIN,
      inputs: this.formal,
      outputs: this.results,
      attributes: Object.keys(own),
      nodes: parts,
    });
    this.outside.node(name, this.actual, this.outputs, own, DOMAIN);
  }
}

/** A layer as a call of a function with this body. */
export function call(context: Context, inputs: readonly Value[], body: Body): Value {
  checkInitial(context);
  const { scope: outside, type, config, streaming, wantsStates, layer } = context;
  const scope = Scope.function(outside.file);
  const signature = new Signature(scope, outside);
  const read = inputs.map((value) => inOrder(outside, value));
  const own = read.map((value): Value => {
    const name = signature.input("input", value.name, "x");
    if (!value.mask) return { ...value, name };
    const { right, dialect } = value.mask;
    return { ...value, name, mask: { right, dialect, name: signature.input("mask", value.mask.name) } };
  });
  const weights: Record<string, Weight> = {};
  for (const [name, tensor] of Object.entries(context.weights)) {
    const actual = outside.weight(`${context.owner}.${name}`, tensor);
    weights[name] = { name: signature.input(name, actual), shape: tensor.shape };
  }
  const units = statesOf(context);
  const initial = streaming
    ? units.map((n) => signature.input("state", stateIn(context, n)))
    : (context.initial ?? []).map(({ name }) => signature.input("initialState", name));

  const made = body({ scope, config, inputs: own, weights, initial, streaming });
  const { features, sequence } = layer.built.output;
  const name = signature.output("output", made.name);
  const states = streaming || wantsStates ? (made.states ?? []).map((state) => signature.output("state", state)) : [];
  const through = own.findIndex(({ mask }) => mask && mask === made.mask);
  const mask =
    through >= 0 ? read[through].mask : made.mask && { ...made.mask, name: signature.output("mask", made.mask.name) };
  const axes = sequence && !streaming ? 3 : 2;
  signature.write(type, {
    layer: type,
    config: JSON.stringify(config),
    axes,
    features,
    ...(states.length && { units }),
    ...(streaming && { step: 1 }),
  });
  states.forEach((state, i) => {
    if (streaming) stateOut(context, state, units[i]);
    context.states.push({ name: state, sequence: false, timeFirst: false, features: units[i] });
  });
  return { name, sequence: axes === 3, timeFirst: false, features, mask };
}

/** Units of the states of a layer; those that a convolution has are of streams alone. */
function statesOf({ layer, type, config, streaming, weights }: Context): number[] {
  if (layer.built.states) return layer.built.states.map(({ units }) => units);
  if (type !== "conv1d" || !streaming) return [];
  const { kernelSize, dilation } = config as { kernelSize: number; dilation: number };
  return [((kernelSize - 1) * dilation + 1) * weights.kernel.shape[1]];
}

/**
 * A call without a layer: masks, what operators want in their place, and inputs as they are.
 *
 * @param reads what each input is, and its name
 * @param makes what each output is
 * @param body  gives the outputs' names from those of the inputs, all within the function
 * @returns the outputs' names
 */
export function maskCall(
  outside: Scope,
  type: string,
  reads: Readonly<Record<string, string>>,
  makes: readonly string[],
  body: (scope: Scope, formal: readonly string[]) => readonly string[],
): string[] {
  const scope = Scope.function(outside.file);
  const signature = new Signature(scope, outside);
  const formal = Object.entries(reads).map(([what, actual]) => signature.input(what, actual));
  const names = body(scope, formal).map((result, i) => signature.output(makes[i], result));
  signature.write(type, {});
  return names;
}
