import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { padding1d } from "../../layers/padding1d.ts";
import { flatten, reshape, transpose } from "../../layers/reshape.ts";
import { type Converter, channelsLast, none, type Piece, type Shape, size } from "./piece.ts";

/** Keras's layers that move numbers, add zeros or leave some out, and change none. */

/** Numbers of a sample, where they are known. */
function productOf(shape: Shape): number | null {
  return shape ? size(shape.reduce<number>((product, n) => product * (n ?? Number.NaN), 1)) : null;
}

const nothing: Piece = { within: [], params: none };

export const convertFlatten: Converter = (c, { name, where, rank }) => {
  channelsLast(c, where);
  if (rank === 2) return nothing;
  return { layer: flatten({ name }), within: [], mask: "ignores", shape: (input) => [productOf(input)], params: none };
};

export const convertReshape: Converter = (c, { name, where }) => {
  const shape = Array.isArray(c.target_shape) ? c.target_shape.map((n) => n ?? -1) : [];
  if (shape.length < 1 || shape.length > 2)
    throw new FormatError(`${where}: to the shape ${shown(c.target_shape)}; gruvy has [features] and [time, features]`);
  return {
    layer: reshape(shape, { name }),
    within: [],
    mask: "ignores",
    shape(input) {
      const known = shape.reduce((product, n) => (n === -1 ? product : product * n), 1);
      return shape.map((n) => size(n === -1 ? (productOf(input) ?? Number.NaN) / known : n));
    },
    params: none,
  };
};

export const convertPermute: Converter = (c, { name, where }) => {
  const order = String(c.dims);
  if (order === "1" || order === "1,2") return nothing;
  if (order !== "2,1")
    throw new FormatError(`${where}: to the order ${shown(c.dims)}; gruvy exchanges time and features, (2, 1)`);
  return {
    layer: transpose({ name }),
    within: [],
    mask: "ignores",
    shape: (input) => input && [...input].reverse(),
    params: none,
  };
};

/** Steps of zeros at both ends, or steps cut off. @param sign of what the option counts */
const ends =
  (option: "padding" | "cropping", sign: 1 | -1): Converter =>
  (c, { name, where }) => {
    channelsLast(c, where);
    const given = c[option] ?? 1;
    const [before, after] = Array.isArray(given) ? given : [given, given];
    if (![before, after].every((n) => Number.isSafeInteger(n) && n >= 0))
      throw new FormatError(`${where}: ${option} ${shown(given)}; expected steps, such as [1, 1]`);
    return {
      layer: padding1d({ name, before: sign * before || 0, after: sign * after || 0 }),
      within: [],
      mask: "ignores",
      shape: (input) => input && [size((input[0] ?? Number.NaN) + sign * (before + after)), ...input.slice(1)],
      params: none,
    };
  };

export const convertPadding = ends("padding", 1);
export const convertCropping = ends("cropping", -1);
