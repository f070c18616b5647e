import type { instantiate } from "../../build/core.plain.js";
import type { Pool } from "../workers/pool.ts";

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
  "addColumnSums",
  "addRows",
  "addTo",
  "affine",
  "affineBackward",
  "attentionBackward",
  "attentionForward",
  "attentionGradients",
  "attentionProject",
  "binaryCrossEntropyLogits",
  "binaryCrossEntropyProbabilities",
  "clipValue",
  "conv1dBackward",
  "conv1dForward",
  "conv1dForwardInt8",
  "conv1dGradients",
  "conv1dPackTransposed",
  "copyRows",
  "crossEntropyLogits",
  "crossEntropyProbabilities",
  "ctc",
  "ctcTotal",
  "denseBackward",
  "denseForward",
  "denseForwardInt8",
  "denseGradients",
  "densePack",
  "densePackInt8",
  "densePackTransposed",
  "dropout",
  "dropoutMask",
  "embedding",
  "embeddingBackward",
  "gatherRows",
  "gemm",
  "gemmInt8",
  "gemmTransposed",
  "gruBackward",
  "gruForward",
  "gruForwardInt8",
  "gruGradients",
  "gruLayerNormGradients",
  "gruPack",
  "gruPackInt8",
  "gruPackTransposed",
  "inputDropout",
  "int8Pack",
  "int8Quantize",
  "layerNorm",
  "layerNormBackward",
  "layerNormBackwardParameters",
  "lightGruBackward",
  "lightGruForward",
  "lightGruForwardInt8",
  "lightGruGradients",
  "lightGruPack",
  "lightGruPackInt8",
  "lightGruPackTransposed",
  "logSoftmax",
  "logSoftmaxBackward",
  "maskAnd",
  "maskRows",
  "maskRowsBackward",
  "maskTokens",
  "mergeDirections",
  "mergeDirectionsBackward",
  "merge",
  "mergeBackward",
  "packPanels",
  "packRow",
  "pooling1d",
  "pooling1dBackward",
  "pushFrames",
  "putColumns",
  "randomWords",
  "recurrentDropout",
  "regressionLoss",
  "reshape",
  "rmsprop",
  "scale",
  "scatterRows",
  "sgd",
  "softmax",
  "softmaxBackward",
  "takeColumns",
  "zero",
] as const satisfies readonly (keyof Exports)[];

/** Exports that answer a question instead: sizes, sums, checks. Called directly. */
export const QUERIES = [
  "allFinite",
  "arenaStart",
  "attentionBackwardScratch",
  "attentionGradientsScratch",
  "attentionScratch",
  "ctcScratch",
  "conv1dGradientsScratch",
  "conv1dPackedTransposedSize",
  "conv1dScratch",
  "denseGradientsScratch",
  "densePackedSize",
  "densePackedSizeInt8",
  "densePackedTransposedSize",
  "fuses",
  "gemmTransposedScratch",
  "gruBackwardScratch",
  "gruBackwardSums",
  "gruChunk",
  "gruGatesStride",
  "gruGradientsPanels",
  "gruGradientsScratch",
  "gruPackedSize",
  "gruPackedSizeInt8",
  "gruPackedTransposedSize",
  "int8ActivationBits",
  "int8PanelBytes",
  "lightGruGatesStride",
  "lightGruGradientsPanels",
  "lightGruGradientsScratch",
  "lightGruPackedSize",
  "lightGruPackedSizeInt8",
  "lightGruPackedTransposedSize",
  "maxAbsolute",
  "sumOfAbsolutes",
  "sumOfSquares",
] as const satisfies readonly (keyof Exports)[];

export type Kernel = (typeof KERNELS)[number];

/** A missing row is an error here, by its name. */
type Missing = Exclude<keyof Exports, Kernel | (typeof QUERIES)[number]>;
export const complete: [Missing] extends [never] ? true : { missing: Missing } = true;

/**
 * Kernels whose last arguments are a range of items [from, to), rows of the
 * batch or panels of a weight gradient, and the thread that computes it:
 * threads may share them out.
 */
interface Split {
  /** Items at a time, at the least: fewer would waste what they share. */
  readonly grain: number;
  /** Floating-point operations of a call, from its arguments. */
  readonly flops: (args: readonly number[]) => number;
}

const gruFlops = (T: number, B: number, I: number, H: number) => 6 * T * B * H * (I + H);

/** Two products a pair of query and key; an additive score has a tanh a column, some twelve operations, instead. */
const attentionFlops = (B: number, heads: number, Tq: number, Tk: number, D: number, Dv: number, flags: number) =>
  2 * B * heads * Tq * Tk * (D * (flags & 1 ? 7 : 1) + Dv);
const convFlops = (rows: number, I: number, N: number, taps: number) => 2 * rows * I * N * taps;
/** Of the input, which all cells with one gate have. */
const lightGruFlops = (T: number, B: number, I: number, H: number) => 4 * T * B * H * I;

