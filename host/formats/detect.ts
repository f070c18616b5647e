import { isZip, readZip } from "./zip.ts";

/** What a file is, from its first bytes: looks that cost nothing, apart from the readers. */

/** PyTorch's magic number, in a pickle of its own: files from before 1.6. */
const MAGIC_PICKLE = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

/** Whether bytes begin as a file of `torch.save` does. */
export function isTorch(bytes: Uint8Array): boolean {
  if (!isZip(bytes)) return MAGIC_PICKLE.every((byte, i) => bytes[i] === byte);
  try {
    return [...readZip(bytes, "").keys()].some((name) => name.endsWith("/data.pkl"));
  } catch {
    return false;
  }
}

/** Whether bytes begin as an ONNX file does: the version of its IR, then another field that a model has. */
export function isOnnx(bytes: Uint8Array): boolean {
  const tags = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];
  return bytes.length > 4 && bytes[0] === 8 && bytes[1] > 0 && bytes[1] < 64 && tags.includes(bytes[2]);
}
