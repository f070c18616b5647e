import { OptionError } from "../core/errors.ts";
import { cosPi, pow } from "../core/math.ts";
import { checkOptions, integer, oneOf, real, shown, suggestion } from "../core/options.ts";

/**
 * Learning rates that change over time. A schedule is plain data, so that it
 * goes into a saved model as it is; its rate is a closed form of the time, so
 * that a resumed run needs no history. Only reduceOnPlateau, which listens to
 * a metric, has a state, and that is plain data too.
 */

/** What a schedule counts: optimizer steps or epochs, both from 0. */
export type Unit = "step" | "epoch";

export interface StepDecay {
  name: "stepDecay";
  stepSize: number;
  gamma: number;
  unit: Unit;
  learningRate?: number;
}

export interface ExponentialDecay {
  name: "exponentialDecay";
  gamma: number;
  unit: Unit;
  learningRate?: number;
}

export interface CosineDecay {
  name: "cosineDecay";
  total: number;
  minimum: number;
  unit: Unit;
  learningRate?: number;
}

export interface WarmUp {
  name: "warmUp";
  steps: number;
  after?: Schedule;
  unit: Unit;
  learningRate?: number;
}

export interface OneCycle {
  name: "oneCycle";
  maxLearningRate: number;
  totalSteps: number;
  pctStart: number;
  divFactor: number;
  finalDivFactor: number;
  unit: Unit;
}

export interface ReduceOnPlateau {
  name: "reduceOnPlateau";
  factor: number;
  patience: number;
  cooldown: number;
  threshold: number;
  minimum: number;
  mode: "min" | "max";
  learningRate?: number;
}

export type Schedule = StepDecay | ExponentialDecay | CosineDecay | WarmUp | OneCycle | ReduceOnPlateau;

/** What reduceOnPlateau remembers; JSON, for checkpoints. */
export interface PlateauState {
  /** The best metric so far, null before the first. */
  best: number | null;
  /** Epochs since then, or since the last reduction. */
  badEpochs: number;
  /** Epochs left in which bad ones do not count. */
  cooldown: number;
  reductions: number;
}

/** Where training is: steps and epochs done, and the state of a reduceOnPlateau if there is one. */
export interface Progress {
  step: number;
  epoch: number;
  state?: PlateauState;
}

/** A factory's options: all but the name, all optional but the ones in `Needed`. */
type Options<S extends Schedule, Needed extends keyof S> = Pick<S, Needed> & Partial<Omit<S, "name" | Needed>>;

const UNITS = ["step", "epoch"] as const;

/** The options, checked for unknown ones; none at all are missed by name where they are read. */
function given<T extends object>(where: string, options: T, known: string[]): T {
  checkOptions(where, options, known);
  return options ?? {};
}

/** `learningRate` as an option of a schedule: absent, or where it starts. */
function start(where: string, learningRate?: number): { learningRate?: number } {
  return learningRate === undefined ? {} : { learningRate: real(where, "learningRate", learningRate, "(0, inf)") };
}

/**
 * The rate times `gamma` every `stepSize` epochs. PyTorch's StepLR.
 *
 * @example stepDecay({ stepSize: 30, learningRate: 0.1 })
 * @param options `stepSize`; `gamma` 0.1; `unit` "epoch"; `learningRate`, the rate at first, the optimizer's unless given
 * @throws OptionError for an unknown, missing or out-of-range option
 */
export function stepDecay(options: Options<StepDecay, "stepSize">): StepDecay {
  const where = "stepDecay()";
  const {
    stepSize,
    gamma = 0.1,
    unit = "epoch",
    learningRate,
  } = given(where, options, ["stepSize", "gamma", "unit", "learningRate"]);
  return {
    name: "stepDecay",
    stepSize: integer(where, "stepSize", stepSize, 1),
    gamma: real(where, "gamma", gamma, "(0, inf)"),
    unit: oneOf(where, "unit", unit, UNITS),
    ...start(where, learningRate),
  };
}

/**
 * The rate times `gamma` every epoch. PyTorch's ExponentialLR.
 *
 * @example exponentialDecay({ gamma: 0.95 })
 * @param options `gamma`; `unit` "epoch"; `learningRate`, the rate at first, the optimizer's unless given
 * @throws OptionError for an unknown, missing or out-of-range option
 */
export function exponentialDecay(options: Options<ExponentialDecay, "gamma">): ExponentialDecay {
  const where = "exponentialDecay()";
  const { gamma, unit = "epoch", learningRate } = given(where, options, ["gamma", "unit", "learningRate"]);
  return {
    name: "exponentialDecay",
    gamma: real(where, "gamma", gamma, "(0, inf)"),
    unit: oneOf(where, "unit", unit, UNITS),
    ...start(where, learningRate),
  };
}

