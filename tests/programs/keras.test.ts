import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { exportModel } from "../../host/formats/index.ts";
import type { Tensor } from "../../host/index.ts";
import { KERAS_MODELS } from "../kit/keras-models.ts";

/** h5py (Debian's python3-h5py) opens what gruvy exports; Keras 3, where GRUVY_KERAS_PYTHON has it, runs it. */

const python = process.env.GRUVY_PYTHON ?? "/usr/bin/python3";
const kerasPython = process.env.GRUVY_KERAS_PYTHON;
const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "gruvy-keras-"));
test.after(() => rmSync(folder, { recursive: true }));

/** Another program's float32: sums in another order, and other functions. */
const TOLERANCE = 2e-6;

interface Opened {
  readonly attributes: Readonly<Record<string, Readonly<Record<string, string | string[]>>>>;
  readonly datasets: Readonly<Record<string, { readonly shape: number[]; readonly data: number[] }>>;
}

for (const format of ["h5", "keras"] as const)
  test(`h5py opens every .${format}: the same numbers, to the bit`, async () => {
    for (const { name, formats, make } of KERAS_MODELS) {
      if (!formats.includes(format)) continue;
      const model = await make();
      const path = join(folder, `opened.${format}`);
      writeFileSync(path, await exportModel(model, format));
      const text = execFileSync(python, [script("open_h5.py"), path], { encoding: "utf8", maxBuffer: 2 ** 26 });
      const { attributes, datasets } = JSON.parse(text) as Opened;
      const numbers = Object.values(datasets).flatMap(({ data }) => data);
      const weights = Object.values(model.weights()).flatMap(({ data }) => [...data]);
      // Statistics of batch normalisations come on top: no mean, and a variance that leaves numbers as they are.
      const statistics = (v: number) => v !== 0 && v !== Math.fround(0.999);
      assert.equal(numbers.filter(statistics).sort(), weights.sort(), name);
      if (format === "h5") {
        const { layer_names: names, keras_version: version } = attributes.model_weights;
        assert.match(String(version), /^[23]\./);
        for (const layer of names) assert.ok(Array.isArray(attributes[`model_weights/${layer}`].weight_names), layer);
        JSON.parse(attributes[""].model_config as string);
      }
      model.dispose();
    }
  });

test("Keras runs every exported model with the same outputs", async () => {
  if (!kerasPython) {
    console.log("Keras: not present (GRUVY_KERAS_PYTHON names a Python that has it)");
    return;
  }
  for (const [i, { formats, make, inputs }] of KERAS_MODELS.entries()) {
    const model = await make();
    const made = await model.predict(inputs.length === 1 ? inputs[0] : [...inputs]);
    const files: string[] = [];
    for (const format of formats) {
      // Keras 3 reads hard_sigmoid in its own way, in files of Keras 2 too.
      if (format === "tfjs" || JSON.stringify(model.architecture.config).includes("hardSigmoid02")) continue;
      files.push(`${i}.${format}`);
      writeFileSync(join(folder, `${i}.${format}`), await exportModel(model, format));
    }
    const stored = ({ shape, data }: Tensor | Tensor<Int32Array>) => ({
      shape,
      dtype: data instanceof Int32Array ? "int32" : "float32",
      data: [...data],
    });
    const outputs = (Array.isArray(made) ? made : [made]).map(stored);
    writeFileSync(join(folder, `${i}.json`), JSON.stringify({ files, inputs: inputs.map(stored), outputs }));
    model.dispose();
  }
  const lines = execFileSync(kerasPython, [script("run_keras.py"), folder], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const wrong: string[] = [];
  for (const line of lines.trim().split("\n")) {
    const { file, error } = JSON.parse(line) as { file: string; error: number | string };
    if (typeof error === "string" || error > TOLERANCE)
      wrong.push(`${KERAS_MODELS[Number.parseInt(file, 10)].name}, ${file}: ${error}`);
  }
  assert.equal(wrong, []);
});

test.run();
