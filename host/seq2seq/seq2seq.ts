import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, integer, oneOf, real } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import { sparseCategoricalCrossentropy } from "../losses/cross-entropy.ts";
import { adam } from "../optimizers/adam.ts";
import type { OptimizerLike } from "../optimizers/index.ts";
import type { Model } from "../stacks/model.ts";
import type { Weights } from "../stacks/network.ts";
import type { FitOptions, History } from "../training/fit.ts";
import { type BeamOptions, beamSearch, type Hypothesis } from "./beam.ts";
import { toBytes } from "./file.ts";
import { batchOf, batchOrder, checkTokens, padded, pairsOf, type Tokens } from "./pairs.ts";
import { buildParts, type Parts, type Seq2SeqConfig } from "./parts.ts";
import { mixed } from "./sampling.ts";
import { type Encoded, StepDecoder } from "./step-decoder.ts";

export interface Seq2SeqOptions {
  /** How many tokens sources are written in; they are 1 to sourceTokens - 1. */
  sourceTokens: number;
  /** How many tokens targets are written in; they are 1 to targetTokens - 1. 0 begins and ends a target. */
  targetTokens: number;
  /** Of the encoder (of each direction) and of the decoder. Default 128. */
  units?: number;
  /** Numbers in a token's vector. Default 64. */
  embedding?: number;
  /** How the decoder scores what it looks back at. Default "dot". */
  attention?: "dot" | "additive";
  /** The encoder reads from both ends. Default true. */
  bidirectional?: boolean;
  /** Of token vectors and of what the output is made of, while training. Default 0. */
  dropout?: number;
  /** Draws initial weights, the order of batches, dropout and sampling. Default 0. */
  seed?: number;
}

const OPTIONS: readonly (keyof Seq2SeqOptions)[] = [
  "sourceTokens",
  "targetTokens",
  "units",
  "embedding",
  "attention",
  "bidirectional",
  "dropout",
  "seed",
];

export interface Seq2SeqCompileOptions {
  /** Default adam with a globalClipNorm of 1. */
  optimizer?: OptimizerLike;
  /** Default 0. */
  labelSmoothing?: number;
}

export interface Seq2SeqFitOptions extends Pick<FitOptions, "epochs" | "callbacks" | "signal" | "verbose"> {
  /** Pairs in a batch. Default 32. */
  batchSize?: number;
  /**
   * The decoder reads its own likeliest token instead of the right one with a probability that grows from 0 in the
   * first epoch to this in the last (scheduled sampling, linear). Default 0: always the right one (teacher forcing).
   */
  scheduledSampling?: number;
  /** Sources and targets to validate on, by the right tokens. */
  validationData?: readonly [readonly Tokens[], readonly Tokens[]];
}

export interface TranslateOptions {
  /** Sequences that are followed at a time; 1 is greedy. Default 1. */
  beamWidth?: number;
  /** Tokens at most. Default 100. */
  maxLength?: number;
  /** Length normalisation: how much longer sequences are preferred. Default 0.6. */
  alpha?: number;
  /** Sources at a time. Default 64. */
  batchSize?: number;
}

/** Sequences into sequences. Made by `seq2seq` or `loadSeq2Seq`. */
export class Seq2Seq {
  /** Use `seq2seq()`. */
  constructor(
    /** @internal */ readonly config: Seq2SeqConfig,
    private readonly parts: Parts,
  ) {}

  /** The whole as one model, for `evaluate`, `weights` and the like: inputs "source" and "target". */
  get model(): Model {
    return this.parts.whole;
  }

  /** Chooses the optimizer; `fit` does so itself if nobody has. Compiling again begins training anew; weights stay. */
  compile(options: Seq2SeqCompileOptions = {}): void {
    checkOptions("compile()", options, ["optimizer", "labelSmoothing"]);
    this.model.compile({
      loss: sparseCategoricalCrossentropy({ labelSmoothing: options.labelSmoothing ?? 0 }),
      optimizer: options.optimizer ?? adam({ globalClipNorm: 1 }),
      metrics: ["accuracy"],
    });
  }

  /**
   * Trains on pairs of sequences of any lengths.
   *
   * @example await translator.fit(sources, targets, { epochs: 10, scheduledSampling: 0.2 })
   * @returns the history: loss and accuracy are means over target tokens
   * @throws ShapeError, OptionError for sequences and options that do not fit, before anything runs
   */
  async fit(sources: readonly Tokens[], targets: readonly Tokens[], options: Seq2SeqFitOptions = {}): Promise<History> {
    const where = "fit()";
    checkOptions(where, options, [
      "epochs",
      "batchSize",
      "scheduledSampling",
      "validationData",
      "callbacks",
      "signal",
      "verbose",
    ]);
    this.checkPairs(where, sources, targets);
    const { batchSize: size, scheduledSampling, validationData, ...rest } = options;
    const batchSize = integer(where, "batchSize", size ?? 32, 1);
    const most = real(where, "scheduledSampling", scheduledSampling ?? 0, "[0, 1]");
    const epochs = integer(where, "epochs", options.epochs ?? 1, 0);
    if (validationData) this.checkPairs(`${where}: validationData`, ...validationData);
    if (!this.model.training) this.compile();
    const { seed } = this.config;
    const parts = this.parts;
    const encode = (batch: readonly Tokens[]) => this.encode(batch);
    const first = this.model.epoch;
    async function* batches(epoch: number) {
      const begun = epoch - first - 1;
      const probability = epochs > 1 ? (most * begun) / (epochs - 1) : most;
      for (const samples of batchOrder(sources, batchSize, seed, epoch)) {
        const own = samples.map((i) => sources[i]);
        const pairs = pairsOf(own, samples.map((i) => targets[i])); // biome-ignore format: one line
        yield batchOf(
          probability > 0
            ? await mixed(pairs, parts.decoder.network, await encode(own), probability, seed, epoch)
            : pairs,
        );
      }
    }
    return this.model.fit(batches, {
      ...rest,
      ...(validationData && { validationData: () => inOrder(...validationData, batchSize) }),
    });
  }

