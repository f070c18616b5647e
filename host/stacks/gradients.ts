import { checkFinite, type Each, type Examples, each } from "../batches/examples.ts";
import { ShapeError } from "../core/errors.ts";
import { gather } from "../core/rows.ts";
import { count, shapeText, type Tensor, type TensorLike, toTensor } from "../core/tensor.ts";
import type { Value } from "../layers/layer.ts";
import { lossPort, type Objective, reduced } from "../losses/loss.ts";
import { execute, finalStates, initialStateGradients } from "./execution.ts";
import type { Network } from "./network.ts";

export interface Gradients<Outputs = Tensor> {
  /** The compiled loss, or sum(output * outputGradient) + sum(state * stateGradient). */
  loss: number;
  /**
   * Each row's (sample's, or step's) part of the summed loss, weighted by sampleWeight, before any division; output
   * after output; empty with cotangents.
   */
  rowLosses: Float32Array;
  outputs: Outputs;
  /** Final states, one a recurrent layer, two (forward, backward) a bidirectional one. */
  state: Tensor[];
  /** By parameter name, in Keras layouts. */
  gradients: Record<string, Tensor>;
  /** Of the first input. Absent where it reads tokens. */
  inputGradient?: Tensor;
  /** One for every input, in order. */
  inputGradients: (Tensor | undefined)[];
  /** With respect to the initial states that a caller may give. */
  stateGradient: Tensor[];
}

/** Shapes of the outputs for all of the examples. */
function outputShapes(network: Network, { count: B, outputs }: Examples): number[][] {
  return network.outputs.map(({ port }, i) => [B, ...(port.sequence ? [outputs[i].steps] : []), port.features]);
}

/** @throws ShapeError when a cotangent has not its output's shape, nor is flat and of its length */
export function checkOutputs(
  where: string,
  network: Network,
  examples: Examples,
  value: Each<TensorLike>,
  allowNonFinite = false,
): Float32Array[] {
  const list = each(where, "outputGradient", value, network.outputs);
  return outputShapes(network, examples).map((shape, i) => {
    const own = list[i];
    if (own === undefined && list.length > 1) return new Float32Array(count(shape));
    const g = toTensor(own as TensorLike, `${where}: outputGradient`);
    const flat = g.shape.length === 1 && g.data.length === count(shape);
    if (!flat && shapeText(g.shape) !== shapeText(shape))
      throw new ShapeError(`${where}: expected outputGradient ${shapeText(shape)}, got ${shapeText(g.shape)}`);
    if (!allowNonFinite) checkFinite(where, "outputGradient", g.data);
    return g.data;
  });
}

/** One forward and backward over all examples, of losses or of cotangents, and everything that comes of it. */
export function readGradients(
  network: Network,
  examples: Examples,
  options: {
    objectives?: readonly (Objective | undefined)[];
    outputGradients?: readonly Float32Array[];
    stateGradient?: readonly Float32Array[];
    initialState?: readonly Float32Array[];
  },
): Gradients<Tensor[]> {
  const { objectives, outputGradients, stateGradient } = options;
  if (!network.trains) network.enableTraining([], 4);
  const rows = Int32Array.from({ length: examples.count }, (_, i) => i);
  const recording = execute(network, examples, rows, {
    mode: "gradients",
    backward: true,
    inputGradient: true,
    ...options,
  });
  const { arena } = network.engine;
  const B = examples.count;
  const read = ({ port, rows: all }: Value, address: number, width: number, stride: number): Tensor => {
    const steps = all / B;
    const data = new Float32Array(all * width);
    gather(data, 0, arena.f32, address >>> 2, B, steps, width, stride);
    return { shape: [B, ...(port.sequence ? [steps] : []), width], data };
  };
  const whole = (value: Value, address: number) => read(value, address, value.port.features, value.stride);
  const outputs = recording.outputs.map(({ value }) => whole(value, value.address));
  const state = finalStates(network, recording);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  let loss = 0;
  outputGradients?.forEach((g, i) => {
    loss += dot(outputs[i].data, g);
  });
  stateGradient?.forEach((g, i) => {
    loss += dot(state[i].data, g);
  });
  const rowLosses: number[] = [];
  recording.outputs.forEach((place, i) => {
    const objective = objectives?.[i];
    if (!objective) return;
    const [sum, divisor] = arena.f64.subarray(place.loss >>> 3, (place.loss >>> 3) + 2);
    loss += objective.weight * reduced(objective.loss, sum, divisor);
    const port = lossPort(objective.loss, place.value.port);
    const rows = port.sequence ? place.value.rows : B;
    for (const v of read({ ...place.value, port, rows }, place.rowLosses, 1, 1).data) rowLosses.push(v);
  });
  const inputGradients = recording.inputs.map(({ value, gradient }) => (gradient ? whole(value, gradient) : undefined));
  return {
    loss,
    rowLosses: Float32Array.from(rowLosses),
    outputs,
    state,
    gradients: Object.fromEntries(
      network.params.map((param) => [param.name, { shape: [...param.shape], data: network.readGradient(param) }]),
    ),
    inputGradient: inputGradients[0],
    inputGradients,
    stateGradient: initialStateGradients(network, recording),
  };
}
