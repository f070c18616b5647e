import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, flag, oneOf, shown } from "../core/options.ts";
import { type CallableLayer, callable, type GraphNode, type WithStates } from "./callable.ts";
import { type Builder, type Layer, type Port, padded, stepsOf } from "./layer.ts";
import { checkName } from "./name.ts";

/** What becomes of the two directions, in the order of the kernels (assembly/bidirectional.ts). */
const MERGES = ["concat", "sum", "mul", "average"] as const;

export interface BidirectionalOptions {
  /** Default: the wrapped layer's own name, if it has one. */
  name?: string;
  /** The forward output and the reversed one side by side, added, multiplied or averaged. Default "concat". */
  merge?: (typeof MERGES)[number];
  /** The layer that reads from the end, with `goBackwards: true`. Default: the wrapped one, reversed. */
  backwardLayer?: Layer;
  /** With a mask: outputs of masked steps are zero rather than the last output repeated. Default: where sequences are returned. */
  zeroOutputForMask?: boolean;
}

/**
 * Reads every sequence from both ends: a recurrent layer and its reverse, with
 * weights of their own, and their outputs merged.
 *
 * Sequences come in time order in both directions. The last output is that of
 * each direction: the reversed one's has seen the first step last. With
 * `lengths` or a mask the reversed direction begins at each row's own last
 * valid step, and the outputs of masked steps are zero where sequences are
 * returned (as in PyTorch, and in Keras's Bidirectional, which sets
 * `zeroOutputForMask` too).
 *
 * Parameters are the layer's, as "bidirectional.forward.kernel" and
 * "bidirectional.backward.kernel"; states are two, "bidirectional.forward"
 * and then "bidirectional.backward".
 *
 * @example bidirectional(gru(64, { returnSequences: true }))
 * @param layer a recurrent layer that reads forwards
 * @throws OptionError for layers that are not recurrent, or read in the wrong direction
 * @throws ShapeError  when the two directions do not fit each other
 */
export function bidirectional(
  layer: CallableLayer<WithStates>,
  options?: BidirectionalOptions,
): CallableLayer<WithStates>;
export function bidirectional(layer: Layer, options?: BidirectionalOptions): CallableLayer;
export function bidirectional(layer: Layer, options: BidirectionalOptions = {}): CallableLayer<GraphNode | WithStates> {
  const where = "bidirectional()";
  checkOptions(where, options, ["name", "merge", "backwardLayer", "zeroOutputForMask"]);
  const merge = oneOf(where, "merge", options.merge ?? "concat", MERGES);
  checkRecurrent(where, "layer", layer, false);
  const { backwardLayer, zeroOutputForMask: zero } = options;
  if (zero !== undefined) flag(where, "zeroOutputForMask", zero);
  if (backwardLayer !== undefined) checkRecurrent(where, "backwardLayer", backwardLayer, true);
  const direction = (of: Layer, goBackwards: boolean) =>
    of.directed!({ goBackwards, zeroOutputForMask: zero ?? of.config.returnSequences === true });
  const forwardLayer = direction(layer, false);
  const reversedLayer = direction(backwardLayer ?? layer, true);

  return callable({
    type: "bidirectional",
    name: checkName(where, options.name ?? layer.name),
    returnsStates: 2 * (layer.returnsStates ?? 0),
    config: {
      merge,
      layer: { type: layer.type, config: layer.config },
      backwardLayer: backwardLayer ? { type: backwardLayer.type, config: backwardLayer.config } : null,
      ...(zero !== undefined && { zeroOutputForMask: zero }),
    },
    build(b, inputs) {
      const forward = forwardLayer.build(scoped(b, "forward"), inputs);
      const reversed = reversedLayer.build(scoped(b, "backward"), inputs);
      const { features: F, sequence, steps } = forward.output;
      const { features: R } = reversed.output;
      if (sequence !== reversed.output.sequence)
        throw new ShapeError(`layer "${b.name}": "returnSequences" must be the same in both directions`);
      if (merge !== "concat" && F !== R)
        throw new ShapeError(
          `layer "${b.name}": merge "${merge}" expects directions of the same units, got ${F} and ${R}`,
        );
      const kind = MERGES.indexOf(merge);
      const output: Port = { features: merge === "concat" ? F + R : F, sequence, steps, type: "values" };
      const stride = padded(output.features);

      return {
        output,
        states: [...(forward.states ?? []), ...(reversed.states ?? [])],
        stateful: forward.stateful || reversed.stateful,
        unstreamable: "its reversed direction reads the sequence from its end",
        forward(run, [x]) {
          const f = forward.forward(run, [x]);
          const r = reversed.forward(run, [x]);
          const address = run.saved("y", f.rows * stride);
          run.k.mergeDirections(address, f.address, r.address, stepsOf(run, f), run.B, F, R, kind);
          return {
            port: output,
            address,
            rows: f.rows,
            stride,
            mask: f.mask,
            saved: {},
            parts: [f, r],
            states: [...(f.states ?? []), ...(r.states ?? [])],
          };
        },
        backward(run, [x], y) {
          const [f, r] = y.parts!;
          if (y.gradient !== undefined) {
            f.gradient = run.scratch("forward gradient", f.rows * f.stride);
            r.gradient = run.scratch("backward gradient", r.rows * r.stride);
            run.k.mergeDirectionsBackward(
              f.gradient,
              r.gradient,
              y.gradient,
              f.address,
              r.address,
              stepsOf(run, f),
              run.B,
              F,
              R,
              kind,
            );
          }
          forward.backward(run, [x], f);
          reversed.backward(run, [x], r);
        },
      };
    },
  });
}

/** @throws OptionError unless `layer` is recurrent and reads in this direction */
function checkRecurrent(where: string, option: string, layer: Layer, goBackwards: boolean): void {
  if (typeof layer?.directed !== "function")
    throw new OptionError(
      `${where}: "${option}" must be a recurrent layer such as gru(64), got ${typeof layer?.type === "string" ? `a layer of type ${shown(layer.type)}` : shown(layer)}`,
    );
  if (layer.config.goBackwards !== goBackwards)
    throw new OptionError(
      `${where}: "${option}" must have goBackwards: ${goBackwards}${goBackwards ? ", it reads from the end" : "; the reversed direction is made from it"}`,
    );
}

/** A builder whose parameters are "<part>.<name>" of the layer's. */
function scoped(b: Builder, part: string): Builder {
  return {
    ...b,
    name: `${b.name}.${part}`,
    param: (name, ...rest) => b.param(`${part}.${name}`, ...rest),
    matrix: (name, ...rest) => b.matrix(`${part}.${name}`, ...rest),
    packed: (label, ...rest) => b.packed(`${part}.${label}`, ...rest),
  };
}
