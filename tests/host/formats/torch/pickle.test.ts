import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Allowed, Global, unpickle } from "../../../../host/formats/torch/pickle.ts";
import { FormatError } from "../../../../host/index.ts";
import { refuses } from "../../../kit/models.ts";
import { le, pickle, str } from "../../../kit/torch-file.ts";

const ALLOWED: Allowed = {
  globals: new Map<string, ((args: readonly unknown[]) => unknown) | null>([
    ["collections.OrderedDict", () => new Map()],
    ["torch.float32", null],
  ]),
};
const load = (text: string) => unpickle(pickle(text), 0, ALLOWED, "test").value;

test("values of every kind", () => {
  const text =
    "\x80\x02}(" +
    str("a") +
    `](K\x01J\xfe\xff\xff\xffM\x2c\x01J${le(70000, 4)}\x8a\x06\0\0\0\0\0\x01\x8a\x09\0\0\0\0\0\0\0\0\x40e` +
    str("t") +
    "(G\x3f\xf8\0\0\0\0\0\0N\x88\x89t" +
    str("b") +
    "C\x02xy" +
    str("s") +
    "\x8f(K\x01\x90" +
    "u.";
  const value = load(text) as Map<string, unknown>;
  assert.equal(value.get("a"), [1, -2, 300, 70000, 2 ** 40, 2n ** 70n]);
  assert.equal(value.get("t"), [1.5, null, true, false]);
  assert.equal(value.get("b"), pickle("xy"));
  assert.equal(value.get("s"), new Set([1]));
});

test("protocol 4: frames, memo without numbers, names from the stack", () => {
  const text =
    "\x80\x04\x95\x20\0\0\0\0\0\0\0\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94(\x8c\x01a\x94h\x01u.";
  assert.equal(load(text), new Map([["a", "OrderedDict"]]));
});

test("protocols 0 and 1: numbers, strings and containers as text", () => {
  const text =
    "(lp0\nI-1\naI01\naI00\naL5000000000000000000L\naF1.5\naF1e400\naS'it'\naV\u00e9\nag0\na(I1\n(dtaccollections\nOrderedDict\n(tRa.";
  const value = load(text) as unknown[];
  assert.equal(value.slice(0, 7), [-1, true, false, 5000000000000000000n, 1.5, Infinity, "it"]);
  assert.is(value[8], value);
  assert.equal(value.slice(9), [[1, new Map()], new Map()]);
  assert.equal(load("(icollections\nOrderedDict\n."), new Map());
  assert.equal(load("(ccollections\nOrderedDict\no."), new Map());
});

test("one pickle after the other: where one ends the next begins", () => {
  const bytes = pickle("\x80\x02K\x07.\x80\x02N.");
  const first = unpickle(bytes, 0, ALLOWED, "test");
  assert.equal(first, { value: 7, end: 5 });
  assert.equal(unpickle(bytes, first.end, ALLOWED, "test"), { value: null, end: bytes.length });
});

test("whatever is not allowed is refused by name, and nothing is called", async () => {
  const names: [string, string][] = [
    ["cos\nsystem\n(U\x08echo owntR.", "os.system"],
    ["cbuiltins\neval\n(U\x031+1tR.", "builtins.eval"],
    ["\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"],
    ["ctorch._utils\n_rebuild_qtensor\n)R.", "torch._utils._rebuild_qtensor"],
    ["c__main__\nNet\n)\x81.", "__main__.Net"],
    ["ccollections\nOrderedDict.__init__\n)R.", "collections.OrderedDict.__init__"],
    ["c__proto__\nconstructor\n)R.", "__proto__.constructor"],
  ];
  for (const [text, name] of names)
    await refuses(() => load(text), FormatError, new RegExp(`"${name.replaceAll(".", "\\.")}" is not allowed`));
  await refuses(() => load("ctorch\nfloat32\n)R."), FormatError, /"torch.float32" may not be called/);
  await refuses(() => load("K\x01)R."), FormatError, /1 may not be called/);
  await refuses(() => load("ccollections\nOrderedDict\nK\x01R."), FormatError, /expected arguments/);
  await refuses(() => load("K\x01Q."), FormatError, /outside of the file/);
  assert.ok(load("ctorch\nfloat32\n.") instanceof Global);
});

test("a pickle that is cut off, or damaged, is refused", async () => {
  for (const [text, message] of [
    ["", /expected 1 bytes/],
    ["\x80\x02", /expected 1 bytes/],
    ["X\xff\xff\xff\x7fabc.", /expected 2147483647 bytes/],
    ["\x8d\0\0\0\0\0\0\0\x40.", /expected 4611686018427388000 bytes/],
    [".", /nothing on the stack/],
    ["(.", /nothing on the stack/],
    ["t.", /no mark/],
    ["K\x01s.", /nothing on the stack/],
    ["NNNs.", /expected a dictionary/],
    ["K\x01(K\x02e.", /expected a list/],
    ["}(K\x01u.", /a key without a value/],
    ["h\x05.", /nothing was kept as 5/],
    ["\x80\x06N.", /protocol 6/],
    ["\xff.", /opcode 0xff at byte 0 is none of a pickle's/],
    ["I1x\n.", /expected a number, got "1x"/],
    ["L1e5L\n.", /expected a number/],
    [`I${"9".repeat(200)}\n.`, /expected a number/],
    ["g7\n.", /nothing was kept as 7/],
    ["P1\n.", /outside of the file/],
    ["\x97.", /outside of the file/],
    ["\x82\x01.", /outside of the file/],
    [`ccollections\nOrderedDict\n)}${str("a")}K\x01s\x92.`, /arguments by name/],
    ["\x8b\xff\xff\xff\x7f.", /a number of 2147483647 bytes/],
    ["cabc", /without an end/],
  ] as const)
    await refuses(() => load(text), FormatError, message, text);
});

test.run();
