import { random } from "../../host/core/random.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Draw = (below: number) => number;

/** Whole numbers that readers trip over. */
const ODD = [0, 1, 2, 7, 8, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 53, -1];

/** One change a function; `at` places half of them among the first kilobytes, where headers are. */
const CHANGES: readonly ((bytes: Bytes, draw: Draw, at: () => number) => Bytes)[] = [
  function flipBits(bytes, draw, at) {
    for (let i = draw(8); i >= 0; i--) bytes[at()] ^= 1 << draw(8);
    return bytes;
  },
  function writeNumber(bytes, draw, at) {
    const numbers = [...ODD, bytes.length, bytes.length - 1, draw(bytes.length), draw(2 ** 32)];
    const value = BigInt.asUintN(64, BigInt(numbers[draw(numbers.length)]));
    const width = [1, 2, 4, 8][draw(4)];
    const from = draw(2) ? at() & ~(width - 1) : at();
    for (let i = 0; i < width && from + i < bytes.length; i++)
      bytes[from + i] = Number((value >> BigInt(8 * i)) & 255n);
    return bytes;
  },
  function cutOff(bytes, draw) {
    return bytes.slice(0, draw(bytes.length));
  },
  function swap(bytes, draw, at) {
    const length = [1, 2, 4, 8, 8, 16, 64, 512][draw(8)];
    const [a, b] = [at(), at()];
    const copy = bytes.slice(a, a + length);
    bytes.copyWithin(a, b, b + length);
    bytes.set(copy.subarray(0, Math.max(0, bytes.length - b)), b);
    return bytes;
  },
  function remove(bytes, draw, at) {
    const from = at();
    const to = from + 1 + draw(64);
    return Uint8Array.from([...bytes.subarray(0, from), ...bytes.subarray(to)]);
  },
  function repeat(bytes, draw, at) {
    const from = at();
    const to = Math.min(bytes.length, from + 1 + draw(256));
    return Uint8Array.from([...bytes.subarray(0, to), ...bytes.subarray(from)]);
  },
  function fill(bytes, draw, at) {
    const from = at();
    return bytes.fill([0, 255, 0x30, 0x7f][draw(4)], from, from + 1 + draw(32));
  },
  function writeDigits(bytes, draw, at) {
    let i = at();
    while (i < bytes.length && !(bytes[i] >= 0x30 && bytes[i] <= 0x39)) i++;
    const texts = ["9", "0", "-", "1e9", "999999999", "null", '"', "[", "{", "}", "]", "true", "1e999", "0.5"];
    const text = new TextEncoder().encode(texts[draw(texts.length)]);
    if (draw(2)) return Uint8Array.from([...bytes.subarray(0, i), ...text, ...bytes.subarray(i + 1)]);
    bytes.set(text.subarray(0, Math.max(0, bytes.length - i)), i);
    return bytes;
  },
];

/**
 * A damaged copy of a file: one to four changes, always the same ones for a
 * seed, a name and a number.
 */
export function mutate(original: Uint8Array, seed: number, name: string, index: number): Bytes {
  const stream = random(seed, `${name} ${index}`);
  const draw: Draw = (below) => Math.floor(stream.uniform() * below);
  let bytes: Bytes = new Uint8Array(original);
  for (let i = draw(4); i >= 0 && bytes.length > 0; i--) {
    const at = () => draw(draw(2) ? Math.min(bytes.length, 4096) : bytes.length);
    bytes = CHANGES[draw(CHANGES.length)](bytes, draw, at);
  }
  return bytes;
}
