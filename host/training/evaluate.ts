import type { Batch } from "../batches/source.ts";
import { ShapeError } from "../core/errors.ts";
import { breathe } from "./breathe.ts";
import { Scores, type Trainer } from "./trainer.ts";

/**
 * Loss and metrics over batches.
 *
 * @throws ShapeError when there are none; the signal's reason when it is aborted between two
 */
export async function evaluate(
  trainer: Trainer,
  where: string,
  batches: Iterable<Batch> | AsyncIterable<Batch>,
  signal?: AbortSignal,
): Promise<Record<string, number>> {
  const scores = new Scores(trainer);
  const pause = breathe();
  let any = false;
  for await (const { examples, rows } of batches) {
    signal?.throwIfAborted();
    if (!any) trainer.network.checkBatches(where, examples.count, rows.length);
    any = true;
    scores.add(trainer.test(examples, rows), examples, rows);
    await pause();
  }
  if (!any) throw new ShapeError(`${where}: the source gave no batches`);
  return scores.result();
}
