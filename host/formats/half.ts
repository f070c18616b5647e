/**
 * Numbers of 16 bits: IEEE half precision (f16), and bfloat16, the upper half
 * of an f32.
 */

/** bf16 to f32, exact. */
export function fromBfloat(stored: Uint16Array): Float32Array {
  const bits = Uint32Array.from(stored, (b) => b << 16);
  return new Float32Array(bits.buffer);
}

/**
 * f16 to f32, exact. Exponent and fraction move into their places in an f32,
 * whose exponents are biased by 127, not 15; multiplying by 2^112 makes up for
 * that, for subnormals too. Infinities and NaN have an exponent of their own.
 */
export function fromHalf(stored: Uint16Array): Float32Array {
  const bits = Uint32Array.from(stored, (h) => ((h & 0x8000) << 16) | ((h & 0x7fff) << 13));
  const out = new Float32Array(bits.buffer);
  for (let i = 0; i < out.length; i++)
    if ((stored[i] & 0x7c00) === 0x7c00) bits[i] |= 0x7f800000;
    else out[i] *= 5.192296858534828e33; // 2^112, exact
  return out;
}

/** The largest finite f16. */
export const LARGEST_HALF = 65504;

/**
 * f32 to f16, to the nearest, ties to even; past the largest, infinity.
 */
export function toHalf(values: Float32Array): Uint16Array {
  const scaled = new Float32Array(1);
  const bits = new Uint32Array(scaled.buffer);
  return Uint16Array.from(values, (value) => {
    if (Number.isNaN(value)) return 0x7e00;
    scaled[0] = value;
    const sign = (bits[0] >>> 16) & 0x8000;
    // Beyond 65520, half way to the next step, all is infinity.
    if (Math.abs(value) >= 65520) return sign | 0x7c00;
    // An f16 subnormal is a multiple of 2^-24: adding 0.5, whose last bit is 2^-24, rounds to one.
    if (Math.abs(value) < 2 ** -14) {
      scaled[0] = Math.abs(value) + 0.5;
      return sign | (bits[0] - 0x3f000000);
    }
    const rest = bits[0] & 0x7fffffff;
    const even = (rest >>> 13) & 1;
    return sign | ((rest + 0xfff + even - 0x38000000) >>> 13);
  });
}
