import type { Json, Run } from "../layers/layer.ts";

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
  /** i32[rows] labels, or f32[rows, stride] values. */
  readonly targets: number;
  /** i32[rows], 0 where a row does not count; 0: all count. */
  readonly valid: number;
  /** f32[rows] or 0. */
  readonly weights: number;
  /** f32[rows, stride] or 0. */
  readonly elementWeights: number;
  readonly rows: number;
  readonly n: number;
  readonly stride: number;
}

/** A loss with its options: one kernel call, which writes the loss and the gradient. */
export interface Loss {
  readonly name: string;
  readonly config: { readonly [option: string]: Json };
  /** What y holds: class numbers, or as many numbers as the output has. */
  readonly targets: "labels" | "values";
  /** The output activation that it takes up: the gradient goes straight to the logits. */
  readonly fuses?: "softmax" | "sigmoid";
  /** The output holds logits already. */
  readonly fromLogits: boolean;
  readonly ignoreIndex?: number;
  /** @throws OptionError where an option does not fit an output of `n` numbers */
  check?(n: number): void;
  record(run: Run, places: LossPlaces): void;
}
