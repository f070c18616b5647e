import { copyIn } from "../batches/copy.ts";
import { checkExamples, type Each } from "../batches/examples.ts";
import { OptionError } from "../core/errors.ts";
import { checkOptions, oneOf, shown } from "../core/options.ts";
import type { TensorLike } from "../core/tensor.ts";
import { Model } from "../stacks/model.ts";
import { Network } from "../stacks/network.ts";
import { Request } from "../stacks/recording.ts";
import { goalOptions } from "../training/goals.ts";

export interface QuantizeOptions {
  /** Of the weight matrices of gru and dense layers. */
  precision: "int8";
  /**
   * Samples [batch, ...inputShape], as `predict` takes them. Inputs of a layer are then cut to the largest it met in these, so that a step of
   * quantisation is always as large; without, every row of a step has its own.
   */
  calibration?: Each<TensorLike>;
}

/**
 * The model with its weights in int8: a quarter of the memory and of the file,
 * and about twice as fast. Each column of a matrix has a scale; activations
 * have 13 bits, so that what is lost is what the weights lose.
 *
 * The result predicts, evaluates, streams and saves as every model does, but
 * cannot train. The model given stays as it is.
 *
 * @example const small = await quantize(model, { precision: "int8" })
 * @throws OptionError for unknown options, or a model that is quantised already
 */
export async function quantize<Outputs>(model: Model<Outputs>, options: QuantizeOptions): Promise<Model<Outputs>> {
  const where = "quantize()";
  if (!(model instanceof Model)) throw new OptionError(`${where}: expected a model, got ${shown(model)}`);
  checkOptions(where, options, ["precision", "calibration"]);
  const precision = oneOf(where, "precision", options?.precision, ["int8"]);
  const { network } = model;
  network.checkAlive();
  if (network.quantization)
    throw new OptionError(`${where}: this model is in ${network.quantization.precision} already`);
  const ranges = options.calibration === undefined ? {} : calibrate(model, where, options.calibration);
  const activationBits = network.engine.core.int8ActivationBits();
  const small = new Network(network.engine, network.topology, network.seed, {
    quantization: { precision, activationBits, ranges },
  });
  const result = new Model<Outputs>(small, model.architecture, model.form);
  result.setWeights(model.weights());
  if (model.training) {
    result.compile({ ...goalOptions(model.training.goals, network.outputs), optimizer: model.training.optimizer });
  }
  return result;
}

/** Samples run at a time. */
const BATCH = 64;

/** The largest |input| that every layer meets. */
function calibrate(model: Model<unknown>, where: string, x: Each<TensorLike>): Record<string, number> {
  const { network } = model;
  const { arena, core } = network.engine;
  const examples = checkExamples(`${where}: calibration`, model.door(false), { x });
  const ranges: Record<string, number> = {};
  for (let from = 0; from < examples.count; from += BATCH) {
    const B = Math.min(BATCH, examples.count - from);
    const steps = examples.inputs.map((input) => input.steps);
    const recording = network.recording(new Request("predict", steps, B, { keep: true }));
    const rows = Int32Array.from({ length: B }, (_, i) => from + i);
    copyIn(arena, recording, examples, rows);
    network.pack(false);
    recording.program.run();
    for (const { name, inputs } of network.nodes)
      for (const source of inputs) {
        const { address, port, stride, rows: count } = recording.at(source);
        if (port.type === "tokens") continue;
        // Row by row: what lies between them is not part of them.
        for (let r = 0; r < count; r++)
          ranges[name] = Math.max(ranges[name] ?? 0, core.maxAbsolute(address + 4 * r * stride, port.features));
      }
  }
  return ranges;
}
