import { test } from "uvu";
import * as assert from "uvu/assert";
import { logMel, melExtractor } from "../../../host/audio/log-mel.ts";
import { melFilterbank } from "../../../host/audio/mel.ts";
import { OptionError, ShapeError } from "../../../host/core/errors.ts";
import { random } from "../../../host/core/random.ts";
import { logMelReference } from "../../reference/mel.ts";

const noise = (count: number) => {
  const draw = random(3, "noise");
  return Float32Array.from({ length: count }, () => 2 * draw.uniform() - 1);
};

for (const [windowLength, hopLength, fftSize, bands, scale] of [
  [200, 80, 256, 40, "slaney"],
  [17, 3, 32, 7, "htk"],
  [64, 64, 64, 1, "slaney"],
  [33, 50, 128, 5, "htk"],
] as const)
  test(`agrees with the definition: window ${windowLength}, hop ${hopLength}, transform ${fftSize}, ${bands} bands`, () => {
    const samples = noise(500);
    const options = { sampleRate: 8000, bands, scale };
    const { data } = melFilterbank({ ...options, fftSize });
    const bins = fftSize / 2 + 1;
    const filters = Array.from({ length: bands }, (_, b) => [...data.subarray(b * bins, (b + 1) * bins)]);
    const expected = logMelReference(samples, filters, { windowLength, hopLength, fftSize, floor: 1e-10 });
    const got = logMel(samples, { ...options, windowLength, hopLength, fftSize });
    assert.equal(got.shape, [1 + Math.floor((500 - windowLength) / hopLength), bands]);
    // All in double but the result: half an ulp of numbers below 32.
    expected.flat().forEach((value, i) => {
      assert.ok(Math.abs(got.data[i] - value) <= 1e-6, `at ${i}: expected ${value}, got ${got.data[i]}`);
    });
  });

test("a tone is loudest in the band whose middle is next to it", () => {
  const samples = Float32Array.from({ length: 8000 }, (_, n) => Math.sin((2 * Math.PI * 1000 * n) / 8000));
  const { shape, data } = logMel(samples, { sampleRate: 8000, bands: 24 });
  assert.equal(shape, [98, 24]);
  const frame = [...data.subarray(24 * 50, 24 * 51)];
  // 25 edges from 0 to 4 kHz: hzToMel(4000) = 35.16, a band each 1.406 mel; 1 kHz is 15 mel, 10.67 bands: row 9 or 10.
  assert.is(frame.indexOf(Math.max(...frame)), 10);
});

test("silence is the floor, and nothing is looked at after the last whole frame", () => {
  const samples = new Float32Array(300);
  samples.fill(1, 280);
  const { shape, data } = logMel(samples, { sampleRate: 8000, bands: 3, floor: 1e-6 });
  assert.equal(shape, [2, 3]);
  assert.ok(data.every((v) => Math.abs(v - Math.log(1e-6)) < 1e-6));
});

test("a frame at a time gives the same bits as all at once", () => {
  const samples = noise(1000);
  const options = { sampleRate: 8000, bands: 13 };
  const mel = melExtractor(options);
  const whole = logMel(samples, options);
  const out = new Float32Array(15);
  for (let t = 0; t < whole.shape[0]; t++) {
    mel.frame(out, samples.slice(t * mel.hopLength, t * mel.hopLength + mel.windowLength), 0, 1);
    assert.equal(out.slice(1, 14), whole.data.slice(t * 13, (t + 1) * 13));
  }
  assert.is(out[0] + out[14], 0, "nothing beside the bands is written");
});

test("what does not fit is refused by name", () => {
  const samples = noise(400);
  for (const [name, options] of [
    ["sampleRate", {}],
    ["fftSize", { sampleRate: 8000, fftSize: 300 }],
    ["fftSize", { sampleRate: 8000, fftSize: 128 }],
    ["hopLength", { sampleRate: 8000, hopLength: 0 }],
    ["windowLength", { sampleRate: 8000, windowLength: 2.5 }],
    ["floor", { sampleRate: 8000, floor: 0 }],
    ["windowSize", { sampleRate: 8000, windowSize: 100 }],
  ] as const)
    assert.throws(
      () => logMel(samples, options as never),
      (e: unknown) => e instanceof OptionError && e.message.includes(`"${name}"`),
      name,
    );
  assert.throws(
    () => logMel(samples.subarray(0, 199), { sampleRate: 8000 }),
    (e: unknown) => e instanceof ShapeError && /200 samples.*199/.test(e.message),
  );
  assert.throws(
    () => logMel([...samples.subarray(0, 210), Number.NaN], { sampleRate: 8000 }),
    (e: unknown) => e instanceof OptionError && /NaN at position 210/.test(e.message),
  );
  assert.throws(
    () => logMel("sound" as never, { sampleRate: 8000 }),
    (e: unknown) => e instanceof ShapeError && /"sound"/.test(e.message),
  );
});

test.run();
