import { OptionError } from "./errors.ts";
import { cosPi, log } from "./math.ts";
import { integer, shown } from "./options.ts";

/**
 * Counter-based random numbers: draw i of a stream is a function of the seed,
 * the stream's name and i, and of nothing else. So weights do not depend on
 * the order in which layers are built, and a resumed run needs to remember one
 * number a stream.
 */

/**
 * Threefry-2x32, 20 rounds: a bijection of the 64-bit counter for every key.
 *
 * @param out    i32[2], the permuted counter
 * @param k0, k1 the key     @param c0, c1 the counter
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */
export function threefry(out: Int32Array, k0: number, k1: number, c0: number, c1: number): void {
  const k2 = k0 ^ k1 ^ 0x1bd11bda;
  let a = (c0 + k0) | 0;
  let b = (c1 + k1) | 0;
  for (let block = 0; block < 5; block++) {
    // Four rounds with one half of the rotations, then the key again, turned by one word.
    const even = block % 2 === 0;
    a = (a + b) | 0;
    b = (even ? (b << 13) | (b >>> 19) : (b << 17) | (b >>> 15)) ^ a;
    a = (a + b) | 0;
    b = (even ? (b << 15) | (b >>> 17) : (b << 29) | (b >>> 3)) ^ a;
    a = (a + b) | 0;
    b = (even ? (b << 26) | (b >>> 6) : (b << 16) | (b >>> 16)) ^ a;
    a = (a + b) | 0;
    b = (even ? (b << 6) | (b >>> 26) : (b << 24) | (b >>> 8)) ^ a;
    const first = block % 3;
    a = (a + (first === 0 ? k1 : first === 1 ? k2 : k0)) | 0;
    b = (b + (first === 0 ? k2 : first === 1 ? k0 : k1) + block + 1) | 0;
  }
  out[0] = a;
  out[1] = b;
}

const WORD = 4294967296; // 2^32; a literal, as ** is among the operations whose bits are the engine's

/** The low and the high 32 bits of a whole number. */
function words(n: number): [number, number] {
  return [n | 0, Math.floor(n / WORD) | 0];
}

/**
 * A key for a seed and a name: the name's characters, four a block after a
 * block with their number, chained through threefry as a block cipher
 * (Davies-Meyer), from the seed. Names that differ anywhere give unrelated keys.
 */
function streamKey(seed: number, name: string): Int32Array {
  const key = Int32Array.from(words(seed));
  const out = new Int32Array(2);
  const absorb = (c0: number, c1: number) => {
    threefry(out, key[0], key[1], c0, c1);
    key[0] = out[0] ^ c0;
    key[1] = out[1] ^ c1;
  };
  const unit = (i: number) => (i < name.length ? name.charCodeAt(i) : 0);
  absorb(name.length, 0);
  for (let i = 0; i < name.length; i += 4) absorb(unit(i) | (unit(i + 1) << 16), unit(i + 2) | (unit(i + 3) << 16));
  return key;
}

/** One stream of random numbers. Every draw, except a rejected one, takes one 64-bit block. */
export class Random {
  /** Blocks drawn so far: all there is to save and restore. */
  position = 0;
  private readonly block = new Int32Array(2);

  constructor(private readonly key: Int32Array) {}

  private next(): Int32Array {
    const at = this.position++;
    threefry(this.block, this.key[0], this.key[1], at | 0, Math.floor(at / WORD) | 0);
    return this.block;
  }

  /** A whole number in [0, 2^32). */
  uint32(): number {
    return this.next()[0] >>> 0;
  }

  /** A number in [0, 1) with 53 random bits. Rounded to f32 it can become 1. */
  uniform(): number {
    const block = this.next();
    // 27 and 26 bits: high · 2^26 + low, over 2^53.
    return ((block[1] >>> 5) * 67108864 + (block[0] >>> 6)) / 9007199254740992;
  }

  /**
   * A number from the standard normal distribution: the cosine half of
   * Box and Muller's pair, so that a draw is a block. At most 6.77 (√(2 ln 2^33)).
   */
  normal(): number {
    const block = this.next();
    const radius = Math.sqrt(-2 * log(((block[0] >>> 0) + 0.5) / WORD));
    return radius * cosPi((2 * (block[1] >>> 0)) / WORD);
  }

  /** A standard normal number within [-2, 2]: others are drawn again, as in Keras. Its deviation is 0.8796. */
  truncatedNormal(): number {
    for (;;) {
      const x = this.normal();
      if (Math.abs(x) <= 2) return x;
    }
  }

  /**
   * A whole number in [0, n), each equally likely.
   *
   * @throws OptionError unless n is a whole number from 1 to 2^32
   */
  below(n: number): number {
    integer("below()", "n", n, 1, WORD);
    const fair = WORD - (WORD % n); // draws past the last whole multiple of n would favour small numbers
    for (;;) {
      const x = this.uint32();
      if (x < fair) return x % n;
    }
  }

  /**
   * The numbers 0 to n - 1 in random order (Fisher and Yates).
   *
   * @throws OptionError unless n is a whole number of at least 0
   */
  permutation(n: number): Int32Array {
    integer("permutation()", "n", n, 0);
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}

/**
 * A stream of random numbers, the same in every runtime.
 *
 * @example random(1, "gru_1.kernel").normal()
 * @param seed   a whole number, |seed| < 2^53
 * @param stream its name; a number is taken as its decimal text
 * @throws OptionError for another seed
 */
export function random(seed: number, stream: string | number = ""): Random {
  if (!Number.isSafeInteger(seed))
    throw new OptionError(`random(): "seed" must be a whole number, |seed| < 2^53, got ${shown(seed)}`);
  return new Random(streamKey(seed, String(stream)));
}

/**
 * The order of n samples in an epoch. Depends on its arguments only: a resumed
 * run repeats it without any saved state.
 *
 * @throws OptionError for a seed or an n that is not a whole number
 */
export function permutation(seed: number, epoch: number, n: number): Int32Array {
  return random(seed, `permutation ${epoch}`).permutation(n);
}
