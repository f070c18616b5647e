import { test } from "uvu";
import { loadModel, type Model, type Tensor } from "../../host/index.ts";
import { close } from "../kit/core.ts";
import { randomTensor } from "../kit/models.ts";
import { GRAPHS, graphFile } from "../kit/onnx-graphs.ts";
import { BLEND, COUNT, GATES, I, loopFile } from "../kit/onnx-loop.ts";
import { ort } from "./ort.ts";

/** Graphs as exporters and optimisers write them: gruvy gives ONNX Runtime's outputs. */

const files = {
  ...Object.fromEntries(Object.entries(GRAPHS).map(([name, graph]) => [name, graphFile(graph)])),
  "a GRU that is a loop": loopFile([...GATES, ...BLEND, ...COUNT]),
};
for (const [name, file] of Object.entries(files))
  test(name, async () => {
    const session = await ort.InferenceSession.create(file, {
      intraOpNumThreads: 1,
      logSeverityLevel: 3,
      // Above "basic" it computes with weights of 8 bits in a way of its own.
      graphOptimizationLevel: "basic",
    });
    const x = randomTensor([2, 7, name in GRAPHS ? 4 : I], 10);
    const { y } = await session.run({ x: new ort.Tensor("float32", x.data, x.shape) });
    const model = (await loadModel(file)) as Model<Tensor>;
    const made = await model.predict(x);
    if (String(made.shape) !== String(y.dims)) throw new Error(`expected [${y.dims}], got [${made.shape}]`);
    // float32 sums in another order, and functions a few ulp apart: some 1e-6 of the largest entry.
    close(made.data, y.data, 3e-6, name);
    model.dispose();
  });

test.run();
