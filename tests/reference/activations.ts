import { normal, sigmoid, softplus } from "./math.ts";

export const SELU_SCALE = 1.0507009873554805;
export const SELU_ALPHA = 1.6732632423543772;

export type Kind = {
  name: string;
  value(x: number, alpha: number, beta: number): number;
  slope(x: number, alpha: number, beta: number): number;
  alpha?: number;
  beta?: number;
};

/** In the order of `Activation`, PyTorch's definitions and its choice of slope at the kinks. */
export const activations: Kind[] = [
  { name: "linear", value: (x) => x, slope: () => 1 },
  { name: "tanh", value: Math.tanh, slope: (x) => 1 - Math.tanh(x) ** 2 },
  { name: "sigmoid", value: sigmoid, slope: (x) => sigmoid(x) * sigmoid(-x) },
  {
    name: "hardSigmoid",
    value: (x, a, b) => Math.min(Math.max(a * x + b, 0), 1),
    slope: (x, a, b) => (a * x + b > 0 && a * x + b < 1 ? a : 0),
    alpha: 0.25,
    beta: 0.5,
  },
  { name: "relu", value: (x) => Math.max(x, 0), slope: (x) => (x > 0 ? 1 : 0) },
  { name: "leakyRelu", value: (x, a) => (x > 0 ? x : a * x), slope: (x, a) => (x > 0 ? 1 : a), alpha: 0.125 },
  {
    name: "elu",
    value: (x, a) => (x > 0 ? x : a * Math.expm1(x)),
    slope: (x, a) => (x > 0 ? 1 : a * Math.exp(x)),
    alpha: 1.5,
  },
  {
    name: "selu",
    value: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    slope: (x) => SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * Math.exp(x)),
  },
  {
    name: "gelu",
    value: (x) => x * normal(x),
    slope: (x) => normal(x) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI),
  },
  {
    name: "silu",
    value: (x) => x * sigmoid(x),
    slope: (x) => sigmoid(x) * (1 + x * sigmoid(-x)),
  },
  { name: "softplus", value: softplus, slope: sigmoid },
  { name: "softsign", value: (x) => x / (1 + Math.abs(x)), slope: (x) => (1 + Math.abs(x)) ** -2 },
  {
    name: "hardtanh",
    value: (x, a, b) => Math.min(Math.max(x, a), b),
    slope: (x, a, b) => (x > a && x < b ? 1 : 0),
    alpha: -1,
    beta: 2,
  },
  { name: "logSigmoid", value: (x) => -softplus(-x), slope: (x) => sigmoid(-x) },
  {
    name: "linearSigmoid",
    value: (x) => (x >= 0 ? x + 0.5 : sigmoid(x)),
    slope: (x) => (x >= 0 ? 1 : sigmoid(x) * sigmoid(-x)),
  },
  { name: "affine", value: (x, a, b) => a * x + b, slope: (_, a) => a, alpha: 0.5, beta: 0.25 },
  {
    name: "scaledTanh",
    value: (x, a, b) => a * Math.tanh(b * x),
    slope: (x, a, b) => a * b * (1 - Math.tanh(b * x) ** 2),
    alpha: 1.25,
    beta: 0.75,
  },
  {
    name: "thresholdedRelu",
    value: (x, a) => (x > a ? x : 0),
    slope: (x, a) => (x > a ? 1 : 0),
    alpha: 0.5,
  },
  {
    name: "clippedSigmoid",
    value: (x, a) => sigmoid(Math.min(Math.max(x, -a), a)),
    slope: (x, a) => (Math.abs(x) < a ? sigmoid(x) * sigmoid(-x) : 0),
    alpha: 1.5,
  },
  {
    name: "clippedTanh",
    value: (x, a) => Math.tanh(Math.min(Math.max(x, -a), a)),
    slope: (x, a) => (Math.abs(x) < a ? 1 - Math.tanh(x) ** 2 : 0),
    alpha: 0.75,
  },
];
