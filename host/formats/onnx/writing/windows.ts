import type { Json } from "../../../layers/layer.ts";
import type { AttributeValue } from "../proto.ts";
import { applyActivation } from "./activations.ts";
import type { Body, Call } from "./call.ts";
import type { Config, Mask } from "./context.ts";
import { cleared, ofFeatures } from "./masks.ts";
import type { Scope } from "./scope.ts";

/** Convolution and pooling over steps of which some do not count, and over those of a stream. */

type Attributes = Record<string, AttributeValue>;

/** A convolution's windows as attributes of Conv. */
export function convWindows(config: Config): Attributes {
  const { kernelSize, padding, strides, dilation } = config as Config & Record<"kernelSize" | "dilation", number>;
  const total = (kernelSize - 1) * dilation;
  const half = total >> 1;
  const options = { kernel_shape: [kernelSize], strides: [strides as number], dilations: [dilation] };
  if (padding === "same" && (strides as number) > 1) return { ...options, auto_pad: "SAME_UPPER" };
  return {
    ...options,
    pads: padding === "causal" ? [total, 0] : padding === "same" ? [half, total - half] : [0, 0],
  };
}

/** The same of pooling. */
export function poolWindows({ size, strides, padding }: Config): Attributes {
  const options = { kernel_shape: [size as number], strides: [strides as number] };
  return padding === "same" ? { ...options, auto_pad: "SAME_UPPER" } : options;
}

/** [batch, time, features] to [batch, features, time], and back. */
export function turned(scope: Scope, x: string): string {
  return scope.op("Transpose", [x], { perm: [0, 2, 1] });
}

/** Of every window the step that says whether its output counts (host/layers/windows.ts). */
function windowMask(scope: Scope, mask: Mask | undefined, offset: number, strides: number): Mask | undefined {
  if (!mask || (offset === 0 && strides === 1)) return mask;
  const [from, to, axis, step] = [[offset], [2 ** 31 - 1], [1], [strides]].map((n) => scope.ints(n));
  return { ...mask, name: scope.op("Slice", [mask.name, from, to, axis, step]) };
}

export const conv1d: Body = (call) => {
  const { scope, config, inputs, weights, streaming } = call;
  const [{ name: x, mask }] = inputs;
  if (streaming) return step(call);
  const { padding, strides, kernelSize, dilation } = config as { [name: string]: number | string };
  const read = turned(scope, cleared(scope, x, mask));
  const kernel = scope.op("Transpose", [weights.kernel.name], { perm: [2, 1, 0] });
  const bias = weights.bias ? [weights.bias.name] : [];
  const y = turned(scope, scope.op("Conv", [read, kernel, ...bias], convWindows(config)));
  const offset = padding === "valid" ? ((kernelSize as number) - 1) * (dilation as number) : 0;
  return {
    name: applyActivation(scope, y, config.activation),
    mask: windowMask(scope, mask, offset, strides as number),
  };
};

/** A frame of a stream: its window is the state, [batch, steps · features]. */
function step({ scope, config, inputs: [{ name: x, mask }], weights, initial }: Call) {
  const [taps, features, filters] = weights.kernel.shape;
  const dilation = config.dilation as number;
  const [from, to] = [[features], [2 ** 31 - 1]].map((n) => scope.ints(n));
  const kept = scope.op("Slice", [initial[0], from, to, scope.ints([1])]);
  const state = scope.op("Concat", [kept, cleared(scope, x, mask)], { axis: 1 });
  const steps = (taps - 1) * dilation + 1;
  const frames = scope.op("Reshape", [state, scope.ints([-1, steps, features])]);
  const seen = scope.op("Slice", [frames, scope.ints([0]), to, scope.ints([1]), scope.ints([dilation])]);
  const window = scope.op("Reshape", [seen, scope.ints([-1, taps * features])]);
  const kernel = scope.op("Reshape", [weights.kernel.name, scope.ints([taps * features, filters])]);
  const product = scope.op("MatMul", [window, kernel]);
  const y = weights.bias ? scope.op("Add", [product, weights.bias.name]) : product;
  return { name: applyActivation(scope, y, config.activation as Json), mask, states: [state] };
}

/** Less than any number that is there. */
const LEAST = -3.4e38;

export const pooling1d: Body = ({ scope, config, inputs: [{ name: x, mask }], streaming }) => {
  // The windows of a stream are single steps.
  if (streaming) return { name: mask ? cleared(scope, x, mask) : scope.op("Identity", [x]), mask };
  const { kind, global, padding, size, strides } = config;
  const max = kind === "max";
  const type = `${global ? "Global" : ""}${max ? "Max" : "Average"}Pool`;
  const pool = (given: string) => scope.op(type, [turned(scope, given)], global ? {} : poolWindows(config));
  let y = pool(cleared(scope, x, mask, max ? LEAST : 0));
  if (mask) {
    // The share of the steps that count, [batch, 1, windows].
    const share = pool(scope.op("Cast", [ofFeatures(scope, mask)], { to: 1 }));
    const any = scope.op("Greater", [share, scope.float(0)]);
    y = scope.op("Where", [any, max ? y : scope.op("Div", [y, share]), scope.float(0)]);
  }
  if (global) return { name: scope.op("Squeeze", [y, scope.ints([2])]) };
  const offset = padding === "valid" ? (size as number) - 1 : 0;
  return { name: turned(scope, y), mask: windowMask(scope, mask, offset, strides as number) };
};
