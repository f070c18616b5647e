import { transpose } from "../../host/formats/gates.ts";
import { initializer, node, type OnnxValue, writeModel } from "../../host/formats/onnx/proto.ts";

/** ONNX files of the models that are compared, as the peers' users would have them. */

/** A layer's weights in Keras layouts: kernel [I, 3H], recurrentKernel [H, 3H], bias [2, 3H]; or a dense [I, O] and [O]. */
export interface LayerWeights {
  type: "gru" | "dense";
  kernel: { shape: number[]; data: Float32Array };
  recurrentKernel?: { shape: number[]; data: Float32Array };
  bias: { shape: number[]; data: Float32Array };
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
        initializer(`W${i}`, [1, 3 * H, kernel.shape[0]], transpose(kernel).data),
        initializer(`R${i}`, [1, 3 * H, H], transpose(recurrentKernel!).data),
        initializer(`B${i}`, [1, 6 * H], bias.data),
      );
      const inputs = [x, `W${i}`, `R${i}`, `B${i}`, ...(streaming ? ["", "h"] : [])];
      const final = i === last;
      const outputs = final ? ["", streaming ? "y" : `h${i}`] : [`h${i}`];
      parts.push(node("GRU", `gru${i}`, inputs, outputs, { hidden_size: H, linear_before_reset: 1 }));
      if (streaming) return;
      parts.push(
        node(
          "Squeeze",
          `squeeze${i}`,
          [`h${i}`, final ? "first" : "second"],
          [i === layers.length - 1 ? "y" : `s${i}`],
        ),
      );
      x = `s${i}`;
    } else {
      width = kernel.shape[1];
      parts.push(initializer(`K${i}`, kernel.shape, kernel.data), initializer(`b${i}`, bias.shape, bias.data));
      parts.push(
        node("MatMul", `product${i}`, [x, `K${i}`], [`m${i}`]),
        node("Add", `sum${i}`, [`m${i}`, `b${i}`], [`a${i}`]),
      );
      parts.push(node("Softmax", "softmax", [`a${i}`], ["y"], { axis: 1 }));
    }
  });
  if (!streaming) parts.push(initializer("first", [1], [0]));
  if (last > 0) parts.push(initializer("second", [1], [1]));
  const floats = (name: string, shape: number[]): OnnxValue => ({ name, type: 1, shape });
  const state = [1, B, width];
  return writeModel(
    "gru",
    14,
    parts,
    [floats("x", [T, B, I]), ...(streaming ? [floats("h", state)] : [])],
    [floats("y", streaming ? state : [B, width])],
  );
}
