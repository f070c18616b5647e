import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FormatError } from "../../../host/core/errors.ts";
import { readSafetensors, type WritableTensor, writeSafetensors } from "../../../host/formats/safetensors.ts";
import { close, random, sameBits, uniform } from "../../kit/core.ts";

/** A file from the text of its header and its data. */
function file(
  header: string,
  data: ArrayLike<number> = [],
  length = new TextEncoder().encode(header).length,
): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

function entry(dtype: string, shape: unknown, begin: number, end: number): string {
  return JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
}

const SAMPLE: Record<string, WritableTensor> = {
  "gru.kernel": { shape: [3, 5], data: uniform(15, 1) },
  tokens: { shape: [3], data: Int32Array.of(-1, 0, 2147483647) },
  bytes: { shape: [1, 5], data: Uint8Array.of(0, 1, 2, 254, 255) },
  exact: { shape: [2], data: Float64Array.of(Math.PI, -0) },
  scalar: { shape: [], data: Float32Array.of(7) },
  empty: { shape: [0, 4], data: new Float32Array(0) },
};

test("what is written is read", () => {
  const { tensors, metadata } = readSafetensors(writeSafetensors(SAMPLE, { format: "gruvy", 'é\n"': '{"a":1,"a":2}' }));
  assert.equal(new Set(tensors.keys()), new Set(Object.keys(SAMPLE)));
  for (const [name, { shape, data }] of Object.entries(SAMPLE)) {
    assert.equal(tensors.get(name)?.shape, shape, name);
    assert.equal(tensors.get(name)?.data, data, name);
  }
  assert.equal(
    [...metadata],
    [
      ["format", "gruvy"],
      ['é\n"', '{"a":1,"a":2}'],
    ],
  );
  assert.ok(Object.is(tensors.get("exact")?.data[1], -0));
});

test("an empty model is a file too", () => {
  const bytes = writeSafetensors({});
  assert.is(bytes.length, 16);
  assert.equal(readSafetensors(bytes), { tensors: new Map(), metadata: new Map() });
});

test("the same tensors give the same bytes in any order, and every tensor is aligned", () => {
  const bytes = writeSafetensors(SAMPLE, { a: "1", b: "2" });
  const backwards = Object.fromEntries(Object.entries(SAMPLE).reverse());
  assert.equal(
    writeSafetensors(
      backwards,
      new Map([
        ["b", "2"],
        ["a", "1"],
      ]),
    ),
    bytes,
  );
  assert.is(new DataView(bytes.buffer).getUint32(0, true) % 8, 0);
  for (const { data } of readSafetensors(bytes).tensors.values())
    assert.is(data.buffer, bytes.buffer, "aligned tensors are views");
  assert.equal(
    [...readSafetensors(bytes).tensors.keys()],
    ["exact", "empty", "gru.kernel", "scalar", "tokens", "bytes"],
  );
});

test("a file anywhere in memory is read, also from a Buffer", () => {
  const bytes = writeSafetensors(SAMPLE);
  for (let shift = 0; shift < 9; shift++) {
    const room = new Uint8Array(bytes.length + shift);
    room.set(bytes, shift);
    const views = [room.subarray(shift), Buffer.from(room.buffer, shift)];
    for (const view of views)
      for (const [name, { data }] of readSafetensors(view).tensors)
        assert.equal(data, SAMPLE[name].data, `${name} at ${shift}`);
  }
  assert.is(readSafetensors(bytes.buffer as ArrayBuffer).tensors.size, 6);
});

test("tensors that are views of a larger buffer are written as what they show", () => {
  const data = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  assert.equal(
    [...(readSafetensors(writeSafetensors({ a: { shape: [2], data } })).tensors.get("a")?.data ?? [])],
    [1, 2],
  );
});

const fixture = (name: string) => readFileSync(new URL(`../../fixtures/torch-files/${name}`, import.meta.url));

