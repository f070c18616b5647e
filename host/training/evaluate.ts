import type { Batch } from "../batches/source.ts";
import { ShapeError } from "../core/errors.ts";
import { breathe } from "./breathe.ts";
import { Scores } from "./scores.ts";
import type { Trainer } from "./trainer.ts";
import { pieces, statesAfter } from "./truncate.ts";

/**
 * Loss and metrics over batches.
 *
 * @throws ShapeError when there are none; the signal's reason when it is aborted between two
 */
export async function evaluate(
  trainer: Trainer,
  where: string,
  batches: Iterable<Batch> | AsyncIterable<Batch>,
  { signal, truncatedSteps }: { signal?: AbortSignal; truncatedSteps?: number } = {},
): Promise<Record<string, number>> {
  const scores = new Scores(trainer);
  const pause = breathe();
  let any = false;
  for await (const batch of batches) {
    if (!any) trainer.network.checkBatches(where, batch.examples.count, batch.rows.length);
    any = true;
    let initialState: Float32Array[] | undefined;
    for (const { examples, rows } of pieces(where, batch, truncatedSteps)) {
      signal?.throwIfAborted();
      const recording = trainer.test(examples, rows, { initialState, keepStates: truncatedSteps !== undefined });
      if (truncatedSteps) initialState = statesAfter(trainer.network, recording);
      scores.add(recording, examples, rows);
      await pause();
    }
  }
  if (!any) throw new ShapeError(`${where}: the source gave no batches`);
  return scores.result();
}
