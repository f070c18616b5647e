import { FormatError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import { append } from "../append.ts";
import type { Config, Dialect } from "./config.ts";
import { type Described, describe, readShape, shapeOf } from "./described.ts";
import { type Flow, Flows, MOST_CALLS, real, type Step } from "./flows.ts";
import { type History, type Inbound, readInbound, readTerminals } from "./inbound.ts";
import { LAYERS, REFUSED, STEPWISE } from "./layers.ts";
import { type Piece, type Site, single } from "./piece.ts";
import { convertCells } from "./recurrent.ts";
import { readCut } from "./slices.ts";

const WHERE = "loadModel()";

/** Models in models. */
const DEEPEST = 32;

interface Input {
  readonly name: string;
  /** Per sample, where the model says it. */
  readonly shape?: (number | null)[];
  tokens: boolean;
}

const MODELS = ["Sequential", "Functional", "Model"];

/** What x[:, -1, :] is, in TensorFlow's models and in those of Keras 3. */
const SLICING = ["SlicingOpLambda", "GetItem"];

/** How often a step is repeated. */
const MOST_TIMES = 1024;

/** Modules of Keras itself. */
const KERAS = /^(tf_|tensorflow\.(python\.)?)?keras(\.|$)/;

/** Goes through the layers of a model and of the models inside it, and lists what is called on what. */
export class Reader {
  readonly inputs: Input[] = [];
  /** By path: a layer that is called twice is one. */
  private readonly steps = new Map<string, Step>();
  private readonly stacks = new Map<string, readonly Step[]>();
  /** The TimeDistributed layer that what is read now stands in. */
  private stepwise: string | undefined;

  readonly flows: Flows;

  constructor(private readonly dialect: Dialect) {
    this.flows = new Flows(dialect);
  }

  /** The model of a file. */
  model(className: string, config: unknown): { inputs: readonly Input[]; outputs: readonly Flow[] } {
    if (!MODELS.includes(className))
      throw new FormatError(`${WHERE}: a model of class ${shown(className)}; expected ${MODELS.join(" or ")}`);
    const outputs = this.inner(className, config, [], "", undefined);
    return { inputs: this.inputs, outputs: outputs.map(real) };
  }

  /**
   * @param outer names of the models around it, its own the last
   * @param group its group in a `.keras` file, with a slash at its end
   * @param given what it is called on; absent for the model of the file, which makes its inputs
   */
  private inner(
    className: string,
    config: unknown,
    outer: readonly string[],
    group: string,
    given: readonly Flow[] | undefined,
  ): readonly Flow[] {
    if (outer.length > DEEPEST) throw new FormatError(`${WHERE}: models in models, more than ${DEEPEST} deep`);
    const list = Array.isArray(config) ? config : isRecord(config) ? config.layers : undefined;
    if (!Array.isArray(list)) throw new FormatError(`${WHERE}: a ${className} model without a list of layers`);
    if (list.length > MOST_CALLS) throw new FormatError(`${WHERE}: more than ${MOST_CALLS} layers`);
    const layers = describe(list, group);
    if (className === "Sequential") return this.sequential(layers, config, outer, given);
    return this.functional(layers, isRecord(config) ? config : {}, outer, given);
  }

  private sequential(
    layers: readonly Described[],
    config: unknown,
    outer: readonly string[],
    given: readonly Flow[] | undefined,
  ): readonly Flow[] {
    const first = layers[0]?.config ?? {};
    let flows = given;
    if (!flows) {
      let shape = readShape(first.batch_input_shape ?? first.batch_shape);
      // A model in front says what the model takes.
      for (let at = layers[0]; !shape && at && MODELS.includes(at.className); ) {
        const inside = Array.isArray(at.whole) ? at.whole : at.config.layers;
        at = describe(Array.isArray(inside) ? inside.slice(0, 1) : [], "")[0];
        shape = readShape(at?.config.batch_input_shape ?? at?.config.batch_shape);
      }
      flows = [this.input("input", shape ?? readShape(isRecord(config) ? config.build_input_shape : undefined))];
    }
    for (const layer of layers)
      if (layer.className !== "InputLayer") flows = this.layer(layer, outer, flows.slice(0, 1), []);
    return flows.slice(0, 1);
  }

  private functional(
    layers: readonly Described[],
    config: Config,
    outer: readonly string[],
    given: readonly Flow[] | undefined,
  ): readonly Flow[] {
    const made = new Map<string, readonly Flow[]>();
    const keyOf = ({ layer, node }: History, first: ReadonlyMap<string, number>) =>
      `${node - (first.get(layer) ?? 0)} ${layer}`;
    const at = (one: History, first: ReadonlyMap<string, number>) => made.get(keyOf(one, first))?.[one.tensor];
    const inputs = readTerminals(config.input_layers, "input_layers");
    if (given && given.length !== inputs.length)
      throw new FormatError(`${WHERE}: a model of ${inputs.length} inputs is called on ${given.length}`);
    for (const [i, { layer }] of inputs.entries()) {
      const described = layers.find(({ name }) => name === layer);
      const { batch_input_shape, batch_shape } = described?.config ?? {};
      made.set(`0 ${layer}`, [given?.[i] ?? this.input(layer, readShape(batch_input_shape ?? batch_shape))]);
    }
    const open = layers.flatMap((layer) =>
      layer.className === "InputLayer"
        ? []
        : readInbound(layer.inbound, layer.name).map((call, i) => ({ layer, call, i, ready: 0 })),
    );
    if (open.length > MOST_CALLS) throw new FormatError(`${WHERE}: more than ${MOST_CALLS} calls of layers`);
    const referred = open.flatMap(({ call }) => [...call.inputs, ...call.states]);
    const first = this.firstCalls(layers, referred, this.dialect.modelsFrom);
    // Layers stand in any order: one waits for the first thing that it reads and is not there yet.
    const waiting = new Map<string, typeof open>();
    for (const entry of open) {
      const { layer, call, i } = entry;
      const reads = [...call.inputs, ...call.states];
      while (entry.ready < reads.length && at(reads[entry.ready], first)) entry.ready++;
      if (entry.ready < reads.length) {
        append(waiting, keyOf(reads[entry.ready], first), entry);
        continue;
      }
      const [read, states] = [call.inputs, call.states].map((all) => all.map((one) => at(one, first)!));
      const key = `${i} ${layer.name}`;
      made.set(key, this.layer(layer, outer, read, states, call));
      open.push(...(waiting.get(key) ?? []));
      waiting.delete(key);
    }
    for (const [{ layer, call, ready }] of waiting.values())
      throw new FormatError(
        `${WHERE}: layer ${shown(layer.name)} reads ${shown([...call.inputs, ...call.states][ready].layer)}, which is not there or reads it in turn`,
      );
    const terminals = readTerminals(config.output_layers, "output_layers");
    const ends = this.firstCalls(layers, terminals, 1);
    return terminals.map((terminal) => {
      const flow = at(terminal, ends);
      if (!flow) throw new FormatError(`${WHERE}: the output ${shown(terminal.layer)} comes from no layer`);
      return flow;
    });
  }

  /**
   * Numbers of the first calls of models. A model has been called once when it was made, which most versions count:
   * Keras 3 where it names outputs alone, and never of a Sequential.
   */
  private firstCalls(layers: readonly Described[], referred: readonly History[], usual: number): Map<string, number> {
    const begun = new Set(referred.flatMap(({ layer, node }) => (node === 0 ? [layer] : [])));
    const counted = layers.filter(
      ({ className, name }) =>
        MODELS.includes(className) && !begun.has(name) && (className !== "Sequential" || this.dialect.modelsFrom === 1),
    );
    return new Map(counted.map(({ name }) => [name, usual]));
  }

  private input(name: string, shape: (number | null)[] | undefined): Flow {
    this.inputs.push({ name: this.flows.nameFor(name), shape, tokens: false });
    return { node: -this.inputs.length, shape: shapeOf(shape) };
  }

  /** A layer, or a model as a layer, called on what flows. */
  private layer(
    described: Described,
    outer: readonly string[],
    inputs: readonly Flow[],
    states: readonly Flow[],
    call?: Inbound,
  ): readonly Flow[] {
    const { className, name, config, whole, group } = described;
    if (MODELS.includes(className)) return this.inner(className, whole, [...outer, name], `${group}/`, inputs);
    const inner = className === "TimeDistributed" && isRecord(config.layer) ? config.layer : {};
    if (MODELS.includes(String(inner.class_name))) return this.distributed(described, inner, outer, inputs);
    if (SLICING.includes(className) && this.stepwise === undefined) {
      const [flow] = inputs;
      const key = call?.options.slice_spec ?? call?.rest[0];
      const cut = flow?.shape?.length === 2 ? readCut(key, flow.shape[0]) : undefined;
      if (cut) return [this.flows.cut(flow, name, cut)];
    }
    if (className === "UpSampling1D" && this.stepwise === undefined) return [this.upsampled(name, config, inputs)];
    if (className === "Dot" && this.stepwise === undefined) return [this.dot(name, config, inputs)];
    if (className === "RNN" && this.stepwise === undefined) {
      const flows = this.cells(described, outer, inputs, states);
      if (flows) return flows;
    }
    const path = JSON.stringify([...outer, name]);
    let step = this.steps.get(path);
    if (!step) {
      step = this.step(described, outer, call ? { ...config, ...call.options } : config, rankOf(inputs[0]));
      this.steps.set(path, step);
    }
    const { layer } = step.piece;
    if (layer?.readsTokens && inputs[0]?.node < 0) this.inputs[-1 - inputs[0].node].tokens = true;
    return this.flows.call(step, inputs, states);
  }

  private upsampled(name: string, config: Config, inputs: readonly Flow[]): Flow {
    const where = `${WHERE}: layer ${shown(name)} (UpSampling1D)`;
    const times = single(config.size ?? config.length, 2);
    if (!Number.isSafeInteger(times) || (times as number) < 1 || (times as number) > MOST_TIMES || inputs.length !== 1)
      throw new FormatError(`${where}: size ${shown(times)}; expected a whole number up to ${MOST_TIMES}`);
    return this.flows.upsampled(inputs[0], this.flows.nameFor(name), where, times as number);
  }

  private dot(name: string, { axes, normalize }: Config, inputs: readonly Flow[]): Flow {
    const where = `${WHERE}: layer ${shown(name)} (Dot)`;
    const [i, j] = Array.isArray(axes) ? axes : [axes, axes];
    if (!Number.isSafeInteger(i) || !Number.isSafeInteger(j) || inputs.length !== 2)
      throw new FormatError(`${where}: axes ${shown(axes)} of ${inputs.length} inputs; expected two of each`);
    if (normalize === true) throw new FormatError(`${where}: normalize; gruvy has products without it`);
    return this.flows.dot(this.flows.nameFor(name), where, inputs, [i, j]);
  }

  /** Cells on top of each other: each reads what the one below gives, and begins with a state of its own. */
  private cells(
    { name, config, group }: Described,
    outer: readonly string[],
    inputs: readonly Flow[],
    states: readonly Flow[],
  ): readonly Flow[] | undefined {
    const path = JSON.stringify([...outer, name]);
    let steps = this.stacks.get(path);
    if (!steps) {
      const where = `${WHERE}: layer ${shown(name)} (RNN)`;
      const nameFor = (given: string) => this.flows.nameFor(given);
      const site: Site = { className: "RNN", name, where, dialect: this.dialect, rank: rankOf(inputs[0]) };
      const names = [...outer, name];
      steps = convertCells(config, site, nameFor)?.map((piece) => ({
        name: piece.layer!.name!,
        where,
        piece,
        place: { names, depth: names.length, group, within: piece.within },
      }));
      if (!steps) return undefined;
      this.stacks.set(path, steps);
    }
    const begins = [...inputs.slice(1), ...states];
    const finals: Flow[] = [];
    let read = inputs.slice(0, 1);
    for (const [k, step] of steps.entries()) {
      const [output, final] = this.flows.call(step, read, begins.slice(k, k + 1));
      read = [output];
      finals.push(final);
    }
    return [...read, ...finals];
  }

  /** A model at every step: its layers, which take steps as they take samples. */
  private distributed(
    { name, group }: Described,
    { class_name: className, config }: Config,
    outer: readonly string[],
    inputs: readonly Flow[],
  ): readonly Flow[] {
    const outside = this.stepwise;
    this.stepwise = name;
    const outputs = this.inner(String(className), config, [...outer, name], `${group}/layer/`, inputs.slice(0, 1));
    this.stepwise = outside;
    return outputs;
  }

  private step(
    { className, name, group, module = "keras" }: Described,
    outer: readonly string[],
    config: Config,
    rank: number | undefined,
  ): Step {
    const where = `${WHERE}: layer ${shown(name)} (${className.slice(0, 60)})`;
    if (!KERAS.test(module))
      throw new FormatError(`${where}: a layer of one's own, of ${shown(module)}; its code is not in the file`);
    if (!Object.hasOwn(LAYERS, className))
      throw new FormatError(
        `${where}: gruvy has no such layer; ${
          Object.hasOwn(REFUSED, className)
            ? REFUSED[className]
            : `it reads ${Object.keys(LAYERS).join(", ")}, Sequential and functional models`
        }`,
      );
    if (this.stepwise !== undefined && !STEPWISE.includes(className))
      throw new FormatError(
        `${where}: in TimeDistributed ${shown(this.stepwise)}; gruvy has ${STEPWISE.join(", ")} there`,
      );
    const own = this.flows.nameFor(name);
    const site = { className, name: own, where, dialect: this.dialect, rank: this.stepwise === undefined ? rank : 2 };
    const made = LAYERS[className](config, site);
    // Operators have their names from layers, and know no masks.
    const piece: Piece = module.includes(".ops.") ? { ...made, mask: "ignores" } : made;
    const names = [...outer, name, ...(piece.inner ?? [])];
    return { name: own, where, piece, place: { names, depth: outer.length + 1, group, within: piece.within } };
  }
}

function rankOf(flow: Flow | undefined): number | undefined {
  return flow?.shape && flow.shape.length + 1;
}
