import { test } from "uvu";
import * as assert from "uvu/assert";
import { readTorch, stateDict } from "../../../../host/formats/torch/read.ts";
import type { TorchTensor } from "../../../../host/formats/torch/tensors.ts";
import { readZip, writeZip } from "../../../../host/formats/zip.ts";
import { FormatError, tensor } from "../../../../host/index.ts";
import { refuses } from "../../../kit/models.ts";
import { archive, dict, legacy, pickle, str, torchFile, tuple, view } from "../../../kit/torch-file.ts";

async function tensorOf(body: string): Promise<TorchTensor> {
  const both = dict(str("w"), body, str("other"), view(0, [2], [1]));
  return stateDict(await readTorch(archive(both), "test"), undefined, "test").get("w")!;
}

test("tensors may be views of a storage: offsets, transposed, repeated, shared", async () => {
  assert.equal([...(await tensorOf(view(2, [2, 2], [2, 1]))).read()], [2, 3, 4, 5]);
  assert.equal([...(await tensorOf(view(0, [3, 2], [1, 3]))).read()], [0, 3, 1, 4, 2, 5]);
  assert.equal([...(await tensorOf(view(5, [2, 2], [0, 0]))).read()], [5, 5, 5, 5]);
  assert.equal([...(await tensorOf(view(1, [2, 1, 2], [3, 9, 1]))).read()], [1, 2, 4, 5]);
  assert.equal([...(await tensorOf(view(3, [], []))).read()], [3]);
  assert.equal([...(await tensorOf(view(0, [0, 7], [7, 1]))).read()], []);
});

