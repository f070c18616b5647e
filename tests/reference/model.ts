import { attentionLayer } from "./attention-layer.ts";
import { merged, mergedSequence } from "./bidirectional.ts";
import { activations, layerNorm, softmax } from "./elementwise.ts";
import type { Rows, Vector } from "./gru.ts";
import { CELLS, cellSequence } from "./recurrent.ts";
import { conv1d, pooling1d, windowMaskOf } from "./windows.ts";

/**
 * Whole models in double precision, straight from what a model says about
 * itself: its architecture and its weights. One sample at a time.
 */

export type Numbers = ArrayLike<number>;

export interface LayerSpec {
  readonly type: string;
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: options of every layer
  readonly config: any;
}

export interface ModelSpec {
  readonly layers: readonly LayerSpec[];
}

export interface ModelInput {
  /** [batch, time, features], [batch, features] or tokens, flat. */
  readonly x: Numbers;
  readonly batch: number;
  /** Steps, where x has a time axis. */
  readonly steps?: number;
  readonly lengths?: Numbers;
  /** [batch, time], flat. */
  readonly mask?: Numbers;
  /** One [batch, units] for each state, flat. */
  readonly initialState?: readonly Numbers[];
}

export function rowsOf(values: Numbers, n: number): Rows {
  return Array.from({ length: values.length / n }, (_, r) => Array.from({ length: n }, (_, j) => values[r * n + j]));
}

// biome-ignore lint/suspicious/noExplicitAny: a name, or a name with parameters
function activate(row: Vector, activation: any): Vector {
  const { name, alpha, beta } = typeof activation === "string" ? { name: activation } : activation;
  if (name === "softmax") return softmax(row);
  if (name === "logSoftmax") return softmax(row).map(Math.log);
  if (name === "leakyRelu" && alpha !== undefined) return row.map((x) => (x > 0 ? x : alpha * x));
  if (name === "hardtanh" && alpha !== undefined) return row.map((x) => Math.min(beta, Math.max(alpha, x)));
  return row.map(activations[name as keyof typeof activations]);
}

/** A sample in another shape, [features] or [time, features], one of them -1. */
function reshaped(rows: Rows, shape: readonly number[]): Rows {
  const flat = rows.flat();
  const [time, features] = shape.length === 2 ? shape : [1, -1];
  return rowsOf(flat, features === -1 ? flat.length / time : features);
}

function transposed(rows: Rows): Rows {
  return rows[0].map((_, j) => rows.map((row) => row[j]));
}

/** A sample on its way through the layers. */
export interface Sample {
  rows: Rows;
  mask?: Vector;
  dialect: "lengths" | "holes";
}

/** What a model reads, as samples. */
export function samplesOf(input: ModelInput): Sample[] {
  const { batch, steps = 1, lengths } = input;
  const width = input.x.length / (batch * steps);
  const all = rowsOf(input.x, width);
  return Array.from({ length: batch }, (_, b) => {
    const rows = all.slice(b * steps, (b + 1) * steps);
    const mask = lengths
      ? rows.map((_row, t) => (t < lengths[b] ? 1 : 0))
      : input.mask && rows.map((_row, t) => input.mask![b * steps + t]);
    // What stands in padded steps is nobody's business.
    return {
      rows: mask ? rows.map((row, t) => (mask[t] ? row : row.map(() => 0))) : rows,
      mask,
      dialect: lengths ? "lengths" : "holes",
    };
  });
}

/** Outputs [batch, steps, features] flat, and which of the rows count. */
export function flattened(samples: readonly Sample[]) {
  return {
    outputs: samples.flatMap(({ rows }) => rows.flat()),
    valid: samples.flatMap(({ rows, mask }) => mask ?? rows.map(() => 1)),
  };
}

/** Outputs [batch, steps, features] flat, which of the rows count, and the final states. */
export function runModel(spec: ModelSpec, weights: Readonly<Record<string, Numbers>>, input: ModelInput) {
  let samples = samplesOf(input);
  const states: number[][] = [];
  for (const layer of spec.layers) {
    const initial = input.initialState?.slice(states.length) ?? [];
    const run = runLayer(layer, weights, samples, input.steps !== undefined, initial);
    samples = run.samples;
    states.push(...run.states);
  }
  return { ...flattened(samples), states };
}

/**
 * One layer with one input over all samples.
 *
 * @param sequence      the model reads a time axis
 * @param initialStates of the layer's states; those that are missing are zeros
 */
