/**
 * Log-mel energies as their definition says, in double precision: a Fourier sum a frequency, every filter over the whole
 * spectrum.
 *
 * @param filters [bands, fftSize / 2 + 1]
 * @returns one list of energies a frame
 */
export function logMelReference(
  samples: ArrayLike<number>,
  filters: readonly (readonly number[])[],
  { windowLength, hopLength, fftSize, floor }: Record<"windowLength" | "hopLength" | "fftSize" | "floor", number>,
): number[][] {
  const frames: number[][] = [];
  for (let at = 0; at + windowLength <= samples.length; at += hopLength) {
    const power = filters[0].map((_, k) => {
      let [re, im] = [0, 0];
      for (let n = 0; n < windowLength; n++) {
        const value = samples[at + n] * Math.sin((Math.PI * n) / windowLength) ** 2;
        re += value * Math.cos((2 * Math.PI * k * n) / fftSize);
        im -= value * Math.sin((2 * Math.PI * k * n) / fftSize);
      }
      return re * re + im * im;
    });
    frames.push(
      filters.map((row) =>
        Math.log(
          Math.max(
            floor,
            row.reduce((sum, w, k) => sum + w * power[k], 0),
          ),
        ),
      ),
    );
  }
  return frames;
}