test("reads PyTorch's weights in f32, f16 and bf16", () => {
  const { state_dict: expected } = JSON.parse(fixture("classifier.json").toString()) as {
    state_dict: Record<string, { shape: number[]; data: number[] }>;
  };
  for (const [name, tolerance] of [
    ["classifier", 0],
    ["classifier.f16", 1e-3],
    ["classifier.bf16", 1e-2],
  ] as const) {
    const { tensors } = readSafetensors(fixture(`${name}.safetensors`), name);
    assert.equal(new Set(tensors.keys()), new Set(Object.keys(expected)));
    for (const [key, { shape, data }] of Object.entries(expected)) {
      assert.equal(tensors.get(key)?.shape, shape);
      close(tensors.get(key)?.data as Float32Array, Float32Array.from(data), tolerance, `${name}: ${key}`);
    }
  }
});

test("every f16 is the number its bits say", () => {
  const words = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const bytes = file(`{"h":${entry("F16", [65536], 0, 131072)}}`, new Uint8Array(words.buffer));
  const expected = Float32Array.from(words, (h) => {
    const [exponent, fraction] = [(h >> 10) & 31, h & 1023];
    const size =
      exponent === 31
        ? fraction
          ? Number.NaN
          : Infinity
        : exponent === 0
          ? fraction * 2 ** -24
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    return h & 0x8000 ? -size : size;
  });
  close(readSafetensors(bytes).tensors.get("h")?.data as Float32Array, expected, 0, "f16");
});

test("every bf16 is the upper half of an f32", () => {
  const words = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const bytes = file(`{"h":${entry("BF16", [65536], 0, 131072)}}`, new Uint8Array(words.buffer));
  const expected = new Float32Array(Uint32Array.from(words, (b) => b * 65536).buffer);
  sameBits(readSafetensors(bytes).tensors.get("h")?.data as Float32Array, expected, "bf16");
});

test("reads the other types as they are", () => {
  const data = [1, 0, 0, 0, 0, 0, 0, 128];
  const read = (dtype: string, n: number) =>
    readSafetensors(file(`{"t":${entry(dtype, [n], 0, 8)}}`, data)).tensors.get("t")?.data;
  assert.equal(read("I64", 1), BigInt64Array.of(-(2n ** 63n) + 1n));
  assert.equal(read("U64", 1), BigUint64Array.of(2n ** 63n + 1n));
  assert.equal(read("I32", 2), Int32Array.of(1, -(2 ** 31)));
  assert.equal(read("U32", 2), Uint32Array.of(1, 2 ** 31));
  assert.equal(read("I16", 4), Int16Array.of(1, 0, 0, -32768));
  assert.equal(read("U16", 4), Uint16Array.of(1, 0, 0, 32768));
  assert.equal(read("I8", 8), Int8Array.of(1, 0, 0, 0, 0, 0, 0, -128));
  assert.equal(read("BOOL", 8), Uint8Array.from(data));
});

test("names mean nothing to JavaScript", () => {
  const names = ["__proto__", "constructor", "toString", "7", "", "\u0000", "\ud800", 'a"b\\'];
  const tensors = new Map(names.map((name, i) => [name, { shape: [1], data: Float32Array.of(i) }]));
  const metadata = new Map(names.map((name) => [name, name]));
  const read = readSafetensors(writeSafetensors(tensors, metadata));
  assert.equal(new Map([...read.tensors].map(([name, t]) => [name, t.data[0]])), new Map(names.map((n, i) => [n, i])));
  assert.equal(new Set(read.metadata), new Set(metadata));
  assert.is(Object.getPrototypeOf({}), Object.prototype);
});

const F32 = (begin: number, end: number) => entry("F32", [(end - begin) / 4], begin, end);

