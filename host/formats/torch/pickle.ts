import { FormatError } from "../../core/errors.ts";
import { shown } from "../../core/options.ts";

/**
 * Python pickles, protocols 0 to 5, as data: a stack machine whose opcodes
 * make numbers, strings, lists and dictionaries. Where a pickle wants a Python
 * function called, one of ours with that name is called, or the file is
 * refused by the name: nothing in it can name anything else.
 *
 * Every opcode takes a byte at least and makes one value at most, so a pickle
 * costs memory in proportion to its length.
 *
 * Source: CPython, Lib/pickletools.py.
 */

/** None, booleans, numbers (BigInt past 2^53), strings, bytes, lists and tuples, dictionaries, sets, and what `make` gave. */
export type Pickled = unknown;

/** A class or function that a pickle names. `make` stands in for calling it. */
export class Global {
  constructor(
    readonly name: string,
    readonly make?: (args: readonly Pickled[]) => Pickled,
  ) {}
}

/** An object of a class of which nothing matters but its attributes. */
export class Instance {
  attributes?: Pickled;
}

/** Why a name is not allowed, when there is no more to say. */
const DEFAULT = "only tensors in dictionaries and lists are read; save model.state_dict()";

/** What a reader of pickles allows. */
export interface Allowed {
  /** By "module.name". A function is called with the arguments; `null` may be named but not called. */
  readonly globals: Pick<ReadonlyMap<string, ((args: readonly Pickled[]) => Pickled) | null>, "get">;
  /** Why a name is not allowed, where there is more to say of it. */
  readonly why?: (name: string) => string | undefined;
  /** What a persistent id stands for, such as a storage kept beside the pickle. */
  readonly persistent?: (id: Pickled) => Pickled;
}

/** Marks a place on the stack. */
const MARK = Symbol("mark");

/** Longest number in bytes; PyTorch's magic number has 10. */
const LONGEST_NUMBER = 64;

/**
 * Reads one pickle.
 *
 * @param at    where it begins
 * @param where named in errors
 * @returns the value, and where the pickle ends
 * @throws FormatError for whatever is damaged or not allowed
 */
export function unpickle(
  bytes: Uint8Array,
  at: number,
  allowed: Allowed,
  where: string,
): { value: Pickled; end: number } {
  const machine = new Machine(bytes, at, allowed, where);
  return { value: machine.run(), end: machine.at };
}

class Machine {
  private readonly stack: unknown[] = [];
  private readonly memo = new Map<number, Pickled>();
  private readonly view: DataView;

  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
    private readonly allowed: Allowed,
    private readonly where: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  run(): Pickled {
    for (;;) {
      const start = this.at;
      const opcode = this.u8();
      if (opcode === 0x2e) return this.pop(); // STOP
      const operation = OPERATIONS[opcode];
      if (!operation) throw this.error(`opcode 0x${opcode.toString(16)} at byte ${start} is none of a pickle's`);
      operation(this);
    }
  }

  error(what: string): FormatError {
    return new FormatError(`${this.where}: pickle: ${what}`);
  }

  // ------------------------------------------------------------ operands