export function runLayer(
  { type, name, config }: LayerSpec,
  weights: Readonly<Record<string, Numbers>>,
  given: readonly Sample[],
  sequence: boolean,
  initialStates: readonly (Numbers | undefined)[],
) {
  const samples = [...given];
  const states: number[][] = [];
  const own = (part: string) => weights[`${name}.${part}`];
  const each = (change: (sample: Sample, b: number) => Partial<Sample>) =>
    samples.forEach((sample, b) => {
      samples[b] = { ...sample, ...change(sample, b) };
    });
  const eachRow = (change: (row: Vector) => Vector) => each(({ rows }) => ({ rows: rows.map(change) }));
  // One layer over all samples; its final states join the model's.
  // biome-ignore lint/suspicious/noExplicitAny: options of a recurrent layer
  const recur = (cell: string, options: any, prefix = "") => {
    const given = initialStates[states.length];
    const runs = samples.map(({ rows, mask, dialect }, b) =>
      cellSequence(cell, options, (part) => own(prefix + part), rows, {
        goBackwards: options.goBackwards,
        zeroOutputForMask: options.zeroOutputForMask,
        initialState: given && Array.from({ length: options.units }, (_, j) => given[b * options.units + j]),
        mask,
        dialect,
      }),
    );
    states.push(runs.flatMap(({ state }) => state));
    return runs;
  };
  if (CELLS.includes(type)) {
    const runs = recur(type, config);
    each(({ mask }, b) => {
      // Outputs of goBackwards are in reading order, and so is what says which of them count.
      const order = config.goBackwards && mask ? [...mask].reverse() : mask;
      return config.returnSequences
        ? { rows: runs[b].outputs, mask: order }
        : { rows: [runs[b].last], mask: undefined };
    });
  } else if (type === "bidirectional") {
    const { config: first } = config.layer;
    const zeroOutputForMask = first.returnSequences;
    const forward = recur(config.layer.type, { ...first, zeroOutputForMask }, "forward.");
    const second = config.backwardLayer ?? config.layer;
    const backward = recur(second.type, { ...second.config, goBackwards: true, zeroOutputForMask }, "backward.");
    each((_sample, b) =>
      first.returnSequences
        ? { rows: mergedSequence(config.merge, forward[b].outputs, backward[b].outputs) }
        : { rows: [merged(config.merge, forward[b].last, backward[b].last)], mask: undefined },
    );
  } else if (type === "conv1d") {
    const windows = { ...config, size: config.kernelSize };
    each(({ rows, mask }) => ({
      rows: conv1d(rows, own("kernel"), own("bias"), config.filters, windows, mask).map((row) =>
        activate(row, config.activation),
      ),
      mask: mask && windowMaskOf(windows, mask),
    }));
  } else if (type === "pooling1d") {
    each(({ rows, mask }) => {
      const whole = { size: rows.length, strides: rows.length, padding: "valid" } as const;
      const windows = { ...(config.global ? whole : config), dilation: 1 };
      return {
        rows: pooling1d(rows, config.kind, windows, mask),
        mask: config.global ? undefined : mask && windowMaskOf(windows, mask),
      };
    });
  } else if (type === "dense") {
    const kernel = rowsOf(own("kernel"), config.units);
    const bias = own("bias");
    eachRow((row) => {
      const sums: number[] = Array.from(kernel[0], (_, j) => bias?.[j] ?? 0);
      for (let i = 0; i < row.length; i++) for (let j = 0; j < sums.length; j++) sums[j] += row[i] * kernel[i][j];
      return activate(sums, config.activation);
    });
  } else if (type === "embedding") {
    const table = rowsOf(own("embeddings"), config.units);
    if (config.maskZero && sequence)
      each(({ rows, mask }) => ({
        mask: rows.map(([token], t) => (token !== 0 && (mask?.[t] ?? 1) ? 1 : 0)),
        dialect: "holes",
      }));
    eachRow(([token]) => table[token]);
  } else if (type === "attention" || type === "multiHeadAttention") {
    each((sample) => ({ rows: attentionLayer(config, own, [sample]) }));
  } else if (type === "timeDistributed") {
    return runLayer({ ...config.layer, name }, weights, given, sequence, initialStates);
  } else if (type === "remask") {
    each(({ rows, mask }) => ({ rows, mask: config.to === "none" ? undefined : mask && [...mask].reverse() }));
  } else if (type === "reverse") {
    each(({ rows, mask }) => ({ rows: [...rows].reverse(), mask: mask && [...mask].reverse() }));
  } else if (type === "reshape" || type === "transpose") {
    each(({ rows }) => ({
      rows: type === "reshape" ? reshaped(rows, config.shape) : transposed(rows),
      mask: undefined,
    }));
  } else if (type === "padding1d") {
    const zeros = (n: number, row: Vector): Rows => Array.from({ length: Math.max(0, n) }, () => row.map(() => 0));
    each(({ rows }) => ({
      rows: [
        ...zeros(config.before, rows[0]),
        ...rows.slice(Math.max(0, -config.before), rows.length + Math.min(0, config.after)),
        ...zeros(config.after, rows[0]),
      ],
      mask: undefined,
    }));
  } else if (type === "affine") {
    const [scale, shift] = [own("scale"), own("shift")];
    eachRow((row) => row.map((v, j) => v * scale[j] + shift[j]));
  } else if (type === "layerNorm") eachRow((row) => layerNorm(row, config.epsilon, own("gamma"), own("beta")));
  else if (type === "activation") eachRow((row) => activate(row, config.activation));
  else if (type === "masking") {
    each(({ rows, mask }) => ({
      mask: rows.map((row, t) => (row.some((v) => v !== config.maskValue) && (mask?.[t] ?? 1) ? 1 : 0)),
      dialect: "holes",
    }));
    each(({ rows, mask }) => ({ rows: rows.map((row, t) => (mask![t] ? row : row.map(() => 0))) }));
  } else if (type !== "dropout") throw new Error(`no reference for ${type}`);
  return { samples, states };
}

