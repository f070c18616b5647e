/**
 * The parts of a WebAssembly binary that tests ask about, read by hand: not
 * every runtime that runs the tests compiles relaxed SIMD.
 */

export interface Wasm {
  /** "env.memory" */
  readonly imports: string[];
  readonly exports: { readonly name: string; readonly kind: Kind }[];
  /** Globals of the module's own. */
  readonly globals: number;
  /** Bytes of each function's body, in the order of the code section. */
  readonly bodies: number[];
}

const KINDS = ["function", "table", "memory", "global", "tag"] as const;
type Kind = (typeof KINDS)[number];

const [IMPORT, GLOBAL, EXPORT, CODE] = [2, 6, 7, 10];

export function readWasm(bytes: Uint8Array): Wasm {
  let at = 8; // past the magic and the version
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  const text = () => {
    const length = number();
    at += length;
    return new TextDecoder().decode(bytes.subarray(at - length, at));
  };
  const list = <T>(read: () => T): T[] => Array.from({ length: number() }, read);
  const imported = () => {
    const name = `${text()}.${text()}`;
    const kind = KINDS[bytes[at++]];
    if (kind === "function") number();
    else if (kind === "memory") {
      const flags = number();
      number();
      if (flags & 1) number();
    } else throw new Error(`import ${name} is a ${kind}`);
    return name;
  };
  const wasm = {
    imports: [] as string[],
    exports: [] as Wasm["exports"][number][],
    globals: 0,
    bodies: [] as number[],
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const end = number() + at;
    if (id === IMPORT) wasm.imports = list(imported);
    if (id === GLOBAL) wasm.globals = number();
    if (id === EXPORT)
      wasm.exports = list(() => {
        const entry = { name: text(), kind: KINDS[bytes[at++]] };
        number();
        return entry;
      });
    if (id === CODE)
      wasm.bodies = list(() => {
        const length = number();
        at += length;
        return length;
      });
    at = end;
  }
  return wasm;
}
