import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";
import { flatten, reshape, transpose } from "../../layers/reshape.ts";
import { type Converter, channelsLast, none, type Piece } from "./piece.ts";

/** Keras's layers that move numbers and change none. */

const nothing: Piece = { within: [], params: none };

export const convertFlatten: Converter = (c, { name, where, rank }) => {
  channelsLast(c, where);
  return rank === 2 ? nothing : { layer: flatten({ name }), within: [], mask: "ignores", rank: 2, params: none };
};

export const convertReshape: Converter = (c, { name, where }) => {
  const shape = Array.isArray(c.target_shape) ? c.target_shape.map((n) => n ?? -1) : [];
  if (shape.length < 1 || shape.length > 2)
    throw new FormatError(`${where}: to the shape ${shown(c.target_shape)}; gruvy has [features] and [time, features]`);
  return { layer: reshape(shape, { name }), within: [], mask: "ignores", rank: 1 + shape.length, params: none };
};

export const convertPermute: Converter = (c, { name, where }) => {
  const order = String(c.dims);
  if (order === "1" || order === "1,2") return nothing;
  if (order !== "2,1")
    throw new FormatError(`${where}: to the order ${shown(c.dims)}; gruvy exchanges time and features, (2, 1)`);
  return { layer: transpose({ name }), within: [], mask: "ignores", rank: 3, params: none };
};