test("tensors that reach out of their storage, or name one that is not there, are refused", async () => {
  const cases: [string, RegExp][] = [
    [view(0, [7], [1]), /reaches element 6 of 6/],
    [view(4, [2, 2], [1, 2]), /reaches element 7 of 6/],
    [view(0, [2 ** 31 - 1, 2 ** 31 - 1], [2 ** 31 - 1, 2 ** 31 - 1]), /reaches element/],
    [view(0, [-1], [1]), /expected a tensor's shape/],
    [view(0, [2], [-1]), /expected a tensor's strides/],
    [view(0, [2], [1, 1]), /expected a tensor's strides/],
    [view(0, [2], [1], { count: 7 }), /storage "0": expected 28 bytes, got 24/],
    [view(0, [2], [1], { type: "QUInt8Storage" }), /"torch.QUInt8Storage" is not allowed/],
    [view(0, [2], [1]).replace(str("0"), str("1")), /storage "1" is missing/],
  ];
  for (const [body, message] of cases) await refuses(() => tensorOf(body), FormatError, message, body);
});

test("files from before 1.6: storages behind the pickle, and what is not as they say", async () => {
  const read = async (file: Uint8Array) => stateDict(await readTorch(file, "test"), undefined, "test");
  const two = dict(str("a"), view(1, [2], [2], { count: 4 }), str("b"), view(0, [2], [1], { count: 2, key: "1" }));
  const file = legacy(two, [
    [0, 1, 2, 3],
    [4, 5],
  ]);
  const tensors = await read(file);
  assert.equal([...tensors.get("a")!.read(), ...tensors.get("b")!.read()], [1, 3, 4, 5]);
  await refuses(
    () =>
      read(
        legacy(
          two,
          [
            [0, 1, 2, 3],
            [4, 5],
          ],
          false,
        ),
      ),
    FormatError,
    /a file of a big-endian machine/,
  );
  await refuses(() => read(file.slice(0, -1)), FormatError, /storage "1": expected 8 bytes, got 7/);
  await refuses(() => read(file.slice(0, -12)), FormatError, /storage "1" is missing: cut off\?/);
  await refuses(() => read(legacy(two, [[0, 1, 2, 3], [4, 5], [6]])), FormatError, /storage "2" belongs to no tensor/);
  const mixed = dict(
    str("a"),
    view(0, [1], [1], { count: 1 }),
    str("b"),
    view(0, [1], [1], { count: 1, type: "DoubleStorage" }),
  );
  await refuses(() => read(legacy(mixed, [[0, 1]])), FormatError, /storage "0": numbers of several types/);
});

test("a file of a big-endian machine is refused", async () => {
  const entries = new Map([...readZip(archive(dict()), "test")].map(([name, { stored }]) => [name, stored]));
  entries.set("x/byteorder", pickle("big"));
  await refuses(() => readTorch(writeZip(entries), "test"), FormatError, /a file of a big-endian machine/);
});

test("a state dict is found under its key, or asked for", async () => {
  const w = view(0, [2], [1]);
  const read = async (body: string, key?: string | string[]) => [
    ...stateDict(await readTorch(archive(body), "test"), key, "test").keys(),
  ];
  const two = dict(str("model"), dict(str("a"), w), str("ema"), dict(str("shadow"), dict(str("b"), w)));
  assert.equal(await read(dict(str("epoch"), "K\x01", str("state_dict"), dict(str("a"), w))), ["a"]);
  await refuses(() => read(two), FormatError, /several dictionaries of tensors: "model", "ema.shadow"/);
  assert.equal(await read(two, "ema.shadow"), ["b"]);
  assert.equal(await read(two, ["model", "ema.shadow"]), ["model.a", "ema.shadow.b"]);
  await refuses(() => read(two, ["model", "ema"]), FormatError, /no tensors under "ema"/);
  await refuses(() => read(dict(str("a"), w), "model"), FormatError, /the file has them at its top: leave { key } out/);
  // A number that training keeps is no weight, and a list may hold the dictionary.
  const best = dict(str("best"), view(3, [], []), str("model"), dict(str("a"), w, str("step"), view(0, [], [])));
  assert.equal(await read(best), ["a", "step"]);
  assert.equal(await read(`](${dict(str("a"), w)}${dict(str("epoch"), "K\x01")}e`), ["a"]);
  assert.equal(await read(`](${dict(str("a"), w)}${dict(str("b"), w)}e`, "1"), ["b"]);
  await refuses(() => read(dict(str("a"), "K\x01")), FormatError, /no dictionary of tensors/);
  await refuses(() => read("K\x01"), FormatError, /no dictionary of tensors/);
});

test("plain data around the weights is read; what it is made of may be named and no more", async () => {
  const made = (name: string, ...args: string[]) => `c${name.replace(/\.(?=[^.]*$)/, "\n")}\n${tuple(...args)}R`;
  const around = [
    [made("argparse.Namespace"), dict(str("lr"), "K\x01"), "b"].join(""),
    made("collections.defaultdict", "cbuiltins\nlist\n"),
    made("collections.Counter", dict(str("a"), "K\x01")),
    made("collections.deque", "]K\x01a", "K\x05"),
    [made("sklearn.preprocessing._data.StandardScaler"), dict(str("with_mean"), "\x88"), "b"].join(""),
    made("omegaconf.dictconfig.DictConfig"),
    made("pathlib.PosixPath", str("a"), str("b")),
    made("datetime.datetime", `C\x02ab`),
    made("numpy.core.multiarray.scalar", made("numpy.dtype", str("f8")), `C\x02ab`),
    made("collections.OrderedDict", `](${tuple(str("a"), "K\x01")}e`),
  ];
  const body = dict(...around.flatMap((value, i) => [str(`${i}`), value]), str("w"), view(0, [2], [1]));
  assert.equal([...stateDict(await readTorch(archive(body), "test"), undefined, "test").keys()], ["w"]);
  await refuses(
    () => readTorch(archive("cnumpy\nndarray\n)R"), "test"),
    FormatError,
    /"numpy.ndarray" may not be called/,
  );
  await refuses(() => readTorch(archive("cpathlib\nos\n"), "test"), FormatError, /"pathlib.os" is not allowed/);
});

test("tensors of other kinds are refused with what would do", async () => {
  for (const [body, message] of [
    ["ctorch\nqint8\n", /is not allowed: a quantised tensor; save the float model/],
    ["ctorch\nper_channel_affine\n", /is not allowed: a quantised tensor; save the float model/],
    ["ctorch._utils\n_rebuild_sparse_tensor\n", /is not allowed: a sparse tensor; save it with to_dense\(\)/],
    ["ctorch._utils\n_rebuild_qtensor\n", /is not allowed: a quantised tensor/],
    ["ctorch._utils\n_rebuild_meta_tensor_no_storage\n", /has no numbers/],
  ] as const)
    await refuses(() => readTorch(archive(body), "test"), FormatError, message);
  const negated = view(0, [2], [1]).replace(/\x89tR$/, `\x89N${dict(str("neg"), "\x88")}tR`);
  await refuses(() => tensorOf(negated), FormatError, /a lazily negated tensor/);
  const complex = await tensorOf(view(0, [2], [1], { type: "ComplexFloatStorage", count: 3 }));
  assert.is(complex.dtype, "C64");
  await refuses(() => complex.read(), FormatError, /a tensor of C64; expected F32/);
});

test("the modules of a TorchScript archive give its state dict", async () => {
  const tensors = { "a.b.w": tensor([1, 2]), "a.v": tensor([3]), u: tensor([4, 5, 6]) };
  const read = stateDict(await readTorch(torchFile(tensors, "script"), "test"), undefined, "test");
  assert.equal(Object.fromEntries([...read].map(([name, value]) => [name, [...value.read()]])), {
    u: [4, 5, 6],
    "a.v": [3],
    "a.b.w": [1, 2],
  });
  // A module that holds itself.
  const cyclic = `c__torch__\nM\n)\x81q\0${dict(str("me"), "h\0", str("w"), view(0, [2], [1]))}b`;
  assert.equal([...stateDict(await readTorch(archive(cyclic), "test"), undefined, "test").keys()], ["w"]);
});

test("a pickle takes time and memory in proportion to its length, whatever it asks for again and again", async () => {
  const n = 50_000;
  const list = `](${"K\x01".repeat(n)}eq\0`;
  const begun = performance.now();
  const name = (module: string, of: string) => `c${module}\n${of}\nq\x01`;
  for (const body of [
    `${name("torch", "Size")}0${"h\x01h\0\x85R".repeat(n)}N`,
    `${name("builtins", "set")}0${"h\x01h\0\x85R".repeat(n)}N`,
    `${name("collections", "OrderedDict")}0${"h\x01h\0\x85R0".repeat(n)}N`,
  ])
    await readTorch(archive(`${list}0${body}`), "test");
  // A tensor of a type, made by the function that makes tensors of a type, made by itself...
  const self = `ctorch._tensor\n_rebuild_from_type_v2\nq\0(h\0N]q\x01(h\0Nh\x01eNtR`;
  await refuses(() => readTorch(archive(self), "test"), FormatError, /expected a tensor/);
  assert.ok(performance.now() - begun < 3000);
});

test("dictionaries that hold one another without end are walked once", async () => {
  // Thirty dictionaries, each with the one before it under 40 keys: 40^30 paths.
  const keys = Array.from({ length: 40 }, (_, i) => `K${String.fromCharCode(i)}h\0`);
  const names = Array.from({ length: 40 }, (_, i) => `${str(`k${i}`)}h\0`);
  let body = "}q\0";
  for (let level = 0; level < 30; level++) body += `0}(${(level % 2 ? keys : names).join("")}uq\0`;
  const begun = performance.now();
  await refuses(
    async () => stateDict(await readTorch(archive(body), "test"), undefined, "test"),
    FormatError,
    /no dict/,
  );
  const self = "}q\0" + `${str("me")}h\0s`;
  await refuses(
    async () => stateDict(await readTorch(archive(self), "test"), undefined, "test"),
    FormatError,
    /no dict/,
  );
  assert.ok(performance.now() - begun < 1000);
});

test.run();
