import { StateError } from "../core/errors.ts";

/** What gives the probabilities of the next token, for many sequences at once. */
export interface Decoder {
  /** How many tokens there are; 0 begins and ends a sequence. */
  readonly tokens: number;
  /** Feeds each row its last token; gives the probabilities of the next, [rows, tokens], good until the next step. */
  step(last: Int32Array): Float32Array;
  /** Row i goes on from where row from[i] is. */
  reorder(from: Int32Array): void;
}

export interface BeamOptions {
  /** Sequences that are followed at a time for each source; 1 is greedy. */
  readonly beamWidth: number;
  /** Tokens at most, without the end. */
  readonly maxLength: number;
  /** Exponent of the length normalisation; 0: none. */
  readonly alpha: number;
}

/** A sequence found, and how good it is. */
export interface Hypothesis {
  /** Without the 0 at the end. */
  readonly tokens: readonly number[];
  /** Sum of the logarithms of its tokens' probabilities, the end's among them. */
  readonly logProbability: number;
  /** logProbability over the length penalty: what the best is chosen by. */
  readonly score: number;
}

interface Beam {
  readonly tokens: readonly number[];
  readonly logProbability: number;
  /** Its row in the decoder. */
  readonly row: number;
}

interface Candidate {
  readonly beam: Beam;
  readonly token: number;
  readonly logProbability: number;
}

/**
 * Beam search from rows [sources · beamWidth] of a decoder at its beginning.
 * A sequence that ends keeps its place, so that the beam gets narrower; the
 * search is over when all places are taken or `maxLength` is reached. With a
 * width of 1 it is the greedy search.
 *
 *   score(Y) = log P(Y) / lp(Y),   lp(Y) = ((5 + |Y|) / 6)^alpha, the end counted
 *
 * Sources: Sutskever et al. 2014, arXiv:1409.3215, section 3.2 (the search);
 * Wu et al. 2016, arXiv:1609.08144, eq. 14 (the penalty, without coverage).
 *
 * @returns for each source its hypotheses, best first
 * @throws StateError where a probability is NaN
 */
export function beamSearch(decoder: Decoder, sources: number, options: BeamOptions): Hypothesis[][] {
  const { beamWidth: width, maxLength, alpha } = options;
  const rows = sources * width;
  const last = new Int32Array(rows);
  const from = new Int32Array(rows);
  let live: Beam[][] = Array.from({ length: sources }, (_, s) => [{ tokens: [], logProbability: 0, row: s * width }]);
  const done: Hypothesis[][] = Array.from({ length: sources }, () => []);
  const finish = (s: number, tokens: readonly number[], logProbability: number, length: number) =>
    done[s].push({ tokens, logProbability, score: logProbability / ((5 + length) / 6) ** alpha });

  for (let step = 0; step < maxLength && live.some((beams) => beams.length); step++) {
    const probabilities = decoder.step(last);
    from.forEach((_, row) => {
      from[row] = row;
    });
    live = live.map((beams, s) => {
      const next: Beam[] = [];
      for (const { beam, token, logProbability } of best(
        probabilities,
        decoder.tokens,
        beams,
        width - done[s].length,
      )) {
        if (token === 0) {
          finish(s, beam.tokens, logProbability, beam.tokens.length + 1);
          continue;
        }
        const row = s * width + next.length;
        from[row] = beam.row;
        last[row] = token;
        next.push({ tokens: [...beam.tokens, token], logProbability, row });
      }
      return next;
    });
    if (width > 1) decoder.reorder(from);
  }
  live.forEach((beams, s) => {
    for (const { tokens, logProbability } of beams) finish(s, tokens, logProbability, tokens.length);
  });
  for (const hypotheses of done) hypotheses.sort((a, b) => b.score - a.score);
  return done;
}

/** The `count` most probable continuations of all beams, best first; of equal ones the first. */
function best(probabilities: Float32Array, tokens: number, beams: readonly Beam[], count: number): Candidate[] {
  const found: Candidate[] = [];
  for (const beam of beams) {
    const row = probabilities.subarray(beam.row * tokens, (beam.row + 1) * tokens);
    // Below this nothing can be among the best any more; a logarithm for each token would cost more than the search.
    let least = 0;
    for (let token = 0; token < tokens; token++) {
      const p = row[token];
      if (!(p >= 0)) throw new StateError(`beam search: the probability of token ${token} is ${p}`);
      if (p === 0 || p < least) continue;
      const logProbability = beam.logProbability + Math.log(p);
      let at = found.length;
      while (at > 0 && found[at - 1].logProbability < logProbability) at--;
      if (at >= count) continue;
      found.splice(at, 0, { beam, token, logProbability });
      if (found.length > count) found.pop();
      // Half of the exact bound, so that rounding cannot matter.
      if (found.length === count) least = 0.5 * Math.exp(found[count - 1].logProbability - beam.logProbability);
    }
  }
  return found;
}
