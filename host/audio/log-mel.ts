/*!
 * fft.js. This software is licensed under the MIT License.
 *
 * Copyright Fedor Indutny, 2017.
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 * documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
 * rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
 * persons to whom the Software is furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
 * Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
 * WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 * COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
 * OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 */
import FFT from "fft.js";
import { OptionError, ShapeError } from "../core/errors.ts";
import { cosPi, log, sinPi } from "../core/math.ts";
import { checkOptions, integer, real, shown } from "../core/options.ts";
import type { Tensor } from "../core/tensor.ts";
import { type MelFilterbankOptions, melFilterbank } from "./mel.ts";

export interface LogMelOptions extends Omit<MelFilterbankOptions, "fftSize"> {
  /** Samples of a frame. Default 25 ms. */
  windowLength?: number;
  /** Samples from one frame to the next. Default 10 ms. */
  hopLength?: number;
  /** A power of two of at least windowLength; frames are padded with zeros up to it. Default the smallest such. */
  fftSize?: number;
  /** Energies below this one count as it, before the logarithm. Default 1e-10. */
  floor?: number;
}

/** Log-mel energies a frame at a time, for streams; nothing is allocated by a frame. */
export interface LogMel {
  readonly bands: number;
  readonly windowLength: number;
  readonly hopLength: number;
  /**
   * Writes the energies of one frame.
   *
   * @param out     [bands] from `outAt` on
   * @param samples [windowLength] from `at` on, -1 to 1
   */
  frame(out: Float32Array, samples: Float32Array, at?: number, outAt?: number): void;
}

/**
 * Frame, Hann window, power spectrum, mel filters, natural logarithm.
 *
 * The window is the periodic one, sin²(πn / windowLength), as spectra want it (PyTorch, librosa). Frames lie wholly
 * within the signal: there is no padding at its ends (librosa's `center: false`).
 *
 * @example const mel = melExtractor({ sampleRate: 8000 }); mel.frame(features, samples, at)
 * @throws OptionError for unknown options and values out of range
 */
export function melExtractor(options: LogMelOptions): LogMel {
  const where = "melExtractor()";
  checkOptions(where, options, [
    "sampleRate",
    "windowLength",
    "hopLength",
    "fftSize",
    "bands",
    "minFrequency",
    "maxFrequency",
    "scale",
    "floor",
  ]);
  const sampleRate = real(where, "sampleRate", options?.sampleRate, "(0, inf)");
  const { windowLength = Math.round(sampleRate * 0.025), hopLength = Math.round(sampleRate * 0.01) } = options;
  integer(where, "windowLength", windowLength, 2, 2 ** 24);
  integer(where, "hopLength", hopLength, 1);
  let fftSize = 2;
  while (fftSize < windowLength) fftSize *= 2;
  fftSize = integer(where, "fftSize", options.fftSize ?? fftSize, fftSize, 2 ** 24);
  if ((fftSize & (fftSize - 1)) !== 0)
    throw new OptionError(`${where}: "fftSize" must be a power of two, got ${shown(fftSize)}`);
  const floor = real(where, "floor", options.floor ?? 1e-10, "(0, inf)");
  const { bands, minFrequency, maxFrequency, scale } = options;
  const filters = melFilterbank({ sampleRate, fftSize, bands, minFrequency, maxFrequency, scale });
  const [rows, bins] = filters.shape;

  const fft = new FFT(fftSize);
  // The library's own factors come from the engine's cosine; these have the same bits everywhere.
  for (let k = 0; k < fftSize; k++) {
    fft.table[2 * k] = cosPi((2 * k) / fftSize);
    fft.table[2 * k + 1] = -sinPi((2 * k) / fftSize);
  }
  const window = Float64Array.from({ length: windowLength }, (_, n) => (1 - cosPi((2 * n) / windowLength)) / 2);
  const spans = filterSpans(filters);
  const windowed = new Array<number>(fftSize).fill(0);
  const spectrum = fft.createComplexArray();
  const power = new Float64Array(bins);
  return {
    bands: rows,
    windowLength,
    hopLength,
    frame(out, samples, at = 0, outAt = 0) {
      for (let n = 0; n < windowLength; n++) windowed[n] = window[n] * samples[at + n];
      fft.realTransform(spectrum, windowed);
      for (let k = 0; k < bins; k++)
        power[k] = spectrum[2 * k] * spectrum[2 * k] + spectrum[2 * k + 1] * spectrum[2 * k + 1];
      for (let b = 0; b < rows; b++) {
        let energy = 0;
        for (let k = spans[2 * b]; k < spans[2 * b + 1]; k++) energy += filters.data[b * bins + k] * power[k];
        out[outAt + b] = log(Math.max(energy, floor));
      }
    },
  };
}

/** First column of each filter that is not zero, and the one after its last. */
function filterSpans({ shape: [bands, bins], data }: Tensor): Int32Array {
  const spans = new Int32Array(2 * bands);
  for (let b = 0; b < bands; b++) {
    const row = data.subarray(b * bins, (b + 1) * bins);
    spans[2 * b] = Math.max(
      0,
      row.findIndex((w) => w > 0),
    );
    spans[2 * b + 1] = row.findLastIndex((w) => w > 0) + 1;
  }
  return spans;
}

/**
 * Log-mel energies of a whole recording.
 *
 * @example const features = logMel(samples, { sampleRate: 16000 }) // [frames, 40]
 * @param samples -1 to 1, at least one frame of them; what is left after the last whole frame is not looked at
 * @returns [1 + floor((samples - windowLength) / hopLength), bands]
 * @throws OptionError for unknown options, values out of range, and samples that are not finite
 * @throws ShapeError for samples that do not fill a frame
 */
export function logMel(samples: Float32Array | readonly number[], options: LogMelOptions): Tensor {
  const where = "logMel()";
  const mel = melExtractor(options);
  const signal = samples instanceof Float32Array ? samples : Array.isArray(samples) ? Float32Array.from(samples) : null;
  if (!signal) throw new ShapeError(`${where}: expected samples in a Float32Array or an array, got ${shown(samples)}`);
  if (signal.length < mel.windowLength)
    throw new ShapeError(`${where}: expected at least ${mel.windowLength} samples, one frame, got ${signal.length}`);
  const bad = signal.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0)
    throw new OptionError(`${where}: samples have ${signal[bad]} at position ${bad}; expected finite numbers`);
  const frames = 1 + Math.floor((signal.length - mel.windowLength) / mel.hopLength);
  const data = new Float32Array(frames * mel.bands);
  for (let t = 0; t < frames; t++) mel.frame(data, signal, t * mel.hopLength, t * mel.bands);
  return { shape: [frames, mel.bands], data };
}
