import type { Block } from "../core/arena.ts";
import { OptionError, ShapeError, StateError } from "../core/errors.ts";
import { Program } from "../core/kernels.ts";
import { describe, Region } from "../core/plan.ts";
import { random } from "../core/random.ts";
import { readRows } from "../core/rows.ts";
import { count } from "../core/tensor.ts";
import type { Engine } from "../core/wasm.ts";
import { resolveInitializer } from "../layers/initializers.ts";
import type { BuiltLayer, Layer, Param, Port, State } from "../layers/layer.ts";
import { buildNodes, portOf } from "./nodes.ts";
import { measure, outputSteps, type Recording, type Request, record } from "./recording.ts";

/** What a node reads: another node's output, or one of its final states. -1 - i is the model's i-th input. */
export interface Source {
  readonly node: number;
  readonly state?: number;
}

/** A layer at its place in the model. */
export interface NodeSpec {
  readonly layer: Layer;
  /** No two nodes have the same. */
  readonly name: string;
  readonly inputs: readonly Source[];
  /** Where its states begin, where other layers say so. */
  readonly initialStates?: readonly Source[];
  /** The node whose parameters it has as well, where a layer is used more than once. */
  readonly shares?: number;
}

export interface Node extends NodeSpec {
  readonly built: BuiltLayer;
  readonly params: readonly Param[];
}

/** Where numbers go into the model or come out. */
export interface Terminal {
  readonly name: string;
  readonly port: Port;
}

/** An input; `tokens`: how many tokens the layers that read it know. */
export interface Input extends Terminal {
  readonly tokens?: number;
}

/** What the network reads and gives back, and in which order its layers run. */
export interface Topology {
  readonly inputs: readonly Terminal[];
  /** In an order in which every node comes after the nodes it reads. */
  readonly nodes: readonly NodeSpec[];
  readonly outputs: readonly { readonly name: string; readonly source: Source }[];
}

/** Weights in int8, in what a model computes with and in its file. */
export interface Quantization {
  readonly precision: "int8";
  /** Bits of a quantised activation, the same in every binary. */
  readonly activationBits: number;
  /** By layer: the largest |input| in calibration. Layers without one, or with 0, go by each row's own largest. */
  readonly ranges: Readonly<Record<string, number>>;
}

export interface Packed {
  readonly label: string;
  readonly count: number;
  readonly training: boolean;
  readonly record: (k: Program["k"], address: number) => void;
  address: number;
}

/** Recordings kept for the shapes seen last. */
const RECORDINGS = 32;

/** Where the numbers of a new network come from. */
export interface Weights {
  /** Matrices are in int8; they are written afterwards. */
  readonly quantization?: Quantization;
  /** A parameter's values, asked for before any memory is taken; without it, or where it has none, they are drawn. */
  readonly given?: (param: Param) => Float32Array | undefined;
  /** The model whose parameters its layers have, each those of the layer of its name: none are made. */
  readonly of?: Network;
}

/**
 * Built layers, their parameters and all memory of one model: the plan.
 *
 * Two blocks live as long as the model: `params | packed`, and from `compile`
 * on `grads | state | packed for backward`. A third holds one run:
 * `io | saved | scratch`, and is as large as the largest batch so far.
 */
export class Network {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Input[];
  readonly outputs: readonly Terminal[];
  readonly params: readonly Param[];
  /** Hidden states of all recurrent layers, in order. */
  readonly states: readonly State[];
  /** Those of them that a caller may give: all but those that begin where another layer says. */
  readonly initialStates: readonly State[];
  /** Steps of every output, by the steps of the inputs. */
  private readonly lengths = new Map<string, readonly number[]>();
  readonly packs: Packed[] = [];
  private regions: Record<"params" | "packed" | "grads" | "state" | "packedTransposed", Region>;
  private readonly weightsBlock?: Block;
  /** The model that holds the parameters, where this one only uses them. */
  private readonly owner?: Network;
  private trainingBlock?: Block;
  private trainingLayout: { readonly slots: readonly string[]; readonly extra: number } = { slots: [], extra: 0 };
  private runBlock?: Block;
  private readonly recordings = new Map<string, Recording>();
  private current?: Recording;
  /** The parameters changed since these were packed. */
  private stale = { forward: true, backward: true };
  private packPrograms: { forward?: Program; backward?: Program } = {};
  private carried?: { readonly B: number; readonly states: Float32Array[] };
  /** Blocks of streams and pools that are open. */
  private readonly lent = new Set<Block>();
  private disposed = false;
  /** Weights are in int8, and there is no training. */
  readonly quantization?: Quantization;

