/**
 * Random numbers from a seed, the same in every runtime, so that a run of an example can be repeated.
 */

/**
 * A stream of numbers in [0, 1). (mulberry32, Tommy Ettinger 2017)
 *
 * @param {number} seed a whole number
 * @returns {() => number}
 */
export function randomNumbers(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 to n - 1. */
export function below(random, n) {
  return Math.floor(random() * n);
}

/** Brings the items into a random order, in place. (Fisher and Yates) */
export function shuffle(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
