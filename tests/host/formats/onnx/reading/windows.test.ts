import { test } from "uvu";
import { FormatError, loadModel, type Model, type Tensor } from "../../../../../host/index.ts";
import { close, uniform } from "../../../../kit/core.ts";
import { randomTensor, refuses } from "../../../../kit/models.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../../../../kit/onnx.ts";

/** Convolutions in every way that ONNX has, against one that is written as its definition. */

const [B, T, F, N] = [2, 7, 4, 6];
const x = randomTensor([B, F, T], 1);

interface Conv {
  readonly size: number;
  readonly group?: number;
  readonly strides?: number;
  readonly dilations?: number;
  readonly pads?: readonly [number, number];
}

function reference(
  { size, group = 1, strides = 1, dilations = 1, pads = [0, 0] }: Conv,
  kernel: Float32Array,
): number[] {
  const [steps, per] = [Math.floor((T + pads[0] + pads[1] - (size - 1) * dilations - 1) / strides) + 1, F / group];
  const y: number[] = [];
  for (let b = 0; b < B; b++)
    for (let t = 0; t < steps; t++)
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let i = 0; i < per; i++)
          for (let k = 0; k < size; k++) {
            const at = t * strides - pads[0] + k * dilations;
            const from = Math.floor(n / (N / group)) * per + i;
            if (at >= 0 && at < T) sum += kernel[(n * per + i) * size + k] * x.data[(b * F + from) * T + at];
          }
        y.push(sum);
      }
  return y;
}

test("any padding, strides, dilations and groups", async () => {
  const cases: Conv[] = [
    { size: 3 },
    { size: 3, pads: [1, 1] },
    { size: 3, pads: [2, 0] },
    { size: 3, pads: [0, 2] },
    { size: 4, pads: [3, 2], strides: 2 },
    { size: 5, pads: [2, 2], strides: 3 },
    { size: 2, pads: [5, 0], dilations: 3 },
    { size: 3, pads: [2, 2], dilations: 2, group: 2 },
    { size: 1, strides: 2 },
  ];
  for (const one of cases) {
    const { size, group = 1, strides = 1, dilations = 1, pads = [0, 0] } = one;
    const kernel = uniform(N * (F / group) * size, 2);
    const attributes = { group, strides: [strides], dilations: [dilations], pads: [...pads], kernel_shape: [size] };
    const file = onnxFile([["Conv", ["x", "K"], ["y"], attributes]], { K: [[N, F / group, size], kernel] }, ["batch", F, "time"]);
    const model = (await loadModel(file)) as Model<Tensor>;
    // gruvy's rows are [batch, time, features].
    const turned = new Float32Array(x.data.length);
    for (let b = 0; b < B; b++)
      for (let i = 0; i < F; i++) for (let t = 0; t < T; t++) turned[(b * T + t) * F + i] = x.data[(b * F + i) * T + t];
    const y = await model.predict({ shape: [B, T, F], data: turned });
    // Sums of some 20 products in float32.
    close(y.data, reference(one, kernel), 1e-6, JSON.stringify(one));
    model.dispose();
  } // biome-ignore format: loops over elements
});

test("what windows cannot do is refused, with the node", async () => {
  const numbers: NumbersOf = {
    K: [[N, F, 3], uniform(N * F * 3, 1)],
    square: [[N, F, 3, 3], uniform(N * F * 9, 1)],
    pads: [[6], [0, 0, 1, 0, 0, 1]],
    features: [[6], [0, 1, 0, 0, 0, 0]],
    less: [[6], [0, 0, -1, 0, 0, 0]],
  };
  const cases: [NodeOf[], RegExp, (number | string)[]?][] = [
    [[["Conv", ["x", "square"], ["y"]]], /windows \[3,3\] over data .*expected windows over one axis, time/, ["batch", F, 9, 9]],
    [[["Conv", ["x", "K"], ["y"], { group: 5 }]], /5 groups of 6 filters/],
    [[["Conv", ["x", "K"], ["y"], { pads: [1, -1] }]], /pads \[1,-1\]; expected 0 or more/],
    [[["Conv", ["x", "K"], ["y"], { auto_pad: "SAME_LOWER", strides: [2] }]], /padding SAME_LOWER/],
    [[["Conv", ["x", "K"], ["y"], { strides: [1, 1] }]], /strides \[1,1\] for windows over 1 axes/],
    [[["MaxPool", ["x"], ["y"], { kernel_shape: [3], ceil_mode: 1 }]], /ceil_mode/],
    [[["AveragePool", ["x"], ["y"], { kernel_shape: [4], pads: [1, 1] }]], /padding of 1,1 steps that do not count/],
    [[["Pad", ["x", "pads"], ["y"], { mode: "reflect" }]], /padding of mode reflect; expected constant/],
    [[["Pad", ["x", "less"], ["y"]]], /expected steps before or after a sequence/],
    [[["ConvTranspose", ["x", "K"], ["y"]]], /ConvTranspose node .*no layer of gruvy does this/],
  ]; // biome-ignore format: a table
  for (const [nodes, message, shape = ["batch", F, "time"]] of cases)
    await refuses(() => loadModel(onnxFile(nodes, numbers, shape)), FormatError, message);
});

test.run();
