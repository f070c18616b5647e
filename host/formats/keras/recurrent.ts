import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import { bidirectional } from "../../layers/bidirectional.ts";
import { gru } from "../../layers/gru.ts";
import { fromCudnnGru, fromKeras1Gru } from "../gates.ts";
import { type Config, readActivation, readInitializer } from "./config.ts";
import { type Converter, flag, given, inOrder, type Piece, rate, type Site, size } from "./piece.ts";

/** Recurrent layers of Keras, of all its versions. */

export function convertGru(c: Config, { name, where, dialect, className }: Site): Piece {
  if (c.time_major === true)
    throw new FormatError(`${where}: "time_major" has time before batch; save it with time_major=False`);
  const cudnn = className === "CuDNNGRU";
  const act = (value: unknown, otherwise: string) =>
    cudnn ? otherwise : value === undefined ? otherwise : readActivation(value, dialect, where);
  return {
    layer: gru(
      (c.units ?? c.output_dim) as number,
      given({
        name,
        returnSequences: flag(c, "return_sequences", false),
        resetAfter: cudnn || flag(c, "reset_after", false),
        useBias: flag(c, "use_bias", true),
        activation: act(c.activation, "tanh"),
        recurrentActivation: cudnn
          ? "sigmoid"
          : readActivation(c.recurrent_activation ?? c.inner_activation ?? "hard_sigmoid", dialect, where),
        returnState: flag(c, "return_state", false),
        dropout: rate(c.dropout ?? c.dropout_W),
        recurrentDropout: rate(c.recurrent_dropout ?? c.dropout_U),
        goBackwards: flag(c, "go_backwards", false),
        stateful: flag(c, "stateful", false),
        zeroOutputForMask: flag(c, "zero_output_for_mask", false),
        kernelInitializer: readInitializer(c.kernel_initializer),
        recurrentInitializer: readInitializer(c.recurrent_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: ["cell"],
    mask: flag(c, "return_sequences", false) !== true ? "ends" : c.go_backwards === true ? "turns" : undefined,
    states: 1,
    shape: outputShape(flag(c, "return_sequences", false) === true, size(c.units ?? c.output_dim)),
    params: gruParams,
  };
}

function outputShape(sequences: boolean, units: number | null): Piece["shape"] {
  return (input) => (sequences ? [input?.[0] ?? null, units] : [units]);
}

/** [kernel, recurrent kernel, bias?], in any of the forms that Keras has had. */
function gruParams(stored: readonly Tensor[]): Record<string, Tensor> {
  if (stored.length === 9) return { ...fromKeras1Gru(stored) };
  const [kernel, recurrentKernel, bias] = stored;
  const matrices = recurrentKernel?.shape.length === 2 && kernel?.shape.length === 2;
  const units = matrices ? recurrentKernel.shape[0] : 0;
  // Only CuDNNGRU has both biases in one row, and it goes with matrices of its own kind.
  if (units > 0 && bias?.shape.length === 1 && bias.shape[0] === 6 * units)
    return { ...fromCudnnGru(kernel, recurrentKernel, bias) };
  return inOrder("kernel", "recurrentKernel", "bias")(stored);
}

/**
 * Layers around several cells, RNN([GRUCell(64), GRUCell(64)]), as one layer
 * a cell; undefined where there is one cell.
 */
export function convertCells(c: Config, site: Site, nameFor: (name: string) => string): Piece[] | undefined {
  const stacked = isRecord(c.cell) && c.cell.class_name === "StackedRNNCells" ? c.cell.config : undefined;
  const cells = isRecord(stacked) ? stacked.cells : c.cell;
  if (!Array.isArray(cells)) return undefined;
  if (cells.length === 0) throw new FormatError(`${site.where}: no cells`);
  if (c.go_backwards === true) throw new FormatError(`${site.where}: several cells that go backwards; gruvy has one`);
  let first = 0;
  return cells.map((cell: unknown, k) => {
    const below = k < cells.length - 1;
    const name = nameFor(below ? `${site.name}_${k}` : site.name);
    const piece = convertRnn({ ...c, cell, ...(below && { return_sequences: true }) }, { ...site, name });
    const count = (cell as { config: Config }).config.use_bias === false ? 2 : 3;
    const from = first;
    first += count;
    return {
      ...piece,
      within: [`cell/cells/gru_cell${k > 0 ? `_${k}` : ""}`],
      // Older files have the weights of all cells in a row.
      params: (stored) => piece.params(stored.length > count ? stored.slice(from, from + count) : stored),
    };
  });
}

/** Layers around a cell: RNN(GRUCell(64)). */
export const convertRnn: Converter = (c, site) => {
  const cell = isRecord(c.cell) && isRecord(c.cell.config) ? c.cell : undefined;
  if (cell?.class_name !== "GRUCell")
    throw new FormatError(
      `${site.where}: a cell of class ${shown(cell?.class_name)}; of RNN layers gruvy has those around GRUCell`,
    );
  return convertGru({ ...(cell.config as Config), ...c }, site);
};

const MERGES: Readonly<Record<string, "concat" | "sum" | "mul" | "average">> = {
  concat: "concat",
  sum: "sum",
  mul: "mul",
  ave: "average",
};

/** Two recurrent layers, the second made from the first where it is not given. */
export const convertBidirectional: Converter = (c, site) => {
  const direction = (wrapped: unknown, which: string) => {
    const { class_name: className, config } = isRecord(wrapped) ? wrapped : {};
    if (typeof className !== "string" || !Object.hasOwn(RECURRENT, className) || !isRecord(config))
      throw new FormatError(
        `${site.where}: of ${shown(className)}; gruvy has it of ${Object.keys(RECURRENT).join(", ")}`,
      );
    return {
      config,
      ...RECURRENT[className](config, { ...site, className, where: `${site.where}: its ${which} layer` }),
    };
  };
  const merge = typeof c.merge_mode === "string" ? MERGES[c.merge_mode] : undefined;
  if (merge === undefined)
    throw new FormatError(
      `${site.where}: "merge_mode" ${shown(c.merge_mode)}; gruvy has ${Object.keys(MERGES).join(", ")}`,
    );
  const forward = direction(c.layer, "forward");
  const backward = isRecord(c.backward_layer) ? direction(c.backward_layer, "backward") : undefined;
  return {
    layer: bidirectional(forward.layer!, {
      name: site.name,
      merge,
      ...(backward && { backwardLayer: backward.layer }),
      ...(!site.dialect.bidirectionalZeroes && { zeroOutputForMask: forward.config.zero_output_for_mask === true }),
    }),
    mask: forward.mask,
    shape: (input) => {
      const one = forward.shape!(input);
      const units = one!.at(-1);
      return [...one!.slice(0, -1), typeof units === "number" && merge === "concat" ? 2 * units : (units ?? null)];
    },
    states: 2,
    within: ["forward_layer/cell", "backward_layer/cell"],
    inner: typeof forward.config.name === "string" ? [forward.config.name] : [],
    params(stored) {
      const half = stored.length / 2;
      const named = (part: string, weights: Readonly<Record<string, Tensor>>) =>
        Object.entries(weights).map(([name, tensor]) => [`${part}.${name}`, tensor]);
      return Object.fromEntries([
        ...named("forward", forward.params(stored.slice(0, half))),
        ...named("backward", (backward ?? forward).params(stored.slice(half))),
      ]);
    },
  };
};

/** What Bidirectional may be of. */
const RECURRENT: Readonly<Record<string, Converter>> = { GRU: convertGru, CuDNNGRU: convertGru, RNN: convertRnn };