for (const [what, bytes, message] of [
  ["an empty file", new Uint8Array(0), /expected 8 bytes with the length of the header, got a file of 0/],
  ["a header past the end", file("{}", [], 3), /expected a header of 3 bytes, got 2 in all/],
  ["a header of 2^63 bytes", file("{}", [], 2 ** 63), /header of 9223372036854776000 bytes/],
  ["no header", file("", [1, 2]), /starts with "\{", got none/],
  ["a header that is an array", file("[]"), /starts with "\{", got byte 91/],
  ["a header with a byte order mark", file("\ufeff{}"), /starts with "\{", got byte 239/],
  ["broken JSON", file("{1}"), /not JSON in UTF-8/],
  ["broken UTF-8", new Uint8Array([...file('{"'), 0xff].map((b, i) => (i === 0 ? 3 : b))), /not JSON in UTF-8/],
  ["a header of endless nesting", file(`{"a":${"[".repeat(200000)}`), /not JSON/],
  ["a tensor twice", file(`{"a":${F32(0, 4)},"\\u0061":${F32(0, 4)}}`, [0, 0, 0, 0]), /"a" stands twice/],
  [
    "a field twice",
    file('{"a":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}}', [0, 0]),
    /"shape" stands twice/,
  ],
  ["metadata twice", file('{"__metadata__":{},"__metadata__":{}}'), /"__metadata__" stands twice/],
  [
    "metadata that is no object",
    file('{"__metadata__":[]}'),
    /"__metadata__": expected an object of strings, got \[\]/,
  ],
  ["metadata that is no string", file('{"__metadata__":{"epoch":3}}'), /"epoch": expected a string, got 3/],
  ["a tensor that is no object", file('{"a":null}'), /"a": expected \{ dtype, shape, data_offsets \}, got null/],
  ["an unknown dtype", file(`{"a":${entry("F8_E4M3", [1], 0, 1)}}`, [0]), /"a": expected a dtype of .*, got "F8_E4M3"/],
  ["a dtype of all objects", file(`{"a":${entry("toString", [1], 0, 1)}}`, [0]), /got "toString"/],
  ["no dtype", file('{"a":{"shape":[1],"data_offsets":[0,1]}}', [0]), /got undefined/],
  [
    "a negative dimension",
    file(`{"a":${entry("U8", [-1], 0, 1)}}`, [0]),
    /"a": expected a shape of whole numbers .*got \[-1\]/,
  ],
  ["a fractional dimension", file(`{"a":${entry("U8", [0.5, 2], 0, 1)}}`, [0]), /got \[0.5, 2\]/],
  ["a dimension past 2^53", file(`{"a":${entry("U8", [2 ** 53], 0, 1)}}`, [0]), /got \[9007199254740992\]/],
  ["a shape that is no list", file(`{"a":${entry("U8", "1", 0, 1)}}`, [0]), /got "1"/],
  [
    "a shape that nests without end",
    file(`{"a":{"dtype":"U8","shape":${"[".repeat(100000)}${"]".repeat(100000)},"data_offsets":[0,0]}}`),
    /got an array|not JSON/,
  ],
  [
    "a shape that pretends to be text",
    file('{"a":{"dtype":"U8","shape":{"constructor":{"name":{"toString":1}}},"data_offsets":[0,0]}}'),
    /got an object/,
  ],
  [
    "a product past all doubles",
    file(`{"a":${entry("U8", new Array(40).fill(2 ** 30), 0, 0)}}`),
    /expected Infinity bytes/,
  ],
  [
    "a product that wraps in 64 bits",
    file(`{"a":${entry("U8", [2 ** 32, 2 ** 32], 0, 0)}}`),
    /expected 18446744073709552000 bytes/,
  ],
  [
    "a shape of too few bytes",
    file(`{"a":${entry("F32", [1], 0, 8)}}`, new Array(8).fill(0)),
    /"a": expected 4 bytes for F32 \[1\], got 8/,
  ],
  [
    "offsets backwards",
    file(`{"a":${entry("U8", [1], 1, 0)}}`, [0]),
    /"a": expected data_offsets within 1 bytes, got \[1, 0\]/,
  ],
  ["offsets past the end", file(`{"a":${entry("U8", [2], 0, 2)}}`, [0]), /data_offsets within 1 bytes, got \[0, 2\]/],
  [
    "three offsets",
    file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', [0]),
    /expected data_offsets \[begin, end\]/,
  ],
  [
    "negative offsets",
    file(`{"a":${entry("U8", [1], -1, 0)}}`, [0]),
    /expected data_offsets \[begin, end\], got \[-1, 0\]/,
  ],
  [
    "an overlap",
    file(`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [2], 1, 3)}}`, [0, 0, 0]),
    /"b": expected data from byte 2, got 1: an overlap/,
  ],
  ["the same bytes twice", file(`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [2], 0, 2)}}`, [0, 0]), /an overlap/],
  ["a gap", file(`{"a":${entry("U8", [1], 1, 2)}}`, [0, 0]), /"a": expected data from byte 0, got 1: a gap/],
  [
    "bytes at the end that belong to nobody",
    file(`{"a":${entry("U8", [1], 0, 1)}}`, [0, 0]),
    /expected 1 bytes of tensors, got 2/,
  ],
] as const)
  test(`refuses ${what}`, () => {
    assert.throws(
      () => readSafetensors(bytes, "model.safetensors"),
      (e: unknown) =>
        e instanceof FormatError && e.message.startsWith("model.safetensors: ") && message.test(e.message),
      String(message),
    );
  });

