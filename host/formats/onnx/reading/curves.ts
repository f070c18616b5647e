import type { Json } from "../../../layers/layer.ts";
import type { Emitted, Graph } from "./graph.ts";
import { type Curve, type Data, sameData, type Value } from "./values.ts";

/**
 * Functions of a number that a file writes out in several operators, as
 * exporters do with GELU and SiLU. They are put together as functions, and
 * known by their values: in whatever form a file has one, it is the activation
 * that it agrees with.
 */

type Fn = (x: number) => number;

const sigmoid: Fn = (x) => 1 / (1 + Math.exp(-x));
const softplus: Fn = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clip = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

/**
 * The error function, to 1e-13: its series, and far out its continued fraction.
 *
 * Source: Abramowitz and Stegun, 7.1.6 and 7.1.14.
 */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a > 3) {
    let tail = 0;
    for (let k = 60; k >= 1; k--) tail = k / 2 / (a + tail);
    return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + tail) * Math.sqrt(Math.PI)));
  }
  let [sum, term] = [x, x];
  for (let n = 1; n < 100; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

interface Known {
  readonly f: (x: number, alpha: number, beta: number) => number;
  /** Which alpha and beta a function would have if it were this one. */
  readonly alpha?: (f: Fn) => number;
  readonly beta?: (f: Fn) => number;
}

/** Where a file has no bound: nearly the largest float32. */
export const FAR = 3.4e38;

/** gruvy's activations (assembly/activations.ts), the simplest first. */
const KNOWN: Readonly<Record<string, Known>> = {
  relu: { f: (x) => Math.max(x, 0) },
  sigmoid: { f: sigmoid },
  tanh: { f: Math.tanh },
  gelu: { f: (x) => (x * (1 + erf(x * Math.SQRT1_2))) / 2 },
  silu: { f: (x) => x * sigmoid(x) },
  softplus: { f: softplus },
  softsign: { f: (x) => x / (1 + Math.abs(x)) },
  logSigmoid: { f: (x) => -softplus(-x) },
  selu: { f: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)) },
  leakyRelu: { f: (x, alpha) => (x > 0 ? x : alpha * x), alpha: (f) => -f(-1) },
  elu: { f: (x, alpha) => (x > 0 ? x : alpha * Math.expm1(x)), alpha: (f) => -f(-50) },
  hardtanh: { f: clip, alpha: (f) => f(-FAR), beta: (f) => f(FAR) },
  hardSigmoid: {
    f: (x, alpha, beta) => clip(alpha * x + beta, 0, 1),
    alpha: (f) => (f(0.125) - f(0)) * 8,
    beta: (f) => f(0),
  },
};

const near = Array.from({ length: 97 }, (_, i) => Math.sinh((i - 48) / 11) + 1e-3);
const powers = Array.from({ length: 45 }, (_, i) => 10 ** (i - 6)).flatMap((x) => [x, -x]);

/** Where functions are compared: close together about 0, and out to the largest float32, as they may be cut off anywhere. */
const POINTS = [...near, ...powers, FAR, -FAR];

/** An activation that a function agrees with, to the rounding of constants in a file. */
export function activationOf(f: Fn): Json | undefined {
  // A number for all is none.
  if (POINTS.every((x) => f(x) === f(POINTS[0]))) return undefined;
  for (const [name, { f: known, alpha, beta }] of Object.entries(KNOWN)) {
    const [a, b] = [alpha?.(f) ?? 0, beta?.(f) ?? 0];
    const agrees = POINTS.every((x) => {
      const [own, theirs] = [known(x, a, b), f(x)];
      // Written out, e^x is more than there are numbers from some point on; what then becomes of it is no difference.
      if (!Number.isFinite(theirs) && Math.abs(x) > 88) return true;
      // Constants are float32: half a unit in the last place is 6e-8, and some of them are multiplied.
      return Math.abs(own - theirs) <= 5e-7 * Math.max(1, Math.abs(x));
    });
    if (!agrees) continue;
    return alpha ? { name, alpha: Math.fround(a), ...(beta && { beta: Math.fround(b) }) } : name;
  }
  return undefined;
}

