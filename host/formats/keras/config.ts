import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type ActivationName, resolveActivation } from "../../layers/activations.ts";
import { type Initializer, initializerConfig } from "../../layers/initializers.ts";
import type { Json } from "../../layers/layer.ts";

/** Options of a Keras layer or model, as JSON has them. */
export type Config = Readonly<Record<string, unknown>>;

/** What differs between the programs that write Keras models. */
export interface Dialect {
  /** "Keras 2.1.4", "TensorFlow.js": in messages. */
  readonly program: string;
  /** What "hard_sigmoid" means. */
  readonly hardSigmoid: ActivationName;
  /** A Bidirectional layer that returns sequences has zeros where its input is masked. */
  readonly bidirectionalZeroes: boolean;
  /** Of merged sequences a step counts where it counts in all of them that have a mask, or in any, if all have one. */
  readonly merged: "all" | "any";
  /** MultiHeadAttention goes by the masks of what it reads. */
  readonly attentionSeesMasks: boolean;
  /** The number of the first call of a model by another layer. */
  readonly modelsFrom: 0 | 1;
  /** Kernels of convolutions stand the other way round, as Theano has them. */
  readonly turnsKernels?: boolean;
}

/** The dialect of a Keras version; none is Keras 1, which did not say. */
export function kerasDialect(version: string | undefined, backend?: string): Dialect {
  const [major, minor] = (version ?? "1.0").split(".").map((part) => Number.parseInt(part, 10));
  return {
    program: `Keras ${version ?? "1"}`,
    hardSigmoid: major >= 3 ? "hardSigmoid" : "hardSigmoid02",
    // Since it is a part of TensorFlow ("2.2.4-tf", 2.4 and later).
    bidirectionalZeroes: major >= 3 || (major === 2 && (minor >= 4 || version!.includes("-tf"))),
    merged: major >= 3 ? "any" : "all",
    attentionSeesMasks: major >= 3 || (major === 2 && minor >= 10),
    modelsFrom: major >= 3 ? 0 : 1,
    turnsKernels: backend === "theano",
  };
}

export const TFJS: Dialect = {
  program: "TensorFlow.js",
  hardSigmoid: "hardSigmoid02",
  bidirectionalZeroes: false,
  merged: "all",
  attentionSeesMasks: true,
  modelsFrom: 1,
};

/** Where the weights of a layer are to be found. */
export interface Place {
  /** Names of the models around it, outermost first, then its own, then those of layers inside it. */
  readonly names: readonly string[];
  /** How many of `names` are those of models and the layer itself. */
  readonly depth: number;
  /** Its group in a `.keras` file: "layers/gru_1". */
  readonly group: string;
  /** Below its group, the groups that hold its variables, in Keras's order: "cell". */
  readonly within: readonly string[];
}

/** A model as a file of Keras or TensorFlow.js describes it. */
export interface KerasModel {
  readonly className: string;
  readonly config: unknown;
  readonly dialect: Dialect;
  /** The weights of a layer in Keras's order. */
  readonly weights: (place: Place) => Promise<Tensor[]>;
}

/** The class of a layer as Keras writes it in the groups of a `.keras` file: "TimeDistributed" as time_distributed. */
export function snakeCase(className: string): string {
  return className
    .replace(/\W+/g, "")
    .replace(/(.)([A-Z][a-z]+)/g, "$1_$2")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase();
}

/** Levels of JSON: those who read it recur. */
const DEEPEST = 256;