  /**
   * The best target found for every source.
   *
   * @example const [tokens] = await translator.translate([[5, 3, 8]], { beamWidth: 4 })
   * @throws ShapeError, OptionError for sequences and options that do not fit
   */
  async translate(sources: readonly Tokens[], options: TranslateOptions = {}): Promise<number[][]> {
    return (await this.search(sources, options)).map(([best]) => [...best.tokens]);
  }

  /** All targets that the beam found for every source, best first, with their probabilities. */
  async search(sources: readonly Tokens[], options: TranslateOptions = {}): Promise<Hypothesis[][]> {
    const where = "translate()";
    checkOptions(where, options, ["beamWidth", "maxLength", "alpha", "batchSize"]);
    checkTokens(where, sources, this.config.sourceTokens, 1);
    const batchSize = integer(where, "batchSize", options.batchSize ?? 64, 1);
    const beam: BeamOptions = {
      beamWidth: integer(where, "beamWidth", options.beamWidth ?? 1, 1, 1024),
      maxLength: integer(where, "maxLength", options.maxLength ?? 100, 1),
      alpha: real(where, "alpha", options.alpha ?? 0.6, "[0, 10]"),
    };
    const found: Hypothesis[][] = new Array(sources.length);
    const order = sources.map((_, i) => i).sort((a, b) => sources[a].length - sources[b].length);
    for (let from = 0; from < order.length; from += batchSize) {
      const batch = order.slice(from, from + batchSize);
      const encoded = await this.encode(batch.map((i) => sources[i]));
      const decoder = new StepDecoder(this.parts.decoder.network, encoded, beam.beamWidth);
      try {
        beamSearch(decoder, batch.length, beam).forEach((hypotheses, i) => {
          found[batch[i]] = hypotheses;
        });
      } finally {
        decoder.close();
      }
    }
    return found;
  }

  private async encode(sources: readonly Tokens[]): Promise<Encoded> {
    const { lengths, ...source } = padded(sources);
    const batchSize = sources.length;
    const given = (await this.parts.encoder.predict(source, { lengths, batchSize })) as unknown as Tensor[];
    const [outputs, keys, state] = given;
    return { outputs, keys, state, lengths };
  }

  private checkPairs(where: string, sources: readonly Tokens[], targets: readonly Tokens[]): void {
    checkTokens(`${where}: sources`, sources, this.config.sourceTokens, 1);
    checkTokens(`${where}: targets`, targets, this.config.targetTokens, 0);
    if (sources.length !== targets.length)
      throw new ShapeError(`${where}: ${sources.length} sources need as many targets, got ${targets.length}`);
    if (!sources.length) throw new ShapeError(`${where}: no pairs`);
  }

  /** Layers, output shapes and parameters as a table. */
  summary(): string {
    return this.model.summary();
  }

  /** Trainable numbers in all. */
  get parameterCount(): number {
    return this.model.parameterCount;
  }

  /** Writes one file, all or nothing; `loadSeq2Seq` reads it, and `loadModel` the whole as a model. */
  async save(path: string | URL): Promise<void> {
    const bytes = this.toBytes();
    const { writeFile } = await import("../files/files.ts");
    await writeFile(String(path), bytes);
  }

  /** The file that `save` writes. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return toBytes(this.model, this.config);
  }

  /** Gives all memory back. */
  dispose(): void {
    for (const part of [this.parts.decoder, this.parts.encoder, this.parts.whole]) part.dispose();
  }
}

function* inOrder(sources: readonly Tokens[], targets: readonly Tokens[], batchSize: number) {
  for (let from = 0; from < sources.length; from += batchSize)
    yield batchOf(pairsOf(sources.slice(from, from + batchSize), targets.slice(from, from + batchSize)));
}

/**
 * A model that turns sequences of tokens into sequences of tokens: an encoder,
 * and a decoder that looks back at all of it at every step.
 *
 * @example
 * const translator = await seq2seq({ sourceTokens: 50, targetTokens: 12, units: 128, seed: 1 })
 * await translator.fit(sources, targets, { epochs: 10 })
 * const [tokens] = await translator.translate([source], { beamWidth: 4 })
 * @throws OptionError for unknown options and values out of range
 */
export function seq2seq(options: Seq2SeqOptions): Promise<Seq2Seq> {
  return assembleSeq2Seq(options);
}

/** `seq2seq`, with parameters drawn or given. */
export async function assembleSeq2Seq(options: Seq2SeqOptions, weights: Weights = {}): Promise<Seq2Seq> {
  const where = "seq2seq()";
  checkOptions(where, options, OPTIONS);
  if (options === undefined) throw new OptionError(`${where}: "sourceTokens" and "targetTokens" are missing`);
  const config: Seq2SeqConfig = {
    sourceTokens: integer(where, "sourceTokens", options.sourceTokens, 2, 2 ** 28),
    targetTokens: integer(where, "targetTokens", options.targetTokens, 2, 2 ** 24),
    units: integer(where, "units", options.units ?? 128, 1, 65536),
    embedding: integer(where, "embedding", options.embedding ?? 64, 1, 65536),
    attention: oneOf(where, "attention", options.attention ?? "dot", ["dot", "additive"]),
    bidirectional: flag(where, "bidirectional", options.bidirectional ?? true),
    dropout: real(where, "dropout", options.dropout ?? 0, "[0, 1)"),
    seed: integer(where, "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER),
  };
  return new Seq2Seq(config, await buildParts(config, weights));
}
