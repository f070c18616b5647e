/** Milliseconds on the clock, and of the processor, which does not count while others run. */
export interface Spent {
  ms: number;
  cpu: number;
}

/** One of two that are compared. */
export interface Side {
  /** Runs so many calls one after the other; what they took in all. */
  run(calls: number): Promise<Spent>;
  close?(): unknown;
}

/** Per call, in the row's unit. */
export interface Times {
  median: number;
  min: number;
  max: number;
  samples: number;
}

export interface Comparison {
  ours: Times;
  theirs: Times;
  /** How many times as fast as theirs, by the medians. */
  ratio: number;
  /** The same by time of the processor: what the ratio would be if nobody else ran. */
  cpuRatio?: number;
  /** Quartiles of the ratios of neighbouring samples. */
  ratioSpread: { low: number; high: number };
}

export function summarize(sample: readonly number[], scale = 1): Times {
  const sorted = [...sample].sort((a, b) => a - b);
  const at = (i: number) => sorted[i] * scale;
  return { median: at(sorted.length >> 1), min: at(0), max: at(sorted.length - 1), samples: sorted.length };
}

export function versus(ours: readonly number[], theirs: readonly number[], scale = 1): Comparison {
  const [a, b] = [summarize(ours, scale), summarize(theirs, scale)];
  const pairs = ours.map((time, i) => theirs[i] / time).sort((x, y) => x - y);
  const quartile = (q: number) => pairs[Math.floor(q * (pairs.length - 1))];
  return { ours: a, theirs: b, ratio: b.median / a.median, ratioSpread: { low: quartile(0.25), high: quartile(0.75) } };
}

/** Milliseconds of one sample: long against the clock, shorter than the slices that schedulers deal in. */
const SAMPLE = 3;

/** Turns at least, however long they take. */
const LEAST = 5;

/** Warms a side up; milliseconds a call. */
async function calibrate(side: Side, milliseconds: number): Promise<number> {
  let spent = (await side.run(1)).ms;
  let cost = spent;
  // V8 replaces baseline code within the first calls; what takes a second a call is warm after one.
  for (let calls = 1; spent < milliseconds; calls = Math.min(2 * calls, 4096)) {
    const time = (await side.run(calls)).ms;
    spent += time;
    cost = Math.max(time, 1e-3) / calls;
  }
  return cost;
}

/**
 * Times two sides in turns, so that whatever else the machine does falls on
 * both.
 *
 * @param seconds for both together, after warming up
 */
export async function alternate(ours: Side, theirs: Side, seconds: number): Promise<Comparison> {
  const warm = seconds * 100;
  const cost = { ours: await calibrate(ours, warm), theirs: await calibrate(theirs, warm) };
  // A turn of the quicker side lasts at least a tenth of one call of the slower.
  const turn = Math.max(SAMPLE, cost.ours / 10, cost.theirs / 10);
  const calls = { ours: Math.ceil(turn / cost.ours), theirs: Math.ceil(turn / cost.theirs) };
  const samples = { ours: [] as Spent[], theirs: [] as Spent[] };
  const sample = async (name: "ours" | "theirs", side: Side) => {
    const { ms, cpu } = await side.run(calls[name]);
    samples[name].push({ ms: ms / calls[name], cpu: cpu / calls[name] });
  };
  const until = performance.now() + seconds * 1000;
  while (samples.ours.length < LEAST || performance.now() < until) {
    await sample("ours", ours);
    await sample("theirs", theirs);
  }
  const of = (name: "ours" | "theirs", what: keyof Spent) => samples[name].map((spent) => spent[what]);
  const cpuRatio = summarize(of("theirs", "cpu")).median / summarize(of("ours", "cpu")).median;
  return { ...versus(of("ours", "ms"), of("theirs", "ms")), cpuRatio };
}

/** What a piece of work in this process takes. */
export async function spend(work: () => unknown): Promise<Spent> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - start, cpu: (user + system) / 1000 };
}

/** A side in this process. */
export function inProcess(call: () => unknown, close?: () => unknown): Side {
  return {
    close,
    run: (calls) =>
      spend(async () => {
        for (let i = 0; i < calls; i++) {
          const result = call();
          if (result instanceof Promise) await result;
        }
      }),
  };
}

/**
 * Both outputs, before any timing.
 *
 * @param tolerance relative to the largest entry
 * @returns the largest difference, relative to the largest entry
 */
export function agree(what: string, ours: ArrayLike<number>, theirs: ArrayLike<number>, tolerance: number): number {
  if (ours.length !== theirs.length) throw new Error(`${what}: ${ours.length} numbers against ${theirs.length}`);
  let [largest, worst, where] = [0, 0, 0];
  for (let i = 0; i < ours.length; i++) {
    largest = Math.max(largest, Math.abs(theirs[i]));
    const difference = Math.abs(ours[i] - theirs[i]);
    if (!(difference <= worst)) [worst, where] = [difference, i];
  }
  if (!(worst <= tolerance * largest))
    throw new Error(
      `${what}: outputs differ by ${worst}, at ${where}: ours ${ours[where]}, theirs ${theirs[where]}; ` +
        `expected at most ${tolerance} of the largest, ${largest}`,
    );
  return worst / largest;
}
