import { FormatError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Json } from "../../layers/layer.ts";
import type { Node } from "../../stacks/network.ts";
import { fromTorchGru, reverseAxes, toTorchGru, transpose } from "../gates.ts";

/**
 * Layers of gruvy as PyTorch's modules have them: which tensors, in which
 * shapes, and how numbers go there and back.
 */

/** A tensor of a module: "weight", or "weight_ih" for the layer's level of an nn.GRU ("weight_ih_l0"). */
export interface ModuleTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

type Tensors = Readonly<Record<string, Tensor>>;

/** A layer that has parameters, seen as a module. */
export interface TorchModule {
  /** gruvy's name. */
  readonly layer: string;
  /** "nn.Linear". */
  readonly kind: string;
  /** One level of an nn.GRU, whose names end in _l0, _l1... */
  readonly recurrent: boolean;
  readonly tensors: readonly ModuleTensor[];
  /** The module's tensors as gruvy's parameters, without the layer's name. */
  toGruvy(tensors: Tensors): Record<string, Tensor>;
  toTorch(parameters: Tensors): Record<string, Tensor>;
}

type Description = Omit<TorchModule, "layer" | "recurrent"> & { readonly recurrent?: boolean };

const same = (from: string, to: string) => ({
  toGruvy: (t: Tensors) => ({ [to]: t[from] }),
  toTorch: (p: Tensors) => ({ [from]: p[to] }),
});

