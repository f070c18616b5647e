import { OptionError } from "../core/errors.ts";
import { shown } from "../core/options.ts";

/** A layer's own name, if it has one: parts of parameter names, so without dots. */
export function checkName(where: string, name: unknown): string | undefined {
  if (name === undefined) return undefined;
  if (typeof name !== "string" || !/^[^\s\p{Cc}./\\]{1,200}$/u.test(name) || name.startsWith("__"))
    throw new OptionError(`${where}: "name" must be a word without dots or spaces, got ${shown(name)}`);
  return name;
}
