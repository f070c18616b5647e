import Benchmark from "benchmark";

/** Times of one workload, in milliseconds a call. */
export interface Times {
  median: number;
  min: number;
  max: number;
  samples: number;
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
  return { median: sample[sample.length >> 1], min: sample[0], max: sample[sample.length - 1], samples: sample.length };
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
  return { median: sample[sample.length >> 1], min: sample[0], max: sample[sample.length - 1], samples: sample.length };
}
