import { ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type Initializer, initializerConfig } from "./initializers.ts";
import { type Mask, type Port, padded } from "./layer.ts";
import { checkName } from "./name.ts";

export interface EmbeddingOptions {
  name?: string;
  /** Token 0 is padding: its steps are masked in the layers that follow. Default false. */
  maskZero?: boolean;
  /** The token whose vector gets no gradient (PyTorch's padding_idx). Default none. */
  paddingIndex?: number;
  /** Of the table [tokens, units]. Default uniform in [-0.05, 0.05], as Keras. */
  embeddingsInitializer?: Initializer;
}

/**
 * A vector for every token: [batch, time] whole numbers to [batch, time, units].
 *
 * @example embedding(vocabulary, 32, { maskZero: true })
 * @param tokens how many there are; inputs are 0 to tokens - 1
 * @param units  numbers in a vector
 * @throws OptionError for unknown options and values out of range
 */
export function embedding(tokens: number, units: number, options: EmbeddingOptions = {}): CallableLayer {
  const where = "embedding()";
  integer(where, "tokens", tokens, 1, 2 ** 28);
  integer(where, "units", units, 1, 65536);
  checkOptions(where, options, ["name", "maskZero", "paddingIndex", "embeddingsInitializer"]);
  const maskZero = flag(where, "maskZero", options.maskZero ?? false);
  const paddingIndex = options.paddingIndex ?? null;
  if (paddingIndex !== null) integer(where, "paddingIndex", paddingIndex, 0, tokens - 1);
  const embeddingsInitializer = initializerConfig(
    where,
    options.embeddingsInitializer ?? { name: "randomUniform", min: -0.05, max: 0.05 },
  );
  return callable({
    type: "embedding",
    name: checkName(where, options.name),
    readsTokens: true,
    config: { tokens, units, maskZero, paddingIndex, embeddingsInitializer },
    build(b, [input]) {
      if (input.type !== "tokens")
        throw new ShapeError(`layer "${b.name}": expected tokens [batch, time], got ${input.features} numbers`);
      const table = b.param("embeddings", [tokens, units], embeddingsInitializer);
      const output: Port = { features: units, sequence: input.sequence, steps: input.steps, type: "values" };
      const stride = padded(units);
      return {
        output,
        tokens,
        forward(run, [x]) {
          const y = run.saved("y", x.rows * stride);
          run.k.embedding(y, table.address, x.address, x.rows, units, stride);
          let mask: Mask | undefined = x.mask;
          if (maskZero && input.sequence) {
            mask = { address: run.mask("mask", x.rows), dialect: "holes" };
            run.k.maskTokens(mask.address, x.address, x.mask?.address ?? 0, x.rows);
          }
          return { port: output, address: y, rows: x.rows, stride, mask, saved: {} };
        },
        backward(run, [x], y) {
          run.k.embeddingBackward(
            table.gradient,
            y.gradient!,
            x.address,
            x.rows,
            units,
            stride,
            units,
            paddingIndex ?? -1,
          );
        },
      };
    },
  });
}
