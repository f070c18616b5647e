import type { Arena } from "../core/arena.ts";
import { OptionError, ShapeError } from "../core/errors.ts";
import { shown } from "../core/options.ts";
import { readRows, writeRows } from "../core/rows.ts";

/** Where one layer's hidden state lies: rows of `units` numbers, `stride` apart. */
export interface StateRows {
  readonly address: number;
  readonly units: number;
  readonly stride: number;
}

/** All hidden states, layer after layer, [rows, units] each. */
export function readStates(arena: Arena, places: readonly StateRows[], rows: number): Float32Array {
  const out = new Float32Array(length(places, rows));
  let at = 0;
  for (const { address, units, stride } of places) {
    out.set(readRows(arena, address, rows, units, stride), at);
    at += rows * units;
  }
  return out;
}

/**
 * Writes what `readStates` gave.
 *
 * @throws ShapeError, OptionError for values that do not fit; then nothing has changed
 */
export function writeStates(
  where: string,
  arena: Arena,
  places: readonly StateRows[],
  rows: number,
  values: Float32Array,
): void {
  const total = length(places, rows);
  if (!(values instanceof Float32Array) || values.length !== total)
    throw new ShapeError(
      `${where}: expected a Float32Array of ${total} numbers, got ${values instanceof Float32Array ? values.length : shown(values)}`,
    );
  for (const v of values) if (v - v !== 0) throw new OptionError(`${where}: has ${v}; expected finite numbers`);
  let at = 0;
  for (const { address, units, stride } of places) {
    writeRows(arena, address, values.subarray(at, at + rows * units), rows, units, stride);
    at += rows * units;
  }
}

/** Zeros. */
export function clearStates(arena: Arena, places: readonly StateRows[], rows: number): void {
  for (const { address, stride } of places) arena.f32.fill(0, address >>> 2, (address >>> 2) + rows * stride);
}

function length(places: readonly StateRows[], rows: number): number {
  return places.reduce((sum, { units }) => sum + rows * units, 0);
}