test("the writer refuses what it could not read", () => {
  const refused = (run: () => unknown, message: RegExp) =>
    assert.throws(run, (e: unknown) => e instanceof FormatError && message.test(e.message));
  refused(
    () => writeSafetensors({ a: { shape: [2, 2], data: new Float32Array(3) } }),
    /"a": expected 3 numbers in its shape, got \[2, 2\]/,
  );
  refused(() => writeSafetensors({ a: { shape: [-1, -3], data: new Float32Array(3) } }), /"a"/);
  refused(
    () => writeSafetensors({ __metadata__: { shape: [0], data: new Float32Array(0) } }),
    /"__metadata__" is no name/,
  );
});

test("20000 damaged files give a FormatError or a valid file, and nothing else", () => {
  const valid = writeSafetensors(SAMPLE, { format: "gruvy" });
  const next = random(99);
  const below = (n: number) => Math.floor(next() * n);
  const headerEnd = 8 + new DataView(valid.buffer).getUint32(0, true);
  const damages: ((bytes: Uint8Array) => Uint8Array)[] = [
    (b) => flip(b, below(b.length)),
    (b) => flip(b, 8 + below(headerEnd - 8)),
    (b) => flip(flip(b, below(headerEnd)), below(headerEnd)),
    (b) => b.slice(0, below(b.length)),
    (b) => Uint8Array.from([...b, ...b.subarray(0, below(20))]),
    (b) => b.fill(below(256), below(8), 8),
    (b) => swap(b, 8 + below(headerEnd - 8), 8 + below(headerEnd - 8)),
    (b) => digit(b, below(headerEnd)),
    (b) => b.copyWithin(8 + below(headerEnd - 8), 8 + below(headerEnd - 8), headerEnd - below(40)),
  ];
  function flip(b: Uint8Array, at: number): Uint8Array {
    b[at] ^= 1 << below(8);
    return b;
  }
  function swap(b: Uint8Array, i: number, j: number): Uint8Array {
    [b[i], b[j]] = [b[j], b[i]];
    return b;
  }
  /** Another digit for the first one from `at`: shapes and offsets that are still numbers. */
  function digit(b: Uint8Array, at: number): Uint8Array {
    while (at < headerEnd && !(b[at] >= 48 && b[at] <= 57)) at++;
    b[at] = 48 + below(10);
    return b;
  }

  const began = performance.now();
  let refused = 0;
  for (let i = 0; i < 20000; i++) {
    const bytes = damages[i % damages.length](valid.slice());
    try {
      const { tensors } = readSafetensors(bytes);
      for (const { shape, data } of tensors.values())
        assert.is(
          data.length,
          shape.reduce((a, b) => a * b, 1),
        );
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      refused++;
    }
  }
  assert.ok(refused > 10000 && refused < 20000, `${refused} refused`);
  assert.ok(performance.now() - began < 10000, "20000 files within 10 s");
});

test.run();
