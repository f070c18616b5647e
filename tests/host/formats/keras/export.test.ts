import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel } from "../../../../host/formats/index.ts";
import {
  add,
  attention,
  bidirectional,
  dense,
  FormatError,
  type GraphNode,
  graph,
  gru,
  input,
  type Layer,
  loadModel,
  masking,
  mgu,
  minGru,
  multiHeadAttention,
  sequential,
  type Tensor,
} from "../../../../host/index.ts";
import { KERAS_MODELS } from "../../../kit/keras-models.ts";
import { randomTensor, refuses, sameTensor, sameTensors } from "../../../kit/models.ts";

const FORMATS = ["keras", "h5", "tfjs"] as const;

const list = (y: Tensor | Tensor[]) => (Array.isArray(y) ? y : [y]);

for (const { name, formats, make, inputs } of KERAS_MODELS)
  test(`${name}: out and in again to the bit, or refused by the layer's name`, async () => {
    const model = await make();
    const given = inputs.length === 1 ? inputs[0] : [...inputs];
    const expected = list(await model.predict(given));
    for (const format of FORMATS) {
      if (!formats.includes(format)) {
        await refuses(() => exportModel(model, format), FormatError, /layer "\w+" \(\w+\): .*;/);
        continue;
      }
      const files = await exportModel(model, format);
      assert.equal(await exportModel(model, format), files, "the same bytes again");
      const back = await loadModel<Tensor | Tensor[]>(files);
      sameTensors(back.weights(), model.weights(), format);
      list(await back.predict(given)).forEach((y, i) => {
        sameTensor(y, expected[i], `${format}: output ${i}`);
      });
      back.dispose();
    }
    model.dispose();
  });

test("attention by the root of its columns goes out with that as the factor of Keras's, and predicts the same bits", async () => {
  const [q, v] = [input([4, 3], { name: "q" }), input([5, 3], { name: "v" })];
  const model = await graph({ inputs: [q, v], outputs: attention()([q, v, dense(3)(v)]) });
  const given = [randomTensor([2, 4, 3], 1), randomTensor([2, 5, 3], 2)];
  const expected = await model.predict(given);
  for (const format of ["keras", "h5"] as const) {
    const back = await loadModel<Tensor>(await exportModel(model, format));
    assert.equal(back.weights()["attention.scale"].data, Float32Array.of(1 / Math.sqrt(3)));
    sameTensor(await back.predict(given), expected as Tensor, format);
    back.dispose();
  }
  model.dispose();
});

test("an activation of ONNX goes out by Keras's name: its numbers are float32 there", async () => {
  for (const [own, format] of [
    ["hardSigmoid", "keras"],
    ["hardSigmoid", "h5"],
    ["hardSigmoid02", "h5"],
    ["hardSigmoid02", "tfjs"],
  ] as const) {
    const layers = [gru(3, { resetAfter: false, recurrentActivation: own }), dense(2, { activation: own })];
    const model = await sequential(layers, { inputShape: [null, 3], seed: 1 });
    const given = randomTensor([2, 4, 3], 1, 3);
    const read = await loadModel(await exportModel(model, "onnx"));
    const back = await loadModel<Tensor>(await exportModel(read, format));
    sameTensor(await back.predict(given), await model.predict(given), `${own} as ${format}`);
    assert.ok(JSON.stringify(back.architecture).includes(`"${own}"`));
    for (const one of [model, read, back]) one.dispose();
  }
});

test("layers by the names of what objects have", async () => {
  for (const name of ["constructor", "toString", "hasOwnProperty"]) {
    const inner = gru(2, { resetAfter: false, name: "valueOf" });
    const model = await sequential([bidirectional(inner, { name }), dense(2, { name: "then" })], {
      inputShape: [4, 3],
    });
    for (const format of FORMATS) {
      const back = await loadModel(await exportModel(model, format));
      sameTensors(back.weights(), model.weights(), `${name}, ${format}`);
      back.dispose();
    }
    model.dispose();
  }
});

test("what no format of Keras's holds is refused, and what would do", async () => {
  const refused = async (layer: Layer, format: "keras" | "h5" | "tfjs", message: RegExp) =>
    refuses(
      async () => exportModel(await sequential([layer], { inputShape: [4, 3] }), format),
      FormatError,
      message,
      layer.type,
    );
  await refused(
    minGru(3),
    "keras",
    /layer "min_gru" \(minGru\): Keras 3.* has no such layer; export to "onnx", or use gru,/,
  );
  await refused(bidirectional(mgu(3)), "h5", /Keras 3.* has no Bidirectional of mgu; it takes gru; export to "onnx"/);
  await refused(
    dense(3, { activation: "affine" }),
    "h5",
    /no activation "affine"; use one that it has, or export to "onnx"/,
  );
  await refused(
    dense(3, { activation: "hardSigmoid02" }),
    "keras",
    /no activation "hardSigmoid02"; use its hard_sigmoid, "hardSigmoid" \(x\/6 \+ 0\.5\), or export to "onnx"/,
  );
  await refused(
    dense(3, { activation: "leakyRelu" }),
    "tfjs",
    /use a layer activation\(\) after it, or export to "onnx"/,
  );
});

test("masks that Keras would take in another way are refused, and what would do", async () => {
  const x = input([5, 3], { name: "x" });
  const masked = masking()(x);
  const exported = async (outputs: GraphNode) => exportModel(await graph({ inputs: x, outputs }), "keras");
  const merged = (other: GraphNode) => gru(2)(add()([masked, other]));
  await refuses(
    () => exported(merged(x)),
    FormatError,
    /\(add\): Keras 3.* merges different masks in another way; give all/,
  );
  await exported(merged(dense(3)(masked)));
  await refuses(
    () => exported(multiHeadAttention(1)(masked)),
    FormatError,
    /no zeros for queries .*; make it with blind: "mean"/,
  );
  await exported(multiHeadAttention(1, { blind: "mean" })(masked));
});

test.run();
