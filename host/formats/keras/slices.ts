import { isRecord } from "../../core/options.ts";

/** x[:, -1, :] of a functional model, and the like: which steps of a sequence stay. */
export interface Cut {
  /** Steps cut off at both ends. */
  readonly before: number;
  readonly after: number;
  /** One step alone, whose axis goes. */
  readonly single: boolean;
}

interface Slice {
  readonly start: unknown;
  readonly stop: unknown;
  readonly step: unknown;
}

/** A slice of Keras 3, { class_name: "__slice__", config: ... }, or of TensorFlow, { start, stop, step }. */
function sliceOf(value: unknown): Slice | undefined {
  const own = isRecord(value) && isRecord(value.config) ? value.config : value;
  return isRecord(own) && "start" in own ? { start: own.start, stop: own.stop, step: own.step } : undefined;
}

const none = (value: unknown) => value === null || value === undefined;

function isWhole(value: unknown): boolean {
  const slice = sliceOf(value);
  return slice !== undefined && none(slice.start) && none(slice.stop) && (none(slice.step) || slice.step === 1);
}

/**
 * The steps that a key takes of [batch, time, features]; undefined for what
 * takes something else, or where that depends on how many steps there are.
 *
 * @param steps how many, null for any number
 */
export function readCut(key: unknown, steps: number | null): Cut | undefined {
  if (!Array.isArray(key) || key.length < 2 || key.length > 3) return undefined;
  const [batch, time, features = { start: null }] = key;
  if (!isWhole(batch) || !isWhole(features)) return undefined;
  const slice = sliceOf(time);
  const [start, stop] = slice ? [slice.start, slice.stop] : [time, time === -1 ? null : Number(time) + 1];
  if (!(slice ? none(slice.step) || slice.step === 1 : Number.isSafeInteger(time))) return undefined;
  /** Steps before the first that stays, and after the last. */
  const before = none(start) ? 0 : Number.isSafeInteger(start) ? fromStart(start as number, steps) : undefined;
  const after = none(stop) ? 0 : Number.isSafeInteger(stop) ? fromEnd(stop as number, steps) : undefined;
  if (before === undefined || after === undefined || before < 0 || after < 0) return undefined;
  if (steps !== null && before + after >= steps) return undefined;
  return { before, after, single: !slice };
}

function fromStart(index: number, steps: number | null): number | undefined {
  return index >= 0 ? index : steps === null ? undefined : steps + index;
}

function fromEnd(index: number, steps: number | null): number | undefined {
  return index < 0 ? -index : steps === null ? undefined : steps - index;
}
