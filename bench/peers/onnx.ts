/**
 * ONNX files, written by hand: the few messages that a GRU model needs.
 *
 * Source of the field numbers: onnx/onnx.proto, IR version 8, operator set 14.
 */

type Bytes = number[] | Uint8Array;

const utf8 = new TextEncoder();

function varint(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest];
    out.push((rest % 128) | 128);
  }
}

function join(parts: readonly Bytes[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const int = (field: number, value: number): Uint8Array => join([varint(field << 3), varint(value)]);

function bytes(field: number, ...parts: readonly Bytes[]): Uint8Array {
  const body = join(parts);
  return join([varint((field << 3) | 2), varint(body.length), body]);
}

const text = (field: number, value: string): Uint8Array => bytes(field, utf8.encode(value));

/** A number or a list of names, as an attribute of a node. */
function attribute(name: string, value: number): Uint8Array {
  return bytes(5, text(1, name), int(3, value), int(20, 2));
}

function node(type: string, inputs: string[], outputs: string[], attributes: Record<string, number> = {}): Uint8Array {
  return bytes(
    1,
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, type),
    ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  );
}

function initializer(name: string, shape: number[], data: Float32Array | BigInt64Array): Uint8Array {
  return bytes(
    5,
    ...shape.map((n) => int(1, n)),
    int(2, data instanceof Float32Array ? 1 : 7),
    text(8, name),
    bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  );
}

/** Name, type and shape of an input (11) or output (12). */
function port(field: number, name: string, shape: number[]): Uint8Array {
  const dimensions = bytes(2, ...shape.map((n) => bytes(1, int(1, n))));
  return bytes(field, text(1, name), bytes(2, bytes(1, int(1, 1), dimensions)));
}

/** A layer's weights in Keras layouts: kernel [I, 3H], recurrentKernel [H, 3H], bias [2, 3H]; or a dense [I, O] and [O]. */
export interface LayerWeights {
  type: "gru" | "dense";
  kernel: { shape: number[]; data: Float32Array };
  recurrentKernel?: { shape: number[]; data: Float32Array };
  bias: { shape: number[]; data: Float32Array };
}

export function transpose({ shape: [rows, columns], data }: { shape: number[]; data: Float32Array }): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return out;
}

/**
 * GRUs over "x" [T, B, I], the last one's final state, and a dense layer with
 * softmax, if any; to "y". With `streaming` there is one GRU, which reads its
 * state from "h" and gives the new one as "y", both [1, B, H].
 */
export function onnxModel(layers: readonly LayerWeights[], T: number, B: number, streaming = false): Uint8Array {
  const I = layers[0].kernel.shape[0];
  const parts: Uint8Array[] = [];
  const last = layers.findLastIndex((layer) => layer.type === "gru");
  let x = "x";
  let width = I;
  layers.forEach(({ type, kernel, recurrentKernel, bias }, i) => {
    if (type === "gru") {
      const H = recurrentKernel!.shape[0];
      width = H;
      // Keras's gates are ONNX's: z, r, h. Its bias [2, 3H] is Wb, then Rb.
      parts.push(
        initializer(`W${i}`, [1, 3 * H, kernel.shape[0]], transpose(kernel)),
        initializer(`R${i}`, [1, 3 * H, H], transpose(recurrentKernel!)),
        initializer(`B${i}`, [1, 6 * H], bias.data),
      );
      const inputs = [x, `W${i}`, `R${i}`, `B${i}`, ...(streaming ? ["", "h"] : [])];
      const final = i === last;
      const outputs = final ? ["", streaming ? "y" : `h${i}`] : [`h${i}`];
      parts.push(node("GRU", inputs, outputs, { hidden_size: H, linear_before_reset: 1 }));
      if (streaming) return;
      parts.push(node("Squeeze", [`h${i}`, final ? "first" : "second"], [i === layers.length - 1 ? "y" : `s${i}`]));
      x = `s${i}`;
    } else {
      width = kernel.shape[1];
      parts.push(initializer(`K${i}`, kernel.shape, kernel.data), initializer(`b${i}`, bias.shape, bias.data));
      parts.push(node("MatMul", [x, `K${i}`], [`m${i}`]), node("Add", [`m${i}`, `b${i}`], [`a${i}`]));
      parts.push(node("Softmax", [`a${i}`], ["y"], { axis: 1 }));
    }
  });
  const state = [1, B, width];
  const graph = bytes(
    7,
    ...parts,
    text(2, "gru"),
    ...(streaming ? [] : [initializer("first", [1], BigInt64Array.of(0n))]),
    ...(last > 0 ? [initializer("second", [1], BigInt64Array.of(1n))] : []),
    port(11, "x", [T, B, I]),
    ...(streaming ? [port(11, "h", state)] : []),
    port(12, "y", streaming ? state : [B, width]),
  );
  return join([int(1, 8), text(2, "gruvy bench"), graph, bytes(8, text(1, ""), int(2, 14))]);
}
