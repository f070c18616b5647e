import Benchmark from "benchmark";

/** Times of one workload, in milliseconds a call. */
export interface Times {
  median: number;
  min: number;
  max: number;
  samples: number;
  /** The fastest of many single calls: what the machine can do when nobody disturbs it. */
  best: number;
}

/** The fastest of single calls, or of short series where one is too quick for the clock. */
function fastest(run: () => void, typical: number, seconds: number): number {
  const series = Math.max(1, Math.ceil(0.05 / typical));
  let best = Number.POSITIVE_INFINITY;
  const until = performance.now() + 300 * seconds;
  for (let i = 0; i < 5 || performance.now() < until; i++) {
    const start = performance.now();
    for (let j = 0; j < series; j++) run();
    best = Math.min(best, (performance.now() - start) / series);
  }
  return best;
}

/** Runs a workload with the benchmark package and keeps median, best and worst. */
export function measure(name: string, run: () => void, seconds: number): Times {
  // Warm: V8 replaces baseline code function by function within the first calls.
  const until = performance.now() + Math.min(200, seconds * 300);
  do run();
  while (performance.now() < until);
  const bench = new Benchmark(name, run, { maxTime: seconds, minTime: Math.min(0.05, seconds / 5), minSamples: 5 });
  bench.run();
  if (bench.error) throw bench.error;
  const sample = bench.stats.sample.map((s) => s * 1000).sort((a, b) => a - b);
  const median = sample[sample.length >> 1];
  return {
    median,
    min: sample[0],
    max: sample[sample.length - 1],
    samples: sample.length,
    best: fastest(run, median, seconds),
  };
}

/** The same for a workload that is a promise: plain timing, one call a sample. */
export async function measureAsync(run: () => Promise<unknown>, seconds: number): Promise<Times> {
  for (let i = 0; i < 3; i++) await run();
  const sample: number[] = [];
  const until = performance.now() + seconds * 1000;
  while (sample.length < 5 || performance.now() < until) {
    const start = performance.now();
    await run();
    sample.push(performance.now() - start);
  }
  sample.sort((a, b) => a - b);
  const [min, max] = [sample[0], sample[sample.length - 1]];
  return { median: sample[sample.length >> 1], min, max, samples: sample.length, best: min };
}
