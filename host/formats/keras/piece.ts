import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Layer } from "../../layers/layer.ts";
import type { Config, Dialect } from "./config.ts";

/** A sample as Keras has it, [time, features] or [features]; null for any size, undefined where nothing is known. */
export type Shape = readonly (number | null)[] | undefined;

/** A layer of Keras in gruvy's terms. */
export interface Piece {
  /** Absent where it passes its input on as it is. */
  readonly layer?: Layer;
  /** Groups of a `.keras` file, below the layer's own, that hold its variables, in Keras's order. */
  readonly within: readonly string[];
  /** Names of layers inside it. */
  readonly inner?: readonly string[];
  /**
   * What becomes of a mask: it goes on (the default), begins or ends here, is not seen, turns round with the steps, or
   * is that of the first input; of several inputs it is merged.
   */
  readonly mask?: "starts" | "ends" | "ignores" | "turns" | "first" | "merges";
  /** What it gives, from what it reads, where that is not the same. */
  readonly shape?: (...inputs: readonly Shape[]) => Shape;
  /** Final states of a recurrent layer, its further results. */
  readonly states?: number;
  /** The fewest inputs that Keras's takes. Default one. */
  readonly least?: number;
  /** Parameters by their own names, from the weights in Keras's order. */
  readonly params: (stored: readonly Tensor[]) => Readonly<Record<string, Tensor>>;
}

/** A layer on its way into a model. */
export interface Site {
  readonly className: string;
  /** Its name in gruvy. */
  readonly name: string;
  /** For messages: `layer "gru_1" (GRU)`. */
  readonly where: string;
  readonly dialect: Dialect;
  /** Axes of its first input, the batch among them, where they are known. */
  readonly rank?: number;
}

export type Converter = (config: Config, site: Site) => Piece;

export const none = () => ({});

/** Parameters that Keras has in this order, with the same shapes; later ones may be missing. */
export function inOrder(...names: string[]): Piece["params"] {
  return (stored) => Object.fromEntries(stored.map((tensor, i) => [names[i] ?? `weight ${i}`, tensor]));
}

/** Options that are there. */
export function given(options: Record<string, unknown>): never {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** A flag that may be missing, or null. */
export function flag(config: Config, name: string, otherwise: boolean): unknown {
  return config[name] ?? otherwise;
}

/** A rate of dropout, where there is one. */
export function rate(value: unknown): unknown {
  return value === null || value === 0 ? undefined : value;
}

/** An option that Keras writes as [3], or as 3. */
export function single(value: unknown, otherwise?: number): unknown {
  const own = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return own ?? otherwise;
}

/** A size that an option says, if it is one. */
export function size(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : null;
}

/** The same steps with other features. */
export function withFeatures(features: number | null): Piece["shape"] {
  return (input) => input && [...input.slice(0, -1), features];
}

export function channelsLast(c: Config, where: string): void {
  if ((c.data_format ?? "channels_last") !== "channels_last")
    throw new FormatError(`${where}: data_format ${shown(c.data_format)}; gruvy has features last, "channels_last"`);
}
