import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type ExportFormat,
  exportModel,
  fromKeras,
  fromPyTorch,
  type OnnxExportOptions,
} from "../../../host/formats/index.ts";
import {
  dense,
  graph,
  gru,
  input,
  loadModel,
  type Model,
  OptionError,
  quantize,
  StateError,
  sequential,
  type Tensor,
} from "../../../host/index.ts";
import { refuses, sameTensors } from "../../kit/models.ts";

const stack = await sequential([gru(3), dense(2)], { inputShape: [null, 4], seed: 1 });

test("models of any outputs go out, and what comes back is what was asked for, without a cast", async () => {
  const x = input([null, 4]);
  const both = await graph({ inputs: x, outputs: { a: dense(3)(x), b: dense(2)(gru(3)(x)) }, seed: 1 });
  const streaming: OnnxExportOptions = { streaming: true };
  const bytes = await exportModel(stack, "onnx", streaming);
  assert.is(new Blob([bytes]).size, bytes.length);
  const read = await loadModel(await exportModel(stack, "h5"));
  assert.equal(await exportModel(read, "pytorch"), await exportModel(stack, "pytorch"));
  read.dispose();
  const filled: Model<{ a: Tensor; b: Tensor }> = await fromKeras(await exportModel(both, "keras"), both);
  const { a, b } = await filled.predict({ shape: [1, 2, 4], data: new Float32Array(8) });
  assert.equal(
    [a.shape, b.shape],
    [
      [1, 2, 3],
      [1, 2],
    ],
  );
  const torch: Model<Tensor> = await fromPyTorch(
    await exportModel(stack, "pytorch"),
    await sequential([gru(3), dense(2)], { inputShape: [null, 4], seed: 2 }),
    { mapping: { gru: "gru", dense: ["dense"] }, layers: ["gru", "dense"] },
  );
  sameTensors(torch.weights(), stack.weights(), "pytorch");
  for (const one of [both, torch]) one.dispose();
});

test("what cannot be exported is refused before anything is written", async () => {
  const refused = (kind: typeof OptionError | typeof StateError, message: RegExp, run: () => unknown) =>
    refuses(run, kind, message);
  await refused(OptionError, /"format" must be .*"onnx".*got "pickle"/, () =>
    exportModel(stack, "pickle" as ExportFormat),
  );
  await refused(OptionError, /the first argument is not a model/, () => exportModel({} as never, "onnx"));
  await refused(OptionError, /exportModel\(\): onnx: unknown option "length"; did you mean "lengths"/, () =>
    exportModel(stack, "onnx", { length: true } as never),
  );
  await refused(OptionError, /exportModel\(\): keras: unknown option "lengths"/, () =>
    exportModel(stack, "keras", { lengths: true }),
  );
  const small = await quantize(stack, { precision: "int8" });
  await refused(StateError, /a quantised model has no float weights; export the model it was made from/, () =>
    exportModel(small, "onnx"),
  );
  small.dispose();
  await refused(StateError, /./, () => exportModel(small, "onnx"));
});

test.run();
