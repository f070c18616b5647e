import type { GraphConfig, NodeRef } from "../../host/stacks/graph.ts";
import { attentionLayer } from "./attention-layer.ts";
import { mergeRows } from "./merge.ts";
import { flattened, type ModelInput, type Numbers, runLayer, type Sample, samplesOf } from "./model.ts";

/**
 * Graphs in double precision, node after node, from what the model says of
 * itself.
 */

/** Every output flat with which of its rows count, and the final states of all nodes in order. */
export function runGraph(
  { layers, nodes, outputs }: GraphConfig,
  weights: Readonly<Record<string, Numbers>>,
  inputs: readonly ModelInput[],
  /** Of the states that no node gives, in order. */
  initialState: readonly Numbers[] = [],
) {
  const read = inputs.map(samplesOf);
  const values: Sample[][] = [];
  const finals: number[][][] = [];
  let given = 0;
  const at = (ref: NodeRef): Sample[] => {
    if (typeof ref === "number") return ref < 0 ? read[-1 - ref] : values[ref];
    const state = finals[ref[0]][ref[1]];
    const units = state.length / inputs[0].batch;
    return read[0].map((_, b) => ({ rows: [state.slice(b * units, (b + 1) * units)], dialect: "holes" }));
  };
  for (const { layer, inputs: refs, initialStates } of nodes) {
    const spec = layers.find(({ name }) => name === layer)!;
    const { type, config } = spec;
    const sources = refs.map(at);
    const batches = sources[0].map((_, b) => sources.map((samples) => samples[b]));
    const merged = (rowsOf: (samples: Sample[]) => Sample["rows"]) => {
      values.push(batches.map((samples) => ({ ...samples[0], rows: rowsOf(samples), mask: bothMasks(samples) })));
      finals.push([]);
    };
    if (type === "concatenate" && config.axis === 1) {
      values.push(
        batches.map((samples) => ({
          rows: samples.flatMap(({ rows }) => rows),
          mask: samples.some(({ mask }) => mask)
            ? samples.flatMap(({ rows, mask }) => mask ?? rows.map(() => 1))
            : undefined,
          dialect: "holes",
        })),
      );
      finals.push([]);
    } else if (type === "concatenate")
      merged((samples) => samples[0].rows.map((_, t) => samples.flatMap(({ rows }) => rows[t])));
    else if (["add", "average", "subtract", "multiply", "maximum", "minimum"].includes(type))
      merged((samples) =>
        samples[0].rows.map((_, t) =>
          mergeRows(
            type,
            samples.map(({ rows }) => rows[t]),
          ),
        ),
      );
    else if (type === "repeat") {
      values.push(
        sources[0].map(({ rows: [row] }) => ({
          rows: Array.from({ length: config.n as number }, () => row),
          dialect: "holes",
        })),
      );
      finals.push([]);
    } else if (type === "attention" || type === "multiHeadAttention") {
      values.push(
        batches.map((samples) => ({
          ...samples[0],
          rows: attentionLayer(config, (part) => weights[`${layer}.${part}`], samples),
        })),
      );
      finals.push([]);
    } else {
      const count = type === "bidirectional" ? 2 : "returnSequences" in config ? 1 : 0;
      const initial = initialStates
        ? initialStates.map((ref) => at(ref).flatMap(({ rows }) => rows[0]))
        : initialState.slice(given, given + count);
      if (!initialStates) given += count;
      const run = runLayer(spec, weights, sources[0], true, initial);
      values.push(run.samples);
      finals.push(run.states);
    }
  }
  return { outputs: outputs.map(({ from }) => flattened(at(from))), states: finals.flat() };
}

/** Steps that count in all samples. */
function bothMasks(samples: readonly Sample[]): number[] | undefined {
  const masks = samples.flatMap(({ mask }) => (mask ? [mask] : []));
  if (!masks.length) return undefined;
  return masks[0].map((_, t) => (masks.every((mask) => mask[t]) ? 1 : 0));
}
