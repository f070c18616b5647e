import { ShapeError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { type Activation, type ResolvedActivation, resolveActivation } from "./activations.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { passGradient, type Run, type Value } from "./layer.ts";
import { checkName } from "./name.ts";

/**
 * An activation as a layer of its own, element by element, or over the
 * features of a row (softmax, logSoftmax).
 *
 * @example activation("relu"); activation({ name: "leakyRelu", alpha: 0.2 })
 * @throws OptionError for unknown names
 */
export function activation(of: Activation, options: { name?: string } = {}): CallableLayer {
  const where = "activation()";
  checkOptions(where, options, ["name"]);
  const resolved = resolveActivation(where, "activation", of, true);
  return callable({
    type: "activation",
    name: checkName(where, options.name),
    config: { activation: resolved.config },
    build(b, [input]) {
      if (input.type === "tokens") throw new ShapeError(`layer "${b.name}": expected numbers, got tokens`);
      return {
        output: input,
        forward: (run, [x]) => activate(run, resolved, x, false),
        backward(run, [x], y) {
          if (y.fused || resolved.name === "linear") return passGradient(run, x, y);
          const dx = run.gradient(x);
          if (dx) derivative(run, resolved, dx.address, y, dx.accumulate);
        },
      };
    },
  });
}

/**
 * The activation of `sums`, recorded: in place where its derivative can come
 * from the output, and nowhere for "linear".
 *
 * @param own the caller made `sums` and nobody else reads them
 */
export function activate(run: Run, activation: ResolvedActivation, sums: Value, own: boolean): Value {
  const { kind, name, alpha, beta } = activation;
  // A value of its own, with nothing of what the input is besides: no logits, no state.
  const { port, rows, stride, mask } = sums;
  const y = { port, rows, stride, mask, saved: { x: sums.address } };
  if (name === "linear") return { ...y, address: sums.address };
  const n = rows * stride;
  const fusable = run.fuses?.find((fused) => fused === name);
  const inPlace = own && !activation.needsInput && !fusable;
  const address = inPlace ? sums.address : run.saved(name, n);
  if (name === "softmax") run.k.softmax(address, sums.address, rows, port.features, stride);
  else if (name === "logSoftmax") run.k.logSoftmax(address, sums.address, rows, port.features, stride);
  else run.k.activate(kind, address, sums.address, n, alpha, beta);
  return { ...y, address, logits: fusable && { address: sums.address, activation: fusable } };
}

/** Turns y.gradient into the gradient of the sums, in place, and returns its address. */
export function activateBackward(run: Run, activation: ResolvedActivation, y: Value): number {
  const dy = y.gradient!;
  if (!y.fused && activation.name !== "linear") derivative(run, activation, dy, y, 0);
  return dy;
}

function derivative(
  run: Run,
  { kind, name, alpha, beta }: ResolvedActivation,
  dx: number,
  y: Value,
  accumulate: 0 | 1,
): void {
  const { k } = run;
  const { features } = y.port;
  if (name === "softmax") k.softmaxBackward(dx, y.gradient!, y.address, y.rows, features, y.stride, accumulate);
  else if (name === "logSoftmax")
    k.logSoftmaxBackward(dx, y.gradient!, y.address, y.rows, features, y.stride, accumulate);
  else k.activateBackward(kind, dx, y.gradient!, y.saved.x, y.address, y.rows * y.stride, alpha, beta, accumulate);
}
