import { OptionError, ShapeError } from "../core/errors.ts";
import { real, shown, suggestion, withDefaults } from "../core/options.ts";
import type { Random } from "../core/random.ts";
import { count, shapeText } from "../core/tensor.ts";

/**
 * How parameters start: Keras's initialisers, by name or with options. An
 * initialiser is plain data, so that it goes into a saved model as it is.
 */

/** An initialiser with all its options, as it stands in a saved model. */
export type InitializerConfig =
  | { name: "glorotUniform" | "glorotNormal" | "heUniform" | "heNormal" | "lecunUniform" | "lecunNormal" }
  | { name: "orthogonal"; gain: number }
  | { name: "zeros" }
  | { name: "ones" }
  | { name: "constant"; value: number }
  | { name: "randomUniform"; min: number; max: number }
  | { name: "randomNormal"; mean: number; stddev: number }
  | { name: "truncatedNormal"; mean: number; stddev: number };

/** A name, in our spelling or Keras's (`"glorot_uniform"`), or what a function below returns. */
export type Initializer = string | InitializerConfig;

/** Values for a shape. */
export type Initialize = (shape: readonly number[], random: Random) => Float32Array;

type Options = Record<string, number>;

/** A kind of initialiser: one row of the table below. */
interface Kind {
  /** Every option with its default. */
  defaults: Options;
  initialize(shape: readonly number[], random: Random, options: Options): Float32Array;
}

/** Inputs and outputs of one unit; leading axes of a convolution are its window. */
function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  if (shape.length < 2) return { fanIn: count(shape), fanOut: count(shape) };
  const window = count(shape.slice(0, -2));
  return { fanIn: window * shape[shape.length - 2], fanOut: window * shape[shape.length - 1] };
}

function filled(shape: readonly number[], draw: () => number): Float32Array {
  return Float32Array.from({ length: count(shape) }, draw);
}

/** Zero mean and the variance scale / fan, uniform or normal cut at two deviations. */
function scaled(scale: number, mode: "fanIn" | "average", distribution: "uniform" | "normal"): Kind {
  return {
    defaults: {},
    initialize(shape, random) {
      const { fanIn, fanOut } = fans(shape);
      const variance = scale / Math.max(1, mode === "fanIn" ? fanIn : (fanIn + fanOut) / 2);
      const limit = Math.sqrt(3 * variance);
      // Cutting a normal distribution at ±2 leaves a deviation of 0.8796...; this restores the variance.
      const stddev = Math.sqrt(variance) / 0.87962566103423978;
      return distribution === "uniform"
        ? filled(shape, () => (2 * random.uniform() - 1) * limit)
        : filled(shape, () => random.truncatedNormal() * stddev);
    },
  };
}

const kinds: Record<InitializerConfig["name"], Kind> = {
  glorotUniform: scaled(1, "average", "uniform"),
  glorotNormal: scaled(1, "average", "normal"),
  heUniform: scaled(2, "fanIn", "uniform"),
  heNormal: scaled(2, "fanIn", "normal"),
  lecunUniform: scaled(1, "fanIn", "uniform"),
  lecunNormal: scaled(1, "fanIn", "normal"),
  orthogonal: { defaults: { gain: 1 }, initialize: (shape, random, { gain }) => orthogonalMatrix(shape, random, gain) },
  zeros: { defaults: {}, initialize: (shape) => filled(shape, () => 0) },
  ones: { defaults: {}, initialize: (shape) => filled(shape, () => 1) },
  constant: { defaults: { value: 0 }, initialize: (shape, _, { value }) => filled(shape, () => value) },
  randomUniform: {
    defaults: { min: -0.05, max: 0.05 },
    initialize: (shape, random, { min, max }) => filled(shape, () => min + (max - min) * random.uniform()),
  },
  randomNormal: {
    defaults: { mean: 0, stddev: 0.05 },
    initialize: (shape, random, { mean, stddev }) => filled(shape, () => mean + stddev * random.normal()),
  },
  truncatedNormal: {
    defaults: { mean: 0, stddev: 0.05 },
    initialize: (shape, random, { mean, stddev }) => filled(shape, () => mean + stddev * random.truncatedNormal()),
  },
};

