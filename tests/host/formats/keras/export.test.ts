import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel } from "../../../../host/formats/index.ts";
import { FormatError, loadModel, type Tensor } from "../../../../host/index.ts";
import { KERAS_MODELS } from "../../../kit/keras-models.ts";
import { refuses, sameTensor, sameTensors } from "../../../kit/models.ts";

const FORMATS = ["keras", "h5", "tfjs"] as const;

const list = (y: Tensor | Tensor[]) => (Array.isArray(y) ? y : [y]);

for (const { name, formats, make, inputs } of KERAS_MODELS)
  test(`${name}: out and in again to the bit, or refused by the layer's name`, async () => {
    const model = await make();
    const given = inputs.length === 1 ? inputs[0] : [...inputs];
    const expected = list(await model.predict(given));
    for (const format of FORMATS) {
      if (!formats.includes(format)) {
        await refuses(() => exportModel(model as never, format), FormatError, /layer "\w+" \(\w+\): .*;/);
        continue;
      }
      const files = await exportModel(model as never, format);
      assert.equal(await exportModel(model as never, format), files, "the same bytes again");
      const back = await loadModel<Tensor | Tensor[]>(files);
      sameTensors(back.weights(), model.weights(), format);
      list(await back.predict(given)).forEach((y, i) => {
        sameTensor(y, expected[i], `${format}: output ${i}`);
      });
      back.dispose();
    }
    model.dispose();
  });

test.run();
