import {
  type AttributeValue,
  initializer,
  node,
  type OnnxValue,
  TYPE,
  writeModel,
} from "../../host/formats/onnx/proto.ts";
import * as pb from "../../host/formats/onnx/protobuf.ts";

/** Small ONNX files for tests. */

export type NodeOf = [
  type: string,
  inputs: string[],
  outputs: string[],
  attributes?: Readonly<Record<string, AttributeValue>>,
];

/** Numbers by name: floats in a Float32Array, bytes, and other whole ones in an array. */
export type NumbersOf = Readonly<
  Record<string, readonly [shape: number[], data: Float32Array | Int8Array | Uint8Array | number[]]>
>;

/** Bytes as a tensor of theirs. */
function bytes(name: string, shape: readonly number[], data: Int8Array | Uint8Array): Uint8Array {
  const sizes = shape.map((n) => pb.int(1, n));
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return pb.bytes(5, ...sizes, pb.int(2, data instanceof Int8Array ? 3 : 2), pb.string(8, name), pb.bytes(9, raw));
}

/** A file of some nodes from "x" to "y". @param rank of y @param more inputs besides x */
export function onnxFile(
  nodes: readonly NodeOf[],
  numbers: NumbersOf = {},
  shape: readonly (number | string)[] = ["batch", "time", 3],
  opset = 17,
  rank = 3,
  more: readonly OnnxValue[] = [],
): Uint8Array<ArrayBuffer> {
  return writeModel(
    "test",
    opset,
    [
      ...nodes.map(([type, inputs, outputs, attributes], i) => node(type, `${type}_${i}`, inputs, outputs, attributes)),
      ...Object.entries(numbers).map(([name, [of, data]]) =>
        data instanceof Int8Array || data instanceof Uint8Array ? bytes(name, of, data) : initializer(name, of, data),
      ),
    ],
    [{ name: "x", type: TYPE.float, shape }, ...more],
    [{ name: "y", type: TYPE.float, shape: ["a", "b", "c", "d"].slice(0, rank) }],
  );
}