const names = Object.keys(kinds) as InitializerConfig["name"][];

/** The complete, checked config for a name and some options. */
function config(where: string, name: InitializerConfig["name"], options: object = {}): InitializerConfig {
  const all: Options = withDefaults(where, options, kinds[name].defaults);
  for (const [option, value] of Object.entries(all))
    real(where, option, value, option === "stddev" ? "[0, inf)" : "(-inf, inf)");
  if (name === "randomUniform" && all.min > all.max)
    throw new OptionError(`${where}: "min" must not be above "max", got ${all.min} and ${all.max}`);
  return { name, ...all } as InitializerConfig;
}

/** Uniform in ±√(6 / (fanIn + fanOut)). Glorot and Bengio 2010. */
export const glorotUniform = (): InitializerConfig => ({ name: "glorotUniform" });
/** Normal, cut at two deviations, with variance 2 / (fanIn + fanOut). Glorot and Bengio 2010. */
export const glorotNormal = (): InitializerConfig => ({ name: "glorotNormal" });
/** Uniform in ±√(6 / fanIn). He et al. 2015. */
export const heUniform = (): InitializerConfig => ({ name: "heUniform" });
/** Normal, cut at two deviations, with variance 2 / fanIn. He et al. 2015. */
export const heNormal = (): InitializerConfig => ({ name: "heNormal" });
/** Uniform in ±√(3 / fanIn). LeCun et al. 1998. */
export const lecunUniform = (): InitializerConfig => ({ name: "lecunUniform" });
/** Normal, cut at two deviations, with variance 1 / fanIn. LeCun et al. 1998. */
export const lecunNormal = (): InitializerConfig => ({ name: "lecunNormal" });
/** All 0. */
export const zeros = (): InitializerConfig => ({ name: "zeros" });
/** All 1. */
export const ones = (): InitializerConfig => ({ name: "ones" });

/**
 * Orthonormal columns (or rows, where there are fewer rows than columns),
 * times `gain`; axes before the last count as rows. Saxe et al. 2013.
 *
 * @param options `gain` 1
 * @throws OptionError for an unknown or infinite option; ShapeError, when applied, for fewer than two axes
 */
export function orthogonal(options: { gain?: number } = {}): InitializerConfig {
  return config("orthogonal()", "orthogonal", options);
}

/**
 * All one value.
 *
 * @throws OptionError unless it is a finite number
 */
export function constant(value: number): InitializerConfig {
  return { name: "constant", value: real("constant()", "value", value, "(-inf, inf)") };
}

/**
 * Uniform in [min, max).
 *
 * @param options `min` -0.05, `max` 0.05
 * @throws OptionError for unknown or infinite options, or min > max
 */
export function randomUniform(options: { min?: number; max?: number } = {}): InitializerConfig {
  return config("randomUniform()", "randomUniform", options);
}

/**
 * Normal.
 *
 * @param options `mean` 0, `stddev` 0.05
 * @throws OptionError for unknown or infinite options, or a negative `stddev`
 */
export function randomNormal(options: { mean?: number; stddev?: number } = {}): InitializerConfig {
  return config("randomNormal()", "randomNormal", options);
}

/**
 * Normal; values more than two `stddev` from `mean` are drawn again.
 *
 * @param options `mean` 0, `stddev` 0.05 (before the cut)
 * @throws OptionError for unknown or infinite options, or a negative `stddev`
 */
export function truncatedNormal(options: { mean?: number; stddev?: number } = {}): InitializerConfig {
  return config("truncatedNormal()", "truncatedNormal", options);
}

/**
 * The JSON form of an initialiser, every option filled in.
 *
 * @param where named in errors
 * @throws OptionError for an unknown name, an unknown option or one out of its range
 */
export function initializerConfig(where: string, value: unknown): InitializerConfig {
  const { name: given, ...options } = typeof value === "string" ? { name: value } : Object(value);
  if (typeof given !== "string")
    throw new OptionError(`${where}: expected an initializer, its name or { name, ... }, got ${shown(value)}`);
  // "glorot_uniform" and the class name "GlorotUniform" are Keras's spellings.
  const name = given
    .replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())
    .replace(/^[A-Z]/, (c) => c.toLowerCase());
  if (!Object.hasOwn(kinds, name))
    throw new OptionError(`${where}: unknown initializer ${shown(given)}${suggestion(given, names)}`);
  return config(`${where}: ${name}()`, name as InitializerConfig["name"], options);
}

