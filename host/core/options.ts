import { editDistance } from "./edit-distance.ts";
import { OptionError } from "./errors.ts";

/**
 * Doors of the public API: every option object is checked here, so that the
 * wording of errors lives in one place.
 */

/** Longest string that a message repeats in full. */
const LONGEST = 80;

/** `; did you mean "x"?` for the known name nearest to `name`, or nothing. */
export function suggestion(name: string, known: readonly string[]): string {
  // Nobody means one of ours with a name this long, and the distance takes time.
  if (name.length > LONGEST) return `; known: ${known.join(", ")}`;
  const plain = (s: string) => s.toLowerCase().replace(/[^a-z0-9]/g, "");
  let best = "";
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const d = editDistance(plain(name), plain(candidate));
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best ? `; did you mean "${best}"?` : `; known: ${known.join(", ")}`;
}

/**
 * A value as it appears in an error message. It may come from anyone: nothing
 * of it runs, and the text stays short however large or deep the value is.
 */
export function shown(value: unknown, depth = 0): string {
  if (typeof value === "string")
    return value.length > LONGEST ? `${JSON.stringify(value.slice(0, LONGEST))}...` : JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return "a BigInt";
  if (value === null || typeof value !== "object") return String(value).slice(0, LONGEST);
  if (!Array.isArray(value)) return className(value);
  if (depth > 2) return "an array";
  const entries = Array.from(value.slice(0, 8), (entry) => shown(entry, depth + 1));
  return `[${entries.join(", ")}${value.length > 8 ? ", ..." : ""}]`;
}

/** The name of the class that an object is of: the prototype's, not what the object says of itself. */
function className(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  const made = prototype && Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  const name = typeof made === "function" && Object.getOwnPropertyDescriptor(made, "name")?.value;
  return typeof name === "string" && name ? name.slice(0, LONGEST) : "an object";
}

/**
 * Refuses options that nobody declared.
 *
 * @throws OptionError naming the option and the nearest known one
 */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (options === null || typeof options !== "object" || Array.isArray(options))
    throw new OptionError(`${where}: options must be an object, got ${shown(options)}`);
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new OptionError(`${where}: unknown option ${shown(name)}${suggestion(name, known)}`);
}

/** One of a list of names. */
export function oneOf<T extends string>(where: string, name: string, value: unknown, known: readonly T[]): T {
  if (typeof value !== "string" || !known.includes(value as T))
    throw new OptionError(
      `${where}: "${name}" must be one of ${known.map((k) => `"${k}"`).join(", ")}, got ${shown(value)}` +
        (typeof value === "string" ? suggestion(value, known).replace(/^; known.*/, "") : ""),
    );
  return value as T;
}

/** A whole number in [min, max]. */
export function integer(where: string, name: string, value: unknown, min: number, max = 2 ** 31 - 1): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
    throw new OptionError(
      `${where}: "${name}" must be a whole number${max === 2 ** 31 - 1 ? ` of at least ${min}` : ` from ${min} to ${max}`}, got ${shown(value)}`,
    );
  return value;
}

/** Bounds of a real option, as written in its message: "[0, 1)", "(0, inf)". */
export function real(where: string, name: string, value: unknown, range: string): number {
  const match = /^([[(])\s*(\S+),\s*(\S+?)([\])])$/.exec(range);
  if (!match) throw new Error(`bad range ${range}`);
  const bound = (s: string) => (s === "inf" ? Infinity : s === "-inf" ? -Infinity : Number(s));
  const [low, high] = [bound(match[2]), bound(match[3])];
  const inside =
    typeof value === "number" &&
    !Number.isNaN(value) &&
    (match[1] === "[" ? value >= low : value > low) &&
    (match[4] === "]" ? value <= high : value < high);
  if (!inside) throw new OptionError(`${where}: "${name}" must be in ${range}, got ${shown(value)}`);
  return value as number;
}

/** True or false, nothing that merely looks like it. */
export function flag(where: string, name: string, value: unknown): boolean {
  if (typeof value !== "boolean")
    throw new OptionError(`${where}: "${name}" must be true or false, got ${shown(value)}`);
  return value;
}

/** Checked options with every default filled in; an option that is undefined counts as absent. */
export function withDefaults<Options extends object>(
  where: string,
  options: Partial<Options> | undefined,
  defaults: Options,
): Options {
  checkOptions(where, options, Object.keys(defaults));
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** An object of JSON, neither null nor a list. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
