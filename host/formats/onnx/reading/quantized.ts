import { count } from "../../../core/tensor.ts";
import { describe, type Graph } from "./graph.ts";
import { type Floats, type Ints, isKnown, type Value } from "./values.ts";

/**
 * QuantizeLinear and DequantizeLinear of numbers that the file has: weights
 * stored in 8 bits, which become floats. Activations that are quantised are
 * refused: in float32 they would give other numbers than the file means.
 */

const INSTEAD = "save the model before it is quantised; quantize() of gruvy makes int8 of it here";

/** Entries as plain numbers. */
function numbers(graph: Graph, value: Value): { shape: readonly number[]; data: ArrayLike<number> } {
  if (!isKnown(value)) throw graph.unsupported(`quantises ${describe(value)}`, INSTEAD);
  if (value.kind === "floats") return value;
  const data = value.entries.map((entry) => {
    if (typeof entry !== "number") throw graph.unsupported("quantises sizes", INSTEAD);
    return entry;
  });
  return { shape: value.shape, data };
}

/** Scale and zero point of every entry: one for all, one for each position of an axis, or one for each block of it. */
function scales(graph: Graph, shape: readonly number[]): (i: number) => { scale: number; zero: number } {
  const scale = graph.floats(1);
  const zero = graph.optional(2) ? numbers(graph, graph.input(2)) : undefined;
  const n = scale.data.length;
  if (zero && zero.data.length !== n) throw graph.damaged(`${n} scales and ${zero.data.length} zero points`);
  const at = (k: number) => ({ scale: scale.data[k], zero: zero?.data[k] ?? 0 });
  if (n === 1) return () => at(0);
  const axis = graph.axis(graph.int("axis", 1), shape.length);
  const inner = count(shape.slice(axis + 1));
  const block = graph.int("block_size", 0);
  if (block === 0) {
    if (n !== shape[axis]) throw graph.damaged(`${n} scales for ${shape[axis]} positions of axis ${axis}`);
    return (i) => at(Math.floor(i / inner) % n);
  }
  const blocks = Math.ceil(shape[axis] / block);
  if (!(block > 0) || n !== (count(shape) / shape[axis]) * blocks)
    throw graph.damaged(`${n} scales for blocks of ${block} of [${shape}]`);
  return (i) => {
    const [before, position, after] = [
      Math.floor(i / (inner * shape[axis])),
      Math.floor(i / inner) % shape[axis],
      i % inner,
    ];
    return at((before * blocks + Math.floor(position / block)) * inner + after);
  };
}

/** (x - zero) · scale */
export function dequantize(graph: Graph): void {
  const { shape, data } = numbers(graph, graph.input(0));
  const of = scales(graph, shape);
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) {
    const { scale, zero } = of(i);
    out[i] = (data[i] - zero) * scale;
  }
  graph.set(0, { kind: "floats", shape, data: out } satisfies Floats);
}

/** The nearest of x / scale, halves to even numbers, + zero, within 8 bits. */
export function quantize(graph: Graph): void {
  const { shape, data } = numbers(graph, graph.input(0));
  const of = scales(graph, shape);
  // Without a zero point the result has no sign.
  const zero = graph.optional(2);
  const type = zero ? (zero.kind === "ints" ? zero.type : undefined) : UINT8;
  const range = type === UINT8 ? [0, 255] : type === INT8 ? [-128, 127] : undefined;
  if (!range || graph.int("output_dtype", 0) !== 0)
    throw graph.unsupported("quantises to another type", "expected int8 or uint8");
  const entries = Array.from(data, (x, i) => {
    const { scale, zero } = of(i);
    const exact = Math.fround(x / scale);
    const down = Math.floor(exact);
    const rest = exact - down;
    const nearest = rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
    return Math.min(Math.max(nearest + zero, range[0]), range[1]);
  });
  graph.set(0, { kind: "ints", shape, entries } satisfies Ints);
}

const [UINT8, INT8] = [2, 3];

/** What to do about an operator that no layer does. */
export function insteadOf(type: string): string | undefined {
  if (/Quant|Integer|^QLinear|^com\.microsoft\.(Q[A-Z]|MatMulNBits)/.test(type)) return INSTEAD;
  if (/^Scan$/.test(type))
    return "export the network without conditions and loops, such as in eval mode and by tracing";
  if (/^(LSTM|RNN)$/.test(type)) return "gruvy has GRUs";
  if (/^(STFT|DFT|MelWeightMatrix)$/.test(type))
    return "export what comes after the spectrum; gruvy/audio makes features";
  return undefined;
}
