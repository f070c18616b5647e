import { readFileSync } from "node:fs";
import { adam, dense, gru, type Model, quantize, sequential, type Tensor, tensor } from "../host/index.ts";

/**
 * What int8 costs in accuracy.
 *
 *   node --import tsx bench/int8.ts                    output error of random models
 *   node --import tsx bench/int8.ts optdigits.tra      and accuracy on the digits, trained here
 *
 * optdigits.tra: lines of 64 numbers 0..16 and a class (UCI no. 80), read as 8 rows of 8.
 */

function noise(n: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const [B, T] = [8, 50];
for (const resetAfter of [true, false])
  for (const H of [16, 64, 256]) {
    const model = await sequential(
      [gru(H, { resetAfter, returnSequences: true }), gru(H, { resetAfter, returnSequences: true }), dense(10)],
      { inputShape: [null, H], seed: H },
    );
    const x = tensor(noise(B * T * H, H), [B, T, H]);
    const expected = (await model.predict(x)).data;
    const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    for (const calibration of [undefined, x]) {
      const small = await quantize(model, { precision: "int8", calibration });
      const got = (await small.predict(x)).data;
      const errors = expected.map((v, i) => Math.abs(v - got[i]) / largest);
      const rms = Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / errors.length);
      console.log(
        `reset ${resetAfter ? "after " : "before"} H=${String(H).padStart(3)} x 2, T=${T}, ${calibration ? "calibrated" : "dynamic   "}:`,
        `output error ${(100 * rms).toFixed(3)} % rms, ${(100 * Math.max(...errors)).toFixed(3)} % at most, of the largest output;`,
        `file ${(model.toBytes().length / small.toBytes().length).toFixed(2)} times smaller`,
      );
      small.dispose();
    }
    model.dispose();
  }

const file = process.argv[2];
if (file) {
  const lines = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(",").map(Number));
  const part = (from: number, to: number): [Tensor, Tensor<Int32Array>] => {
    const rows = lines.slice(from, to);
    return [
      tensor(
        Float32Array.from(
          rows.flatMap((row) => row.slice(0, 64)),
          (v) => v / 16,
        ),
        [rows.length, 8, 8],
      ),
      tensor(Int32Array.from(rows, (row) => row[64])),
    ];
  };
  const [xTrain, yTrain] = part(0, 2800);
  const [xTest, yTest] = part(2800, lines.length);
  const accuracy = async (model: Model) => 100 * (await model.evaluate(xTest, yTest)).accuracy;
  for (const seed of [1, 2, 3]) {
    const model = await sequential(
      [
        gru(128, { returnSequences: true }),
        gru(64, { returnSequences: true }),
        gru(32),
        dense(10, { activation: "softmax" }),
      ],
      { inputShape: [8, 8], seed },
    );
    model.compile({
      loss: "sparseCategoricalCrossentropy",
      optimizer: adam({ learningRate: 2e-3 }),
      metrics: ["accuracy"],
    });
    await model.fit(xTrain, yTrain, { epochs: 12, batchSize: 32, verbose: 0 });
    const float = await accuracy(model);
    for (const calibration of [undefined, xTrain]) {
      const small = await quantize(model, { precision: "int8", calibration });
      const [a, b] = [(await model.predict(xTest)).data, (await small.predict(xTest)).data];
      const int8 = await accuracy(small);
      console.log(
        `digits, seed ${seed}, ${yTest.data.length} tests, ${calibration ? "calibrated" : "dynamic"}: float32 ${float.toFixed(2)} %,`,
        `int8 ${int8.toFixed(2)} %, ${(int8 - float).toFixed(2)} points;`,
        `probabilities differ by ${Math.max(...a.map((v, i) => Math.abs(v - b[i]))).toFixed(4)} at most`,
      );
      small.dispose();
    }
    model.dispose();
  }
}
