import type { Arena } from "../core/arena.ts";
import { OptionError } from "../core/errors.ts";
import type { Exports } from "../core/kernels.ts";
import { real, shown } from "../core/options.ts";
import type { Json } from "../layers/layer.ts";
import { resolveSchedule, type Schedule } from "./schedules.ts";

/** Options that all optimizers share. At most one of the three ways to clip. */
export interface CommonOptions {
  /** A number or a schedule. */
  learningRate?: number | Schedule;
  /** Each tensor's gradient is scaled down to this L2 norm. */
  clipNorm?: number;
  /** All gradients together are scaled down to this norm (PyTorch's clip_grad_norm_). */
  globalClipNorm?: number;
  /** Of globalClipNorm: 1, 2 or Infinity. Default 2. */
  clipNormType?: 1 | 2 | typeof Infinity;
  /** Each entry of the gradients is cut to [-clipValue, clipValue]. */
  clipValue?: number;
}

export interface Clipping {
  readonly clipNorm?: number;
  readonly globalClipNorm?: number;
  readonly clipNormType: 1 | 2 | typeof Infinity;
  readonly clipValue?: number;
}

/** Flat spans of equal length in the arena. */
export interface Spans {
  readonly params: number;
  readonly grads: number;
  /** One a slot, in the order of `slots`. */
  readonly slots: readonly number[];
  /** SETTINGS f32 for the kernel's hyper-parameters. */
  readonly settings: number;
  /** Elements, padding included. */
  readonly count: number;
}

/** Elements of the settings that kernels read. */
export const SETTINGS = 16;

/** An update rule with its options. */
export interface Optimizer {
  readonly name: string;
  readonly config: { readonly [option: string]: Json };
  readonly learningRate: number | Schedule;
  /** The rate that a schedule without one of its own starts from. */
  readonly baseRate: number;
  readonly clipping: Clipping;
  /** Names of the moments it keeps, each as large as the parameters. */
  readonly slots: readonly string[];
  /** What a slot holds before the first step; zero unless said. */
  readonly initial?: Readonly<Record<string, number>>;
  /**
   * One step over the flat spans.
   *
   * @param rate the learning rate of this step
   * @param t    the step's number, from 1
   */
  update(core: Exports, arena: Arena, spans: Spans, rate: number, t: number): void;
}

export const COMMON = ["learningRate", "clipNorm", "globalClipNorm", "clipNormType", "clipValue"] as const;

/** Checks the shared options and gives them their JSON form. */
export function common(where: string, options: CommonOptions, baseRate: number) {
  const { learningRate = baseRate, clipNorm, globalClipNorm, clipNormType, clipValue } = options;
  const rate =
    typeof learningRate === "number"
      ? real(where, "learningRate", learningRate, "[0, inf)")
      : resolveSchedule(`${where}: "learningRate"`, learningRate);
  const given = Object.entries({ clipNorm, globalClipNorm, clipValue }).filter(([, value]) => value !== undefined);
  if (given.length > 1)
    throw new OptionError(
      `${where}: give one of ${given.map(([name]) => `"${name}"`).join(", ")}, not ${given.length}`,
    );
  for (const [name, value] of given) real(where, name, value, "(0, inf)");
  const type = clipNormType ?? 2;
  if (type !== 1 && type !== 2 && type !== Infinity)
    throw new OptionError(`${where}: "clipNormType" must be 1, 2 or Infinity, got ${shown(type)}`);
  if (clipNormType !== undefined && globalClipNorm === undefined)
    throw new OptionError(`${where}: "clipNormType" goes with "globalClipNorm"`);
  const clipping: Clipping = { clipNorm, globalClipNorm, clipNormType: type, clipValue };
  const config: { [option: string]: Json } = { learningRate: rate as unknown as Json };
  for (const [name, value] of given) config[name] = value as number;
  if (globalClipNorm !== undefined && type !== 2) config.clipNormType = type === 1 ? 1 : "Infinity";
  return { learningRate: rate, baseRate: typeof rate === "number" ? rate : baseRate, clipping, config };
}
