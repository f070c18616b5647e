import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { OptionError } from "../../../host/core/errors.ts";
import {
  afterEpoch,
  cosineDecay,
  exponentialDecay,
  findPlateau,
  oneCycle,
  type PlateauState,
  plateauState,
  reduceOnPlateau,
  resolveSchedule,
  type Schedule,
  scheduleRate,
  stepDecay,
  warmUp,
} from "../../../host/optimizers/schedules.ts";

interface Fixture {
  config: Record<string, number>;
  inputs: { metric?: { data: number[] } };
  expected: { lr: { data: number[] } };
}

function fixture(name: string): Fixture {
  return JSON.parse(readFileSync(new URL(`../../fixtures/pytorch/optim/lr-${name}.json`, import.meta.url), "utf8"));
}

function at(schedule: Schedule, step: number, epoch = step, base = 0.1): number {
  return scheduleRate(schedule, base, { step, epoch });
}

/** The fixtures are float32, so 1e-6 relative is a few of their roundings. */
function close(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-6 * expected, `${what}: expected ${expected}, got ${actual}`);
}

const cases: Record<string, (config: Record<string, number>) => Schedule> = {
  step: (c) => stepDecay({ stepSize: c.step_size, gamma: c.gamma }),
  exponential: (c) => exponentialDecay({ gamma: c.gamma }),
  cosine: (c) => cosineDecay({ total: c.T_max, minimum: c.eta_min }),
  onecycle: (c) => oneCycle({ maxLearningRate: c.max_lr, totalSteps: c.total_steps }),
};

for (const [name, make] of Object.entries(cases))
  test(`${name} follows PyTorch`, () => {
    const { config, expected } = fixture(name);
    expected.lr.data.forEach((rate, k) => {
      close(at(make(config), k, k, config.base_lr), rate, `step ${k}`);
    });
  });

test("reduceOnPlateau follows PyTorch, also through JSON", () => {
  const { config, inputs, expected } = fixture("plateau");
  const { factor, patience, cooldown, threshold } = config;
  const schedule = reduceOnPlateau({ factor, patience, cooldown, threshold });
  let state = plateauState();
  expected.lr.data.forEach((rate, epoch) => {
    close(scheduleRate(schedule, config.base_lr, { step: 0, epoch, state }), rate, `epoch ${epoch}`);
    state = JSON.parse(JSON.stringify(afterEpoch(schedule, state, inputs.metric?.data[epoch] ?? 0)));
  });
});

/** PyTorch's ReduceLROnPlateau.step, line by line, with its mutable fields. */
function torchPlateau(metrics: number[], mode: "min" | "max", patience: number, cooldown: number): number[] {
  let [best, bad, cooling, rate] = [mode === "min" ? Infinity : -Infinity, 0, 0, 1];
  return metrics.map((m) => {
    if (mode === "min" ? m < best * (1 - 1e-4) : m > best * (1 + 1e-4)) {
      best = m;
      bad = 0;
    } else bad += 1;
    if (cooling > 0) {
      cooling -= 1;
      bad = 0;
    }
    if (bad > patience) {
      rate = Math.max(rate * 0.5, 0.05);
      cooling = cooldown;
      bad = 0;
    }
    return rate;
  });
}

test("reduceOnPlateau agrees with PyTorch's rule in both modes, with its floor", () => {
  const metrics = Array.from({ length: 60 }, (_, k) => 1 + ((k * 7919) % 13) / 10);
  for (const mode of ["min", "max"] as const)
    for (const [patience, cooldown] of [
      [0, 0],
      [1, 0],
      [0, 3],
      [2, 1],
      [4, 5],
    ]) {
      const schedule = reduceOnPlateau({ factor: 0.5, minimum: 0.05, mode, patience, cooldown });
      let state: PlateauState = plateauState();
      const rates = metrics.map((m, epoch) => {
        state = afterEpoch(schedule, state, m);
        return scheduleRate(schedule, 1, { step: 0, epoch, state });
      });
      assert.equal(rates, torchPlateau(metrics, mode, patience, cooldown), `${mode} ${patience} ${cooldown}`);
    }
});

test("a metric that is not a number counts as a bad epoch", () => {
  const schedule = reduceOnPlateau({ patience: 0 });
  const first = afterEpoch(schedule, plateauState(), 1);
  assert.is(afterEpoch(schedule, first, Number.NaN).reductions, 1);
  assert.is(afterEpoch(schedule, plateauState(), Number.NaN).best, null);
});

test("units: step and exponential count epochs, cosine, warm-up and one cycle count steps, unless told", () => {
  assert.is(at(stepDecay({ stepSize: 1, gamma: 0.5 }), 9, 1, 1), 0.5);
  assert.is(at(stepDecay({ stepSize: 1, gamma: 0.5, unit: "step" }), 2, 0, 1), 0.25);
  assert.is(at(exponentialDecay({ gamma: 0.5 }), 9, 1, 1), 0.5);
  assert.is(at(cosineDecay({ total: 10 }), 10, 0), 0);
  assert.is(at(cosineDecay({ total: 10, unit: "epoch" }), 99, 0), 0.1);
  assert.is(at(warmUp({ steps: 4 }), 1, 0, 1), 0.5);
  assert.is(at(warmUp({ steps: 4, unit: "epoch" }), 9, 1, 1), 0.5);
});

