import { FormatError, OptionError } from "../core/errors.ts";
import { checkOptions, flag, integer, oneOf, real, shown } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Json } from "../layers/layer.ts";
import type { Model } from "../stacks/model.ts";

/** What callbacks see of a running fit. */
export interface FitContext {
  readonly model: Model;
  /** Epochs done before this fit; 0 where training begins. */
  readonly initialEpoch: number;
  /** Epochs that this fit goes to. */
  readonly epochs: number;
  /** Batches an epoch has; of a source of batches known after its first epoch. */
  readonly batches?: number;
  /** Ends training after this epoch, for a reason that `History.stopped` repeats. */
  stop(reason: string): void;
}

/** Numbers of a batch or an epoch: loss, metrics, learningRate; with validation also valLoss... */
export type Logs = Record<string, number>;

/** Hooks of a training run; all optional, all may be async. */
export interface Callback {
  /** Its state is stored in checkpoints under this name. */
  readonly name: string;
  /** Runs after the others. */
  readonly last?: boolean;
  onTrainBegin?(context: FitContext): void | Promise<void>;
  onEpochBegin?(epoch: number, context: FitContext): void | Promise<void>;
  onBatchEnd?(batch: number, logs: Logs, context: FitContext): void | Promise<void>;
  onEpochEnd?(epoch: number, logs: Logs, context: FitContext): void | Promise<void>;
  onTrainEnd?(context: FitContext): void | Promise<void>;
  /** What a resumed run needs. */
  save?(): { state: Json; tensors?: Record<string, Tensor> };
  restore?(state: Json, tensors: Record<string, Tensor>): void;
}

/** Watches one number of the epochs' logs. */
function watch(where: string, options: { monitor?: string; mode?: "auto" | "min" | "max"; minDelta?: number }) {
  const { monitor = "valLoss", minDelta = 0 } = options;
  if (typeof monitor !== "string")
    throw new OptionError(`${where}: "monitor" must be the name of a logged number, got ${shown(monitor)}`);
  real(where, "minDelta", minDelta, "[0, inf)");
  const mode = oneOf(where, "mode", options.mode ?? "auto", ["auto", "min", "max"]);
  const up = mode === "max" || (mode === "auto" && /accuracy|precision|recall|f1|auc/i.test(monitor));
  return {
    read(logs: Logs): number {
      if (!(monitor in logs))
        throw new OptionError(
          `${where}: "monitor": no "${monitor}" in the epoch's logs; there are ${Object.keys(logs).join(", ")}`,
        );
      return logs[monitor];
    },
    // Not a number is never better: as the best, nothing could beat it.
    better: (value: number, best: number | null) =>
      !Number.isNaN(value) && (best === null || (up ? value > best + minDelta : value < best - minDelta)),
  };
}

/** A best value as it is saved; null before the first, and for what JSON does not have. */
function isBest(best: unknown): boolean {
  return best === null || typeof best === "number";
}

export interface EarlyStoppingOptions {
  /** Which logged number. Default "valLoss". */
  monitor?: string;
  /** Epochs in a row without improvement that end training, as Keras counts them. Default 5. */
  patience?: number;
  /** What counts as improvement. Default 0. */
  minDelta?: number;
  /** "auto": larger is better for accuracies and scores, smaller for all else. */
  mode?: "auto" | "min" | "max";
  /** Go back to the best epoch's weights at the end. Default true. */
  restoreBestWeights?: boolean;
}

/** Stops when a number has not improved for `patience` epochs. */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callback {
  const where = "earlyStopping()";
  checkOptions(where, options, ["monitor", "patience", "minDelta", "mode", "restoreBestWeights"]);
  const patience = integer(where, "patience", options.patience ?? 5, 0);
  const restore = flag(where, "restoreBestWeights", options.restoreBestWeights ?? true);
  const watched = watch(where, options);
  let best: number | null = null;
  let bestEpoch = 0;
  let wait = 0;
  let weights: Record<string, Tensor> | undefined;
  const stopIfDue = (context: FitContext) => {
    if (wait > 0 && wait >= patience) context.stop(`no improvement since epoch ${bestEpoch}`);
  };
  return {
    name: "earlyStopping",
    onTrainBegin(context) {
      // The same callback may serve one training after the other.
      if (context.initialEpoch === 0) {
        best = null;
        bestEpoch = wait = 0;
        weights = undefined;
      }
      // A training that has been stopped stays stopped when it is resumed.
      stopIfDue(context);
    },
    onEpochEnd(epoch, logs, context) {
      const value = watched.read(logs);
      if (watched.better(value, best)) {
        best = value;
        bestEpoch = epoch;
        wait = 0;
        if (restore) weights = context.model.weights();
      } else {
        wait++;
        stopIfDue(context);
      }
    },
    onTrainEnd({ model }) {
      if (weights) model.setWeights(weights);
    },
    save: () => ({ state: { best, bestEpoch, wait }, tensors: weights }),
    restore(state, tensors) {
      const saved = Object(state) as { best: number | null; bestEpoch: number; wait: number };
      if (!isBest(saved.best) || !Number.isSafeInteger(saved.bestEpoch) || !Number.isSafeInteger(saved.wait))
        throw new FormatError(`${where}: the state in the checkpoint is damaged`);
      ({ best, bestEpoch, wait } = saved);
      weights = Object.keys(tensors).length ? tensors : undefined;
    },
  };
}

