import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, loadModel, type Model, type Tensor } from "../../../../../host/index.ts";
import { uniform } from "../../../../kit/core.ts";
import { refuses } from "../../../../kit/models.ts";
import { type NodeOf, onnxFile } from "../../../../kit/onnx.ts";
import { GRAPHS, graphFile } from "../../../../kit/onnx-graphs.ts";

test("Keras's heads are one layer, its maps and biases their own", async () => {
  const model = (await loadModel(graphFile(GRAPHS["heads by Einsum, as Keras has them"]))) as Model<Tensor>;
  const names = Object.keys(model.weights()).map((name) => name.replace(/.*\./, ""));
  assert.equal(
    names.filter((name) => /^(query|key|value)/.test(name)),
    ["queryKernel", "queryBias", "keyKernel", "keyBias", "valueKernel", "valueBias"],
  );
  model.dispose();
});

test("sums that are no products of matrices are refused", async () => {
  const of = (equation: string, inputs = ["x", "K"]): NodeOf => ["Einsum", inputs, ["y"], { equation }];
  const cases: [NodeOf, RegExp][] = [
    [of("abc,cd"), /the sum "abc,cd"/],
    [of("abc,cde->abde"), /the sum "abc,cde->abde"/],
    [of("abb,bd->ad"), /the sum "abb,bd->ad"/],
    [of("abc,cd->ab"), /product with a matrix|all of its letters/],
    [of("abc,abc->abc", ["x", "x"]), /expected a product of matrices/],
    [of("...c,cd->...d"), /the sum/],
    [of("abc,cd,de->abe", ["x", "K", "K"]), /the sum/],
  ];
  for (const [node, message] of cases)
    await refuses(() => loadModel(onnxFile([node], { K: [[3, 2], uniform(6, 1)] })), FormatError, message);
});

test.run();
