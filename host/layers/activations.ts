import { OptionError } from "../core/errors.ts";
import { shown, suggestion } from "../core/options.ts";
import type { Json } from "./layer.ts";

/**
 * The activations, by the numbers that the kernels know them by
 * (assembly/activations.ts), with PyTorch's definitions and defaults.
 */

/** A name, or a name with its parameters: `{ name: "leakyRelu", alpha: 0.2 }`. */
export type Activation =
  | ActivationName
  | { readonly name: ActivationName; readonly alpha?: number; readonly beta?: number };

interface Row {
  readonly kind: number;
  readonly alpha: number;
  readonly beta: number;
  /** Backward needs the input too, not only the output. */
  readonly needsInput?: boolean;
}

const TABLE = {
  linear: { kind: 0, alpha: 0, beta: 0 },
  tanh: { kind: 1, alpha: 0, beta: 0 },
  sigmoid: { kind: 2, alpha: 0, beta: 0 },
  /** x/6 + 0.5, cut to [0, 1]: Keras 3, PyTorch. */
  hardSigmoid: { kind: 3, alpha: 1 / 6, beta: 0.5 },
  /** 0.2x + 0.5, cut to [0, 1]: Keras 1 and 2, TensorFlow.js, ONNX's default. */
  hardSigmoid02: { kind: 3, alpha: 0.2, beta: 0.5 },
  relu: { kind: 4, alpha: 0, beta: 0 },
  leakyRelu: { kind: 5, alpha: 0.01, beta: 0 },
  elu: { kind: 6, alpha: 1, beta: 0 },
  selu: { kind: 7, alpha: 0, beta: 0 },
  gelu: { kind: 8, alpha: 0, beta: 0, needsInput: true },
  silu: { kind: 9, alpha: 0, beta: 0, needsInput: true },
  softplus: { kind: 10, alpha: 0, beta: 0 },
  softsign: { kind: 11, alpha: 0, beta: 0 },
  hardtanh: { kind: 12, alpha: -1, beta: 1 },
  logSigmoid: { kind: 13, alpha: 0, beta: 0 },
  /** x + 0.5 from 0 on, sigmoid below: what keeps minGRU's candidate positive (Feng et al. 2024, appendix B). */
  linearSigmoid: { kind: 14, alpha: 0, beta: 0 },
  // ONNX's, with its defaults. Its GRU may also clip what goes into an activation, to [-alpha, alpha].
  affine: { kind: 15, alpha: 1, beta: 0 },
  scaledTanh: { kind: 16, alpha: 1, beta: 1, needsInput: true },
  thresholdedRelu: { kind: 17, alpha: 1, beta: 0 },
  clippedSigmoid: { kind: 18, alpha: 1, beta: 0 },
  clippedTanh: { kind: 19, alpha: 1, beta: 0 },
} as const satisfies Record<string, Row>;

export type ElementwiseName = keyof typeof TABLE;
export type ActivationName = ElementwiseName | "softmax" | "logSoftmax";

/** An activation as the kernels take it. */
export interface ResolvedActivation extends Row {
  readonly name: ActivationName;
  /** As it is saved. */
  readonly config: Json;
}

const SOFTMAX: Row = { kind: -1, alpha: 0, beta: 0 };

/**
 * @param rows also allow softmax and logSoftmax, which work on whole rows
 * @throws OptionError for unknown names, with the nearest known one
 */
export function resolveActivation(where: string, option: string, value: unknown, rows: boolean): ResolvedActivation {
  const table: Record<string, Row> = rows ? { ...TABLE, softmax: SOFTMAX, logSoftmax: SOFTMAX } : TABLE;
  const given: { name?: unknown; alpha?: unknown; beta?: unknown } =
    typeof value === "object" && value !== null ? value : { name: value };
  const { name } = given;
  if (typeof name !== "string" || !Object.hasOwn(table, name))
    throw new OptionError(
      `${where}: "${option}" is not an activation: ${shown(name)}` +
        (typeof name === "string" ? suggestion(name, Object.keys(table)) : `; known: ${Object.keys(table).join(", ")}`),
    );
  for (const key of Object.keys(given))
    if (!["name", "alpha", "beta"].includes(key))
      throw new OptionError(`${where}: "${option}": unknown option "${key}"${suggestion(key, ["alpha", "beta"])}`);
  for (const key of ["alpha", "beta"] as const)
    if (given[key] !== undefined && !Number.isFinite(given[key]))
      throw new OptionError(`${where}: "${option}": "${key}" must be a finite number, got ${shown(given[key])}`);
  const row = table[name];
  const alpha = (given.alpha as number | undefined) ?? row.alpha;
  const beta = (given.beta as number | undefined) ?? row.beta;
  const plain = alpha === row.alpha && beta === row.beta;
  return { ...row, name: name as ActivationName, alpha, beta, config: plain ? name : { name, alpha, beta } };
}
