import { ShapeError } from "../core/errors.ts";
import { log } from "../core/math.ts";
import { checkOptions, integer, shown } from "../core/options.ts";

/** What a decoder may ask about texts. */
export interface LanguageModel {
  /**
   * @param next    what may come: a character or another symbol; undefined: the end of the text
   * @param context all symbols so far, from the beginning of the text
   * @returns ln P(next | context), at most 0
   */
  logProbability(next: string | undefined, context: readonly string[]): number;
}

/** A text, read by characters (code points), or symbols of any kind. */
export type Text = string | readonly string[];

/** What followed a context, and what stood before it. */
interface Context {
  total: number;
  readonly counts: Map<string | undefined, number>;
  /** The context that is longer by one symbol, by that symbol; null is the beginning of the text. */
  readonly longer: Map<string | null, Context>;
}

const context = (): Context => ({ total: 0, counts: new Map(), longer: new Map() });

/**
 * An n-gram model of texts: how likely a symbol is after the `order` - 1 before
 * it, interpolated with shorter contexts by Witten and Bell's rule,
 *
 *   P(w | h) = (c(h w) + d(h) P(w | h')) / (c(h) + d(h))
 *
 * c counts occurrences, d(h) the different symbols that followed h, h' is h
 * without its oldest symbol. Below single symbols all that were seen, the end
 * of the text and one unseen symbol are equally likely, so that the
 * probabilities of a context add up to 1 and none is 0.
 *
 * Witten and Bell 1991, "The zero-frequency problem"; in this form Chen and
 * Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling".
 *
 * @example const english = ngramModel(["the cat", "the hat"], { order: 3 })
 * @param texts   strings, read by characters, or arrays of symbols
 * @param options `order` 3: symbols in an n-gram, 1 or more
 * @throws ShapeError for anything but texts; OptionError for an unknown or bad option
 */
export function ngramModel(texts: Iterable<Text>, options: { order?: number } = {}): NgramModel {
  const where = "ngramModel()";
  checkOptions(where, options, ["order"]);
  const order = integer(where, "order", options.order ?? 3, 1, 64);
  if (typeof texts === "string" || typeof Object(texts)[Symbol.iterator] !== "function")
    throw new ShapeError(`${where}: expected a list of texts, got ${shown(texts)}`);
  return new NgramModel(where, texts, order);
}

/** Made by `ngramModel`. */
export class NgramModel implements LanguageModel {
  private readonly root = context();
  private readonly seen = new Set<string>();

  /** Use `ngramModel()`. */
  constructor(
    where: string,
    texts: Iterable<Text>,
    /** Symbols in an n-gram. */
    readonly order: number,
  ) {
    for (const text of texts) {
      const symbols = symbolsOf(where, text);
      for (let i = 0; i <= symbols.length; i++) this.count(symbols, i);
    }
  }

  /** Counts what stands at `i`, the end of the text included, in its contexts of every length. */
  private count(symbols: readonly string[], i: number): void {
    const next = i < symbols.length ? symbols[i] : undefined;
    if (next !== undefined) this.seen.add(next);
    let h = this.root;
    for (let back = 1; ; back++) {
      h.total++;
      h.counts.set(next, (h.counts.get(next) ?? 0) + 1);
      if (back === this.order || back > i + 1) return;
      const older = back <= i ? symbols[i - back] : null;
      const longer = h.longer.get(older) ?? context();
      h.longer.set(older, longer);
      h = longer;
    }
  }

  /** ln P(next | context); `next` undefined is the end of the text. */
  logProbability(next: string | undefined, context: readonly string[]): number {
    let p = 1 / (this.seen.size + 2);
    let h: Context | undefined = this.root;
    for (let back = 1; h; back++) {
      const different = h.counts.size;
      if (h.total > 0) p = ((h.counts.get(next) ?? 0) + different * p) / (h.total + different);
      if (back === this.order || back > context.length + 1) break;
      h = h.longer.get(back <= context.length ? context[context.length - back] : null);
    }
    return log(p);
  }

  /** ln P of a whole text, its end included. */
  score(text: Text): number {
    const symbols = symbolsOf("score()", text);
    let sum = 0;
    for (let i = 0; i <= symbols.length; i++) sum += this.logProbability(symbols[i], symbols.slice(0, i));
    return sum;
  }

  /** Symbols that were seen. */
  get vocabulary(): string[] {
    return [...this.seen];
  }
}

function symbolsOf(where: string, text: unknown): readonly string[] {
  if (typeof text === "string") return Array.from(text);
  if (!Array.isArray(text) || !text.every((symbol) => typeof symbol === "string"))
    throw new ShapeError(`${where}: expected a string or an array of strings, got ${shown(text)}`);
  return text;
}
