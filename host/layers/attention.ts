import { OptionError } from "../core/errors.ts";
import { checkOptions, flag, integer, oneOf, real } from "../core/options.ts";
import { buildAttention } from "./attend.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { checkName } from "./name.ts";

export interface AttentionOptions {
  name?: string;
  /** "dot": products of query and key; "additive": a learned sum of tanh(query + key). Default "dot". */
  score?: "dot" | "additive";
  /** Queries and keys are first multiplied by a queryKernel and a keyKernel into this many columns. Default: taken as they are. */
  units?: number;
  /**
   * What scores are multiplied by. "dot": "sqrt" (1 / √columns, the default), "none", or "learned" (a number,
   * 1 at first). "additive": "learned" (a weight a column, the default) or "none".
   */
  scale?: "sqrt" | "none" | "learned";
  /** Query i sees the steps 0..i only. Default false. */
  causal?: boolean;
  /** What a query gets that sees no value, as all are masked. "mean": of all values, masked ones too, as in Keras. Default "zeros". */
  blind?: "zeros" | "mean";
  /** Part of the weights that training leaves out. Default 0. */
  dropout?: number;
  /** Of queryKernel and keyKernel. Default "glorotUniform". */
  kernelInitializer?: Initializer;
  /** Of additive weights. Default "glorotUniform". */
  scaleInitializer?: Initializer;
}

/**
 * For every query the mean of the values, weighted by how well their keys
 * score: [query, value] or [query, value, key], each [batch, time, features],
 * to [batch, query time, value features]. Without a key the value is its own;
 * a single input attends to itself.
 *
 *   dot       s = scale · (q · k)                 Luong et al. 2015, arXiv:1508.04025, eq. 8
 *   additive  s = Σ scale · tanh(q + k)           Bahdanau et al. 2015, arXiv:1409.0473, A.1.2
 *
 * Masked values are not seen; masked queries give zeros, and so do queries that
 * see nothing (but see `blind`). As Keras's Attention and AdditiveAttention.
 *
 * @example attention()([decoder, encoder])
 * @throws OptionError for unknown options and values out of range
 * @throws ShapeError  when built on inputs that do not fit each other
 */
export function attention(options: AttentionOptions = {}): CallableLayer {
  const where = "attention()";
  checkOptions(where, options, [
    "name",
    "score",
    "units",
    "scale",
    "causal",
    "blind",
    "dropout",
    "kernelInitializer",
    "scaleInitializer",
  ]);
  const score = oneOf(where, "score", options.score ?? "dot", ["dot", "additive"]);
  const units = options.units ?? null;
  if (units !== null) integer(where, "units", units, 1, 65536);
  const scale = oneOf(where, "scale", options.scale ?? (score === "dot" ? "sqrt" : "learned"), [
    "sqrt",
    "none",
    "learned",
  ]);
  if (score === "additive" && scale === "sqrt")
    throw new OptionError(`${where}: additive scores have "scale" "learned" or "none", got "sqrt"`);
  const causal = flag(where, "causal", options.causal ?? false);
  const blind = oneOf(where, "blind", options.blind ?? "zeros", ["zeros", "mean"]);
  const dropout = real(where, "dropout", options.dropout ?? 0, "[0, 1)");
  const kernelInitializer = initializerConfig(where, options.kernelInitializer ?? "glorotUniform");
  const scaleInitializer = initializerConfig(
    where,
    options.scaleInitializer ?? (score === "dot" ? "ones" : "glorotUniform"),
  );
  return callable({
    type: "attention",
    name: checkName(where, options.name),
    arity: [1, 3],
    config: { score, units, scale, causal, blind, dropout, kernelInitializer, scaleInitializer },
    build: (b, inputs) =>
      buildAttention(b, inputs, {
        score,
        scale,
        causal,
        blind: blind === "mean" ? "counting" : undefined,
        dropout,
        heads: 1,
        kernelInitializer,
        scaleInitializer,
        queries: units ?? undefined,
      }),
  });
}
