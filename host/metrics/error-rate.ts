import { editDistance } from "../core/edit-distance.ts";
import { defineTextMetric, type TextMetricFunction, words } from "./text-metric.ts";

type NoOptions = Record<string, never>;

/** Edits over the length of the references, both summed over all texts. */
function define(name: string, split: (text: string) => string[]): TextMetricFunction<NoOptions> {
  return defineTextMetric<NoOptions>(
    name,
    false,
    {},
    () => {},
    () => {
      let edits = 0;
      let length = 0;
      return {
        add([reference], hypothesis) {
          const expected = split(reference);
          edits += editDistance(expected, split(hypothesis));
          length += expected.length;
        },
        result: () => edits / length,
      };
    },
  );
}

/**
 * Word error rate: insertions, deletions and substitutions of words that turn
 * the predictions into the targets, over the number of words in the targets.
 * Words are what stands between white space; case and punctuation count. May be
 * above 1. NaN where there is neither a word nor an edit.
 *
 * @example wordErrorRate("the cat sat", "the cat sat down") // 0.333
 * @example wordErrorRate(["one two", "three"], ["one", "three"]) // 1 edit in 3 words
 * @throws ShapeError unless there is a text in yPred for each in yTrue
 */
export const wordErrorRate = define("wordErrorRate", words);

/**
 * Character error rate: as `wordErrorRate`, by characters (code points), white
 * space at the ends of a text left out.
 *
 * @example characterErrorRate("cat", "cart") // 0.333
 * @throws ShapeError unless there is a text in yPred for each in yTrue
 */
export const characterErrorRate = define("characterErrorRate", (text) => Array.from(text.trim()));
