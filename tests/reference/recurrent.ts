import { activations } from "./elementwise.ts";
import { gruSequence, type Rows, type SequenceRun } from "./gru.ts";
import { type LightGruCell, lightGruSequence } from "./light-gru.ts";

/** Recurrent layers by their types, in double precision. */
export const CELLS: readonly string[] = ["gru", "minGru", "lightGru", "mgu"];

/** The options that a cell computes with. */
export interface CellConfig {
  readonly units: number;
  readonly activation: string;
  readonly recurrentActivation?: string;
  readonly resetAfter?: boolean;
  readonly zoneout?: number;
}

/**
 * One layer over one sample, outside of training: what would fall at random
 * is its expectation.
 *
 * @param own its parameters by name, absent ones undefined
 */
export function cellSequence(
  type: string,
  config: CellConfig,
  own: (part: string) => ArrayLike<number> | undefined,
  xs: Rows,
  run: SequenceRun,
) {
  const { units: H, resetAfter, zoneout = 0 } = config;
  const matrix = (part: string, gates: number): Rows | undefined => {
    const values = own(part);
    const n = gates * H;
    return (
      values &&
      Array.from({ length: values.length / n }, (_, r) => Array.from({ length: n }, (_, j) => values[r * n + j]))
    );
  };
  const activation = activations[config.activation as keyof typeof activations];
  if (type !== "gru") {
    const weights = {
      kernel: matrix("kernel", 2)!,
      recurrent: matrix("recurrentKernel", 2),
      bias: matrix("bias", 2)?.[0],
    };
    return lightGruSequence(type as LightGruCell, xs, weights, { ...run, activation });
  }
  const weights = {
    kernel: matrix("kernel", 3)!,
    recurrent: matrix("recurrentKernel", 3)!,
    bias: matrix("bias", 3),
    gamma: matrix("gamma", 3),
  };
  const recurrentActivation = activations[config.recurrentActivation as keyof typeof activations];
  const zones = xs.map(() => new Array(H).fill(zoneout));
  return gruSequence(xs, weights, { ...run, resetAfter, activation, recurrentActivation, zones });
}
