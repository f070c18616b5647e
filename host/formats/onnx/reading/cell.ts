import type { Tensor } from "../../../core/tensor.ts";
import type { Json } from "../../../layers/layer.ts";
import { besideGates, type GruWeights } from "../../gates.ts";
import type { Emitted } from "./graph.ts";
import {
  type Atom,
  activated,
  beside,
  columns,
  constant,
  matrix,
  NoGru,
  only,
  perColumn,
  plus,
  product,
  pure,
  rows,
  type Sum,
  scaled,
  sizeOf,
  times,
  type Work,
} from "./sums.ts";

/**
 * One step of a GRU that is written out, as the body of a loop is: layers from
 * x_t and h to the next h. Every tensor is a sum of products with atoms, which
 * are x_t, h, activations, and products of two tensors. So it makes no
 * difference in what order and in how many pieces a file computes the sums of
 * its gates; which atom is which gate, the last sum tells:
 *
 *   h' = z ⊙ h + n − z ⊙ n,  or with u = 1 − z,  h' = h − u ⊙ h + u ⊙ n
 */

export interface Cell extends GruWeights {
  readonly resetAfter: boolean;
  readonly activation: Json;
  readonly recurrentActivation: Json;
}

/**
 * @param nodes layers of one step, which read x_t as -1 and h as -2
 * @param result the one whose output is the next h
 * @param work   what it may take, and others after it
 * @param begins h is zeros, which the blend may leave out
 * @returns the GRU, or why it is none
 */
export function readCell(
  nodes: readonly Emitted[],
  inputs: number,
  units: number,
  result: number,
  work: Work,
  begins = false,
): Cell | string {
  try {
    return new Reader(nodes, inputs, units, work).cell(result, begins);
  } catch (error) {
    if (error instanceof NoGru) return error.message;
    throw error;
  }
}

/** Multiply-adds for all cells of a graph: seconds. */
export const MOST_WORK = 2 ** 30;

/** Numbers that the sums of a step may have, those of a file among them. */
const MOST = 2 ** 28;

class Reader {
  private readonly input: Atom = { kind: "input" };
  private readonly state: Atom = { kind: "state" };
  private readonly sums: Sum[] = [];

  constructor(
    nodes: readonly Emitted[],
    private readonly inputs: number,
    private readonly units: number,
    private readonly work: Work,
  ) {
    // Layers read only those before them.
    let made = 0;
    for (const node of nodes) {
      const sum = this.layer(node);
      made += sizeOf(sum);
      if (made > MOST) throw new NoGru(`a step of ${nodes.length} layers of ${units} units`);
      this.sums.push(sum);
    }
  }

  private at(node: number): Sum {
    if (node >= 0) return this.sums[node];
    return node === -1 ? pure(this.input, this.inputs) : pure(this.state, this.units);
  }

  /** What a layer makes. */
  private layer({ type, config, weights, inputs, pick }: Emitted): Sum {
    const [a, b] = inputs.map(({ node }) => this.at(node));
    switch (type) {
      case "dense": {
        const sum = pick
          ? columns(a, pick.columns)
          : plus(times(a, weights.kernel, this.work), constant(weights.bias), 1);
        const { activation = "linear" } = config;
        return activation === "linear" ? sum : activated(activation, sum);
      }
      case "affine":
        return plus(perColumn(a, weights.scale.data), constant(weights.shift), 1);
      case "activation":
        return activated(config.activation, a);
      case "dropout":
        return a;
      case "add":
        return plus(a, b, 1);
      case "subtract":
        return plus(a, b, -1);
      case "multiply":
        return product(a, b);
      case "concatenate":
        return inputs.slice(1).reduce((sum, { node }) => beside(sum, this.at(node)), a);
      default:
        throw new NoGru(`a step has a layer of type ${type}`);
    }
  }

  cell(result: number, begins: boolean): Cell {
    const { gate, negative, candidate } = blend(monomials(this.at(result)), this.state, begins);
    const z = this.gate(gate.of, negative ? -1 : 1);
    const n = this.candidate(candidate.of);
    if (!same(n.reset.name, gate.name)) throw new NoGru("its two gates have different activations");
    if (negative && !isOdd(gate.name)) throw new NoGru(`its update gate is 1 - ${JSON.stringify(gate.name)}`);
    const r = this.gate(n.reset.of, 1);
    const bias = besideGates(this.vector(z.bias), this.vector(r.bias), this.vector(n.bias));
    const recurrent = besideGates(this.vector(undefined), this.vector(undefined), this.vector(n.recurrentBias));
    const none = ![z.bias, r.bias, n.bias, n.recurrentBias].some((b) => b);
    return {
      resetAfter: n.resetAfter,
      activation: candidate.name,
      recurrentActivation: gate.name,
      kernel: besideGates(z.kernel, r.kernel, n.kernel),
      recurrentKernel: besideGates(z.recurrentKernel, r.recurrentKernel, n.recurrentKernel),
      ...(!none && { bias: n.resetAfter ? rows(bias, recurrent) : bias }),
    };
  }

  private vector(data: Float32Array | undefined): Tensor {
    return { shape: [this.units], data: data ?? new Float32Array(this.units) };
  }

  /** A gate's weights, from the sum that goes into its activation. */
  private gate(given: Sum, sign: 1 | -1) {
    const sum = scaled(given, sign);
    for (const atom of sum.parts.keys())
      if (atom !== this.input && atom !== this.state) throw new NoGru("a gate reads something else than x and h");
    return { ...this.kernels(sum), bias: sum.bias };
  }

