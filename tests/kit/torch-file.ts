import { concat } from "../../host/formats/concat.ts";
import { writeZip } from "../../host/formats/zip.ts";
import type { Tensor } from "../../host/index.ts";

/** Files of PyTorch's, written without it: what its fixtures do not show, and what no program would write. */

/** Bytes of a pickle, written as text: "\x80\x02}." */
export const pickle = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Bytes of a number, the lowest first. */
export const le = (value: number, bytes: number) =>
  String.fromCharCode(...Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256));

/** A string, a whole number, a tuple and a dictionary of what is pickled already. */
export const str = (s: string) => `X${le(s.length, 4)}${s}`;
export const int = (n: number) => `J${le(n, 4)}`;
export const tuple = (...parts: string[]) => `(${parts.join("")}t`;
export const dict = (...pairs: string[]) => `}(${pairs.join("")}u`;

/** A tensor over a storage. */
export function view(
  offset: number,
  shape: readonly number[],
  stride: readonly number[],
  { count = 6, type = "FloatStorage", key = "0" } = {},
): string {
  const storage = `${tuple(str("storage"), `ctorch\n${type}\n`, str(key), str("cpu"), int(count))}Q`;
  const numbers = (values: readonly number[]) => tuple(...values.map(int));
  return `ctorch._utils\n_rebuild_tensor_v2\n${tuple(storage, int(offset), numbers(shape), numbers(stride), "\x89")}R`;
}

/** A file of torch.save: a pickle and the storages "0", "1"... that it names. */
export function archive(body: string, storages: readonly (readonly number[])[] = [[0, 1, 2, 3, 4, 5]]): Uint8Array {
  return writeZip(
    new Map([
      ["x/data.pkl", pickle(`\x80\x02${body}.`)],
      ...storages.map((numbers, i): [string, Uint8Array] => [
        `x/data/${i}`,
        new Uint8Array(Float32Array.from(numbers).buffer),
      ]),
    ]),
  );
}

/** The same as PyTorch before 1.6 wrote it, with storages of f32. */
export function legacy(body: string, storages: readonly (readonly number[])[], littleEndian = true): Uint8Array {
  const magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  const system = dict(str("little_endian"), littleEndian ? "\x88" : "\x89");
  const keys = `](${storages.map((_, i) => str(`${i}`)).join("")}e`;
  const head = [magic, "M\xe9\x03", system, body, keys].map((value) => pickle(`\x80\x02${value}.`));
  const tail = storages.flatMap((numbers) => [
    pickle(le(numbers.length, 8)),
    new Uint8Array(Float32Array.from(numbers).buffer),
  ]);
  return concat([...head, ...tail]);
}

/** Tensors as the attributes of modules within modules, as TorchScript has them. */
function scripted(pairs: readonly (readonly [name: string, tensor: string])[]): string {
  const inner = new Map<string, (readonly [string, string])[]>();
  const own: string[] = [];
  for (const [name, tensor] of pairs) {
    const dot = name.indexOf(".");
    if (dot < 0) own.push(str(name), tensor);
    else {
      const module = name.slice(0, dot);
      inner.set(module, [...(inner.get(module) ?? []), [name.slice(dot + 1), tensor]]);
    }
  }
  const modules = [...inner].flatMap(([name, of]) => [str(name), scripted(of)]);
  return `c__torch__.net\nModule\n)\x81${dict(str("training"), "\x89", ...own, ...modules)}b`;
}

/** A file with these tensors: a state dict, or a module of TorchScript. */
export function torchFile(tensors: Readonly<Record<string, Tensor>>, form: "dict" | "script" = "dict"): Uint8Array {
  const all = Object.entries(tensors);
  const pairs = all.map(([name, { shape, data }], i) => {
    const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    return [name, view(0, shape, stride, { count: data.length, key: `${i}` })] as const;
  });
  return archive(
    form === "script" ? scripted(pairs) : dict(...pairs.flatMap(([name, tensor]) => [str(name), tensor])),
    all.map(([, { data }]) => [...data]),
  );
}
