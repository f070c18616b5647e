import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { attention } from "../../layers/attention.ts";
import { multiHeadAttention } from "../../layers/multi-head-attention.ts";
import { readInitializer } from "./config.ts";
import { type Converter, flag, given, inOrder, rate, single, size } from "./piece.ts";

/** Keras's layers that attend. */

export const convertAttention: Converter = (c, { className, name, where }) => {
  if (c.score_mode !== undefined && c.score_mode !== "dot")
    throw new FormatError(`${where}: score_mode ${shown(c.score_mode)}; gruvy has "dot", and AdditiveAttention`);
  const additive = className === "AdditiveAttention";
  const learned = c.use_scale ?? additive;
  return {
    layer: attention(
      given({
        name,
        score: additive ? "additive" : "dot",
        scale: learned ? "learned" : "none",
        causal: (c.use_causal_mask ?? c.causal ?? false) as boolean,
        blind: "mean",
        dropout: rate(c.dropout),
      }),
    ),
    within: [""],
    mask: "first",
    shape: (query, value) => query && [query[0], value?.at(-1) ?? null],
    least: 2,
    // A learned factor has no axes in Keras.
    params: (stored) => inOrder("scale")(stored.map((t) => (t.shape.length ? t : { shape: [1], data: t.data }))),
  };
};

export const convertMultiHead: Converter = (c, { name, where, dialect }) => {
  for (const [option, plain] of [
    ["attention_axes", [1]],
    ["output_shape", []],
  ] as const)
    if (Array.isArray(c[option]) && c[option].length > 1)
      throw new FormatError(`${where}: "${option}" ${shown(c[option])}; expected one axis, such as ${shown(plain)}`);
  for (const option of ["use_gate", "sliding_window"])
    if (c[option]) throw new FormatError(`${where}: "${option}" ${shown(c[option])}; gruvy has it without`);
  const useBias = flag(c, "use_bias", true);
  const parts = ["query", "key", "value", "output"];
  const names = parts.flatMap((part) => [`${part}Kernel`, ...(useBias ? [`${part}Bias`] : [])]);
  return {
    layer: multiHeadAttention(
      c.num_heads as number,
      given({
        name,
        keyUnits: c.key_dim,
        valueUnits: c.value_dim ?? undefined,
        units: single(c.output_shape),
        useBias,
        causal: (c.use_causal_mask ?? false) as boolean,
        blind: "mean",
        dropout: rate(c.dropout),
        kernelInitializer: readInitializer(c.kernel_initializer),
        biasInitializer: readInitializer(c.bias_initializer),
      }),
    ),
    within: parts.map((part) => `${part}_dense`),
    least: 2,
    mask: dialect.attentionSeesMasks ? "first" : "ignores",
    shape: (query) => query && [query[0], size(single(c.output_shape)) ?? query.at(-1) ?? null],
    // Keras has an axis of heads and one of columns, where we have one of both.
    params: (stored) =>
      Object.fromEntries(
        stored.map(({ shape, data }, i) => {
          const own = names[i] ?? `weight ${i}`;
          const kernel = own.endsWith("Kernel");
          const [a, b, d] = shape;
          const flat =
            kernel && shape.length === 3 ? (own === "outputKernel" ? [a * b, d] : [a, b * d]) : [data.length];
          return [own, { shape: kernel && shape.length !== 3 ? shape : flat, data }];
        }),
      ),
  };
};
