import type { Tensor } from "../../../core/tensor.ts";
import {
  type AttributeValue,
  graph,
  IN_FUNCTION,
  IN_GRAPH,
  initializer,
  type NodesOf,
  node,
  type OnnxFunction,
  type OnnxValue,
} from "../proto.ts";

/** The domain of the functions that gruvy's layers are written as. */
export const DOMAIN = "gruvy";

/** Names of one graph or function and all that is in it; no two are the same. */
class Names {
  private readonly taken = new Set<string>();

  fresh(name: string): string {
    let own = name;
    for (let i = 1; this.taken.has(own); i++) own = `${name}_${i}`;
    this.taken.add(own);
    return own;
  }
}

/** What all of a file has in common. */
export class OnnxFile {
  /** The least that the operators used need: 17 brought LayerNormalization. */
  opset = 17;
  readonly inputs: OnnxValue[] = [];
  readonly outputs: OnnxValue[] = [];
  readonly functions: OnnxFunction[] = [];
  readonly functionNames = new Names();
}

interface Body {
  readonly within: NodesOf;
  readonly names: Names;
  readonly parts: Uint8Array[];
  readonly constants: Map<string, string>;
}

const body = (within: NodesOf, names = new Names()): Body => ({ within, names, parts: [], constants: new Map() });

/** What nodes are written into: the graph, a function, or the body of a loop in a function. */
export class Scope {
  private constructor(
    readonly file: OnnxFile,
    private readonly body: Body,
    private readonly prefix: string,
  ) {}

  /** The graph of a file. */
  static graph(file: OnnxFile): Scope {
    return new Scope(file, body(IN_GRAPH), "");
  }

  /** The body of a function. */
  static function(file: OnnxFile): Scope {
    return new Scope(file, body(IN_FUNCTION), "");
  }

  /** The same scope, where names begin with that of a layer. */
  under(layer: string): Scope {
    return new Scope(this.file, this.body, `${layer}/`);
  }

  /** The body of a loop, which may read all that is here. */
  inner(): Scope {
    return new Scope(this.file, body(IN_GRAPH, this.body.names), "");
  }

  get parts(): readonly Uint8Array[] {
    return this.body.parts;
  }

  /** A name that nothing has yet. */
  fresh(name: string): string {
    return this.body.names.fresh(name);
  }

  /** The same, which begins with the layer's. */
  own(name: string): string {
    return this.fresh(this.prefix + name);
  }

  /** A node, with a name for each of its outputs. */
  node(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = "",
  ): void {
    const name = this.own(type);
    this.body.parts.push(node(type, name, inputs, outputs, attributes, domain, this.body.within));
  }

  /** A node with one output, and the output's name. */
  op(
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output = this.own(`${type}_output`),
  ): string {
    this.node(type, inputs, [output], attributes);
    return output;
  }

  /** Parts of x of these sizes on an axis, and their names. */
  split(x: string, sizes: readonly number[], axis = -1): string[] {
    const outputs = sizes.map(() => this.own("Split_output"));
    this.node("Split", [x, this.ints(sizes)], outputs, { axis });
    return outputs;
  }

  /** Numbers in the file; those of a name once, as a layer that is used again has the same. Of the graph only. */
  weight(name: string, { shape, data }: Tensor): string {
    return this.once(`weight ${name}`, () => {
      const own = this.fresh(name);
      this.body.parts.push(initializer(own, shape, data));
      return own;
    });
  }

  /** One float. */
  float(value: number): string {
    return this.once(`float ${value}`, () => this.op("Constant", [], { value_float: { float: value } }));
  }

  /** Whole numbers, a tensor of one axis. */
  ints(values: readonly number[]): string {
    return this.once(`ints ${values}`, () => this.op("Constant", [], { value_ints: values }));
  }

  /** One whole number, without axes. */
  int(value: number): string {
    return this.once(`int ${value}`, () => this.op("Constant", [], { value_int: value }));
  }

  /** A name that is made when it is first asked for. */
  once(key: string, make: () => string): string {
    let name = this.body.constants.get(key);
    if (!name) {
      name = make();
      this.body.constants.set(key, name);
    }
    return name;
  }

  /** This scope as the body of a loop. */
  toGraph(inputs: readonly OnnxValue[], outputs: readonly OnnxValue[]): Uint8Array {
    return graph("step", this.body.parts, inputs, outputs);
  }
}
