/**
 * What one gets without a network: predictions by counting. A model that does not beat them has learnt nothing.
 */
import { batchOf, KEYS } from "./data.js";

/** Calls `visit(key, before, now)` for every key of every frame but the first of a piece; 1 is a key that sounds. */
function eachKey(pieces, visit) {
  const { x, y, lengths } = batchOf(pieces);
  const steps = x.shape[1];
  lengths.forEach((length, i) => {
    for (let t = 0; t < length; t++)
      for (let key = 0; key < KEYS; key++) {
        const at = (i * steps + t) * KEYS + key;
        visit(key, x.data[at], y.data[at]);
      }
  });
}

/**
 * Negative log-likelihood a frame, in nats, of predictions by how often a key sounded in the training pieces in the
 * same case. One more frame with each outcome is taken as seen, so that nothing is impossible.
 *
 * @param {(key: number, before: number) => number} caseOf what is known, as a number
 */
function counted({ train, test }, caseOf) {
  const seen = [];
  eachKey(train, (key, before, now) => {
    const counts = (seen[caseOf(key, before)] ??= [1, 1]);
    counts[now]++;
  });
  let nll = 0;
  let keys = 0;
  eachKey(test, (key, before, now) => {
    const [off, on] = seen[caseOf(key, before)] ?? [1, 1];
    nll -= Math.log((now ? on : off) / (off + on));
    keys++;
  });
  return (nll / keys) * KEYS;
}

/** How often a key sounds at all. */
export const marginals = (pieces) => counted(pieces, (key) => key);

/** How often a key sounds after a frame in which it did, or did not. */
export const stayOrChange = (pieces) => counted(pieces, (key, before) => 2 * key + before);
