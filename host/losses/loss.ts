import type { Fusable, Json, Port, Run } from "../layers/layer.ts";

/** Where a loss kernel finds and leaves its numbers. */
export interface LossPlaces {
  /** f64[2]: the summed loss and its divisor. */
  readonly out: number;
  /** f32[rows], each row's share of the sum. */
  readonly rowLosses: number;
  /** Gradient with respect to x, f32[rows, stride], or 0: not wanted. */
  readonly dx: number;
  /** f32[rows, stride]: logits, or what the model put out. */
  readonly x: number;
  /** x holds logits. */
  readonly logits: boolean;
  /** i32[rows] labels; f32[rows, stride] values; i32[rows, width] sequences, their number of labels first. */
  readonly targets: number;
  /** Of a row of sequences. */
  readonly width: number;
  /** i32[rows of x], 0 where a row does not count; 0: all count. */
  readonly valid: number;
  /** f32[rows] or 0. */
  readonly weights: number;
  /** f32[rows, stride] or 0. */
  readonly elementWeights: number;
  /** Losses: one a row of x, or with sequences one a sample. */
  readonly rows: number;
  /** Time steps of x. */
  readonly steps: number;
  readonly n: number;
  readonly stride: number;
}

/** A loss with its options: one kernel call, which writes the loss and the gradient. */
export interface Loss {
  readonly name: string;
  readonly config: { readonly [option: string]: Json };
  /** What y holds: class numbers, as many numbers as the output has, or a sequence of labels for each sample. */
  readonly targets: "labels" | "values" | "sequences";
  /** Output activations that it takes up: the gradient goes straight to the logits. */
  readonly fuses?: readonly Fusable[];
  /** The output holds logits already. */
  readonly fromLogits: boolean;
  readonly ignoreIndex?: number;
  /** The class that no label may be. */
  readonly blank?: number;
  /** What to do about a loss of Infinity, where that is no fault of the numbers. */
  readonly infinite?: string;
  /** @throws OptionError, ShapeError where the loss does not fit the output */
  check?(output: Port): void;
  record(run: Run, places: LossPlaces): void;
}

/** The rows that have a loss and a weight each: those of the output, or with sequences one a sample. */
export function lossPort(loss: Pick<Loss, "targets"> | undefined, output: Port): Port {
  return loss?.targets === "sequences" ? { ...output, sequence: false, steps: null } : output;
}

/** What one output adds to the loss that a model minimises. */
export interface Objective {
  readonly loss: Loss;
  /** Its loss counts so much in the sum. */
  readonly weight: number;
}

/** The loss of a batch, or of many, from the sum over its rows and their divisor. */
export function reduced(loss: Loss, sum: number, divisor: number): number {
  return isMean(loss) ? (divisor > 0 ? sum / divisor : 0) : sum;
}

/** The loss is a mean over what counts, rather than a sum. */
export function isMean({ config }: Loss): boolean {
  return config.reduction === undefined || config.reduction === "mean";
}
