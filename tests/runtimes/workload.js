/**
 * The same work in every runtime: two small models are trained 50 steps each,
 * streamed, saved to bytes and loaded again, and files of other programs are
 * loaded by URL. Plain ECMAScript over the built package; of the runtime it
 * uses only `crypto.subtle` and `performance`.
 *
 * The data is made of integers: the bits of Math.sin, exp and pow differ
 * between engines.
 */

/** Integers in [0, n), the same everywhere (mulberry32). */
function integers(seed) {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const STEPS = 50;
const BATCH = 16;
const TIME = 12;
const FEATURES = 6;
const CLASSES = 4;
const WORDS = 20;

/** Frames that lean towards their class in one feature, shifted by the time step. */
function frames(count, seed) {
  const next = integers(seed);
  const x = new Float32Array(count * TIME * FEATURES);
  const y = new Float32Array(count * CLASSES);
  for (let i = 0; i < count; i++) {
    const label = next(CLASSES);
    y[i * CLASSES + label] = 1;
    for (let t = 0; t < TIME; t++)
      for (let f = 0; f < FEATURES; f++)
        x[(i * TIME + t) * FEATURES + f] = (next(2049) - 1024) / 1024 + ((t + f) % CLASSES === label ? 0.5 : 0);
  }
  return { x: { shape: [count, TIME, FEATURES], data: x }, y: { shape: [count, CLASSES], data: y } };
}

/** Right-padded sentences of different lengths; the label asks whether the word 7 is in. */
function sentences(count, seed) {
  const next = integers(seed);
  const x = new Int32Array(count * TIME);
  const y = new Float32Array(count);
  const lengths = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    lengths[i] = 1 + next(TIME);
    for (let t = 0; t < lengths[i]; t++) {
      const word = next(3) === 0 ? 7 : next(WORDS);
      x[i * TIME + t] = word;
      if (word === 7) y[i] = 1;
    }
  }
  return { x: { shape: [count, TIME], data: x }, y: { shape: [count, 1], data: y }, lengths };
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sameBits(a, b) {
  const bits = (x) => new Int32Array(Float32Array.from(x).buffer);
  const [p, q] = [bits(a), bits(b)];
  return p.length === q.length && p.every((v, i) => v === q[i]);
}

/** Sequences to sequences to classes: shuffles, dropout, Adam, a schedule, clipping. */
async function classifier({ adam, cosineDecay, dense, dropout, gru, loadModel, sequential, warmUp }) {
  const model = await sequential(
    [gru(24, { returnSequences: true }), dropout(0.1), gru(16), dense(CLASSES, { activation: "softmax" })],
    { inputShape: [null, FEATURES], seed: 7 },
  );
  const learningRate = warmUp({ steps: 5, after: cosineDecay({ total: STEPS, learningRate: 0.01 }) });
  model.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate, globalClipNorm: 1 }) });
  const { x, y } = frames(BATCH * 10, 1);
  const history = await model.fit(x, y, { epochs: STEPS / 10, batchSize: BATCH, verbose: 0 });

  const test = frames(8, 2).x;
  const predictions = (await model.predict(test)).data;
  const stream = model.stream({ batch: 8 });
  let streamed;
  for (let t = 0; t < TIME; t++) {
    const frame = new Float32Array(8 * FEATURES);
    for (let b = 0; b < 8; b++)
      frame.set(test.data.subarray((b * TIME + t) * FEATURES, (b * TIME + t + 1) * FEATURES), b * FEATURES);
    streamed = stream.step(frame);
  }

  const bytes = model.toBytes({ training: true });
  const again = await loadModel(bytes);
  const reloaded = (await again.predict(test)).data;
  const out = {
    losses: history.history.loss,
    predictions: [...predictions],
    streams: sameBits(predictions, streamed),
    reloads: sameBits(predictions, reloaded),
    hash: await sha256(bytes),
  };
  stream.close();
  model.dispose();
  again.dispose();
  return out;
}

/** Words to a probability: embedding, lengths, layer norm, reset before the product, RMSprop. */
async function reader({ dense, embedding, gru, layerNorm, rmsprop, sequential }) {
  const model = await sequential(
    [
      embedding(WORDS, 8),
      gru(13, { resetAfter: false, returnSequences: true }),
      layerNorm(),
      gru(9),
      dense(1, { activation: "sigmoid" }),
    ],
    { inputShape: [null], seed: 8 },
  );
  model.compile({ loss: "binaryCrossentropy", optimizer: rmsprop({ learningRate: 0.01 }) });
  const losses = [];
  for (let step = 0; step < STEPS; step++) {
    const { x, y, lengths } = sentences(BATCH, 100 + step);
    losses.push((await model.trainOnBatch(x, y, { lengths })).loss);
  }
  const { x, lengths } = sentences(8, 3);
  const predictions = (await model.predict(x, { lengths })).data;
  const stream = model.stream();
  const streamed = Float32Array.from({ length: 8 }, (_, b) => {
    let y;
    stream.reset();
    for (let t = 0; t < lengths[b]; t++) y = stream.step([x.data[b * TIME + t]]);
    return y[0];
  });
  const out = {
    losses,
    predictions: [...predictions],
    streams: sameBits(predictions, streamed),
    reloads: true,
    hash: await sha256(model.toBytes()),
  };
  stream.close();
  model.dispose();
  return out;
}

/** The same model in files of every format, by URL: the bytes of what each predicts, hashed. */
async function foreign({ loadModel }, urls) {
  const { x } = frames(8, 4);
  const hashes = {};
  for (const url of urls) {
    const model = await loadModel(url);
    hashes[url.replace(/^.*\/models\//, "")] = await sha256((await model.predict(x)).data);
    model.dispose();
  }
  return hashes;
}

/**
 * @param gruvy the package's exports
 * @param mode  "deterministic" asks for the same bits everywhere, "default" for the fastest
 * @param urls  the same model in every format
 * @param path  a file to write to, where there are files
 */
export async function run(gruvy, mode, urls, path) {
  const start = performance.now();
  if (mode === "deterministic") await gruvy.configure({ deterministic: true });
  const results = [await classifier(gruvy), await reader(gruvy)];
  const milliseconds = performance.now() - start;
  const read = await foreign(gruvy, urls);
  return { ...gruvy.runtimeInfo(), milliseconds, results, foreign: read, files: await files(gruvy, path) };
}

/** Saving to a path works, or says what to do instead. */
async function files({ dense, loadModel, sequential }, path) {
  const model = await sequential([dense(2)], { inputShape: [3] });
  try {
    await model.save(path ?? "model.safetensors");
    return sameBits((await loadModel(path)).weights()["dense.kernel"].data, model.weights()["dense.kernel"].data)
      ? "saved and loaded"
      : "other weights came back";
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}
