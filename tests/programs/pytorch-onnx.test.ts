import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { isTensor } from "../../host/core/tensor.ts";
import { loadModel, type Model, type Tensor, tensor } from "../../host/index.ts";
import { swapFirst } from "../fixtures/suite/axes.ts";
import { close } from "../kit/core.ts";

/** What PyTorch's exporter writes, opset 7 to 17, with sizes that are fixed or not: gruvy gives PyTorch's outputs. */

const folder = mkdtempSync(join(tmpdir(), "gruvy-pytorch-onnx-"));
test.after(() => rmSync(folder, { recursive: true }));
const script = fileURLToPath(new URL("pytorch_onnx.py", import.meta.url));
execFileSync(process.env.GRUVY_PYTHON ?? "/usr/bin/python3", [script, folder], {
  stdio: ["ignore", "inherit", "inherit"],
});

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Case {
  readonly file: string;
  readonly timeFirst: boolean;
  readonly inputs: Readonly<Record<string, Numbers & { readonly whole: boolean }>>;
  readonly outputs: Readonly<Record<string, Numbers>>;
}

/** Sizes [layers, batch, units] as one [batch, units] a layer. */
function states({ shape: [L, B, H], data }: Numbers): Tensor[] {
  return Array.from({ length: L }, (_, l) => tensor(Float32Array.from(data.slice(l * B * H, (l + 1) * B * H)), [B, H]));
}

const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Case[];
for (const { file, timeFirst, inputs, outputs } of cases)
  test(file, async () => {
    const { h0, lengths, ...rest } = inputs;
    const model = (await loadModel(join(folder, file))) as Model<Tensor | Record<string, Tensor>>;
    const given = Object.entries(rest).map(([name, { shape, data, whole }]) => {
      const values = tensor(Float32Array.from(data), shape);
      return [name, whole ? tensor(Int32Array.from(data), shape) : timeFirst ? swapFirst(values) : values] as const;
    });
    const made = await model.predict(given.length === 1 ? given[0][1] : Object.fromEntries(given), {
      ...(h0 && { initialState: states(h0) }),
      ...(lengths && { lengths: lengths.data }),
    });
    const named = isTensor(made) ? { out: made } : made;
    for (const [name, y] of Object.entries(named)) {
      const out = timeFirst ? swapFirst(y) : y;
      assert.equal(out.shape, outputs[name].shape, name);
      close(out.data, outputs[name].data, 5e-6, `${file} ${name}`);
    }
    model.dispose();
  });

test("there are cases of every opset that PyTorch writes", () => assert.ok(cases.length > 300));

test.run();
