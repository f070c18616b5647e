import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { count, shapeText, type Tensor } from "../../core/tensor.ts";
import type { Json, Param } from "../../layers/layer.ts";
import type { GraphConfig, NodeRef } from "../../stacks/graph.ts";
import type { Model } from "../../stacks/model.ts";
import { build } from "../gruvy.ts";
import type { KerasModel } from "./config.ts";
import type { Call, Flow, Step } from "./flows.ts";
import { Reader } from "./topology.ts";

const WHERE = "loadModel()";

/** Weights in a model that one number of the file stands for: a file of a few bytes may not ask for a gigabyte. */
const MOST_REPEATED = 2 ** 22;

/** A model of gruvy from one of Keras, weights and all. */
export async function buildModel(keras: KerasModel): Promise<Model> {
  const reader = new Reader(keras.dialect);
  const { inputs, outputs } = reader.model(keras.className, keras.config);
  const { calls } = reader.flows;
  const used = new Set(calls.map(({ step }) => step));
  const weights = new Weights([...used]);
  await weights.read(keras);
  const layers = [...used].map(({ name, piece: { layer } }) => ({ type: layer!.type, name, config: layer!.config }));
  if (layers.length === 0) throw new FormatError(`${WHERE}: a model without layers`);
  const described = inputs.map(({ name, shape, tokens }, i) => ({
    name,
    shape: tokens ? (shape ?? [null]) : (shape ?? weights.inputShape(calls, -1 - i)),
    type: tokens ? ("tokens" as const) : ("values" as const),
  }));
  const given = (param: Param) => weights.of(param);
  if (isChain(calls, outputs, inputs.length)) {
    const config = { layers, inputShape: described[0].shape, seed: 0 };
    return weights.used((await build({ kind: "sequential", config }, { given })) as Model);
  }
  const config: GraphConfig = {
    inputs: described,
    layers: layers as readonly { type: string; name: string; config: Readonly<Record<string, Json>> }[],
    nodes: calls.map(({ step, inputs: read, states }) => ({
      layer: step.name,
      inputs: read.map(refOf),
      ...(states.length && { initialStates: states.map(refOf) }),
    })),
    outputs: named(outputs, calls),
    form: outputs.length === 1 ? "one" : "list",
    seed: 0,
  };
  return weights.used((await build({ kind: "graph", config }, { given })) as Model);
}

function refOf({ node, state }: Flow): NodeRef {
  return state === undefined ? node : [node, state];
}

/** One layer after the other, each once: a sequential model. */
function isChain(calls: readonly Call[], outputs: readonly Flow[], inputs: number): boolean {
  if (inputs !== 1 || outputs.length !== 1) return false;
  const [end] = outputs;
  return (
    end.node === calls.length - 1 &&
    end.state === undefined &&
    new Set(calls.map(({ step }) => step)).size === calls.length &&
    calls.every(
      ({ inputs: read, states }, i) =>
        states.length === 0 && read.length === 1 && read[0].node === i - 1 && read[0].state === undefined,
    )
  );
}

/** Outputs under the names of their layers. */
function named(outputs: readonly Flow[], calls: readonly Call[]): GraphConfig["outputs"] {
  const taken = new Set<string>();
  return outputs.map((flow) => {
    const base = (calls[flow.node]?.step.name ?? "input") + (flow.state === undefined ? "" : "_state");
    let name = base;
    for (let i = 1; taken.has(name); i++) name = `${base}_${i}`;
    taken.add(name);
    return { name, from: refOf(flow) };
  });
}

/** The weights of a model's layers, checked. */
class Weights {
  private readonly steps: ReadonlyMap<string, Step>;
  private readonly params = new Map<string, Readonly<Record<string, Tensor>>>();
  private readonly asked = new Set<string>();
  private repeated = 0;

  constructor(steps: readonly Step[]) {
    this.steps = new Map(steps.map((step) => [step.name, step]));
  }

  async read(keras: KerasModel): Promise<void> {
    for (const { name, piece, place } of this.steps.values())
      if (piece.layer) this.params.set(name, piece.params(place.within.length > 0 ? await keras.weights(place) : []));
  }

  /** Values of a parameter of gruvy's. */
  of({ name, shape }: Param): Float32Array {
    const dot = name.indexOf(".");
    const step = this.steps.get(name.slice(0, dot))!;
    const own = name.slice(dot + 1);
    const params = this.params.get(step.name) ?? {};
    this.asked.add(name);
    const tensor = Object.hasOwn(params, own) ? params[own] : undefined;
    if (!tensor) throw new FormatError(`${step.where}: its weights ${shapeText(shape)} for "${own}" are missing`);
    // One without axes stands for all.
    const all = tensor.shape.length === 0;
    if (!all && shapeText(tensor.shape) !== shapeText(shape))
      throw new FormatError(`${step.where}: "${own}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}`);
    const bad = tensor.data.findIndex((v) => v - v !== 0);
    if (bad >= 0)
      throw new FormatError(
        `${step.where}: "${own}" has ${tensor.data[bad]} at position ${bad}; expected finite numbers`,
      );
    if (!all) return tensor.data;
    this.repeated += count(shape);
    if (this.repeated > MOST_REPEATED)
      throw new FormatError(`${step.where}: more than ${MOST_REPEATED} weights that are one number each`);
    return new Float32Array(count(shape)).fill(tensor.data[0]);
  }

  /** A layer with weights left over is not the one that its class says. */
  used(model: Model): Model {
    // What leads to no output is not in the model.
    for (const { name } of model.network.nodes) {
      const params = this.params.get(name) ?? {};
      const left = Object.keys(params).find((own) => !this.asked.has(`${name}.${own}`));
      if (left === undefined) continue;
      model.dispose();
      const { where } = this.steps.get(name)!;
      throw new FormatError(
        `${where}: the file has weights for it that Keras's layer has not: "${left}" ${shapeText(params[left].shape)}`,
      );
    }
    return model;
  }

  /** For models that do not say: what the first layer with weights takes. */
  inputShape(calls: readonly Call[], input: number): (number | null)[] {
    let reads = input;
    for (const [i, { step, inputs }] of calls.entries()) {
      if (inputs[0].node !== reads) continue;
      const { type } = step.piece.layer!;
      const params = this.params.get(step.name) ?? {};
      const shape = (params.kernel ?? params["forward.kernel"])?.shape;
      if (shape) return type === "dense" ? [shape[0]] : [null, shape[shape.length - 2]];
      reads = i;
    }
    throw new FormatError(`${WHERE}: the model does not say what shape its input ${shown(-1 - input)} has`);
  }
}