  /** Moves on by `n` bytes, and gives where they begin. */
  private take(n: number): number {
    const start = this.at;
    if (n > this.bytes.length - start)
      throw this.error(`expected ${n} bytes at byte ${start}, got ${this.bytes.length - start}`);
    this.at += n;
    return start;
  }
  u8(): number {
    return this.bytes[this.take(1)];
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  u64(): number {
    const at = this.take(8);
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
  }
  f64(): number {
    return this.view.getFloat64(this.take(8), false);
  }
  /** A number written in digits. */
  digits(line: string, pattern: RegExp): number | bigint {
    if (!pattern.test(line)) throw this.error(`expected a number, got ${shown(line)}`);
    const value = Number(line);
    return Number.isSafeInteger(value) || !/^-?\d+$/.test(line) ? value : BigInt(line);
  }
  slice(n: number): Uint8Array {
    const start = this.take(n);
    return this.bytes.slice(start, start + n);
  }
  text(n: number): string {
    return new TextDecoder().decode(this.slice(n));
  }
  line(): string {
    const end = this.bytes.indexOf(10, this.at);
    if (end < 0) throw this.error(`a line at byte ${this.at} without an end`);
    const line = this.text(end - this.at);
    this.at = end + 1;
    return line;
  }
  /** Two's complement, little-endian. */
  long(n: number): number | bigint {
    if (n > LONGEST_NUMBER) throw this.error(`a number of ${n} bytes; expected at most ${LONGEST_NUMBER}`);
    let value = 0n;
    this.slice(n).forEach((byte, i) => {
      value |= BigInt(byte) << BigInt(8 * i);
    });
    value = BigInt.asIntN(8 * n, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  // --------------------------------------------------------------- stack

  push(value: unknown): void {
    this.stack.push(value);
  }
  pop(): Pickled {
    const value = this.stack.pop();
    if (value === undefined || value === MARK) throw this.error(`nothing on the stack at byte ${this.at}`);
    return value;
  }
  top(): Pickled {
    const value = this.pop();
    this.push(value);
    return value;
  }
  mark(): void {
    this.push(MARK);
  }
  /** Everything after the last mark. */
  popMark(): Pickled[] {
    const from = this.stack.lastIndexOf(MARK);
    if (from < 0) throw this.error(`no mark on the stack at byte ${this.at}`);
    const values = this.stack.splice(from + 1);
    this.stack.pop();
    return values;
  }
  put(index: number): void {
    this.memo.set(index, this.top());
  }
  memoize(): void {
    this.put(this.memo.size);
  }
  get(index: number): void {
    if (!this.memo.has(index)) throw this.error(`nothing was kept as ${index}`);
    this.push(this.memo.get(index));
  }

  // -------------------------------------------------------------- values

  extend(values: readonly Pickled[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.error(`expected a list to add to, got ${shown(list)}`);
    for (const value of values) list.push(value);
  }
  add(values: readonly Pickled[]): void {
    const set = this.top();
    if (!(set instanceof Set)) throw this.error(`expected a set to add to, got ${shown(set)}`);
    for (const value of values) set.add(value);
  }
  set(pairs: readonly Pickled[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) throw this.error(`expected a dictionary to add to, got ${shown(dict)}`);
    if (pairs.length % 2) throw this.error("a key without a value");
    for (let i = 0; i < pairs.length; i += 2) dict.set(pairs[i], pairs[i + 1]);
  }
  global(module: Pickled, name: Pickled): void {
    if (typeof module !== "string" || typeof name !== "string") throw this.error("a name that is not a string");
    const full = `${module}.${name}`;
    const make = this.allowed.globals.get(full);
    if (make === undefined) throw this.error(`${shown(full)} is not allowed: ${this.allowed.why?.(full) ?? DEFAULT}`);
    this.push(new Global(full, make ?? undefined));
  }
  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof Global) || !callee.make)
      throw this.error(`${callee instanceof Global ? `"${callee.name}"` : shown(callee)} may not be called`);
    if (!Array.isArray(args)) throw this.error(`expected arguments of "${callee.name}", got ${shown(args)}`);
    const value = callee.make(args);
    this.push(value === undefined ? null : value);
  }
  /** Attributes of an object, such as a state dict's `_metadata`: of data nothing of ours reads them. */
  build(): void {
    const attributes = this.pop();
    const object = this.top();
    if (object instanceof Instance) object.attributes = attributes;
  }
  persistent(): void {
    const id = this.pop();
    if (!this.allowed.persistent) throw this.error("refers to something outside of the file");
    this.push(this.allowed.persistent(id));
  }
}

/** Integers as text: the numbers have at most as many digits as `LONGEST_NUMBER` bytes hold. */
const INTEGER = /^-?\d{1,154}$/;
const FLOAT = /^-?(\d+(\.\d*)?(e[+-]?\d+)?|inf|nan)$/i;

/** Opcodes that share something with other files or processes. */
const outside = (m: Machine) => {
  throw m.error("refers to something outside of the file");
};

const OPERATIONS: Readonly<Record<number, (m: Machine) => void>> = {
  40: (m) => m.mark(),
  41: (m) => m.push([]), // EMPTY_TUPLE
  48: (m) => void m.pop(), // POP
  49: (m) => void m.popMark(), // POP_MARK
  50: (m) => m.push(m.top()), // DUP
  66: (m) => m.push(m.slice(m.u32())), // BINBYTES
  67: (m) => m.push(m.slice(m.u8())), // SHORT_BINBYTES
  70: (m) => m.push(m.digits(m.line(), FLOAT)), // FLOAT
  71: (m) => m.push(m.f64()), // BINFLOAT
  73: (m) => {
    const line = m.line(); // INT, and before protocol 2 booleans
    m.push(line === "01" ? true : line === "00" ? false : m.digits(line, INTEGER));
  },
  74: (m) => m.push(m.i32()), // BININT
  75: (m) => m.push(m.u8()), // BININT1
  76: (m) => m.push(m.digits(m.line().replace(/L$/, ""), INTEGER)), // LONG
  77: (m) => m.push(m.u16()), // BININT2
  78: (m) => m.push(null), // NONE
  80: outside, // PERSID
  81: (m) => m.persistent(), // BINPERSID
  82: (m) => m.call(), // REDUCE
  83: (m) => m.push(m.line().replace(/^(['"])(.*)\1$/, "$2")), // STRING: escapes stay as they are written
  84: (m) => m.push(m.text(m.u32())), // BINSTRING
  85: (m) => m.push(m.text(m.u8())), // SHORT_BINSTRING
  86: (m) => m.push(m.line()), // UNICODE: as STRING
  88: (m) => m.push(m.text(m.u32())), // BINUNICODE
  93: (m) => m.push([]), // EMPTY_LIST
  97: (m) => m.extend([m.pop()]), // APPEND
  98: (m) => m.build(), // BUILD
  99: (m) => m.global(m.line(), m.line()), // GLOBAL
  100: (m) => {
    const pairs = m.popMark(); // DICT
    m.push(new Map());
    m.set(pairs);
  },
  101: (m) => m.extend(m.popMark()), // APPENDS
  103: (m) => m.get(Number(m.digits(m.line(), INTEGER))), // GET
  104: (m) => m.get(m.u8()), // BINGET
  105: (m) => {
    const args = m.popMark(); // INST
    m.global(m.line(), m.line());
    m.push(args);
    m.call();
  },
  106: (m) => m.get(m.u32()), // LONG_BINGET
  108: (m) => m.push(m.popMark()), // LIST
  111: (m) => {
    const [callee, ...args] = m.popMark(); // OBJ
    m.push(callee);
    m.push(args);
    m.call();
  },
  112: (m) => m.put(Number(m.digits(m.line(), INTEGER))), // PUT
  113: (m) => m.put(m.u8()), // BINPUT
  114: (m) => m.put(m.u32()), // LONG_BINPUT
  115: (m) => {
    const value = m.pop(); // SETITEM
    m.set([m.pop(), value]);
  },
  116: (m) => m.push(m.popMark()), // TUPLE
  117: (m) => m.set(m.popMark()), // SETITEMS
  125: (m) => m.push(new Map()), // EMPTY_DICT
  128: (m) => {
    const protocol = m.u8();
    if (protocol > 5) throw m.error(`protocol ${protocol}; expected 0 to 5`);
  },
  129: (m) => m.call(), // NEWOBJ
  130: outside, // EXT1
  131: outside, // EXT2
  132: outside, // EXT4
  133: (m) => m.push([m.pop()]), // TUPLE1
  134: (m) => {
    const b = m.pop(); // TUPLE2
    m.push([m.pop(), b]);
  },
  135: (m) => {
    const c = m.pop(); // TUPLE3
    const b = m.pop();
    m.push([m.pop(), b, c]);
  },
  136: (m) => m.push(true), // NEWTRUE
  137: (m) => m.push(false), // NEWFALSE
  138: (m) => m.push(m.long(m.u8())), // LONG1
  139: (m) => m.push(m.long(m.u32())), // LONG4
  140: (m) => m.push(m.text(m.u8())), // SHORT_BINUNICODE
  141: (m) => m.push(m.text(m.u64())), // BINUNICODE8
  142: (m) => m.push(m.slice(m.u64())), // BINBYTES8
  143: (m) => m.push(new Set()), // EMPTY_SET
  144: (m) => m.add(m.popMark()), // ADDITEMS
  145: (m) => m.push(new Set(m.popMark())), // FROZENSET
  146: (m) => {
    const named = m.pop(); // NEWOBJ_EX
    if (!(named instanceof Map) || named.size) throw m.error("a call with arguments by name");
    m.call();
  },
  147: (m) => {
    const name = m.pop(); // STACK_GLOBAL
    m.global(m.pop(), name);
  },
  148: (m) => m.memoize(), // MEMOIZE
  149: (m) => void m.u64(), // FRAME: a hint for buffered readers
  150: (m) => m.push(m.slice(m.u64())), // BYTEARRAY8
  151: outside, // NEXT_BUFFER
  152: outside, // READONLY_BUFFER
};
