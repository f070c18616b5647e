import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError, loadModel, type Model, type Tensor } from "../../host/index.ts";
import { uniform } from "../kit/core.ts";
import { type NodeOf, type NumbersOf, onnxFile } from "../kit/onnx.ts";
import { permutations, permuted, RandomGraph } from "../kit/onnx-random.ts";
import { type OrtTensor, ort } from "./ort.ts";

/** Random graphs: gruvy gives ONNX Runtime's numbers, or refuses. */

// Sums in another order, and functions a few ulp apart, through up to ten operators.
const near = (a: number, b: number) =>
  Math.abs(a - b) <= 2e-5 * Math.max(1, Math.abs(a)) || (!Number.isFinite(a) && !Number.isFinite(b));
const alike = (a: Float32Array, b: Float32Array) => a.length === b.length && a.every((v, i) => near(v, b[i]));

/** The same numbers: axes of size 1 do not count, nor their order; where others have become one, nor that of the numbers. */
function same(made: Tensor, { dims, data }: OrtTensor): boolean {
  const sizes = dims.filter((n) => n !== 1);
  if (permutations(sizes.length).some((order) => alike(made.data, permuted(data, sizes, order)))) return true;
  const sorted = (shape: readonly number[]) => String(shape.filter((n) => n !== 1).sort());
  return sorted(sizes) !== sorted(made.shape) && alike(made.data.slice().sort(), data.slice().sort());
}

/** States of several layers, which ONNX has in one tensor. */
function joined(made: Tensor | Record<string, Tensor>): Tensor {
  if (made.data instanceof Float32Array) return made as Tensor;
  const parts = Object.values(made as Record<string, Tensor>);
  return {
    shape: [parts.length, ...parts[0].shape],
    data: Float32Array.from(parts.flatMap(({ data }) => [...data])),
  };
}

async function compare(nodes: readonly NodeOf[], numbers: NumbersOf, sizes: readonly number[], fixed: boolean) {
  const bytes = onnxFile(nodes, numbers, ["batch", fixed ? sizes[1] : "time", sizes[2]]);
  let model: Model<Tensor | Record<string, Tensor>>;
  try {
    model = await loadModel<Tensor | Record<string, Tensor>>(bytes);
  } catch (error) {
    assert.ok(error instanceof FormatError, `${(error as Error).stack}`);
    return false;
  }
  const x = uniform(sizes[0] * sizes[1] * sizes[2], 5);
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  const { y } = await session.run({ x: new ort.Tensor("float32", x, sizes) });
  // Which axis is the batch, and which the time, is in the graph.
  const given = permutations(3).map((order) => ({
    shape: order.map((axis) => sizes[axis]),
    data: permuted(x, sizes, order),
  }));
  const results = await Promise.all(
    given.map((own) =>
      model
        .predict(own)
        .then((made) => same(joined(made), y))
        .catch(() => false),
    ),
  );
  assert.ok(results.includes(true), `${JSON.stringify(nodes)} of [${sizes}]`);
  model.dispose();
  return true;
}

test("graphs of operators at random", async () => {
  let read = 0;
  for (let seed = 1; seed <= 1500; seed++) {
    const { nodes, numbers, sizes, fixed } = new RandomGraph(seed);
    if (await compare(nodes, numbers, sizes, fixed)) read++;
  }
  // Most random graphs are no networks; of those that are, there must be some.
  assert.ok(read > 150, `${read} graphs were read`);
});

test.run();
