import { test } from "uvu";
import * as assert from "uvu/assert";
import { toOnnx } from "../../../../../host/formats/onnx/export.ts";
import { type AttributeValue, initializer, node, TYPE, writeModel } from "../../../../../host/formats/onnx/proto.ts";
import {
  FormatError,
  graph,
  gru,
  input,
  loadModel,
  masking,
  subtract,
  type Tensor,
} from "../../../../../host/index.ts";
import { uniform } from "../../../../kit/core.ts";
import { randomTensor, refuses } from "../../../../kit/models.ts";

/** Calls of gruvy's functions, read by what they say: the functions themselves are for other programs. */

interface Changes {
  inputs?: string[];
  outputs?: string[];
  attributes?: Record<string, AttributeValue>;
  config?: string | Record<string, unknown>;
  shape?: (number | string)[];
}

const config = { units: 4, returnSequences: true };

/** A minGru of four units on "x", with what differs from that. */
function file({ inputs, outputs, attributes, shape, ...changes }: Changes = {}): Uint8Array<ArrayBuffer> {
  const given = changes.config ?? config;
  const own: Record<string, AttributeValue> = {
    layer: "minGru",
    config: typeof given === "string" ? given : JSON.stringify(given),
    axes: 3,
    features: 4,
    reads: ["input", "kernel", "bias"],
    makes: ["output"],
    ...attributes,
  };
  const call = node("cell", "own/cell", inputs ?? ["x", "K", "b"], outputs ?? ["y"], own, "gruvy");
  const numbers = [initializer("K", [3, 8], uniform(24, 1)), initializer("b", [8], uniform(8, 2))];
  const x = { name: "x", type: TYPE.float, shape: shape ?? ["batch", "time", 3] };
  return writeModel("test", 17, [call, ...numbers], [x], [{ name: "y", type: TYPE.float, shape: ["batch", null, 4] }]);
}

test("a call is the layer that it says, with its weights by their names", async () => {
  const model = await loadModel(file());
  assert.equal(Object.keys(model.weights()), ["own.kernel", "own.bias"]);
  assert.equal(model.weights()["own.kernel"].data, uniform(24, 1));
  const y = (await model.predict(randomTensor([2, 5, 3], 1))) as Tensor;
  assert.equal(y.shape, [2, 5, 4]);
  model.dispose();
});

const reads = (...names: string[]) => ({ reads: names });
const deep = `{"layer":`.repeat(20000) + "{}" + "}".repeat(20000);

test("a call that does not say what it is, or says it wrongly, is refused by its node", async () => {
  const cases: [Changes, RegExp][] = [
    [{ config: "{" }, /cell node "own\/cell": expected a config, an object of JSON/],
    [{ config: "[]" }, /expected a config/],
    [{ config: deep }, /expected a config/],
    [{ config: {} }, /cell node "own\/cell": minGru\(\): "units" must be .*, got undefined/],
    [{ config: { ...config, unit: 3 } }, /cell node "own\/cell": minGru\(\): unknown option "unit"/],
    [{ attributes: { layer: "lstm" } }, /cell node "own\/cell": unknown layer type "lstm"/],
    [{ attributes: { layer: "toString" } }, /unknown layer type "toString"/],
    [{ attributes: { layer: "activation" }, config: {} }, /activation\(\): "activation" is not an activation/],
    [{ attributes: reads("input", "kernel") }, /does not say what each input and output is/],
    [{ attributes: { makes: ["output", "state"] } }, /does not say what each input and output is/],
    [{ attributes: { makes: ["outputs"] } }, /makes "outputs"/],
    [{ attributes: reads("kernel", "input", "bias") }, /input 0 is data .*; expected numbers that the file has/],
    [{ attributes: reads("input", "kernel", "mask") }, /its mask is numbers \[8\]/],
    [{ attributes: reads("input", "kernel", "state") }, /input 2 is numbers \[8\]; expected data/],
    [{ attributes: reads("input", "kernel", "lengths") }, /input 2 is numbers/],
    [{ attributes: { ...reads("input", "input", "bias") } }, /input 1 is numbers/],
    [{ attributes: reads("x", "kernel", "bias"), inputs: ["K", "K", "b"] }, /reads no data/],
    [{ shape: ["batch", 3] }, /expected input \[batch, time, features\]/],
    [{ shape: ["a", "b", "c", 3] }, /cell node "own\/cell": reads data/],
    // The layer makes other shapes than the file has.
    [{ config: { ...config, units: 5 } }, /"own.kernel": expected \[3, 10\], got \[3, 8\]/],
    [{ config: { ...config, useBias: false } }, /"own.bias" is of no use to its layer/],
    [{ attributes: reads("input", "kernel", "shift") }, /"own.bias" \[8\] is missing/],
    [{ config: { ...config, units: 65536 } }, /"own.kernel": expected \[3, 131072\], got \[3, 8\]/],
  ];
  for (const [changes, message] of cases) await refuses(() => loadModel(file(changes)), FormatError, message);
});

test("a step whose state is read, and is not its output, is refused: gruvy has one of them there", async () => {
  const x = input([null, 3]);
  const options = { returnSequences: true, returnState: true, zeroOutputForMask: true } as const;
  const [y, state] = gru(3, options)(masking()(x));
  const model = await graph({ inputs: x, outputs: subtract()([gru(3)(y), state]) });
  await refuses(() => loadModel(toOnnx(model, { streaming: true })), FormatError, /gru node "gru\/gru": a step whose/);
  model.dispose();
});

test.run();
