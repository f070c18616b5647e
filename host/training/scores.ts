import type { Examples, OutputExamples } from "../batches/examples.ts";
import type { Arena } from "../core/arena.ts";
import { gather } from "../core/rows.ts";
import { reduced } from "../losses/loss.ts";
import type { MetricState } from "../metrics/metric.ts";
import type { OutputPlace, Recording } from "../stacks/recording.ts";
import type { Goal } from "./goals.ts";
import type { Trainer } from "./trainer.ts";

/** Loss and metrics summed over batches. */
export class Scores {
  /** By output; none where it has no loss. */
  private readonly sums: (Sums | undefined)[];

  constructor(private readonly trainer: Trainer) {
    this.sums = trainer.goals.map((goal) => goal && new Sums(goal));
  }

  /** Adds a batch that has just run. */
  add(recording: Recording, examples: Examples, rows: Int32Array): void {
    const { arena } = this.trainer.network.engine;
    this.sums.forEach((sums, i) => {
      sums?.add(arena, recording.outputs[i], examples.outputs[i], rows);
    });
  }

  /** `loss`, and the metrics by name; where outputs are several, "<output>_loss", "<output>_accuracy"... */
  result(): Record<string, number> {
    const { network } = this.trainer;
    const out: Record<string, number> = { loss: 0 };
    this.sums.forEach((sums, i) => {
      if (!sums) return;
      const prefix = network.outputs.length > 1 ? `${network.outputs[i].name}_` : "";
      out.loss += sums.goal.weight * sums.loss;
      if (prefix) out[`${prefix}loss`] = sums.loss;
      for (const { name, state } of sums.metrics) out[prefix + name] = state.result() as number;
    });
    return out;
  }
}

/** Those of one output. */
class Sums {
  private sum = 0;
  private divisor = 0;
  readonly metrics: readonly { name: string; state: MetricState<unknown> }[];

  constructor(readonly goal: Goal) {
    this.metrics = goal.metrics.map((metric) => ({ name: metric.name, state: metric.create() }));
  }

  add(arena: Arena, place: OutputPlace, examples: OutputExamples, rows: Int32Array): void {
    this.sum += arena.f64[place.loss >>> 3];
    this.divisor += arena.f64[(place.loss >>> 3) + 1];
    if (!this.metrics.length) return;
    const { yTrue, yPred, weights } = predictions(arena, place, examples, rows, this.goal.loss.ignoreIndex);
    for (const { state } of this.metrics) state.update(yTrue, yPred, weights);
  }

  get loss(): number {
    return reduced(this.goal.loss, this.sum, this.divisor);
  }
}

/**
 * Targets and outputs of a batch, batch-major, as metrics take them; padded
 * steps and ignored labels weigh nothing, steps of a sequence what the sample does.
 */
function predictions(
  arena: Arena,
  { value }: OutputPlace,
  examples: OutputExamples,
  rows: Int32Array,
  ignoreIndex: number | undefined,
) {
  const B = rows.length;
  const { port, address, stride, mask, rows: outputRows } = value;
  const steps = outputRows / B;
  const n = port.features;
  const { width: sequence } = examples;
  const yPred = { shape: sequence ? [B, steps, n] : [B * steps, n], data: new Float32Array(B * steps * n) };
  gather(yPred.data, 0, arena.f32, address >>> 2, B, steps, n, stride);
  const weightsOf = (ignored: (row: number) => boolean) => {
    const weights = new Float32Array(B * steps);
    for (let b = 0; b < B; b++)
      for (let t = 0; t < steps; t++) {
        const row = b * steps + t;
        const counts = !ignored(row) && (!mask || arena.i32[(mask.address >>> 2) + t * B + b]);
        const at = sequence ? rows[b] : rows[b] * steps + t;
        weights[row] = counts ? (examples.weightsPer === "rows" ? examples.weights![at] : 1) : 0;
      }
    return weights;
  };
  const y = examples.data!;
  if (sequence) {
    const labels = new Int32Array(B * (sequence - 1)).fill(-1);
    for (let b = 0; b < B; b++) {
      const from = rows[b] * sequence + 1;
      labels.set(y.subarray(from, from + y[from - 1]), b * (sequence - 1));
    }
    return { yTrue: { shape: [B, sequence - 1], data: labels }, yPred, weights: weightsOf(() => false) };
  }
  const width = y instanceof Int32Array ? 1 : n;
  const data = y instanceof Int32Array ? new Int32Array(B * steps) : new Float32Array(B * steps * n);
  for (let b = 0; b < B; b++) {
    const from = rows[b] * steps * width;
    for (let i = 0; i < steps * width; i++) data[b * steps * width + i] = y[from + i];
  }
  const yTrue = { shape: y instanceof Int32Array ? [B * steps] : [B * steps, n], data };
  const weighted = mask || examples.weightsPer === "rows" || ignoreIndex !== undefined;
  const weights = weighted ? weightsOf((row) => ignoreIndex !== undefined && data[row] === ignoreIndex) : undefined;
  return { yTrue, yPred, weights };
}