  constructor(
    readonly engine: Engine,
    readonly topology: Topology,
    readonly seed: number,
    { quantization, given, of }: Weights = {},
  ) {
    this.quantization = quantization;
    this.owner = of;
    this.nodes = buildNodes(engine, topology, seed, quantization, this.packs, of);
    this.params = this.nodes.flatMap((node) => (node.shares === undefined ? node.params : []));
    const { params } = this;
    this.states = this.nodes.flatMap(({ built }) => built.states ?? []);
    this.initialStates = this.nodes.flatMap(({ built, initialStates }) =>
      initialStates?.length ? [] : (built.states ?? []),
    );
    this.inputs = topology.inputs.map((input, i) => {
      const readers = this.nodes.filter(({ inputs }) => inputs.some(({ node }) => node === -1 - i));
      const known = readers.flatMap(({ built }) => built.tokens ?? []);
      return known.length ? { ...input, tokens: Math.min(...known) } : input;
    });
    this.outputs = topology.outputs.map(({ name, source }) => ({ name, port: portOf(topology, this.nodes, source) }));

    const none = { params: new Region("params"), packed: new Region("packed") };
    const later = { grads: new Region("grads"), state: new Region("state"), packedTransposed: new Region("packed") };
    this.regions = { ...none, ...later };
    if (of) return;

    // Before any memory is taken: what a file does not hold cannot cost a file's reader anything.
    const values = given && params.map(given);
    const weights = this.layWeights(0);
    this.weightsBlock = engine.arena.take(weights.params.high + weights.packed.high);
    this.regions = { ...this.layWeights(this.weightsBlock.address), ...later };
    try {
      params.forEach((param, i) => {
        if (param.type === "i8") return; // made from another model's, or read from a file
        this.write(param.address, values?.[i] ?? this.draw(param));
      });
    } catch (error) {
      engine.arena.give(this.weightsBlock);
      throw error;
    }
  }

  private draw({ name, shape, initializer }: Param): Float32Array {
    const where = `layer "${name.split(".")[0]}"`;
    const values = resolveInitializer(where, initializer)(shape, random(this.seed, name));
    for (const v of values)
      if (v - v !== 0) throw new OptionError(`${where}: the initializer of "${name}" gives ${v} in float32`);
    return values;
  }

  private layWeights(base: number) {
    const params = new Region("params", base);
    for (const param of this.params) {
      const { name, shape, type } = param;
      if (type === "i8") param.scales = params.take(`${name}, scales`, shape.at(-1)!);
      param.address = params.take(name, type === "i8" ? Math.ceil(count(shape) / 4) : count(shape));
    }
    const packed = new Region("packed", base + params.high);
    for (const pack of this.packs) if (!pack.training) pack.address = packed.take(pack.label, pack.count);
    return { params, packed };
  }

  private layTraining(base: number, slots: readonly string[], extra: number) {
    const grads = new Region("grads", base);
    for (const param of this.params) param.gradient = grads.take(`d ${param.name}`, count(param.shape));
    const state = new Region("state", base + grads.high);
    const addresses = slots.map((slot) => state.take(slot, this.span));
    const settings = state.take("settings", extra);
    const packedTransposed = new Region("packed", base + grads.high + state.high);
    for (const pack of this.packs) if (pack.training) pack.address = packedTransposed.take(pack.label, pack.count);
    return { grads, state, packedTransposed, addresses, settings };
  }

  /** Elements of the flat span of all parameters, padding included; gradients and moments have the same. */
  get span(): number {
    return this.regions.params.high / 4;
  }
  get paramsAddress(): number {
    return this.regions.params.base;
  }
  get gradsAddress(): number {
    return this.regions.grads.base;
  }
  get trains(): boolean {
    return this.trainingBlock !== undefined;
  }

