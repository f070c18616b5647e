import { OptionError } from "../core/errors.ts";
import { shown, suggestion } from "../core/options.ts";
import { binaryCrossentropy } from "./binary-cross-entropy.ts";
import { categoricalCrossentropy, sparseCategoricalCrossentropy } from "./cross-entropy.ts";
import { ctc } from "./ctc.ts";
import type { Loss } from "./loss.ts";
import { huber, meanAbsoluteError, meanSquaredError, smoothL1 } from "./regression.ts";

/** Every loss by its name; a new one is a row here. */
const losses: Readonly<Record<string, (options?: never) => Loss>> = {
  categoricalCrossentropy,
  sparseCategoricalCrossentropy,
  binaryCrossentropy,
  meanSquaredError,
  meanAbsoluteError,
  huber,
  smoothL1,
  ctc,
};

/** A loss by name, with options, or as it was saved. */
export type LossLike = string | Loss | { readonly name: string; readonly config: object };

/** @throws OptionError for an unknown name, with the nearest known one */
export function resolveLoss(where: string, value: unknown): Loss {
  const { name, config, record } = typeof value === "string" ? { name: value } : Object(value);
  if (typeof record === "function") return value as Loss;
  if (typeof value === "function") throw new OptionError(`${where}: "loss" is a function; call it: huber()`);
  if (typeof name !== "string") throw new OptionError(`${where}: "loss" must be a name or a loss, got ${shown(value)}`);
  if (!Object.hasOwn(losses, name))
    throw new OptionError(`${where}: unknown loss ${shown(name)}${suggestion(name, Object.keys(losses))}`);
  return losses[name](config as never);
}
