import { OptionError } from "../core/errors.ts";
import { checkOptions, shown, suggestion } from "../core/options.ts";
import { adagrad } from "./adagrad.ts";
import { adam, adamW } from "./adam.ts";
import type { Optimizer } from "./optimizer.ts";
import { rmsprop } from "./rmsprop.ts";
import { sgd } from "./sgd.ts";

/** Every optimizer by its name; a new one is a row here. */
const optimizers: Readonly<Record<string, (options?: never) => Optimizer>> = { adam, adamW, rmsprop, sgd, adagrad };

/** An optimizer by name, with options, or as it was saved. */
export type OptimizerLike = string | Optimizer | { readonly name: string; readonly config: object };

/** @throws OptionError for an unknown name, with the nearest known one */
export function resolveOptimizer(where: string, value: unknown): Optimizer {
  const { name, config, update } = typeof value === "string" ? { name: value } : Object(value);
  if (typeof update === "function") return value as Optimizer;
  if (typeof value === "function") throw new OptionError(`${where}: "optimizer" is a function; call it: adam()`);
  if (typeof name !== "string")
    throw new OptionError(`${where}: "optimizer" must be a name or an optimizer, got ${shown(value)}`);
  if (!Object.hasOwn(optimizers, name))
    throw new OptionError(`${where}: unknown optimizer ${shown(name)}${suggestion(name, Object.keys(optimizers))}`);
  if (config !== undefined) checkOptions(`${name}()`, config, Object.keys(Object(config)));
  // JSON has no Infinity.
  const options = config && {
    ...(config as object),
    ...("clipNormType" in config && config.clipNormType === "Infinity" ? { clipNormType: Infinity } : {}),
  };
  return optimizers[name](options as never);
}