export interface LossSpec {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: options of every loss
  readonly config: any;
}

export interface Targets {
  readonly y: Numbers;
  /** One a row. */
  readonly rowWeights?: Numbers;
  /** One an output. */
  readonly elementWeights?: Numbers;
}

/** The loss of outputs [rows, n], as the options say. */
export function lossOf({ name, config }: LossSpec, outputs: Numbers, n: number, valid: Numbers, targets: Targets) {
  let sum = 0;
  let divisor = 0;
  const { labelSmoothing: smoothing = 0 } = config;
  const clip = (p: number) => Math.min(1 - 1e-7, Math.max(1e-7, p));
  for (let r = 0; r < outputs.length / n; r++) {
    if (!valid[r]) continue;
    const out = Array.from({ length: n }, (_, j) => outputs[r * n + j]);
    const weight = targets.rowWeights?.[r] ?? 1;
    if (name.endsWith("ategoricalCrossentropy")) {
      const label = targets.y[r];
      const sparse = name.startsWith("sparse");
      if (sparse && label === config.ignoreIndex) continue;
      const p = config.fromLogits ? softmax(out) : out.map(clip);
      const w = (c: number) => config.classWeight?.[c] ?? 1;
      for (let c = 0; c < n; c++) {
        const t = sparse ? (c === label ? 1 : 0) : targets.y[r * n + c];
        sum -= weight * w(c) * ((1 - smoothing) * t + smoothing / n) * Math.log(p[c]);
      }
      divisor += sparse ? w(label) : 1;
      continue;
    }
    for (let j = 0; j < n; j++) {
      const factor = weight * (targets.elementWeights?.[r * n + j] ?? 1);
      const [x, t] = [out[j], targets.y[r * n + j]];
      const d = Math.abs(x - t);
      if (name === "meanSquaredError") sum += factor * d * d;
      else if (name === "meanAbsoluteError") sum += factor * d;
      else if (name === "huber")
        sum += factor * (d <= config.delta ? (d * d) / 2 : config.delta * (d - config.delta / 2));
      else if (name === "smoothL1") sum += factor * (d < config.beta ? (d * d) / 2 / config.beta : d - config.beta / 2);
      else {
        const p = config.fromLogits ? activations.sigmoid(x) : clip(x);
        const smooth = t * (1 - smoothing) + smoothing / 2;
        sum -= factor * ((config.posWeight?.[j] ?? 1) * smooth * Math.log(p) + (1 - smooth) * Math.log(1 - p));
      }
      divisor++;
    }
  }
  if (config.reduction !== "mean") return sum;
  return divisor > 0 ? sum / divisor : 0;
}