export interface CheckpointOptions {
  /** Only when this logged number improves. Default: every epoch. */
  monitor?: string;
  mode?: "auto" | "min" | "max";
}

/**
 * Saves model, moments and progress after an epoch, so that training can go on
 * from the file as if it had never stopped:
 * `const model = await loadModel(path); await model.fit(x, y, { epochs, initialEpoch: model.epoch })`.
 *
 * @param path a file; "{epoch}" in it becomes the epoch's number
 */
export function checkpoint(path: string, options: CheckpointOptions = {}): Callback {
  const where = "checkpoint()";
  if (typeof path !== "string" || !path) throw new OptionError(`${where}: expected a path, got ${shown(path)}`);
  checkOptions(where, options, ["monitor", "mode"]);
  const watched = options.monitor === undefined ? undefined : watch(where, options);
  let best: number | null = null;
  return {
    name: "checkpoint",
    last: true,
    onTrainBegin({ initialEpoch }) {
      if (initialEpoch === 0) best = null;
    },
    async onEpochEnd(epoch, logs, { model }) {
      if (watched) {
        const value = watched.read(logs);
        if (!watched.better(value, best)) return;
        best = value;
      }
      await model.save(path.replaceAll("{epoch}", String(epoch)), { training: true });
    },
    save: () => ({ state: { best } }),
    restore(state) {
      const saved = Object(state) as { best: number | null };
      if (!isBest(saved.best)) throw new FormatError(`${where}: the state in the checkpoint is damaged`);
      best = saved.best;
    },
  };
}

/** Writes every epoch's numbers as a line of a CSV file; a resumed run appends. */
export function csvLog(path: string): Callback {
  if (typeof path !== "string" || !path) throw new OptionError(`csvLog(): expected a path, got ${shown(path)}`);
  let columns: string[] | undefined;
  const cell = (value: number) => (Number.isFinite(value) ? String(value) : "");
  return {
    name: "csvLog",
    onTrainBegin() {
      columns = undefined;
    },
    async onEpochEnd(epoch, logs) {
      const { appendFile, writeFile } = await import("../files/files.ts");
      if (!columns) {
        columns = Object.keys(logs);
        if (epoch === 1) await writeFile(path, new TextEncoder().encode(`epoch,${columns.join(",")}\n`));
      }
      await appendFile(path, `${epoch},${columns.map((name) => cell(logs[name])).join(",")}\n`);
    },
  };
}

/** The numbers of an epoch on one line. */
export function logLine(epoch: number, epochs: number, logs: Logs): string {
  const numbers = Object.entries(logs).map(
    ([name, value]) => `${name} ${Math.abs(value) >= 1e-3 ? value.toFixed(4) : value.toExponential(2)}`,
  );
  return `epoch ${epoch}/${epochs}  ${numbers.join("  ")}`;
}

export interface ProgressOptions {
  /** Where lines go. Default console.log. */
  write?: (line: string) => void;
}

/** A line an epoch, for consoles and logs; applications draw their own bar from onBatchEnd. */
export function progress(options: ProgressOptions = {}): Callback {
  checkOptions("progress()", options, ["write"]);
  const write = options.write ?? ((line: string) => console.log(line));
  if (typeof write !== "function") throw new OptionError(`progress(): "write" must be a function, got ${shown(write)}`);
  return {
    name: "progress",
    onEpochEnd: (epoch, logs, { epochs }) => write(logLine(epoch, epochs, logs)),
  };
}
