import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadModel, type Tensor, tensor } from "../../host/index.ts";
import { swapFirst } from "../fixtures/suite/axes.ts";
import { close } from "../kit/core.ts";

/** What PyTorch's exporter writes, opset 7 to 17, with sizes that are fixed or not: gruvy gives PyTorch's outputs. */

const folder = mkdtempSync(join(tmpdir(), "gruvy-pytorch-onnx-"));
test.after(() => rmSync(folder, { recursive: true }));
const script = fileURLToPath(new URL("pytorch_onnx.py", import.meta.url));
execFileSync(process.env.GRUVY_PYTHON ?? "/usr/bin/python3", [script, folder], {
  stdio: ["ignore", "inherit", "inherit"],
});

interface Case {
  readonly file: string;
  readonly timeFirst: boolean;
  readonly x: { readonly shape: number[]; readonly data: number[]; readonly tokens: boolean };
  readonly y: { readonly shape: number[]; readonly data: number[] };
}

const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Case[];
for (const { file, timeFirst, x, y } of cases)
  test(file, async () => {
    const model = await loadModel(join(folder, file));
    const values = tensor(Float32Array.from(x.data), x.shape);
    const given = x.tokens ? tensor(Int32Array.from(x.data), x.shape) : timeFirst ? swapFirst(values) : values;
    const made = (await model.predict(given)) as Tensor;
    const out = timeFirst ? swapFirst(made) : made;
    assert.equal(out.shape, y.shape);
    close(out.data, y.data, 5e-6, file);
    model.dispose();
  });

test("there are cases of every opset that PyTorch writes", () => assert.ok(cases.length > 100));

test.run();
