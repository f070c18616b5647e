import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer, oneOf, real } from "../core/options.ts";
import { buildAttention } from "./attend.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { checkName } from "./name.ts";

export interface MultiHeadAttentionOptions {
  name?: string;
  /** Columns of a head's queries and keys. Default: the query's features, divided among the heads. */
  keyUnits?: number;
  /** Columns of a head's values. Default keyUnits. */
  valueUnits?: number;
  /** Numbers in the output. Default: the query's features. */
  units?: number;
  /** Default true. */
  useBias?: boolean;
  /** Query i sees the steps 0..i only. Default false. */
  causal?: boolean;
  /** What a query gets that sees no value, as it is masked or all values are. "mean": of all values, masked ones too, as in Keras. Default "zeros". */
  blind?: "zeros" | "mean";
  /** Part of the weights that training leaves out. Default 0. */
  dropout?: number;
  /** Of all four kernels. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of all four biases. Default "zeros". */
  biasInitializer?: Initializer;
}

/**
 * Several attentions side by side, each on its own linear maps of query, key
 * and value, and a linear map of them all: [query, value] or [query, value,
 * key], each [batch, time, features], to [batch, query time, units]. A single
 * input attends to itself.
 *
 *   head_h = softmax(q_h · k_hᵀ / √keyUnits) v_h,   y = [head_1 | head_2 | ...] · outputKernel + outputBias
 *
 * Weights: queryKernel [features, heads · keyUnits], keyKernel, valueKernel
 * [features, heads · valueUnits], outputKernel [heads · valueUnits, units] and
 * a bias each: Keras's layouts with the axes of heads and columns as one.
 * PyTorch's in_proj_weight is the transposed first three, one above the other.
 *
 * Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
 * @example multiHeadAttention(4)([decoder, encoder])
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on inputs that do not fit each other, or where heads do not divide the features
 */
export function multiHeadAttention(heads: number, options: MultiHeadAttentionOptions = {}): CallableLayer {
  const where = "multiHeadAttention()";
  integer(where, "heads", heads, 1, 1024);
  checkOptions(where, options, [
    "name",
    "keyUnits",
    "valueUnits",
    "units",
    "useBias",
    "causal",
    "blind",
    "dropout",
    "kernelInitializer",
    "biasInitializer",
  ]);
  const count = (name: "keyUnits" | "valueUnits" | "units") =>
    options[name] === undefined ? null : integer(where, name, options[name], 1, 65536);
  const [keyUnits, valueUnits, units] = [count("keyUnits"), count("valueUnits"), count("units")];
  const useBias = flag(where, "useBias", options.useBias ?? true);
  const causal = flag(where, "causal", options.causal ?? false);
  const blind = oneOf(where, "blind", options.blind ?? "zeros", ["zeros", "mean"]);
  const dropout = real(where, "dropout", options.dropout ?? 0, "[0, 1)");
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const biasInitializer = initializerConfig(where, options.biasInitializer ?? "zeros");
  return callable({
    type: "multiHeadAttention",
    name: checkName(where, options.name),
    arity: [1, 3],
    config: { heads, keyUnits, valueUnits, units, useBias, causal, blind, dropout, kernelInitializer, biasInitializer },
    build(b, inputs) {
      const { features } = inputs[0];
      if (keyUnits === null && features % heads)
        throw new ShapeError(`layer "${b.name}": ${heads} heads do not divide ${features} features; say "keyUnits"`);
      const queries = keyUnits ?? features / heads;
      return buildAttention(b, inputs, {
        score: "dot",
        scale: "sqrt",
        causal,
        blind: blind === "mean" ? "all" : undefined,
        dropout,
        heads,
        kernelInitializer,
        biasInitializer: useBias ? biasInitializer : undefined,
        queries,
        values: valueUnits ?? queries,
        output: units ?? features,
      });
    },
  });
}
