import { FormatError } from "../../core/errors.ts";
import { concat } from "../concat.ts";

/**
 * The wire format of Protocol Buffers, as far as ONNX uses it: varints,
 * 4 and 8 bytes, and bytes with their length. A reader skips the fields it
 * does not know, so newer files are read like older ones.
 *
 * Source: https://protobuf.dev/programming-guides/encoding
 */

/** One field of a message. */
export interface Field {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 bytes, 5 four bytes. */
  readonly wire: number;
  /** For varints; those past 2^53 are rounded. Signed, as int64 is. */
  readonly value: number;
  /** For all others: a view of the message. */
  readonly bytes: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** A place in a message, and what stands there. */
class Cursor {
  private at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly where: string,
  ) {}

  get more(): boolean {
    return this.at < this.bytes.length;
  }

  damaged(what: string): FormatError {
    return new FormatError(`${this.where}: damaged protobuf: ${what}`);
  }

  varint(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (!this.more) throw this.damaged("a number is cut off");
      const byte = this.bytes[this.at++];
      // Seven bits each: the first four fill 28 bits, the fifth is shared, the others are above.
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 15) << 28;
        high |= (byte & 127) >> 4;
      } else if (shift < 63) high |= (byte & 127) << (shift - 32);
      else high |= (byte & 1) << 31;
      if (byte < 128) return (high | 0) * 2 ** 32 + (low >>> 0);
    }
    throw this.damaged("a number of more than ten bytes");
  }

  take(length: number): Uint8Array {
    if (!(length >= 0 && length <= this.bytes.length - this.at))
      throw this.damaged(`expected ${length} bytes, got ${this.bytes.length - this.at}`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** @throws FormatError for a message that is cut off or no message at all */
export function* fields(message: Uint8Array, where: string): Generator<Field> {
  const cursor = new Cursor(message, where);
  while (cursor.more) {
    const tag = cursor.varint();
    const [number, wire] = [Math.floor(tag / 8), tag & 7];
    if (number < 1 || number > 2 ** 29) throw cursor.damaged(`a field with the number ${number}`);
    if (wire === 0) yield { number, wire, value: cursor.varint(), bytes: NOTHING };
    else if (wire === 1) yield { number, wire, value: 0, bytes: cursor.take(8) };
    else if (wire === 2) yield { number, wire, value: 0, bytes: cursor.take(cursor.varint()) };
    else if (wire === 5) yield { number, wire, value: 0, bytes: cursor.take(4) };
    else throw cursor.damaged(`a field of type ${wire}`);
  }
}

/** Numbers of a repeated field: one a field, or packed into one. */
export function pushVarints(to: number[], field: Field, where: string): void {
  if (field.wire === 0) {
    to.push(field.value);
    return;
  }
  const cursor = new Cursor(field.bytes, where);
  if (field.wire !== 2) throw cursor.damaged("expected numbers");
  while (cursor.more) to.push(cursor.varint());
}

export function text(bytes: Uint8Array): string {
  // A copy, as browsers do not decode shared memory.
  return new TextDecoder().decode(bytes.slice());
}

// --------------------------------------------------------------- writing

/** A message, or a part of one. */
export type Bytes = Uint8Array | readonly number[];

function varint(value: number): number[] {
  if (value < 0) {
    // int64 in two's complement: ten bytes.
    let rest = BigInt.asUintN(64, BigInt(value));
    const out: number[] = [];
    for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
    return [...out, Number(rest)];
  }
  const out: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return [...out, rest];
}

export function message(...parts: readonly Bytes[]): Uint8Array<ArrayBuffer> {
  return concat(parts);
}

export function int(field: number, value: number): Uint8Array {
  return message(varint(field * 8), varint(value));
}

export function float(field: number, value: number): Uint8Array {
  return message(varint(field * 8 + 5), new Uint8Array(Float32Array.of(value).buffer));
}

export function bytes(field: number, ...parts: readonly Bytes[]): Uint8Array {
  const body = message(...parts);
  return message(varint(field * 8 + 2), varint(body.length), body);
}

export function string(field: number, value: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(value));
}