/** Every layer type that PyTorch has a module for; a new one is a row here. */
const MODULES: Readonly<Record<string, (node: Node, where: string) => Description>> = {
  gru: (node, where) => level(node, where, [[node.layer.config, "", ""]]),

  /** Both directions of a level, if each is a gru that could stand alone. */
  bidirectional(node, where) {
    const { merge, layer, backwardLayer } = node.layer.config as Record<string, Json> & { layer: Wrapped };
    const second = (backwardLayer as Wrapped | null) ?? layer;
    const refuse = (what: string, instead: string) =>
      new FormatError(`${where}: layer "${node.name}": ${what}, which nn.GRU cannot hold; ${instead}`);
    if (merge !== "concat") throw refuse(`merge "${merge}"`, 'it merges as "concat" does');
    if (layer.type !== "gru" || second.type !== "gru")
      throw refuse(`a bidirectional ${layer.type}`, "use bidirectional(gru(...))");
    if (layer.config.units !== second.config.units || layer.config.useBias !== second.config.useBias)
      throw refuse("directions of different units or biases", "give both the same");
    return level(node, where, [
      [layer.config, "forward.", ""],
      [second.config, "backward.", "_reverse"],
    ]);
  },

  dense(node) {
    const [I, N] = shapeOf(node, "kernel");
    const bias = has(node, "bias");
    return {
      kind: "nn.Linear",
      tensors: [{ name: "weight", shape: [N, I] }, ...(bias ? [{ name: "bias", shape: [N] }] : [])],
      toGruvy: (t) => ({ kernel: transpose(t.weight), ...(bias && { bias: t.bias }) }),
      toTorch: (p) => ({ weight: transpose(p.kernel), ...(bias && { bias: p.bias }) }),
    };
  },

  conv1d(node) {
    const [size, I, N] = shapeOf(node, "kernel");
    const bias = has(node, "bias");
    return {
      kind: "nn.Conv1d",
      tensors: [{ name: "weight", shape: [N, I, size] }, ...(bias ? [{ name: "bias", shape: [N] }] : [])],
      toGruvy: (t) => ({ kernel: reverseAxes(t.weight), ...(bias && { bias: t.bias }) }),
      toTorch: (p) => ({ weight: reverseAxes(p.kernel), ...(bias && { bias: p.bias }) }),
    };
  },

  embedding: (node) => ({
    kind: "nn.Embedding",
    tensors: [{ name: "weight", shape: shapeOf(node, "embeddings") }],
    ...same("weight", "embeddings"),
  }),

  multiHeadAttention(node, where) {
    const [E, queries] = shapeOf(node, "queryKernel");
    const [kdim] = shapeOf(node, "keyKernel");
    const [vdim, values] = shapeOf(node, "valueKernel");
    const [, units] = shapeOf(node, "outputKernel");
    const refuse = (what: string) =>
      new FormatError(
        `${where}: layer "${node.name}": ${what}, which nn.MultiheadAttention cannot hold: it has ${E} there, the query's features`,
      );
    if (queries !== E) throw refuse(`heads · keyUnits is ${queries}`);
    if (values !== E) throw refuse(`heads · valueUnits is ${values}`);
    if (units !== E) throw refuse(`units is ${units}`);
    const bias = has(node, "queryBias");
    // One matrix of all three, unless keys or values have other features.
    const joint = kdim === E && vdim === E;
    const tensors = [
      ...(joint
        ? [{ name: "in_proj_weight", shape: [3 * E, E] }]
        : [E, kdim, vdim].map((I, i) => ({ name: SEPARATE[i], shape: [E, I] }))),
      ...(bias ? [{ name: "in_proj_bias", shape: [3 * E] }] : []),
      { name: "out_proj.weight", shape: [E, E] },
      ...(bias ? [{ name: "out_proj.bias", shape: [E] }] : []),
    ];
    return {
      kind: "nn.MultiheadAttention",
      tensors,
      toGruvy(t) {
        const kernels = joint ? rows(t.in_proj_weight, 3) : SEPARATE.map((name) => t[name]);
        const biases = bias ? rows(t.in_proj_bias, 3) : [];
        return Object.assign(
          { outputKernel: transpose(t["out_proj.weight"]), ...(bias && { outputBias: t["out_proj.bias"] }) },
          ...PARTS.map((part, i) => ({ [`${part}Kernel`]: transpose(kernels[i]) })),
          ...biases.map((part, i) => ({ [`${PARTS[i]}Bias`]: part })),
        );
      },
      toTorch(p) {
        const kernels = PARTS.map((part) => transpose(p[`${part}Kernel`]));
        return {
          ...(joint
            ? { in_proj_weight: stacked(kernels) }
            : Object.fromEntries(SEPARATE.map((name, i) => [name, kernels[i]]))),
          ...(bias && { in_proj_bias: stacked(PARTS.map((part) => p[`${part}Bias`])) }),
          "out_proj.weight": transpose(p.outputKernel),
          ...(bias && { "out_proj.bias": p.outputBias }),
        };
      },
    };
  },

  /** Its scale and shift are those of the file's, once the statistics are known (batch-norm.ts). */
  affine(node) {
    const shape = shapeOf(node, "scale");
    const all = (value: number): Tensor => ({ shape: [...shape], data: new Float32Array(shape[0]).fill(value) });
    return {
      kind: "nn.BatchNorm1d",
      tensors: ["scale", "shift"].map((name) => ({ name, shape })),
      toGruvy: ({ scale, shift }) => ({ scale, shift }),
      // With PyTorch's own epsilon, running_var + eps is 1 in float32.
      toTorch: ({ scale, shift }) => ({ weight: scale, bias: shift, running_mean: all(0), running_var: all(1 - 1e-5) }),
    };
  },

  layerNorm(node, where) {
    const { scale, center } = layerOf(node).config;
    // PyTorch has both, or weight alone since 2.1.
    if (!scale)
      throw new FormatError(
        `${where}: layer "${node.name}": center without scale, which nn.LayerNorm cannot hold; use both`,
      );
    return {
      kind: "nn.LayerNorm",
      tensors: ["weight", ...(center ? ["bias"] : [])].map((name) => ({ name, shape: shapeOf(node, "gamma") })),
      toGruvy: (t) => ({ gamma: t.weight, ...(center && { beta: t.bias }) }),
      toTorch: (p) => ({ weight: p.gamma, ...(center && { bias: p.beta }) }),
    };
  },
};

/** The maps into attention, and nn.MultiheadAttention's names for them where they are not one matrix. */
const PARTS = ["query", "key", "value"];
const SEPARATE = ["q_proj_weight", "k_proj_weight", "v_proj_weight"];

/** A tensor as `count` of equally many rows. */
function rows({ shape: [n, ...rest], data }: Tensor, count: number): Tensor[] {
  const size = data.length / count;
  return Array.from({ length: count }, (_, i) => ({
    shape: [n / count, ...rest],
    data: data.slice(i * size, (i + 1) * size),
  }));
}

/** Tensors of one shape, one above the other. */
function stacked(parts: readonly Tensor[]): Tensor {
  const [n, ...rest] = parts[0].shape;
  const data = new Float32Array(parts.length * parts[0].data.length);
  parts.forEach((part, i) => {
    data.set(part.data, i * part.data.length);
  });
  return { shape: [parts.length * n, ...rest], data };
}

