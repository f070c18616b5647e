import type { instantiate } from "../../build/core.plain.js";

/** Everything that the compiled core exports, typed by the compiler that built it. */
export type Exports = Awaited<ReturnType<typeof instantiate>>;

/**
 * The kernels that a program may call: the one table between host and core.
 * Numbers in a program are positions in it, the same in every thread.
 */
export const KERNELS = [
  "activate",
  "activateBackward",
  "adagrad",
  "adam",
  "addRows",
  "addTo",
  "binaryCrossEntropyLogits",
  "binaryCrossEntropyProbabilities",
  "clipValue",
  "copyRows",
  "crossEntropyLogits",
  "crossEntropyProbabilities",
  "denseBackward",
  "denseForward",
  "denseGradients",
  "densePack",
  "densePackTransposed",
  "dropout",
  "dropoutMask",
  "embedding",
  "embeddingBackward",
  "gemm",
  "gemmTransposed",
  "gruBackward",
  "gruForward",
  "gruGradients",
  "gruPack",
  "gruPackTransposed",
  "layerNorm",
  "layerNormBackward",
  "layerNormBackwardParameters",
  "logSoftmax",
  "logSoftmaxBackward",
  "maskRows",
  "maskRowsBackward",
  "maskTokens",
  "packPanels",
  "packRow",
  "randomWords",
  "regressionLoss",
  "rmsprop",
  "scale",
  "sgd",
  "softmax",
  "softmaxBackward",
  "zero",
] as const satisfies readonly (keyof Exports)[];

/** Exports that answer a question instead: sizes, sums, checks. Called directly. */
export const QUERIES = [
  "allFinite",
  "arenaStart",
  "denseGradientsScratch",
  "densePackedSize",
  "densePackedTransposedSize",
  "fuses",
  "gemmTransposedScratch",
  "gruChunk",
  "gruGatesStride",
  "gruGradientsPanels",
  "gruGradientsScratch",
  "gruPackedSize",
  "gruPackedTransposedSize",
  "maxAbsolute",
  "sumOfAbsolutes",
  "sumOfSquares",
] as const satisfies readonly (keyof Exports)[];

export type Kernel = (typeof KERNELS)[number];

/** A missing row is an error here, by its name. */
type Missing = Exclude<keyof Exports, Kernel | (typeof QUERIES)[number]>;
export const complete: [Missing] extends [never] ? true : { missing: Missing } = true;

/** One recorded call: a kernel's number and its arguments. */
export interface Call {
  readonly kernel: number;
  readonly args: readonly number[];
}

/** The kernels as recorders: `k.gemm(...)` appends a call instead of making it. */
export type Recorder = { readonly [K in Kernel]: (...args: Parameters<Exports[K]>) => void };

/**
 * Kernel calls written down once and run many times, by this thread or by any
 * other that has the same memory: plain numbers, no closures over the model.
 */
export class Program {
  readonly calls: Call[] = [];
  private bound: (() => unknown)[] = [];
  readonly k: Recorder;

  constructor(private readonly core: Exports) {
    this.k = Object.fromEntries(
      KERNELS.map((name, kernel) => [name, (...args: number[]) => void this.calls.push({ kernel, args })]),
    ) as unknown as Recorder;
  }

  /** Binds the calls; a bound call costs about 25 ns, a spread one 40 (Node 20, 16 arguments). */
  seal(): this {
    this.bound = this.calls.map(({ kernel, args }) => {
      const f = this.core[KERNELS[kernel]] as (...args: number[]) => unknown;
      return f.bind(null, ...args);
    });
    return this;
  }

  run(): void {
    const { bound } = this;
    for (let i = 0; i < bound.length; i++) bound[i]();
  }
}