  /**
   * Memory for gradients and for an optimizer's moments, one span a slot,
   * and `extra` elements besides.
   */
  enableTraining(slots: readonly string[], extra: number): { slots: number[]; settings: number } {
    this.checkAlive();
    if (this.owner) throw new StateError("this model has the weights of another; train that one");
    const size = this.layTraining(0, slots, extra);
    let block: Block;
    try {
      block = this.engine.arena.take(size.grads.high + size.state.high + size.packedTransposed.high);
    } catch (error) {
      // Laying out has moved every gradient; an earlier training goes on where it was.
      if (this.trainingBlock)
        this.layTraining(this.trainingBlock.address, this.trainingLayout.slots, this.trainingLayout.extra);
      throw error;
    }
    this.disableTraining();
    this.trainingBlock = block;
    this.trainingLayout = { slots, extra };
    const { addresses, settings, ...regions } = this.layTraining(this.trainingBlock.address, slots, extra);
    this.regions = { ...this.regions, ...regions };
    return { slots: addresses, settings };
  }

  private disableTraining(): void {
    if (!this.trainingBlock) return;
    this.engine.arena.give(this.trainingBlock);
    this.trainingBlock = undefined;
    this.forget();
    this.packPrograms.backward = undefined;
    this.stale.backward = true;
  }

  /** Drops what was recorded: it holds addresses and options that are no longer true. */
  forget(): void {
    this.recordings.clear();
    this.current = undefined;
  }

  /** The recording for a request, laid out and ready to be given its inputs. */
  recording(request: Request): Recording {
    this.checkAlive();
    const key = request.key;
    let recording = this.recordings.get(key);
    // To the end of the map's order: what is at its beginning was used longest ago.
    if (recording) this.recordings.delete(key);
    else {
      const size = measure(this, request);
      if (!this.runBlock || size > this.runBlock.bytes) {
        if (this.runBlock) this.engine.arena.give(this.runBlock);
        this.runBlock = undefined;
        this.forget();
        this.runBlock = this.engine.arena.take(size);
      }
      recording = record(this, request, this.runBlock.address);
      if (this.recordings.size >= RECORDINGS) this.recordings.delete(this.recordings.keys().next().value!);
    }
    this.recordings.set(key, recording);
    if (this.current !== recording) recording.writeConstants(this.engine.arena);
    this.current = recording;
    return recording;
  }

  /**
   * Steps of every output for so many steps of every input, 1 without a time axis.
   *
   * @throws ShapeError where a layer cannot take these
   */
  outputSteps(steps: readonly number[]): readonly number[] {
    const key = steps.join();
    let lengths = this.lengths.get(key);
    if (!lengths) {
      lengths = outputSteps(this, steps);
      if (this.lengths.size >= 1024) this.lengths.clear();
      this.lengths.set(key, lengths);
    }
    return lengths;
  }

  /** A recording in a block of its own, for a stream. */
  separateRecording(request: Request): { recording: Recording; block: Block } {
    const block = this.lend(measure(this, request));
    const recording = record(this, request, block.address);
    recording.writeConstants(this.engine.arena);
    return { recording, block };
  }

  /** Initial states of all recurrent layers as stateful ones left them; undefined where none is stateful or nothing has run. */
  carriedStates(B: number): Float32Array[] | undefined {
    if (!this.carried) return undefined;
    if (this.carried.B !== B)
      throw new StateError(
        `stateful layers hold the state of ${this.carried.B} sequences, got a batch of ${B}; call resetStates() first`,
      );
    return this.carried.states;
  }

  /** Stateful layers hand each row's state on to the row of the next batch, which must be there. */
  checkBatches(where: string, samples: number, batchSize: number): void {
    if (samples > batchSize && samples % batchSize && this.nodes.some((node) => node.built.stateful))
      throw new ShapeError(
        `${where}: stateful layers need batches of one size; ${samples} samples do not divide into batches of ${batchSize}`,
      );
  }

  /** Keeps the final states of stateful layers; those of others begin at zero again. */
  carry(recording: Recording): void {
    const stateful = new Set(this.nodes.flatMap(({ built }) => (built.stateful ? (built.states ?? []) : [])));
    if (!stateful.size) return;
    const { B } = recording.request;
    this.carried = {
      B,
      states: this.initialStates.map((state) => {
        const place = stateful.has(state) && recording.states.find(({ name }) => name === state.name);
        return place
          ? readRows(this.engine.arena, place.final, B, place.units, place.stride)
          : new Float32Array(B * state.units);
      }),
    };
  }

