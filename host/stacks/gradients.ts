import { checkFinite, type Examples } from "../batches/examples.ts";
import { ShapeError } from "../core/errors.ts";
import { gather } from "../core/rows.ts";
import { count, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import { type Loss, lossPort } from "../losses/loss.ts";
import { execute, finalStates, initialStateGradients } from "./execution.ts";
import type { Network } from "./network.ts";

export interface Gradients {
  /** The compiled loss, or sum(output * outputGradient) + sum(state * stateGradient). */
  loss: number;
  /** Each row's (sample's, or step's) part of the summed loss, weighted, before any division; empty with cotangents. */
  rowLosses: Float32Array;
  outputs: Tensor;
  /** Final states, one a recurrent layer, two (forward, backward) a bidirectional one. */
  state: Tensor[];
  /** By parameter name, in Keras layouts. */
  gradients: Record<string, Tensor>;
  /** Absent where the model reads tokens. */
  inputGradient?: Tensor;
  /** With respect to the initial states. */
  stateGradient: Tensor[];
}

/** Shape of the output for all of the examples. */
function outputShape({ output }: Network, { count: B, steps }: Examples): number[] {
  return [B, ...(output.sequence ? [steps] : []), output.features];
}

/** @throws ShapeError when a cotangent has not the output's shape, nor is flat and of its length */
export function checkOutput(
  where: string,
  network: Network,
  examples: Examples,
  value: TensorLike,
  allowNonFinite = false,
): Float32Array {
  const shape = outputShape(network, examples);
  const g = toTensor(value, `${where}: outputGradient`);
  const flat = g.shape.length === 1 && g.data.length === count(shape);
  if (!flat && shapeText(g.shape) !== shapeText(shape))
    throw new ShapeError(`${where}: expected outputGradient ${shapeText(shape)}, got ${shapeText(g.shape)}`);
  if (!allowNonFinite) checkFinite(where, "outputGradient", g.data);
  return g.data;
}

/** One forward and backward over all examples, of a loss or of cotangents, and everything that comes of it. */
export function readGradients(
  network: Network,
  examples: Examples,
  options: {
    loss?: Loss;
    outputGradient?: Float32Array;
    stateGradient?: readonly Float32Array[];
    initialState?: readonly Float32Array[];
  },
): Gradients {
  const { outputGradient, stateGradient } = options;
  if (!network.trains) network.enableTraining([], 4);
  const rows = Int32Array.from({ length: examples.count }, (_, i) => i);
  const recording = execute(network, examples, rows, {
    mode: "gradients",
    backward: true,
    inputGradient: true,
    ...options,
  });
  const { arena } = network.engine;
  const { input, output } = recording;
  const steps = output.port.sequence ? examples.steps : 1;
  const losses = lossPort(options.loss, output.port).sequence ? steps : 1;
  const read = (address: number, shape: number[], time: number, stride: number): Tensor => {
    const data = new Float32Array(count(shape));
    gather(data, 0, arena.f32, address >>> 2, examples.count, time, data.length / (examples.count * time), stride);
    return { shape, data };
  };
  const outputs = read(output.address, outputShape(network, examples), steps, output.stride);
  const state = finalStates(network, recording);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  let loss = outputGradient ? dot(outputs.data, outputGradient) : 0;
  stateGradient?.forEach((g, i) => {
    loss += dot(state[i].data, g);
  });
  if (options.loss) {
    const [sum, divisor] = arena.f64.subarray(recording.loss >>> 3, (recording.loss >>> 3) + 2);
    loss = options.loss.config.reduction === "mean" ? (divisor > 0 ? sum / divisor : 0) : sum;
  }
  const { sequence, features } = input.port;
  return {
    loss,
    rowLosses: recording.rowLosses
      ? read(recording.rowLosses, [examples.count * losses], losses, 1).data
      : new Float32Array(0),
    outputs,
    state,
    gradients: Object.fromEntries(
      network.params.map((param) => [param.name, { shape: [...param.shape], data: network.readGradient(param) }]),
    ),
    inputGradient: recording.inputGradient
      ? read(
          recording.inputGradient,
          [examples.count, ...(sequence ? [examples.steps] : []), features],
          sequence ? examples.steps : 1,
          input.stride,
        )
      : undefined,
    stateGradient: initialStateGradients(network, recording),
  };
}
