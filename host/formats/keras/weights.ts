import { FormatError, GruvyError, OptionError } from "../../core/errors.ts";
import { isRecord, shown } from "../../core/options.ts";
import { shapeText, type Tensor, type TensorLike } from "../../core/tensor.ts";
import { Model } from "../../stacks/model.ts";
import { type ModelSource, readSource } from "../source.ts";
import { kerasDialect, snakeCase } from "./config.ts";
import { describeModel } from "./describe.ts";
import { openWeights } from "./import.ts";
import { LAYERS } from "./layers.ts";

/** `fromKeras` of host/formats/import.ts, in a chunk of its own. */
export async function fillFromKeras<Outputs>(source: ModelSource, model: Model<Outputs>): Promise<Model<Outputs>> {
  const where = "fromKeras()";
  if (!(model instanceof Model)) throw new OptionError(`${where}: the second argument is not a model`);
  model.network.checkAlive();
  const { weights, layers } = await openWeights(await readSource(source, where), where);
  // What an activation means is no matter of weights.
  const old = JSON.stringify(model.architecture.config).includes('"hardSigmoid02"');
  const dialect = kerasDialect(old ? "2.15.0" : "3.0.0");
  const described = describeModel(model, { ...dialect, resetAfter: true, lacks: [] }).layers;
  const own = described.filter((layer) => layer.weights.length > 0);
  const named = layers && own.every(({ name }) => layers.includes(name));
  if (layers && !named && layers.length !== own.length)
    throw new FormatError(
      `${where}: the file has ${layers.length} layers with weights (${shown(layers)}), the model ${own.length}`,
    );
  const left = named ? layers.filter((layer) => !own.some(({ name }) => name === layer)) : [];
  if (left.length > 0)
    throw new FormatError(`${where}: left over: the layers ${shown(left)} of the file; make the model with them`);
  const counts = new Map<string, number>();
  const groups = new Map(
    described.map(({ name, className }) => {
      const snake = snakeCase(className);
      const count = counts.get(snake) ?? 0;
      counts.set(snake, count + 1);
      return [name, `layers/${snake}${count ? `_${count}` : ""}`];
    }),
  );
  const filled: Record<string, TensorLike> = {};
  for (const [i, { name, className, config }] of own.entries()) {
    const site = { className, name, where: `${where}: layer "${name}" (${className})`, dialect };
    const piece = LAYERS[className](isRecord(config) ? config : {}, site);
    const names = [layers && !named ? layers[i] : name];
    const stored = await weights({ names, depth: 1, group: groups.get(name)!, within: piece.within });
    for (const [param, tensor] of Object.entries(piece.params(stored))) {
      const { shape } = model.network.param(`${name}.${param}`) ?? tensor;
      if (shapeText(shape) !== shapeText(tensor.shape))
        throw new FormatError(
          `${site.where}: "${param}": expected ${shapeText(shape)}, got ${shapeText(tensor.shape)}${hint(param, tensor)}`,
        );
      filled[`${name}.${param}`] = tensor;
    }
  }
  try {
    model.setWeights(filled);
  } catch (error) {
    throw error instanceof GruvyError ? new FormatError(`${where}: ${error.message}`) : error;
  }
  return model;
}

/** Biases say which form of the GRU a file has. */
function hint(param: string, { shape }: Tensor): string {
  return /(^|\.)bias$/.test(param) && shape[0] === 2 ? "; the file's gru has resetAfter: true" : "";
}
