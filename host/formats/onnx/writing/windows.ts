import type { Json } from "../../../layers/layer.ts";
import { type AttributeValue, TYPE } from "../proto.ts";
import { applyActivation } from "./activations.ts";
import type { Body, Call } from "./call.ts";
import type { Config, Mask } from "./context.ts";
import { cleared } from "./masks.ts";
import type { Scope } from "./scope.ts";

/** Convolution and pooling over steps of which some do not count, and over those of a stream. */

interface Windows {
  readonly size: number;
  readonly strides: number;
  readonly dilation: number;
  readonly padding: string;
}

export function windowsOf({ size, kernelSize = size, strides, dilation = 1, padding }: Config): Windows {
  return { size: kernelSize, strides, dilation, padding } as Windows;
}

const span = ({ size, dilation }: Windows) => (size - 1) * dilation + 1;

/** "same" with strides: the padding depends on the number of steps. */
const depends = ({ padding, strides }: Windows) => padding === "same" && strides > 1;

/** Whether runtimes have the padding that gruvy has: in some cases they compute less than none, or refuse. */
export function isPaddedAlike(windows: Windows): boolean {
  return !depends(windows) || (windows.dilation === 1 && windows.size >= windows.strides);
}

/** Windows as attributes of Conv and of pooling. @param padded the padding is there already */
export function attributesOf(windows: Windows, padded = false): Record<string, AttributeValue> {
  const { size, strides, dilation, padding } = windows;
  const options = {
    kernel_shape: [size],
    strides: [strides],
    ...(dilation > 1 && { dilations: [dilation] }),
  };
  if (padded || padding === "valid") return options;
  if (depends(windows)) return { ...options, auto_pad: "SAME_UPPER" };
  const total = span(windows) - 1;
  const before = padding === "causal" ? total : total >> 1;
  return { ...options, pads: [before, total - before] };
}

/** x [batch, features, time] with the padding of "same" written out: host/layers/windows.ts, stepsBefore. */
function padSteps(scope: Scope, x: string, windows: Windows, value: number): string {
  const { strides } = windows;
  const [one, two, s] = [1, 2, strides].map((n) => scope.ints([n]));
  const T = scope.op("Shape", [x], { start: 2, end: 3 });
  // (⌈T / strides⌉ − 1) strides + span − T = ⌊(T − 1) / strides⌋ strides + span − T
  const last = scope.op("Mul", [scope.op("Div", [scope.op("Sub", [T, one]), s]), s]);
  const lacking = scope.op("Sub", [scope.op("Add", [last, scope.ints([span(windows)])]), T]);
  const total = scope.op("Max", [lacking, scope.ints([0])]);
  const before = scope.op("Div", [total, two]);
  const none = scope.ints([0, 0]);
  const pads = scope.op("Concat", [none, before, none, scope.op("Sub", [total, before])], { axis: 0 });
  return scope.op("Pad", [x, pads, scope.float(value)]);
}

/** [batch, time, features] to [batch, features, time], and back. */
export function turned(scope: Scope, x: string): string {
  return scope.op("Transpose", [x], { perm: [0, 2, 1] });
}

/** Of every window the step that says whether its output counts (host/layers/windows.ts). */
function windowMask(scope: Scope, mask: Mask | undefined, windows: Windows): Mask | undefined {
  const { padding, strides } = windows;
  const offset = padding === "valid" ? span(windows) - 1 : 0;
  if (!mask || (offset === 0 && strides === 1)) return mask;
  const [from, to, axis, step] = [[offset], [END], [1], [strides]].map((n) => scope.ints(n));
  return { ...mask, name: scope.op("Slice", [mask.name, from, to, axis, step]) };
}

/** Past any length. */
const END = 2 ** 31 - 1;

export const conv1d: Body = (call) => {
  const { scope, config, inputs, weights, streaming } = call;
  const [{ name: x, mask }] = inputs;
  if (streaming) return step(call);
  const windows = windowsOf(config);
  const rows = turned(scope, cleared(scope, x, mask));
  const padded = depends(windows);
  const read = padded ? padSteps(scope, rows, windows, 0) : rows;
  const kernel = scope.op("Transpose", [weights.kernel.name], { perm: [2, 1, 0] });
  const bias = weights.bias ? [weights.bias.name] : [];
  const y = turned(scope, scope.op("Conv", [read, kernel, ...bias], attributesOf(windows, padded)));
  return { name: applyActivation(scope, y, config.activation), mask: windowMask(scope, mask, windows) };
};

/** A frame of a stream: its window is the state, [batch, steps · features]. */
function step({ scope, config, inputs: [{ name: x, mask }], weights, initial }: Call) {
  const [taps, features, filters] = weights.kernel.shape;
  const dilation = config.dilation as number;
  const [from, to] = [[features], [END]].map((n) => scope.ints(n));
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
  const windows = windowsOf(config);
  const max = config.kind === "max";
  const type = `${config.global ? "Global" : ""}${max ? "Max" : "Average"}Pool`;
  const padded = depends(windows);
  const pool = (steps: string, padding: number) => {
    const read = padded ? padSteps(scope, steps, windows, padding) : steps;
    return scope.op(type, [read], config.global ? {} : attributesOf(windows, padded));
  };
  const nothing = max ? LEAST : 0;
  let y = pool(turned(scope, cleared(scope, x, mask, nothing)), nothing);
  // The share of the steps in a window that count, [batch, 1, windows].
  const share = pool(scope.op("Unsqueeze", [counting(scope, x, mask), scope.ints([1])]), 0);
  if (!max) y = scope.op("Div", [y, share]);
  y = scope.op("Where", [scope.op("Greater", [share, scope.float(0)]), y, scope.float(0)]);
  if (config.global) return { name: scope.op("Squeeze", [y, scope.ints([2])]) };
  return { name: turned(scope, y), mask: windowMask(scope, mask, windows) };
};

/** 1 for steps that count, 0 for others, [batch, time]. */
function counting(scope: Scope, x: string, mask: Mask | undefined): string {
  if (mask) return scope.op("Cast", [mask.name], { to: TYPE.float });
  const zeros = scope.op("ConstantOfShape", [scope.op("Shape", [x], { start: 0, end: 2 })]);
  return scope.op("Add", [zeros, scope.float(1)]);
}
