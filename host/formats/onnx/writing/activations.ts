import type { Json } from "../../../layers/layer.ts";
import type { AttributeValue } from "../proto.ts";
import type { Scope } from "./scope.ts";

/** Activations of gruvy as ONNX has them: functions of its GRU, and operators. */

interface Named {
  readonly name: string;
  readonly alpha: number;
  readonly beta: number;
}

/**
 * Where the config leaves them out. The table of host/layers/activations.ts,
 * written again: shared, it would be a chunk of its own, 250 bytes for every page.
 */
const DEFAULTS: Readonly<Record<string, { alpha?: number; beta?: number }>> = {
  hardSigmoid: { alpha: 1 / 6, beta: 0.5 },
  hardSigmoid02: { alpha: 0.2, beta: 0.5 },
  leakyRelu: { alpha: 0.01 },
  elu: { alpha: 1 },
  hardtanh: { alpha: -1, beta: 1 },
  affine: { alpha: 1, beta: 0 },
  scaledTanh: { alpha: 1, beta: 1 },
  thresholdedRelu: { alpha: 1 },
  clippedSigmoid: { alpha: 1 },
  clippedTanh: { alpha: 1 },
};

function resolve(activation: Json): Named {
  const { name, alpha, beta } = (typeof activation === "string" ? { name: activation } : activation) as {
    name: string;
    alpha?: number;
    beta?: number;
  };
  return { name, alpha: alpha ?? DEFAULTS[name]?.alpha ?? 0, beta: beta ?? DEFAULTS[name]?.beta ?? 0 };
}

/** A GRU's function, and which of alpha and beta it takes. */
const FUNCTIONS: Readonly<Record<string, { name: string; alpha?: true; beta?: true }>> = {
  tanh: { name: "Tanh" },
  sigmoid: { name: "Sigmoid" },
  clippedTanh: { name: "Tanh" },
  clippedSigmoid: { name: "Sigmoid" },
  relu: { name: "Relu" },
  hardSigmoid: { name: "HardSigmoid", alpha: true, beta: true },
  hardSigmoid02: { name: "HardSigmoid", alpha: true, beta: true },
  leakyRelu: { name: "LeakyRelu", alpha: true },
  elu: { name: "Elu", alpha: true },
  softsign: { name: "Softsign" },
  softplus: { name: "Softplus" },
  affine: { name: "Affine", alpha: true, beta: true },
  linear: { name: "Affine", alpha: true, beta: true },
  scaledTanh: { name: "ScaledTanh", alpha: true, beta: true },
  thresholdedRelu: { name: "ThresholdedRelu", alpha: true },
};

/**
 * The attributes of a GRU node that say what its activations are.
 *
 * @param activations of gate and candidate, for each direction
 * @returns undefined for those that a GRU node does not have
 */
export function gruActivations(activations: readonly Json[]): Record<string, AttributeValue> | undefined {
  const all = activations.map(resolve);
  if (all.every(({ name }, i) => name === (i % 2 ? "tanh" : "sigmoid"))) return {};
  // A GRU node clips what goes into all of its activations, or into none.
  const clips = new Set(all.map(({ name, alpha }) => (name.startsWith("clipped") ? alpha : undefined)));
  if (clips.size > 1 || !all.every(({ name }) => Object.hasOwn(FUNCTIONS, name))) return undefined;
  const [clip] = clips;
  // 0 is none in a file.
  if (clip !== undefined && !(clip > 0)) return undefined;
  const alphas: number[] = [];
  const betas: number[] = [];
  for (const { name, alpha, beta } of all) {
    if (FUNCTIONS[name].alpha) alphas.push(name === "linear" ? 1 : alpha);
    if (FUNCTIONS[name].beta) betas.push(name === "linear" ? 0 : beta);
  }
  return {
    activations: all.map(({ name }) => FUNCTIONS[name].name),
    ...(alphas.length && { activation_alpha: Float32Array.from(alphas) }),
    ...(betas.length && { activation_beta: Float32Array.from(betas) }),
    ...(clip !== undefined && { clip: { float: clip } }),
  };
}

/** Operators of one input; `alpha` and `beta` become attributes. */
const OPERATORS: Readonly<Record<string, { type: string; attributes?: readonly ("alpha" | "beta")[] }>> = {
  tanh: { type: "Tanh" },
  sigmoid: { type: "Sigmoid" },
  relu: { type: "Relu" },
  selu: { type: "Selu" },
  softplus: { type: "Softplus" },
  softsign: { type: "Softsign" },
  hardSigmoid: { type: "HardSigmoid", attributes: ["alpha", "beta"] },
  hardSigmoid02: { type: "HardSigmoid", attributes: ["alpha", "beta"] },
  leakyRelu: { type: "LeakyRelu", attributes: ["alpha"] },
  elu: { type: "Elu", attributes: ["alpha"] },
  thresholdedRelu: { type: "ThresholdedRelu", attributes: ["alpha"] },
};

/** Those that an importer knows again by their operators; others are written as functions. */
export function isPlain(activation: Json): boolean {
  const { name } = resolve(activation);
  return (
    Object.hasOwn(OPERATORS, name) || ["linear", "softmax", "logSoftmax", "gelu", "silu", "hardtanh"].includes(name)
  );
}

/** Adds an activation. @returns the name of its output */
export function applyActivation(scope: Scope, x: string, activation: Json): string {
  const { name, alpha, beta } = resolve(activation);
  const op = (type: string, inputs: readonly string[], attributes?: Record<string, AttributeValue>) =>
    scope.op(type, inputs, attributes);
  const clip = (low: number, high: number) => op("Clip", [x, scope.float(low), scope.float(high)]);
  if (Object.hasOwn(OPERATORS, name)) {
    const { type, attributes = [] } = OPERATORS[name];
    const values = { alpha, beta };
    return op(type, [x], Object.fromEntries(attributes.map((key) => [key, { float: values[key] }])));
  }
  switch (name) {
    case "linear":
      return x;
    case "softmax":
      return op("Softmax", [x], { axis: -1 });
    case "logSoftmax":
      return op("LogSoftmax", [x], { axis: -1 });
    case "gelu":
      scope.file.opset = 20;
      return op("Gelu", [x]);
    case "silu":
      return op("Mul", [x, op("Sigmoid", [x])]);
    case "logSigmoid":
      // -ln(1 + e^-x): the logarithm of a sigmoid would be that of 0 far below.
      return op("Neg", [op("Softplus", [op("Neg", [x])])]);
    case "linearSigmoid":
      return op("Where", [op("Less", [x, scope.float(0)]), op("Sigmoid", [x]), op("Add", [x, scope.float(0.5)])]);
    case "hardtanh":
      return clip(alpha, beta);
    case "affine":
      return op("Add", [op("Mul", [x, scope.float(alpha)]), scope.float(beta)]);
    case "scaledTanh":
      return op("Mul", [op("Tanh", [op("Mul", [x, scope.float(beta)])]), scope.float(alpha)]);
    case "clippedSigmoid":
      return op("Sigmoid", [clip(-alpha, alpha)]);
    case "clippedTanh":
      return op("Tanh", [clip(-alpha, alpha)]);
    default:
      throw new RangeError(`an activation without operators: ${name}`);
  }
}
