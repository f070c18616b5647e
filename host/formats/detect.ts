import { isZip, readZip } from "./zip.ts";

/** What a file is, from its first bytes: looks that cost nothing, apart from the readers. */

/** PyTorch's magic number as pickles of protocol 2 on have it, and as earlier ones do: files from before 1.6. */
const MAGIC = ["\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "L119547037146038801333356L\n."];

/** Whether bytes begin as a file of `torch.save` does. */
export function isTorch(bytes: Uint8Array): boolean {
  if (!isZip(bytes)) {
    // Behind the number of the protocol, and of protocol 4 on the length of a frame.
    const start = String.fromCharCode(...bytes.subarray(0, 32));
    return MAGIC.some((magic) => [0, 2, 11].includes(start.indexOf(magic)));
  }
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