/**
 * Half a cosine from the rate at first down to `minimum` after `total` steps,
 * and `minimum` from then on. PyTorch's CosineAnnealingLR (T_max, eta_min) up
 * to T_max; Loshchilov and Hutter 2016.
 *
 * @example cosineDecay({ total: 10000 })
 * @param options `total`; `minimum` 0; `unit` "step"; `learningRate`, the rate at first, the optimizer's unless given
 * @throws OptionError for an unknown, missing or out-of-range option
 */
export function cosineDecay(options: Options<CosineDecay, "total">): CosineDecay {
  const where = "cosineDecay()";
  const {
    total,
    minimum = 0,
    unit = "step",
    learningRate,
  } = given(where, options, ["total", "minimum", "unit", "learningRate"]);
  return {
    name: "cosineDecay",
    total: integer(where, "total", total, 1),
    minimum: real(where, "minimum", minimum, "[0, inf)"),
    unit: oneOf(where, "unit", unit, UNITS),
    ...start(where, learningRate),
  };
}

/**
 * A straight line up to full rate: 1/n, 2/n, ... of it in the first n = `steps`
 * steps, then what `after` says. Its steps (or epochs, whichever `unit` counts)
 * are counted from the end of the warm-up.
 *
 * @example adam({ learningRate: warmUp({ steps: 500, after: cosineDecay({ total: 10000, learningRate: 1e-3 }) }) })
 * @param options `steps`; `after`, a constant rate unless given; `unit` "step";
 *   `learningRate`, the full rate, the optimizer's unless given
 * @throws OptionError for an unknown, missing or out-of-range option
 */
export function warmUp(options: Options<WarmUp, "steps">): WarmUp {
  const where = "warmUp()";
  const {
    steps,
    after,
    unit = "step",
    learningRate,
  } = given(where, options, ["steps", "after", "unit", "learningRate"]);
  return {
    name: "warmUp",
    steps: integer(where, "steps", steps, 1),
    ...(after === undefined ? {} : { after: resolveSchedule('warmUp(): "after"', after) }),
    unit: oneOf(where, "unit", unit, UNITS),
    ...start(where, learningRate),
  };
}

/**
 * Half a cosine from maxLearningRate / divFactor up to maxLearningRate, then
 * one down to the start / finalDivFactor, where it stays. PyTorch's OneCycleLR
 * with cosine annealing; Smith and Topin 2018.
 *
 * @example oneCycle({ maxLearningRate: 0.01, totalSteps: 5000 })
 * @param options `maxLearningRate`, `totalSteps`; `pctStart` 0.3, the part that rises;
 *   `divFactor` 25; `finalDivFactor` 1e4; `unit` "step"
 * @throws OptionError for an unknown, missing or out-of-range option
 */
export function oneCycle(options: Options<OneCycle, "maxLearningRate" | "totalSteps">): OneCycle {
  const where = "oneCycle()";
  const {
    maxLearningRate,
    totalSteps,
    pctStart = 0.3,
    divFactor = 25,
    finalDivFactor = 1e4,
    unit = "step",
  } = given(where, options, ["maxLearningRate", "totalSteps", "pctStart", "divFactor", "finalDivFactor", "unit"]);
  return {
    name: "oneCycle",
    maxLearningRate: real(where, "maxLearningRate", maxLearningRate, "(0, inf)"),
    totalSteps: integer(where, "totalSteps", totalSteps, 1),
    pctStart: real(where, "pctStart", pctStart, "[0, 1]"),
    divFactor: real(where, "divFactor", divFactor, "(0, inf)"),
    finalDivFactor: real(where, "finalDivFactor", finalDivFactor, "(0, inf)"),
    unit: oneOf(where, "unit", unit, UNITS),
  };
}

/**
 * The rate times `factor` once a metric has not improved for more than
 * `patience` epochs, never below `minimum`. To improve is to pass the best by
 * more than the fraction `threshold` of it. For `cooldown` epochs after a
 * reduction bad ones do not count. PyTorch's ReduceLROnPlateau (threshold_mode "rel").
 *
 * @example reduceOnPlateau({ factor: 0.5, patience: 3 })
 * @param options `factor` 0.1; `patience` 10; `cooldown` 0; `threshold` 1e-4; `minimum` 0;
 *   `mode` "min", or "max" for a metric that should grow; `learningRate`, the rate at first,
 *   the optimizer's unless given
 * @throws OptionError for an unknown or out-of-range option
 */
export function reduceOnPlateau(options: Options<ReduceOnPlateau, never> = {}): ReduceOnPlateau {
  const where = "reduceOnPlateau()";
  const {
    factor = 0.1,
    patience = 10,
    cooldown = 0,
    threshold = 1e-4,
    minimum = 0,
    mode = "min",
    learningRate,
  } = given(where, options, ["factor", "patience", "cooldown", "threshold", "minimum", "mode", "learningRate"]);
  return {
    name: "reduceOnPlateau",
    factor: real(where, "factor", factor, "(0, 1)"),
    patience: integer(where, "patience", patience, 0),
    cooldown: integer(where, "cooldown", cooldown, 0),
    threshold: real(where, "threshold", threshold, "[0, 1)"),
    minimum: real(where, "minimum", minimum, "[0, inf)"),
    mode: oneOf(where, "mode", mode, ["min", "max"] as const),
    ...start(where, learningRate),
  };
}

