import { FormatError } from "../../core/errors.ts";
import { isRecord } from "../../core/options.ts";
import { type Config, snakeCase } from "./config.ts";
import type { Shape } from "./piece.ts";

/** The layers of a model as its JSON lists them. */

/** A layer, before anybody knows what it is. */
export interface Described {
  readonly className: string;
  readonly name: string;
  readonly config: Config;
  /** Its config as it stands, which in old models is a list. */
  readonly whole: unknown;
  readonly inbound: unknown;
  readonly group: string;
  /** Where its class is from, in files of Keras 3. */
  readonly module?: string;
}

/** The layers of a model, each with its group in a `.keras` file: the class, and which of its class. */
export function describe(list: readonly unknown[], group: string): Described[] {
  const counts = new Map<string, number>();
  return list.map((layer, i) => {
    if (!isRecord(layer) || typeof layer.class_name !== "string")
      throw new FormatError(`loadModel(): layer ${i} has no class`);
    const { class_name: className, config: whole, inbound_nodes: inbound, module } = layer;
    const config = isRecord(whole) ? whole : {};
    const snake = snakeCase(className);
    const count = counts.get(snake) ?? 0;
    counts.set(snake, count + 1);
    const name = [layer.name, config.name].find((value) => typeof value === "string") ?? `${snake}_${i}`;
    return {
      className,
      name: name as string,
      config,
      whole,
      inbound,
      ...(typeof module === "string" && { module }),
      group: `${group}layers/${snake}${count ? `_${count}` : ""}`,
    };
  });
}

/** What is known of a shape that a file gives. */
export function shapeOf(shape: readonly unknown[] | undefined): Shape {
  return shape?.map((n) => (Number.isSafeInteger(n) ? (n as number) : null));
}

/** The shape of a sample from [null, 12, 4]; undefined for what is no shape. */
export function readShape(shape: unknown): (number | null)[] | undefined {
  if (!Array.isArray(shape) || shape.length < 1) return undefined;
  return shape.slice(1) as (number | null)[];
}
