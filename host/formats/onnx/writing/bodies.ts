import { TYPE } from "../proto.ts";
import { applyActivation } from "./activations.ts";
import { attend } from "./attention.ts";
import type { Body } from "./call.ts";
import { backwards, bothMasks, cleared, reversed } from "./masks.ts";
import { bidirectional, recurrent } from "./recurrence.ts";
import type { Scope } from "./scope.ts";
import { conv1d, pooling1d, turned } from "./windows.ts";

export type Join = (scope: Scope, inputs: readonly string[]) => string;

/** An operator of any number of inputs, and one of two. */
const ofAll =
  (type: string): Join =>
  (scope, inputs) =>
    scope.op(type, inputs);
const ofTwo =
  (type: string): Join =>
  (scope, inputs) =>
    inputs.reduce((a, b) => scope.op(type, [a, b]));

/** What becomes of several inputs of one shape. */
export const JOINS: Readonly<Record<string, Join>> = {
  add: ofAll("Sum"),
  subtract: ofTwo("Sub"),
  multiply: ofTwo("Mul"),
  maximum: ofAll("Max"),
  minimum: ofAll("Min"),
  average: ofAll("Mean"),
};

const merged =
  (join: Join): Body =>
  ({ scope, inputs }) => {
    const names = inputs.map(({ name }) => name);
    return { name: join(scope, names), mask: bothMasks(scope, inputs) };
  };

/** The function that a layer is written as; a new one is a row here. */
export const BODIES: Readonly<Record<string, Body>> = {
  gru: recurrent("gru"),
  minGru: recurrent("minGru"),
  lightGru: recurrent("lightGru"),
  mgu: recurrent("mgu"),
  bidirectional,
  attention: attend,
  multiHeadAttention: attend,
  conv1d,
  pooling1d,

  activation: ({ scope, config, inputs: [{ name, mask }] }) => ({
    name: applyActivation(scope, name, config.activation),
    mask,
  }),

  layerNorm({ scope, config, inputs: [{ name, mask, features }], weights }) {
    const ones = scope.op("Constant", [], { value_floats: new Float32Array(features).fill(1) });
    const inputs = [name, ones, ...(weights.beta ? [weights.beta.name] : [])];
    const epsilon = { float: config.epsilon as number };
    return { name: scope.op("LayerNormalization", inputs, { axis: -1, epsilon }), mask };
  },

  embedding({ scope, inputs: [{ name, mask }], weights }) {
    const counts = scope.op("Not", [scope.op("Equal", [name, scope.op("Cast", [scope.int(0)], { to: TYPE.int32 })])]);
    return {
      name: scope.op("Gather", [weights.embeddings.name, name]),
      mask: { name: mask ? scope.op("And", [mask.name, counts]) : counts, right: false, dialect: "holes" },
    };
  },

  masking({ scope, config, inputs: [{ name, mask }] }) {
    const same = scope.op("Equal", [name, scope.float(config.maskValue as number)]);
    const others = scope.op("Cast", [scope.op("Not", [same])], { to: TYPE.float });
    const found = scope.op("ReduceSum", [others, scope.ints([-1])], { keepdims: 0 });
    const own = scope.op("Greater", [found, scope.float(0)]);
    const counts = mask ? scope.op("And", [mask.name, own]) : own;
    const after = { name: counts, right: false, dialect: "holes" } as const;
    return { name: cleared(scope, name, after), mask: after };
  },

  remask: ({ scope, config, inputs: [{ name, mask }] }) => ({
    name: scope.op("Identity", [name]),
    mask: config.to === "none" ? undefined : reversed(scope, mask),
  }),

  repeat: ({ scope, config, inputs: [{ name }] }) => ({
    name: scope.op("Tile", [scope.op("Unsqueeze", [name, scope.ints([1])]), scope.ints([1, config.n as number, 1])]),
  }),

  // 0: the batch as it is.
  reshape: ({ scope, config, inputs: [{ name }] }) => ({
    name: scope.op("Reshape", [name, scope.ints([0, ...(config.shape as number[])])]),
  }),

  transpose: ({ scope, inputs: [{ name }] }) => ({ name: turned(scope, name) }),

  // Below 0 steps are cut off here too.
  padding1d: ({ scope, config, inputs: [{ name }] }) => ({
    name: scope.op("Pad", [name, scope.ints([0, config.before as number, 0, 0, config.after as number, 0])]),
  }),

  reverse: ({ scope, inputs: [{ name, mask }] }) => ({
    name: backwards(scope, name, 1),
    mask: reversed(scope, mask),
  }),

  ...Object.fromEntries(Object.entries(JOINS).map(([type, join]) => [type, merged(join)])),

  concatenate({ scope, config, inputs }) {
    const inTime = config.axis === 1 && inputs[0].sequence;
    const join = (names: readonly string[], axis: number) => scope.op("Concat", names, { axis });
    const name = join(
      inputs.map((value) => value.name),
      inTime ? 1 : -1,
    );
    if (!inTime) return { name, mask: bothMasks(scope, inputs) };
    if (!inputs.some(({ mask }) => mask)) return { name };
    // All steps of inputs without a mask count.
    const masks = inputs.map((value) => {
      if (value.mask) return value.mask.name;
      const zeros = scope.op("ConstantOfShape", [scope.op("Shape", [value.name], { start: 0, end: 2 })]);
      return scope.op("Equal", [zeros, scope.float(0)]);
    });
    return { name, mask: { name: join(masks, 1), right: false, dialect: "holes" } };
  },
};
