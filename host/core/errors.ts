/** Base of every error that gruvy throws on purpose. */
export class GruvyError extends Error {
  override name = "GruvyError";
}

/** A tensor's shape, length or type does not fit where it was put. */
export class ShapeError extends GruvyError {
  override name = "ShapeError";
}

/** An option or argument is unknown or out of its range. */
export class OptionError extends GruvyError {
  override name = "OptionError";
}

/** A file or byte string is not what it claims to be, or cannot hold the model. */
export class FormatError extends GruvyError {
  override name = "FormatError";
}

/** The call is fine, but not now: not compiled, disposed, diverged, out of memory. */
export class StateError extends GruvyError {
  override name = "StateError";
}
