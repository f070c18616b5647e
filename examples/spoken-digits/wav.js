/**
 * Recordings in WAV files: 16-bit numbers, one channel.
 */
import { readFileSync } from "node:fs";

/**
 * Reads a file.
 *
 * @returns {{ sampleRate: number, samples: Float32Array }} samples from -1 to 1
 */
export function readWav(file) {
  const bytes = readFileSync(file);
  const text = (at) => bytes.toString("latin1", at, at + 4);
  const refuse = (what) => {
    throw new Error(`${file}: expected a WAV file of 16-bit numbers, one channel; ${what}`);
  };
  if (bytes.length < 12 || text(0) !== "RIFF" || text(8) !== "WAVE") refuse("it does not begin as one");
  let sampleRate;
  // Chunks: a name, a length, that many bytes, and one more where the length is odd.
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4);
    const begin = at + 8;
    if (begin + length > bytes.length) refuse(`it ends within "${text(at)}"`);
    if (text(at) === "fmt " && length >= 16) {
      const [format, channels, bits] = [0, 2, 14].map((offset) => bytes.readUInt16LE(begin + offset));
      if (format !== 1 || channels !== 1 || bits !== 16)
        refuse(`it has format ${format}, ${channels} channels, ${bits} bits`);
      sampleRate = bytes.readUInt32LE(begin + 4);
    }
    if (text(at) === "data" && sampleRate !== undefined)
      return {
        sampleRate,
        samples: Float32Array.from({ length: length >> 1 }, (_, i) => bytes.readInt16LE(begin + 2 * i) / 32768),
      };
    at = begin + length + (length % 2);
  }
  return refuse("it has no sound");
}
