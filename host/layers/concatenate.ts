import { OptionError, ShapeError } from "../core/errors.ts";
import { checkOptions, shown } from "../core/options.ts";
import { type CallableLayer, callable } from "./callable.ts";
import { type BuiltLayer, type Mask, type Port, padded, type Run, type Value } from "./layer.ts";
import { bothMasks, checkSteps, commonPort } from "./merge.ts";
import { checkName } from "./name.ts";

export interface ConcatenateOptions {
  name?: string;
  /** -1: features after features. 1, of sequences: steps after steps. Default -1. */
  axis?: -1 | 1;
}

/**
 * Several inputs side by side, [batch, time, a + b], or one after the other,
 * [batch, a + b, features] (`axis: 1`).
 *
 * @example concatenate()([a, b])
 * @throws OptionError for unknown options
 * @throws ShapeError  when the inputs differ in the other axes
 */
export function concatenate(options: ConcatenateOptions = {}): CallableLayer {
  const where = "concatenate()";
  checkOptions(where, options, ["name", "axis"]);
  const axis = options.axis ?? -1;
  if (axis !== -1 && axis !== 1)
    throw new OptionError(`${where}: "axis" must be -1 (features) or 1 (time), got ${shown(axis)}`);
  return callable({
    type: "concatenate",
    name: checkName(where, options.name),
    arity: [2, Infinity],
    config: { axis },
    build(b, inputs) {
      // Without time, axis 1 is that of the features.
      return axis === 1 && inputs[0].sequence
        ? inTime(b.name, inputs)
        : ofFeatures(commonPort(b, inputs), inputs, b.name);
    },
  });
}

function ofFeatures(common: Port, inputs: readonly Port[], name: string): BuiltLayer {
  const features = inputs.reduce((sum, port) => sum + port.features, 0);
  const output: Port = { ...common, features };
  const stride = padded(features);
  /** Calls `use` with every input's place in a row, in elements. */
  const each = (values: readonly Value[], use: (x: Value, offset: number, end: number) => void) => {
    let offset = 0;
    for (const x of values) {
      use(x, offset, offset + x.port.features);
      offset += x.port.features;
    }
  };
  return {
    output,
    forward(run, values) {
      checkSteps(name, run, values);
      const { rows } = values[0];
      const address = run.saved("y", rows * stride);
      each(values, (x, offset, end) => {
        const clear = end === features ? stride - features : 0;
        run.k.putColumns(address + 4 * offset, x.address, rows, x.port.features, clear, stride, x.stride);
      });
      return { port: output, address, rows, stride, mask: bothMasks(run, values), saved: {} };
    },
    backward(run, values, y) {
      each(values, (x, offset) => {
        const dx = run.gradient(x);
        const dy = y.gradient! + 4 * offset;
        if (dx) run.k.takeColumns(dx.address, dy, x.rows, x.port.features, x.stride, stride, dx.accumulate);
      });
    },
  };
}

function inTime(name: string, inputs: readonly Port[]): BuiltLayer {
  const [{ features }] = inputs;
  for (const port of inputs) {
    if (port.type === "tokens") throw new ShapeError(`layer "${name}": expected numbers, got tokens`);
    if (!port.sequence || port.features !== features)
      throw new ShapeError(
        `layer "${name}": expected inputs [batch, time, ${features}], got [batch, ${port.sequence ? "time, " : ""}${port.features}]`,
      );
  }
  const fixed = inputs.every(({ steps }) => steps !== null);
  const steps = fixed ? inputs.reduce((sum, port) => sum + port.steps!, 0) : null;
  const output: Port = { features, sequence: true, steps, type: "values" };
  return {
    output,
    unstreamable: "it puts whole sequences one after the other",
    forward(run, values) {
      const rows = values.reduce((sum, x) => sum + x.rows, 0);
      const { stride } = values[0];
      const address = run.saved("y", rows * stride);
      let row = 0;
      for (const x of values) {
        run.k.copyRows(address + 4 * row * stride, x.address, 1, x.rows * stride, 0, 0);
        row += x.rows;
      }
      return { port: output, address, rows, stride, mask: masksInTime(run, values, rows), saved: {} };
    },
    backward(run, values, y) {
      const { stride } = y;
      let row = 0;
      for (const x of values) {
        const dx = run.gradient(x);
        const dy = y.gradient! + 4 * row * stride;
        if (dx?.accumulate) run.k.addTo(dx.address, dy, x.rows * stride);
        else if (dx) run.k.copyRows(dx.address, dy, 1, x.rows * stride, 0, 0);
        row += x.rows;
      }
    },
  };
}

/** The f32 whose bits are those of the i32 1: constants are f32. */
const ONE = 2 ** -149;

/** Masks one after the other; the steps of inputs without one count. */
function masksInTime(run: Run, values: readonly Value[], rows: number): Mask | undefined {
  if (!values.some(({ mask }) => mask)) return undefined;
  const address = run.mask("mask", rows);
  const one = values.every(({ mask }) => mask) ? 0 : run.constant("one", [ONE]);
  let row = 0;
  for (const { mask, rows: own } of values) {
    if (mask) run.k.copyRows(address + 4 * row, mask.address, 1, own, 0, 0);
    else run.k.copyRows(address + 4 * row, one, own, 1, 1, 0);
    row += own;
  }
  // Padding in the middle is a hole, whatever it was before.
  return { address, dialect: "holes" };
}