interface Wrapped {
  readonly type: string;
  readonly config: Readonly<Record<string, Json>>;
}

/** One level of an nn.GRU: a direction or two, each with its options, gruvy's prefix and PyTorch's suffix. */
function level(
  node: Node,
  where: string,
  directions: readonly (readonly [Readonly<Record<string, Json>>, prefix: string, suffix: string])[],
): Description {
  const refuse = (what: string, instead: string) =>
    new FormatError(`${where}: layer "${node.name}": ${what}, which nn.GRU cannot hold; ${instead}`);
  for (const [{ resetAfter, activation, recurrentActivation, layerNorm, zoneout }] of directions) {
    if (!resetAfter)
      throw refuse(
        "resetAfter is false",
        "it applies the reset gate after the product: gru({ resetAfter: true }), trained so",
      );
    if (activation !== "tanh" || recurrentActivation !== "sigmoid")
      throw refuse("activations other than tanh and sigmoid", "train it with those, or export to ONNX");
    if (layerNorm || zoneout) throw refuse(layerNorm ? "layerNorm" : "zoneout", "train it without");
  }
  return {
    kind: "nn.GRU",
    recurrent: true,
    tensors: directions.flatMap(([{ useBias }, prefix, suffix]) => {
      const [I, threeH] = shapeOf(node, `${prefix}kernel`);
      return [
        { name: `weight_ih${suffix}`, shape: [threeH, I] },
        { name: `weight_hh${suffix}`, shape: [threeH, threeH / 3] },
        ...(useBias ? ["bias_ih", "bias_hh"].map((name) => ({ name: name + suffix, shape: [threeH] })) : []),
      ];
    }),
    toGruvy: (t) =>
      Object.assign(
        {},
        ...directions.map(([, prefix, suffix]) =>
          renamed(
            fromTorchGru({
              weightIh: t[`weight_ih${suffix}`],
              weightHh: t[`weight_hh${suffix}`],
              biasIh: t[`bias_ih${suffix}`],
              biasHh: t[`bias_hh${suffix}`],
            }),
            (name) => prefix + name,
          ),
        ),
      ),
    toTorch: (p) =>
      Object.assign(
        {},
        ...directions.map(([, prefix, suffix]) => {
          const [kernel, recurrentKernel, bias] = ["kernel", "recurrentKernel", "bias"].map((name) => p[prefix + name]);
          // weightIh is weight_ih.
          return renamed(
            toTorchGru({ kernel, recurrentKernel, bias }),
            (name) => name.replace(/[IH]h$/, (end) => `_${end.toLowerCase()}`) + suffix,
          );
        }),
      ),
  };
}

/** A record with other names, and without what is undefined. */
function renamed(record: object, name: (old: string) => string): Record<string, Tensor> {
  const entries = Object.entries(record).filter(([, tensor]) => tensor !== undefined);
  return Object.fromEntries(entries.map(([old, tensor]) => [name(old), tensor]));
}

function parameter({ name, params }: Node, which: string) {
  return params.find((param) => param.name === `${name}.${which}`);
}

function has(node: Node, which: string): boolean {
  return parameter(node, which) !== undefined;
}

function shapeOf(node: Node, which: string): readonly number[] {
  return parameter(node, which)!.shape;
}

/** A layer, or the one that works at every step: PyTorch's modules work on the last axis. */
function layerOf({ layer }: Node): Wrapped {
  return layer.type === "timeDistributed" ? (layer.config.layer as unknown as Wrapped) : layer;
}

/**
 * The modules of a model, in the order of its layers. Layers without
 * parameters have none, and one that is used again is the one it was.
 *
 * @param instead what to do about one that PyTorch has no module for
 * @throws FormatError for such a layer
 */
export function modulesOf(nodes: readonly Node[], where: string, instead = ""): TorchModule[] {
  return nodes
    .filter(({ params, shares }) => params.length > 0 && shares === undefined)
    .map((node) => {
      const { type } = layerOf(node);
      if (!Object.hasOwn(MODULES, type))
        throw new FormatError(
          `${where}: layer "${node.name}": PyTorch has no module for ${type}; it has one for ${Object.keys(MODULES).join(", ")}${instead}`,
        );
      return { layer: node.name, recurrent: false, ...MODULES[type](node, where) };
    });
}
