import { exp, log } from "../core/math.ts";
import { flag, integer, oneOf, real } from "../core/options.ts";
import { tokenize13a } from "../text/tokenize.ts";
import { ngrams, overlap } from "./ngrams.ts";
import { defineTextMetric, type References, words } from "./text-metric.ts";

export interface BleuOptions {
  /** "13a" splits punctuation off, as mteval-v13a; "char" takes characters; "none" splits at white space. Default "13a". */
  tokenize?: "13a" | "char" | "none";
  /** Default false. */
  lowercase?: boolean;
  /** Longest n-grams. Default 4. */
  maxOrder?: number;
  /**
   * What orders without a match count: "exp" 1/2, 1/4, ... of one; "floor" `smoothingValue` of one; "addK" adds
   * `smoothingValue` to matches and totals of all orders but the first; "none" nothing. Default "exp".
   */
  smoothing?: "exp" | "floor" | "addK" | "none";
  /** Default 0.1 for "floor", 1 for "addK". */
  smoothingValue?: number | null;
  /** Leave out orders longer than all predictions, for single sentences. Default false. */
  effectiveOrder?: boolean;
}

const TOKENIZERS: Record<Required<BleuOptions>["tokenize"], (text: string) => string[]> = {
  "13a": tokenize13a,
  char: (text) => words(text).flatMap((word) => Array.from(word)),
  none: words,
};

/**
 * BLEU of a corpus, from 0 to 100: the geometric mean of the precisions of
 * n-grams of 1 to 4 tokens, times a penalty for texts shorter than the nearest
 * reference. Counts are summed over all texts first, so it is no mean of
 * sentences' scores.
 *
 * The definition, the tokenisation 13a and the smoothings are sacreBLEU's
 * (Post 2018, arXiv:1804.08771; its signature nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp);
 * the measure is Papineni et al. 2002, smoothing Chen and Cherry 2014.
 *
 * @example bleu(["The dog bit the man."], ["The dog bit the man."]) // 100
 * @param yTrue one reference a text, or a list of several
 * @param options `tokenize` "13a", `lowercase` false, `maxOrder` 4, `smoothing` "exp", `smoothingValue`, `effectiveOrder` false
 * @throws ShapeError unless there is a text in yPred for each entry of yTrue; OptionError for an unknown or bad option
 */
export const bleu = defineTextMetric<BleuOptions, number, References>(
  "bleu",
  true,
  {
    tokenize: "13a",
    lowercase: false,
    maxOrder: 4,
    smoothing: "exp",
    smoothingValue: null,
    effectiveOrder: false,
  },
  (where, { tokenize, lowercase, maxOrder, smoothing, smoothingValue, effectiveOrder }) => {
    oneOf(where, "tokenize", tokenize, Object.keys(TOKENIZERS) as (keyof typeof TOKENIZERS)[]);
    flag(where, "lowercase", lowercase);
    integer(where, "maxOrder", maxOrder, 1, 64);
    oneOf(where, "smoothing", smoothing, ["exp", "floor", "addK", "none"]);
    if (smoothingValue !== null) real(where, "smoothingValue", smoothingValue, "[0, inf)");
    flag(where, "effectiveOrder", effectiveOrder);
  },
  (options) => {
    const { maxOrder, lowercase } = options;
    const counts: Counts = {
      matches: new Array(maxOrder).fill(0),
      totals: new Array(maxOrder).fill(0),
      length: 0,
      referenceLength: 0,
    };
    const split = (text: string) => TOKENIZERS[options.tokenize](lowercase ? text.toLowerCase() : text);
    return {
      add(references, hypothesis) {
        const tokens = split(hypothesis);
        const others = references.map(split);
        counts.length += tokens.length;
        counts.referenceLength += nearest(
          tokens.length,
          others.map(({ length }) => length),
        );
        for (let n = 1; n <= maxOrder; n++) {
          counts.totals[n - 1] += Math.max(0, tokens.length - n + 1);
          counts.matches[n - 1] += overlap(ngrams(tokens, n), most(others.map((other) => ngrams(other, n))));
        }
      },
      result: () => score(counts, options),
    };
  },
);

/** Summed over the texts, the first two by order. */
interface Counts {
  readonly matches: number[];
  readonly totals: number[];
  length: number;
  referenceLength: number;
}

/** The length nearest to `length`, of equally near ones the shorter. */
function nearest(length: number, others: readonly number[]): number {
  return others.reduce((best, other) => {
    const nearer = Math.abs(other - length) - Math.abs(best - length);
    return nearer < 0 || (nearer === 0 && other < best) ? other : best;
  });
}

/** The largest count of each n-gram in any reference. */
function most(references: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  if (references.length === 1) return references[0];
  const all = new Map<string, number>();
  for (const counts of references)
    for (const [gram, count] of counts) all.set(gram, Math.max(count, all.get(gram) ?? 0));
  return all;
}

function score({ matches, totals, length, referenceLength }: Counts, options: Required<BleuOptions>): number {
  const { smoothing, smoothingValue, effectiveOrder, maxOrder } = options;
  if (matches.every((count) => count === 0)) return 0;
  const k = smoothingValue ?? (smoothing === "floor" ? 0.1 : 1);
  let sum = 0;
  let orders = maxOrder;
  let halved = 1;
  for (let n = 0; n < maxOrder; n++) {
    const added = smoothing === "addK" && n > 0 ? k : 0;
    const [matched, total] = [matches[n] + added, totals[n] + added];
    if (total === 0) {
      // An order that no prediction is long enough for: the mean is 0, or goes without it.
      if (!effectiveOrder) return 0;
      orders = n;
      break;
    }
    if (matched > 0) sum += log(matched / total);
    else if (smoothing === "exp") sum += log(1 / ((halved *= 2) * total));
    else if (smoothing === "floor") sum += log(k / total);
    else return 0;
  }
  const brevity = length < referenceLength ? exp(1 - referenceLength / length) : 1;
  return 100 * brevity * exp(sum / orders);
}