/** JSON from a file. @param what named in errors */
export function parseJson(text: string, what: string): unknown {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') while (++i < text.length && text[i] !== '"') i += text[i] === "\\" ? 1 : 0;
    else if (c === "{" || c === "[") {
      if (++depth > DEEPEST) throw new FormatError(`${what} is nested deeper than ${DEEPEST} levels`);
    } else if (c === "}" || c === "]") depth--;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${what} is not JSON: ${error instanceof Error ? error.message.slice(0, 120) : error}`);
  }
}

/** Keras's activations under our names; those that depend on the version are in `readActivation`. */
const ACTIVATIONS: Readonly<Record<string, Json>> = {
  linear: "linear",
  tanh: "tanh",
  sigmoid: "sigmoid",
  relu: "relu",
  relu6: { name: "hardtanh", alpha: 0, beta: 6 },
  leaky_relu: { name: "leakyRelu", alpha: 0.2, beta: 0 },
  elu: "elu",
  selu: "selu",
  gelu: "gelu",
  // The newer name of the two is not known everywhere: the first is the one that is written.
  swish: "silu",
  silu: "silu",
  softplus: "softplus",
  softsign: "softsign",
  softmax: "softmax",
  log_softmax: "logSoftmax",
  log_sigmoid: "logSigmoid",
  hard_tanh: "hardtanh",
};

/** Activations that are layers, in a model or as an option of another. @param rank axes of what they read, where known */
export const ACTIVATION_LAYERS: Readonly<Record<string, (c: Config, rank?: number) => Json | undefined>> = {
  ReLU(c) {
    const slope = (c.negative_slope ?? 0) as number;
    const from = (c.threshold ?? 0) as number;
    if (typeof c.max_value === "number")
      return slope === 0 && from === 0 ? { name: "hardtanh", alpha: 0, beta: c.max_value } : undefined;
    if (from !== 0)
      return slope === 0 && from > 0 ? { name: "thresholdedRelu", alpha: below(from), beta: 0 } : undefined;
    return slope === 0 ? "relu" : { name: "leakyRelu", alpha: slope, beta: 0 };
  },
  LeakyReLU: (c) => ({ name: "leakyRelu", alpha: (c.negative_slope ?? c.alpha ?? 0.3) as number, beta: 0 }),
  ThresholdedReLU: (c) => ({ name: "thresholdedRelu", alpha: (c.theta ?? 1) as number, beta: 0 }),
  ELU: (c) => ({ name: "elu", alpha: (c.alpha ?? 1) as number, beta: 0 }),
  Softmax(c, rank) {
    const axis = Array.isArray(c.axis) && c.axis.length === 1 ? c.axis[0] : (c.axis ?? -1);
    return axis === -1 || (rank !== undefined && axis === rank - 1) ? "softmax" : undefined;
  },
};

/** The float32 before a positive one: ours is x where x is above a number, Keras's ReLU where it is not below. */
function below(value: number): number {
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, value);
  bits.setUint32(0, bits.getUint32(0) - 1);
  return bits.getFloat32(0);
}

/**
 * An activation as we write it: a name, a serialized function or nothing.
 *
 * @throws FormatError for one that gruvy has not
 */
export function readActivation(value: unknown, dialect: Dialect, where: string): Json {
  if (value === null || value === undefined) return "linear";
  // { class_name: "function", config: "relu", registered_name: "relu" } and the like.
  if (isRecord(value) && typeof value.class_name === "string" && Object.hasOwn(ACTIVATION_LAYERS, value.class_name)) {
    const made = ACTIVATION_LAYERS[value.class_name](isRecord(value.config) ? value.config : {});
    if (made !== undefined) return made;
  }
  const named = isRecord(value) ? (typeof value.config === "string" ? value.config : value.class_name) : value;
  // TensorFlow.js writes hardSigmoid in its own API, hard_sigmoid in files.
  const name = typeof named === "string" ? named.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`).replace(/^_/, "") : "";
  if (name === "hard_sigmoid") return dialect.hardSigmoid;
  if (!Object.hasOwn(ACTIVATIONS, name))
    throw new FormatError(
      `${where}: the activation ${shown(named)} is not in gruvy, which has ${Object.keys(ACTIVATIONS).join(", ")}, hard_sigmoid`,
    );
  return ACTIVATIONS[name];
}

/** The Keras name of an activation of ours, or undefined where Keras has none that takes it. */
export function writeActivation(value: Json, dialect: Dialect): string | undefined {
  if (sameActivation(value, dialect.hardSigmoid)) return "hard_sigmoid";
  return Object.keys(ACTIVATIONS).find((name) => sameActivation(value, ACTIVATIONS[name]));
}

/** Whether two compute the same: what they are called and more than float32 of their numbers do not matter. */
export function sameActivation(a: Json, b: Json): boolean {
  const [x, y] = [a, b].map((value) => {
    const { kind, alpha, beta, name } = resolveActivation("exportModel()", "activation", value, true);
    // Those of whole rows are one kind.
    return [kind < 0 ? name : kind, Math.fround(alpha), Math.fround(beta)];
  });
  return x.every((part, i) => part === y[i]);
}

/** Keras's initialisers by class; how weights began matters to nobody who has them, so others are left out. */
const INITIALIZERS: Readonly<Record<string, (c: Config) => Json>> = {
  GlorotUniform: () => "glorotUniform",
  GlorotNormal: () => "glorotNormal",
  HeUniform: () => "heUniform",
  HeNormal: () => "heNormal",
  LecunUniform: () => "lecunUniform",
  LecunNormal: () => "lecunNormal",
  Zeros: () => "zeros",
  Ones: () => "ones",
  Orthogonal: (c) => ({ name: "orthogonal", gain: finite(c.gain, 1) }),
  Constant: (c) => ({ name: "constant", value: finite(c.value, 0) }),
  RandomUniform: (c) => ({ name: "randomUniform", min: finite(c.minval, -0.05), max: finite(c.maxval, 0.05) }),
  RandomNormal: (c) => ({ name: "randomNormal", mean: finite(c.mean, 0), stddev: finite(c.stddev, 0.05) }),
  TruncatedNormal: (c) => ({ name: "truncatedNormal", mean: finite(c.mean, 0), stddev: finite(c.stddev, 0.05) }),
};

function finite(value: unknown, otherwise: number): number {
  return typeof value === "number" && Math.abs(value) < 1e30 ? value : otherwise;
}

/** An initialiser of ours, or undefined for the layer's default. */
export function readInitializer(value: unknown): Json | undefined {
  if (!isRecord(value) || typeof value.class_name !== "string" || !Object.hasOwn(INITIALIZERS, value.class_name))
    return undefined;
  try {
    return initializerConfig(
      "",
      INITIALIZERS[value.class_name](isRecord(value.config) ? value.config : {}) as Initializer,
    ) as Json;
  } catch {
    return undefined;
  }
}

/** One of ours as Keras writes it. */
export function writeInitializer(value: Json): { class_name: string; config: Record<string, Json> } {
  const { name, ...options } = (typeof value === "string" ? { name: value } : value) as { name: string } & Record<
    string,
    Json
  >;
  const config: Record<string, Json> = {};
  for (const [option, given] of Object.entries(options))
    config[{ min: "minval", max: "maxval" }[option] ?? option] = given;
  return { class_name: name[0].toUpperCase() + name.slice(1), config };
}
