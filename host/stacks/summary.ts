import { expectedShape } from "../batches/examples.ts";
import { count } from "../core/tensor.ts";
import type { Network, Source } from "./network.ts";

/**
 * Layers, output shapes and parameters as a table; where a layer reads
 * anything but the one before it, also what each is connected to.
 */
export function summary(network: Network): string {
  const { nodes, params, inputs } = network;
  const size = (of: typeof params) => of.reduce((sum, { shape }) => sum + count(shape), 0);
  const nameOf = ({ node, state }: Source) =>
    node < 0 ? inputs[-1 - node].name : nodes[node].name + (state === undefined ? "" : ` (state ${state})`);
  const chain =
    inputs.length === 1 && nodes.every(({ inputs: [first, ...others] }, i) => first.node === i - 1 && !others.length);
  const rows = nodes.map(({ name, layer, built, params: own, shares, inputs: read, initialStates = [] }) => [
    `${name} (${layer.type})`,
    expectedShape(built.output),
    shares === undefined ? String(size(own)) : "shared",
    [...read, ...initialStates].map(nameOf).join(", "),
  ]);
  const table = [
    ["layer", "output", "parameters", "connected to"],
    ...(chain ? [] : inputs.map(({ name, port }) => [`${name} (input)`, expectedShape(port), "0", ""])),
    ...rows,
  ];
  const widths = [0, 1, 2].map((i) => Math.max(...table.map((row) => row[i].length)));
  const lines = table.map(([name, output, parameters, from]) => {
    const line = `${name.padEnd(widths[0])}  ${output.padEnd(widths[1])}  ${parameters.padStart(widths[2])}`;
    return chain ? line : `${line}  ${from}`.trimEnd();
  });
  const rule = "-".repeat(Math.max(...lines.map((line) => line.length)));
  const bytes = params.reduce((sum, param) => sum + network.bytesOf(param), 0);
  const [head, ...body] = lines;
  return [head, rule, ...body, rule, `${size(params)} parameters, ${(bytes / 1024).toFixed(1)} KiB`].join("\n");
}