  /** Stateful layers begin at zero again. */
  resetStates(): void {
    this.carried = undefined;
  }

  /** A block that goes back with `release`, or with the model. */
  lend(bytes: number): Block {
    this.checkAlive();
    const block = this.engine.arena.take(bytes);
    this.lent.add(block);
    return block;
  }

  /** Takes back a block that was lent. */
  release(block: Block): void {
    if (this.lent.delete(block)) this.engine.arena.give(block);
  }

  /** Brings the packed copies up to date with the parameters. */
  pack(backward: boolean): void {
    if (this.owner) {
      this.owner.pack(backward);
      return;
    }
    if (!this.stale.forward && !(backward && this.stale.backward)) return;
    for (const kind of backward ? (["forward", "backward"] as const) : (["forward"] as const)) {
      if (!this.stale[kind]) continue;
      let program = this.packPrograms[kind];
      if (!program) {
        program = new Program(this.engine.core);
        for (const pack of this.packs)
          if (pack.training === (kind === "backward")) pack.record(program.k, pack.address);
        this.packPrograms[kind] = program.seal();
      }
      program.run();
      this.stale[kind] = false;
    }
  }

  /** To be called by whoever writes parameters. */
  paramsChanged(): void {
    if (this.owner) this.owner.paramsChanged();
    this.stale = { forward: true, backward: true };
  }

  private write(address: number, values: Float32Array): void {
    this.engine.arena.f32.set(values, address >>> 2);
    this.paramsChanged();
  }

  param(name: string): Param | undefined {
    return this.params.find((p) => p.name === name);
  }

  /** Bytes of a parameter in a file. */
  bytesOf({ shape, type }: Param): number {
    return type === "i8" ? count(shape) + 4 * shape.at(-1)! : 4 * count(shape);
  }

  /** The whole numbers of an i8 parameter, and their scales. */
  readQuantized({ address, scales, shape }: Param): { q: Int8Array; scales: Float32Array } {
    const { u8, f32 } = this.engine.arena;
    return {
      q: new Int8Array(u8.slice(address, address + count(shape)).buffer),
      scales: f32.slice(scales >>> 2, (scales >>> 2) + shape.at(-1)!),
    };
  }
  writeQuantized(param: Param, q: Int8Array, scales: Float32Array): void {
    const { u8, f32 } = this.engine.arena;
    u8.set(new Uint8Array(q.buffer, q.byteOffset, q.length), param.address);
    f32.set(scales, param.scales >>> 2);
    this.paramsChanged();
  }

  /** As float32, also where it is kept as i8. */
  readParam(param: Param): Float32Array {
    if (param.type === "i8") {
      const { q, scales } = this.readQuantized(param);
      return Float32Array.from(q, (v, i) => v * scales[i % scales.length]);
    }
    return this.engine.arena.f32.slice(param.address >>> 2, (param.address >>> 2) + count(param.shape));
  }
  readGradient(param: Param): Float32Array {
    return this.engine.arena.f32.slice(param.gradient >>> 2, (param.gradient >>> 2) + count(param.shape));
  }
  writeParam(param: Param, values: Float32Array): void {
    if (values.length !== count(param.shape))
      throw new ShapeError(`"${param.name}": expected ${count(param.shape)} numbers, got ${values.length}`);
    if (param.type === "i8") this.quantize(param, values);
    else this.write(param.address, values);
  }

  private quantize({ address, scales, shape }: Param, values: Float32Array): void {
    const { arena, core } = this.engine;
    const block = arena.take(values.byteLength);
    this.write(block.address, values);
    const n = shape.at(-1)!;
    core.int8Quantize(address, scales, block.address, values.length / n, n);
    arena.give(block);
  }

  checkAlive(): void {
    this.owner?.checkAlive();
    if (this.disposed) throw new StateError("this model has been disposed of");
  }

  /** Where all memory of the model goes. */
  describe(): string {
    return describe([...Object.values(this.regions), ...(this.current?.regions ?? [])]);
  }

  /** Gives all memory back. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    const { arena } = this.engine;
    for (const block of [this.weightsBlock, this.trainingBlock, this.runBlock, ...this.lent])
      if (block) arena.give(block);
    this.lent.clear(); // a stream that is closed later has nothing left to give
    this.forget();
  }
}