const SPLITS: Partial<Record<Kernel, Split>> = {
  gruForward: { grain: 8, flops: (a) => gruFlops(a[9], a[10], a[11], a[12]) },
  gruForwardInt8: { grain: 8, flops: (a) => gruFlops(a[9], a[10], a[11], a[12]) },
  gruBackward: { grain: 8, flops: (a) => gruFlops(a[13], a[14], a[15], a[16]) },
  gruGradients: { grain: 3, flops: (a) => gruFlops(a[8], a[9], a[10], a[11]) },
  attentionForward: { grain: 1, flops: (a) => attentionFlops(a[12], a[13], a[14], a[15], a[16], a[17], a[18]) },
  attentionBackward: { grain: 1, flops: (a) => 2.5 * attentionFlops(a[16], a[17], a[18], a[19], a[20], a[21], a[22]) },
  attentionProject: { grain: 16, flops: (a) => 2 * (a[7] * a[9] * a[12] + a[8] * (a[10] * a[13] + a[11] * a[14])) },
  attentionGradients: {
    grain: 1,
    flops: (a) => 2 * a[24] * (a[18] * (a[20] * a[25] + a[23] * a[26]) + a[19] * (a[21] * a[25] + a[22] * a[26])),
  },
  conv1dForward: { grain: 16, flops: (a) => convFlops(a[16], a[7], a[8], a[9]) },
  conv1dForwardInt8: { grain: 16, flops: (a) => convFlops(a[17], a[7], a[8], a[9]) },
  conv1dBackward: { grain: 16, flops: (a) => convFlops(a[15], a[7], a[8], a[9]) },
  conv1dGradients: { grain: 3, flops: (a) => convFlops(a[7] * a[8], a[9], a[10], a[11]) },
  // A tile's rows: minGRU has no product a step, and training it is for long sequences in small batches.
  lightGruForward: { grain: 4, flops: (a) => lightGruFlops(a[7], a[8], a[9], a[10]) },
  lightGruForwardInt8: { grain: 4, flops: (a) => lightGruFlops(a[7], a[8], a[9], a[10]) },
  lightGruBackward: { grain: 4, flops: (a) => lightGruFlops(a[10], a[11], a[12], a[13]) },
  lightGruGradients: { grain: 3, flops: (a) => lightGruFlops(a[7], a[8], a[9], a[10]) },
  denseForward: { grain: 16, flops: (a) => 2 * a[6] * a[3] * a[4] },
  denseForwardInt8: { grain: 16, flops: (a) => 2 * a[7] * a[3] * a[4] },
  denseBackward: { grain: 16, flops: (a) => 2 * a[7] * a[3] * a[4] },
  // It has hardly any products: what they would do in its time, 2.5 ns a class and 8 ns a label (bench/).
  ctc: { grain: 1, flops: (a) => a[7] * a[8] * (75 * a[9] + 250 * a[11]) },
  denseGradients: { grain: 3, flops: (a) => 2 * a[5] * a[6] * a[7] },
};

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
  private steps: (() => unknown)[] = [];
  readonly k: Recorder;

  constructor(
    private readonly core: Exports,
    private readonly pool?: Pool,
  ) {
    this.k = Object.fromEntries(
      KERNELS.map((name, kernel) => [name, (...args: number[]) => void this.calls.push({ kernel, args })]),
    ) as unknown as Recorder;
  }

  /** Binds the calls; a bound call costs about 25 ns, a spread one 40 (Node 20, 16 arguments). */
  seal(): this {
    this.steps = this.calls.map((call) => {
      const f = this.core[KERNELS[call.kernel]] as (...args: number[]) => unknown;
      const alone = f.bind(null, ...call.args);
      return (this.pool && shared(call, alone, this.pool)) ?? alone;
    });
    return this;
  }

  run(): void {
    const { steps } = this;
    for (let i = 0; i < steps.length; i++) steps[i]();
  }
}

/** Below this a call is over before a second thread has woken up. */
const WORTH_SHARING = 3e6;
/** Calls alone after sharing did not pay: other processes want the cores. */
const RETREAT = 16;
/** Calls alone at first: V8 compiles a kernel better after its first runs, and the best time counts. */
const FIRST_ALONE = 3;

/**
 * A call that threads share out, where there is enough of it. It keeps its
 * best recent times alone and shared, and goes back to one thread for a while
 * when sharing does not pay.
 */
function shared(call: Call, alone: () => unknown, pool: Pool): (() => void) | undefined {
  const split = SPLITS[KERNELS[call.kernel]];
  if (!split || split.flops(call.args) < WORTH_SHARING) return undefined;
  const args = call.args.slice(0, -3);
  const [from, to] = call.args.slice(args.length);
  const items = to - from;
  if (items < 2 * split.grain) return undefined;
  // Four claims a thread, so that one that is held up holds up little.
  const grain = split.grain * Math.max(1, Math.floor(items / (split.grain * 4 * pool.size)));
  const job = { kernel: call.kernel, args, from, to, grain };
  let aloneTime = Infinity;
  let sharedTime = 0;
  let turnsAlone = FIRST_ALONE;
  return () => {
    const start = performance.now();
    if (turnsAlone > 0 || !pool.awake()) {
      alone();
      // Drifts up when the machine has become slower.
      aloneTime = Math.min(performance.now() - start, aloneTime * 1.05);
      sharedTime = 0.8 * aloneTime;
      turnsAlone = Math.max(0, turnsAlone - 1);
    } else {
      pool.run(job);
      sharedTime = 0.7 * sharedTime + 0.3 * (performance.now() - start);
      if (sharedTime > aloneTime) turnsAlone = RETREAT;
    }
  };
}
