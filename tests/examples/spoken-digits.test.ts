import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { randomNumbers } from "../../examples/common/random.js";
import { joined, madeUp, readRecordings, SYMBOLS, WORDS } from "../../examples/spoken-digits/data.js";
import { batchOf, spelled, statistics, WIDTH } from "../../examples/spoken-digits/features.js";
import { run } from "../../examples/spoken-digits/train.js";
import { readWav } from "../../examples/spoken-digits/wav.js";

/** A WAV file as its format says: chunks of a name, a length, bytes. */
function wav(samples: number[], { format = 1, channels = 1, bits = 16, rate = 8000, before = "" } = {}): Buffer {
  const chunk = (name: string, body: Buffer) => {
    const head = Buffer.alloc(8);
    head.write(name, "latin1");
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
  };
  const about = Buffer.alloc(16);
  about.writeUInt16LE(format, 0);
  about.writeUInt16LE(channels, 2);
  about.writeUInt32LE(rate, 4);
  about.writeUInt32LE(rate * 2, 8);
  about.writeUInt16LE(2, 12);
  about.writeUInt16LE(bits, 14);
  const sound = Buffer.alloc(2 * samples.length);
  samples.forEach((v, i) => {
    sound.writeInt16LE(v, 2 * i);
  });
  const extra = before ? [chunk("LIST", Buffer.from(before))] : [];
  return chunk("RIFF", Buffer.concat([Buffer.from("WAVE"), chunk("fmt ", about), ...extra, chunk("data", sound)]));
}

test("a WAV file is read, whatever chunks it has besides; others are refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "wav-"));
  const file = join(folder, "a.wav");
  const read = (bytes: Buffer) => {
    writeFileSync(file, bytes);
    return readWav(file);
  };
  const samples = [0, 16384, -32768, 32767];
  const expected = { sampleRate: 8000, samples: Float32Array.from(samples, (v) => v / 32768) };
  assert.equal(read(wav(samples)), expected);
  assert.equal(read(wav(samples, { before: "odd" })), expected);
  assert.throws(() => read(wav(samples, { format: 3 })), /a\.wav.*format 3/);
  assert.throws(() => read(wav(samples, { channels: 2 })), /2 channels/);
  assert.throws(() => read(wav(samples).subarray(0, 48)), /ends within "data"/);
  assert.throws(() => read(wav(samples).subarray(0, 36)), /no sound/);
  assert.throws(() => read(Buffer.from("RIFX")), /does not begin/);
  rmSync(folder, { recursive: true });
});

test("recordings go by their index: 30 and above for testing, 28 and 29 for validation", () => {
  const folder = mkdtempSync(join(tmpdir(), "digits-"));
  mkdirSync(join(folder, "recordings"));
  for (const name of ["7_theo_5", "7_theo_27", "1_theo_28", "2_theo_29", "3_theo_30", "4_theo_34"])
    writeFileSync(join(folder, "recordings", `${name}.wav`), wav([1, 2, 3]));
  writeFileSync(join(folder, "recordings", "README"), "");
  const parts = readRecordings(folder);
  const digits = (recordings: { digit: number }[]) => recordings.map(({ digit }) => digit);
  assert.equal(
    [digits(parts.train), digits(parts.valid), digits(parts.test)],
    [
      [7, 7],
      [1, 2],
      [3, 4],
    ],
  );
  writeFileSync(join(folder, "recordings", "5_theo_5.wav"), wav([1], { rate: 16000 }));
  assert.throws(() => readRecordings(folder), /5_theo_5.*16000/);
  rmSync(folder, { recursive: true });
});

test("every recording is in one utterance, of three to seven but for the last", () => {
  const { train } = madeUp({ digits: 3, each: 20 }, randomNumbers(1));
  const utterances = joined(train, randomNumbers(2));
  const counts = utterances.map(({ text }) => text.split(" ").length);
  assert.is(
    counts.reduce((a, b) => a + b),
    60,
  );
  assert.ok(counts.slice(0, -1).every((n) => n >= 3 && n <= 7));
  const total = (list: { samples: Float32Array }[]) => list.reduce((sum, { samples }) => sum + samples.length, 0);
  assert.is(total(utterances), total(train));
  // The first word's samples are those of one of its recordings.
  const first = WORDS.indexOf(utterances[0].text.split(" ")[0]);
  assert.ok(
    train.some(({ digit, samples }) => digit === first && samples.every((v, i) => v === utterances[0].samples[i])),
  );
  assert.equal(joined(train, randomNumbers(2)), utterances);
  assert.not.equal(joined(train, randomNumbers(3)), utterances);
});

test("a batch is scaled over what is not padding, and spelled letter by letter", () => {
  const utterances = joined(madeUp({ digits: 3, each: 8 }, randomNumbers(1)).train, randomNumbers(2));
  const { x, y, lengths } = batchOf(utterances, statistics(utterances));
  assert.equal(x.shape, [utterances.length, Math.max(...lengths), WIDTH]);
  assert.equal(
    y.map(spelled),
    utterances.map(({ text }) => text),
  );
  assert.ok(y.flat().every((label) => label > 0 && label < SYMBOLS.length));
  // 25 ms of 8 kHz are 200 samples, a frame begins each 80, two make a step.
  utterances.forEach(({ samples }, i) => {
    assert.is(lengths[i], Math.floor((1 + Math.floor((samples.length - 200) / 80)) / 2));
  });
  let [sum, squares, steps] = [0, 0, 0];
  lengths.forEach((length, i) => {
    steps += length;
    for (let t = 0; t < x.shape[1]; t++) {
      const v = x.data[(i * x.shape[1] + t) * WIDTH + 3];
      if (t >= length) assert.is(v, 0);
      sum += v;
      squares += v * v;
    }
  });
  assert.ok(Math.abs(sum / steps) < 1e-4 && Math.abs(squares / steps - 1) < 1e-3, `${sum / steps}, ${squares / steps}`);
});

test("the quick form spells what it hears", async () => {
  const { figures, model } = await run({ quick: true, seed: 1, log: () => {} });
  const [[, greedy], [, beam]] = figures as [string, number][];
  assert.ok(greedy < 0.3 && beam < 0.3, JSON.stringify(figures));
  model.dispose();
});

test.run();
