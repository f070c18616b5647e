import { test } from "uvu";
import * as assert from "uvu/assert";
import { random } from "../../../host/core/random.ts";
import { dense, type GruOptions, gru, type Layer, type Model, sequential, sgd } from "../../../host/index.ts";
import { close } from "../../kit/core.ts";
import { randomTensor, sameTensor, sameTensors } from "../../kit/models.ts";
import { dropout } from "../../reference/dropout.ts";
import { gruSequence, type Rows } from "../../reference/gru.ts";

/** What falls while training, against the twin with the same masks; without training nothing falls. */

const [B, T, I] = [3, 4, 3];
const SEED = 5;
const LENGTHS = [4, 1, 3];
const UNITS = [5, 9];

const FORMS: Record<string, GruOptions> = {
  dropout: { dropout: 0.4 },
  recurrentDropout: { recurrentDropout: 0.4 },
  zoneout: { zoneout: 0.4 },
  "all of them": { dropout: 0.3, recurrentDropout: 0.2, zoneout: 0.3 },
  "all, reset before": { dropout: 0.3, recurrentDropout: 0.2, zoneout: 0.3, resetAfter: false },
  "all, layer normalisation": { dropout: 0.3, recurrentDropout: 0.2, zoneout: 0.3, layerNorm: true },
};

const stack = (form: GruOptions): Layer[] => UNITS.map((units) => gru(units, { ...form, returnSequences: true }));

async function made(layers: Layer[]): Promise<Model> {
  const model = await sequential(layers, { inputShape: [null, I], seed: SEED });
  const weights = Object.entries(model.weights()).map(([name, { shape }], i) => [name, randomTensor(shape, i + 1)]);
  model.setWeights(Object.fromEntries(weights));
  model.compile({ loss: "meanSquaredError", optimizer: sgd({ learningRate: 1 }) });
  return model;
}

const nested = (values: ArrayLike<number> | undefined, n: number): Rows | undefined =>
  values && Array.from({ length: values.length / n }, (_, r) => Array.from({ length: n }, (_, j) => values[r * n + j]));

/** The loss of a training step of `stack(form)`, in double precision. */
function loss(
  form: GruOptions,
  weights: Record<string, Float64Array>,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  at: number,
): number {
  let rows: Rows[] = Array.from({ length: B }, (_, b) =>
    Array.from({ length: T }, (_, t) => Array.from({ length: I }, (_, j) => x[(b * T + t) * I + j])),
  );
  UNITS.forEach((H, layer) => {
    const name = layer ? `gru_${layer}` : "gru";
    const key: [number, number] = [random(SEED, name).uint32() | 0, at];
    const mask = (count: number, n: number, rate: number, first: number) =>
      nested(dropout(new Float64Array(count * n).fill(1), n, rate, key, first), n)!;
    const width = rows[0][0].length;
    const own = (part: string) => nested(weights[`${name}.${part}`], 3 * H);
    const inputs = form.dropout ? mask(B, width, form.dropout, 0) : undefined;
    const keep = form.recurrentDropout ? mask(B, H, form.recurrentDropout, B) : undefined;
    const zones = form.zoneout ? mask(T * B, H, 1 - form.zoneout, 2 * B) : undefined;
    rows = rows.map((steps, b) => {
      const seen = steps.map((row) => row.map((v, j) => v * (inputs?.[b][j] ?? 1)));
      const weights = {
        kernel: own("kernel")!,
        recurrent: own("recurrentKernel")!,
        bias: own("bias"),
        gamma: own("gamma"),
      };
      return gruSequence(seen, weights, {
        resetAfter: form.resetAfter,
        keep: keep?.[b],
        zones: zones && steps.map((_, t) => zones[t * B + b].map((v) => (v ? 1 : 0))),
        mask: steps.map((_, t) => (t < LENGTHS[b] ? 1 : 0)),
      }).outputs;
    });
  });
  let sum = 0;
  rows.forEach((steps, b) => {
    steps.slice(0, LENGTHS[b]).forEach((row, t) => {
      row.forEach((v, j) => {
        sum += (v - y[(b * T + t) * row.length + j]) ** 2;
      });
    });
  });
  return sum / (LENGTHS.reduce((a, b) => a + b, 0) * UNITS[1]);
}

for (const [name, form] of Object.entries(FORMS))
  test(`${name}: loss and gradients of training steps`, async () => {
    const model = await made(stack(form));
    const x = randomTensor([B, T, I], 21);
    const y = randomTensor([B, T, UNITS[1]], 22);
    for (const step of [0, 1]) {
      const before = model.weights();
      const told = await model.trainOnBatch(x, y, { lengths: LENGTHS });
      const after = model.weights();
      const point = Object.fromEntries(Object.entries(before).map(([k, t]) => [k, Float64Array.from(t.data)]));
      const value = () => loss(form, point, x.data, y.data, step);
      close([told.loss], [value()], 3e-6, `step ${step}: loss`);
      for (const [parameter, values] of Object.entries(point)) {
        const expected = values.map((v, i) => {
          const shifted = (shift: number) => {
            values[i] = v + shift;
            const l = value();
            values[i] = v;
            return l;
          };
          return (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
        });
        // With a learning rate of 1 the weights, of order 1, have moved by their gradients.
        const moved = before[parameter].data.map((v, i) => v - after[parameter].data[i]);
        close(moved, expected, 2e-5, `step ${step}: d ${parameter}`, 2e-7);
      }
    }
    model.dispose();
  });

test("outside of training nothing falls, and zoneout is its expectation", async () => {
  const x = randomTensor([B, T, I], 3);
  const plain = await made([gru(5), dense(2)]);
  const falling = await made([gru(5, { dropout: 0.5, recurrentDropout: 0.5 }), dense(2)]);
  const y = randomTensor([B, 2], 4);
  sameTensor(await falling.predict(x), await plain.predict(x), "predict");
  sameTensors((await falling.gradients(x, y)).gradients, (await plain.gradients(x, y)).gradients, "gradients");
  // The same seed and step draw the same masks again, another seed others.
  const runs = [await made(stack(FORMS["all of them"])), await made(stack(FORMS["all of them"]))];
  const target = randomTensor([B, T, UNITS[1]], 6);
  const losses = [];
  for (const model of runs) losses.push((await model.trainOnBatch(x, target)).loss);
  assert.is(losses[0], losses[1]);
  assert.is.not((await runs[0].gradients(x, target)).loss, losses[0]);
  for (const model of [plain, falling, ...runs]) model.dispose();
});

test.run();
