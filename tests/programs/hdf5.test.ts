import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Dataset, type Group, openHdf5 } from "../../host/formats/hdf5/read.ts";
import { FormatError } from "../../host/index.ts";
import { refuses } from "../kit/models.ts";

/** h5py (Debian's python3-h5py) writes, and gruvy reads. */

const python = process.env.GRUVY_PYTHON ?? "/usr/bin/python3";
const folder = mkdtempSync(join(tmpdir(), "gruvy-hdf5-"));
test.after(() => rmSync(folder, { recursive: true }));

interface Written {
  readonly attributes: Readonly<Record<string, string | string[]>>;
  readonly many: readonly string[];
  readonly data: Readonly<Record<string, { readonly shape: number[]; readonly data: number[] }>>;
}

for (const version of ["earliest", "v108", "v110", "latest"])
  test(`groups, attributes and numbers of version "${version}"`, async () => {
    const path = join(folder, `${version}.h5`);
    const script = fileURLToPath(new URL("write_h5.py", import.meta.url));
    const told = execFileSync(python, [script, path, version], { encoding: "utf8", maxBuffer: 2 ** 26 });
    const { attributes, many, data } = JSON.parse(told) as Written;
    const root = openHdf5(new Uint8Array(readFileSync(path)), "test", 2 ** 26);
    for (const [name, value] of Object.entries(attributes)) assert.equal(root.strings(name), [value].flat(), name);
    const group = root.get("many") as Group;
    assert.equal([...group.names].sort(), many);
    assert.equal(group.get("linked")?.strings("i"), ["7"]);
    for (const [name, expected] of Object.entries(data)) {
      const found = await (root.get(name) as Dataset).read();
      assert.equal(found.shape, expected.shape, name);
      assert.equal([...found.data], expected.data, name);
    }
    const read = (name: string) => (root.get(name) as Dataset).read();
    assert.is(root.get("elsewhere"), undefined);
    await refuses(async () => root.get("circle"), FormatError, /a link of the HDF5 file leads to itself/);
    await refuses(() => read("lzf"), FormatError, /packed by HDF5 filter lzf; gzip, .* h5repack -f GZIP=4/);
    if (version === "v110" || version === "latest")
      await refuses(() => read("one axis that grows"), FormatError, /kept so that it may grow; .* without maxshape/);
  });

test.run();
