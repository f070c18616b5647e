import { OptionError } from "../core/errors.ts";
import { exp, log } from "../core/math.ts";
import { integer, real, shown } from "../core/options.ts";
import type { TensorLike } from "../core/tensor.ts";
import type { LanguageModel } from "../text/ngram.ts";
import { type CtcDecodeOptions, checkPosteriors, type Decoded, type Posteriors } from "./posteriors.ts";

export interface CtcBeamOptions extends CtcDecodeOptions {
  /** Prefixes kept from step to step. Default 25. */
  beamWidth?: number;
  /** Knows which texts are likely: `ngramModel`, or one's own. Needs `symbols`. */
  languageModel?: LanguageModel;
  /** The text of each class, for the language model; the blank's is not read. */
  symbols?: readonly string[];
  /** Weight of the language model. Default 0.5. */
  alpha?: number;
  /** Added for each label: language models favour short texts. Default 0. */
  beta?: number;
}

/** The best labels, and all that were in the beam at the end, best first. */
export interface BeamDecoded extends Decoded {
  readonly beam: readonly Decoded[];
}

/**
 * The labels with the most probability over all paths that spell them, by
 * prefix beam search. It maximises
 *
 *   ln P(labels | steps) + alpha ln P(text) + beta |labels|
 *
 * For each prefix two sums are kept: paths that end in a blank, which may
 * repeat the last label, and paths that end in the label. A beam as wide as
 * there are prefixes is exact.
 *
 * Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech
 * Recognition using Bi-Directional Recurrent DNNs", arXiv:1408.2873.
 *
 * @example
 * const languageModel = ngramModel(texts, { order: 5 })
 * const symbols = ["", ..."abcdefghijklmnopqrstuvwxyz "]
 * const [{ labels, score }] = ctcBeamSearch(posteriors, { lengths, languageModel, symbols, alpha: 0.8, beta: 1 })
 * @param posteriors [batch, time, classes], what a model with the loss `ctc` puts out
 * @throws ShapeError, OptionError for posteriors and options that do not fit
 */
export function ctcBeamSearch(posteriors: TensorLike, options: CtcBeamOptions = {}): BeamDecoded[] {
  const where = "ctcBeamSearch()";
  const own = ["beamWidth", "languageModel", "symbols", "alpha", "beta"];
  const given = checkPosteriors(where, posteriors, options, own);
  const width = integer(where, "beamWidth", options.beamWidth ?? 25, 1);
  const alpha = real(where, "alpha", options.alpha ?? 0.5, "[0, inf)");
  const beta = real(where, "beta", options.beta ?? 0, "(-inf, inf)");
  const { languageModel, symbols } = options;
  if (languageModel !== undefined && typeof languageModel?.logProbability !== "function")
    throw new OptionError(
      `${where}: "languageModel" must be one, such as ngramModel() makes, got ${shown(languageModel)}`,
    );
  if (
    languageModel &&
    !(Array.isArray(symbols) && symbols.length === given.classes && symbols.every((s) => typeof s === "string"))
  )
    throw new OptionError(
      `${where}: "symbols" must be the texts of ${given.classes} classes for the language model, got ${shown(symbols)}`,
    );
  const bonus = (prefix: Prefix, label: number | undefined): number => {
    const count = label === undefined ? 0 : beta;
    if (!languageModel || alpha === 0) return count;
    const next = label === undefined ? undefined : symbols![label];
    return count + alpha * languageModel.logProbability(next, prefix.text(symbols!));
  };
  return Array.from({ length: given.batch }, (_, b) => {
    const beam = search(given, b, width, beta, bonus)
      .map((prefix) => ({ labels: prefix.labels(), score: prefix.score + bonus(prefix, undefined) }))
      .sort((p, q) => q.score - p.score);
    return { ...beam[0], beam };
  });
}

/** ln(e^a + e^b). */
function logAdd(a: number, b: number): number {
  const [low, high] = a < b ? [a, b] : [b, a];
  return low === -Infinity ? high : high + log(1 + exp(low - high));
}

