import type { Tensor } from "../core/tensor.ts";

/**
 * The one place that knows how other programs lay out a GRU. Inside gruvy
 * gates are [z | r | n] and matrices have a column a unit:
 *
 *             gates      kernel    biases
 *   gruvy     z, r, n    [I, 3H]   [2, 3H] input and recurrent; reset before: [3H]
 *   PyTorch   r, z, n    [3H, I]   bias_ih [3H], bias_hh [3H]; reset after only
 *   ONNX      z, r, h    [3H, I]   [6H]: input, then recurrent; reset before: the two add up
 *   CuDNNGRU  z, r, h    [I, 3H]   [6H]: input, then recurrent; the numbers of a gate's matrix are its transpose's
 *   Keras 1   z, r, h    a kernel, a recurrent kernel and a bias for each gate, in the order of the gates
 *
 * Keras 2 and 3, and TensorFlow.js with them, have gruvy's own layouts. Every conversion but that last sum moves numbers and changes none.
 */
export interface GruWeights {
  /** [I, 3H] */
  readonly kernel: Tensor;
  /** [H, 3H] */
  readonly recurrentKernel: Tensor;
  /** [2, 3H], or [3H] for the reset-before form; absent without biases. */
  readonly bias?: Tensor;
}

/** A layer of nn.GRU, one direction. */
export interface TorchGru {
  /** [3H, I] */
  readonly weightIh: Tensor;
  /** [3H, H] */
  readonly weightHh: Tensor;
  /** [3H] */
  readonly biasIh?: Tensor;
  /** [3H] */
  readonly biasHh?: Tensor;
}

/** One direction of an ONNX GRU node. */
export interface OnnxGru {
  /** [3H, I] */
  readonly W: Tensor;
  /** [3H, H] */
  readonly R: Tensor;
  /** [6H] */
  readonly B?: Tensor;
}

/** [rows, columns] to [columns, rows]. */
export function transpose({ shape: [rows, columns], data }: Tensor): Tensor {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { shape: [columns, rows], data: out };
}

/** [a, b, c] to [c, b, a]: kernels [steps, features, filters] are [filters, features, steps] in PyTorch and ONNX. */
export function reverseAxes({ shape: [a, b, c], data }: Tensor): Tensor {
  const out = new Float32Array(data.length);
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) out[(k * b + j) * a + i] = data[(i * b + j) * c + k];
  return { shape: [c, b, a], data: out };
}

/** Swaps the first two of three blocks of rows: [r | z | n] to [z | r | n], and back. */
function swapGates({ shape, data }: Tensor): Tensor {
  const third = data.length / 3;
  const out = data.slice();
  out.copyWithin(0, third, 2 * third);
  out.set(data.subarray(0, third), third);
  return { shape: [...shape], data: out };
}

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** The k-th half of a tensor of two, [2, n] or [2n], as [n]. */
function half({ data }: Tensor, k: 0 | 1): Tensor {
  const n = data.length / 2;
  return { shape: [n], data: data.slice(k * n, (k + 1) * n) };
}

/** PyTorch to gruvy, reset after. Biases are both there or both not. */
export function fromTorchGru({ weightIh, weightHh, biasIh, biasHh }: TorchGru): GruWeights {
  const weights = { kernel: transpose(swapGates(weightIh)), recurrentKernel: transpose(swapGates(weightHh)) };
  if (!biasIh || !biasHh) return weights;
  const data = joined(swapGates(biasIh).data, swapGates(biasHh).data);
  return { ...weights, bias: { shape: [2, biasIh.data.length], data } };
}

/** gruvy, reset after, to PyTorch. */
export function toTorchGru({ kernel, recurrentKernel, bias }: GruWeights): TorchGru {
  const weights = { weightIh: swapGates(transpose(kernel)), weightHh: swapGates(transpose(recurrentKernel)) };
  if (!bias) return weights;
  return { ...weights, biasIh: swapGates(half(bias, 0)), biasHh: swapGates(half(bias, 1)) };
}

/** ONNX to gruvy. @param resetAfter the node's linear_before_reset */
export function fromOnnxGru({ W, R, B }: OnnxGru, resetAfter: boolean): GruWeights {
  const weights = { kernel: transpose(W), recurrentKernel: transpose(R) };
  if (!B) return weights;
  const n = B.data.length / 2;
  if (resetAfter) return { ...weights, bias: { shape: [2, n], data: B.data.slice() } };
  return { ...weights, bias: { shape: [n], data: B.data.slice(0, n).map((b, i) => b + B.data[n + i]) } };
}

/** gruvy to ONNX. The one bias of the reset-before form goes with the input, and zeros with the state. */
export function toOnnxGru({ kernel, recurrentKernel, bias }: GruWeights): OnnxGru {
  const weights = { W: transpose(kernel), R: transpose(recurrentKernel) };
  if (!bias) return weights;
  const data = bias.shape.length === 2 ? bias.data.slice() : joined(bias.data, new Float32Array(bias.data.length));
  return { ...weights, B: { shape: [data.length], data } };
}

/**
 * Keras's CuDNNGRU to gruvy, reset after. A gate's matrix [rows, H] is kept as
 * the library underneath wants it: the numbers, row by row, of [H, rows].
 *
 * @param bias [6H], absent for none
 */
export function fromCudnnGru(kernel: Tensor, recurrentKernel: Tensor, bias?: Tensor): GruWeights {
  const units = recurrentKernel.shape[0];
  const weights = { kernel: untangled(kernel, units), recurrentKernel: untangled(recurrentKernel, units) };
  return bias ? { ...weights, bias: { shape: [2, 3 * units], data: bias.data.slice() } } : weights;
}

function untangled({ shape: [rows, columns], data }: Tensor, units: number): Tensor {
  const out = new Float32Array(data.length);
  for (let gate = 0; gate < columns; gate += units)
    for (let k = 0; k < rows * units; k++) {
      const from = Math.floor(k / units) * columns + gate + (k % units);
      out[(k % rows) * columns + gate + Math.floor(k / rows)] = data[from];
    }
  return { shape: [rows, columns], data: out };
}

/**
 * A GRU of Keras 1 to gruvy, reset before.
 *
 * @param parts W, U, b of z, then of r, then of h: [I, H], [H, H], [H]
 */
export function fromKeras1Gru(parts: readonly Tensor[]): GruWeights {
  const [z, r, n] = [parts.slice(0, 3), parts.slice(3, 6), parts.slice(6, 9)];
  return {
    kernel: besideGates(z[0], r[0], n[0]),
    recurrentKernel: besideGates(z[1], r[1], n[1]),
    bias: besideGates(z[2], r[2], n[2]),
  };
}

/** Three of [..., H] as one of [..., 3H]. */
export function besideGates(z: Tensor, r: Tensor, n: Tensor): Tensor {
  const gates = [z, r, n];
  const { shape } = z;
  const units = shape[shape.length - 1];
  const data = new Float32Array(3 * z.data.length);
  gates.forEach((gate, g) => {
    for (let i = 0; i < gate.data.length; i++)
      data[Math.floor(i / units) * 3 * units + g * units + (i % units)] = gate.data[i];
  });
  return { shape: [...shape.slice(0, -1), 3 * units], data };
}
