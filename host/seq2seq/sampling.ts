import { random } from "../core/random.ts";
import type { Network } from "../stacks/network.ts";
import type { Pairs } from "./pairs.ts";
import { type Encoded, StepDecoder } from "./step-decoder.ts";

/**
 * Scheduled sampling: the decoder's inputs, each with some probability the
 * likeliest token that the decoder itself gives after the inputs before it.
 * Which tokens are read is decided step by step, as in translating; then the
 * whole sequence is trained on at once. So no gradient goes through the
 * choice, as in the paper; what ends a sequence (0) is never read inside one.
 *
 * Source: Bengio et al. 2015, arXiv:1506.03099, section 2.4.
 */
export async function mixed(
  pairs: Pairs,
  decoder: Network,
  encoded: Encoded,
  probability: number,
  seed: number,
  epoch: number,
): Promise<Pairs> {
  const [rows, steps] = pairs.input.shape;
  const data = pairs.input.data.slice();
  // The same batch draws the same in every run: by its epoch and what is in it.
  const next = random(seed, `sampling, epoch ${epoch}, ${data.join()}`);
  const decode = new StepDecoder(decoder, encoded, 1);
  try {
    const last = new Int32Array(rows);
    for (let t = 0; t + 1 < steps; t++) {
      for (let row = 0; row < rows; row++) last[row] = data[row * steps + t];
      const probabilities = decode.step(last);
      for (let row = 0; row < rows; row++)
        if (next.uniform() < probability && t + 1 < pairs.input.lengths[row])
          data[row * steps + t + 1] = likeliest(probabilities, row, decode.tokens);
    }
  } finally {
    decode.close();
  }
  return { ...pairs, input: { ...pairs.input, data } };
}

/** Of tokens 1 and on. */
function likeliest(probabilities: Float32Array, row: number, tokens: number): number {
  let best = 1;
  for (let token = 2; token < tokens; token++)
    if (probabilities[row * tokens + token] > probabilities[row * tokens + best]) best = token;
  return best;
}