/** What a layer does to every number by itself; undefined for those that do something else. */
function functionOf({ type, config, weights }: Emitted): Fn | undefined {
  const { activation = "linear" } = config;
  const {
    name,
    alpha = Number.NaN,
    beta = Number.NaN,
  } = (typeof activation === "string" ? { name: activation } : activation) as {
    name: string;
    alpha?: number;
    beta?: number;
  };
  const known = Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined;
  const own: Fn | undefined = known ? (x) => known.f(x, alpha, beta) : name === "linear" ? (x) => x : undefined;
  if (!own || type === "activation") return own;
  if (type !== "affine") return undefined;
  const [scale, shift] = [weights.scale.data[0], weights.shift.data[0]];
  if (weights.scale.data.some((v) => v !== scale) || weights.shift.data.some((v) => v !== shift)) return undefined;
  return (x) => own(scale * x + shift);
}

/** Data as functions of what they were made of, the nearest first. */
function chain(graph: Graph, data: Data): Curve[] {
  const all: Curve[] = [{ kind: "curve", of: data, f: (x) => x, size: 0 }];
  for (let { node, f }: { node: number; f: Fn } = { node: data.node, f: all[0].f }; node >= 0 && !data.state; ) {
    const emitted = graph.nodes[node];
    const own = functionOf(emitted);
    if (!own || emitted.inputs[0].state !== undefined) break;
    const outer = f;
    f = (x) => outer(own(x));
    node = emitted.inputs[0].node;
    all.push({ kind: "curve", of: { ...data, node, exclusive: undefined }, f, size: all.length });
    if (all.length > 16) break;
  }
  return all;
}

const curvesOf = (graph: Graph, value: Data | Curve): Curve[] => {
  if (value.kind === "data") return chain(graph, value);
  return chain(graph, value.of).map(({ of, f, size }) => ({
    kind: "curve",
    of,
    f: (x) => value.f(f(x)),
    size: value.size + size,
  }));
};

/** The longest way to write an activation is a dozen operators. */
const MOST_OPERATORS = 64;

/** A function as an activation, where it is one by now; else as it is. */
function settled(graph: Graph, curve: Curve): Data | Curve {
  const activation = curve.size > MOST_OPERATORS ? undefined : activationOf(curve.f);
  if (activation === undefined) return curve;
  const of = graph.withFeatures(curve.of);
  return { ...graph.push("activation", { activation }, of), features: of.features };
}

/** A function of data, or of a function of data. */
export function curved(graph: Graph, value: Data | Curve, f: Fn): Data | Curve {
  const inner = value.kind === "curve" ? value : { of: value, f: (x: number) => x, size: 0 };
  const curve: Curve = { kind: "curve", of: inner.of, f: (x) => f(inner.f(x)), size: inner.size + 1 };
  for (const own of curvesOf(graph, curve)) {
    const made = settled(graph, own);
    if (made.kind === "data") return made;
  }
  return bounded(graph, curve);
}

function bounded(graph: Graph, curve: Curve): Curve {
  if (curve.size <= MOST_OPERATORS) return curve;
  throw graph.unsupported(
    `a function written in more than ${MOST_OPERATORS} operators`,
    `expected one of ${Object.keys(KNOWN).join(", ")}`,
  );
}

/** Two functions of the same data, or one and a number, put together. @returns undefined for what is not both */
export function combined(
  graph: Graph,
  a: Value,
  b: Value,
  f: (a: number, b: number) => number,
): Data | Curve | undefined {
  const number = (value: Value) =>
    value.kind === "floats" && value.data.length === 1
      ? value.data[0]
      : value.kind === "fill"
        ? value.value
        : undefined;
  const isFunction = (value: Value): value is Data | Curve => value.kind === "data" || value.kind === "curve";
  const [x, y] = [number(a), number(b)];
  if (isFunction(a) && y !== undefined) return curved(graph, a, (v) => f(v, y));
  if (isFunction(b) && x !== undefined) return curved(graph, b, (v) => f(x, v));
  if (!isFunction(a) || !isFunction(b)) return undefined;
  const others = curvesOf(graph, b);
  for (const own of curvesOf(graph, a)) {
    const other = others.find(({ of }) => sameData(of, own.of));
    if (!other) continue;
    const size = own.size + other.size + 1;
    return settled(graph, bounded(graph, { kind: "curve", of: own.of, f: (v) => f(own.f(v), other.f(v)), size }));
  }
  return undefined;
}
