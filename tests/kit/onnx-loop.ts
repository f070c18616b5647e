import { initializer, node, TYPE, writeModel } from "../../host/formats/onnx/proto.ts";
import * as pb from "../../host/formats/onnx/protobuf.ts";
import { uniform } from "./core.ts";
import type { NodeOf } from "./onnx.ts";

/** Files of GRUs that are loops, as tf2onnx writes Keras's. */

export const [I, H, T] = [3, 4, 6];
export const WEIGHTS: Readonly<Record<string, readonly [number[], Float32Array]>> = {
  K: [[I, 3 * H], uniform(3 * H * I, 1)],
  R: [[H, 3 * H], uniform(3 * H * H, 2)],
  b: [[3 * H], uniform(3 * H, 3)],
  c: [[3 * H], uniform(3 * H, 4)],
};

const nodes = (list: readonly NodeOf[]) =>
  list.map(([type, inputs, outputs, attributes]) => node(type, outputs[0], inputs, outputs, attributes));
const value = (field: 11 | 12, name: string, type: number, shape: readonly number[]) =>
  pb.bytes(
    field,
    pb.string(1, name),
    pb.bytes(2, pb.bytes(1, pb.int(1, type), pb.bytes(2, ...shape.map((n) => pb.bytes(1, n ? pb.int(1, n) : []))))),
  );

/** z, r and n as Keras computes them, reset after, and then h. */
export const GATES: readonly NodeOf[] = [
  ["Gather", ["steps", "t"], ["x_t"], { axis: 0 }],
  ["MatMul", ["x_t", "K"], ["xK"]],
  ["Add", ["xK", "b"], ["x_zrn"]],
  ["MatMul", ["h", "R"], ["hR"]],
  ["Add", ["hR", "c"], ["h_zrn"]],
  ["Split", ["x_zrn"], ["x_z", "x_r", "x_n"], { axis: 1 }],
  ["Split", ["h_zrn"], ["h_z", "h_r", "h_n"], { axis: 1 }],
  ["Add", ["x_z", "h_z"], ["s_z"]],
  ["Sigmoid", ["s_z"], ["z"]],
  ["Add", ["x_r", "h_r"], ["s_r"]],
  ["Sigmoid", ["s_r"], ["r"]],
  ["Mul", ["r", "h_n"], ["rh"]],
  ["Add", ["x_n", "rh"], ["s_n"]],
  ["Tanh", ["s_n"], ["n"]],
];
export const BLEND: readonly NodeOf[] = [
  ["Mul", ["z", "h"], ["zh"]],
  ["Sub", ["one", "z"], ["u"]],
  ["Mul", ["u", "n"], ["un"]],
  ["Add", ["zh", "un"], ["next"]],
];
/** As PyTorch's cell has it. */
export const OTHER_BLEND: readonly NodeOf[] = [
  ["Sub", ["h", "n"], ["d"]],
  ["Mul", ["z", "d"], ["zd"]],
  ["Add", ["n", "zd"], ["next"]],
];
export const COUNT: readonly NodeOf[] = [
  ["Add", ["t", "1"], ["t_next"]],
  ["Less", ["t_next", "T"], ["goes"]],
];
/** How often the body runs: the number of steps. */
const TRIPS: readonly NodeOf[] = [
  ["Shape", ["steps"], ["shape"]],
  ["Gather", ["shape", "0"], ["T"], { axis: 0 }],
];

/** A file of a loop over x [batch, time, I]: "y" all states, "last" the last one. */
export function loopFile(
  body: readonly NodeOf[],
  { outside = TRIPS, units = H, output = "y" } = {},
): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes(body),
    pb.string(2, "body"),
    value(11, "i", TYPE.int64, []),
    value(11, "on", TYPE.bool, []),
    value(11, "t", TYPE.int64, []),
    value(11, "h", TYPE.float, [0, units]),
    value(12, "goes", TYPE.bool, []),
    value(12, "t_next", TYPE.int64, []),
    value(12, "next", TYPE.float, [0, units]),
    value(12, "next_copy", TYPE.float, [0, units]),
    ...nodes([["Identity", ["next"], ["next_copy"]]]),
  ];
  const loop = pb.bytes(
    1,
    ...["", "true", "0", "h0"].map((name) => pb.string(1, name)),
    ...["t_end", "last", "all"].map((name) => pb.string(2, name)),
    pb.string(3, "loop"),
    pb.string(4, "Loop"),
    pb.bytes(5, pb.string(1, "body"), pb.bytes(6, ...graph), pb.int(20, 5)),
  );
  return writeModel(
    "test",
    12,
    [
      node("Transpose", "order", ["x"], ["steps"], { perm: [1, 0, 2] }),
      ...nodes(outside),
      loop,
      ...(output === "y" ? [node("Transpose", "back", ["all"], ["y"], { perm: [1, 0, 2] })] : []),
      ...Object.entries(WEIGHTS).map(([name, [shape, data]]) => initializer(name, shape, data)),
      initializer("h0", [1, H], new Float32Array(H)),
      initializer("one", [], Float32Array.of(1)),
      ...[0, 1, 5, 6, 7].map((n) => initializer(`${n}`, [], [n])),
      pb.bytes(5, pb.int(2, TYPE.bool), pb.string(8, "true"), pb.bytes(9, Uint8Array.of(1))),
    ],
    [{ name: "x", type: TYPE.float, shape: outside === TRIPS ? ["batch", "time", I] : ["batch", T, I] }],
    [{ name: output, type: TYPE.float, shape: ["batch", "time", H] }],
  );
}