  private kernels({ parts }: Sum) {
    const { inputs, units } = this;
    return {
      kernel: matrix(parts.get(this.input) ?? 0, inputs, units),
      recurrentKernel: matrix(parts.get(this.state) ?? 0, units, units),
    };
  }

  /** tanh(x · K + b + r ⊙ (h · R + c)), or tanh(x · K + b + (r ⊙ h) · R). */
  private candidate(sum: Sum) {
    const [inner, ...others] = [...sum.parts].filter(([atom]) => atom !== this.input);
    if (!inner || others.length || inner[0].kind !== "product")
      throw new NoGru("its candidate has no state that a gate has reset, or other states too");
    const [{ factors }, factor] = inner as [Atom & { kind: "product" }, number | Tensor];
    const { kernel } = this.kernels(sum);
    for (const [gate, of] of [factors, [...factors].reverse()] as [Sum, Sum][]) {
      const reset = only(gate);
      if (reset?.kind !== "activation") continue;
      if (only(of) === this.state) {
        const recurrentKernel = matrix(factor, this.units, this.units);
        return { reset, resetAfter: false, kernel, recurrentKernel, bias: sum.bias, recurrentBias: undefined };
      }
      if (typeof factor !== "number" || [...of.parts.keys()].some((atom) => atom !== this.state)) continue;
      const { parts, bias: recurrentBias } = scaled(of, factor);
      const recurrentKernel = matrix(parts.get(this.state) ?? 0, this.units, this.units);
      return { reset, resetAfter: true, kernel, recurrentKernel, bias: sum.bias, recurrentBias };
    }
    throw new NoGru("what a gate resets is no product with the state");
  }
}

// -------------------------------------------------------------- the blend

type Activation = Atom & { kind: "activation" };

interface Monomial {
  readonly atoms: readonly Atom[];
  factor: number;
}

/** The same in any order, each as often. */
function sameAtoms(a: readonly Atom[], b: readonly Atom[]): boolean {
  const times = (list: readonly Atom[], atom: Atom) => list.filter((own) => own === atom).length;
  return a.length === b.length && a.every((atom) => times(a, atom) === times(b, atom));
}

/** A sum multiplied out, as far as numbers do. */
function monomials({ parts, bias, width }: Sum): Monomial[] {
  const terms: Monomial[] = [];
  const add = (atoms: readonly Atom[], factor: number) => {
    const old = terms.find((term) => sameAtoms(term.atoms, atoms));
    if (old) old.factor += factor;
    else terms.push({ atoms, factor });
  };
  if (bias) {
    if (bias.some((b) => b !== bias[0]) || width === 0) throw new NoGru("a number a unit is added to the next state");
    add([], bias[0]);
  }
  for (const [atom, factor] of parts) {
    if (typeof factor !== "number") throw new NoGru("the next state is a product with a matrix");
    if (atom.kind !== "product") add([atom], factor);
    else {
      const [left, right] = atom.factors.map(monomials);
      if (left.length * right.length > 16) throw new NoGru("the next state has too many products");
      for (const a of left) for (const b of right) add([...a.atoms, ...b.atoms], factor * a.factor * b.factor);
    }
  }
  return terms.filter((term) => term.factor !== 0);
}

/** Which atoms are the update gate and the candidate. @returns negative: the gate is 1 - z */
function blend(
  terms: readonly Monomial[],
  state: Atom,
  begins: boolean,
): { gate: Activation; candidate: Activation; negative: boolean } {
  // n - z · n
  const [pair] = terms.filter(({ atoms, factor }) => atoms.length === 2 && factor === -1);
  const [alone] = terms.filter(({ atoms, factor }) => atoms.length === 1 && factor === 1);
  if (
    begins &&
    terms.length === 2 &&
    pair &&
    alone?.atoms[0].kind === "activation" &&
    pair.atoms.includes(alone.atoms[0])
  ) {
    const other = pair.atoms.find((atom) => atom !== alone.atoms[0]);
    if (other?.kind === "activation") return { gate: other, candidate: alone.atoms[0], negative: false };
  }
  const kept = terms.find(({ atoms }) => atoms.length === 2 && atoms.includes(state));
  const gate = kept?.atoms.find((atom) => atom !== state);
  const fresh = terms.find(({ atoms }) => atoms.length === 2 && atoms.includes(gate!) && !atoms.includes(state));
  const candidate = fresh?.atoms.find((atom) => atom !== gate);
  const single = terms.find(({ atoms }) => atoms.length === 1);
  if (
    terms.length === 3 &&
    gate?.kind === "activation" &&
    candidate?.kind === "activation" &&
    single?.factor === 1 &&
    kept!.factor === -fresh!.factor
  ) {
    if (kept!.factor === 1 && single.atoms[0] === candidate) return { gate, candidate, negative: false };
    if (kept!.factor === -1 && single.atoms[0] === state) return { gate, candidate, negative: true };
  }
  throw new NoGru("the next state is not z · h + (1 - z) · n");
}

const same = (a: Json, b: Json) => JSON.stringify(a) === JSON.stringify(b);

/** Whether f(-x) = 1 - f(x), so that a gate's negative has the same activation. */
const isOdd = (name: Json) => name === "sigmoid";