const factories: { [Name in Schedule["name"]]: (options: never) => Schedule } = {
  stepDecay,
  exponentialDecay,
  cosineDecay,
  warmUp,
  oneCycle,
  reduceOnPlateau,
};

/**
 * A checked schedule from plain data: what a factory returned, or its JSON.
 *
 * @param where named in errors
 * @throws OptionError for anything else
 */
export function resolveSchedule(where: string, value: unknown): Schedule {
  const { name, ...options } = Object(value);
  if (typeof name !== "string")
    throw new OptionError(`${where}: expected a schedule, such as cosineDecay({ total: 1000 }), got ${shown(value)}`);
  if (!Object.hasOwn(factories, name))
    throw new OptionError(`${where}: unknown schedule ${shown(name)}${suggestion(name, Object.keys(factories))}`);
  return factories[name as Schedule["name"]](options as never);
}

/**
 * The learning rate at a point of training.
 *
 * @param baseRate the optimizer's own, for schedules without a `learningRate`
 * @param progress steps and epochs done so far; the first step is step 0 of epoch 0
 */
export function scheduleRate(schedule: Schedule, baseRate: number, progress: Progress): number {
  if (schedule.name === "oneCycle") return oneCycleRate(schedule, progress[schedule.unit]);
  const base = schedule.learningRate ?? baseRate;
  switch (schedule.name) {
    case "stepDecay":
      return base * pow(schedule.gamma, Math.floor(progress[schedule.unit] / schedule.stepSize));
    case "exponentialDecay":
      return base * pow(schedule.gamma, progress[schedule.unit]);
    case "cosineDecay":
      return anneal(base, schedule.minimum, progress[schedule.unit] / schedule.total);
    case "warmUp":
      return warmUpRate(schedule, base, progress);
    case "reduceOnPlateau":
      return plateauRate(schedule, base, progress.state?.reductions ?? 0);
  }
}

/** Half a cosine from `from`, at part 0, to `to`, from part 1 on. */
function anneal(from: number, to: number, part: number): number {
  return to + ((from - to) / 2) * (1 + cosPi(Math.min(part, 1)));
}

function warmUpRate({ steps, unit, after }: WarmUp, base: number, progress: Progress): number {
  const done = progress[unit];
  const rest = { ...progress, [unit]: Math.max(0, done - steps) };
  return (after ? scheduleRate(after, base, rest) : base) * Math.min(1, (done + 1) / steps);
}

function oneCycleRate(schedule: OneCycle, done: number): number {
  const { maxLearningRate, totalSteps, pctStart } = schedule;
  const first = maxLearningRate / schedule.divFactor;
  const last = totalSteps - 1;
  const peak = pctStart * totalSteps - 1; // PyTorch's: not a whole step in general, below 0 if nothing rises
  if (done <= peak) return peak === 0 ? maxLearningRate : anneal(first, maxLearningRate, done / peak);
  return anneal(maxLearningRate, first / schedule.finalDivFactor, (done - peak) / (last - peak));
}

function plateauRate({ factor, minimum }: ReduceOnPlateau, base: number, reductions: number): number {
  // A floor above the base is no reason to raise the rate before the first reduction.
  return reductions === 0 ? base : Math.max(base * pow(factor, reductions), minimum);
}

/** The state of a reduceOnPlateau before the first epoch. */
export function plateauState(): PlateauState {
  return { best: null, badEpochs: 0, cooldown: 0, reductions: 0 };
}

/** The schedule within `schedule` that listens to a metric, if there is one. */
export function findPlateau(schedule: Schedule): ReduceOnPlateau | undefined {
  if (schedule.name === "warmUp") return schedule.after && findPlateau(schedule.after);
  return schedule.name === "reduceOnPlateau" ? schedule : undefined;
}

/**
 * The state after an epoch that ended with `metric`. Not a number is a bad epoch.
 */
export function afterEpoch(schedule: ReduceOnPlateau, state: PlateauState, metric: number): PlateauState {
  const { mode, threshold, patience, cooldown } = schedule;
  const best = state.best ?? (mode === "min" ? Infinity : -Infinity);
  const better = mode === "min" ? metric < best * (1 - threshold) : metric > best * (1 + threshold);
  const cooling = state.cooldown > 0;
  const badEpochs = better || cooling ? 0 : state.badEpochs + 1;
  const reduce = badEpochs > patience;
  return {
    best: better ? metric : state.best,
    badEpochs: reduce ? 0 : badEpochs,
    cooldown: reduce ? cooldown : Math.max(0, state.cooldown - 1),
    reductions: state.reductions + (reduce ? 1 : 0),
  };
}
