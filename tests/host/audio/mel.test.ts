import { test } from "uvu";
import * as assert from "uvu/assert";
import { hzToMel, type MelScale, melFilterbank, melToHz } from "../../../host/audio/mel.ts";
import { OptionError } from "../../../host/core/errors.ts";

const near = (got: number, expected: number, tolerance: number, what = "") =>
  assert.ok(Math.abs(got - expected) <= tolerance, `${what}: expected ${expected}, got ${got}`);

test("slaney: the examples of librosa's documentation", () => {
  near(hzToMel(60, "slaney"), 0.9, 1e-12);
  for (const [hz, mel] of [
    [110, 1.65],
    [220, 3.3],
    [440, 6.6],
  ])
    near(hzToMel(hz, "slaney"), mel, 1e-12);
  near(melToHz(3, "slaney"), 200, 1e-12);
  // Two octaves below and 6.4 times above the corner.
  near(hzToMel(250, "slaney"), 3.75, 1e-12);
  near(hzToMel(6400, "slaney"), 42, 1e-12);
});

test("htk: 1 kHz is 1000 mel", () => {
  near(hzToMel(1000, "htk"), 1000, 0.02);
  near(hzToMel(700, "htk"), 2595 * Math.log10(2), 1e-9);
});

for (const scale of ["slaney", "htk"] as MelScale[]) {
  test(`${scale}: to mel and back`, () => {
    for (const hz of [0, 1, 440, 999, 1000, 1001, 3999, 11025]) near(melToHz(hzToMel(hz, scale), scale), hz, 1e-8);
  });

  test(`${scale}: a filter rises from its left neighbour's middle to its own and falls to the right one's`, () => {
    const [sampleRate, fftSize, bands] = [8000, 256, 17];
    const { shape, data } = melFilterbank({ sampleRate, fftSize, bands, minFrequency: 100, maxFrequency: 3700, scale });
    assert.equal(shape, [17, 129]);
    const [low, high] = [hzToMel(100, scale), hzToMel(3700, scale)];
    const edges = Array.from({ length: bands + 2 }, (_, i) => melToHz(low + ((high - low) * i) / (bands + 1), scale));
    for (let b = 0; b < bands; b++) {
      const [left, middle, right] = edges.slice(b, b + 3);
      for (let k = 0; k < 129; k++) {
        const hz = (k * sampleRate) / fftSize;
        const triangle =
          hz <= left || hz >= right ? 0 : hz < middle ? (hz - left) / (middle - left) : (right - hz) / (right - middle);
        const expected = scale === "slaney" ? (triangle * 2) / (right - left) : triangle;
        near(data[b * 129 + k], expected, 1e-7, `band ${b}, column ${k}`);
      }
    }
  });
}

test("htk: between the first and the last middle the filters add up to 1", () => {
  const { data } = melFilterbank({ sampleRate: 16000, fftSize: 512, bands: 20, scale: "htk" });
  const first = melToHz(hzToMel(8000, "htk") / 21, "htk");
  const last = melToHz((hzToMel(8000, "htk") * 20) / 21, "htk");
  for (let k = 0; k < 257; k++) {
    const hz = (k * 16000) / 512;
    if (hz < first || hz > last) continue;
    let sum = 0;
    for (let b = 0; b < 20; b++) sum += data[b * 257 + k];
    near(sum, 1, 1e-6, `${hz} Hz`);
  }
});

test("what does not fit is refused by name", () => {
  const good = { sampleRate: 8000, fftSize: 256 };
  for (const [name, bad] of [
    ["sampleRate", { ...good, sampleRate: 0 }],
    ["fftSize", { ...good, fftSize: 1 }],
    ["bands", { ...good, bands: 1.5 }],
    ["maxFrequency", { ...good, maxFrequency: 4001 }],
    ["minFrequency", { ...good, minFrequency: 4000 }],
    ["scale", { ...good, scale: "bark" }],
    ["band", { ...good, band: 3 }],
    ["sampleRate", undefined],
  ] as const)
    assert.throws(
      () => melFilterbank(bad as never),
      (e: unknown) => e instanceof OptionError && e.message.includes(`"${name}"`),
      name,
    );
});

test.run();