test("warm-up climbs in equal parts, then hands over from the start", () => {
  const cosine = cosineDecay({ total: 8 });
  const schedule = warmUp({ steps: 4, after: cosine });
  assert.equal(
    [0, 1, 2, 3].map((k) => at(schedule, k, 0, 1)),
    [0.25, 0.5, 0.75, 1],
  );
  for (let k = 0; k < 12; k++) assert.is(at(schedule, 4 + k, 0, 1), at(cosine, k, 0, 1));
  assert.is(at(warmUp({ steps: 4 }), 1000, 0, 1), 1);
});

test("warm-up passes a plateau's state through", () => {
  const schedule = warmUp({ steps: 2, after: reduceOnPlateau({ factor: 0.5 }) });
  assert.is(scheduleRate(schedule, 1, { step: 5, epoch: 3, state: { ...plateauState(), reductions: 2 } }), 0.25);
  assert.is(findPlateau(schedule)?.factor, 0.5);
  assert.is(findPlateau(cosineDecay({ total: 3 })), undefined);
});

test("a schedule's own rate replaces the optimizer's", () => {
  assert.is(at(exponentialDecay({ gamma: 0.5, learningRate: 4 }), 0, 1), 2);
  assert.is(at(warmUp({ steps: 2, after: cosineDecay({ total: 3, learningRate: 4 }) }), 0), 2);
});

test("schedules stay at their end", () => {
  assert.is(at(cosineDecay({ total: 5, minimum: 0.01 }), 100), 0.01);
  const cycle = oneCycle({ maxLearningRate: 1, totalSteps: 10 });
  assert.is(at(cycle, 1000), at(cycle, 9));
  close(at(cycle, 9), 1 / 25 / 1e4, "last rate");
});

test("one cycle may rise all the time or not at all", () => {
  const up = oneCycle({ maxLearningRate: 1, totalSteps: 5, pctStart: 1 });
  close(at(up, 4), 1, "last step");
  close(at(up, 0), 1 / 25, "first step");
  for (const schedule of [
    oneCycle({ maxLearningRate: 1, totalSteps: 5, pctStart: 0 }),
    oneCycle({ maxLearningRate: 1, totalSteps: 5, pctStart: 0.2 }),
    oneCycle({ maxLearningRate: 1, totalSteps: 1 }),
    oneCycle({ maxLearningRate: 1, totalSteps: 1, pctStart: 1 }),
  ])
    for (let k = 0; k < 8; k++) assert.ok(at(schedule, k) > 0 && at(schedule, k) <= 1, `step ${k}: ${at(schedule, k)}`);
});

test("a schedule survives JSON, and its JSON is checked", () => {
  for (const schedule of [
    stepDecay({ stepSize: 3 }),
    exponentialDecay({ gamma: 0.9 }),
    warmUp({ steps: 3, after: cosineDecay({ total: 9, minimum: 1e-4, learningRate: 0.3 }) }),
    oneCycle({ maxLearningRate: 0.4, totalSteps: 13 }),
    reduceOnPlateau({ mode: "max" }),
  ])
    assert.equal(resolveSchedule("test", JSON.parse(JSON.stringify(schedule))), schedule);
});

test("mistakes are named", () => {
  const refused = (make: () => unknown, message: RegExp) =>
    assert.throws(make, (e: unknown) => e instanceof OptionError && message.test(e.message), String(message));
  refused(() => stepDecay({ stepSize: 0 }), /stepDecay\(\): "stepSize" must be a whole number of at least 1, got 0/);
  refused(() => stepDecay(JSON.parse('{"stepsize":3}')), /unknown option "stepsize"; did you mean "stepSize"/);
  refused(() => stepDecay(undefined as never), /"stepSize".*got undefined/);
  refused(() => exponentialDecay({ gamma: -1 }), /"gamma" must be in \(0, inf\), got -1/);
  refused(() => cosineDecay(JSON.parse("{}")), /"total".*got undefined/);
  refused(() => cosineDecay({ total: 3, unit: "steps" as "step" }), /"unit".*did you mean "step"/);
  refused(
    () => oneCycle({ maxLearningRate: 1, totalSteps: 9, pctStart: 1.5 }),
    /"pctStart" must be in \[0, 1\], got 1.5/,
  );
  refused(() => reduceOnPlateau({ factor: 1 }), /"factor" must be in \(0, 1\), got 1/);
  refused(
    () => warmUp({ steps: 3, after: { name: "cosinDecay" } as never }),
    /warmUp\(\): "after": unknown schedule "cosinDecay"; did you mean "cosineDecay"/,
  );
  refused(() => resolveSchedule('adam(): "learningRate"', "cosine"), /adam\(\): "learningRate": expected a schedule/);
});

test.run();