/**
 * An initialiser as a function of shape and random numbers: (shape, random) -> f32[shape].
 *
 * @example resolveInitializer('layer "gru": "kernelInitializer"', "glorotUniform")([8, 96], random(1, "gru.kernel"))
 * @param where named in errors
 * @throws OptionError as `initializerConfig`
 */
export function resolveInitializer(where: string, value: unknown): Initialize {
  const { name, ...options } = initializerConfig(where, value);
  return (shape, random) => kinds[name].initialize(shape, random, options as Options);
}

function orthogonalMatrix(shape: readonly number[], random: Random, gain: number): Float32Array {
  if (shape.length < 2) throw new ShapeError(`orthogonal(): expected at least two axes, got ${shapeText(shape)}`);
  const columns = shape[shape.length - 1];
  const rows = count(shape.slice(0, -1));
  const [length, vectors] = [Math.max(rows, columns), Math.min(rows, columns)];
  const q = new Float64Array(length * 4 * Math.ceil(vectors / 4));
  for (let i = 0; i < length * vectors; i++) q[i] = random.normal();
  orthonormalise(q, vectors, length);
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      out[r * columns + c] = gain * (rows < columns ? q[r * length + c] : q[c * length + r]);
  return out;
}

/**
 * Gram-Schmidt, in place: every vector loses its projections on those before
 * it and is scaled to length 1. The vectors are the columns of A = QR; this R
 * has a positive diagonal, which makes Q unique and uniformly distributed, so
 * the sign fix that other decompositions need falls away.
 *
 * Four vectors at a time: against all earlier fours in blocks, then among themselves.
 *
 * @param q f64[vectors rounded up to fours, length], the rounding zero; vectors <= length
 */
function orthonormalise(q: Float64Array, vectors: number, length: number): void {
  for (let first = 0; first < vectors; first += 4) {
    for (let before = 0; before < first; before += 4) {
      projectOut(q, first, before, length);
      projectOut(q, first + 2, before, length);
    }
    for (let j = first; j < Math.min(first + 4, vectors); j++) {
      const v = q.subarray(j * length, (j + 1) * length);
      for (let i = first; i < j; i++) {
        const a = q.subarray(i * length, (i + 1) * length);
        const va = dot(v, a);
        for (let t = 0; t < length; t++) v[t] -= va * a[t];
      }
      const scale = 1 / Math.sqrt(dot(v, v));
      for (let t = 0; t < length; t++) v[t] *= scale;
    }
  }
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let t = 0; t < x.length; t++) sum += x[t] * y[t];
  return sum;
}

/**
 * Vectors `to` and `to + 1` lose their projections on the orthonormal `from` to `from + 3`.
 * Eight sums that do not wait for each other: one vector and one sum at a time is 2.5× slower
 * for [512, 1536] (0.95 s against 0.38 s, Node 20, x64).
 */
function projectOut(q: Float64Array, to: number, from: number, length: number): void {
  const row = (i: number) => q.subarray(i * length, (i + 1) * length);
  const u = row(to);
  const v = row(to + 1);
  const a = row(from);
  const b = row(from + 1);
  const c = row(from + 2);
  const d = row(from + 3);
  let [ua, ub, uc, ud] = [0, 0, 0, 0];
  let [va, vb, vc, vd] = [0, 0, 0, 0];
  for (let t = 0; t < length; t++) {
    const x = u[t];
    const y = v[t];
    ua += x * a[t];
    ub += x * b[t];
    uc += x * c[t];
    ud += x * d[t];
    va += y * a[t];
    vb += y * b[t];
    vc += y * c[t];
    vd += y * d[t];
  }
  for (let t = 0; t < length; t++) {
    u[t] -= ua * a[t] + ub * b[t] + uc * c[t] + ud * d[t];
    v[t] -= va * a[t] + vb * b[t] + vc * c[t] + vd * d[t];
  }
}
