import { isBatchNorm } from "./batch-norm.ts";
import type { Unit } from "./match.ts";

/** nn.GRU and its kin by the gates that their matrices hold for each unit. */
const RECURRENT: Readonly<Record<number, string>> = { 1: "nn.RNN", 3: "nn.GRU", 4: "nn.LSTM" };

/** What a module of a file looks like, "an nn.GRU of 8 inputs and 64 units"; undefined for any other. */
export function described(unit: Unit): string | undefined {
  const { tensors } = unit;
  const shape = (name: string) => tensors.get(name)?.tensor.shape ?? [];
  const [hh, ih, weight] = [shape("weight_hh"), shape("weight_ih"), shape("weight")];
  const kind = RECURRENT[hh[0] / hh[1]];
  if (kind && ih.length === 2) {
    const both = tensors.has("weight_ih_reverse") ? " in each direction" : "";
    return `an ${kind} of ${ih[1]} inputs and ${hh[1]} units${both}`;
  }
  if (tensors.has("out_proj.weight")) return `an nn.MultiheadAttention of ${shape("out_proj.weight")[0]} features`;
  if (isBatchNorm(unit)) return `an nn.BatchNorm1d of ${shape("running_mean")[0]} features`;
  if (weight.length === 1) return `an nn.LayerNorm of ${weight[0]} features`;
  if (weight.length === 3) return `an nn.Conv1d of ${weight[1]} inputs, ${weight[0]} filters and ${weight[2]} steps`;
  if (weight.length !== 2) return undefined;
  const linear = `an nn.Linear of ${weight[1]} inputs and ${weight[0]} units`;
  return tensors.has("bias") ? linear : `${linear}, or an nn.Embedding of ${weight[0]} tokens`;
}

/** The modules of a file by their names, an nn.GRU of several levels as one. */
export function modulesIn(units: readonly Unit[]): { name: string; kind: string }[] {
  const levels = new Map<string, number>();
  for (const { module, level } of units) if (level >= 0) levels.set(module, (levels.get(module) ?? 0) + 1);
  return units
    .filter(({ level }) => level <= 0)
    .map((unit) => {
      const count = levels.get(unit.module) ?? 1;
      const kind = described(unit) ?? "a module of its own";
      return { name: unit.module, kind: count > 1 ? `${kind}, ${count} levels` : kind };
    });
}
