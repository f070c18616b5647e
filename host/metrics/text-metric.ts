import { OptionError, ShapeError } from "../core/errors.ts";
import { shown, withDefaults } from "../core/options.ts";
import type { Metric, MetricState } from "./metric.ts";

/** Texts, one a sample; or one text alone. */
export type Texts = string | readonly string[];

/** What texts are compared with: one a sample, or several, of which each is right. */
export type References = string | readonly (string | readonly string[])[];

/** As `MetricFunction`, of texts. */
export interface TextMetricFunction<Options extends object, Result = number, Truth = Texts> {
  (options?: Options): Metric<Result, Truth>;
  (yTrue: Truth, yPred: Texts, options?: Options): Result;
}

/** Sums over samples. */
interface TextSums<Result> {
  add(references: readonly string[], hypothesis: string): void;
  result(): Result;
}

/**
 * A metric of texts from what is particular about it. Its state sees a batch
 * of texts at a time, and weighs all of them alike.
 *
 * @param several whether a sample may have several references
 * @param check   throws OptionError for an option out of its range
 * @param create  fresh sums
 */
export function defineTextMetric<Options extends object, Result = number, Truth extends References = Texts>(
  name: string,
  several: boolean,
  defaults: Required<Options>,
  check: (where: string, options: Required<Options>) => void,
  create: (options: Required<Options>) => TextSums<Result>,
): TextMetricFunction<Options, Result, Truth> {
  const where = `${name}()`;

  function metric(options?: Options): Metric<Result, Truth> {
    const all = withDefaults<Required<Options>>(where, options, defaults);
    check(where, all);
    return { name, options: all, reads: "texts", create: () => state(where, several, () => create(all)) };
  }

  return ((...args: [Options?] | [Truth, Truth, Options?]) => {
    if (args.length > 1) {
      const sums = metric(args[2]).create();
      sums.update(...(args.slice(0, 2) as [Truth, Truth]));
      return sums.result();
    }
    if (typeof args[0] === "string" || Array.isArray(args[0]))
      throw new OptionError(`${where}: expected (yTrue, yPred), got targets only`);
    return metric(args[0] as Options | undefined);
  }) as TextMetricFunction<Options, Result, Truth>;
}

function state<Result, Truth extends References>(
  where: string,
  several: boolean,
  fresh: () => TextSums<Result>,
): MetricState<Result, Truth> {
  let sums = fresh();
  return {
    update(yTrue, yPred) {
      const hypotheses = texts(where, "yPred", yPred, false);
      const references = texts(where, "yTrue", yTrue, several);
      if (references.length !== hypotheses.length)
        throw new ShapeError(
          `${where}: expected as many texts in yTrue as in yPred, got ${references.length} and ${hypotheses.length}`,
        );
      hypotheses.forEach(([hypothesis], i) => {
        sums.add(references[i], hypothesis);
      });
    },
    result: () => sums.result(),
    reset() {
      sums = fresh();
    },
  };
}

/** The texts of each sample. */
function texts(where: string, what: string, value: unknown, several: boolean): readonly string[][] {
  const list = typeof value === "string" ? [value] : value;
  const expected = several ? "texts, or lists of texts" : "texts";
  if (!Array.isArray(list)) throw new ShapeError(`${where}: expected ${what} to be ${expected}, got ${shown(value)}`);
  return Array.from(list, (entry, i) => {
    const own = several && Array.isArray(entry) ? entry : [entry];
    if (!own.length || !own.every((text) => typeof text === "string"))
      throw new ShapeError(`${where}: expected ${what} to be ${expected}, got ${shown(entry)} at position ${i}`);
    return own;
  });
}

/** What stands between white space. */
export function words(text: string): string[] {
  return text.split(/\s+/u).filter((word) => word !== "");
}
