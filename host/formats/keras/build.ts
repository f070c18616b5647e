import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { shapeText, type Tensor } from "../../core/tensor.ts";
import type { Layer, Param } from "../../layers/layer.ts";
import type { Model } from "../../stacks/model.ts";
import { assemble } from "../../stacks/sequential.ts";
import { type Config, isRecord, type KerasModel, type Place } from "./config.ts";
import { LAYERS, type Piece } from "./layers.ts";

const WHERE = "loadModel()";

/** Layers that a model may have. */
const MOST_LAYERS = 10_000;

/** A layer of the model in gruvy's terms, and where its weights are. */
interface Step {
  readonly name: string;
  readonly where: string;
  readonly piece: Piece;
  readonly place: Place;
}

/** The class of a layer as Keras writes it in the groups of a `.keras` file: "TimeDistributed" as time_distributed. */
export function snakeCase(className: string): string {
  return className
    .replace(/\W+/g, "")
    .replace(/(.)([A-Z][a-z]+)/g, "$1_$2")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase();
}

/** A model of gruvy from one of Keras, weights and all. */
export async function buildModel(keras: KerasModel): Promise<Model> {
  const { className, config } = keras;
  const reader = new Reader(keras);
  if (className !== "Sequential")
    throw new FormatError(`${WHERE}: a model of class ${shown(className)}; expected "Sequential"`);
  const inputShape = reader.sequential(config, [], "");
  const layers = reader.steps.flatMap(({ piece }) => piece.layer ?? []);
  if (layers.length === 0) throw new FormatError(`${WHERE}: a model without layers`);
  const weights = new Weights(reader.steps);
  await weights.read(keras);
  return assemble(layers, { inputShape: inputShape ?? weights.inputShape() }, { given: (param) => weights.of(param) });
}

/** Goes through the layers of a model and of the models inside it. */
class Reader {
  readonly steps: Step[] = [];
  private readonly names = new Set<string>();

  constructor(private readonly keras: KerasModel) {}

  /**
   * The layers of a Sequential model, one after the other.
   *
   * @param config the list of layers (Keras 1, 2.1), or a record with it
   * @param outer names of the models around it
   * @param group its group in a `.keras` file, with a slash at its end
   * @returns the input shape, where the model says it
   */
  sequential(config: unknown, outer: readonly string[], group: string): (number | null)[] | undefined {
    const list = Array.isArray(config) ? config : isRecord(config) ? config.layers : undefined;
    if (!Array.isArray(list)) throw new FormatError(`${WHERE}: a Sequential model without a list of layers`);
    let inputShape = isRecord(config) ? readShape(config.build_input_shape) : undefined;
    const counts = new Map<string, number>();
    for (const [i, layer] of list.entries()) {
      if (!isRecord(layer) || typeof layer.class_name !== "string")
        throw new FormatError(`${WHERE}: layer ${i} has no class`);
      const { class_name: className, config: own } = layer;
      const options = isRecord(own) ? own : {};
      if (i === 0) inputShape = readShape(options.batch_input_shape ?? options.batch_shape) ?? inputShape;
      if (className === "InputLayer") continue;
      const snake = snakeCase(className);
      const count = counts.get(snake) ?? 0;
      counts.set(snake, count + 1);
      const groupOf = `${group}layers/${snake}${count ? `_${count}` : ""}`;
      const name = typeof options.name === "string" ? options.name : `${snake}_${this.steps.length}`;
      if (className === "Sequential") {
        const inner = this.sequential(own, [...outer, name], `${groupOf}/`);
        if (i === 0) inputShape ??= inner;
      } else this.layer(className, name, options, outer, groupOf);
    }
    return inputShape;
  }

  private layer(className: string, name: string, config: Config, outer: readonly string[], group: string): void {
    if (this.steps.length >= MOST_LAYERS) throw new FormatError(`${WHERE}: more than ${MOST_LAYERS} layers`);
    const where = `${WHERE}: layer ${shown(name)} (${className.slice(0, 60)})`;
    if (!Object.hasOwn(LAYERS, className))
      throw new FormatError(
        `${where}: gruvy has no such layer; it reads ${Object.keys(LAYERS).join(", ")}, Sequential`,
      );
    const own = this.nameFor(name);
    const piece = LAYERS[className](config, { className, name: own, where, dialect: this.keras.dialect });
    const names = [...outer, name, ...(piece.inner ?? [])];
    this.steps.push({
      name: own,
      where,
      piece,
      place: { names, depth: outer.length + 1, group, within: piece.within },
    });
  }

  /** A name that gruvy takes, and that no other layer has. */
  private nameFor(name: string): string {
    let base = name.replace(/[\s./\\]+/g, "_").slice(0, 150) || "layer";
    if (base.startsWith("__")) base = `layer${base}`;
    let found = base;
    for (let i = 1; this.names.has(found); i++) found = `${base}_${i}`;
    this.names.add(found);
    return found;
  }
}

/** The shape of a sample from [null, 12, 4]; undefined for what is no shape. */
function readShape(shape: unknown): (number | null)[] | undefined {
  if (!Array.isArray(shape) || shape.length < 2) return undefined;
  return shape.slice(1) as (number | null)[];
}

/** The weights of a model's layers, checked. */
class Weights {
  private readonly steps: ReadonlyMap<string, Step>;
  private readonly params = new Map<string, Readonly<Record<string, Tensor>>>();

  constructor(steps: readonly Step[]) {
    this.steps = new Map(steps.map((step) => [step.name, step]));
  }

  async read(keras: KerasModel): Promise<void> {
    for (const { name, piece, place } of this.steps.values())
      if (piece.layer && piece.within.length > 0) this.params.set(name, piece.params(await keras.weights(place)));
  }

  /** Values of a parameter of gruvy's. */
  of({ name, shape }: Param): Float32Array {
    const dot = name.indexOf(".");
    const step = this.steps.get(name.slice(0, dot))!;
    const own = name.slice(dot + 1);
    const params = this.params.get(step.name) ?? {};
    const tensor = Object.hasOwn(params, own) ? params[own] : undefined;
    if (!tensor) throw new FormatError(`${step.where}: its weights ${shapeText(shape)} for "${own}" are missing`);
    if (shapeText(tensor.shape) !== shapeText(shape))
      throw new FormatError(`${step.where}: "${own}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}`);
    const bad = tensor.data.findIndex((v) => v - v !== 0);
    if (bad >= 0)
      throw new FormatError(
        `${step.where}: "${own}" has ${tensor.data[bad]} at position ${bad}; expected finite numbers`,
      );
    return tensor.data;
  }

  /** For models that do not say: what the first layer with weights takes. */
  inputShape(): (number | null)[] {
    for (const step of this.steps.values()) {
      const layer: Layer | undefined = step.piece.layer;
      if (!layer || step.piece.within.length === 0) continue;
      if (layer.readsTokens) return [null];
      const inputs = this.params.get(step.name)?.kernel?.shape[0];
      if (inputs !== undefined) return layer.type === "gru" ? [null, inputs] : [inputs];
    }
    throw new FormatError(`${WHERE}: the model does not say what shape its input has`);
  }
}
