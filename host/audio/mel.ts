import { exp, log } from "../core/math.ts";
import { checkOptions, integer, oneOf, real } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";

/**
 * Pitch as the ear hears it, and filters evenly spaced in it.
 *
 * "slaney": linear up to 1 kHz (15 mel), 27 mel for a factor of 6.4 above; the filters are triangles of equal area.
 *   Source: M. Slaney 1998, "Auditory Toolbox", Interval Research Technical Report 1998-010. librosa's default.
 * "htk": 2595 log10(1 + f / 700); the filters are triangles of height 1.
 *   Source: The HTK Book, section 5.4. torchaudio's default.
 */
export type MelScale = "slaney" | "htk";

export const SCALES = ["slaney", "htk"] as const;

/** Hz a mel below the corner, and mel where it is. */
const LINEAR = 200 / 3;
const CORNER = 15;
/** Mel a unit of ln f above the corner. */
const SLOPE = 27 / log(6.4);
const HTK = 2595 / log(10);

/** Hz to mel. */
export function hzToMel(hz: number, scale: MelScale): number {
  if (scale === "htk") return HTK * log(1 + hz / 700);
  const mel = hz / LINEAR;
  return mel < CORNER ? mel : CORNER + SLOPE * log(hz / (CORNER * LINEAR));
}

/** Mel to Hz. */
export function melToHz(mel: number, scale: MelScale): number {
  if (scale === "htk") return 700 * (exp(mel / HTK) - 1);
  return mel < CORNER ? mel * LINEAR : CORNER * LINEAR * exp((mel - CORNER) / SLOPE);
}

export interface MelFilterbankOptions {
  /** Samples a second. */
  sampleRate: number;
  /** Length of the Fourier transform; the filters have fftSize / 2 + 1 columns. */
  fftSize: number;
  /** Filters. Default 40. */
  bands?: number;
  /** Where the first filter begins, in Hz. Default 0. */
  minFrequency?: number;
  /** Where the last one ends. Default half the sample rate. */
  maxFrequency?: number;
  /** Default "slaney". */
  scale?: MelScale;
}

/**
 * Triangular filters, spaced evenly in mel: row b rises from the middle of band b - 1 to its own and falls to that of
 * b + 1. The product with a power spectrum gives the energies of the bands.
 *
 * @example melFilterbank({ sampleRate: 8000, fftSize: 256, bands: 40 })
 * @returns [bands, fftSize / 2 + 1]
 * @throws OptionError for unknown options and values out of range
 */
export function melFilterbank(options: MelFilterbankOptions): Tensor {
  const where = "melFilterbank()";
  checkOptions(where, options, ["sampleRate", "fftSize", "bands", "minFrequency", "maxFrequency", "scale"]);
  const sampleRate = real(where, "sampleRate", options?.sampleRate, "(0, inf)");
  const fftSize = integer(where, "fftSize", options.fftSize, 2);
  const bands = integer(where, "bands", options.bands ?? 40, 1);
  const nyquist = sampleRate / 2;
  const high = real(where, "maxFrequency", options.maxFrequency ?? nyquist, `(0, ${nyquist}]`);
  const low = real(where, "minFrequency", options.minFrequency ?? 0, `[0, ${high})`);
  const scale = oneOf(where, "scale", options.scale ?? "slaney", SCALES);

  const [from, to] = [hzToMel(low, scale), hzToMel(high, scale)];
  const edge = (i: number) => melToHz(from + ((to - from) * i) / (bands + 1), scale);
  const bins = Math.floor(fftSize / 2) + 1;
  const data = new Float32Array(bands * bins);
  for (let b = 0; b < bands; b++) {
    const [left, middle, right] = [edge(b), edge(b + 1), edge(b + 2)];
    const height = scale === "slaney" ? 2 / (right - left) : 1;
    for (let k = 0; k < bins; k++) {
      const hz = (k * sampleRate) / fftSize;
      const up = (hz - left) / (middle - left);
      const down = (right - hz) / (right - middle);
      data[b * bins + k] = height * Math.max(0, Math.min(up, down));
    }
  }
  return { shape: [bands, bins], data };
}
