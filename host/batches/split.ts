import { integer, real } from "../core/options.ts";
import { random } from "../core/random.ts";

export interface Split {
  train: Int32Array;
  test: Int32Array;
}

/**
 * Numbers of samples, at random in two parts; the same for the same arguments.
 *
 * @example const { train, test } = trainTestSplit(1000, 0.2, 1) // 800 and 200 of 0 ... 999
 * @param n        samples
 * @param fraction part of them that goes to `test`, rounded to whole samples
 * @param seed     a whole number
 * @throws OptionError for arguments out of their range
 */
export function trainTestSplit(n: number, fraction: number, seed: number): Split {
  const where = "trainTestSplit()";
  integer(where, "n", n, 0);
  real(where, "fraction", fraction, "[0, 1]");
  integer(where, "seed", seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const order = random(seed, "trainTestSplit").permutation(n);
  const train = n - Math.round(n * fraction);
  return { train: order.slice(0, train), test: order.slice(train) };
}