/** Labels that some paths have spelled so far: a node of a tree, so that the same labels are the same object. */
class Prefix {
  /** ln P of the paths that spell it and end in a blank, and in its last label. */
  blank = -Infinity;
  label = -Infinity;
  /** The step in whose beam it is. */
  step = -1;
  readonly longer = new Map<number, Prefix>();
  private symbols?: readonly string[];

  constructor(
    readonly parent: Prefix | undefined,
    readonly last: number,
    /** What the language model and the bonus for labels add. */
    readonly extra: number,
  ) {}

  get total(): number {
    return logAdd(this.blank, this.label);
  }

  get score(): number {
    return this.total + this.extra;
  }

  labels(): number[] {
    const out: number[] = [];
    for (let p: Prefix = this; p.parent; p = p.parent) out.push(p.last);
    return out.reverse();
  }

  text(symbols: readonly string[]): readonly string[] {
    return (this.symbols ??= this.labels().map((label) => symbols[label]));
  }
}

/** A prefix that may be in the next beam: one that stays, or one longer by a label. */
interface Candidate {
  readonly score: number;
  readonly prefix: Prefix;
  /** Absent: the prefix stays. */
  readonly label?: number;
  readonly extra: number;
  readonly blankSum: number;
  readonly labelSum: number;
}

/** The prefixes in the beam after the last step, in no order. */
function search(
  given: Posteriors,
  b: number,
  width: number,
  beta: number,
  bonus: (prefix: Prefix, label: number) => number,
): Prefix[] {
  const { classes, blank } = given;
  const logp = new Float64Array(classes);
  const root = new Prefix(undefined, -1, 0);
  root.blank = 0;
  let beam = [root];
  for (let t = 0; t < given.steps(b); t++) {
    given.read(b, t, logp);
    for (const prefix of beam) prefix.step = t;
    const best = new Best(width);
    for (const prefix of beam) {
      const { parent, last, extra } = prefix;
      const blankSum = prefix.total + logp[blank];
      let labelSum = -Infinity;
      if (parent) {
        labelSum = prefix.label + logp[last];
        // Its parent may grow into it, too; after the same label only through a blank.
        if (parent.step === t)
          labelSum = logAdd(labelSum, (last === parent.last ? parent.blank : parent.total) + logp[last]);
      }
      best.offer({ score: logAdd(blankSum, labelSum) + extra, prefix, extra, blankSum, labelSum });
    }
    for (const prefix of beam) {
      const { total } = prefix;
      for (let label = 0; label < classes; label++) {
        if (label === blank || prefix.longer.get(label)?.step === t) continue;
        const labelSum = (label === prefix.last ? prefix.blank : total) + logp[label];
        // A language model can only take away: most need not be asked about.
        if (labelSum === -Infinity || labelSum + prefix.extra + beta <= best.least) continue;
        const extra = prefix.extra + bonus(prefix, label);
        best.offer({ score: labelSum + extra, prefix, label, extra, blankSum: -Infinity, labelSum });
      }
    }
    // A step of impossible classes leaves what there was.
    beam = best.candidates.map(({ prefix, label, extra, blankSum, labelSum }) => {
      let kept = prefix;
      if (label !== undefined) {
        kept = prefix.longer.get(label) ?? new Prefix(prefix, label, extra);
        prefix.longer.set(label, kept);
      }
      kept.blank = blankSum;
      kept.label = labelSum;
      return kept;
    });
  }
  return beam;
}

/** The best candidates so far, best first; of equals the first. */
class Best {
  readonly candidates: Candidate[] = [];

  constructor(private readonly width: number) {}

  /** What a candidate must be above. */
  get least(): number {
    return this.candidates.length < this.width ? -Infinity : this.candidates[this.width - 1].score;
  }

  offer(candidate: Candidate): void {
    if (candidate.score <= this.least && this.candidates.length === this.width) return;
    let i = this.candidates.length;
    while (i > 0 && this.candidates[i - 1].score < candidate.score) i--;
    this.candidates.splice(i, 0, candidate);
    if (this.candidates.length > this.width) this.candidates.pop();
  }
}
