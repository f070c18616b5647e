import { expectedShape } from "../batches/examples.ts";
import { count } from "../core/tensor.ts";
import type { Network } from "./network.ts";

/** Layers, output shapes and parameters as a table. */
export function summary(network: Network, steps: number | null): string {
  const { nodes, params } = network;
  const size = (of: typeof params) => of.reduce((sum, { shape }) => sum + count(shape), 0);
  const table = [
    ["layer", "output", "parameters"],
    ...nodes.map(({ name, layer, built, params: own }) => [
      `${name} (${layer.type})`,
      expectedShape(built.output, steps),
      String(size(own)),
    ]),
  ];
  const widths = [0, 1, 2].map((i) => Math.max(...table.map((row) => row[i].length)));
  const [head, ...rows] = table.map(
    ([name, output, parameters]) =>
      `${name.padEnd(widths[0])}  ${output.padEnd(widths[1])}  ${parameters.padStart(widths[2])}`,
  );
  const rule = "-".repeat(head.length);
  const bytes = params.reduce((sum, param) => sum + network.bytesOf(param), 0);
  return [head, rule, ...rows, rule, `${size(params)} parameters, ${(bytes / 1024).toFixed(1)} KiB`].join("\n");
}
