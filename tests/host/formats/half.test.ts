import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromBfloat, fromHalf, LARGEST_HALF, toHalf } from "../../../host/formats/half.ts";

/** All 65536 bit patterns. */
const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** f16 by its definition: sign, 5 bits of exponent biased by 15, 10 of fraction. */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

test("every f16 widens to the number that its bits define", () => {
  fromHalf(ALL).forEach((v, i) => {
    assert.ok(Object.is(v, half(i)) || (Number.isNaN(v) && Number.isNaN(half(i))), `${i}: ${v}`);
  });
});

test("every f16 comes back from f32 with its bits", () => {
  const back = toHalf(fromHalf(ALL));
  for (const i of ALL) if (!Number.isNaN(half(i))) assert.is(back[i], i);
  assert.ok(Number.isNaN(fromHalf(toHalf(Float32Array.of(Number.NaN)))[0]));
});

test("between two f16 the nearest is taken, at half way the even one", () => {
  // Ends before the largest: past it comes infinity.
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [low, high] = [half(bits), half(bits + 1)];
    const middle = (low + high) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    const below = Math.fround(middle - (high - low) / 1024);
    const above = Math.fround(middle + (high - low) / 1024);
    assert.equal([...toHalf(Float32Array.of(below, middle, above))], [bits, even, bits + 1], `${low}`);
    assert.is(toHalf(Float32Array.of(-middle))[0], even | 0x8000);
  }
  assert.equal(
    [...fromHalf(toHalf(Float32Array.of(65519, 65520, 1e30, -1e30)))],
    [LARGEST_HALF, Infinity, Infinity, -Infinity],
  );
});

test("bf16 is the upper half of an f32", () => {
  assert.equal([...fromBfloat(Uint16Array.of(0x3f80, 0xc020, 0x7f80, 0x0001))], [1, -2.5, Infinity, 2 ** -133]);
});

test.run();
