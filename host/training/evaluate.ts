import type { Door, Extras } from "../batches/examples.ts";
import { type BatchSource, batches, isBatchSource } from "../batches/source.ts";
import { OptionError, ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import type { TensorLike } from "../core/tensor.ts";
import { breathe } from "./breathe.ts";
import { Scores, type Trainer } from "./trainer.ts";

/** Loss and metrics over arrays or a source of batches. */
export async function evaluate(
  trainer: Trainer,
  door: Door,
  where: string,
  x: TensorLike | BatchSource,
  y: TensorLike | undefined,
  extras: Extras,
  batchSize: number,
  signal?: AbortSignal,
): Promise<Record<string, number>> {
  const scores = new Scores(trainer);
  if (isBatchSource(x) && y !== undefined)
    throw new OptionError(`${where}: y comes with the batches when x gives batches, got y ${shown(y)} as well`);
  const pause = breathe();
  let any = false;
  for await (const { examples, rows } of batches(where, door, x, y, extras, batchSize)) {
    signal?.throwIfAborted();
    any = true;
    scores.add(trainer.test(examples, rows), examples, rows);
    await pause();
  }
  if (!any) throw new ShapeError(`${where}: the source gave no batches`);
  return scores.result(trainer.reduction);
}
